r"""The ``.npy`` format, versions 1 to 3: read piece by piece into one allocated array. Nothing is evaluated or unpickled.

An ``.npy`` file is the magic ``\x93NUMPY``, two version bytes, the header's length (2 bytes in version 1, else 4; little-endian),
the header, a Python dict literal with ``descr``, ``fortran_order`` and ``shape``, and the raw elements.
Source: the format description in ``numpy.lib.format``.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from telegrad.contract import codec, dtypes
from telegrad.contract.errors import RequestError
from telegrad.contract.limits import check_body_bytes

Array = npt.NDArray[Any]
Check = Callable[[dict[str, tuple["np.dtype[Any]", tuple[int, ...]]]], None]

_MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER_BYTES: Final = 10_000
_KEY: Final = r"""\s*(?:'{0}'|"{0}")\s*:\s*"""
_FIELDS: Final = {
    "descr": re.compile(_KEY.format("descr") + r"""['"]([<>|=])([biufc])([0-9]{1,2})['"]\s*"""),
    "fortran_order": re.compile(_KEY.format("fortran_order") + r"(True|False)\s*"),
    "shape": re.compile(_KEY.format("shape") + r"\(((?:\s*[0-9]{1,19}\s*,)*(?:\s*[0-9]{1,19})?)\s*\)\s*"),
}


class NpyReader:
    """Takes the pieces of an ``.npy`` body (``feed``), then gives the array (``finish``).

    ``check`` sees ``{name: (dtype, shape)}`` after the header and before the allocation, and may raise.
    """

    def __init__(
        self, *, name: str, max_bytes: int, check: Check, allocate: Callable[[tuple[int, ...], np.dtype[Any]], Array] = np.empty
    ) -> None:
        """Prepare to read at most ``max_bytes`` in all."""
        self._name = name
        self._max_bytes = max_bytes
        self._check = check
        self._allocate_array = allocate
        self._head = bytearray()
        self._stage = "version"
        self._start = 0
        self._wanted = len(_MAGIC) + 2
        self._array: Array | None = None
        self.arrays: dict[str, Array] = {}
        self._fortran = False
        self._target = memoryview(b"")
        self._filled = 0

    @property
    def header_done(self) -> bool:
        """Whether the array is allocated: what follows is copying."""
        return self._array is not None

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next piece. Raises RequestError, PayloadTooLargeError, or what ``check`` raises."""
        view = memoryview(piece)
        while self._array is None and view:
            count = min(len(view), self._wanted - len(self._head))
            self._head += view[:count]
            view = view[count:]
            if len(self._head) == self._wanted:
                self._grow()
        if len(view) > len(self._target) - self._filled:
            raise RequestError("the .npy body is longer than its header says")
        if not view:
            return  # the memory of an empty array, or of none yet, is read-only
        self._target[self._filled : self._filled + len(view)] = view
        self._filled += len(view)

    @property
    def is_plain(self) -> bool:
        """Whether the array needs nothing but its bytes."""
        return self._array is not None and self._array.dtype.isnative and not self._fortran

    def targets(self) -> list[memoryview]:
        """The memory that the rest of the body belongs into."""
        return [self._target[self._filled :]]

    def advance(self, count: int) -> None:
        """So many bytes were put into ``targets``."""
        self._filled += count

    def finish(self) -> dict[str, Array]:
        """The array, under its name. Raises RequestError where the body ended early."""
        array = self._array
        if array is None or self._filled < len(self._target):
            raise RequestError("the .npy body ended early")
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        codec.as_bool(array)
        return {self._name: np.ascontiguousarray(array.T).reshape(array.T.shape) if self._fortran else array}

    def _grow(self) -> None:
        """The head is as long as was known to be needed: learn what comes next."""
        if self._stage == "version":
            if not self._head.startswith(_MAGIC) or self._head[6] not in (1, 2, 3) or self._head[7]:
                raise RequestError("the body is no .npy of version 1.0, 2.0 or 3.0")
            self._stage = "length"
            self._wanted += 2 if self._head[6] == 1 else 4
        elif self._stage == "length":
            length = int.from_bytes(self._head[len(_MAGIC) + 2 :], "little")
            if not 1 <= length <= _MAX_HEADER_BYTES:
                raise RequestError(f"the .npy header must have 1 to {_MAX_HEADER_BYTES:,} bytes")
            self._stage = "header"
            self._start = self._wanted
            self._wanted += length
        else:
            self._allocate(self._head[self._start :].decode("latin-1"))

    def _allocate(self, header: str) -> None:
        dtype, self._fortran, shape = _read_header(header)
        total = len(self._head) + math.prod(shape) * dtype.itemsize
        check_body_bytes(total, self._max_bytes)
        self._check({self._name: (dtype.newbyteorder("="), shape)})
        self._array = self._allocate_array(shape[::-1] if self._fortran else shape, dtype)
        self.arrays[self._name] = self._array
        if self._array.size:
            self._target = self._array.reshape(-1).view(np.uint8).data


def _read_header(header: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Element type, order and shape. A closed pattern instead of an evaluated literal: no header can do anything but fit it."""
    text = header.strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise RequestError("the .npy header is not a dict")
    rest = text[1:-1]
    found: dict[str, re.Match[str]] = {}
    while rest.strip():
        for name, pattern in _FIELDS.items():
            match = pattern.match(rest)
            if match and name not in found:
                found[name] = match
                rest = rest[match.end() :]
                break
        else:
            raise RequestError("the .npy header must have descr (a plain element type), fortran_order and shape, and nothing else")
        if rest and not rest.startswith(","):
            raise RequestError("the .npy header is not a dict")
        rest = rest[1:]
    if len(found) != len(_FIELDS):
        raise RequestError("the .npy header must have descr, fortran_order and shape")
    order, kind, size = found["descr"].groups()
    try:
        dtype = np.dtype(f"{order}{kind}{size}")
        dtypes.from_numpy(dtype.newbyteorder("="))
    except (TypeError, ValueError, RuntimeError):
        raise RequestError(f"the .npy element type must be one of {', '.join(dtypes.DTYPES)}") from None
    shape = tuple(int(n) for n in re.findall(r"[0-9]+", found["shape"][1]))
    if len(shape) > 64 or any(n >= 2**63 for n in shape):
        raise RequestError("the .npy shape has at most 64 sizes")
    return dtype, found["fortran_order"][1] == "True", shape


def npy_pieces(array: Array) -> tuple[bytes | memoryview, ...]:
    """The array as an ``.npy`` body of version 1.0 in C order: the header, then its memory, uncopied where it is contiguous."""
    array = codec.to_little_endian(array)
    head = io.BytesIO()
    npy_format.write_array_header_1_0(head, npy_format.header_data_from_array_1_0(array))
    return head.getvalue(), codec.array_bytes(array)
