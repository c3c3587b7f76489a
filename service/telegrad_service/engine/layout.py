"""Layers and places for drawing a graph without cycles: every edge points down, no box lies on another, and crossings are few.

Source: Sugiyama, Tagawa & Toda (1981), IEEE Trans. Systems, Man, and Cybernetics 11(2). An edge that passes layers has a point in
each of them, so that it goes around the boxes; edges from the same box share these points.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_SWEEPS: Final = 4
"""Passes down and up that sort each layer by the mean place of its neighbours; more change little."""

_PULLS: Final = 8
"""Passes down and up that move each box towards the middle of its neighbours."""

_GRAVITY: Final = 0.05
"""How much each pull leads towards the middle line too; without it, long graphs lean over, as every leaf pushes a little."""

_MOST_POINTS: Final = 4000
"""Points that edges have in layers which they pass. Longer edges than these allow for are drawn straight."""


class Route(NamedTuple):
    """A drawn edge: what it leads from, the points it passes, what it leads to."""

    source: str
    points: tuple[str, ...]
    target: str


def place_in_layers(keys: Sequence[str], edges: Sequence[tuple[str, str]]) -> tuple[list[list[str]], list[Route]]:
    """Layers from top to bottom, each from left to right, with the points that edges pass; and how each edge goes.

    Args:
        keys: all boxes; none contains a colon.
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
    routes = _routes(edges, heights, layers)
    links = [pair for route in dict.fromkeys(routes) for pair in _steps(route)]
    _sort(layers, *_neighbours(layers, links))
    return layers, routes


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


def _routes(edges: Sequence[tuple[str, str]], heights: Mapping[str, int], layers: list[list[str]]) -> list[Route]:
    """How each edge goes. Adds the points to the layers, the short edges' first, until there are enough."""
    made: set[str] = set()
    routes: dict[tuple[str, str], Route] = {}
    for source, target in sorted(dict.fromkeys(edges), key=lambda edge: heights[edge[0]] - heights[edge[1]]):
        passed = range(heights[source] - 1, heights[target], -1)
        points = tuple([f"{source}:{height}" for height in passed])
        fresh = [(height, point) for height, point in zip(passed, points, strict=True) if point not in made]
        if len(made) + len(fresh) > _MOST_POINTS:
            routes[source, target] = Route(source, (), target)
            continue
        for height, point in fresh:
            made.add(point)
            layers[-1 - height].append(point)
        routes[source, target] = Route(source, points, target)
    return [routes[edge] for edge in edges]


def _steps(route: Route) -> list[tuple[str, str]]:
    stops = (route.source, *route.points, route.target)
    return list(itertools.pairwise(stops))


def _neighbours(layers: list[list[str]], links: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {key: [] for layer in layers for key in layer}
    below: dict[str, list[str]] = {key: [] for key in above}
    for upper, lower in dict.fromkeys(links):
        above[lower].append(upper)
        below[upper].append(lower)
    return above, below


def _sort(layers: list[list[str]], above: dict[str, list[str]], below: dict[str, list[str]]) -> None:
    """Sort each layer by the mean place of its neighbours."""
    places = {key: _place(i, layer) for layer in layers for i, key in enumerate(layer)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for layer in layers if down else layers[::-1]:
            means = {key: _mean([places[k] for k in neighbours[key]], places[key]) for key in layer}
            layer.sort(key=means.__getitem__)
            places.update((key, _place(i, layer)) for i, key in enumerate(layer))


def _place(index: int, layer: Sequence[str]) -> float:
    """Where in its layer, from 0 to 1."""
    return index / max(len(layer) - 1, 1)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def centres(layers: Sequence[Sequence[str]], routes: Sequence[Route], widths: Mapping[str, float], gap: float) -> dict[str, float]:
    """The middle of each box and point from left to right, near the middles of its neighbours; the leftmost edge is at 0.

    Args:
        layers: see ``place_in_layers``.
        routes: likewise.
        widths: of each box and point.
        gap: between neighbours of a layer, at least.
    """
    links = [pair for route in dict.fromkeys(routes) for pair in _steps(route)]
    above, below = _neighbours([list(layer) for layer in layers], links)
    middles: dict[str, float] = {}
    for layer in layers:
        at = -sum(widths[key] + gap for key in layer) / 2
        for key in layer:
            middles[key] = at + widths[key] / 2
            at += widths[key] + gap
    for pull in range(_PULLS):
        down = pull % 2 == 0
        neighbours = above if down else below
        for layer in layers if down else layers[::-1]:
            wanted = [(1 - _GRAVITY) * _mean([middles[k] for k in neighbours[key]], middles[key]) for key in layer]
            middles.update(zip(layer, _apart(wanted, [widths[key] for key in layer], gap), strict=True))
    left = min((middles[key] - widths[key] / 2 for key in middles), default=0.0)
    return {key: middle - left for key, middle in middles.items()}


def _apart(wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """Places near the wanted ones, in the same order and ``gap`` apart: the mean of pushing right and of pushing left."""
    right, left = list(wanted), list(wanted)
    for i in range(1, len(wanted)):
        right[i] = max(right[i], right[i - 1] + (widths[i - 1] + widths[i]) / 2 + gap)
    for i in range(len(wanted) - 2, -1, -1):
        left[i] = min(left[i], left[i + 1] - (widths[i] + widths[i + 1]) / 2 - gap)
    return [(a + b) / 2 for a, b in zip(right, left, strict=True)]
