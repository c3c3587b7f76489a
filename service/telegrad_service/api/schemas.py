"""The component schemas of the OpenAPI document: commands and op calls from their tables, answers written down here."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from telegrad.contract.command_fields import FIELDS, schema
from telegrad.contract.commands import COMMANDS
from telegrad.contract.compositions import spellings
from telegrad.contract.dtypes import DTYPES
from telegrad.contract.errors import PROBLEM_TYPE_PREFIX, all_errors
from telegrad.contract.forms import NAME_SCHEMA, REFERENCE_SCHEMA
from telegrad.contract.kinds import KINDS
from telegrad.contract.limits import Limits
from telegrad.contract.ops import InputSlot, Op
from telegrad_service.api.catalogue import public_ops
from telegrad_service.api.endpoint import reference

Schema = dict[str, Any]

_INTEGER: Final[Schema] = {"type": "integer", "minimum": 0}
_STRING: Final[Schema] = {"type": "string"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_SECONDS: Final[Schema] = {"type": "number", "description": "seconds since 1970"}


def _nullable(inner: Schema) -> Schema:
    return {"anyOf": [inner, {"type": "null"}]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: dict[str, Schema], *, optional: tuple[str, ...] = (), closed: bool = False, **more: Any) -> Schema:
    """An object whose properties are all required but for ``optional``; answers stay open for later members."""
    required = [n for n in properties if n not in optional]
    found: Schema = {"type": "object", "properties": properties, **more}
    if required:
        found["required"] = required
    if closed:
        found["additionalProperties"] = False
    return found


def _command_name(name: str) -> str:
    return f"{name.capitalize()}Command"


def _fields(name: str, *, without: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> Schema:
    """A command's own fields, for a route that is that command: what the address says is left out."""
    full = schema(COMMANDS[name])
    left_out = {"command", *without}
    found = {
        **full,
        "title": f"{full['title']}Fields",
        "properties": {n: s for n, s in full["properties"].items() if n not in left_out},
        "required": [n for n in full["required"] if n not in left_out and n not in optional],
    }
    if not found["required"]:
        del found["required"]
    return found


def _slot(slot: InputSlot) -> Schema:
    choices: list[Schema] = [reference("Reference")]
    if slot.number:
        choices.append(reference("Number"))
    if slot.optional:
        choices.append({"type": "null"})
    inner = {"anyOf": choices} if len(choices) > 1 else choices[0]
    return {**inner, "description": slot.name} if "$ref" not in inner else {"allOf": [inner], "description": slot.name}


def op_call(op: Op) -> Schema:
    """The body that calls one op."""
    fixed = [s for s in op.inputs if not s.variadic]
    variadic = [s for s in op.inputs if s.variadic]
    inputs: Schema = {"type": "array", "minItems": op.required_inputs}
    if fixed:
        inputs["prefixItems"] = [_slot(s) for s in fixed]
    if variadic:
        inputs["items"] = _slot(variadic[0])
    else:
        inputs["maxItems"] = len(fixed)
    parameters = _object(
        {p.name: KINDS[p.annotation].schema for p in op.parameters.values()},
        optional=tuple(p.name for p in op.parameters.values() if not p.required),
        closed=True,
    )
    properties = {
        "op": {"enum": spellings(op)},
        "inputs": inputs,
        "parameters": parameters,
        "outputs": FIELDS["apply"]["outputs"].schema,
        "grad_enabled": {**FIELDS["apply"]["grad_enabled"].schema, "default": True},
    }
    optional = ["outputs", "grad_enabled"]
    if not fixed:
        optional.append("inputs")
    if "required" not in parameters:
        optional.append("parameters")
    return _object(
        properties, optional=tuple(optional), closed=True, title=op.name, description=op.doc.partition("\n\n")[0].replace("\n", " ")
    )


def call_name(op: str) -> str:
    """The component that describes the call of an op."""
    return f"Op.{op}"


