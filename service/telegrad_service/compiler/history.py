"""The graphs of what a program gives out: nodes like those of the recorded run, made when somebody looks at them."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad_service.compiler.effects import Symbol
from telegrad_service.compiler.ir import CONSTANT, TEMPORARY
from telegrad_service.engine.graph import DeferredNode, Layout, Node, deferred, note_write, reserve
from telegrad_service.engine.parts import Part
from telegrad_service.engine.table import Plan as NodePlan
from telegrad_service.engine.tensor import Tensor

if TYPE_CHECKING:
    from telegrad_service.compiler.recorder import Recorder

_FIXED: Final = (bool, int, float, complex, str, bytes, type(...), DType, np.dtype, np.generic, slice, range)
"""Besides arrays, what nodes save: of the program's own text, and the same in every run. What a kernel found (``kept``) is not."""


_new: Final = object.__new__


class _Row(NamedTuple):
    """A node of the graph, without what differs from run to run.

    Attributes:
        guards: for each write counter that it looks at: its number, and how often was written there after the node was made.
        edges: takes the edges from all nodes, leaves and outer nodes in a row.
        outer: for each edge the position of the tensor whose node it leads to; None for an edge within the graph or to a leaf.
    """

    plan: NodePlan
    parameters: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    others: tuple[Layout, ...] | None
    scope: str | None
    guards: tuple[tuple[int, int], ...]
    edges: Callable[[Sequence[Any]], tuple[Any, ...]]
    indexes: tuple[int, ...]
    outer: tuple[int | None, ...]


