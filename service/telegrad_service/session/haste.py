"""What is so short that the event loop may do it itself.

Handing a small batch to a thread takes as long as computing it. ``Haste`` judges each command before it begins: by the cost rules,
by what a walk would come by, and by how long the runs of a program took before. Where a command may take longer than the loop can
wait it raises ``TooLongError``; nothing of that command is done then, and a thread goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from telegrad.contract.commands import Attach, Backward, Command, Grad, Read, Release, Resume, Run, Set
from telegrad_service.engine.calls import Call
from telegrad_service.engine.graph import DeferredNode, Node, deferred
from telegrad_service.engine.tensor import Tensor

_SECONDS: Final = 0.001
"""After so long the next command is a thread's. With one command that was judged short beyond it, about two milliseconds."""

_RUN_SECONDS: Final = 0.0005
"""A run that takes longer leaves its core to the event loop: other sessions' runs go on beside it."""

_MOST_FLOPS: Final = 200_000
_MOST_BYTES: Final = 2**18
_MOST_NODES: Final = 64
_MOST_FREED: Final = 1000
"""Nodes that were not made yet, whose saved values go: two objects each."""

_MOST_ELEMENTS: Final = 8192
"""Of the values that a walk comes by: two matrices of 64 by 64, say, whose gradients take a million operations."""

_MOST_REMEMBERED: Final = 1000
_FEWEST_RUNS: Final = 3
_BRIEF: Final = (Read, Release, Set)

RunKey = tuple[Any, ...]


class TooLongError(Exception):
    """Not on the event loop.

    Attributes:
        rest: what is left to do; None where nothing was done, and all of it is left.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rest: Callable[[], Any] | None = None


class RunTimes:
    """How long the runs of programs took, by program, shapes of what they were given, and what they gave out."""

    def __init__(self) -> None:
        self._runs: dict[RunKey, tuple[int, float, float]] = {}

    @staticmethod
    def key(program: str, bound: Iterable[tuple[str, Tensor]], outputs: Iterable[str]) -> RunKey:
        """What a run's time depends on."""
        return (program, *outputs, *[(hole, t.array.shape, t.array.dtype.char, t.requires_grad) for hole, t in bound])

    def took(self, key: RunKey, seconds: float) -> None:
        """A run was done."""
        if len(self._runs) >= _MOST_REMEMBERED:
            self._runs.clear()
        count, last, _ = self._runs.get(key, (0, seconds, seconds))
        self._runs[key] = count + 1, seconds, last

    def expected(self, key: RunKey) -> float:
        """Seconds of the next one; for ever where not enough were done: an early one is compiled.

        Of the last two the shorter: one run that another program interrupted does not send the next to a thread.
        """
        count, *seconds = self._runs.get(key, (0, 0.0, 0.0))
        return min(seconds) if count >= _FEWEST_RUNS else float("inf")


class Haste:
    """Judges commands, from its making on."""

    def __init__(self) -> None:
        self._end = time.perf_counter() + _SECONDS

    def before(self, command: Command, find: Callable[[str], Tensor | None], run_seconds: Callable[[Run], float]) -> None:
        """Raise TooLongError where the command may take long, as far as that is known without its op's rule.

        Args:
            command: what comes next.
            find: the tensor of a reference, or None.
            run_seconds: how long a run is expected to take.
        """
        # What is over in a few microseconds takes less than going on elsewhere, however late it is.
        late = not isinstance(command, _BRIEF) and time.perf_counter() > self._end
        if late or not self._is_short(command, find, run_seconds):
            raise TooLongError

    def op(self, call: Call, composed: bool) -> None:
        """Raise TooLongError where an op that was foreseen may take long; of what is ``composed`` only the end is foreseen."""
        outcome = call.outcome
        if composed or outcome is None or outcome.flops > _MOST_FLOPS or outcome.nbytes > _MOST_BYTES:
            raise TooLongError

    def _is_short(self, command: Command, find: Callable[[str], Tensor | None], run_seconds: Callable[[Run], float]) -> bool:
        if isinstance(command, (Backward, Grad)):
            plain = not (command.callbacks or command.anomaly or command.create_graph)
            roots = command.tensors if isinstance(command, Backward) else command.outputs
            return plain and not (isinstance(command, Grad) and command.is_grads_batched) and is_short_walk(map(find, roots))
        if isinstance(command, Read):
            tensor = find(command.tensor)
            return tensor is None or tensor.array.nbytes <= _MOST_BYTES
        if isinstance(command, Release):
            return is_short_walk(map(find, command.tensors), freed=True)  # to free a graph is a walk as well
        if isinstance(command, Set):
            return is_short_walk([find(command.tensor)])
        if isinstance(command, Run):
            return run_seconds(command) <= _RUN_SECONDS
        return not isinstance(command, (Attach, Resume))


def is_short_walk(tensors: Iterable[Tensor | None], *, freed: bool = False) -> bool:
    """Whether few nodes with few values lead to the tensors. Looks at no more than that many.

    Where they are only ``freed``, the nodes of a graph that nobody asked for yet are not made to go; what they saved goes.
    """
    todo: list[Any] = [x for t in tensors if t is not None for x in (t.node, t.base, t.kept_gradient) if x is not None]
    seen: set[int] = set()
    elements = 0
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            elements += item.array.size
            todo += [x for x in (item.node, item.base) if x is not None]
        elif isinstance(item, DeferredNode) and deferred[item][1] > (_MOST_FREED if freed else _MOST_NODES):
            return False
        elif isinstance(item, Node) and not (freed and isinstance(item, DeferredNode)):
            elements += sum(part.size for value in item.saved or () for part in _arrays(value))
            todo += item.edges
        if len(seen) > _MOST_NODES or elements > _MOST_ELEMENTS:
            return False
    return True


def _arrays(value: Any) -> list[np.ndarray[Any, Any]]:
    parts: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
    return [part for part in parts if isinstance(part, np.ndarray)]
