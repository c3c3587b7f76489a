"""Tensors of a session: put in, list, read, change, release."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from starlette.responses import Response

from telegrad.contract.codec import BYTES_MEDIA_TYPE, NPY_MEDIA_TYPE, SAFETENSORS_MEDIA_TYPE
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.forms import NAME_SCHEMA
from telegrad_service.api import bodies
from telegrad_service.api.call import Call
from telegrad_service.api.endpoint import (
    DTYPE,
    ID,
    JSON,
    LIMIT,
    SHAPE,
    Endpoint,
    Query,
    boolean,
    name,
    one_of,
    reference,
)

_BINARY: Final = {"type": "string", "format": "binary"}


async def _create(call: Call) -> Response:
    call.require_session()
    media_type = call.content_type()
    query = call.query
    if media_type == JSON:
        _refuse_query(call, {"id", "dtype", "shape", "requires_grad"}, "a JSON body has these as its fields")
        return await call.do("create", body=await call.json())
    arguments: dict[str, Any] = {"requires_grad": query["requires_grad"]}
    if media_type == SAFETENSORS_MEDIA_TYPE:
        _refuse_query(call, {"id", "dtype", "shape"}, "a safetensors body says these of each of its arrays")
        reader: bodies.Reader = bodies.safetensors_reader(call.host)
        found = await bodies.arrays(call.request, call.limits, reader)
        return await call.do("create_many", arguments=arguments, buffers=found)
    if media_type == NPY_MEDIA_TYPE:
        _refuse_query(call, {"dtype", "shape"}, "an .npy body says these itself")
        reader = bodies.npy_reader(call.host, "array")
    elif query["dtype"] is None or query["shape"] is None:
        raise ArgumentTypeError("raw bytes need the query parameters 'dtype' and 'shape'")
    else:
        reader = bodies.bytes_reader(call.host, "array", query["dtype"], query["shape"])
    found = await bodies.arrays(call.request, call.limits, reader)
    return await call.do("create", arguments={"id": query["id"], **arguments}, buffers=found)


def _refuse_query(call: Call, names: set[str], reason: str) -> None:
    """Refuse parameters that this form of body has no use for, rather than leave them unheard."""
    if any(call.query[n] not in (None, False) for n in names):
        raise ArgumentTypeError(f"the query parameters {', '.join(sorted(names))} do not go with this Content-Type: {reason}")


async def _list(call: Call) -> Response:
    return await call.do("list_tensors", arguments={"after": call.query["after"], "limit": call.query["limit"]})


async def _read(call: Call, suffix: str = "") -> Response:
    query = call.query
    arguments = {
        "reference": call.reference + suffix,
        "data": query["data"],
        "encoding": query["encoding"],
        "index": query["index"],
    }
    return await call.do("read", arguments=arguments)


async def _set(call: Call) -> Response:
    arguments = {"reference": call.reference}
    call.require_session()
    return await call.do("set", body=await call.json(), arguments=arguments)


async def _release(call: Call) -> Response:
    return await call.do("release", arguments={"reference": call.reference})


_AFTER: Final = Query("after", "the cursor `next` of the page before", NAME_SCHEMA, name, None)
_ENCODING: Final = Query(
    "encoding",
    "how the data stands in a JSON answer: nested lists, or base64 of the raw little-endian bytes",
    {"enum": ["json", "base64"], "default": "json"},
    one_of("json", "base64"),
    "json",
)


def _index(text: str) -> list[Any]:
    """The items of an index, as the command has them."""
    if len(text) > _MAX_INDEX_CHARACTERS or not re.fullmatch(_INDEX_PATTERN, text):
        raise ArgumentValueError("must be integers, slices such as 0:10 or ::2, and ..., joined by commas, such as 0:10,...,-1")
    return [_index_item(item) for item in text.split(",")]


def _index_item(text: str) -> Any:
    if text == "...":
        return text
    if ":" not in text:
        return int(text)
    bounds = [int(bound) if bound else None for bound in text.split(":")]
    return {"slice": [*bounds, None][:3]}


_NUMBER: Final = "-?[0-9]{1,18}"
_ITEM: Final = rf"(\.\.\.|{_NUMBER}|({_NUMBER})?:({_NUMBER})?(:({_NUMBER})?)?)"
_INDEX_PATTERN: Final = f"^{_ITEM}(,{_ITEM})*$"
_MAX_INDEX_CHARACTERS: Final = 1024
_INDEX: Final = Query(
    "index",
    "the part to read, as between Python's brackets: integers, slices such as 0:10 or ::2, and ..., joined by commas; `shape` in a "
    "JSON answer is that of the part",
    {"type": "string", "pattern": _INDEX_PATTERN, "maxLength": _MAX_INDEX_CHARACTERS, "examples": ["0:10", "...,-1"]},
    _index,
    None,
)
_READING: Final = (boolean("data", "false leaves out the data: a description alone (JSON only)", default=True), _ENCODING, _INDEX)
_READ: Final = {
    200: {
        JSON: reference("TensorValue"),
        BYTES_MEDIA_TYPE: _BINARY,
        NPY_MEDIA_TYPE: _BINARY,
        SAFETENSORS_MEDIA_TYPE: _BINARY,
    }
}
_TENSOR: Final = "/v1/sessions/{session}/tensors/{tensor}"

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/sessions/{session}/tensors",
        "create_tensor",
        "Make tensors from data: JSON, raw little-endian bytes, .npy, or safetensors (a tensor for each of its arrays)",
        _create,
        "tensors",
        query=(ID, DTYPE, SHAPE, boolean("requires_grad", "whether gradients are computed for it", default=False)),
        bodies={
            JSON: reference("CreateFields"),
            BYTES_MEDIA_TYPE: _BINARY,
            NPY_MEDIA_TYPE: _BINARY,
            SAFETENSORS_MEDIA_TYPE: _BINARY,
        },
        answers={201: {JSON: {"anyOf": [reference("Tensor"), reference("Tensors")]}}},
        examples={JSON: {"id": "x1", "data": 0.3939, "requires_grad": True}},
        headers={"Location": "the tensor's address, where it is one"},
    ),
    Endpoint(
        "GET",
        "/v1/sessions/{session}/tensors",
        "list_tensors",
        "List the tensors by name",
        _list,
        "tensors",
        query=(_AFTER, LIMIT),
        answers={200: {JSON: reference("TensorPage")}},
    ),
    Endpoint("GET", _TENSOR, "read_tensor", "A tensor's description and data", _read, "tensors", query=_READING, answers=_READ),
    Endpoint(
        "PATCH",
        _TENSOR,
        "set_tensor",
        "Change requires_grad, the gradient or whether it is retained; or give another name",
        _set,
        "tensors",
        bodies={JSON: reference("SetFields")},
        answers={200: {JSON: reference("Tensor")}},
        examples={JSON: {"requires_grad": True}},
    ),
    Endpoint(
        "DELETE",
        _TENSOR,
        "release_tensor",
        "Release a name; what a graph still needs of the tensor lives on in it",
        _release,
        "tensors",
        answers={204: {}},
    ),
    Endpoint(
        "GET",
        _TENSOR + "/grad",
        "read_grad",
        "The gradient accumulated in a tensor; 404 where there is none",
        functools.partial(_read, suffix=".grad"),
        "tensors",
        query=_READING,
        answers=_READ,
    ),
)