class History:
    """The graph that leads to some tensors, for making one like it in each run.

    Attributes:
        failed: why there cannot be one.
        size: number of nodes.
        place: by identity of a tensor: the place of its node.
        saved: by place: what a node that a walk is still to come to has saved, with values for arrays.
        counted: tensors whose write counters such nodes look at, and that outlive the run.
    """

    def __init__(self, tops: Sequence[Tensor], recorder: Recorder) -> None:
        """Look at the graph of a run that was recorded.

        Args:
            tops: tensors that were made by nodes.
            recorder: knows the arrays, the leaves, and what is given out.
        """
        self.failed = ""
        found: dict[int, Node] = {}
        todo = [t.node for t in tops if t.node is not None]
        if any(node.number < recorder.begun for node in todo):
            self.failed = "a result with a history of before the run"
        while todo:
            node = todo.pop()
            if node.number in found:
                continue
            found[node.number] = node
            todo.extend(target for target in node.edges if isinstance(target, Node) and target.number > recorder.begun)
        numbers = sorted(found)
        place = {number: i for i, number in enumerate(numbers)}
        self._nodes = [found[number] for number in numbers]
        self._rows: list[_Row] = []
        self._ends: list[tuple[int, bool]] = []  # positions of given tensors that edges lead to, and whether to their nodes
        self._tops = sorted({place[t.node.number] for t in tops if t.node is not None})
        self.place = {id(t): place[t.node.number] for t in tops if t.node is not None}
        self.size = len(self._nodes)
        self.saved: dict[int, tuple[Any, ...]] = {}
        self.counted: list[Symbol] = []
        self._own_counters: list[int] = []
        self._guards: dict[int, tuple[tuple[int, int], ...]] = {}
        self._written = False
        self._look_at_saved(recorder)
        self._look_at_counters(recorder)
        for at, node in enumerate(self._nodes):
            ends = [self._end(target, index, place, recorder) for target, index in zip(node.edges, node.indexes, strict=True)]
            self._rows.append(self._row(at, node, ends))
        self._kept = [None if at in self.saved else node.saved for at, node in enumerate(self._nodes)]

    def _end(self, target: Node | Tensor, index: int, place: dict[int, int], recorder: Recorder) -> tuple[int, int | None]:
        """Where an edge leads: its place after all nodes, and of an outer node the position of the tensor that it made."""
        if isinstance(target, Node) and target.number in place:
            return place[target.number], None
        outer = isinstance(target, Node)
        at = recorder.index_of_made(target, index) if isinstance(target, Node) else recorder.index(target)
        if at is None:
            self.failed = self.failed or "a leaf that only the program knows"
            return 0, None
        if (at, outer) not in self._ends:
            self._ends.append((at, outer))
        return self.size + self._ends.index((at, outer)), at if outer else None

    def _row(self, at: int, node: Node, ends: Sequence[tuple[int, int | None]]) -> _Row:
        edges = [end for end, _ in ends]
        scope = node.scope if hasattr(node, "scope") else None
        outer = tuple([tensor for _, tensor in ends])
        return _Row(
            *(node.plan, node.parameters, node.shape, node.dtype, node.others, scope, self._guards.get(at, ())),
            *(_taker(edges), node.indexes, outer if any(tensor is not None for tensor in outer) else ()),
        )

    # What a walk that is still to come needs ---------------------------------------------------------------------------------

    def _look_at_saved(self, recorder: Recorder) -> None:
        for at, node in enumerate(self._nodes):
            if node.retained is not None:
                self.failed = self.failed or "a gradient that is retained"
            elif any(isinstance(part, (np.ndarray, Part)) for part in _parts(node.saved)):
                if type(node) is not Node or type(node.plan) is not NodePlan or hasattr(node, "hooks"):
                    self.failed = self.failed or "a node of its own kind that is still to be walked"
                    continue
                sources = zip(node.plan.sources, node.saved or (), strict=True)
                self.saved[at] = tuple([self._template(x, kind, recorder) for (kind, _), x in sources])

    def _template(self, x: Any, kind: str, recorder: Recorder) -> Any:
        """What a node saved, with values for arrays."""
        if type(x) is np.ndarray:
            if not recorder.knows(x):
                self.failed = self.failed or "a saved array that was not recorded"
                return None
            value = recorder.value(x)
            if value.storage.kind == CONSTANT:  # nobody is to find a way to write to it
                value = recorder.copy(value, x)
            if value.storage.kind == TEMPORARY:
                value.storage.escapes = True
            return value
        if type(x) is tuple:
            return tuple([self._template(item, kind, recorder) for item in x])  # pyright: ignore[reportUnknownVariableType]
        if x is not None and (kind == "kept" or not isinstance(x, _FIXED)):
            self.failed = self.failed or "a saved value that is no array"
        return x

    def _look_at_counters(self, recorder: Recorder) -> None:
        """Number the write counters: first those of tensors that outlive the run, then the others."""
        owners, left = recorder.counters()
        looked_at = {id(counter): counter for at in self.saved for counter in self._nodes[at].guards[::2]}
        if looked_at.keys() & left:
            self.failed = self.failed or "a saved gradient"
        numbers: dict[int, int] = {}
        for key in sorted(looked_at, key=lambda key: key not in owners):
            numbers[key] = len(numbers)
            if key in owners:
                self.counted.append(owners[key])
            else:
                self._own_counters.append(looked_at[key][0])
        for at in self.saved:
            guards = self._nodes[at].guards
            pairs = zip(guards[::2], guards[1::2], strict=True)
            self._guards[at] = tuple([(numbers[id(counter)], counter[0] - then) for counter, then in pairs])
        self._written = any(behind for guards in self._guards.values() for _, behind in guards)

    # A run -------------------------------------------------------------------------------------------------------------------

    def build(self, leaves: Sequence[Tensor], counted: Sequence[Tensor], saved: Sequence[tuple[Any, ...]]) -> dict[int, Node]:
        """The nodes of the tops, by their place. Their edges, and all other nodes, are made when they are asked for.

        Args:
            leaves: the tensors that the program was given.
            counted: of this run.
            saved: what nodes save in this run, in the order of ``self.saved``.
        """
        first = reserve(self.size)
        kept: list[Any] = self._kept
        counters: list[list[int]] = []
        if saved:
            kept = kept.copy()
            for at, values in zip(self.saved, saved, strict=True):
                kept[at] = values
            counters = [*[t.shared_version() for t in counted], *[[n] for n in self._own_counters]]
            if self._written:
                note_write()
        # All as it is now: a write in place raises a counter, and gives a tensor another history.
        now = [counter[0] for counter in counters]
        ends: list[Any] = [leaves[at].node if outer else leaves[at] for at, outer in self._ends]
        indexes = {at: leaves[at].output_index for at, outer in self._ends if outer}

        def made(at: int, kind: type[Node]) -> Node:
            node = _new(kind)
            node.plan, node.parameters, node.shape, node.dtype, node.others, scope, guards, *_ = self._rows[at]
            node.saved, node.number, node.retained = kept[at], first + at, None
            node.guards = tuple([x for n, behind in guards for x in (counters[n], now[n] - behind)]) if guards else ()
            if scope is not None:
                node.scope = scope
            return node

        tops = {at: made(at, DeferredNode) for at in self._tops}
        # Weakly: what `deferred` has for a node must not keep that node.
        there = {at: weakref.ref(node) for at, node in tops.items()}

        def fill(_: Node) -> None:
            nodes: list[Any] = [(there[at]() if at in there else None) or made(at, Node) for at in range(self.size)]
            everything = nodes + ends
            for node, row in zip(nodes, self._rows, strict=True):
                own = row.indexes
                if row.outer:
                    own = tuple([i if at is None else indexes[at] for i, at in zip(own, row.outer, strict=True)])
                node.edges, node.indexes = row.edges(everything), own
            for at in there:  # when all is there: other threads may look
                nodes[at].__class__ = Node
                deferred.pop(nodes[at], None)

        for node in tops.values():
            deferred[node] = fill, self.size
        return tops

    def forget(self) -> None:
        """Let go of the recorded run's nodes: what runs need of them was copied."""
        self._nodes.clear()
        self.saved = dict.fromkeys(self.saved, ())


def _taker(edges: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Takes what stands at these positions, as a tuple."""
    if len(edges) == 1:
        (only,) = edges
        return lambda everything: (everything[only],)
    return operator.itemgetter(*edges) if edges else lambda _: ()


def _parts(saved: Any) -> list[Any]:
    if isinstance(saved, tuple):
        return [part for item in saved for part in _parts(item)]  # pyright: ignore[reportUnknownVariableType]
    return [] if saved is None else [saved]
