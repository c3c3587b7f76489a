"""What is counted with every request, as plain numbers that a scrape reads.

Prometheus' own counters take a lock each, and a dozen move with every request: together a tenth of a small one. These belong to the
event loop's thread alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BOUNDS: Final = (*map(floatToGoString, _SECONDS), "+Inf")


class Count:
    """A number that grows."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0


class Spread:
    """How many durations fell between which bounds, and how long they were together."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS)
        self._seconds = 0.0

    def note(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self._seconds += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """As Prometheus has it: each bound with how many are not above it; and their sum."""
        so_far = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip(_BOUNDS, self._counts, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found, self._seconds


class _Family(NamedTuple):
    """A metric: its name, its meaning, its labels, and what was counted, by their values."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    counted: dict[tuple[str, ...], Any]


class Tallies(Collector):
    """All of them, for a registry."""

    def __init__(self) -> None:
        self._counts: list[_Family] = []
        self._spreads: list[_Family] = []

    def counts(self, name: str, meaning: str, *labels: str) -> dict[tuple[str, ...], Count]:
        """A counter of that name (``_total`` is added): put into the answer what is counted, by the labels' values."""
        return self._family(self._counts, name, meaning, labels)

    def spreads(self, name: str, meaning: str, *labels: str) -> dict[tuple[str, ...], Spread]:
        """A histogram of durations, in the same way."""
        return self._family(self._spreads, name, meaning, labels)

    def _family(self, families: list[_Family], name: str, meaning: str, labels: Sequence[str]) -> dict[tuple[str, ...], Any]:
        family = _Family(name, meaning, tuple(labels), {})
        families.append(family)
        return family.counted

    def collect(self) -> Iterator[Any]:
        """See prometheus_client."""
        for name, meaning, labels, counted in self._counts:
            counter = CounterMetricFamily(name, meaning, labels=labels)
            for values, count in counted.items():
                counter.add_metric(values, count.total)
            yield counter
        for name, meaning, labels, counted in self._spreads:
            histogram = HistogramMetricFamily(name, meaning, labels=labels)
            for values, spread in counted.items():
                histogram.add_metric(values, *spread.buckets())
            yield histogram
