"""Arrays and bodies as bytes: strict JSON, base64, and the safetensors layout, read piece by piece into preallocated arrays.

A safetensors body is an 8-byte little-endian header length, a JSON header ``{name: {dtype, shape, data_offsets},
"__metadata__": {...}}`` and the raw little-endian buffers, as any safetensors library reads and writes it. telegrad puts its
message, a JSON text, under the metadata key ``telegrad``. The format has no complex128: such an array travels as F64 with a
last dimension of 2 (real, imaginary), and the metadata key ``complex128`` lists its names, comma-separated.
Source: the format description in the safetensors project's README.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from telegrad.contract import kinds, limits
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentValueError, PayloadTooLargeError, RequestError
from telegrad.contract.literal import from_numbers
from telegrad.contract.ops import check_sizes

Array = npt.NDArray[Any]

JSON_MEDIA_TYPE: Final = "application/json"
SAFETENSORS_MEDIA_TYPE: Final = "application/vnd.safetensors"
NPY_MEDIA_TYPE: Final = "application/x-npy"
BYTES_MEDIA_TYPE: Final = "application/octet-stream"
PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
EVENTS_MEDIA_TYPE: Final = "text/event-stream"

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


# JSON ------------------------------------------------------------------------------------------------------------------------

# Runs of plain characters are taken at once: 256 MiB of base64 pass in a second.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_DEPTH: Final = np.zeros(256, np.int8)
_DEPTH[[ord("["), ord("{")]] = 1
_DEPTH[[ord("]"), ord("}")]] = -1
_CHUNK_BYTES: Final = 2**20


class JsonSize(NamedTuple):
    """How much a JSON text holds, known without parsing it.

    Attributes:
        depth: how deep arrays and objects nest.
        values: upper bound of the values in it: each has a comma or an opening bracket before it, but for the first.
    """

    depth: int
    values: int


def json_size(body: bytes) -> JsonSize:
    """Measure a JSON text, strings left out; nothing is parsed, so that neither depth nor length can hurt. Memory: one copy."""
    bare = _STRING.sub(b"", body)
    level = depth = 0
    for start in range(0, len(bare), _CHUNK_BYTES):
        steps = _DEPTH[np.frombuffer(bare, np.uint8, min(_CHUNK_BYTES, len(bare) - start), start)]
        levels = np.cumsum(steps[steps != 0], dtype=np.int64)
        if levels.size:
            depth = max(depth, level + int(levels.max()))
            level += int(levels[-1])
    return JsonSize(depth, 1 + sum(bare.count(mark) for mark in (b",", b"[", b"{")))


def _no_constant(name: str) -> Any:
    raise RequestError(f'JSON has no number {name}; write {{"float": "{name}"}} or, inside data, "{name}"')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestError("an object names the same member twice")
    return found


_decoder: Final = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unique)


def load_json(body: bytes | bytearray | memoryview, *, max_depth: int, max_values: int | None = None) -> Any:
    """Parse a JSON body strictly: UTF-8, no NaN, no member twice, no deeper than ``max_depth``.

    Raises:
        RequestError: it is not such JSON.
        LimitError: more than ``max_values`` values; nothing was parsed.
    """
    raw = bytes(body)
    # Brackets and commas in strings counted as well: an upper bound that most bodies pass, so that few are measured.
    brackets = raw.count(b"[") + raw.count(b"{")
    values = 1 + brackets + raw.count(b",")
    depth = brackets
    if depth > max_depth or (max_values is not None and values > max_values):
        depth, values = json_size(raw)
    if depth > max_depth:
        raise RequestError(
            f"the JSON nests {depth} levels deep, permitted are {max_depth} (max_json_depth)",
            extra={"predicted": depth, "permitted": max_depth, "limit": "max_json_depth"},
        )
    if max_values is not None and values > max_values:
        raise limits.refuse(
            "the JSON", values, max_values, "max_json_values", unit="values", hint="send numbers as base64 or safetensors"
        )
    try:
        return _decoder.decode(raw.decode("utf-8"))
    except RequestError:
        raise
    except UnicodeDecodeError:
        raise RequestError("the body is not UTF-8") from None
    except RecursionError:
        raise RequestError("the JSON nests too deep") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except ValueError:
        raise RequestError("the JSON holds a number with too many digits") from None


def json_writer(*, allow_nan: bool) -> Callable[[Any], str]:
    """What writes trees as compact JSON.

    ``JSONEncoder.encode`` makes its C encoder anew with each call: a third of the time for a small text. This one is made once.
    """
    encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=allow_nan, check_circular=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)  # Pythons without C have none
    if make is None:
        return encoder.encode
    pieces = make(None, encoder.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, allow_nan)
    return lambda value: "".join(pieces(value, 0))


_write: Final = json_writer(allow_nan=False)


def dump_json(value: Any) -> bytes:
    """Compact JSON; a NaN that slipped through is a fault of ours and raises ValueError."""
    return _write(value).encode()


def array_to_json(array: Array) -> Any:
    """Nested lists; NaN and infinities as their spelling, complex numbers as ``{"complex": [real, imaginary]}``.

    Every value round-trips: floats are written with the shortest digits that give the same bits back (as float64).
    """
    if array.dtype.kind == "c":
        return _map_nested(array.tolist(), kinds.encode_number)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _map_nested(array.tolist(), kinds.spell_float)
    return array.tolist()


def array_from_json(data: Any, dtype: DType | None, *, max_elements: int) -> Array:
    """An array from nested lists of numbers, or from one number; types are inferred as ``torch.tensor`` infers them.

    Args:
        data: parsed JSON; elements as ``kinds.decode_number`` reads them, or plainly ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.
        dtype: the element type wanted; None infers it.
        max_elements: most numbers accepted.

    Raises:
        ArgumentTypeError: for an element that is no number.
        ArgumentValueError: for lists of unequal lengths, or an integer beyond 64 bits.
        DTypeError: for a number that the type cannot hold.
        LimitError: for too many numbers.
    """
    shape: list[int] = []
    level = data
    while type(level) is list:
        shape.append(len(level))
        if not level:
            break
        level = level[0]
    size = math.prod(shape)
    if size > max_elements:
        raise limits.refuse(
            "the data",
            size,
            max_elements,
            "max_json_elements",
            unit="numbers",
            hint="send it as base64, raw bytes, .npy or safetensors",
        )
    flat: list[Any] = []
    _flatten(data, shape, 0, flat, max_elements)
    kinds_seen = {type(v) for v in flat}
    if float in kinds_seen and (math.inf in flat or -math.inf in flat):
        raise kinds.too_large()  # an infinity is spelled, and still is here
    if not kinds_seen <= {bool, int, float}:
        flat = [v if type(v) in (bool, int, float) else _spelled(v) for v in flat]
        kinds_seen = {type(v) for v in flat}
    return from_numbers(flat, kinds_seen, (len(flat),), dtype).reshape(shape)


def _spelled(value: Any) -> float | complex:
    """A number that is not written as one."""
    if type(value) is str and value in kinds.SPELLED_FLOATS:
        return kinds.SPELLED_FLOATS[value]
    return kinds.decode_number(value)


def _flatten(data: Any, shape: list[int], depth: int, flat: list[Any], max_elements: int) -> None:
    if depth == len(shape):
        if type(data) is list:
            raise ArgumentValueError("the nested lists have unequal depths")
        flat.append(data)
        return
    if type(data) is not list or len(data) != shape[depth]:
        got = f"length {len(data)}" if type(data) is list else "a number"
        raise ArgumentValueError(f"expected sequence of length {shape[depth]} at dim {depth} (got {got})")
    if depth == len(shape) - 1 and list not in {type(v) for v in data}:
        flat.extend(data)
        return
    for item in data:
        _flatten(item, shape, depth + 1, flat, max_elements)


def _map_nested(value: Any, change: Any) -> Any:
    return [_map_nested(v, change) for v in value] if isinstance(value, list) else change(value)


# Raw bytes -------------------------------------------------------------------------------------------------------------------


def to_little_endian(array: Array) -> Array:
    """The array in C order and little-endian; itself where it is so already."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(array.shape)


