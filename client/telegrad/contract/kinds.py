"""The types that op parameters may have: how each looks in JSON, and its canonical form in Python.

A parameter's annotation in an op's signature is a key of ``KINDS``; so the signature alone decides the wire schema and the checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from telegrad.contract.dtypes import DTYPES, DType, as_dtype
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.ops import Op

MAX_INT: Final = 2**63 - 1
"""Integers on the wire fit 64 bits with sign, as sizes and seeds do in PyTorch."""


_EXACT: Final = 2**53
"""Beyond it, what was written with a point or an exponent need not be the integer that was meant."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One parameter type.

    Attributes:
        schema: its JSON schema.
        decode: from parsed JSON to the canonical value; raises ArgumentTypeError or ArgumentValueError.
        encode: from the canonical value to JSON.
    """

    schema: dict[str, Any]
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class TensorSlot:
    """In an index: the place of the op's extra tensor input number ``position`` (1 is the first after ``self``)."""

    position: int


def _refuse(wanted: str, value: Any) -> ArgumentTypeError:
    return ArgumentTypeError(f"expected {wanted}, got {json_type(value)}")


def json_type(value: Any) -> str:
    """What JSON calls the value's type, for messages that must not show the value."""
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _refuse("a boolean", value)
    return value


def _int(value: Any) -> int:
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)  # JSON has one kind of number, and many languages write 2.0 (JSON Schema 2020-12, core, 4.2.3)
    if type(value) is not int:
        raise _refuse("an integer", value)
    if not -MAX_INT - 1 <= value <= MAX_INT:
        raise ArgumentValueError("an integer must fit 64 bits with sign")
    return value


def _str(value: Any) -> str:
    if type(value) is not str:
        raise _refuse("a string", value)
    return value


def decode_number(value: Any) -> bool | int | float | complex:
    """A Python number from JSON: a boolean, an integer, a number, or the spelled forms of ``NUMBER_SCHEMA``."""
    kind = type(value)
    if kind is int:
        return _int(value)
    if kind is float:
        return _within(value)
    if kind is bool:
        return value  # type: ignore[no-any-return]
    if kind is dict and len(value) == 1:
        ((key, inner),) = value.items()
        if key == "float":
            return _spelled_float(inner)
        if key == "complex" and type(inner) is list and len(inner) == 2:
            return complex(_spelled_float(inner[0]), _spelled_float(inner[1]))
    raise _refuse('a number, a boolean, {"float": ...} or {"complex": [real, imaginary]}', value)


def too_large() -> ArgumentValueError:
    """The error of a number of digits beyond float64, which Python's parser takes for an infinity."""
    return ArgumentValueError(
        'a number is too large for float64; infinity is written "Infinity" in data, else {"float": "Infinity"}'
    )


def _within(value: float) -> float:
    if math.isinf(value):
        raise too_large()
    return value


def _spelled_float(value: Any) -> float:
    if type(value) is int or type(value) is float:
        try:
            return _within(float(value))
        except OverflowError:
            raise too_large() from None
    if type(value) is str and value in SPELLED_FLOATS:
        return SPELLED_FLOATS[value]
    raise _refuse('a number or one of "NaN", "Infinity", "-Infinity"', value)


SPELLED_FLOATS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""The documented JSON spelling of floats that JSON has no number for."""


def spell_float(value: float) -> float | str:
    """A float as JSON: itself if finite, else its spelling."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def encode_number(value: Any) -> Any:
    """A Python number as JSON that ``decode_number`` gives back with the same type and bits."""
    if isinstance(value, complex):
        return {"complex": [spell_float(value.real), spell_float(value.imag)]}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": spell_float(value)}
    return value


def _float(value: Any) -> float:
    if type(value) is bool:
        raise _refuse("a number", value)
    if type(value) is dict and set(value) == {"float"}:
        return _spelled_float(value["float"])
    return _spelled_float(value)


def encode_float(value: Any) -> Any:
    """A float parameter as JSON."""
    return encode_number(float(value)) if isinstance(value, float) else value


def _ints(value: Any) -> tuple[int, ...]:
    if type(value) is int or (type(value) is float and value.is_integer()):
        return (_int(value),)
    if type(value) is not list:
        raise _refuse("an integer or a list of integers", value)
    return tuple([_int(v) for v in value])


