"""What a session may hold and a request may carry. A refusal states the predicted and the permitted number."""

from __future__ import annotations

from dataclasses import dataclass

from telegrad.contract.errors import LimitError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one session and of the requests to it.

    Attributes:
        max_body_bytes: request body, after decompression.
        max_json_depth: nesting of arrays and objects in a JSON body.
        max_json_values: values of any kind in one JSON body: numbers, strings, members, lists.
        max_json_elements: numbers in one tensor written as nested lists; larger ones travel as base64 or safetensors.
        max_commands: commands in a batch or a program.
        max_run_times: how often one request may run a program.
        max_run_seconds: a program that is run many times stops after the run in which so many seconds are over.
        max_tensor_bytes: one tensor.
        max_tensors: names a session holds.
        max_session_bytes: memory of all values a session holds, those saved in graphs included.
        max_nodes: graph nodes a session holds.
        max_answer_bytes: memory that the values of one answer take while it is made.
        max_command_flops: predicted arithmetic of one command.
        max_picture_nodes: nodes drawn in a picture of the graph.
        max_programs: programs a session keeps.
        idle_seconds: a session that saw no request for so long is closed.
        max_sessions: sessions of the server.
    """

    max_body_bytes: int = 256 * 2**20
    max_json_depth: int = 64
    max_json_values: int = 5_000_000
    max_json_elements: int = 1_000_000
    max_commands: int = 100_000
    max_run_times: int = 1_000_000
    max_run_seconds: float = 3600.0
    max_tensor_bytes: int = 2**30
    max_tensors: int = 100_000
    max_session_bytes: int = 2**31
    max_nodes: int = 1_000_000
    max_answer_bytes: int = 2**30
    max_command_flops: int = 10**12
    max_picture_nodes: int = 500
    max_programs: int = 1000
    idle_seconds: float = 3600.0
    max_sessions: int = 1000


def refuse(what: str, predicted: int, permitted: int, setting: str, *, unit: str = "bytes", hint: str = "") -> LimitError:
    """The error of a limit, with both numbers in the message and in the problem's members."""
    tail = f"; {hint}" if hint else ""
    return LimitError(
        f"{what} would need {predicted:,} {unit}, permitted are {permitted:,} ({setting}){tail}",
        extra={"predicted": predicted, "permitted": permitted, "limit": setting},
    )
