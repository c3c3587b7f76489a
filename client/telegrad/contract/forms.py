"""What a field of a command may be: names, references, lists of them; each form once, with its check, its schema and its JSON."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, Final

from telegrad.contract import kinds
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.kinds import Kind
from telegrad.contract.scope import MAX_PATH_LENGTH, checked_path

MAX_NAME_LENGTH: Final = 64
MAX_NODE_NAME_LENGTH: Final = 128
NAME_PATTERN: Final = r"^(?!.*\.grad$)[A-Za-z_][A-Za-z0-9_.:-]{0,63}$"
REFERENCE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.:-]{0,68}$"
_MAX_REFERENCE_LENGTH: Final = 69  # of REFERENCE_PATTERN; longer text is not worth remembering
_NAME: Final = re.compile(NAME_PATTERN)
_REFERENCE: Final = re.compile(REFERENCE_PATTERN)


# Reading ---------------------------------------------------------------------------------------------------------------------


def refusal(wanted: str, value: Any) -> ArgumentTypeError:
    """The error for a value that is none of those: it names the JSON type, and never the value."""
    return ArgumentTypeError(f"expected {wanted}, got {kinds.json_type(value)}")


@functools.lru_cache(4096)
def _is_name(value: str) -> bool:
    """Whether it looks like a name. Remembered: the steps of a loop name the same tensors, and an expression takes 400 ns."""
    return _NAME.fullmatch(value) is not None


@functools.lru_cache(4096)
def _is_reference(value: str) -> bool:
    return _REFERENCE.fullmatch(value) is not None


def _name(value: Any) -> str:
    if type(value) is not str:
        raise refusal("a name", value)
    if len(value) > MAX_NAME_LENGTH or not _is_name(value):
        raise ArgumentValueError(
            f"a name has 1 to {MAX_NAME_LENGTH} letters, digits and _ . : -, begins with a letter or _ and does not end in .grad"
        )
    return value


def _reference(value: Any) -> str:
    if type(value) is not str:
        raise refusal("a tensor's name", value)
    if len(value) > _MAX_REFERENCE_LENGTH or not _is_reference(value):
        raise ArgumentValueError("a tensor reference is a name, or a name followed by .grad")
    return value


def _input(value: Any) -> Any:
    if type(value) is str:
        return _reference(value)
    return None if value is None else kinds.decode_number(value)


def _list_of(decode: Callable[[Any], Any], what: str) -> Callable[[Any], tuple[Any, ...]]:
    def decode_list(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise refusal(f"a list of {what}", value)
        return tuple([decode(v) for v in value])

    return decode_list


def _mapping(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise refusal("an object", value)
    return value


def _holes(value: Any) -> dict[str, str]:
    return {_name(k): _reference(v) for k, v in _mapping(value).items()}


def _new_names(value: Any) -> dict[str, str]:
    return {_reference(k): _name(v) for k, v in _mapping(value).items()}


def _optional(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else decode(value)


def _one_of(*choices: str) -> Callable[[Any], str]:
    def decode(value: Any) -> str:
        if type(value) is not str or value not in choices:
            raise ArgumentValueError(f"expected one of {', '.join(choices)}")
        return value

    return decode


_positive: Final = kinds.at_least(1, "expected an integer of at least 1")


def _seconds(value: Any) -> float:
    number: float = kinds.KINDS["float"].decode(value)
    if not 0 < number < math.inf:
        raise ArgumentValueError("expected a positive number of seconds")
    return number


def _node_name(value: Any) -> str:
    if type(value) is not str:
        raise refusal("a node's name", value)
    if not (1 <= len(value) <= MAX_NODE_NAME_LENGTH and value.isprintable()):
        raise ArgumentValueError(f"a node's name has 1 to {MAX_NODE_NAME_LENGTH} printable characters")
    return value


_size: Final = kinds.at_least(0, "a size must not be negative")


def _same(value: Any) -> Any:
    return value


def _as_list(value: Any) -> Any:
    return None if value is None else list(value)


def _kind(schema: dict[str, Any], decode: Callable[[Any], Any], encode: Callable[[Any], Any] = _same) -> Kind:
    return Kind(schema, decode, encode)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list_schema(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


# Schemas that others name ----------------------------------------------------------------------------------------------------

NAME_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": NAME_PATTERN}
REFERENCE_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": REFERENCE_PATTERN}
INPUT_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [REFERENCE_SCHEMA, {"type": "null"}, *kinds.NUMBER_SCHEMA["anyOf"]],
    "description": "a tensor's name (or name.grad), a number, or null for an absent optional tensor",
}
_WHOLE: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}

# The kinds -------------------------------------------------------------------------------------------------------------------

NAME: Final = _kind(NAME_SCHEMA, _name)
OPTIONAL_NAME: Final = _kind(_nullable(NAME_SCHEMA), _optional(_name))
OPTIONAL_NAMES: Final = _kind(
    _nullable(_list_schema(_nullable(NAME_SCHEMA))), _optional(_list_of(_optional(_name), "names")), _as_list
)
"""A list that may be left out, of names and nulls."""

REFERENCE: Final = _kind(REFERENCE_SCHEMA, _reference)
OPTIONAL_REFERENCE: Final = _kind(_nullable(REFERENCE_SCHEMA), _optional(_reference))
REFERENCES: Final = _kind(_list_schema(REFERENCE_SCHEMA), _list_of(_reference, "names"), list)
OPTIONAL_REFERENCES: Final = _kind(_nullable(_list_schema(REFERENCE_SCHEMA)), _optional(_list_of(_reference, "names")), _as_list)
MAYBE_REFERENCES: Final = _kind(_list_schema(_nullable(REFERENCE_SCHEMA)), _list_of(_optional(_reference), "names"), list)
"""A list of references and nulls."""
OPTIONAL_MAYBE_REFERENCES: Final = _kind(
    _nullable(_list_schema(_nullable(REFERENCE_SCHEMA))), _optional(_list_of(_optional(_reference), "names")), _as_list
)
BOUND: Final = _kind(
    {"type": "object", "propertyNames": {"pattern": NAME_PATTERN}, "additionalProperties": REFERENCE_SCHEMA}, _holes, dict
)
"""From holes of a program to tensors."""
NAMED: Final = _kind(
    {"type": "object", "propertyNames": {"pattern": REFERENCE_PATTERN}, "additionalProperties": NAME_SCHEMA}, _new_names, dict
)
"""From tensors of a program to new names."""

INPUTS: Final = _kind(_list_schema(INPUT_SCHEMA), _list_of(_input, "inputs"), list)
PARAMETERS: Final = _kind({"type": "object"}, _mapping, dict)
"""Read by the op's own row, once it is known which op."""

