"""Programs: commands stored once under their content hash, run as often as wanted."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from telegrad_service.api.call import Call
from telegrad_service.api.endpoint import JSON, Endpoint, reference

_PROGRAMS: Final = "/v1/sessions/{session}/programs"
_PROGRAM: Final = _PROGRAMS + "/{program}"


def _named(call: Call) -> dict[str, Any]:
    return {"program": call.request.path_params["program"]}


async def _store(call: Call) -> Response:
    call.host.require(call.session_id)
    return await call.do("store_program", body=await call.json())


async def _list(call: Call) -> Response:
    return await call.do("list_programs")


async def _get(call: Call) -> Response:
    return await call.do("program", arguments=_named(call))


async def _delete(call: Call) -> Response:
    return await call.do("delete_program", arguments=_named(call))


async def _run(call: Call) -> Response:
    call.host.require(call.session_id)
    return await call.do("run", body=await call.json(), arguments=_named(call))


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
        "Run a program, once or many times; tensors that it changes in place carry over from run to run",
        _run,
        "programs",
        bodies={JSON: reference("RunFields")},
        answers={200: {JSON: reference("Runs")}},
        examples={JSON: {"inputs": {"p": "x1"}, "times": 2}},
    ),
)
