"""What the service can do, for programs to read: the catalogue of ops and the API's own document."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from telegrad.contract import codec, compositions
from telegrad.contract.errors import NotFoundError, UnknownOpError
from telegrad_service.api import catalogue
from telegrad_service.api.call import Call
from telegrad_service.api.endpoint import JSON, Endpoint, reference
from telegrad_service.api.negotiation import entity_tag, is_unchanged


def _tagged(call: Call, body: bytes) -> Response:
    """An answer that the client may keep, and ask for again by its tag."""
    tag = entity_tag(body)
    headers = {"etag": tag, "cache-control": "no-cache"}
    if is_unchanged(call.request.headers, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=codec.JSON_MEDIA_TYPE)


async def _ops(call: Call) -> Response:
    return _tagged(call, catalogue.document_bytes())


async def _op(call: Call) -> Response:
    """Under any name that an op has in a request, in place or not."""
    try:
        op, _ = compositions.look_up(call.request.path_params["op"])
    except UnknownOpError as unknown:
        raise NotFoundError(unknown.detail) from None
    found = catalogue.rows().get(op.name)
    if found is None:
        raise NotFoundError("there is no op of that name; GET /v1/ops lists them")
    return _tagged(call, codec.dump_json(found))


async def _document(call: Call) -> Response:
    return _tagged(call, call.request.app.state.document_bytes())


_TAG: Final = {"ETag": "tag of this version; send it as If-None-Match to get 304 while nothing has changed"}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/ops",
        "list_ops",
        "The catalogue: every op with its inputs, parameters, results and derivative",
        _ops,
        "catalogue",
        audience="docs",
        answers={200: {JSON: reference("Catalogue")}, 304: {}},
        headers=_TAG,
    ),
    Endpoint(
        "GET",
        "/v1/ops/{op}",
        "get_op",
        "One op of the catalogue, by any of its names",
        _op,
        "catalogue",
        audience="docs",
        answers={200: {JSON: reference("Op")}, 304: {}},
        errors=(404,),
        headers=_TAG,
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        "openapi",
        "This document",
        _document,
        "catalogue",
        audience="docs",
        answers={200: {JSON: {"type": "object"}}, 304: {}},
        headers=_TAG,
    ),
)
