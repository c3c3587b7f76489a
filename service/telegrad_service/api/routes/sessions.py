"""Sessions: open, list, look at, delete."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from telegrad_service.api import repeats
from telegrad_service.api.call import AnswerResponse, Call, json_response
from telegrad_service.api.endpoint import JSON, LIMIT, Endpoint, Query, reference, whole


async def _open(call: Call) -> Response:
    repeats.refuse_numbers(call.request.scope["headers"])
    answer = await call.host.open(call.work("open", body=await call.json()), call.principal.tenant)
    return AnswerResponse(answer, f"/v1/sessions/{answer.created}")


async def _list(call: Call) -> Response:
    found, following = call.host.list(call.principal.tenant, call.query["after"], call.query["limit"])
    return json_response(
        {
            "sessions": [{"id": r.id, "created": r.created, "idle_seconds": round(r.idle_seconds, 3)} for r in found],
            "next": None if following is None else str(following),
        }
    )


async def _get(call: Call) -> Response:
    return await call.do("summary")


async def _delete(call: Call) -> Response:
    await call.host.close(call.session_id)
    return Response(status_code=204)


_AFTER: Final = Query(
    "after",
    "the cursor `next` of the page before",
    {"type": "string", "pattern": "^[0-9]{1,18}$"},
    whole(0, 10**18 - 1),
    0,
)

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/sessions",
        "open_session",
        "Open a session: a home of tensors and their graphs",
        _open,
        "sessions",
        bodies={JSON: reference("OpenSession")},
        body_required=False,
        answers={201: {JSON: reference("Session")}},
        errors=(503,),
        examples={JSON: {"seed": 0}},
        headers={"Location": "the session's address"},
    ),
    Endpoint(
        "GET",
        "/v1/sessions",
        "list_sessions",
        "List the sessions, oldest first",
        _list,
        "sessions",
        query=(_AFTER, LIMIT),
        answers={200: {JSON: reference("SessionPage")}},
    ),
    Endpoint(
        "GET",
        "/v1/sessions/{session}",
        "get_session",
        "What a session holds, and its limits",
        _get,
        "sessions",
        answers={200: {JSON: reference("Session")}},
    ),
    Endpoint(
        "DELETE",
        "/v1/sessions/{session}",
        "delete_session",
        "Close a session and free everything in it",
        _delete,
        "sessions",
        answers={204: {}},
    ),
)
