"""What a session may hold and a request may carry. A refusal states the predicted and the permitted number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from telegrad.contract.errors import LimitError, PayloadTooLargeError, QuotaError, RateLimitError


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


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one tenant may hold in all its sessions together, and how much it may do in a stretch of time; 0 bounds nothing.

    Attributes:
        tenant_sessions: sessions of a tenant.
        tenant_bytes: memory of all values that its sessions hold, those saved in graphs included.
        tenant_tensors: names of tensors in all its sessions.
        tenant_waiting_requests: requests of a tenant that wait for their session's turn; where keys are asked for and nothing is
            said, half of max_waiting_requests.
        tenant_requests_per_second: requests of a tenant, on average over rate_window_seconds, as the four that follow.
        tenant_sessions_per_second: sessions that it opens.
        tenant_body_bytes_per_second: bytes of request bodies, as they are sent.
        tenant_tensors_per_second: tensors that its commands make, as foreseen.
        tenant_flops_per_second: predicted arithmetic of its commands.
        rate_window_seconds: the stretch of time that rates are averaged over: how much may come at once.
    """

    tenant_sessions: int = 0
    tenant_bytes: int = 0
    tenant_tensors: int = 0
    tenant_waiting_requests: int = 0
    tenant_requests_per_second: int = 0
    tenant_sessions_per_second: int = 0
    tenant_body_bytes_per_second: int = 0
    tenant_tensors_per_second: int = 0
    tenant_flops_per_second: int = 0
    rate_window_seconds: int = 10


HELD_RETRY_SECONDS: Final = 60
"""What a tenant holds it may hold for long: longer than clients wait by themselves."""


def _numbers(setting: str, used: int, requested: int, permitted: int, **seconds: int) -> dict[str, Any]:
    """What the problem of a quota has as members."""
    predicted = used + requested
    return {"limit": setting, "used": used, "requested": requested, "predicted": predicted, "permitted": permitted, **seconds}


def over_quota(
    setting: str, used: int, requested: int, permitted: int, *, unit: str, hint: str, retry_seconds: int = HELD_RETRY_SECONDS
) -> QuotaError:
    """The error of a quota of what is held, with its numbers in the message and in the problem's members."""
    return QuotaError(
        f"the tenant has {used:,} {unit} in all its sessions and would need {requested:,} more, permitted are {permitted:,} "
        f"({setting}); {hint}",
        extra=_numbers(setting, used, requested, permitted, retry_after_seconds=retry_seconds),
    )


def over_rate(
    setting: str, used: int, requested: int, permitted: int, *, window_seconds: int, retry_seconds: int
) -> RateLimitError:
    """The error of a rate: ``used`` and ``permitted`` are of the last ``window_seconds``."""
    unit = setting.removeprefix("tenant_").removesuffix("_per_second").replace("_", " ")
    return RateLimitError(
        f"the tenant had {used:,} {unit} in the last {window_seconds:,} s and asks for {requested:,} more, permitted are "
        f"{permitted:,} ({setting}); this fits again in about {retry_seconds:,} s, or ask for less at once",
        extra=_numbers(setting, used, requested, permitted, window_seconds=window_seconds, retry_after_seconds=retry_seconds),
    )


def quota_headers(extra: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the answer to a refused request says beside its problem: Retry-After, and the fields of the IETF's draft on rate limits.

    Source: draft-ietf-httpapi-ratelimit-headers-10. A policy is named after its setting; one of what is held has no window.
    """
    limit, permitted = extra["limit"], extra["permitted"]
    left, seconds = max(0, permitted - extra["used"]), extra["retry_after_seconds"]
    window = f";w={extra['window_seconds']}" if "window_seconds" in extra else ""
    reset = f";t={seconds}" if window else ""
    return (
        ("Retry-After", str(seconds)),
        ("RateLimit-Policy", f'"{limit}";q={permitted}{window}'),
        ("RateLimit", f'"{limit}";r={left}{reset}'),
    )


def refuse(what: str, predicted: int, permitted: int, setting: str, *, unit: str = "bytes", hint: str = "") -> LimitError:
    """The error of a limit, with both numbers in the message and in the problem's members."""
    tail = f"; {hint}" if hint else ""
    return LimitError(
        f"{what} would need {predicted:,} {unit}, permitted are {permitted:,} ({setting}){tail}",
        extra={"predicted": predicted, "permitted": permitted, "limit": setting},
    )


def check_body_bytes(predicted: int, permitted: int) -> None:
    """Raise PayloadTooLargeError, with both numbers, for a body of more than ``permitted`` bytes (the limit ``max_body_bytes``)."""
    if predicted > permitted:
        raise PayloadTooLargeError(
            f"the body would have {predicted:,} bytes, permitted are {permitted:,} (max_body_bytes)",
            extra={"predicted": predicted, "permitted": permitted, "limit": "max_body_bytes"},
        )
