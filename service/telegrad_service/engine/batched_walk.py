"""Many vectors through a graph in one walk: ``is_grads_batched``. Every gradient has one dimension more, in front.

A formula that works element by element takes gradients with that dimension as they are, since its other arguments broadcast
against them; some that know shapes and dimensions do so once those are moved by one. All others run on ``Batched`` tensors, as
every formula does with ``create_graph``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.tensor.tensor import Tensor as AbstractTensor
from telegrad.contract.transforms import batching
from telegrad.contract.transforms.batched import ELEMENTWISE, Batched, VmapLevel
from telegrad.contract.transforms.wrapper import entered
from telegrad_service.engine.graph import Node, tensors_of_saved
from telegrad_service.engine.parts import Part
from telegrad_service.engine.walk import Walk

_ = batching  # importing it fills the rules

if TYPE_CHECKING:
    from telegrad_service.engine.table import Plan
    from telegrad_service.engine.tensor import Engine, Tensor

Shift: TypeAlias = Callable[[Any, int], Any]
"""From a parameter and the rank of the op's first input, to what it is where one dimension stands in front."""

Formula: TypeAlias = Callable[[Any, tuple[Any, ...]], Any]
"""From gradients with their vectors in front, and what the node saved, to the gradients of its inputs, likewise."""


def _dimensions(dim: Any, rank: int) -> Any:
    if dim is None or dim == ():
        return tuple(range(1, rank + 1))
    if isinstance(dim, int):
        return dim + 1 if dim >= 0 else dim
    return tuple([d + 1 if d >= 0 else d for d in dim])


def _order(dims: Any, _: int) -> Any:
    return (0, *[d % len(dims) + 1 for d in dims])


def _index(index: Any, _: int) -> Any:
    return (slice(None), *index)


SHIFTS: Final[dict[str, dict[str, Shift]]] = {
    **{name: {} for name in ("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand")},
    **{name: {"dim": _dimensions} for name in ("sum", "mean")},
    **{name: {"dim": _dimensions} for name in ("select", "narrow")},
    "transpose": {"dim0": _dimensions, "dim1": _dimensions},
    "permute": {"dims": _order},
    **{name: {"index": _index} for name in ("getitem", "_getitem_gradient")},
}
"""Ops whose formulas know shapes and dimensions, and take gradients with one dimension more once those are moved: which
parameters, and how. Shapes of inputs and outputs get the number of vectors in front.
"""