DATA: Final = _kind({"description": "nested lists of numbers, or one number"}, _same)
OPTIONAL_BASE64: Final = _kind(_nullable({"type": "string", "contentEncoding": "base64"}), kinds.optional(kinds.LONG_STRING).decode)
OPTIONAL_DTYPE: Final = _kind(_nullable(kinds.DTYPE.schema), _optional(lambda v: kinds.DTYPE.decode(v).name))
OPTIONAL_SHAPE: Final = _kind(_nullable(_list_schema(_WHOLE)), _optional(_list_of(_size, "sizes")), _as_list)
POSITIONS: Final = _kind(_list_schema(_WHOLE), _list_of(_size, "positions"), list)
OPTIONAL_COUNT: Final = _kind(_nullable({"type": "integer", "minimum": 1}), _optional(_positive))
OPTIONAL_SECONDS: Final = _kind(_nullable({"type": "number", "exclusiveMinimum": 0}), _optional(_seconds))
OPTIONAL_INT: Final = kinds.optional(kinds.INT)
OPTIONAL_BOOL: Final = kinds.KINDS["bool | None"]
OPTIONAL_INDEX: Final = kinds.optional(kinds.INDEX)
OPTIONAL_SCOPE: Final = _kind(_nullable({"type": "string", "minLength": 1, "maxLength": MAX_PATH_LENGTH}), _optional(checked_path))
OPTIONAL_ANOMALY: Final = _kind({"enum": ["errors", "nan", None]}, _optional(_one_of("errors", "nan")))
NODE_NAME: Final = _kind({"type": "string", "minLength": 1, "maxLength": MAX_NODE_NAME_LENGTH}, _node_name)


def choice(*choices: str) -> Kind:
    """One of these words."""
    return _kind({"enum": list(choices)}, _one_of(*choices))
