"""Which memory each temporary of a run gets: blocks that are used again once nobody needs what lies in them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from telegrad_service.compiler.ir import CHAIN, ELEMENTWISE, INTO, TEMPORARY, Step, Storage, Value
from telegrad_service.engine.table import Array

_ALIGNMENT: Final = 64


class Layout:
    """The blocks, and which storage lies in which.

    Attributes:
        blocks: their sizes in bytes.
        block_of: by storage: the number of its block.
        last_use: by storage: the last step that needs it.
    """

    def __init__(self, steps: Sequence[Step], kept: set[Storage]) -> None:
        """Lay out ``steps``; what is in ``kept`` is needed until the end."""
        self.blocks: list[int] = []
        self.block_of: dict[Storage, int] = {}
        self.last_use: dict[Storage, int] = {}
        for index, step in enumerate(steps):
            for value in (*step.reads, *step.writes, *[r.value for r in step.results]):
                self.last_use[value.storage] = index
        for storage in kept:
            self.last_use[storage] = len(steps)
        free: list[tuple[int, int]] = []
        for index, step in enumerate(steps):
            dying = [s for s in dict.fromkeys(v.storage for v in step.reads) if self.last_use[s] == index and s in self.block_of]
            wanting = [r.value for r in step.results if planned(step, r.value)]
            if wanting and step.kind == ELEMENTWISE:
                heir = next((s for s in dying if _may_inherit(step, s, wanting[0])), None)
                if heir is not None:
                    self.block_of[wanting[0].storage] = self.block_of[heir]
                    dying.remove(heir)
                    wanting = []
            for value in wanting:
                self.block_of[value.storage] = self._take(free, value.nbytes)
            for storage in (*dying, *[v.storage for v in wanting if self.last_use[v.storage] == index]):
                bisect.insort(free, (self.blocks[self.block_of[storage]], self.block_of[storage]))

    def _take(self, free: list[tuple[int, int]], nbytes: int) -> int:
        """The smallest free block that holds ``nbytes`` and is not four times as large; otherwise another one."""
        at = bisect.bisect_left(free, (nbytes, 0))
        if at < len(free) and free[at][0] <= max(4 * nbytes, 1024):
            return free.pop(at)[1]
        self.blocks.append(-(-max(nbytes, 1) // _ALIGNMENT) * _ALIGNMENT)
        return len(self.blocks) - 1

    @property
    def nbytes(self) -> int:
        """All blocks together."""
        return sum(self.blocks)

    def place(self) -> list[Array]:
        """The blocks themselves."""
        return [np.empty(n, np.uint8) for n in self.blocks]


def planned(step: Step, value: Value) -> bool:
    """Whether the step writes this result where it is told to."""
    return step.kind in (ELEMENTWISE, INTO, CHAIN) and value.storage.kind == TEMPORARY and not value.storage.escapes


def _may_inherit(step: Step, storage: Storage, result: Value) -> bool:
    """Whether the result may be written over an argument that nobody needs any more."""
    for value in step.reads:
        if value.storage is storage and (
            value.strides != result.strides or value.dtype != result.dtype or value.shape != result.shape
        ):
            return False
    return storage.nbytes == result.nbytes


def laid(block: Array, value: Value) -> Array:
    """An array like ``value`` at the beginning of a block."""
    made: Any = np.ndarray(value.shape, value.dtype, buffer=block[: max(value.nbytes, 1)], strides=value.strides)
    return made  # type: ignore[no-any-return]
