"""The graphs of what a program gives out: nodes without values, made when somebody looks at them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from telegrad_service.engine.graph import DeferredNode, Node, deferred, reserve
from telegrad_service.engine.parts import Part
from telegrad_service.engine.tensor import Tensor


class History:
    """The graph that leads to some tensors, for making one like it in each run.

    Attributes:
        failed: why there cannot be one.
        size: number of nodes.
    """

    def __init__(self, tops: Sequence[Tensor], leaf: Callable[[Tensor], int | None]) -> None:
        """Look at the graph of a run that was recorded.

        Args:
            tops: tensors that were made by nodes.
            leaf: the position of a leaf among the tensors that the program is given.
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
            if any(isinstance(part, (np.ndarray, Part)) for part in _parts(node.saved)) or node.retained is not None:
                self.failed = "an output whose graph is still to be walked"
            edges: list[tuple[bool, int]] = []
            for target in node.edges:
                at = place[target.number] if isinstance(target, Node) else leaf(target)
                if at is None:
                    self.failed = self.failed or "a leaf that only the program knows"
                edges.append((isinstance(target, Node), at or 0))
            self._edges.append(tuple(edges))
        self._tops = sorted({place[t.node.number] for t in tops if t.node is not None})
        self.place = {id(t): place[t.node.number] for t in tops if t.node is not None}
        self.size = len(self._models)

    def build(self, leaves: Sequence[Tensor]) -> dict[int, Node]:
        """The nodes of the tops, by their place. Their edges, and all other nodes, are made when they are asked for."""
        first = reserve(self.size)
        tops = {at: self._node(at, first + at, DeferredNode) for at in self._tops}
        # Weakly: what `deferred` has for a node must not keep that node.
        there = {at: weakref.ref(node) for at, node in tops.items()}

        def fill(_: Node) -> None:
            alive = {at: node() for at, node in there.items()}
            nodes = [alive.get(at) or self._node(at, first + at) for at in range(self.size)]
            for node, model, edges in zip(nodes, self._models, self._edges, strict=True):
                deferred.pop(node, None)
                node.__class__ = Node
                node.edges = tuple([nodes[at] if inner else leaves[at] for inner, at in edges])
                node.indexes = model.indexes

        for node in tops.values():
            deferred[node] = fill
        return tops

    def _node(self, at: int, number: int, kind: type[Node] = Node) -> Node:
        model = self._models[at]
        node = object.__new__(kind)
        node.plan, node.parameters, node.saved = model.plan, model.parameters, model.saved
        node.shape, node.dtype, node.others, node.guards = model.shape, model.dtype, model.others, ()
        node.number, node.retained = number, None
        if hasattr(model, "scope"):
            node.scope = model.scope
        return node

    def forget(self) -> None:
        """Let go of the recorded run's nodes, but for what is copied of them."""
        for at, model in enumerate(self._models):
            copy = self._node(at, 0)
            copy.indexes = model.indexes
            self._models[at] = copy


def _parts(saved: Any) -> list[Any]:
    if isinstance(saved, tuple):
        return [part for item in saved for part in _parts(item)]  # pyright: ignore[reportUnknownVariableType]
    return [] if saved is None else [saved]