def _lists_of_ints(value: Any) -> tuple[tuple[int, ...], ...]:
    if type(value) is not list:
        raise _refuse("a list of lists of integers", value)
    return tuple([_ints(v) for v in value])


def _free_ints(value: Any) -> Any:
    """Like ``_ints``, with None in the list where a size is free."""
    if type(value) is not list:
        return _ints(value)
    return tuple([None if v is None else _int(v) for v in value])


def _floats(value: Any) -> tuple[float, ...]:
    if type(value) is not list:
        raise _refuse("a list of numbers", value)
    return tuple([_float(v) for v in value])


def _dtype(value: Any) -> DType:
    return as_dtype(_str(value))


def _index_item(value: Any) -> Any:
    if value is None or type(value) is bool:
        return value
    if type(value) is int or type(value) is float:
        return _int(value)
    if value == "...":
        return Ellipsis
    if type(value) is dict and len(value) == 1:
        ((key, inner),) = value.items()
        if key == "tensor" and type(inner) in (int, float) and 1 <= inner <= 64:
            return TensorSlot(_int(inner))
        if key == "slice" and type(inner) is list and len(inner) == 3:
            return slice(*[None if v is None else _int(v) for v in inner])
    raise _refuse('an integer, a boolean, null, "...", {"slice": [start, stop, step]} or {"tensor": position}', value)


def _index(value: Any) -> tuple[Any, ...]:
    if type(value) is not list:
        raise _refuse("a list of index items", value)
    return tuple([_index_item(v) for v in value])


def _encode_index_item(value: Any) -> Any:
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, TensorSlot):
        return {"tensor": value.position}
    return "..." if value is Ellipsis else value


def _nothing(value: Any) -> Any:
    raise _refuse("nothing: this parameter is the engine's own", value)


def _identity(value: Any) -> Any:
    return value


def optional(kind: Kind) -> Kind:
    """``kind``, or null."""
    return Kind(
        {"anyOf": [kind.schema, {"type": "null"}]},
        lambda value: None if value is None else kind.decode(value),
        lambda value: None if value is None else kind.encode(value),
    )


def _either(first: Kind, second: Kind, of: type = str) -> Kind:
    """``first`` where it decodes, else ``second``; encodes a value of type ``of`` (or a tuple for ``list``) as the second."""

    def decode(value: Any) -> Any:
        try:
            return first.decode(value)
        except ArgumentTypeError:
            return second.decode(value)

    types = (list, tuple) if of is list else (of,)
    return Kind({"anyOf": [first.schema, second.schema]}, decode, lambda v: (second if type(v) in types else first).encode(v))


_INT_SCHEMA: Final = {"type": "integer", "minimum": -MAX_INT - 1, "maximum": MAX_INT}
_SPELLED_SCHEMA: Final = {"anyOf": [{"type": "number"}, {"enum": list(SPELLED_FLOATS)}]}
_FLOAT_OBJECT: Final = {
    "type": "object",
    "properties": {"float": _SPELLED_SCHEMA},
    "required": ["float"],
    "additionalProperties": False,
}
NUMBER_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "boolean"},
        _INT_SCHEMA,
        {"type": "number"},
        _FLOAT_OBJECT,
        {
            "type": "object",
            "properties": {"complex": {"type": "array", "items": _SPELLED_SCHEMA, "minItems": 2, "maxItems": 2}},
            "required": ["complex"],
            "additionalProperties": False,
        },
    ]
}
_FLOAT_SCHEMA: Final = {"anyOf": [{"type": "number"}, {"enum": list(SPELLED_FLOATS)}, _FLOAT_OBJECT]}
_INDEX_ITEM_SCHEMA: Final = {
    "anyOf": [
        _INT_SCHEMA,
        {"type": "boolean"},
        {"type": "null"},
        {"const": "..."},
        {
            "type": "object",
            "properties": {
                "slice": {
                    "type": "array",
                    "items": {"anyOf": [_INT_SCHEMA, {"type": "null"}]},
                    "minItems": 3,
                    "maxItems": 3,
                }
            },
            "required": ["slice"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"tensor": {"type": "integer", "minimum": 1, "maximum": 64}},
            "required": ["tensor"],
            "additionalProperties": False,
        },
    ]
}
_INTS_SCHEMA: Final = {"anyOf": [_INT_SCHEMA, {"type": "array", "items": _INT_SCHEMA}]}

