"""What each tenant has and does: kept in the server's process, asked by sessions wherever they live.

A session is given a share of its tenant's memory and names before each request, and asks for more when that is not enough; what it
holds afterwards is what counts until its next one. Far from a quota upper bounds do; near it, sessions count exactly.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from telegrad.contract.errors import ConfigurationError
from telegrad.contract.limits import Limits, Quotas, over_quota, over_rate, refuse
from telegrad_service.session.account import UNBOUNDED, Allowance, Need, Report

_CHUNK_BYTES: Final = 16 * 2**20
_CHUNK_TENSORS: Final = 1024
"""What a session gets beyond what it holds, so that it need not ask for every little thing."""

_RATES: Final = {
    "requests": "tenant_requests_per_second",
    "sessions": "tenant_sessions_per_second",
    "body_bytes": "tenant_body_bytes_per_second",
    "tensors": "tenant_tensors_per_second",
    "flops": "tenant_flops_per_second",
}


class Rates:
    """How much each tenant did lately: sliding windows of the library ``limits``."""

    def __init__(self) -> None:
        """Raises ConfigurationError where the library is missing."""
        if importlib.util.find_spec("limits") is None:
            raise ConfigurationError("rates need the library limits: pip install 'telegrad[service]'")
        self._items: Any = importlib.import_module("limits")
        storage: Any = importlib.import_module("limits.storage").MemoryStorage()
        self._storage = storage
        self._limiter: Any = importlib.import_module("limits.strategies").SlidingWindowCounterRateLimiter(storage)

    def spend(self, tenant: str, setting: str, amount: int, per_second: int, window_seconds: int) -> None:
        """Let the tenant have so much of it. Raises RateLimitError, and LimitError for what never fits."""
        permitted = per_second * window_seconds
        if amount > permitted:
            raise refuse("the request", amount, permitted, setting, unit=f"in {window_seconds:,} s", hint="send less at once")
        item = self._items.RateLimitItemPerSecond(permitted, window_seconds)
        if amount and not self._limiter.hit(item, tenant, setting, cost=amount):
            left, seconds = self._until(item.key_for(tenant, setting), amount, permitted, window_seconds)
            raise over_rate(
                setting,
                permitted - left,
                amount,
                permitted,
                window_seconds=window_seconds,
                retry_seconds=max(1, math.ceil(seconds)),
            )

    def _until(self, key: str, amount: int, permitted: int, window: int) -> tuple[int, float]:
        """How much is left now, and the seconds until ``amount`` fits.

        What the last whole window had counts by the part of it that lies less than a window back.
        """
        before, before_left, now_count, _ = self._storage.get_sliding_window(key, window)
        left = max(0, permitted - math.floor(before * before_left / window + now_count))
        room = permitted - amount
        if now_count <= room:
            return left, before_left - (room - now_count) * window / before if before else 0.0
        rest = window - time.time() % window
        return left, rest + window * (1 - room / now_count)

    def left(self, tenant: str, setting: str, per_second: int, window_seconds: int) -> tuple[int, int]:
        """What the tenant has left in this window, and the seconds until it has more."""
        item = self._items.RateLimitItemPerSecond(per_second * window_seconds, window_seconds)
        found = self._limiter.get_window_stats(item, tenant, setting)
        return int(found.remaining), max(0, math.ceil(found.reset_time - time.time()))


class Share:
    """A session's part in what its tenant has.

    Attributes:
        tenant: whose.
        nbytes, tensors: what it holds at most.
        exact: whether that is counted; otherwise it is a bound.
        granted: what it may hold while it does something; None while it does not.
    """

    __slots__ = ("exact", "granted", "nbytes", "tenant", "tensors")

    def __init__(self, tenant: str, nbytes: int, tensors: int, *, exact: bool) -> None:
        self.tenant = tenant
        self.nbytes, self.tensors, self.exact = nbytes, tensors, exact
        self.granted: tuple[int, int] | None = None

    def reserved(self) -> tuple[int, int]:
        """What nobody else can have."""
        return self.granted or (self.nbytes, self.tensors)


class Ledger:
    """See the module. Its methods may be called in any thread."""

    def __init__(self, limits: Limits) -> None:
        """Begin with nobody; ``limits`` bound what is not known of a session."""
        self.quotas_of: Callable[[str], Quotas] = lambda _: Quotas()
        """A tenant's quotas, as they are now."""
        self._unknown = Report(limits.max_session_bytes, limits.max_tensors, False)
        self._lock = threading.RLock()
        self._shares: dict[str, Share] = {}
        self._tenants: dict[str, dict[str, Share]] = {}
        self._rates: Rates | None = None
        self._unrated: Quotas | None = None

    # Sessions ----------------------------------------------------------------------------------------------------------------

    def open(self, session_id: str, tenant: str) -> None:
        """A new session. Raises QuotaError."""
        with self._lock:
            quotas = self.quotas_of(tenant)
            have = len(self._tenants.get(tenant, ()))
            if quotas.tenant_sessions and have >= quotas.tenant_sessions:
                raise over_quota(
                    "tenant_sessions",
                    have,
                    1,
                    quotas.tenant_sessions,
                    unit="sessions",
                    hint="delete sessions that are no longer needed",
                )
            self.spend(tenant, "sessions", 1)
            self._add(session_id, Share(tenant, 0, 0, exact=True))

    def know(self, session_id: str, tenant: str) -> None:
        """A session that is kept, and of which nothing is known before it is back."""
        with self._lock:
            nbytes, tensors, exact = self._unknown
            self._add(session_id, Share(tenant, nbytes, tensors, exact=exact))

    def _add(self, session_id: str, share: Share) -> None:
        self._shares[session_id] = share
        self._tenants.setdefault(share.tenant, {})[session_id] = share

    def forget(self, session_id: str) -> None:
        """The session is gone; what it had others may have."""
        with self._lock:
            share = self._shares.pop(session_id, None)
            if share is None:
                return
            shares = self._tenants[share.tenant]
            del shares[session_id]
            if not shares:
                del self._tenants[share.tenant]

    # What they hold ----------------------------------------------------------------------------------------------------------

    def begin(self, session_id: str) -> Allowance | None:
        """What a session may do in the request that comes now; None: whatever its own limits permit."""
        share = self._shares.get(session_id)
        if share is None:
            return None
        quotas = self.quotas_of(share.tenant)
        rated = bool(quotas.tenant_flops_per_second or quotas.tenant_tensors_per_second)
        if not (quotas.tenant_bytes or quotas.tenant_tensors or rated):
            share.nbytes, share.tensors, share.exact = self._unknown  # it says nothing, and there may be a quota later
            return None
        with self._lock:
            share.granted = None
            free_bytes, free_tensors = self._free(share.tenant, quotas)
            share.granted = (
                max(0, share.nbytes + min(free_bytes, _CHUNK_BYTES)) if quotas.tenant_bytes else UNBOUNDED,
                max(0, share.tensors + min(free_tensors, _CHUNK_TENSORS)) if quotas.tenant_tensors else UNBOUNDED,
            )
            return Allowance(*share.granted, exact=self._is_near(share.tenant, quotas), rated=rated)

    def end(self, session_id: str, report: Report | None) -> None:
        """What the session holds after its request; None where it did not say."""
        with self._lock:
            share = self._shares.get(session_id)
            if share is None or share.granted is None:
                return
            granted, share.granted = share.granted, None
            if report is not None:
                share.nbytes, share.tensors, share.exact = report
            else:
                share.nbytes = granted[0] if granted[0] < UNBOUNDED else share.nbytes
                share.tensors = granted[1] if granted[1] < UNBOUNDED else share.tensors
                share.exact = False

    def ask(self, session_id: str, need: Need) -> Allowance:
        """More for a session that does something. Raises QuotaError, RateLimitError, LimitError."""
        with self._lock:
            share = self._shares.get(session_id)
            if share is None or share.granted is None:
                return Allowance(UNBOUNDED, UNBOUNDED)
            quotas = self.quotas_of(share.tenant)
            before, share.granted = share.granted, None
            free_bytes, free_tensors = self._free(share.tenant, quotas)
            share.granted = before
            most_bytes = share.nbytes + free_bytes
            most_tensors = share.tensors + free_tensors
            if quotas.tenant_bytes and need.nbytes > most_bytes:
                used = quotas.tenant_bytes - most_bytes + need.held_bytes
                raise over_quota(
                    "tenant_bytes",
                    used,
                    need.nbytes - need.held_bytes,
                    quotas.tenant_bytes,
                    unit="bytes",
                    hint="release tensors that are no longer needed",
                )
            if quotas.tenant_tensors and need.tensors > most_tensors:
                used = quotas.tenant_tensors - most_tensors + need.held_tensors
                raise over_quota(
                    "tenant_tensors",
                    used,
                    need.tensors - need.held_tensors,
                    quotas.tenant_tensors,
                    unit="tensors",
                    hint="release tensors that are no longer needed",
                )
            self.spend(share.tenant, "flops", need.flops)
            self.spend(share.tenant, "tensors", need.new_tensors)
            share.granted = (
                max(before[0], min(need.nbytes + _CHUNK_BYTES, most_bytes)) if quotas.tenant_bytes else UNBOUNDED,
                max(before[1], min(need.tensors + _CHUNK_TENSORS, most_tensors)) if quotas.tenant_tensors else UNBOUNDED,
            )
            rated = bool(quotas.tenant_flops_per_second or quotas.tenant_tensors_per_second)
            return Allowance(*share.granted, exact=self._is_near(share.tenant, quotas), rated=rated)

    def _free(self, tenant: str, quotas: Quotas) -> tuple[int, int]:
        """What no session of the tenant has."""
        reserved = [share.reserved() for share in self._tenants[tenant].values()]
        return quotas.tenant_bytes - sum(r[0] for r in reserved), quotas.tenant_tensors - sum(r[1] for r in reserved)

    def _is_near(self, tenant: str, quotas: Quotas) -> bool:
        """Whether more than half of what the tenant may hold is spoken for."""
        free_bytes, free_tensors = self._free(tenant, quotas)
        return (quotas.tenant_bytes > 0 and free_bytes < quotas.tenant_bytes // 2) or (
            quotas.tenant_tensors > 0 and free_tensors < quotas.tenant_tensors // 2
        )

    def uncounted(self, tenant: str) -> list[str]:
        """Sessions that do nothing now and are to be counted before the tenant's next request: it is near its quota."""
        quotas = self.quotas_of(tenant)
        if not (quotas.tenant_bytes or quotas.tenant_tensors) or tenant not in self._tenants:
            return []
        with self._lock:
            if not self._is_near(tenant, quotas):
                return []
            return [i for i, share in self._tenants[tenant].items() if share.granted is None and not share.exact]

    def holds_nothing(self, session_id: str) -> None:
        """The session cannot be brought back, or not now: it is in nobody's memory."""
        with self._lock:
            share = self._shares.get(session_id)
            if share is not None and share.granted is None:
                share.nbytes, share.tensors, share.exact = 0, 0, True

    # What they do ------------------------------------------------------------------------------------------------------------

    def spend(self, tenant: str, what: str, amount: int) -> None:
        """Note that a tenant does something: ``requests``, ``sessions``, ``body_bytes``, ``tensors`` or ``flops``.

        Raises RateLimitError, LimitError for what never fits, ConfigurationError where the library is missing.
        """
        quotas = self.quotas_of(tenant)
        if quotas is self._unrated:
            return
        per_second: int = getattr(quotas, _RATES[what])
        if not per_second:
            return
        with self._lock:
            self._rates = self._rates or Rates()
            self._rates.spend(tenant, _RATES[what], amount, per_second, quotas.rate_window_seconds)

    def headers(self, tenant: str) -> list[tuple[bytes, bytes]]:
        """The ``RateLimit`` fields of an answer to that tenant; none where no rates are set."""
        quotas = self.quotas_of(tenant)
        if quotas is self._unrated:
            return []
        set_ = [(setting, rate) for setting in _RATES.values() if (rate := getattr(quotas, setting))]
        if not set_:
            self._unrated = quotas  # most tenants have the same ones
            return []
        window = quotas.rate_window_seconds
        policies = ", ".join(f'"{setting}";q={rate * window};w={window}' for setting, rate in set_)
        with self._lock:
            rates = self._rates = self._rates or Rates()
            left = [(setting, *rates.left(tenant, setting, rate, window)) for setting, rate in set_]
        state = ", ".join(f'"{setting}";r={remaining};t={seconds}' for setting, remaining, seconds in left)
        return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", state.encode())]
