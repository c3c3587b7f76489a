"""What the client knows of the graph without asking: a light shadow of the server's nodes, exact or marked as unknown.

It answers ``requires_grad``, ``is_leaf``, ``grad_fn`` and ``grad is None`` at no round trip, so that a training step is one
request. Where an outcome depends on what only the server knows, the answer is ``UNKNOWN`` and the property asks.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from telegrad.contract.custom import of_context
from telegrad.contract.errors import AutogradError
from telegrad.contract.hooks import Accumulation, HookedNode, Hooks, HookTable
from telegrad.contract.nodes import delivery_order, edge_positions, node_name
from telegrad.contract.ops import Op, Spec
from telegrad.contract.tensor.formatting import html_node

if TYPE_CHECKING:
    from telegrad._foresight import Foresight
    from telegrad._handle import Handle
    from telegrad._packs import Packs
    from telegrad._recorder import Recorder
    from telegrad.contract.custom import Backward

next_number: Final = itertools.count().__next__
"""Numbers nodes in the order in which they are recorded."""


class Unknown:
    """Only the server knows.

    Attributes:
        sources: histories that it was made of, and no others; None where nobody here knows even that.
        learned: what the server told since, of tensors that had this history.
    """

    __slots__ = ("learned", "sources")

    def __init__(self, sources: tuple[Any, ...] | None = None) -> None:
        self.sources = sources
        self.learned: weakref.WeakSet[Described] | None = None

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def gradient_place(tensor: Any, history: Any, index: int) -> tuple[Any, int]:
    """What tells apart where gradients of tensors go: output ``index`` of what has that history, or what only the server knows."""
    return (tensor._name, -1) if isinstance(history, (Unknown, Described)) else (id(history), index)


def made_of(*histories: Any) -> Unknown:
    """What only the server knows of a tensor that was made of tensors with these histories."""
    sources = tuple([h for h in histories if h is not None])
    return sources[0] if len(sources) == 1 and isinstance(sources[0], Unknown) else Unknown(sources)


class Present:
    """There is a gradient; it has no handle yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PRESENT"


PRESENT: Final = Present()


class Leaf:
    """A tensor that gradients accumulate in: the end of a path, or any tensor whose ``grad`` was asked for or set.

    Attributes:
        gradient: None where there is none; PRESENT; UNKNOWN; or its handle.
        epoch: the recorder's ``grad_epoch`` that ``gradient`` was known at; an older one means unknown.
        recorded: what is known of the history of the gradient itself (``create_graph``); None where it has none.
        spec: shape and type of the tensor; None while the shape is unknown.
        alive: see ``Recorder.hooked``.
        hooks: what users registered; the slot is filled when first needed.
    """

    hooks: Hooks

    __slots__ = ("__weakref__", "alive", "epoch", "gradient", "hooks", "recorded", "spec")

    def __init__(self, home: Recorder, spec: Spec | None, gradient: Any = None) -> None:
        self.gradient: Any = gradient
        self.epoch = home.grad_epoch
        self.recorded: Unknown | None = None
        self.spec = spec
        self.alive = home.hooked

    def hooks_here(self) -> Hooks:
        """The hooks, made if need be."""
        if getattr(self, "hooks", None) is None:
            self.hooks = Hooks(self.alive, weakref.ref(self))
        return self.hooks

    def at(self, epoch: int) -> Any:
        """The gradient as known at ``epoch``."""
        return self.gradient if self.epoch == epoch else UNKNOWN

    def settle(self, gradient: Any, epoch: int, *, recorded: Unknown | None = None) -> None:
        """Know the gradient from now on."""
        self.gradient, self.epoch, self.recorded = gradient, epoch, recorded


class End(Leaf):
    """A view without a history, of a tensor that requires grad: it requires grad with its base, and accumulates nothing."""

    __slots__ = ()


def _pinned(node: Node | Described) -> Hooks:
    """The hooks of a node that gets one, to be found even if it is a view's and the view gets another: see ``pin_view``."""
    from telegrad._hooks import pin_view  # it needs this module

    hooks = node.hooks_here()
    reference = getattr(node, "tensor", None)
    tensor = None if reference is None else reference()
    if tensor is not None:
        pin_view(tensor)
    return hooks


