"""The graphs of what a program gives out: nodes like those of the recorded run, made when somebody looks at them."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad_service.compiler.effects import TENSOR, Symbol
from telegrad_service.compiler.ir import CONSTANT, TEMPORARY
from telegrad_service.engine.graph import DeferredNode, Node, deferred, note_write, reserve
from telegrad_service.engine.parts import Part
from telegrad_service.engine.table import Plan as NodePlan
from telegrad_service.engine.tensor import Tensor

if TYPE_CHECKING:
    from telegrad_service.compiler.recorder import Recorder

_FIXED: Final = (bool, int, float, complex, str, bytes, type(...), DType, np.dtype, np.generic, slice, range)
"""Besides arrays, what nodes save: of the program's own text, and the same in every run. What a kernel found (``kept``) is not."""


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
        while todo:
            node = todo.pop()
            if node.number in found:
                continue
            found[node.number] = node
            todo.extend(target for target in node.edges if isinstance(target, Node))
        numbers = sorted(found)
        place = {number: i for i, number in enumerate(numbers)}
        self._models = [found[number] for number in numbers]
        self._edges: list[tuple[tuple[bool, int], ...]] = []
        for node in self._models:
            edges: list[tuple[bool, int]] = []
            for target in node.edges:
                at = place[target.number] if isinstance(target, Node) else recorder.index(target)
                if at is None:
                    self.failed = self.failed or "a leaf that only the program knows"
                edges.append((isinstance(target, Node), at or 0))
            self._edges.append(tuple(edges))
        self._tops = sorted({place[t.node.number] for t in tops if t.node is not None})
        self.place = {id(t): place[t.node.number] for t in tops if t.node is not None}
        self.size = len(self._models)
        self.saved: dict[int, tuple[Any, ...]] = {}
        self.counted: list[Symbol] = []
        self._own_counters: list[int] = []
        self._guards: dict[int, tuple[tuple[int, int], ...]] = {}
        self._written = False
        self._look_at_saved(recorder)
        self._look_at_counters(recorder)

    # What a walk that is still to come needs ---------------------------------------------------------------------------------

    def _look_at_saved(self, recorder: Recorder) -> None:
        for at, node in enumerate(self._models):
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
        owners: dict[int, Symbol] = {}
        left: set[int] = set()
        for tensor, symbol in recorder._symbols.values():
            if symbol.kind == TENSOR or symbol in recorder._given_out:
                owners[id(tensor.version)] = symbol
            else:
                left.add(id(tensor.version))
        looked_at = {id(counter): counter for at in self.saved for counter in self._models[at].guards[::2]}
        if looked_at.keys() & (left - owners.keys()):
            self.failed = self.failed or "a saved gradient"
        numbers: dict[int, int] = {}
        for key in sorted(looked_at, key=lambda key: key not in owners):
            numbers[key] = len(numbers)
            if key in owners:
                self.counted.append(owners[key])
            else:
                self._own_counters.append(looked_at[key][0])
        for at in self.saved:
            guards = self._models[at].guards
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
        keeps: dict[int, tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
        if saved:
            counters = [*[t.shared_version() for t in counted], *[[n] for n in self._own_counters]]
            now = [counter[0] for counter in counters]
            for (at, guards), kept in zip(self._guards.items(), saved, strict=True):
                keeps[at] = kept, tuple([x for n, behind in guards for x in (counters[n], now[n] - behind)])
            if self._written:
                note_write()
        tops = {at: self._node(at, first + at, keeps, DeferredNode) for at in self._tops}
        # Weakly: what `deferred` has for a node must not keep that node.
        there = [(at, weakref.ref(node)) for at, node in tops.items()]

        def fill(_: Node) -> None:
            alive: dict[int, Node] = {}
            for at, reference in there:
                node = reference()
                if node is not None:
                    alive[at] = node
                    deferred.pop(node, None)
                    node.__class__ = Node
            nodes = [alive.get(at) or self._node(at, first + at, keeps) for at in range(self.size)]
            for node, model, edges in zip(nodes, self._models, self._edges, strict=True):
                node.edges = tuple([nodes[at] if inner else leaves[at] for inner, at in edges])
                node.indexes = model.indexes

        for node in tops.values():
            deferred[node] = fill, self.size
        return tops

    def _node(
        self, at: int, number: int, keeps: dict[int, tuple[tuple[Any, ...], tuple[Any, ...]]], kind: type[Node] = Node
    ) -> Node:
        model = self._models[at]
        node = object.__new__(kind)
        node.plan, node.parameters = model.plan, model.parameters
        node.saved, node.guards = keeps.get(at) or (model.saved, ())
        node.shape, node.dtype, node.others = model.shape, model.dtype, model.others
        node.number, node.retained = number, None
        if hasattr(model, "scope"):
            node.scope = model.scope
        return node

    def forget(self) -> None:
        """Let go of the recorded run's nodes, but for what is copied of them."""
        gone = dict.fromkeys(self.saved, ((), ()))
        for at, model in enumerate(self._models):
            copy = self._node(at, 0, gone)
            copy.indexes = model.indexes
            self._models[at] = copy


def _parts(saved: Any) -> list[Any]:
    if isinstance(saved, tuple):
        return [part for item in saved for part in _parts(item)]  # pyright: ignore[reportUnknownVariableType]
    return [] if saved is None else [saved]
