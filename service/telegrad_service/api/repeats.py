"""Headers that make a request safe to repeat: ``Idempotency-Key``, or a client's own numbers.

``Idempotency-Key`` is a string in quotes, as in the draft of the IETF's HTTPAPI group; without them it is taken too.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NamedTuple

from telegrad.contract.errors import RequestError
from telegrad_service.api.negotiation import Headers, header

KEY_PATTERN: Final = r'^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$'
CLIENT_PATTERN: Final = r"^[A-Za-z0-9_-]{16,64}$"
NUMBER_PATTERN: Final = r"^[1-9][0-9]{0,17}$"

_NAMES_IN_ORDER: Final = (b"idempotency-key", b"telegrad-client", b"telegrad-batch")
_NAMES: Final = frozenset(_NAMES_IN_ORDER)
_KEY: Final = re.compile(KEY_PATTERN)
_CLIENT: Final = re.compile(CLIENT_PATTERN)
_NUMBER: Final = re.compile(NUMBER_PATTERN)


class Repeatable(NamedTuple):
    """What a request says of itself; see ``Work``."""

    client: str = ""
    number: int = 0
    key: str = ""


NOTHING: Final = Repeatable()


@functools.lru_cache(maxsize=1024)
def _client(value: bytes) -> str:
    """A client's name; empty for what is none."""
    text = value.decode("latin-1").strip()
    return text if _CLIENT.match(text) else ""


def read(headers: Headers) -> Repeatable:
    """What the headers say. Raises RequestError."""
    found = [item for item in headers if item[0] in _NAMES]
    if not found:
        return NOTHING
    if len(found) == 2:  # as the SDK sends them, for each of its batches
        (first, value), (second, digits) = found
        if first == b"telegrad-client" and second == b"telegrad-batch" and digits.isdigit() and len(digits) < 19:
            name, place = _client(value), int(digits)
            if name and place and not digits.startswith(b"0"):
                return Repeatable(name, place)
    key, client, number = (header(found, name).strip() for name in _NAMES_IN_ORDER)
    if key and (client or number):
        raise RequestError("a request has an Idempotency-Key or Telegrad-Client and Telegrad-Batch, not both")
    if key or not (client or number):
        if not _KEY.match(key):
            raise RequestError('an Idempotency-Key is a string of 1 to 255 printable ASCII characters, such as "8e03978e-40d5"')
        return Repeatable(key=key.strip('"'))
    if not _CLIENT.match(client):
        raise RequestError("Telegrad-Client has 16 to 64 letters, digits, _ and -, drawn at random by the client")
    if not _NUMBER.match(number):
        raise RequestError("Telegrad-Batch is the number of the request among those of its client: 1, 2, 3, ...")
    return Repeatable(client, int(number))


def refuse_numbers(headers: Headers) -> None:
    """Raise RequestError where a request that opens a session has a number: sent again, it would open another one."""
    if read(headers).number:
        raise RequestError(
            "Telegrad-Client and Telegrad-Batch number the requests of one session; to open one, send an Idempotency-Key"
        )


PARAMETERS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "any string that this client uses for this request alone: sent again under it, the request is not done "
        "again, and its first answer comes back",
        "schema": {"type": "string", "pattern": KEY_PATTERN},
    },
)
NUMBERS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "Telegrad-Client",
        "in": "header",
        "required": False,
        "description": "in place of a key, for who sends request after request: a name that the client drew at random",
        "schema": {"type": "string", "pattern": CLIENT_PATTERN},
    },
    {
        "name": "Telegrad-Batch",
        "in": "header",
        "required": False,
        "description": "and the request's number among those of that client in this session: 1, 2, 3, ...",
        "schema": {"type": "string", "pattern": NUMBER_PATTERN},
    },
)
"""What requests to a session may have beside or instead of ``PARAMETERS``."""
