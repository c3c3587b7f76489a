"""The walk that carries gradients back through a graph."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from telegrad.contract import dtypes, modes
from telegrad.contract.errors import GraphFreedError, VersionError
from telegrad_service.engine import quiet
from telegrad_service.engine.graph import RARE_NODES, CustomNode, Node, last_write, tensors_of_saved
from telegrad_service.engine.ownership import may_steal
from telegrad_service.engine.parts import Part
from telegrad_service.engine.sums import sum_to_shape

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine, Tensor


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
                if tensor.tracks:  # gradients end at no view without history
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

    def leads_from(self, root: Tensor) -> bool:
        """Whether the walk goes on from a root, once it is restricted."""
        node = root.current_node()
        return self.needed is None or (id(root) in self.wanted_leaves if node is None else node.number in self.needed)

    def is_seen(self, root: Tensor) -> bool:
        """Whether somebody looks at the gradient of a root that leads to nothing wanted."""
        node = root.current_node()
        return node is not None and node.retained is not None

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
        target: Any
        while todo:
            for target in todo.pop().edges:
                if target.__class__ is Node or target.__class__ in RARE_NODES:
                    number = target.number
                    if number not in nodes and number >= lowest:
                        nodes[number] = target
                        todo.append(target)
        needed = set(nodes.keys() & wanted_nodes)
        leaves = self.wanted_leaves
        for number in sorted(nodes):  # edges lead to lower numbers
            for target in nodes[number].edges:
                is_node = target.__class__ is Node or target.__class__ in RARE_NODES
                if target.number in needed if is_node else id(target) in leaves:
                    needed.add(number)
                    break
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
            number = -heapq.heappop(heap)
            node, g, _ = pending.pop(number)  # nobody else holds g then: its memory is free as soon as it has served
            if g is None:
                self._visit(node, [None])
                continue
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
                guards = node.guards if number < last_write[0] else ()
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
                    if target.__class__ is not Node and target.__class__ not in RARE_NODES:
                        self._reach_leaf(target, g)
                        break
                    if needed is not None and target.number not in needed:
                        break
                    if target.others is not None:
                        self._reach_one_of_several(target, node.indexes[0], g)
                        break
                    if g.__class__ is not array_type or g.shape != target.shape or g.dtype is not target.dtype:
                        self._reach(target, node.indexes[0], g)
                        break
                    follower = target
                else:
                    following: Any = None
                    values = plan.differentiate(g, saved)
                    del g
                    for edge, value in zip(plan.targets, values):  # noqa: B905 - as many of both; strict costs 60 ns a node
                        if edge < 0 or value is None:
                            if edge >= 0 and node.__class__ is CustomNode:
                                self._reach_nothing(edges[edge])
                            continue
                        target = edges[edge]
                        if target.__class__ is not Node and target.__class__ not in RARE_NODES:
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
                                if target.number > follower.number:  # the newer one is due first
                                    target, follower = follower, target
                                    value, following = following, value
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
        filled = [self._zeros(node, i) if x is None else x for i, x in enumerate(gradients)]
        g = filled[0] if len(filled) == 1 else tuple(filled)
        for edge, value in zip(plan.targets, plan.differentiate(g, saved), strict=True):
            if edge >= 0 and value is not None:
                self._send(node, edge, value)
            elif edge >= 0 and node.__class__ is CustomNode:
                self._reach_nothing(node.edges[edge])
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
        target: Any = node.edges[edge]
        if target.__class__ is Node or target.__class__ in RARE_NODES:
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

    def _reach_one_of_several(self, node: Node, index: int, gradient: Any) -> None:
        """``_reach`` for a node with several outputs: without many questions where this one has no gradient yet."""
        others: Any = node.others
        entry = self.pending.get(node.number)
        if entry is None:
            count = 1 + len(others)
            entry = self.pending[node.number] = [node, [None] * count, [False] * count]
            heapq.heappush(self.heap, -node.number)
        shape, dtype = others[index - 1] if index else (node.shape, node.dtype)
        if entry[1][index] is None and gradient.__class__ is np.ndarray and gradient.shape == shape and gradient.dtype is dtype:
            entry[1][index] = gradient
        else:
            self._reach(node, index, gradient)

    def _reach_nothing(self, target: Node | Tensor) -> None:
        """A custom node gave no gradient here. Formulas pass nothing on; custom nodes behind them run all the same, as they do in
        PyTorch.
        """
        todo: list[Any] = [target]
        seen: set[int] = set()
        while todo:
            node = todo.pop()
            if not isinstance(node, Node) or node.number in seen or (self.needed is not None and node.number not in self.needed):
                continue
            seen.add(node.number)
            if node.__class__ is not CustomNode:
                todo.extend(node.edges)
            elif node.number not in self.pending:
                count = len(node.layouts)
                self.pending[node.number] = [node, None, False] if count == 1 else [node, [None] * count, [False] * count]
                heapq.heappush(self.heap, -node.number)

    def _add(self, before: Any, gradient: Any, owned: bool) -> tuple[Any, bool]:
        """The sum, and whether its buffer is the walk's own (then the next sum goes into it)."""
        if before is None:
            return gradient, False
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
