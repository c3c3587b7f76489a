"""Nodes as data: what a graph is made of."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from telegrad.contract.checks import GRAPH_FREED, INFERENCE_SAVED
from telegrad.contract.custom import of_context
from telegrad.contract.errors import AutogradError, GraphFreedError
from telegrad.contract.hooks import Accumulation, HookedNode, Hooks
from telegrad.contract.modes import is_inference_mode_enabled
from telegrad.contract.nodes import edge_positions, node_name
from telegrad.contract.ops import OPS
from telegrad.contract.scope import active, current_scope
from telegrad.contract.tensor.formatting import html_node
from telegrad_service.engine.table import Array, Plan

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine, Tensor

_numbers: Final = itertools.count(1)

sequence: Final = _numbers.__next__
"""Numbers nodes in the order they are made; a node's inputs always have smaller numbers, so descending order is a valid walk."""

last_write: Final[list[int]] = [0]
"""The number that the latest change in place of any tensor took: what nodes with higher ones saved is as it was, so that a walk
need not ask. Their write counters are memory that nobody has looked at since they were made, a tenth of a small walk's time.
"""


def note_write() -> None:
    """A write counter was raised, or nodes were made whose counters may differ from what they say."""
    last_write[:] = itertools.islice(_numbers, 1)  # taken and put there in one step, whatever other threads do


deferred: Final[weakref.WeakKeyDictionary[Node, tuple[Callable[[Node], None], int]]] = weakref.WeakKeyDictionary()
"""Nodes of compiled programs whose edges are not made yet: what makes them, and how many nodes there will be."""

_making: Final = threading.RLock()

renewed: Final[weakref.WeakKeyDictionary[Node, int]] = weakref.WeakKeyDictionary()
"""Nodes that views were given when their base had been written: the number of the base's node, 0 for a leaf. Such a node is made
when somebody looks, which says nothing of when the view was made."""


def reserve(count: int) -> int:
    """The first of ``count`` numbers in a row that no node gets by ``sequence``."""
    first = sequence()
    for _ in range(count - 1):
        sequence()
    return first


Version: TypeAlias = "list[int]"
"""``[count]``: how often a storage was written; shared by all views of it. A list is made in a quarter of an object's time, and
every saved tensor has one."""


class Untracked(list[int]):
    """The write counter of tensors made in inference mode: there is none, and whoever would save its value is refused."""

    def __getitem__(self, index: Any) -> Any:
        raise AutogradError(INFERENCE_SAVED)


INFERENCE: Final = Untracked()
"""In the place of their counter all inference tensors have this one, and their views with them."""


def mark_inference(tensor: Any) -> None:
    """Make a new tensor an inference tensor, if this thread and task is in the mode."""
    if is_inference_mode_enabled():
        tensor.version = INFERENCE


Layout: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
"""Shape and type of one output."""


