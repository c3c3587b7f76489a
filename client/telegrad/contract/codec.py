"""Arrays and bodies as bytes: strict JSON, base64 and raw bytes; those of many arrays at once are in ``safetensors``."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from telegrad.contract import kinds, limits
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentValueError, RequestError
from telegrad.contract.literal import from_numbers
from telegrad.contract.ops import check_sizes

Array = npt.NDArray[Any]

JSON_MEDIA_TYPE: Final = "application/json"
SAFETENSORS_MEDIA_TYPE: Final = "application/vnd.safetensors"
NPY_MEDIA_TYPE: Final = "application/x-npy"
BYTES_MEDIA_TYPE: Final = "application/octet-stream"
PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
EVENTS_MEDIA_TYPE: Final = "text/event-stream"


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