BOOL: Final = Kind({"type": "boolean"}, _bool, _identity)
INT: Final = Kind(_INT_SCHEMA, _int, _identity)
FLOAT: Final = Kind(_FLOAT_SCHEMA, _float, encode_float)
STRING: Final = Kind({"type": "string", "maxLength": 256}, _str, _identity)
LONG_STRING: Final = Kind({"type": "string"}, _str, _identity)
NUMBER: Final = Kind(NUMBER_SCHEMA, decode_number, encode_number)
INTS: Final = Kind(_INTS_SCHEMA, _ints, lambda value: value if type(value) is int else list(value))
FLOATS: Final = Kind({"type": "array", "items": _FLOAT_SCHEMA}, _floats, lambda values: [encode_float(v) for v in values])
LISTS_OF_INTS: Final = Kind({"type": "array", "items": _INTS_SCHEMA}, _lists_of_ints, lambda value: [list(v) for v in value])
FREE_INTS: Final = Kind(
    {"anyOf": [_INT_SCHEMA, {"type": "array", "items": {"anyOf": [_INT_SCHEMA, {"type": "null"}]}}]}, _free_ints, list
)
DTYPE: Final = Kind({"enum": list(DTYPES)}, _dtype, lambda d: d.name)
INDEX: Final = Kind({"type": "array", "items": _INDEX_ITEM_SCHEMA}, _index, lambda value: [_encode_index_item(v) for v in value])

INTERNAL: Final = Kind({"not": {}}, _nothing, _identity)
"""A parameter that only the engine gives; it never crosses the wire."""

KINDS: Final[dict[str, Kind]] = {
    "bool": BOOL,
    "int": INT,
    "float": FLOAT,
    "str": STRING,
    "Number": NUMBER,
    "DTypeLike": DTYPE,
    "Index": INDEX,
    "Sequence[int]": INTS,
    "Sequence[float]": FLOATS,
    "int | Sequence[int]": INTS,
    "*int": INTS,
    "*int | Sequence[int]": INTS,
    "bool | None": optional(BOOL),
    "int | None": optional(INT),
    "float | None": optional(FLOAT),
    "str | None": optional(STRING),
    "Number | None": optional(NUMBER),
    "DTypeLike | None": optional(DTYPE),
    "Sequence[int] | None": optional(INTS),
    "Sequence[float] | None": optional(FLOATS),
    "int | Sequence[int] | None": optional(INTS),
    "int | Sequence[int] | str": _either(INTS, STRING),
    "int | Sequence[int | None] | None": optional(FREE_INTS),
    "int | list[int]": _either(INT, INTS, list),
    "int | Sequence[Sequence[int]]": _either(INT, LISTS_OF_INTS, list),
    "Sequence[Sequence[int]]": LISTS_OF_INTS,
    "float | Sequence[float] | None": optional(_either(FLOAT, FLOATS, list)),
    "Chain": INTERNAL,
    "float | str": _either(FLOAT, STRING),
    "float | str | None": optional(_either(FLOAT, STRING)),
}


def decode_parameters(op: Op, given: dict[str, Any]) -> dict[str, Any]:
    """Canonical parameters from parsed JSON. Raises ArgumentTypeError naming op and parameter."""
    decoded: dict[str, Any] = {}
    for name, value in given.items():
        parameter = op.parameters.get(name)
        if parameter is None:
            known = ", ".join(op.parameters) or "none"
            raise ArgumentTypeError(f"{op.name} has no such parameter; its parameters are: {known}")
        try:
            decoded[name] = KINDS[parameter.annotation].decode(value)
        except (ArgumentTypeError, ArgumentValueError) as error:
            raise type(error)(f"{op.name}: parameter '{name}': {error.detail}") from None
    return decoded


def encode_parameters(op: Op, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical parameters as JSON."""
    return {name: KINDS[op.parameters[name].annotation].encode(value) for name, value in parameters.items()}


def at_least(low: int, refusal: str) -> Callable[[Any], int]:
    """A reader of integers from ``low`` on; it raises ArgumentValueError with those words for a lower one."""

    def decode(value: Any) -> int:
        number: int = INT.decode(value)
        if number < low:
            raise ArgumentValueError(refusal)
        return number

    return decode
