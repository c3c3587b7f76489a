"""What tells arrays from others at the speed of memory, for fingerprints of requests: arrays of a gigabyte come this way.

The bytes are words in rows of 1,024. The sums of the rows say in which row each word is, those of the columns where in it. They can
be made while an array arrives: what has just come is in the processor's caches, and whoever receives waits for its sender anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from telegrad.contract import codec

Array = npt.NDArray[Any]

_ROW_BYTES: Final = 8 * 1024  # sums of columns stay in the smallest cache
_ROWS: Final = 128


class _Sums:
    """Of one array."""

    def __init__(self, array: Array) -> None:
        data = np.frombuffer(codec.array_bytes(array), np.uint8)
        whole = data.nbytes - data.nbytes % _ROW_BYTES
        self._words = data[:whole].view(np.uint64).reshape(-1, _ROW_BYTES // 8)
        self._rest = data[whole:]
        self._columns = np.zeros(_ROW_BYTES // 8, np.uint64)
        self._found: list[bytes] = []
        self._rows = 0
        self.nbytes = data.nbytes

    def came(self, nbytes: int) -> None:
        """The first bytes are there."""
        end = nbytes // _ROW_BYTES
        for begin in range(self._rows, end, _ROWS):  # small enough to be read from memory once
            rows = self._words[begin : min(begin + _ROWS, end)]
            self._columns += rows.sum(0)
            self._found.append(rows.sum(1).tobytes())
        self._rows = end

    def finish(self) -> bytes:
        self.came(self.nbytes)
        return b"".join([*self._found, self._columns.tobytes(), self._rest.tobytes()])


class Arriving:
    """The sums of arrays whose bytes come one after the other."""

    def __init__(self, arrays: Mapping[str, Array], before: int = 0) -> None:
        """Of these, by name; what ``came`` tells of are bytes after so many that are there."""
        self._sums = {name: _Sums(array) for name, array in arrays.items()}
        self._waiting = iter(self._sums.values())
        self._next = next(self._waiting, None)
        self._before = -before

    def came(self, nbytes: int) -> None:
        """So many further bytes are there in all."""
        while self._next is not None:
            self._next.came(min(nbytes - self._before, self._next.nbytes))
            if nbytes - self._before < self._next.nbytes:
                return
            self._before += self._next.nbytes
            self._next = next(self._waiting, None)

    def finish(self) -> dict[str, bytes]:
        """All are there: what tells each from others, by name."""
        return {name: sums.finish() for name, sums in self._sums.items()}


class Arrived(dict[str, Array]):
    """Arrays by name, with what was found of them while they came.

    Attributes:
        sums: what tells each from others; nothing where nobody looked.
    """

    def __init__(self, arrays: Mapping[str, Array], sums: Mapping[str, bytes]) -> None:
        """These arrays, of which ``sums`` is known."""
        super().__init__(arrays)
        self.sums = sums


def sums_of(array: Array) -> bytes:
    """What tells an array from others: it depends on each element and its place, and takes a thousandth of the array's memory."""
    return _Sums(array).finish()
