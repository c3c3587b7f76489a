"""Interleaved timing: the two sides take turns, so that a machine that slows down slows both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPINNING_SECONDS = 0.05
"""A rest after which OpenBLAS's threads sleep. After a product each of them spins for 2^26 cycles in the hope of the next, 27 ms by
``time.process_time`` at 2.5 GHz: where the sides are processes on two cores, what one has done takes a core from the other."""

WARM_CALLS = 5
"""Calls of each side before the rounds, of which the fastest says how many fit a round."""


@dataclass(frozen=True)
class Ratio:
    """What a comparison measured.

    Attributes:
        name: what was done.
        ours_seconds: median of one call of ours.
        floor_seconds: median of one call of the floor or peer.
        ratio: median of the pairwise ratios ours/floor; spread is their 10th and 90th percentile.
        against: what the floor is.
    """

    name: str
    ours_seconds: float
    floor_seconds: float
    ratio: float
    spread: tuple[float, float]
    against: str


def compare(
    name: str,
    ours: Callable[[], object],
    floor: Callable[[], object],
    *,
    against: str,
    seconds: float = 0.6,
    rest_seconds: float = 0.0,
) -> Ratio:
    """Time two callables in turns for about ``seconds`` and at least 9 rounds.

    Each round calls each side as often as fits a fiftieth of the time, so that the clock's resolution does not count. Before each
    turn nothing is done for ``rest_seconds``, see ``SPINNING_SECONDS``, and then a few calls that do not count.
    """
    ours()
    floor()
    calls = [_calls_per_round(f, seconds / 50) for f in (ours, floor)]
    pairs: list[tuple[float, float]] = []
    gc.collect()
    end = time.perf_counter() + seconds
    while len(pairs) < 9 or (time.perf_counter() < end and len(pairs) < 1000):
        pairs.append((_rested(rest_seconds, ours, calls[0]), _rested(rest_seconds, floor, calls[1])))
        end += 2 * rest_seconds
    return ratio_of(name, pairs, against)


def ratio_of(name: str, pairs: Sequence[tuple[float, float]], against: str) -> Ratio:
    """What pairs of times say, the first of each ours, in seconds a call."""
    ratios = sorted(a / b for a, b in pairs)
    return Ratio(
        name,
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        (ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]),
        against,
    )


def _rested(rest_seconds: float, function: Callable[[], object], calls: int) -> float:
    if rest_seconds:
        time.sleep(rest_seconds)
        _time(function, 1 + calls // 4)  # whoever has slept begins slowly: caches, threads and processors are woken
    return _time(function, calls)


def _calls_per_round(function: Callable[[], object], seconds: float) -> int:
    once = max(min(_time(function, 1) for _ in range(WARM_CALLS)), 1e-7)  # a program's first runs take far longer than all others
    return max(1, min(10_000, int(seconds / once)))


def _time(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def show(title: str, rows: list[Ratio]) -> None:
    """Print a table of ratios."""
    print(f"\n{title}")
    print(f"  {'':44s} {'ours':>12s} {'floor':>12s} {'ratio':>8s}  {'10-90 %':>15s}  against")
    for row in rows:
        print(
            f"  {row.name:44s} {_unit(row.ours_seconds):>12s} {_unit(row.floor_seconds):>12s} {row.ratio:7.2f}x"
            f"  {row.spread[0]:6.2f} - {row.spread[1]:6.2f}  {row.against}"
        )


def _unit(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"
