"""What is done with tensors: ops, gradients, the seed, and batches of all of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from telegrad.contract.codec import EVENTS_MEDIA_TYPE, SAFETENSORS_MEDIA_TYPE
from telegrad.contract.errors import RequestError
from telegrad.contract.safetensors import MESSAGE_KEY
from telegrad_service.api import bodies, events
from telegrad_service.api.call import Call
from telegrad_service.api.endpoint import EVENTS, JSON, RUN_ID, Endpoint, reference
from telegrad_service.hosts.base import Array
from telegrad_service.hosts.lending import Upload


async def _command(call: Call, verb: str) -> Response:
    call.require_session()
    return await call.do(verb, body=await call.json())


async def _batch(call: Call) -> Response:
    call.require_session()
    if call.content_type() == JSON:
        return await _do_batch(call, await call.json(), {})
    reader = bodies.safetensors_reader(call.host)
    buffers = await bodies.arrays(call.request, call.limits, reader, may_lend=not _is_watched(call))
    message = reader.metadata.get(MESSAGE_KEY)
    if message is None:
        if isinstance(buffers, Upload):
            bodies.give_back(call.request, buffers)
        raise RequestError(f"the safetensors metadata has no member '{MESSAGE_KEY}' with the commands")
    # JSON may spell half a character, which no UTF-8 has; the parser will say so.
    return await _do_batch(call, message.encode("utf-8", "surrogatepass"), buffers)


def _is_watched(call: Call) -> bool:
    """Whether the answer may begin before the work is done."""
    return call.media_type == EVENTS_MEDIA_TYPE or call.query["run_id"] is not None


async def _do_batch(call: Call, body: bytes, buffers: Mapping[str, Array] | Upload) -> Response:
    if _is_watched(call):
        return await events.watched(call, "batch", body=body, buffers=buffers)
    return await call.do("batch", body=body, buffers=buffers)


def _row(
    path: str,
    operation: str,
    summary: str,
    verb: str,
    fields: str,
    answers: dict[int, dict[str, dict[str, Any]]],
    example: dict[str, Any],
) -> Endpoint:
    """A command of its own address, whose body has the command's fields."""
    return Endpoint(
        "POST",
        "/v1/sessions/{session}/" + path,
        operation,
        summary,
        functools.partial(_command, verb=verb),
        "commands",
        bodies={JSON: reference(fields)},
        answers=answers,
        examples={JSON: example},
    )


_BINARY: Final = {"type": "string", "format": "binary"}

ENDPOINTS: Final = (
    _row(
        "ops",
        "apply_op",
        "Apply an op to tensors: new tensors, or a change in place where its name ends in an underscore",
        "apply",
        "OpCall",
        {200: {JSON: reference("Outputs")}},
        {"op": "mul", "inputs": ["x2", 5], "outputs": ["y"]},
    ),
    _row(
        "backward",
        "backward",
        "Accumulate gradients into the leaves, or into `inputs` only",
        "backward",
        "BackwardFields",
        {200: {JSON: reference("Leaves")}},
        {"tensors": ["y"]},
    ),
    _row(
        "grad",
        "grad",
        "Gradients as new tensors; nothing is accumulated",
        "grad",
        "GradFields",
        {200: {JSON: reference("Gradients")}},
        {"outputs": ["y"], "inputs": ["x1", "x2"]},
    ),
    _row("seed", "seed", "Restart the session's random generator", "seed", "SeedFields", {204: {}}, {"seed": 0}),
    Endpoint(
        "POST",
        "/v1/sessions/{session}/batch",
        "batch",
        "Do commands in order; the first that fails stops them, and what came before it stands. As text/event-stream: how far runs "
        "of programs are, as where one program is run",
        _batch,
        "commands",
        query=(RUN_ID,),
        bodies={JSON: reference("Batch"), SAFETENSORS_MEDIA_TYPE: _BINARY},
        answers={200: {JSON: reference("BatchAnswer"), SAFETENSORS_MEDIA_TYPE: _BINARY, EVENTS_MEDIA_TYPE: EVENTS}},
        examples={
            JSON: {
                "commands": [
                    {"command": "create", "id": "x1", "data": 0.3939, "requires_grad": True},
                    {"command": "apply", "op": "pow", "inputs": ["x1", 2], "outputs": ["y"]},
                    {"command": "backward", "tensors": ["y"]},
                    {"command": "read", "tensor": "x1.grad"},
                ]
            }
        },
    ),
)
