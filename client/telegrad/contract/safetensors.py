"""The safetensors layout: many arrays and a message in one body, written in pieces, read piece by piece into preallocated arrays.

A body is an 8-byte little-endian header length, a JSON header ``{name: {dtype, shape, data_offsets}, "__metadata__": {...}}`` and
the raw little-endian buffers, as any safetensors library reads and writes it. telegrad puts its message, a JSON text, under the
metadata key ``telegrad``. The format has no complex128: such an array travels as F64 with a last dimension of 2 (real,
imaginary), and the metadata key ``complex128`` lists its names, comma-separated.
Source: the format description in the safetensors project's README.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from telegrad.contract import limits
from telegrad.contract.codec import Array, array_bytes, as_bool, dump_json, load_json
from telegrad.contract.errors import RequestError

MAX_HEADER_BYTES: Final = 16 * 2**20
"""Longest safetensors header that is read (the safetensors library's own bound is 100 MB)."""

MESSAGE_KEY: Final = "telegrad"
COMPLEX128_KEY: Final = "complex128"

_TO_SAFETENSORS: Final = {
    "bool": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
_FROM_SAFETENSORS: Final = {v: np.dtype(k) for k, v in _TO_SAFETENSORS.items()}


def pack(arrays: Mapping[str, Array], message: Any = None) -> Iterator[bytes | memoryview]:
    """A safetensors body in pieces: the header, then each array's own memory, uncopied where it is contiguous.

    Args:
        arrays: by name; any telegrad element type.
        message: JSON value for the metadata key ``telegrad``; None leaves it out.
    """
    header, buffers = _layout(arrays, message)
    yield header
    yield from buffers


def _layout(arrays: Mapping[str, Array], message: Any) -> tuple[bytes, list[memoryview]]:
    entries: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    if message is not None:
        metadata[MESSAGE_KEY] = dump_json(message).decode()
    doubled = [name for name, a in arrays.items() if a.dtype == np.complex128]
    if doubled:
        metadata[COMPLEX128_KEY] = ",".join(doubled)
    if metadata:
        entries["__metadata__"] = metadata
    offset = 0
    buffers: list[memoryview] = []
    # Widest elements first, as the safetensors library orders them, so that every buffer is aligned for its type.
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):
        array = arrays[name]
        shape = list(array.shape)
        if array.dtype == np.complex128:
            kind, shape = "F64", [*shape, 2]
        else:
            kind = _TO_SAFETENSORS[array.dtype.name]
        raw = array_bytes(array)
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        buffers.append(raw)
    text = dump_json(entries)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, buffers


class Reader:
    """Reads a safetensors body as its pieces arrive, straight into arrays allocated once.

    ``feed`` every piece, then ``finish``. ``check`` (given at construction) sees names, types and shapes after the header
    and before any allocation, and may raise.

    Attributes:
        arrays: by name, complete after ``finish``.
        metadata: the header's metadata.
    """

    def __init__(self, *, max_bytes: int, max_depth: int = 64, check: Any = None, allocate: Any = np.empty) -> None:
        """Prepare to read at most ``max_bytes`` in all.

        ``check(layout)`` gets {name: (dtype, shape)}, ``allocate(shape, dtype)`` gives the memory of an array.
        """
        self.is_plain = True  # each array needs nothing but its bytes
        self.arrays: dict[str, Array] = {}
        self.metadata: dict[str, str] = {}
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._check = check
        self._allocate_array = allocate
        self._head = bytearray()
        self._header_bytes: int | None = None
        self._targets: list[memoryview] = []
        self._target = 0
        self._filled = 0
        self._doubled: set[str] = set()

    @property
    def message(self) -> Any:
        """The JSON value under the metadata key ``telegrad``, or None."""
        text = self.metadata.get(MESSAGE_KEY)
        return None if text is None else load_json(text.encode(), max_depth=self._max_depth)

    @property
    def header_done(self) -> bool:
        """Whether the header was read and the arrays are allocated: what follows is copying."""
        return self._header_bytes is not None and len(self._head) == 8 + self._header_bytes

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the body. Raises RequestError or PayloadTooLargeError."""
        view = memoryview(piece)
        if self._header_bytes is None or len(self._head) < 8 + self._header_bytes:
            view = self._feed_header(view)
        while view:
            if self._target == len(self._targets):
                raise RequestError("the safetensors body is longer than its header says")
            target = self._targets[self._target]
            count = min(len(view), len(target) - self._filled)
            target[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == len(target):
                self._target, self._filled = self._target + 1, 0

    def targets(self) -> list[memoryview]:
        """The memory that the rest of the body belongs into, once the header is done; what is put there, ``advance`` is told."""
        found = self._targets[self._target :]
        return [found[0][self._filled :], *found[1:]] if found else []

    def target(self) -> memoryview | None:
        """The memory that the next bytes of the body belong into, for who can put them there himself; None: ``feed`` them."""
        if self.header_done and self._target < len(self._targets):
            return self._targets[self._target][self._filled :]
        return None

    def advance(self, count: int) -> None:
        """So many bytes, no more than it is long, were put into ``target``."""
        self._filled += count
        if self._filled == len(self._targets[self._target]):
            self._target, self._filled = self._target + 1, 0

    def _feed_header(self, view: memoryview) -> memoryview:
        while view:
            wanted = 8 if self._header_bytes is None else 8 + self._header_bytes
            count = min(len(view), wanted - len(self._head))
            self._head += view[:count]
            view = view[count:]
            if len(self._head) < wanted:
                break
            if self._header_bytes is None:
                self._header_bytes = int.from_bytes(self._head[:8], "little")
                if not 2 <= self._header_bytes <= min(MAX_HEADER_BYTES, self._max_bytes):
                    raise RequestError("the safetensors header length is out of range")
                continue
            self._allocate(load_json(self._head[8:], max_depth=self._max_depth))
            break
        return view

    def _allocate(self, header: Any) -> None:
        if type(header) is not dict:
            raise RequestError("the safetensors header is not an object")
        metadata = header.pop("__metadata__", {})
        if type(metadata) is not dict or not all(type(v) is str for v in metadata.values()):
            raise RequestError("the safetensors metadata is not an object of strings")
        self.metadata = metadata
        doubled = metadata.get(COMPLEX128_KEY, "")
        self._doubled = set(doubled.split(",")) if doubled else set()
        layout: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        spans: list[tuple[int, int, str]] = []
        for name, entry in header.items():
            dtype, shape, begin, end = _entry(entry)
            if name in self._doubled:
                if dtype != np.float64 or not shape or shape[-1] != 2:
                    raise RequestError("a complex128 buffer must be F64 with a last dimension of 2")
                dtype, shape = np.dtype(np.complex128), shape[:-1]
            layout[name] = (dtype, shape)
            spans.append((begin, end, name))
        if self._doubled - set(layout):
            raise RequestError("the complex128 list names a buffer that is not there")
        spans.sort()
        expected = 0
        for begin, end, _ in spans:
            if begin != expected:
                raise RequestError("the safetensors buffers overlap or leave gaps")
            expected = end
        total = 8 + (self._header_bytes or 0) + expected
        limits.check_body_bytes(total, self._max_bytes)
        if self._check is not None:
            self._check(layout)
        for begin, end, name in spans:
            dtype, shape = layout[name]
            array = self._allocate_array(shape, dtype)
            self.arrays[name] = array
            if end > begin:
                self._targets.append(array.reshape(-1).view(np.uint8).data)

    def finish(self) -> dict[str, Array]:
        """The arrays. Raises RequestError where the body ended early."""
        if self._header_bytes is None or len(self._head) < 8 + self._header_bytes or self._target < len(self._targets):
            raise RequestError("the safetensors body ended early")
        for array in self.arrays.values():
            as_bool(array)
        return self.arrays


def _entry(entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise RequestError("a safetensors entry has exactly dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = _FROM_SAFETENSORS.get(kind) if type(kind) is str else None
    if dtype is None:
        raise RequestError(f"a safetensors dtype must be one of {', '.join(_FROM_SAFETENSORS)}")
    if type(shape) is not list or len(shape) > 64 or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise RequestError("a safetensors shape is a list of at most 64 sizes")
    if type(offsets) is not list or len(offsets) != 2 or not all(type(n) is int and n >= 0 for n in offsets):
        raise RequestError("safetensors data_offsets are two positions")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise RequestError("safetensors data_offsets do not fit dtype and shape")
    return dtype, tuple(shape), begin, end


def unpack(body: bytes | bytearray | memoryview, *, max_bytes: int | None = None) -> tuple[dict[str, Array], Any]:
    """All arrays and the message of a whole safetensors body."""
    reader = Reader(max_bytes=len(body) if max_bytes is None else max_bytes)
    reader.feed(memoryview(body))
    return reader.finish(), reader.message
