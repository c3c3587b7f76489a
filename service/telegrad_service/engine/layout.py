"""Layers for drawing a graph without cycles: every edge points down, and crossings are few.

Source: Sugiyama, Tagawa & Toda (1981), IEEE Trans. Systems, Man, and Cybernetics 11(2), without dummy nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SWEEPS: Final = 4
"""Passes down and up that sort each layer by the mean place of its neighbours; more change little."""


def place_in_layers(keys: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Layers from top to bottom, each from left to right.

    Args:
        keys: all nodes.
        edges: (above, below) pairs without a cycle.
    """
    above: dict[str, list[str]] = {key: [] for key in keys}
    below: dict[str, list[str]] = {key: [] for key in keys}
    for upper, lower in edges:
        above[lower].append(upper)
        below[upper].append(lower)
    heights = _heights(keys, above, below)
    layers: list[list[str]] = [[] for _ in range(max(heights.values(), default=-1) + 1)]
    for key in keys:
        layers[-1 - heights[key]].append(key)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for layer in layers if down else layers[::-1]:
            places = {key: i / max(len(row) - 1, 1) for row in layers for i, key in enumerate(row)}

            def mean(key: str, places: dict[str, float] = places, near: dict[str, list[str]] = neighbours) -> float:
                found = [places[k] for k in near[key]]
                return sum(found) / len(found) if found else places[key]

            layer.sort(key=mean)
    return layers


def _heights(keys: Sequence[str], above: dict[str, list[str]], below: dict[str, list[str]]) -> dict[str, int]:
    """The longest way down from each node, found from the bottom up without recursion."""
    waiting = {key: len(below[key]) for key in keys}
    heights = dict.fromkeys(keys, 0)
    ready = [key for key in keys if not waiting[key]]
    while ready:
        key = ready.pop()
        for upper in above[key]:
            heights[upper] = max(heights[upper], heights[key] + 1)
            waiting[upper] -= 1
            if not waiting[upper]:
                ready.append(upper)
    return heights
