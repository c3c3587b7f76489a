"""The catalogue of ops as JSON, read from the op table: what ``GET /v1/ops`` answers and ``openapi/ops.json`` holds."""

from __future__ import annotations

import functools
from typing import Any

import telegrad.contract.tensor  # noqa: F401 # pyright: ignore[reportUnusedImport] - fills the op table
from telegrad._version import __version__
from telegrad.contract import codec
from telegrad.contract.compositions import COMPOSITIONS, load, spellings
from telegrad.contract.kinds import KINDS
from telegrad.contract.ops import OPS, Op


def public_ops() -> dict[str, Op]:
    """The ops and compositions that may cross the wire, by name in alphabetical order."""
    load()
    own = {name: op for name, op in OPS.items() if op.namespace != "internal"}
    return dict(sorted({**own, **{name: c.op for name, c in COMPOSITIONS.items()}}.items()))


def _default(op: Op, name: str) -> Any:
    parameter = op.parameters[name]
    return KINDS[parameter.annotation].encode(parameter.default)


def signature(op: Op) -> str:
    """The op as a line: inputs by position, parameters by keyword, results after the arrow."""
    inputs = [("*" if s.variadic else "") + s.name + ("=None" if s.optional else "") for s in op.inputs]
    parameters = [
        f"{p.name}: {p.annotation.lstrip('*')}" + ("" if p.required else f" = {p.default!r}") for p in op.parameters.values()
    ]
    if parameters and not (op.inputs and op.inputs[-1].variadic):
        parameters.insert(0, "*")
    return f"{op.name}({', '.join(inputs + parameters)}) -> {', '.join(op.outputs)}"


def row(op: Op) -> dict[str, Any]:
    """What the catalogue says of one op."""
    return {
        "name": op.name,
        "aliases": spellings(op)[1:],
        "composed": op.name in COMPOSITIONS,
        "family": op.family,
        "namespace": op.namespace,
        "signature": signature(op),
        "inputs": [{"name": s.name, "number": s.number, "optional": s.optional, "variadic": s.variadic} for s in op.inputs],
        "parameters": [
            {
                "name": p.name,
                "required": p.required,
                "schema": KINDS[p.annotation].schema,
                **({} if p.required else {"default": _default(op, p.name)}),
            }
            for p in op.parameters.values()
        ],
        "outputs": list(op.outputs),
        "differentiable": [] if op.refuses else list(op.differentiable),
        "nondifferentiable_reason": op.nondifferentiable_reason or None,
        "view": op.view,
        "in_place": f"{op.name}_" if op.inplace else None,
        "random": op.random,
        "needs": op.needs or None,
        "node": (op.node or None) if op.differentiable else None,
        "doc": op.doc,
    }


@functools.cache
def rows() -> dict[str, dict[str, Any]]:
    """The rows by the op's name."""
    return {name: row(op) for name, op in public_ops().items()}


def document() -> dict[str, Any]:
    """The whole catalogue."""
    return {"version": __version__, "ops": list(rows().values())}


@functools.cache
def document_bytes() -> bytes:
    """The whole catalogue as it is sent."""
    return codec.dump_json(document())
