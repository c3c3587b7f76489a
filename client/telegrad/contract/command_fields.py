"""Commands as JSON: what each field of each command may be; reading, writing, and the schema, all from that one table."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from telegrad.contract import callbacks, forms, kinds
from telegrad.contract.commands import ABSENT, COMMANDS, Apply, Command
from telegrad.contract.compositions import look_up
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.kinds import Kind

importlib.import_module("telegrad.contract.tensor")  # fills the op table


def _decode_inner(value: Any) -> Command:
    return decode_command(value)


def _encode_inner(command: Command) -> dict[str, Any]:
    return encode_command(command)


_KINDS: Final = (forms.REFERENCE, forms.OPTIONAL_NAMES, forms.OPTIONAL_MAYBE_REFERENCES, forms.OPTIONAL_NAME)
_CALLBACKS: Final = callbacks.Form(_decode_inner, _encode_inner, *_KINDS).kind()

FIELDS: Final[dict[str, dict[str, Kind]]] = {
    "create": {
        "id": forms.NAME,
        "data": forms.DATA,
        "base64": forms.OPTIONAL_BASE64,
        "buffer": forms.OPTIONAL_NAME,
        "dtype": forms.OPTIONAL_DTYPE,
        "shape": forms.OPTIONAL_SHAPE,
        "requires_grad": kinds.BOOL,
        "inference": kinds.BOOL,
    },
    "apply": {
        "op": kinds.STRING,
        "inputs": forms.INPUTS,
        "parameters": forms.PARAMETERS,
        "outputs": forms.OPTIONAL_NAMES,
        "grad_enabled": kinds.BOOL,
        "scope": forms.OPTIONAL_SCOPE,
        "inference": kinds.BOOL,
        "pack": forms.OPTIONAL_NAME,
    },
    "backward": {
        "tensors": forms.REFERENCES,
        "grad_tensors": forms.OPTIONAL_MAYBE_REFERENCES,
        "retain_graph": forms.OPTIONAL_BOOL,
        "create_graph": kinds.BOOL,
        "inputs": forms.OPTIONAL_REFERENCES,
        "callbacks": _CALLBACKS,
        "anomaly": forms.OPTIONAL_ANOMALY,
        "waits": forms.OPTIONAL_NAME,
    },
    "grad": {
        "outputs": forms.REFERENCES,
        "inputs": forms.REFERENCES,
        "grad_outputs": forms.OPTIONAL_MAYBE_REFERENCES,
        "retain_graph": forms.OPTIONAL_BOOL,
        "create_graph": kinds.BOOL,
        "allow_unused": forms.OPTIONAL_BOOL,
        "is_grads_batched": kinds.BOOL,
        "materialize_grads": kinds.BOOL,
        "results": forms.OPTIONAL_NAMES,
        "callbacks": _CALLBACKS,
        "anomaly": forms.OPTIONAL_ANOMALY,
        "waits": forms.OPTIONAL_NAME,
        "bounded": kinds.BOOL,
    },
    "set": {
        "tensor": forms.REFERENCE,
        "requires_grad": forms.OPTIONAL_BOOL,
        "grad": forms.OPTIONAL_REFERENCE,
        "retain_grad": forms.OPTIONAL_BOOL,
        "name": forms.OPTIONAL_NAME,
        "data": forms.OPTIONAL_REFERENCE,
        "detach": forms.OPTIONAL_BOOL,
    },
    "read": {
        "tensor": forms.REFERENCE,
        "what": forms.choice("value", "description"),
        "encoding": forms.choice("json", "base64", "buffer"),
        "index": forms.OPTIONAL_INDEX,
    },
    "release": {"tensors": forms.REFERENCES},
    "seed": {"seed": forms.OPTIONAL_INT, "save": forms.OPTIONAL_NAME, "state": forms.OPTIONAL_REFERENCE},
    "run": {
        "program": kinds.STRING,
        "inputs": forms.BOUND,
        "each": forms.BOUND,
        "outputs": forms.NAMED,
        "collect": forms.NAMED,
        "times": forms.OPTIONAL_COUNT,
        "seconds": forms.OPTIONAL_SECONDS,
        "grad_enabled": kinds.BOOL,
    },
    "attach": {
        "name": forms.NODE_NAME,
        "inputs": forms.REFERENCES,
        "outputs": forms.MAYBE_REFERENCES,
        "constants": forms.POSITIONS,
        "materialize": kinds.BOOL,
        "saves": kinds.BOOL,
        "scope": forms.OPTIONAL_SCOPE,
        "dirty": forms.POSITIONS,
        "label": forms.OPTIONAL_NAME,
    },
    "resume": {
        "walk": forms.NAME,
        "results": forms.OPTIONAL_MAYBE_REFERENCES,
        "stops": kinds.BOOL,
        "callbacks": _CALLBACKS,
        "gradients": forms.OPTIONAL_NAMES,
    },
}


def _is_required(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(f.name for f in fields(cls) if _is_required(f)) for name, cls in COMMANDS.items()
}


def decode_command(value: Any) -> Command:
    """A command from parsed JSON. Unknown and missing fields and wrong types are refused by name.

    The parameters of ``apply`` become canonical Python values by the op's own row.

    Raises:
        ArgumentTypeError, ArgumentValueError, UnknownOpError: naming command and field.
    """
    if type(value) is not dict:
        raise forms.refusal("a command object", value)
    name = value.get("command")
    cls = COMMANDS.get(name) if type(name) is str else None
    if cls is None:
        raise ArgumentValueError(f"'command' must be one of {', '.join(COMMANDS)}")
    return decode_fields(cls, {k: v for k, v in value.items() if k != "command"})


def decode_fields(cls: type[Command], given: Mapping[str, Any]) -> Command:
    """A command of a known class from its fields as parsed JSON; see ``decode_command``."""
    table = FIELDS[cls.command]
    decoded: dict[str, Any] = {}
    for name, value in given.items():
        kind = table.get(name)
        if kind is None:
            raise ArgumentTypeError(f"{cls.command} has no such field; its fields are: {', '.join(table)}")
        try:
            decoded[name] = kind.decode(value)
        except (ArgumentTypeError, ArgumentValueError) as error:
            raise type(error)(f"{cls.command}: field '{name}': {error.detail}") from None
    for name in _REQUIRED[cls.command]:
        if name not in decoded:
            raise ArgumentTypeError(f"{cls.command} misses the field '{name}'")
    if cls is Apply:
        op, _ = look_up(decoded["op"])
        if "parameters" in decoded:
            decoded["parameters"] = kinds.decode_parameters(op, decoded["parameters"])
    return cls(**decoded)


def encode_command(command: Command) -> dict[str, Any]:
    """The command as JSON that ``decode_command`` gives back; fields at their default are left out."""
    table = FIELDS[command.command]
    out: dict[str, Any] = {"command": command.command}
    for f in fields(command):
        value = getattr(command, f.name)
        if value is not f.default and value != {} and value is not ABSENT:
            out[f.name] = table[f.name].encode(value)
    if isinstance(command, Apply):
        out["inputs"] = [v if v is None or type(v) is str else kinds.encode_number(v) for v in command.inputs]
        if command.parameters:
            out["parameters"] = kinds.encode_parameters(look_up(command.op)[0], command.parameters)
    return out


def schema(cls: type[Command]) -> dict[str, Any]:
    """The JSON schema of one command."""
    table = FIELDS[cls.command]
    return {
        "type": "object",
        "title": cls.__name__,
        "description": (inspect.getdoc(cls) or "").split("\n\n")[0],
        "properties": {"command": {"const": cls.command}, **{name: kind.schema for name, kind in table.items()}},
        "required": ["command", *_REQUIRED[cls.command]],
        "additionalProperties": False,
    }
