"""What a session and the keeper of its tenant's quotas say to each other, as plain data: they may be in different processes."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

UNBOUNDED: Final = 2**62


class Allowance(NamedTuple):
    """What a session may hold, and what it is to say.

    Attributes:
        nbytes: bytes of all its values, working memory included.
        tensors: names.
        exact: whether what it holds is to be counted when a request is done.
        rated: whether it asks before each request, because the tenant's rates count what it will do.
    """

    nbytes: int = UNBOUNDED
    tensors: int = UNBOUNDED
    exact: bool = False
    rated: bool = False


class Need(NamedTuple):
    """What a request needs beyond an allowance.

    Attributes:
        held_bytes, held_tensors: what the session holds.
        nbytes, tensors: what it would hold at most.
        flops: predicted arithmetic that is to come and was not asked for yet.
        new_tensors: tensors that are to be made and were not asked for yet.
    """

    held_bytes: int
    held_tensors: int
    nbytes: int
    tensors: int
    flops: int = 0
    new_tensors: int = 0


class Report(NamedTuple):
    """What a session holds after a request: bytes, names, and whether that is counted or a bound."""

    nbytes: int
    tensors: int
    exact: bool


class Account(Protocol):
    """Whom a session asks for more."""

    def ask(self, need: Need) -> Allowance:
        """What it may hold from now on. Raises QuotaError and others; then it is to do nothing of what it asked for."""
        ...