def _select_first(g: Any, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    shape, index = saved
    return (Part(g, (g.shape[0], *shape), (slice(None), index, ...)),)


def _sum_to_size(g: Any, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    (shape,) = saved
    missing = len(shape) + 1 - g.ndim
    return (np.broadcast_to(g.reshape(g.shape[0], *(1,) * missing, *g.shape[1:]), (g.shape[0], *shape)),)


OWN: Final[dict[str, Formula]] = {"getitem.int": _select_first, "sum_to_size": _sum_to_size}
"""Formulas of ops whose own cannot be moved."""

_ways: Final[dict[Plan, Formula | None]] = {}
"""Per plan: its formulas on arrays with one dimension more; None where they need ``Batched`` tensors."""

_MOST_WAYS: Final = 1024


def _way(plan: Plan) -> Formula | None:
    name = plan.entry.op.name
    if name in OWN:
        return OWN[name]
    shifts = SHIFTS.get(name)
    if shifts is None and name not in ELEMENTWISE:
        return None
    if any(kind.startswith("inputs") for kind, _ in plan.sources):
        return None
    differentiate = plan.differentiate
    sizes = [i for i, (kind, _) in enumerate(plan.sources) if kind.endswith("_shape")]
    moves = [(i, shifts[what]) for i, (kind, what) in enumerate(plan.sources) if shifts and kind == "parameter" and what in shifts]
    if not sizes and not moves:
        return differentiate

    def moved(g: Any, saved: tuple[Any, ...]) -> Any:
        values = list(saved)
        rank = len(values[sizes[0]]) if sizes else g.ndim - 1
        if moves and not rank:
            return None  # a 0-d tensor accepts dimensions that it does not have
        for i, move in moves:
            values[i] = move(values[i], rank)
        count = g.shape[:1]
        for i in sizes:
            values[i] = count + values[i]
        return differentiate(g, tuple(values))

    return moved


class BatchedWalk(Walk):
    """``Walk`` with gradients of many vectors: arrays with one dimension more, or ``Batched`` tensors with ``create_graph``."""

    def __init__(self, home: Engine, count: int, *, retain_graph: bool, create_graph: bool, wanted: Sequence[Tensor]) -> None:
        """Prepare a walk for ``count`` vectors; otherwise as ``Walk``."""
        super().__init__(home, retain_graph=retain_graph, create_graph=create_graph, wanted=wanted)
        self.count = count
        self.level = VmapLevel(count)

    def begin(self, roots: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
        """Walk from ``roots`` with ``vectors``, whose first dimension counts them; what was asked for is in ``captured``."""
        with entered(self.level):
            self.restrict(roots)
            for root, vector in zip(roots, vectors, strict=True):
                self.seed(root, Batched(self.level, vector) if self.create_graph else vector.array)
            self.run(accumulate=False)

    def result(self, position: int) -> Any:
        """The gradients of a wanted tensor, one vector's after the other's; None where it was not reached."""
        found = self.captured.pop(position, None)
        if found is None:
            return None
        return self.level.values_of(found) if isinstance(found, AbstractTensor) else found

    def _run_arrays(self) -> None:
        self._drain(self._visit_rows)

    def _visit_rows(self, node: Node, gradients: list[Any]) -> None:
        asked = node.retained is not None or (self.needed is not None and node.number in self.wanted_nodes)
        if asked and not self._note(node, gradients):
            return
        plan = node.plan
        try:
            way = _ways[plan]
        except KeyError:
            if len(_ways) >= _MOST_WAYS:
                _ways.clear()
            way = _ways[plan] = _way(plan)
        values: Any = None
        saved = self._saved(node)
        if way is not None and node.others is None:
            values = way(gradients[0], saved)
        if values is None:
            values = self._with_tensors(node, gradients, saved)
        edges, needed, indexes = node.edges, self.needed, node.indexes
        for edge, value in zip(plan.targets, values, strict=True):
            if edge < 0 or value is None:
                continue
            target: Any = edges[edge]
            if not isinstance(target, Node):
                self._reach_leaf(target, value)
            elif needed is None or target.number in needed:
                self._reach(target, indexes[edge], value)
        if plan.saves and not self.retain_graph:
            node.saved = None

    def _with_tensors(self, node: Node, gradients: list[Any], saved: tuple[Any, ...]) -> Any:
        """The node's formulas on ``Batched`` tensors, their results as arrays."""
        wrap, level = self.home.wrap, self.level
        filled = [self._zeros(node, i) if x is None else x for i, x in enumerate(gradients)]
        batched = [None if x is None else Batched(level, wrap(x)) for x in filled]
        g: Any = batched[0] if len(batched) == 1 else tuple(batched)
        made = node.plan.differentiate(g, tensors_of_saved(self.home, node, saved))
        return tuple([self._array(x) for x in made])

    def _array(self, x: Any) -> Any:
        if x is None:
            return None
        if isinstance(x, Batched):
            return x.value.array
        array = x.array if isinstance(x, AbstractTensor) else np.asarray(x)  # type: ignore[attr-defined]
        return np.broadcast_to(array, (self.count, *array.shape))  # a constant of the formula

    def _fit(self, gradient: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        if not self.create_graph:
            full = (self.count, *shape)
            if gradient.__class__ is Part:
                gradient = np.asarray(gradient)
            if gradient.shape != full:
                gradient = _sum_rows(gradient, full)
            if gradient.dtype is not dtype and gradient.dtype != dtype:
                if gradient.dtype.kind == "c" and dtype.kind != "c":
                    gradient = np.real(gradient)
                gradient = gradient.astype(dtype, copy=False)
            return gradient
        if not isinstance(gradient, AbstractTensor):
            gradient = self.home.wrap(np.asarray(gradient))
        if gradient.shape != shape:
            gradient = gradient._apply("sum_to_size", gradient, size=shape)
        wanted = dtypes.from_numpy(dtype)
        if gradient.dtype is not wanted:
            if gradient.dtype.is_complex and not wanted.is_complex:
                gradient = gradient._apply("real", gradient)
            gradient = gradient._apply("to", gradient, dtype=wanted)
        return gradient

    def _reach(self, node: Node, index: int, gradient: Any) -> None:
        if gradient.__class__ is not Part:  # of one vector and one element, the shapes say too little
            others = node.others
            gradient = self._fit(gradient, *((node.shape, node.dtype) if index == 0 or others is None else others[index - 1]))
        super()._reach(node, index, gradient)

    def _reach_leaf(self, leaf: Tensor, gradient: Any) -> None:
        if self.restricted and id(leaf) not in self.wanted_leaves:
            return
        if gradient.__class__ is not Part:
            gradient = self._fit(gradient, leaf.array.shape, leaf.array.dtype)
        super()._reach_leaf(leaf, gradient)

    def _finish(self, accumulate: bool) -> None:
        # What retains its gradient gets the sum over the vectors, as if they came one after another.
        self.retained = [
            (t, self.level.values_of(g).sum(0) if isinstance(g, AbstractTensor) else g.sum(axis=0)) for t, g in self.retained
        ]
        super()._finish(accumulate)

    def _zeros(self, node: Node, index: int) -> Any:
        if not node.plan.fills:
            return None
        shape, dtype = node.layouts[index]
        return self.home.wrap(np.zeros(shape, dtype)) if self.create_graph else np.zeros((self.count, *shape), dtype)


def _sum_rows(array: Any, full: tuple[int, ...]) -> Any:
    """Each row of ``array`` summed over the dimensions along which a tensor was broadcast, to the shape ``full``, rows first."""
    lead = array.ndim - len(full)
    if lead < 0:
        return array.reshape(full)  # sizes of one
    axes = (*range(1, 1 + lead), *[lead + i for i in range(1, len(full)) if full[i] == 1 and array.shape[lead + i] != 1])
    summed = array.sum(axis=axes, keepdims=True) if axes else array
    return summed.reshape(full)