def array_bytes(array: Array) -> memoryview:
    """The elements' raw little-endian bytes, without a copy where the array is contiguous."""
    flat = to_little_endian(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")


def array_from_bytes(raw: bytes | bytearray | memoryview, dtype: DType, shape: tuple[int, ...]) -> Array:
    """An array of its own from raw little-endian bytes. Raises RequestError where the byte count does not fit the shape."""
    check_sizes(shape, dtype.itemsize)
    expected = math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise RequestError(f"{dtype.name} of shape {list(shape)} has {expected:,} bytes, the body has {len(raw):,}")
    array = np.frombuffer(raw, dtype.numpy.newbyteorder("<")).astype(dtype.numpy).reshape(shape)
    return as_bool(array)


def as_bool(array: Array) -> Array:
    """Booleans with bytes other than 0 and 1 refused: numpy would compute nonsense with them."""
    if array.dtype.kind == "b" and array.size and int(array.view(np.uint8).max()) > 1:
        raise RequestError("a bool element is neither 0 nor 1")
    return array


def to_base64(array: Array) -> str:
    """The raw little-endian bytes in base64."""
    return base64.b64encode(array_bytes(array)).decode("ascii")


def from_base64(text: str, dtype: DType, shape: tuple[int, ...]) -> Array:
    """An array from base64 of its raw little-endian bytes. Raises RequestError for bad base64 or a wrong length."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise RequestError("'base64' is not valid base64") from None
    return array_from_bytes(raw, dtype, shape)


# Safetensors -----------------------------------------------------------------------------------------------------------------


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


def check_body_bytes(predicted: int, permitted: int) -> None:
    """Raise PayloadTooLargeError, with both numbers, for a body of more than ``permitted`` bytes (the limit ``max_body_bytes``)."""
    if predicted > permitted:
        raise PayloadTooLargeError(
            f"the body would have {predicted:,} bytes, permitted are {permitted:,} (max_body_bytes)",
            extra={"predicted": predicted, "permitted": permitted, "limit": "max_body_bytes"},
        )


class SafetensorsReader:
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
        check_body_bytes(total, self._max_bytes)
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
    reader = SafetensorsReader(max_bytes=len(body) if max_bytes is None else max_bytes)
    reader.feed(memoryview(body))
    return reader.finish(), reader.message
