"""Pictures of the autograd graph that leads to a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from telegrad.contract.commands import REFERENCE_SCHEMA
from telegrad_service.api.call import Call
from telegrad_service.api.endpoint import Endpoint, Query, boolean, one_of, reference, whole
from telegrad_service.hosts.verbs import PICTURE_MEDIA_TYPES


async def _graph(call: Call) -> Response:
    return await call.do("graph", arguments={**call.query, "reference": call.as_reference(call.query["root"])})


def _offers(query: Mapping[str, Any]) -> tuple[str, ...]:
    return (PICTURE_MEDIA_TYPES[query["format"]],)


_QUERY: Final = (
    Query("root", "the tensor whose history to show", REFERENCE_SCHEMA, str),
    Query(
        "format",
        "a description as JSON, or a drawing in that language",
        {"enum": list(PICTURE_MEDIA_TYPES), "default": "json"},
        one_of(*PICTURE_MEDIA_TYPES),
        "json",
    ),
    Query(
        "max_nodes",
        "nodes and leaves listed, those nearest to the root first; as many as the limit max_picture_nodes by default",
        {"type": "integer", "minimum": 1},
        whole(1, 10**9),
        None,
    ),
    boolean("names", "whether leaves are called by their names in the session", default=True),
)
_FORMS: Final = {
    media_type: reference("Graph") if name == "json" else {"type": "string"} for name, media_type in PICTURE_MEDIA_TYPES.items()
}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/sessions/{session}/graph",
        "graph",
        "The graph that leads to a tensor, as data or as a picture",
        _graph,
        "commands",
        query=_QUERY,
        answers={200: _FORMS},
        offers_of=_offers,
    ),
)
