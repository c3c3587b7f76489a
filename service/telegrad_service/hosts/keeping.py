"""How sessions are kept, as plain data that another process can be given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Keeping:
    """How sessions are kept. Plain data, which another process can be given.

    Attributes:
        journal_url: of the journal; empty for none, whatever the durability.
        durability: ``none``, ``step`` or ``every``.
        snapshot_seconds: so much work since the last snapshot makes a new one due; about the time that bringing one back takes.
        key_seconds: how long answers are kept under their Idempotency-Key.
        retention_seconds: sessions that nobody used for so long are deleted.
    """

    journal_url: str = field(default="", repr=False)  # it may hold a password
    durability: str = "step"
    snapshot_seconds: float = 5.0
    key_seconds: float = 86_400.0
    retention_seconds: float = 30 * 86_400.0

    @property
    def is_durable(self) -> bool:
        """Whether sessions outlive their process."""
        return bool(self.journal_url) and self.durability != "none"


ANY: Final = "*"


class Drop(NamedTuple):
    """A request that ended its process, or took too long, and was not answered: if it is the last one written, it is left out.

    Attributes:
        turn: of the request; ``ANY`` for whatever was last.
        overdue: whether it took too long.
    """

    turn: str
    overdue: bool = False
