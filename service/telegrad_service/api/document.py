"""The OpenAPI document: FastAPI makes the frame, the endpoints' rows fill in parameters, bodies and every answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from telegrad.contract.codec import PROBLEM_MEDIA_TYPE
from telegrad_service.api import repeats
from telegrad_service.api.endpoint import REQUIRED, Endpoint, reference
from telegrad_service.api.schemas import components

_HOLES: Final = {
    "session": "the session's id",
    "tensor": "the tensor's name, or name.grad for its gradient",
    "program": "the program's id",
    "run": "the run's id",
    "op": "the op's name",
}
_DESCRIPTION: Final = """\
Tensors and their autograd graphs live in sessions on the server; ops build graphs, gradients come back.

Every failure is a problem document (RFC 9457) with a stable `type`. Unknown fields and parameters are refused.
Arrays travel as JSON, raw little-endian bytes, .npy or safetensors, by Content-Type and Accept. Where the server has zstd, bodies
may come with Content-Encoding: zstd, and answers are compressed for whoever asks with Accept-Encoding: zstd.
HEAD answers like GET without the body, OPTIONS tells the methods of a path."""
_KEYS: Final = """\
An API key, made by `telegrad keys create`, or a JSON Web Token, where the server asks for one. Its scope `read` permits GET,
`write` all other methods. Sessions of another tenant answer as sessions that do not exist."""
_TAGS: Final = {
    "sessions": "homes of tensors and their graphs",
    "tensors": "put in, read, change, release",
    "commands": "ops, gradients, seeds and batches",
    "programs": "commands stored once, run often",
    "catalogue": "what there is, for programs to read",
    "health": "for whoever runs the service",
}
_REQUEST_ID: Final = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
_PROBLEMS: Final = {
    400: "The request cannot be read: malformed JSON, a broken binary body, a bad query string",
    401: "The server asks for a key, and the request has none that is valid",
    403: "The key lacks the scope that this needs",
    404: "There is no such session, tensor, op or page",
    406: "The answer cannot be had in a form that Accept allows",
    409: "The name is taken, the graph does not allow it, the session was closed, or a run was stopped; a request under the same "
    "Idempotency-Key is being done; the session's journal is damaged",
    408: "The body came too slowly; nothing was done",
    410: "The session was there and is no more: its process ended, or its server was started anew, and nothing of it was kept",
    413: "The body is larger than max_body_bytes; the problem has both numbers",
    415: "The body's Content-Type or Content-Encoding is not read here",
    422: "An argument was not accepted, or a limit would be exceeded, and nothing was done; or a run took too long",
    429: "The tenant would hold or do more than its quotas permit; nothing was done, and the problem has the numbers",
    500: "A fault of telegrad's own",
    501: "The op is computed by an optional library that the server lacks; GET /v1/ops says which ops need one",
    503: "The server starts, stops, or is at its capacity; try again after Retry-After",
    507: "The journal cannot be written, because the disk is full, say; what was asked for is not done",
}

_HEADERS: Final = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
    503: ("Retry-After",),
}

# Not HTTPStatus's phrases: Python has changed some.
_NAMES: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    406: "NotAcceptable",
    408: "RequestTimeout",
    409: "Conflict",
    410: "Gone",
    413: "ContentTooLarge",
    415: "UnsupportedMediaType",
    422: "UnprocessableContent",
    429: "TooManyRequests",
    500: "InternalServerError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}


def operation(endpoint: Endpoint) -> dict[str, Any]:
    """What the document says of one endpoint, beside the frame."""
    found: dict[str, Any] = {"responses": _responses(endpoint)}
    if endpoint.audience != "all":
        found["security"] = [{"key": []}, {}]
    parameters = [_hole(name) for name in endpoint.holes] + [_query(q) for q in endpoint.query]
    if endpoint.can_repeat:
        parameters += repeats.PARAMETERS + (repeats.NUMBERS if endpoint.in_session else ())
    if parameters:
        found["parameters"] = parameters
    if endpoint.bodies:
        found["requestBody"] = {
            "required": endpoint.body_required,
            "content": {
                media_type: {
                    "schema": schema,
                    **({"example": endpoint.examples[media_type]} if media_type in endpoint.examples else {}),
                }
                for media_type, schema in endpoint.bodies.items()
            },
        }
    return found


def _hole(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": _HOLES[name], "schema": {"type": "string"}}


def _query(query: Any) -> dict[str, Any]:
    return {
        "name": query.name,
        "in": "query",
        "required": query.default is REQUIRED,
        "description": query.meaning,
        "schema": query.schema,
    }


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    named = {name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in endpoint.headers.items()}
    for status, forms in endpoint.answers.items():
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": {**_REQUEST_ID, **{name: _header(name) for name in _further(endpoint)}, **named},
        }
        if forms:
            found[str(status)]["content"] = {media_type: {"schema": schema} for media_type, schema in forms.items()}
    for status in endpoint.problems():
        found[str(status)] = {"$ref": f"#/components/responses/{_problem_name(status)}"}
    return found


def _further(endpoint: Endpoint) -> list[str]:
    """Headers that a good answer may have."""
    found: list[str] = []
    if endpoint.can_repeat:
        found.append("Idempotency-Replayed")
    if endpoint.in_session or endpoint.operation == "open_session":
        found += ["Telegrad-Seq", "Telegrad-Durable-Seq"]
    if endpoint.audience == "keys":
        found += ["RateLimit-Policy", "RateLimit"]
    return found


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _problem_name(status: int) -> str:
    return _NAMES[status]


def complete(frame: dict[str, Any]) -> dict[str, Any]:
    """The whole document from FastAPI's frame."""
    for path in frame["paths"].values():
        for found in path.values():
            for response in found["responses"].values():
                if "$ref" in response:
                    response.pop("description", None)
    frame["info"]["description"] = _DESCRIPTION
    frame["info"]["license"] = {"name": "MIT", "identifier": "MIT"}
    frame["tags"] = [{"name": name, "description": meaning} for name, meaning in _TAGS.items()]
    frame["components"] = {
        "schemas": components(),
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEYS}},
        "headers": {
            "X-Request-Id": {
                "description": "id of the request; a plain one that the client sent, or a new one",
                "schema": {"type": "string"},
            },
            "Retry-After": {"description": "seconds to wait before trying again", "schema": {"type": "string"}},
            "RateLimit-Policy": {
                "description": "quota and window in seconds of each policy (draft-ietf-httpapi-ratelimit-headers)",
                "schema": {"type": "string"},
            },
            "RateLimit": {
                "description": "what is left of each, and in how many seconds there is more",
                "schema": {"type": "string"},
            },
            "Idempotency-Replayed": {
                "description": "true where this is the first answer to a request that was sent again",
                "schema": {"type": "string", "enum": ["true"]},
            },
            "Telegrad-Seq": {
                "description": "number of the session's last change, where sessions are kept",
                "schema": {"type": "string"},
            },
            "Telegrad-Durable-Seq": {"description": "number of its last one on the disk", "schema": {"type": "string"}},
            "WWW-Authenticate": {"description": "how to show a key (RFC 6750)", "schema": {"type": "string"}},
        },
        "responses": {_problem_name(status): _problem_response(status, meaning) for status, meaning in _PROBLEMS.items()},
    }
    return frame


def _problem_response(status: int, meaning: str) -> dict[str, Any]:
    further = {name: _header(name) for name in _HEADERS.get(status, ())}
    return {
        "description": meaning,
        "headers": {**_REQUEST_ID, **further},
        "content": {PROBLEM_MEDIA_TYPE: {"schema": reference("Problem")}},
    }
