"""Nodes as data, and the walk that carries gradients back through them."""

from __future__ import annotations

import heapq
import itertools
import math
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from telegrad.contract import dtypes, modes
from telegrad.contract.checks import INFERENCE_SAVED
from telegrad.contract.custom import of_context
from telegrad.contract.errors import AutogradError, GraphFreedError, VersionError
from telegrad.contract.modes import is_inference_mode_enabled
from telegrad.contract.nodes import edge_positions, node_name
from telegrad.contract.scope import active, current_scope
from telegrad.contract.tensor.formatting import html_node
from telegrad_service.engine import quiet, sums
from telegrad_service.engine.parts import Part, unfit
from telegrad_service.engine.table import Array, Plan

if TYPE_CHECKING:
    from telegrad.contract.hooks import Hook, Hooks, RemovableHandle
    from telegrad_service.engine.tensor import Engine, Tensor

sequence: Final = itertools.count(1).__next__
"""Numbers nodes in the order they are made; a node's inputs always have smaller numbers, so descending order is a valid walk."""


deferred: Final[weakref.WeakKeyDictionary[Node, Callable[[Node], None]]] = weakref.WeakKeyDictionary()
"""Nodes of compiled programs whose edges are not made yet: what makes them."""


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


class Node:
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

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dict for whatever users want to keep with the node."""
        return _hooks_for(self).metadata

    def stand_in(self, index: int) -> Tensor:
        """A tensor without values of its own in the place of output ``index``."""
        end: Any = self
        while isinstance(end, Node):
            end = end.edges[0]
        shape, dtype = self.layouts[index]
        made: Tensor = end.home.wrap(np.broadcast_to(np.zeros((), dtype), shape), self, index)
        return made

    def register_prehook(self, fn: Hook) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the node runs; see ``telegrad.autograd.graph.Node``."""
        return _hooks_for(self).before.add(fn)

    def register_hook(self, fn: Hook) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node ran; see ``telegrad.autograd.graph.Node``."""
        return _hooks_for(self).after.add(fn)

    def _repr_html_(self) -> str:
        from telegrad_service.engine.picture import html_of_node  # it needs this module

        return html_of_node(self)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class DeferredNode(Node):
    """A node of a compiled program whose edges are made when somebody asks for them; from then on it is a plain one."""

    __slots__ = ()

    if not TYPE_CHECKING:  # as for custom nodes

        def __getattr__(self, name: str) -> Any:
            """Its edges."""
            fill = deferred.pop(self, None) if name in ("edges", "indexes") else None
            if fill is None:
                raise AttributeError(f"'Node' object has no attribute '{name}'")
            fill(self)
            return getattr(self, name)


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


_RARE_NODES: Final = frozenset({CustomNode, DeferredNode})


def _hooks_for(target: Node | Tensor) -> Hooks:
    from telegrad_service.engine.hooks import hooks_for  # it needs this module

    return hooks_for(target)


class AccumulateGrad:
    """The end of a path: adds what arrives to the ``grad`` of ``variable``, a leaf, which keeps the hooks."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        """``AccumulateGrad``, as in PyTorch."""
        return "AccumulateGrad"

    @property
    def next_functions(self) -> tuple[()]:
        """Nothing follows a leaf."""
        return ()

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dict for whatever users want to keep with the node."""
        return _hooks_for(self.variable).metadata

    def stand_in(self, _index: int) -> Tensor:
        """The leaf."""
        return self.variable

    def register_prehook(self, fn: Hook) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the gradient is added; see ``telegrad.autograd.graph.Node``."""
        return _hooks_for(self.variable).before.add(fn)

    def register_hook(self, fn: Hook) -> RemovableHandle:
        """Call ``fn((), grad_outputs)`` after the gradient was added; see ``telegrad.autograd.graph.Node``."""
        return _hooks_for(self.variable).after.add(fn)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def _repr_html_(self) -> str:
        return html_node(self)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"


class Walk:
    """One run of the gradient through a graph.

    Roots are given to ``seed``; ``run`` then visits nodes in descending order of making. Every node is visited once,
    after all that use its outputs, because their numbers are higher. ``made_bytes`` counts the gradients put where
    there were none.
    """

    def __init__(self, home: Engine, *, retain_graph: bool, create_graph: bool, wanted: Sequence[Tensor] | None) -> None:
        """Prepare a walk.

        Args:
            home: the engine that all tensors of the graph belong to.
            retain_graph: keep saved values for another run.
            create_graph: run the formulas on Tensors, recording a graph of the gradient itself.
            wanted: the tensors whose gradients are asked for, captured in ``captured`` by position, nothing accumulated
                into others; None accumulates into every leaf reached.
        """
        self.home = home
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        # By number: a node, the gradient that arrived, whether its buffer is the walk's own; lists of both for several outputs.
        self.pending: dict[int, list[Any]] = {}
        self.heap: list[int] = []
        self.leaves: dict[int, list[Any]] = {}  # by id: the leaf, the sum so far, whether its buffer is the walk's own
        self.captured: dict[int, Any] = {}
        self.retained: list[tuple[Tensor, Any]] = []
        self.made_bytes = 0
        self.restricted = wanted is not None
        self.wanted_outputs: dict[tuple[int, int], list[int]] = {}
        self.wanted_leaves: dict[int, list[int]] = {}
        self.wanted_nodes: set[int] = set()
        self.needed: set[int] | None = None
        self.bounded = False  # whether the walk ends at wanted nodes, though others that are wanted lie behind them
        if wanted is None:
            return
        for position, tensor in enumerate(wanted):
            node = tensor.current_node()
            if node is None:
                self.wanted_leaves.setdefault(id(tensor), []).append(position)
            else:
                self.wanted_outputs.setdefault((node.number, tensor.output_index), []).append(position)

    def seed(self, root: Tensor, gradient: Any) -> None:
        """Start at ``root`` with ``gradient`` (an array, or a Tensor with ``create_graph``)."""
        node = root.current_node()
        if node is None:
            self._reach_leaf(root, gradient)
        else:
            self._reach(node, root.output_index, gradient)

    def restrict(self, roots: Sequence[Tensor]) -> None:
        """Visit only nodes from which a wanted tensor can be reached."""
        wanted_nodes = self.wanted_nodes = {number for number, _ in self.wanted_outputs}
        lowest = 0 if self.wanted_leaves else min(wanted_nodes, default=0)
        nodes: dict[int, Node] = {}
        todo: list[Node] = []
        for root in roots:
            node = root.current_node()
            if node is not None and node.number not in nodes:
                nodes[node.number] = node
                todo.append(node)
        while todo:
            for target in todo.pop().edges:
                if isinstance(target, Node) and target.number not in nodes and target.number >= lowest:
                    nodes[target.number] = target
                    todo.append(target)
        needed: set[int] = set()
        for number in sorted(nodes):
            if number in wanted_nodes or self._leads_on(nodes[number], needed):
                needed.add(number)
        self.needed = needed

    def run(self, *, accumulate: bool) -> None:
        """Carry the gradients to the leaves, into ``grad``, or to the wanted tensors, into ``captured``.

        ``accumulate`` adds what reached the leaves, or the wanted ones among them, to their ``grad``.
        """
        mode = modes.set_mode(self.create_graph)
        token = quiet.enter()
        try:
            if self.create_graph:
                self._drain(self._visit)
            else:
                self._run_arrays()
            self._finish(accumulate)
        finally:
            quiet.leave(token)
            modes.reset_mode(mode)

    def _note(self, node: Node, gradients: list[Any]) -> bool:
        """Keep the gradients that are asked for here; whether the walk goes on from this node."""
        if node.retained is not None and not self.ends_at(node):
            for index, references in node.retained.items():
                if gradients[index] is not None:
                    self.retained.extend((t, gradients[index]) for r in references if (t := r()) is not None)
        if self.needed is None:
            return True
        for index, gradient in enumerate(gradients):
            for position in self.wanted_outputs.get((node.number, index), ()):
                self.captured[position] = gradient
        return self._leads_on(node, self.needed)

    def ends_at(self, node: Node) -> bool:
        """Whether a bounded walk ends here, so that hooks and retained gradients are another walk's."""
        return self.bounded and node.number in self.wanted_nodes

    def _leads_on(self, node: Node, needed: set[int]) -> bool:
        """Whether an input of this node is wanted, or among those that are needed."""
        if self.ends_at(node):
            return False
        leaves = self.wanted_leaves
        return any(t.number in needed if isinstance(t, Node) else id(t) in leaves for t in node.edges)

    def _drain(self, visit: Callable[[Node, list[Any]], None]) -> None:
        """Call ``visit`` with every node that is due, and the gradients of its outputs."""
        heap, pending = self.heap, self.pending
        while heap:
            node, gradients, _ = pending.pop(-heapq.heappop(heap))
            visit(node, [gradients] if node.others is None else gradients)

    def _run_arrays(self) -> None:  # noqa: C901, PLR0912, PLR0915 - calls would cost what it saves
        """``_visit`` for arrays, and on from there, for as long as the next node is the only one due.

        Most nodes of most walks have one output and pass a gradient of the very shape and type that the next one expects;
        a chain of such nodes needs neither the heap nor the table of what is pending.
        """
        heap, pending, leaves = self.heap, self.pending, self.leaves
        retain_graph, needed = self.retain_graph, self.needed
        array_type, add, asarray, push = np.ndarray, np.add, np.asarray, heapq.heappush
        restricted = self.restricted
        g: Any
        while heap:
            node, g, _ = pending.pop(-heapq.heappop(heap))  # nobody else holds g then: its memory is free as soon as it has served
            if node.others is not None:
                if node.retained is not None or (needed is not None and node.number in self.wanted_nodes):
                    self._visit(node, g)
                    continue
                g = tuple([self._zeros(node, i) if x is None else x for i, x in enumerate(g)])
            while True:
                plan, saved = node.plan, node.saved
                if saved is None or node.retained is not None or (needed is not None and node.number in self.wanted_nodes):
                    self._visit(node, [g])  # or raises, where another walk has been here
                    break
                guards = node.guards
                if guards and (guards[0][0] != guards[1] or (len(guards) > 2 and (guards[2][0] != guards[3] or len(guards) > 4))):
                    self._check_guards(node)
                edges = node.edges
                only = plan.only
                follower: Any = None
                if only is not None:
                    g = only(g, *saved)
                    if plan.saves and not retain_graph:
                        node.saved = None
                    if g is None:
                        break
                    target: Any = edges[0]
                    if target.__class__ is not Node and target.__class__ not in _RARE_NODES:
                        self._reach_leaf(target, g)
                        break
                    if needed is not None and target.number not in needed:
                        break
                    if (
                        g.__class__ is not array_type
                        or target.others is not None
                        or g.shape != target.shape
                        or g.dtype is not target.dtype
                    ):
                        self._reach(target, node.indexes[0], g)
                        break
                    follower = target
                else:
                    following: Any = None
                    values = plan.differentiate(g, saved)
                    del g
                    for edge, value in zip(plan.targets, values):  # noqa: B905 - as many of both; strict costs 60 ns a node
                        if edge < 0 or value is None:
                            continue
                        target = edges[edge]
                        if target.__class__ is not Node and target.__class__ not in _RARE_NODES:
                            reached = leaves.get(id(target))
                            array = target.array
                            if (
                                value.__class__ is not array_type
                                or value.shape != array.shape
                                or value.dtype is not array.dtype
                                or (restricted and reached is None)
                            ):
                                self._reach_leaf(target, value)
                            elif reached is None:
                                leaves[id(target)] = [target, value, False]
                            elif reached[2]:
                                add(reached[1], value, reached[1])
                            else:
                                reached[1], reached[2] = asarray(reached[1] + value), True
                        elif needed is None or target.number in needed:
                            if (
                                value.__class__ is not array_type
                                or target.others is not None
                                or value.shape != target.shape
                                or value.dtype is not target.dtype
                            ):
                                self._reach(target, node.indexes[edge], value)
                            elif follower is None:
                                follower, following = target, value
                            elif target is follower:  # x * x
                                entry = pending.get(target.number)
                                if entry is None:
                                    following = np.asarray(following + value)
                                else:  # one after the other, as everywhere: sums of floats depend on their order
                                    entry[1], entry[2] = self._add(entry[1], following, entry[2])
                                    entry[1], entry[2] = self._add(entry[1], value, entry[2])
                                    follower = following = None
                            else:
                                number = target.number
                                entry = pending.get(number)
                                if entry is None:
                                    pending[number] = [target, value, False]
                                    push(heap, -number)
                                else:
                                    entry[1], entry[2] = self._add(entry[1], value, entry[2])
                    del values
                    if plan.saves and not retain_graph:
                        node.saved = None
                    if follower is None:
                        break
                    g = following
                    del following
                number = follower.number
                if heap and number <= -heap[0]:
                    entry = pending.get(number)
                    if entry is None:
                        pending[number] = [follower, g, False]
                        push(heap, -number)
                    else:
                        entry[1], entry[2] = self._add(entry[1], g, entry[2])
                    break
                node = follower

    def _visit(self, node: Node, gradients: list[Any]) -> None:
        asked = node.retained is not None or (self.needed is not None and node.number in self.wanted_nodes)
        if asked and not self._note(node, gradients):
            return
        plan = node.plan
        saved = self._saved(node)
        if len(gradients) == 1:
            g = gradients[0]
        else:
            g = tuple(self._zeros(node, i) if x is None else x for i, x in enumerate(gradients))
        for edge, value in zip(plan.targets, plan.differentiate(g, saved), strict=True):
            if edge >= 0 and value is not None:
                self._send(node, edge, value)
        if plan.saves and not self.retain_graph:
            node.saved = None

    def _saved(self, node: Node) -> tuple[Any, ...]:
        """What the node's formulas are given. Raises GraphFreedError or VersionError."""
        saved = node.saved
        if saved is None:
            raise GraphFreedError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been "
                "freed). Saved intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if you need to access "
                "saved tensors "
                "after calling backward."
            )
        if node.guards:
            self._check_guards(node)
        return tensors_of_saved(self.home, node, saved) if self.create_graph else saved

    def _send(self, node: Node, edge: int, gradient: Any) -> None:
        target = node.edges[edge]
        if isinstance(target, Node):
            if self.needed is None or target.number in self.needed:
                self._reach(target, node.indexes[edge], gradient)
        else:
            self._reach_leaf(target, gradient)

    def _fit(self, gradient: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """The gradient in its tensor's shape and type: summed where the tensor was broadcast, real where it is real."""
        if not self.create_graph:
            if type(gradient) is not np.ndarray:
                gradient = np.asarray(gradient)
            if gradient.shape != shape:
                gradient = sum_to_shape(gradient, shape)
            if gradient.dtype is not dtype and gradient.dtype != dtype:
                if gradient.dtype.kind == "c" and dtype.kind != "c":
                    gradient = np.real(gradient)
                gradient = gradient.astype(dtype, copy=False)
            return gradient
        if isinstance(gradient, (np.ndarray, np.generic, int, float, complex)):
            gradient = self.home.wrap(np.asarray(gradient))  # a formula's constant
        if gradient.shape != shape:
            gradient = gradient._apply("sum_to_size", gradient, size=shape)
        if gradient.array.dtype != dtype:
            if gradient.array.dtype.kind == "c" and dtype.kind != "c":
                gradient = gradient._apply("real", gradient)
            gradient = gradient._apply("to", gradient, dtype=dtypes.from_numpy(dtype))
        return gradient

    def _reach(self, node: Node, index: int, gradient: Any) -> None:
        others = node.others
        shape, dtype = (node.shape, node.dtype) if index == 0 or others is None else others[index - 1]
        number = node.number
        entry = self.pending.get(number)
        if entry is None:
            if others is None:
                entry = self.pending[number] = [node, None, False]
            else:
                count = 1 + len(others)
                entry = self.pending[number] = [node, [None] * count, [False] * count]
            heapq.heappush(self.heap, -number)
        if others is None:
            gradients, owned, index = entry, entry, 1
            flag = 2
        else:
            gradients, owned = entry[1], entry[2]
            flag = index
        before = gradients[index]
        fresh = gradient.__class__ is Part
        if fresh and before is not None:
            if not owned[flag]:
                gradients[index], owned[flag] = before.copy(), True
            gradient.add_to(gradients[index])
            return
        if self.create_graph or gradient.__class__ is not np.ndarray or gradient.shape != shape or gradient.dtype is not dtype:
            gradient = self._fit(gradient, shape, dtype)
        if before is None:
            gradients[index], owned[flag] = gradient, fresh
        else:
            gradients[index], owned[flag] = self._add(before, gradient, owned[flag])

    def _add(self, before: Any, gradient: Any, owned: bool) -> tuple[Any, bool]:
        """The sum, and whether its buffer is the walk's own (then the next sum goes into it)."""
        if self.create_graph:
            return before + gradient, False
        if owned:
            np.add(before, gradient, before)
            return before, True
        return np.asarray(before + gradient), True

    def _reach_leaf(self, leaf: Tensor, gradient: Any) -> None:
        key = id(leaf)
        if self.restricted and key not in self.wanted_leaves:
            return
        array = leaf.array
        reached = self.leaves.get(key)
        fresh = gradient.__class__ is Part
        if fresh and reached is not None:
            if not reached[2]:
                reached[1], reached[2] = reached[1].copy(), True
            gradient.add_to(reached[1])
            return
        if gradient.__class__ is not np.ndarray or gradient.shape != array.shape or gradient.dtype is not array.dtype:
            gradient = self._fit(gradient, array.shape, array.dtype)
        if reached is None:
            self.leaves[key] = [leaf, gradient, fresh]
        elif reached[2]:
            before = reached[1]
            np.add(before, gradient, before)
        else:
            reached[1], reached[2] = self._add(reached[1], gradient, False)

    def _finish(self, accumulate: bool) -> None:
        """Give the leaves' sums out: into ``.grad``, or into ``captured``."""
        leaves = self.leaves
        while leaves:
            key, (leaf, gradient, owned) = leaves.popitem()
            positions = self.wanted_leaves.get(key, ())
            for position in positions:
                self.captured[position] = gradient
            if accumulate:
                may_keep = owned or may_steal(gradient)  # asked first: as an argument, the call would hold it too
                self.made_bytes += leaf.accumulate_grad(gradient, may_keep=may_keep)
        for tensor, gradient in self.retained:
            self.made_bytes += tensor.accumulate_grad(gradient, in_place=False)

    def _zeros(self, node: Node, index: int) -> Any:
        """What takes the place of a gradient that is missing."""
        if not node.plan.fills:
            return None
        array = np.zeros(*node.layouts[index])
        return self.home.wrap(array) if self.create_graph else array

    @staticmethod
    def _check_guards(node: Node) -> None:
        guards = node.guards
        for position in range(0, len(guards), 2):
            now, then = guards[position][0], guards[position + 1]
            if now != then:
                raise VersionError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: a "
                    f"value saved by {node.name()} (whose output is {node.dtype} {list(node.shape)}) is at version {now}; expected "
                    f"version {then} instead. Hint: clone() the tensor before changing it in place, or change it after backward()."
                )


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


