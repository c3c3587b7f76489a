"""The walk of a recorded run: the plain walk, every step of which is noted."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from telegrad_service.compiler.ir import CALL, Result
from telegrad_service.compiler.noted import Noted, Noting
from telegrad_service.compiler.passes import in_order
from telegrad_service.compiler.recorder import Recorder, add_into
from telegrad_service.engine.graph import Node
from telegrad_service.engine.parts import Part
from telegrad_service.engine.sums import sum_to_shape
from telegrad_service.engine.table import Array
from telegrad_service.engine.walk import Walk


def _full(part: Part) -> Array:
    return np.asarray(part)


def _put(total: Array, part: Part) -> None:
    part.add_to(total)


def _plain(gradient: Any) -> Any:
    return gradient.held if isinstance(gradient, Noted) else gradient


def _into_type(gradient: Array, dtype: np.dtype[Any]) -> Array:
    if gradient.dtype.kind == "c" and dtype.kind != "c":
        gradient = np.real(gradient)
    return gradient.astype(dtype, copy=False)


class RecordingWalk(Walk):
    """Visits what ``Walk`` visits, in the same order, and adds up in the same order."""

    def __init__(self, recorder: Recorder, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.recorder = recorder
        self._noting = Noting(self.home, recorder)

    def seed(self, root: Any, gradient: Any) -> None:
        """See ``Walk.seed``."""
        array = gradient.array if self.create_graph else gradient
        if not self.recorder.knows(array):
            if array.size == 1 and array.reshape(-1)[0] == 1:
                self.recorder.constant(array)
            else:
                self.recorder.fail("a walk that begins with an unknown vector")
        super().seed(root, self._noting.around(gradient))

    def _run_arrays(self) -> None:
        self._drain(self._visit)

    def _visit(self, node: Node, gradients: list[Any]) -> None:
        if node.retained is not None:
            self.recorder.fail("a gradient that is retained on the way")
        if node.number < self.recorder.begun:
            self.recorder.fail("a walk that goes on where the program was given a history")
        if self.create_graph or self.recorder.failed:
            super()._visit(node, gradients)
            return
        if (node.retained is not None or (self.needed is not None and node.number in self.wanted_nodes)) and not self._note(
            node, gradients
        ):
            return
        plan = node.plan
        saved = self._saved(node)
        if len(gradients) == 1:
            g = gradients[0]
        else:
            g = tuple(self._zeros(node, i) if x is None else x for i, x in enumerate(gradients))
        values = self.recorder.unit(plan.differentiate, (g, saved), {}, plan.differentiate(g, saved))
        for edge, value in zip(plan.targets, values, strict=True):
            if edge >= 0 and value is not None:
                self._send(node, edge, value)
        if plan.saves and not self.retain_graph:
            node.saved = None

    def _saved(self, node: Node) -> tuple[Any, ...]:
        saved = super()._saved(node)
        return tuple([self._noting.around(value) for value in saved]) if self.create_graph else saved

    def _zeros(self, node: Node, index: int) -> Any:
        made = super()._zeros(node, index)
        if made is not None:
            self.recorder.constant(made.array if self.create_graph else made)
        return self._noting.around(made)

    def _fit(self, gradient: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        recorder = self.recorder
        if self.create_graph:
            if isinstance(gradient, (np.ndarray, np.generic, int, float, complex)):  # a formula's constant
                gradient = self.home.wrap(np.asarray(gradient))
                recorder.constant(gradient.array)
            return super()._fit(self._noting.around(gradient), shape, dtype)
        if recorder.failed:
            return super()._fit(gradient, shape, dtype)
        if isinstance(gradient, Part):
            gradient = recorder.unit(_full, (gradient,), {}, _full(gradient), fallible=False)
        if gradient.shape != shape:
            gradient = recorder.unit(sum_to_shape, (gradient, shape), {}, sum_to_shape(gradient, shape), fallible=False)
        if gradient.dtype != dtype:
            gradient = recorder.unit(_into_type, (gradient, dtype), {}, _into_type(gradient, dtype), fallible=False)
        return gradient

    def _copied(self, array: Array) -> Array:
        made = array.copy()
        value = self.recorder.value(array)
        self.recorder.add(CALL, np.ndarray.copy, (value,), {}, [Result((), self.recorder.fresh(made), False)])
        return made

    def _put(self, total: Array, part: Part) -> None:
        value = self.recorder.value(total)
        self.recorder.add(CALL, _put, (value, self.recorder.value(part)), {}, [], writes=(value,))
        part.add_to(total)

    def _reach(self, node: Node, index: int, gradient: Any) -> None:
        entry = self.pending.get(node.number)
        if self.create_graph or self.recorder.failed or entry is None or not isinstance(gradient, Part):
            super()._reach(node, index, gradient)
            return
        gradients, owned, at, flag = (entry, entry, 1, 2) if node.others is None else (entry[1], entry[2], index, index)
        if gradients[at] is None:
            super()._reach(node, index, gradient)
            return
        if not owned[flag]:
            gradients[at], owned[flag] = self._copied(gradients[at]), True
        self._put(gradients[at], gradient)

    def _add(self, before: Any, gradient: Any, owned: bool) -> tuple[Any, bool]:
        if self.create_graph or self.recorder.failed:
            return super()._add(before, gradient, owned)
        if owned:
            add_into(self.recorder, before, gradient)
            np.add(before, gradient, out=before)
            return before, True
        return self.recorder.unit(np.add, (before, gradient), {}, np.add(before, gradient)), True

    def _reach_leaf(self, leaf: Any, gradient: Any) -> None:
        if self.create_graph or self.recorder.failed:
            super()._reach_leaf(leaf, gradient)
            return
        key = id(leaf)
        if self.restricted and key not in self.wanted_leaves:
            return
        reached = self.leaves.get(key)
        fresh = isinstance(gradient, Part)
        if fresh and reached is not None:
            if not reached[2]:
                reached[1], reached[2] = self._copied(reached[1]), True
            self._put(reached[1], gradient)
            return
        gradient = self._fit(gradient, leaf.array.shape, leaf.array.dtype)
        if reached is None:
            self.leaves[key] = [leaf, gradient, fresh]
        else:
            reached[1], reached[2] = self._add(reached[1], gradient, reached[2])

    def _finish(self, accumulate: bool) -> None:
        recorder = self.recorder
        if self.create_graph:
            if accumulate:
                recorder.fail("a gradient that is recorded itself is added to .grad")
            for entry in self.leaves.values():
                entry[1] = _plain(entry[1])
            self.retained = [(tensor, _plain(gradient)) for tensor, gradient in self.retained]
            recorder.walked = {}
        if self.create_graph or recorder.failed:
            super()._finish(accumulate)
            self.captured = {position: _plain(gradient) for position, gradient in self.captured.items()}
            return
        leaves = self.leaves
        while leaves:
            key, (leaf, gradient, _) = leaves.popitem()
            for position in self.wanted_leaves.get(key, ()):
                self.captured[position] = gradient
            if accumulate:
                self._accumulate(leaf, gradient)
        recorder.walked = {position: recorder.value(g) for position, g in self.captured.items()}

    def _accumulate(self, leaf: Any, gradient: Array) -> None:
        recorder = self.recorder
        before = leaf.kept_gradient
        if before is not None and before.array.flags.writeable:
            add_into(recorder, before.array, gradient)
        self.made_bytes += leaf.accumulate_grad(gradient)
        after = leaf.kept_gradient
        if after is before:
            return
        if before is None:
            value = recorder.value(gradient)
            recorder.add(CALL, in_order, (value,), {}, [Result((), recorder.fresh(after.array), False)])
        else:
            recorder.unit(np.add, (before.array, gradient), {}, after.array)
        recorder.gradient_set(leaf)


def recording_walk(recorder: Recorder, thread: int, *args: Any, **keywords: Any) -> Walk:
    """The walk that notes what it does in the thread whose run is recorded, and the plain one in any other."""
    if threading.get_ident() != thread:
        return Walk(*args, **keywords)
    return RecordingWalk(recorder, *args, **keywords)
