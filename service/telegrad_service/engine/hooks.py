"""Hooks: where nodes and leaves keep them, and the walk that calls them in PyTorch's order.

A walk looks for hooks only where any is alive in the process (``contract.hooks.any_hooks``), so that those without pay one test
a walk. The walk here counts who still has to bring a gradient, as PyTorch's does: a leaf is served as soon as its last gradient
is there, and nodes run even where nothing but None reached them, because their hooks are called all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from telegrad.contract import checks, modes
from telegrad.contract.errors import SessionMismatchError
from telegrad.contract.hooks import Hook, HookTable, RemovableHandle, check_replacement, check_replacements
from telegrad.contract.nodes import edge_positions
from telegrad_service.engine import quiet
from telegrad_service.engine.graph import Node, Walk, may_steal

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine, Tensor

Target: TypeAlias = "Node | Tensor"
"""What gradients arrive at: a node, or a leaf."""

Gradients: TypeAlias = "list[Any]"
"""One per output; None where there is none."""

_LEAVES_FIRST: Final = 2**63
"""The rank of a leaf among what is ready: above every node's number, as PyTorch's accumulation nodes."""


class Ready:
    """What can run: highest rank first. A binary heap whose ties (leaves that become ready together) come in the very order in
    which those of C++'s ``std::priority_queue`` do, which is the order that PyTorch's hooks are called in.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, rank: int, key: int) -> None:
        """Add ``key``."""
        self._heap.append((rank, key))
        self._rise(len(self._heap) - 1, (rank, key))

    def pop(self) -> int:
        """Take the first key."""
        heap = self._heap
        first, last = heap[0][1], heap.pop()
        count = len(heap)
        if not count:
            return first
        hole = 0
        # The hole goes down to the bottom along the greater children, and the last entry rises from there.
        while (child := 2 * hole + 2) <= count:
            if child == count or heap[child][0] < heap[child - 1][0]:
                child -= 1
            heap[hole] = heap[child]
            hole = child
        self._rise(hole, last)
        return first

    def _rise(self, hole: int, entry: tuple[int, int]) -> None:
        heap = self._heap
        while hole and heap[(hole - 1) // 2][0] < entry[0]:
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = entry


class Hooks:
    """What is registered on one node, or on one leaf and its accumulation.

    Attributes:
        tensor: by output index, in order of first registration: what sees the gradient before anything else does.
        before: of the node: called with all gradients that arrived.
        after: of the node: called with the gradients that it gives, and those that arrived.
        accumulated: of a leaf: called with it when its ``grad`` is up to date.
        metadata: the node's own dict for users.
    """

    __slots__ = ("accumulated", "after", "before", "metadata", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, HookTable] = {}
        self.before = HookTable()
        self.after = HookTable()
        self.accumulated = HookTable()
        self.metadata: dict[Any, Any] = {}


def hooks_of(target: Target) -> Hooks | None:
    """The hooks of a node or leaf; None where nothing was ever registered."""
    found: Hooks | None = getattr(target, "hooks", None)
    return found


def hooks_for(target: Target) -> Hooks:
    """The hooks of a node or leaf, made if need be."""
    found = hooks_of(target)
    if found is None:
        found = target.hooks = Hooks()
    return found


def register(target: Target, index: int, hook: Hook) -> RemovableHandle:
    """Call ``hook`` with each gradient of output ``index``."""
    return hooks_for(target).tensor.setdefault(index, HookTable()).add(hook)


_walking: ContextVar[HookedWalk | None] = ContextVar("telegrad_walk", default=None)

current_walk: Final[Callable[[], HookedWalk | None]] = _walking.get
"""The innermost walk that is calling hooks now, in this thread and task."""


class HookedWalk(Walk):
    """A walk that calls hooks. See ``Walk`` for how it is used."""

    def __init__(self, home: Engine, *, retain_graph: bool, create_graph: bool, wanted: Sequence[Tensor] | None) -> None:
        super().__init__(home, retain_graph=retain_graph, create_graph=create_graph, wanted=wanted)
        self.accumulate = False
        self.seeds: list[tuple[Target, int, Any]] = []
        self.missing: dict[int, int] = {}
        self.met = self.missing.keys()
        self.arrived: dict[int, tuple[Target, Gradients, list[bool]]] = {}
        self.ready = Ready()

    def seed(self, root: Tensor, gradient: Any) -> None:
        """Start at ``root`` with ``gradient``."""
        self.seeds.append((root.current_node() or root, root.output_index, gradient))

    def executes(self, tensor: Tensor) -> bool:
        """Whether this walk comes by the tensor."""
        return id(tensor.current_node() or tensor) in self.met

    def run(self, *, accumulate: bool) -> None:
        """See ``Walk.run``."""
        self.accumulate = accumulate
        mode = modes.set_mode(self.create_graph)
        token = quiet.enter()
        outer = _walking.set(self)
        try:
            self._count()
            for target, index, gradient in self.seeds:
                self._arrive(target, index, gradient)
            self.seeds.clear()
            while len(self.ready):
                target, gradients, owned = self.arrived.pop(self.ready.pop())
                if isinstance(target, Node):
                    self._run_node(target, gradients)
                else:
                    self._serve_leaf(target, gradients[0], owned[0])
        finally:
            _walking.reset(outer)
            quiet.leave(token)
            modes.reset_mode(mode)

    # What comes when ---------------------------------------------------------------------------------------------------------

    def _goes_to(self, target: Target) -> bool:
        if isinstance(target, Node):
            return self.needed is None or target.number in self.needed
        return not self.restricted or id(target) in self.wanted_leaves

    def _count(self) -> None:
        """How many gradients (or Nones) each node and leaf is to wait for."""
        missing = self.missing
        todo: list[Node] = []

        def expect(target: Target) -> None:
            if self._goes_to(target):
                key = id(target)
                before = missing.get(key, 0)
                missing[key] = before + 1
                if not before and isinstance(target, Node):
                    todo.append(target)

        for target, _, _ in self.seeds:
            expect(target)
        while todo:
            for target in todo.pop().edges:
                expect(target)

    def _arrive(self, target: Target, index: int, gradient: Any) -> None:
        if not self._goes_to(target):
            return
        key = id(target)
        entry = self.arrived.get(key)
        if entry is None:
            count = len(target.layouts) if isinstance(target, Node) else 1
            entry = self.arrived[key] = (target, [None] * count, [False] * count)
        if gradient is not None:
            gradient = self._fit(gradient, *_layout(target, index))
            _, gradients, owned = entry
            if gradients[index] is None:
                gradients[index] = gradient
            else:
                gradients[index], owned[index] = self._add(gradients[index], gradient, owned[index])
        self.missing[key] -= 1
        if not self.missing[key]:
            self.ready.push(target.number if isinstance(target, Node) else _LEAVES_FIRST, key)

    # Nodes -------------------------------------------------------------------------------------------------------------------

    def _run_node(self, node: Node, gradients: Gradients) -> None:
        hooks = hooks_of(node)
        goes_on = self.needed is None or self.accumulate or self._leads_on(node, self.needed)
        if goes_on:
            self._capture(node, gradients)  # PyTorch gives those on the way out as they are before the hooks
        if hooks is not None:
            for index, table in hooks.tensor.items():
                gradients[index] = self._through(table, gradients[index])
        self._retain(node, gradients)
        if not goes_on:
            self._capture(node, gradients)
            return
        if hooks is not None and len(hooks.before):
            gradients = list(self._through_all(hooks.before, tuple(gradients), ()))
        values = self._differentiate(node, gradients)
        if hooks is not None and len(hooks.after):
            values = self._after(node, hooks.after, values, gradients)
        for edge, value in enumerate(values):
            self._arrive(node.edges[edge], node.indexes[edge], value)

    def _capture(self, node: Node, gradients: Gradients) -> None:
        for index, gradient in enumerate(gradients):
            for position in self.wanted_outputs.get((node.number, index), ()):
                self.captured[position] = gradient

    def _retain(self, node: Node, gradients: Gradients) -> None:
        for index, references in (node.retained or {}).items():
            gradient = gradients[index]
            for reference in references:
                tensor = reference()
                if tensor is not None and gradient is not None:
                    self.made_bytes += tensor.accumulate_grad(gradient, in_place=False)

    def _differentiate(self, node: Node, gradients: Gradients) -> list[Any]:
        """One gradient per edge, None where there is none or nobody wants it."""
        values: list[Any] = [None] * len(node.edges)
        plan = node.plan
        if any(g is not None for g in gradients):
            saved = self._saved(node)
            filled = [self._zeros(node, i) if g is None else g for i, g in enumerate(gradients)]
            made = plan.differentiate(filled[0] if len(filled) == 1 else tuple(filled), saved)
            for edge, value in zip(plan.targets, made, strict=True):
                target = node.edges[edge]
                if edge >= 0 and value is not None and self._goes_to(target):
                    values[edge] = self._fit(value, *_layout(target, node.indexes[edge]))
        if plan.saves and not self.retain_graph:
            node.saved = None
        return values

    def _after(self, node: Node, table: HookTable, values: list[Any], gradients: Gradients) -> list[Any]:
        """The gradients per edge after the node's hooks, which see one per input."""
        plan = node.plan
        positions = edge_positions(plan.entry.op, plan.positions, plan.count)
        edges = [None if p is None else plan.positions.index(p) for p in positions]
        given = tuple([None if e is None else values[e] for e in edges])
        found = list(values)
        for edge, value in zip(edges, self._through_all(table, given, (tuple(gradients),)), strict=True):
            if edge is not None:
                found[edge] = value
        return found

    # Leaves ------------------------------------------------------------------------------------------------------------------

    def _serve_leaf(self, leaf: Tensor, gradient: Any, owned: bool) -> None:
        hooks = hooks_of(leaf)
        if hooks is not None:
            for table in hooks.tensor.values():
                gradient = self._through(table, gradient)
        if gradient is not None:
            for position in self.wanted_leaves.get(id(leaf), ()):
                self.captured[position] = gradient
        if not self.accumulate:
            return
        if hooks is not None and len(hooks.before):
            (gradient,) = self._through_all(hooks.before, (gradient,), ())
        if gradient is not None:
            may_keep = owned or may_steal(gradient)
            self.made_bytes += leaf.accumulate_grad(gradient, may_keep=may_keep and hooks is None)
        if hooks is not None:
            for hook in hooks.accumulated.functions():
                check_replacement(hook, leaf, hook(leaf), type(leaf))
            self._through_all(hooks.after, (), ((gradient,),))

    # Calling hooks -----------------------------------------------------------------------------------------------------------

    def _shown(self, gradient: Any) -> Any:
        """The gradient as hooks see it."""
        return gradient if gradient is None or self.create_graph else self.home.wrap(gradient)

    def _taken(self, tensor: Any) -> Any:
        """What a hook gave, as the walk carries it."""
        if tensor is None:
            return None
        if tensor.home is not self.home:
            raise SessionMismatchError(checks.OTHER_SESSION)
        return tensor if self.create_graph else tensor.array

    def _through(self, table: HookTable, gradient: Any) -> Any:
        """The gradient after the hooks, each of which may replace it."""
        functions = table.functions()
        if not functions:
            return gradient
        shown = self._shown(gradient)
        for hook in functions:
            result = hook(shown)
            if result is not None:
                check_replacement(hook, shown, result, self.tensor_class)
                shown = result
        return self._taken(shown)

    def _through_all(self, table: HookTable, values: tuple[Any, ...], more: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
        """The same for hooks that see several gradients at once, and perhaps ``more`` that they cannot replace."""
        functions = table.functions()
        if not functions:
            return values
        shown = tuple([self._shown(v) for v in values])
        others = [tuple([self._shown(v) for v in group]) for group in more]
        for hook in functions:
            result = hook(shown, *others)
            if result is not None:
                check_replacements(hook, shown, result, self.tensor_class)
                shown = result
        return tuple([self._taken(v) for v in shown])

    @property
    def tensor_class(self) -> type[Any]:
        """What gradients are to hooks."""
        from telegrad_service.engine.tensor import Tensor as EngineTensor  # it needs the graph, and this module

        return EngineTensor


def _layout(target: Target, index: int) -> tuple[Any, Any]:
    """Shape and type of what arrives there."""
    return target.layouts[index] if isinstance(target, Node) else (target.array.shape, target.array.dtype)
