"""An endpoint as a row: what it is called, what it takes, what it can answer.

Routing, checks and the OpenAPI document read the same row.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from telegrad.contract.codec import JSON_MEDIA_TYPE
from telegrad.contract.dtypes import DTYPES
from telegrad.contract.errors import ArgumentValueError
from telegrad.contract.forms import NAME_SCHEMA

if TYPE_CHECKING:
    from starlette.responses import Response

    from telegrad_service.api.call import Call

REQUIRED: Final = object()
"""The default of a query parameter that must be given."""

MAX_PAGE: Final = 1000

REQUEST_ID_KEY: Final = "telegrad.request_id"
"""Where the middleware leaves the request's id in the ASGI scope."""

ENDPOINT_KEY: Final = "telegrad.endpoint"
"""Where the row that answers is left there, for whoever looks at requests from outside."""

DID_KEY: Final = "telegrad.did"
"""Where it is left how the session did it."""

REFUSED_KEY: Final = "telegrad.refused"
"""Where the connection leaves the status with which it refused a request that was under way."""

PRINCIPAL_KEY: Final = "telegrad.principal"
"""Where it is left who asked, once that is known."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter: its name, what it means, its schema, how its text is read, and its default (``REQUIRED``: none)."""

    name: str
    meaning: str
    schema: dict[str, Any]
    read: Callable[[str], Any]
    default: Any = REQUIRED


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    Attributes:
        method: the HTTP method.
        path: with ``{holes}``.
        operation: the operation id.
        summary: a line for people.
        handler: what answers.
        tag: the group in the document.
        query: the query parameters; any other is refused.
        bodies: from media type to the schema of a request body; empty: the route reads none.
        body_required: whether the body may be left out.
        answers: from status to media type to schema; a 204 has no media type.
        errors: further statuses, all of them problems; what bodies, queries and sessions bring is added.
        examples: example bodies, by media type.
        headers: names and meanings of headers of the answer.
        audience: for whom: ``all``; ``docs`` and ``metrics``: all, where the settings say so; ``keys``: whoever has a key with the
            ``scope``.
        admin: whether that is the scope ``admin``.
        offers_of: which media types a query leaves to choose from, where it says something about that.
    """

    method: str
    path: str
    operation: str
    summary: str
    handler: Callable[[Call], Awaitable[Response]]
    tag: str
    query: tuple[Query, ...] = ()
    bodies: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    body_required: bool = True
    answers: Mapping[int, Mapping[str, dict[str, Any]]] = field(default_factory=dict[int, Mapping[str, dict[str, Any]]])
    errors: tuple[int, ...] = ()
    examples: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    audience: Literal["all", "docs", "metrics", "keys"] = "keys"
    admin: bool = False
    offers_of: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None

    @property
    def scope(self) -> str:
        """What a key must permit."""
        if self.admin:
            return "admin"
        return "read" if self.method == "GET" else "write"

    @functools.cached_property
    def media_types(self) -> tuple[str, ...]:
        """The media types of the body."""
        return tuple(self.bodies)

    @property
    def in_session(self) -> bool:
        """Whether the path names a session."""
        return "{session}" in self.path

    @property
    def can_repeat(self) -> bool:
        """Whether a request may say that it is one that was sent before."""
        return self.method in ("POST", "PATCH")

    @property
    def holes(self) -> list[str]:
        """The names in the path."""
        return re.findall(r"{(\w+)}", self.path)

    @functools.cached_property
    def offers(self) -> tuple[str, ...]:
        """The media types of a good answer."""
        return tuple(dict.fromkeys(m for forms in self.answers.values() for m in forms))

    @functools.cached_property
    def defaults(self) -> Mapping[str, Any] | None:
        """What an empty query string says; None where it misses something."""
        if any(q.default is REQUIRED for q in self.query):
            return None
        return {q.name: q.default for q in self.query}

    def problems(self) -> list[int]:
        """Every status that comes as a problem."""
        found = {400, 422, 500, *self.errors}  # any query string may be malformed or name something unknown
        if self.audience != "all":
            found |= {401, 403}
        if self.audience == "keys":
            found.add(429)
        if self.offers:
            found.add(406)
        if self.bodies:
            found |= {408, 413, 415}
        if self.can_repeat:
            found |= {409, 507}
        if self.in_session:
            found |= {404, 409, 410, 503, 507}
            if self.method == "POST":
                found.add(501)  # a command may need a library that is not installed
        return sorted(found)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ArgumentValueError("must be true or false")
    return text == "true"


def one_of(*choices: str) -> Callable[[str], str]:
    """A reader of exactly these words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ArgumentValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers in that range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise ArgumentValueError(f"must be a whole number from {low:,} to {high:,}")
        return int(text)

    return read


def _sizes(text: str) -> tuple[int, ...]:
    if text and not re.fullmatch(r"[0-9]{1,18}(?:,[0-9]{1,18}){0,63}", text):
        raise ArgumentValueError("must be at most 64 sizes joined by commas, such as 2,3; nothing at all for a single number")
    return tuple(int(n) for n in text.split(",")) if text else ()


def name(text: str) -> str:
    """A reader of tensor names."""
    if not re.fullmatch(NAME_SCHEMA["pattern"], text):
        raise ArgumentValueError(
            "a name has 1 to 64 letters, digits and _ . : -, begins with a letter or _ and does not end in .grad"
        )
    return text


def boolean(name: str, meaning: str, *, default: bool) -> Query:
    """A query parameter that is true or false."""
    return Query(name, meaning, {"type": "boolean", "default": default}, _boolean, default)


EVENTS: Final[dict[str, Any]] = {
    "type": "string",
    "description": "server-sent events, each with JSON as its data: `started` ({run_id}), `progress` ({run, times, latest}), and "
    "at last `result` (what the plain answer is) or `problem`",
}
RUN_ID_PATTERN: Final = r"^[A-Za-z0-9_.:-]{1,64}$"


def _run_id(text: str) -> str:
    if not re.fullmatch(RUN_ID_PATTERN, text):
        raise ArgumentValueError("must be 1 to 64 letters, digits and _ . : -")
    return text


RUN_ID: Final = Query(
    "run_id",
    "what runs of programs can be stopped by while they last (DELETE .../runs/{run_id}); the server picks one otherwise",
    {"type": "string", "pattern": RUN_ID_PATTERN},
    _run_id,
    None,
)
ID: Final = Query("id", "name of the new tensor; the server picks one otherwise (not for safetensors)", NAME_SCHEMA, name, None)
DTYPE: Final = Query("dtype", "element type of raw bytes, and of them only", {"enum": list(DTYPES)}, one_of(*DTYPES), None)
SHAPE: Final = Query(
    "shape",
    "sizes of raw bytes, joined by commas, and of them only; empty for a single number",
    {"type": "string", "pattern": "^([0-9]{1,18}(,[0-9]{1,18}){0,63})?$"},
    _sizes,
    None,
)
LIMIT: Final = Query(
    "limit",
    "how many at most",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 100},
    whole(1, MAX_PAGE),
    100,
)

JSON: Final = JSON_MEDIA_TYPE


def reference(component: str) -> dict[str, Any]:
    """A reference to a component schema of the document."""
    return {"$ref": f"#/components/schemas/{component}"}
