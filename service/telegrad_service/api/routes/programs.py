"""Programs: commands stored once under their content hash, run as often as wanted; and their runs, followed and stopped."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from telegrad.contract.codec import EVENTS_MEDIA_TYPE
from telegrad.contract.errors import NotFoundError
from telegrad_service.api import events
from telegrad_service.api.call import Call, json_response
from telegrad_service.api.endpoint import EVENTS, JSON, RUN_ID, Endpoint, reference

_RUNS: Final = "/v1/sessions/{session}/runs"
_PROGRAMS: Final = "/v1/sessions/{session}/programs"
_PROGRAM: Final = _PROGRAMS + "/{program}"


def _named(call: Call) -> dict[str, Any]:
    return {"program": call.request.path_params["program"]}


async def _store(call: Call) -> Response:
    call.require_session()
    return await call.do("store_program", body=await call.json())


async def _list(call: Call) -> Response:
    return await call.do("list_programs")


async def _get(call: Call) -> Response:
    return await call.do("program", arguments=_named(call))


async def _delete(call: Call) -> Response:
    return await call.do("delete_program", arguments=_named(call))


async def _run(call: Call) -> Response:
    call.require_session()
    return await events.watched(call, "run", body=await call.json(), arguments=_named(call))


async def _runs(call: Call) -> Response:
    found = [{"run_id": w.id, "begun": w.begun, **(w.latest or {})} for w in call.host.watches(call.session_id).values()]
    return json_response({"runs": found})


async def _stop(call: Call) -> Response:
    watch = call.host.watches(call.session_id).get(call.request.path_params["run"])
    if watch is None:
        raise NotFoundError("the session runs nothing under that id; it may have ended")
    watch.stop("asked")
    return Response(status_code=202)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        _PROGRAMS,
        "store_program",
        "Store commands with holes under their content hash; the same program again is the same id",
        _store,
        "programs",
        bodies={JSON: reference("ProgramFields")},
        answers={201: {JSON: reference("Program")}},
        examples={
            JSON: {
                "inputs": ["p"],
                "commands": [
                    {"command": "apply", "op": "square", "inputs": ["p"], "outputs": ["loss"]},
                    {"command": "read", "tensor": "loss"},
                ],
            }
        },
        headers={"Location": "the program's address"},
    ),
    Endpoint(
        "GET",
        _PROGRAMS,
        "list_programs",
        "List the stored programs",
        _list,
        "programs",
        answers={200: {JSON: reference("Programs")}},
    ),
    Endpoint(
        "GET",
        _PROGRAM,
        "get_program",
        "A stored program, whole",
        _get,
        "programs",
        answers={200: {JSON: reference("Program")}},
    ),
    Endpoint("DELETE", _PROGRAM, "delete_program", "Forget a program", _delete, "programs", answers={204: {}}),
    Endpoint(
        "POST",
        _PROGRAM + "/run",
        "run_program",
        "Run a program, once or many times; tensors that it changes in place carry over from run to run. As text/event-stream: "
        "`started`, `progress` at most ten times a second, and at last `result` or `problem`; hanging up stops it, "
        "15 seconds later where the request can be sent again by its number or key",
        _run,
        "programs",
        query=(RUN_ID,),
        bodies={JSON: reference("RunFields")},
        answers={200: {JSON: reference("Runs"), EVENTS_MEDIA_TYPE: EVENTS}},
        examples={JSON: {"inputs": {"p": "x1"}, "times": 2}},
    ),
    Endpoint(
        "GET",
        _RUNS,
        "list_runs",
        "The runs of programs that are under way, and how far they are",
        _runs,
        "programs",
        answers={200: {JSON: reference("RunsUnderWay")}},
    ),
    Endpoint(
        "DELETE",
        _RUNS + "/{run}",
        "stop_run",
        "Stop a run of programs after the one it is in; what was done stands, and its own answer says how much",
        _stop,
        "programs",
        answers={202: {}},
    ),
)
