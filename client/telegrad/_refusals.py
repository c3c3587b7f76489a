"""What an answer means that refuses a batch."""

from __future__ import annotations

from telegrad._retries import NOT_DONE, error_of
from telegrad._transport import Request, Response
from telegrad.contract.errors import (
    AccessError,
    KeyInProgressError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    SequenceError,
    SessionLostError,
    TelegradError,
    TransportError,
)


def refusal_of(response: Response, request: Request) -> TelegradError:
    """What an answer tells of that came for good. Raises the error of one after which the request is to be sent again."""
    error = error_of(response)
    if isinstance(error, QuotaError) and not isinstance(error, RateLimitError):
        return error  # time alone does not heal it
    unknown = isinstance(error, AccessError) and request.attempts > 1  # an attempt before may have been done
    if response.status in NOT_DONE or unknown or isinstance(error, (TransportError, KeyInProgressError)):
        raise error
    return error


def of_session(refusal: TelegradError) -> TelegradError:
    """Why a batch as a whole was refused: where its session is not there, what that means."""
    if isinstance(refusal, SequenceError):
        refusal.add_note(
            "this client sent what was next by its own count: the server has lost work that it had acknowledged, or does not know "
            "this client any more among very many. Look at what the session holds before you go on"
        )
    if not isinstance(refusal, NotFoundError) or isinstance(refusal, SessionLostError):
        return refusal
    return SessionLostError(
        "the server has this session no longer: somebody deleted it, it was not used for long, or the server was started anew and "
        "keeps sessions in memory only (--durability none). Open a new one with telegrad.connect(url), and begin again from what "
        "you have saved",
        extra=refusal.extra,
        request_id=refusal.request_id,
    )