def sum_to_shape(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``array`` over the dimensions along which ``shape`` was broadcast to it."""
    lead = array.ndim - len(shape)
    if lead < 0:
        if array.size == 1 and all(n == 1 for n in shape):
            return array.reshape(shape)
        raise unfit(list(array.shape), list(shape))
    if lead and array.flags.c_contiguous and array.dtype.kind == "f" and array.dtype.itemsize >= 4 and array.shape[lead:] == shape:
        rows = math.prod(array.shape[:lead])  # the gradient of a bias
        if rows and array.size > rows:
            return sums.of_columns(array.reshape(rows, array.size // rows)).reshape(shape)
    if any(n not in (1, size) for n, size in zip(shape, array.shape[lead:], strict=True)):
        raise unfit(list(array.shape), list(shape))
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and array.shape[lead + i] != 1)
    summed = array.sum(axis=axes, keepdims=True) if axes else array
    return np.asarray(summed).reshape(shape)


def may_steal(array: Any) -> bool:
    """Whether the caller's variable is the only reference to ``array``, whose memory is its own: nobody sees it change then.

    Also where it is all of an array that nobody else refers to, seen in another shape, as ``reshape`` gives it.
    """
    if type(array) is not np.ndarray or not array.flags.c_contiguous or sys.getrefcount(array) > _alone:
        return False
    base: Any = array.base
    if base is None:
        return array.flags.owndata
    return type(base) is np.ndarray and base.flags.owndata and base.size == array.size and sys.getrefcount(base) <= _viewed


def _count_alone() -> int:
    """What ``getrefcount`` says in ``may_steal`` of an array that only the caller's variable refers to; Pythons differ."""

    def count(array: Array) -> int:
        return sys.getrefcount(array)

    array = np.empty(1)
    return count(array)


def _count_viewed() -> int:
    """What ``getrefcount`` says there of the base that only the caller's array refers to."""

    def count(array: Array) -> int:
        base: Any = array.base
        return sys.getrefcount(base)

    array = np.empty(1).reshape(1, 1)
    return count(array)


_alone: Final = _count_alone()
_viewed: Final = _count_viewed()
