"""The queue that all sessions share: how many requests wait for their session's turn, and whose they are."""

from __future__ import annotations

from collections import Counter

from telegrad.contract.errors import UnavailableError
from telegrad.contract.limits import over_quota


class Waiting:
    """How many requests wait for their session's turn, of all tenants and of each.

    Attributes:
        total: of all.
    """

    def __init__(self, most: int) -> None:
        """Let so many wait; a tenant, where there are some, may have half of the places unless its quota says otherwise."""
        self.total = 0
        self._most = most
        self._of: Counter[str] = Counter()

    def check(self, tenant: str, quota: int) -> None:
        """Refuse one more. Raises UnavailableError where all places are taken, QuotaError where the tenant has its part."""
        if self.total >= self._most:
            raise UnavailableError(
                f"{self.total:,} requests wait for their turn already, permitted are {self._most:,} "
                "(max_waiting_requests); try again later"
            )
        permitted = quota or (max(1, self._most // 2) if tenant else self._most)
        if self._of[tenant] >= permitted:
            raise over_quota(
                "tenant_waiting_requests",
                self._of[tenant],
                1,
                permitted,
                unit="waiting requests",
                hint="try again later",
                retry_seconds=1,
            )

    def join(self, tenant: str) -> None:
        """A request waits."""
        self.total += 1
        self._of[tenant] += 1

    def leave(self, tenant: str) -> None:
        """It waits no longer."""
        self.total -= 1
        self._of[tenant] -= 1
        if not self._of[tenant]:
            del self._of[tenant]