class Node(HookedNode):
    """One recorded op.

    Attributes:
        plan: what was saved and which formulas to call; ``plan.entry.op`` is the op.
        parameters: the op's parameters.
        saved: what the formulas need, see ``Plan``; None once freed.
        edges: per input that needs a gradient: the Node that made it, or the leaf Tensor itself.
        indexes: per edge: which output of that Node it was.
        shape, dtype: of the first output, so that gradients can be checked and zeros made.
        others: shapes and types of the outputs after the first; None where there is one.
        guards: the write counters of the saved values, each followed by what it said then; those of saved outputs come last.
        number: position in the order of making.
        retained: output index to weak references of the non-leaf tensors that retain its gradient.
        hooks: what users registered; the slot is filled when first needed, so that other nodes do not pay for it.
        scope: the path of the scopes that it was made in; filled only while there are any.
    """

    hooks: Hooks
    scope: str | None

    __slots__ = (
        "__weakref__", "dtype", "edges", "guards", "hooks", "indexes", "number", "others", "parameters", "plan", "retained",
        "saved", "scope", "shape",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        parameters: dict[str, Any],
        saved: tuple[Any, ...],
        edges: tuple[Node | Tensor, ...],
        indexes: tuple[int, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        guards: tuple[Any, ...],
        others: tuple[Layout, ...] | None = None,
    ) -> None:
        self.plan = plan
        self.parameters = parameters
        self.saved: tuple[Any, ...] | None = saved
        self.edges = edges
        self.indexes = indexes
        self.shape = shape
        self.dtype = dtype
        self.others = others
        self.guards = guards
        self.number = sequence()
        self.retained: dict[int, list[weakref.ref[Tensor]]] | None = None
        if active:
            self.scope = current_scope()

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Shape and type of every output."""
        first = (self.shape, self.dtype)
        return (first,) if self.others is None else (first, *self.others)

    def retain(self, index: int, tensor: Tensor) -> None:
        """Keep the gradient of output ``index`` in ``tensor.grad`` from now on."""
        if self.retained is None:
            self.retained = {}
        if not self.retains(index, tensor):
            self.retained.setdefault(index, []).append(weakref.ref(tensor))

    def retains(self, index: int, tensor: Tensor) -> bool:
        """Whether the gradient of output ``index`` is kept in ``tensor.grad``."""
        return self.retained is not None and any(r() is tensor for r in self.retained.get(index, ()))

    def release(self, index: int, tensor: Tensor) -> bool:
        """Undo ``retain``; whether there was something to undo."""
        if self.retained is None or not self.retains(index, tensor):
            return False
        self.retained[index] = [r for r in self.retained[index] if r() is not tensor]
        return True

    def name(self) -> str:
        """PyTorch's name of this kind of node, for example ``AddBackward0``."""
        return node_name(self.plan.entry.op, self.parameters, self.plan.positions, len(self.shape))

    @property
    def next_functions(self) -> tuple[tuple[Node | AccumulateGrad | None, int], ...]:
        """Where gradients go from here: (node, output index) per input; (None, 0) for an input that needs none."""
        plan = self.plan
        out: list[tuple[Node | AccumulateGrad | None, int]] = []
        for position in edge_positions(plan.entry.op, plan.positions, plan.count):
            if position is None:
                out.append((None, 0))
            else:
                edge = plan.positions.index(position)
                target = self.edges[edge]
                out.append((target if isinstance(target, Node) else AccumulateGrad(target), self.indexes[edge]))
        return tuple(out)

    def hooks_here(self) -> Hooks:
        """The hooks, made if need be."""
        return _hooks_for(self)

    def home(self) -> Engine:
        """Where the graph's tensors belong."""
        end: Any = self
        while isinstance(end, Node):
            end = end.edges[0]
        found: Engine = end.home
        return found

    def __dir__(self) -> list[str]:
        absent = [n for n in dir(type(self)) if n.startswith("_saved_") and not hasattr(self, n)]
        return sorted(set(super().__dir__()) - set(absent))

    def stand_in(self, index: int) -> Tensor:
        """A tensor without values of its own in the place of output ``index``."""
        shape, dtype = self.layouts[index]
        made: Tensor = self.home().wrap(np.broadcast_to(np.zeros((), dtype), shape), self, index)
        return made

    def _repr_html_(self) -> str:
        from telegrad_service.engine.picture import html_of_node  # it needs this module

        return html_of_node(self)


def saved_value(node: Node, name: str) -> Any:
    """What a node saved, by PyTorch's names: of an input (``self``), an output (``result``), the sizes of either
    (``self_sym_sizes``), or a parameter (``dim``). Tensors have their history; a leaf is itself.

    Raises GraphFreedError for a tensor of a node that was freed, AttributeError for what is not saved.
    """
    op = node.plan.entry.op
    slots = {slot.name: at for at, slot in enumerate(op.inputs)} | {output: at for at, output in enumerate(op.outputs)}
    kinds = {"input", "inputs"} if name in slots and name not in op.outputs else {"output"}
    base = name.removesuffix("_sym_sizes")
    for at, (kind, what) in enumerate(node.plan.sources):
        if base != name and kind == ("output_shape" if base in op.outputs else "input_shape") and what == slots.get(base):
            return None if node.saved is None else node.saved[at]
        if kind in kinds and what == slots.get(name):
            if node.saved is None:
                raise GraphFreedError(GRAPH_FREED)
            return _as_it_was(node, node.saved, at)
    if name in op.parameters and name in node.parameters:
        return node.parameters[name]
    raise AttributeError(f"'{node.name()}' object has no attribute '_saved_{name}'")


def _as_it_was(node: Node, saved: tuple[Any, ...], at: int) -> Any:
    from telegrad_service.engine.packing import unpacked, valued  # it needs more than this module does

    arrays: tuple[Any, ...] = unpacked(saved)
    return valued(tensors_of_saved(node.home(), node, arrays), arrays)[at]


def _show_saved() -> None:
    names = {name for op in OPS.values() for name in (*(slot.name for slot in op.inputs), *op.outputs)}
    names |= {f"{name}_sym_sizes" for name in names} | {name for op in OPS.values() for name in op.parameters}
    for name in names:
        setattr(Node, f"_saved_{name}", property(functools.partial(saved_value, name=name)))


# Properties, since fields of a class that has ``__getattr__`` are read ten times slower.
_show_saved()


class DeferredNode(Node):
    """A node of a compiled program whose edges are made when somebody asks for them; from then on it is a plain one."""

    __slots__ = ()

    if not TYPE_CHECKING:  # as for custom nodes

        def __getattr__(self, name: str) -> Any:
            """Its edges."""
            if name in ("edges", "indexes"):
                with _making:  # or another thread has just made them
                    found = deferred.get(self)
                    if found is not None:
                        fill, _ = found
                        fill(self)
                return object.__getattribute__(self, name)
            raise AttributeError(f"'Node' object has no attribute '{name}'")


class CustomNode(Node):
    """A node that runs a function of the user's; a class of its own, since fields of a class that has ``__getattr__`` are read
    ten times slower.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # for users; our own code must name what there is

        def __getattr__(self, name: str) -> Any:
            """What the function set on its context."""
            if name in Node.__slots__:
                raise AttributeError(f"'Node' object has no attribute '{name}'")
            return of_context(self.saved[0] if self.saved else None, name)


RARE_NODES: Final = frozenset({CustomNode, DeferredNode})
"""The classes of nodes beside the plain one."""


def _hooks_for(target: Node | Tensor) -> Hooks:
    from telegrad_service.engine.hooks import hooks_for  # it needs this module

    return hooks_for(target)


class AccumulateGrad(Accumulation):
    """The accumulation in ``variable``, a leaf."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def _end(self) -> Tensor:
        return self.variable

    def hooks_here(self) -> Hooks:
        """The hooks of the leaf, made if need be."""
        return _hooks_for(self.variable)

    def stand_in(self, _index: int) -> Tensor:
        """The leaf."""
        return self.variable

    def _repr_html_(self) -> str:
        return html_node(self)


def tensors_of_saved(home: Engine, node: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """The saved values as Tensors that carry their history, for a gradient of the gradient."""
    restored = node.plan.restored
    if not restored:
        return saved
    wrap, edges, indexes = home.wrap, node.edges, node.indexes

    def input_tensor(value: Any, edge: int | None) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        array = cast(Array, value)
        if edge is None:
            return wrap(array)
        target = edges[edge]
        return wrap(array, target, indexes[edge]) if isinstance(target, Node) else target

    converted: list[Any] = list(saved)
    for position, kind, what, edge in restored:
        value = saved[position]
        if kind == "kept":
            converted[position] = None
        elif kind == "input":
            converted[position] = input_tensor(value, edge)
        elif kind == "inputs":
            edge_at = {position: edge for edge, position in enumerate(node.plan.positions)}
            converted[position] = tuple(input_tensor(v, edge_at.get(what + i)) for i, v in enumerate(value))
        else:
            converted[position] = wrap(value, node, what) if value.dtype.kind in "fc" else wrap(value)
    return tuple(converted)
