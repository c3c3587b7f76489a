"""Pictures and summaries of the autograd graph that leads to a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from telegrad.contract.forms import REFERENCE_SCHEMA
from telegrad_service.api.call import Call
from telegrad_service.api.endpoint import Endpoint, Query, boolean, one_of, reference, whole
from telegrad_service.hosts.verbs import PICTURE_MEDIA_TYPES, SUMMARY_MEDIA_TYPES


async def _graph(call: Call) -> Response:
    return await call.do("graph", arguments={**call.query, "reference": call.as_reference(call.query["root"])})


async def _summary(call: Call) -> Response:
    return await call.do("graph_summary", arguments={**call.query, "reference": call.as_reference(call.query["root"])})


def _offers(query: Mapping[str, Any]) -> tuple[str, ...]:
    return (PICTURE_MEDIA_TYPES[query["format"]],)


def _summary_offers(query: Mapping[str, Any]) -> tuple[str, ...]:
    return (SUMMARY_MEDIA_TYPES[query["format"]],)


_ROOT: Final = Query("root", "the tensor whose history to show", REFERENCE_SCHEMA, str)
_QUERY: Final = (
    _ROOT,
    Query(
        "format",
        "a description as JSON, or a drawing in that language",
        {"enum": list(PICTURE_MEDIA_TYPES), "default": "json"},
        one_of(*PICTURE_MEDIA_TYPES),
        "json",
    ),
    Query(
        "max_nodes",
        "nodes, leaves and groups listed, those nearest to the root first; as many as the limit max_picture_nodes by default",
        {"type": "integer", "minimum": 1},
        whole(1, 10**9),
        None,
    ),
    boolean("collapse", "whether groups stand for repeated sequences of ops, and for scopes, where there are more", default=True),
    boolean("names", "whether leaves are called by their names in the session", default=True),
)
_FORMS: Final = {
    media_type: reference("Graph") if name == "json" else {"type": "string"} for name, media_type in PICTURE_MEDIA_TYPES.items()
}
_SUMMARY_FORMS: Final = {
    media_type: reference("GraphSummary") if name == "json" else {"type": "string"}
    for name, media_type in SUMMARY_MEDIA_TYPES.items()
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
    Endpoint(
        "GET",
        "/v1/sessions/{session}/graph/summary",
        "graphSummary",
        "What the graph that leads to a tensor holds: nodes, depth and bytes, by op and by scope",
        _summary,
        "commands",
        query=(
            _ROOT,
            Query(
                "format",
                "data as JSON, or a table as text",
                {"enum": list(SUMMARY_MEDIA_TYPES), "default": "json"},
                one_of(*SUMMARY_MEDIA_TYPES),
                "json",
            ),
        ),
        answers={200: _SUMMARY_FORMS},
        offers_of=_summary_offers,
    ),
)