_DESCRIPTION: Final[dict[str, Schema]] = {
    "id": {"type": "string", "description": "its name"},
    "shape": _list(_INTEGER),
    "dtype": {"enum": list(DTYPES)},
    "requires_grad": _BOOLEAN,
    "is_leaf": _BOOLEAN,
    "grad_fn": {**_nullable(_STRING), "description": "the node that made it, as PyTorch names it; null for a leaf"},
    "stale": {**_nullable(_STRING), "description": "why a view cannot say how it was made, since its base was changed; or null"},
    "has_grad": _BOOLEAN,
    "retains_grad": _BOOLEAN,
    "version": {
        **_nullable(_INTEGER),
        "description": "how often its memory was written to in place; null for inference tensors",
    },
    "is_inference": _BOOLEAN,
    "nbytes": _INTEGER,
}
_DATA: Final[dict[str, Schema]] = {
    "data": {
        "description": 'nested lists of numbers, or one number; "NaN", "Infinity", "-Infinity" and {"complex": [real, imaginary]}'
    },
    "base64": {"type": "string", "contentEncoding": "base64", "description": "the raw little-endian elements"},
    "buffer": {"type": "string", "description": "name of the array in the safetensors body"},
}


def _problem() -> Schema:
    types = [PROBLEM_TYPE_PREFIX + cls.code for cls in all_errors()]
    members: dict[str, Schema] = {
        "type": {
            "type": "string",
            "description": "what went wrong, for programs; later versions may know more",
            "examples": types,
        },
        "title": {"type": "string", "description": "the kind of mistake, in words"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what was given, what was wanted, what to try"},
        "request_id": {
            "type": "string",
            "description": "also in X-Request-Id, and in the server's log; that of the first one, where an answer is replayed",
        },
        "predicted": {"type": "integer", "description": "of a limit: what the request would have needed"},
        "permitted": {"type": "integer", "description": "of a limit or quota: what it may have"},
        "used": {"type": "integer", "description": "of a quota: what is in use"},
        "requested": {"type": "integer", "description": "of a quota: what the request would have added"},
        "retry_after_seconds": {"type": "number", "description": "when to come back; also in Retry-After"},
        "window_seconds": {"type": "number", "description": "of a rate: the stretch of time that it is counted over"},
        "program": {"type": "string", "description": "of a program that is not there: its id"},
        "callback": {"type": "integer", "description": "of a walk with callbacks: the position of the one that failed"},
        "expected": {"type": "integer", "description": "of a client's numbers: the one that is next"},
        "taken": {"type": "boolean", "description": "of a client's numbers: whether another request came under this one"},
        "reason": {
            "enum": ["asked", "hung-up", "deleted", "stopping"],
            "description": "of a run that was stopped: by whom",
        },
        "library": {"type": "string", "description": "of an op: the optional library that the server lacks"},
        "limit": {"type": "string", "description": "of a limit: the setting's name"},
        "applied": {"type": "integer", "description": "of a batch: how many of its commands stand"},
        "failed": {"type": "integer", "description": "of a batch: the position of the command that failed"},
        "results": _list(reference("Result")) | {"description": "of a batch: the results of the commands that stand"},
        "run": {
            "type": "integer",
            "description": "of a program: which run failed or was not begun, from 0; those before stand",
        },
        "times": {"type": "integer", "description": "of a program: how many runs there were to be"},
        "command": {"type": "integer", "description": "of a program: the position of the command that failed"},
    }
    return _object(
        members,
        optional=tuple(n for n in members if n not in ("type", "title", "status", "detail", "request_id")),
        description="RFC 9457 problem document",
    )


def _run_under_way() -> Schema:
    return _object(
        {
            "run_id": _STRING,
            "begun": _SECONDS,
            "run": {**_INTEGER, "description": "runs done when it last told; not there while it waits for its turn"},
            "times": {**_INTEGER, "description": "runs there will be"},
            "latest": {"type": "object", "description": "the latest of what it collects, where that is one number a run"},
        },
        optional=("run", "times", "latest"),
    )


def _session() -> Schema:
    limits = {f.name: {"type": "integer" if isinstance(f.default, int) else "number"} for f in dataclasses.fields(Limits)}
    return _object(
        {
            "id": _STRING,
            "created": _SECONDS,
            "tensors": _INTEGER,
            "bytes": {**_INTEGER, "description": "memory of all values, those saved in graphs included"},
            "nodes": {**_INTEGER, "description": "graph nodes"},
            "programs": _INTEGER,
            "limits": _object(limits),
        }
    )


def _graph() -> Schema:
    typed = {"shape": _list(_INTEGER), "dtype": _STRING}
    node = {
        "id": _STRING,
        "op": _STRING,
        "name": _STRING,
        "outputs": _list(_object(typed)),
        "saved_bytes": _INTEGER,
        "freed": _BOOLEAN,
        "scope": _nullable(_STRING),
    }
    group = {
        "id": _STRING,
        "kind": {"enum": ["repeat", "scope"]},
        "scope": {**_nullable(_STRING), "description": "what its nodes have in common, with # for numbers that differ"},
        "times": {**_INTEGER, "description": "how often the sequence of ops comes"},
        "ops": {"type": "object", "additionalProperties": _INTEGER, "description": "how many of each op, each time"},
        "nodes": _INTEGER,
        "leaves": {**_INTEGER, "description": "leaves that stand in it, used nowhere else"},
        "freed": {**_INTEGER, "description": "nodes whose saved values are gone"},
        "outputs": {**_list(_object(typed)), "description": "of its last node"},
        "saved_bytes": _INTEGER,
    }
    leaf = {"id": _STRING, "name": _nullable(_STRING), **typed, "requires_grad": _BOOLEAN, "has_grad": _BOOLEAN}
    edge = {"from": _STRING, "output": _nullable(_INTEGER), "to": _STRING, "input": _nullable(_INTEGER)}
    return _object(
        {
            "root": _nullable(_STRING),
            "root_output": {**_INTEGER, "description": "which output of the root node the tensor is"},
            "nodes": _list(_object(node)),
            "groups": {**_list(_object(group)), "description": "each in the place of many nodes, where there are too many"},
            "leaves": _list(_object(leaf)),
            "edges": {**_list(_object(edge)), "description": "from what made a value to what used it; a group has no positions"},
            "collapsed": {**_INTEGER, "description": "nodes and leaves that stand in groups"},
            "omitted": {**_INTEGER, "description": "nodes and leaves that are not listed"},
        }
    )


def _graph_summary() -> Schema:
    use = _object({"nodes": _INTEGER, "freed": _INTEGER, "saved_bytes": _INTEGER})
    uses = {"type": "object", "additionalProperties": use}
    return _object(
        {
            "shape": _list(_INTEGER),
            "dtype": _STRING,
            "nodes": _INTEGER,
            "freed": {**_INTEGER, "description": "nodes whose saved values are gone"},
            "leaves": _INTEGER,
            "leaves_with_grad": _INTEGER,
            "depth": {**_INTEGER, "description": "nodes on the longest path"},
            "saved_bytes": {**_INTEGER, "description": "kept for backward, each buffer once"},
            "leaf_bytes": {**_INTEGER, "description": "values of the leaves, each buffer once"},
            "grad_bytes": {**_INTEGER, "description": "gradients of the leaves"},
            "bytes": {**_INTEGER, "description": "all three together, each buffer once"},
            "by_op": {**uses, "description": "most bytes first; a buffer that several nodes keep counts for the one made first"},
            "by_scope": {**uses, "description": "in order of making; nodes outside of any scope are not in it"},
        }
    )


def _op_row() -> Schema:
    return _object(
        {
            "name": _STRING,
            "family": _STRING,
            "aliases": {**_list(_STRING), "description": "further names that `op` may have, among them PyTorch's full path"},
            "composed": {"type": "boolean", "description": "made of other ops, which are what the graph shows"},
            "namespace": {"type": "string", "description": 'where the Python client has it: "" for telegrad itself'},
            "signature": _STRING,
            "inputs": _list(_object({"name": _STRING, "number": _BOOLEAN, "optional": _BOOLEAN, "variadic": _BOOLEAN})),
            "parameters": _list(
                _object({"name": _STRING, "required": _BOOLEAN, "schema": {"type": "object"}, "default": {}}, optional=("default",))
            ),
            "outputs": _list(_STRING),
            "differentiable": {**_list(_STRING), "description": "the inputs that gradients flow to"},
            "nondifferentiable_reason": {**_nullable(_STRING), "description": "why it has no derivative, where it has none"},
            "view": {"type": "boolean", "description": "the result shares the first input's memory"},
            "in_place": {**_nullable(_STRING), "description": "the name of the op that writes into its first input"},
            "random": {"type": "boolean", "description": "draws from the session's generator"},
            "needs": {**_nullable(_STRING), "description": "the optional library, and extra of telegrad, that computes it"},
            "node": {**_nullable(_STRING), "description": "grad_fn of its result"},
            "doc": _STRING,
        }
    )


def components() -> dict[str, Schema]:
    """Every component schema by name."""
    ops = public_ops()
    mapping = {spelling: f"#/components/schemas/{call_name(n)}" for n, o in ops.items() for spelling in spellings(o)}
    return {
        "Reference": {**REFERENCE_SCHEMA, "description": "a tensor's name, or name.grad for its gradient"},
        "Number": KINDS["Number"].schema,
        "OpenSession": _object({"seed": _nullable(FIELDS["seed"]["seed"].schema)}, optional=("seed",), closed=True),
        "Session": _session(),
        "SessionPage": _object(
            {
                "sessions": _list(_object({"id": _STRING, "created": _SECONDS, "idle_seconds": {"type": "number"}})),
                "next": {**_nullable(_STRING), "description": "the parameter `after` of the next page; null on the last"},
            }
        ),
        "Tensor": _object(_DESCRIPTION),
        "TensorValue": _object({**_DESCRIPTION, "data": _DATA["data"], "base64": _DATA["base64"]}, optional=("data", "base64")),
        "Tensors": _object({"tensors": _list(reference("Tensor"))}),
        "TensorPage": _object({"tensors": _list(reference("Tensor")), "next": _nullable(_STRING)}),
        "Outputs": _object({"outputs": _list(_nullable(reference("Tensor")))}),
        "Leaves": _object({"leaves": {**_list(_STRING), "description": "the named leaves that have a gradient now"}}),
        "Gradients": _object({"present": _list(_BOOLEAN), "results": _list(_nullable(reference("Tensor")))}),
        "CreateFields": _fields("create", without=("buffer",), optional=("id",)),
        "SetFields": _fields("set", without=("tensor",)),
        "BackwardFields": _fields("backward"),
        "GradFields": _fields("grad"),
        "SeedFields": _fields("seed"),
        "OpCall": {
            "oneOf": [reference(call_name(n)) for n in ops],
            "discriminator": {"propertyName": "op", "mapping": mapping},
        },
        **{call_name(n): op_call(o) for n, o in ops.items()},
        "Command": {
            "oneOf": [reference(_command_name(n)) for n in COMMANDS],
            "discriminator": {
                "propertyName": "command",
                "mapping": {n: f"#/components/schemas/{_command_name(n)}" for n in COMMANDS},
            },
        },
        **{_command_name(n): schema(c) for n, c in COMMANDS.items()},
        "Batch": _object({"commands": _list(reference("Command"))}, closed=True),
        "Result": _object(
            {
                "index": {**_INTEGER, "description": "the command's position"},
                "tensor": _nullable(reference("Tensor")),
                "shape": {**_list(_INTEGER), "description": "of the part that was read, where the read has an index"},
                **_DATA,
                "present": _list(_BOOLEAN),
                "outputs": _list(_nullable(_STRING)),
                "results": _list({}),
                "runs": {**_INTEGER, "description": "of a program: how many there were"},
            },
            optional=("tensor", "shape", "data", "base64", "buffer", "present", "outputs", "results", "runs"),
        ),
        "BatchAnswer": _object({"applied": _INTEGER, "results": _list(reference("Result"))}),
        "ProgramFields": _object(
            {"commands": _list(reference("Command")), "inputs": _list(NAME_SCHEMA)}, optional=("inputs",), closed=True
        ),
        "Program": _object({"id": _STRING, "inputs": _list(_STRING), "commands": _list(reference("Command"))}),
        "Programs": _object({"programs": _list(_object({"id": _STRING, "inputs": _list(_STRING)}))}),
        "RunFields": _fields("run", without=("program",)),
        "Runs": _object(
            {
                "runs": {**_INTEGER, "description": "how many there were"},
                "results": {**_list(_list(reference("Result"))), "description": "per run, what its reads gave"},
                "tensors": {**_list(reference("Tensor")), "description": "those that outputs and collect gave names to"},
            }
        ),
        "RunsUnderWay": _object({"runs": _list(_run_under_way())}),
        "Graph": _graph(),
        "GraphSummary": _graph_summary(),
        "Op": _op_row(),
        "Catalogue": _object({"version": _STRING, "ops": _list(reference("Op"))}),
        "Status": _object({"status": _STRING}),
        "Problem": _problem(),
    }