class Node(HookedNode):
    """The shadow of one recorded op; what ``grad_fn`` is on the client.

    Attributes:
        plan: what was known of the call.
        edges: per input that needs a gradient: (input position, target, output index of the target).
        parameters: those that were given.
        count: how many inputs the call had.
        number: position in the order of making, which is that of the server's nodes.
        retained: the states of outputs that ``retain_grad`` was called on; None while there are none.
        hooks: what users registered; the slot is filled when first needed.
        packs: what it saved, where hooks have packed it; likewise.
        tensor: the handle by which users came to it, weakly; likewise.
    """

    hooks: Hooks
    packs: Packs
    tensor: weakref.ref[Handle]

    __slots__ = ("__weakref__", "count", "edges", "hooks", "number", "packs", "parameters", "plan", "retained", "tensor")

    def __init__(
        self, plan: Foresight, edges: Sequence[tuple[int, Target, int]], parameters: Mapping[str, Any], count: int
    ) -> None:
        self.plan = plan
        self.edges = edges
        self.parameters = parameters
        self.count = count
        self.number: float = next_number()
        self.retained: list[Leaf] | None = None

    @property
    def op(self) -> Op:
        """The row of the op table."""
        return self.plan.row

    @property
    def rank(self) -> int:
        """Number of dimensions of the first output; -1 where unknown."""
        return self.plan.rank

    @property
    def outputs(self) -> int | None:
        """Number of outputs; None where it depends on what only the server knows."""
        plan = self.plan
        return 1 if plan.single else None if plan.outputs == (None,) else len(plan.outputs)

    def differentiates(self, index: int) -> bool:
        """Whether an output can have a gradient, as far as known."""
        types = self.plan.types
        dtype = types[index] if index < len(types) else None
        return dtype is None or bool(dtype.is_differentiable)

    def spec(self, index: int) -> Spec | None:
        """Shape and type of an output; None where unknown."""
        outputs = self.plan.outputs
        return outputs[index] if index < len(outputs) else None

    def delivery(self) -> Sequence[int]:
        """In which order gradients leave, as indexes of the edges."""
        return delivery_order(self.op, [position for position, _, _ in self.edges])

    def hooks_here(self) -> Hooks:
        """The hooks, made if need be."""
        if getattr(self, "hooks", None) is None:
            self.hooks = Hooks(self.plan.alive, weakref.ref(self))
        return self.hooks

    def _hooks_of_users(self) -> Hooks:
        return _pinned(self)

    @property
    def exact(self) -> bool:
        """Whether the server's node surely has these edges and this name."""
        return self.rank >= 0 and all(not isinstance(target, Unknown) for _, target, _ in self.edges)

    def name(self) -> str:
        """PyTorch's name of this kind of node, for example ``AddBackward0``."""
        return node_name(self.op, self.parameters, [position for position, _, _ in self.edges], self.rank)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where gradients go from here: (node, output index) per input; (None, 0) for an input that needs none."""
        edge_at = {position: (target, index) for position, target, index in self.edges}
        out: list[tuple[Any, int]] = []
        for position in edge_positions(self.op, list(edge_at), self.count):
            target, index = (None, 0) if position is None else edge_at[position]
            out.append((AccumulateGrad(target) if isinstance(target, Leaf) else target, index))
        return tuple(out)

    def _repr_html_(self) -> str:
        return html_node(self)


class CustomNode(Node):
    """The shadow of a node whose function is here: of a custom function, or of a checkpoint.

    Attributes:
        backward: what computes its gradients; None once freed.
        alive: keeps the session looking for such nodes, see ``Recorder.hooked``.
    """

    __slots__ = ("alive", "backward")

    def __init__(self, plan: Foresight, edges: Sequence[tuple[int, Target, int]], count: int, backward: Backward) -> None:
        super().__init__(plan, edges, {}, count)
        self.backward: Backward | None = backward
        self.alive = HookTable(plan.alive)
        plan.alive.add(self.alive)

    if not TYPE_CHECKING:  # for users; our own code must name what there is

        def __getattr__(self, name: str) -> Any:
            """What the function set on its context."""
            if name in _SLOTS:
                raise AttributeError(name)
            return of_context(self.backward, name)


_SLOTS: Final = frozenset((*Node.__slots__, *CustomNode.__slots__))


class Described(HookedNode):
    """A node that only the server has: its name is known, where it leads is not.

    Attributes:
        sources: see ``Unknown``.
        tensor: the handle that has it, weakly; None where there is none, so that nobody can say where hooks on it are.
        hooks: what users registered; the slot is filled when first needed.
    """

    hooks: Hooks

    __slots__ = ("__weakref__", "_name", "hooks", "sources", "tensor")

    def __init__(self, name: str, sources: tuple[Any, ...] | None = None, tensor: Handle | None = None) -> None:
        self._name = name
        self.sources = sources
        self.tensor = None if tensor is None else weakref.ref(tensor)

    def hooks_here(self) -> Hooks:
        """The hooks, made if need be. Raises AutogradError where nobody could call any."""
        if getattr(self, "hooks", None) is None:
            tensor = None if self.tensor is None else self.tensor()
            if tensor is None:
                raise AutogradError(
                    "only the server has this node, and no tensor here leads to it, so hooks cannot be called for it; register "
                    "them on the grad_fn of a tensor, or use telegrad.local()"
                )
            self.hooks = Hooks(tensor._home.hooked, weakref.ref(self))
        return self.hooks

    def name(self) -> str:
        """PyTorch's name of this kind of node."""
        return self._name

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Nothing known; ``session.graph(tensor)`` asks the server for the whole graph."""
        return ()

    def _hooks_of_users(self) -> Hooks:
        return _pinned(self)

    def _repr_html_(self) -> str:
        return html_node(self)


class AccumulateGrad(Accumulation):
    """The accumulation in a leaf of the shadow graph."""

    __slots__ = ("leaf",)

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf

    def _end(self) -> Leaf:
        return self.leaf

    def hooks_here(self) -> Hooks:
        """The hooks of the leaf, made if need be."""
        return self.leaf.hooks_here()

    def _repr_html_(self) -> str:
        return html_node(self)


Target: TypeAlias = "Node | Described | Leaf | Unknown"
"""What an edge leads to."""

History: TypeAlias = "Target | None"
"""What a handle knows of how it was made: None is a leaf that needs no gradient, ``Leaf`` one that does."""
