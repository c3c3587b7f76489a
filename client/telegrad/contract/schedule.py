"""In which order a backward with hooks comes by nodes and leaves: PyTorch's, in the engine and where a client foresees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from typing import Any, Final, Protocol

LEAF: Final = 2**63
"""The rank of a leaf among what is ready: above every node's number, as PyTorch's accumulation nodes."""


class Ready:
    """What can run: highest rank first. A binary heap whose ties (leaves that become ready together) come in the very order in
    which those of C++'s ``std::priority_queue`` do, which is the order that PyTorch's hooks are called in.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, Any]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, rank: float, target: Any) -> None:
        """Add ``target``."""
        self._heap.append((rank, target))
        self._rise(len(self._heap) - 1, (rank, target))

    def pop(self) -> Any:
        """Take the first."""
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

    def _rise(self, hole: int, entry: tuple[float, Any]) -> None:
        heap = self._heap
        while hole and heap[(hole - 1) // 2][0] < entry[0]:
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = entry


class Schedule:
    """Counts what each node and leaf has to wait for, and says who is next.

    A target is anything with an identity: what gradients arrive at. Of a target that waits, the last gradient (or None in its
    place) that arrives makes it ready.
    """

    def __init__(
        self,
        roots: Iterable[Any],
        targets_of: Callable[[Any], Iterable[Any]],
        rank: Callable[[Any], float],
        wanted: Callable[[Any], bool],
    ) -> None:
        """Look at everything that the roots lead to.

        Args:
            roots: where gradients start, one for each.
            targets_of: from a target, where its gradients go, one for each edge; none from a leaf.
            rank: a node's number, or ``LEAF``.
            wanted: whether the walk goes to the target at all.
        """
        self._rank = rank
        self._missing: dict[int, int] = {}
        self._ready = Ready()
        todo: list[Any] = []

        def expect(target: Any) -> None:
            if wanted(target):
                before = self._missing.get(id(target), 0)
                self._missing[id(target)] = before + 1
                if not before:
                    todo.append(target)

        for root in roots:
            expect(root)
        while todo:
            for target in targets_of(todo.pop()):
                expect(target)

    def comes_by(self, target: Any) -> bool:
        """Whether the walk comes by the target at all."""
        return id(target) in self._missing

    def arrived(self, target: Any) -> None:
        """A gradient, or None in its place, arrived at a target that the walk comes by."""
        self._missing[id(target)] -= 1
        if not self._missing[id(target)]:
            self._ready.push(self._rank(target), target)

    def __bool__(self) -> bool:
        """Whether anything can run."""
        return len(self._ready) > 0

    def next(self) -> Any:
        """What runs now."""
        return self._ready.pop()


class Walking(Protocol):
    """A backward that calls hooks, or one that is foreseen."""

    def comes_by(self, node: Any) -> bool:
        """Whether it comes by the node, or the accumulation of a leaf."""
        ...


_walking: ContextVar[Walking | None] = ContextVar("telegrad_walking", default=None)


def current_walk() -> Walking | None:
    """The innermost backward that calls hooks now, in this thread and task."""
    return _walking.get()


def enter_walk(walk: Walking) -> Token[Walking | None]:
    """Be the innermost backward until ``leave_walk`` gets the token."""
    return _walking.set(walk)


def leave_walk(token: Token[Walking | None]) -> None:
    """Restore what ``enter_walk`` replaced."""
    _walking.reset(token)
