"""Fewer boxes for large graphs: repeated sequences of ops become one box, and so do scopes.

Nodes are taken in the order of making, in which inputs come first. A box stands for a stretch of that order, so that boxes
that replace disjoint stretches never lead back to each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from telegrad.contract.scope import SEPARATOR
from telegrad_service.engine.graph import Node

_SHORTEST_PERIODS: Final = 16
"""Periods that are tried whatever the sequence looks like."""

_CONTEXTS: Final = (1, 2, 4, 8, 16)
"""How many items together are looked up for where they come again; the distances are the periods to try."""

_CANDIDATES: Final = 16
"""Most frequent distances tried per context."""

_MOST_WORK: Final = 1_000_000
"""Boxes looked at for repetitions in all, over all passes: each takes a microsecond, and a graph could be made that needs a pass
for every few of its nodes."""

_DIGITS: Final = re.compile(r"[0-9]+")


class Box:
    """What a picture shows as one.

    Attributes:
        kind: ``node``, ``repeat`` or ``scope``.
        rounds: the nodes, per repetition; one list where nothing is repeated.
        scope: the path that all of them have in common; None where there is none.
        signature: equal for boxes that look the same.
    """

    __slots__ = ("kind", "rounds", "scope", "signature")

    def __init__(self, kind: str, rounds: list[list[Node]], scope: str | None, signature: Any) -> None:
        self.kind = kind
        self.rounds = rounds
        self.scope = scope
        self.signature = signature

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in the order of making."""
        return self.rounds[0] if len(self.rounds) == 1 else [node for nodes in self.rounds for node in nodes]


def scope_of(node: Node) -> str | None:
    """The path of the scopes that a node was made in."""
    found: str | None = getattr(node, "scope", None)
    return found


def shared_path(paths: Collection[str | None]) -> str | None:
    """The names that all paths begin with; None where there is none, as where one of them is None."""
    split = [() if path is None else path.split(SEPARATOR) for path in paths]
    shared: list[str] = []
    for names in zip(*split, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return SEPARATOR.join(shared) or None


def without_numbers(path: str) -> str:
    """``layer.3/attention`` as ``layer.#/attention``: what repeated layers have in common."""
    return _DIGITS.sub("#", path)


def single(node: Node, numberless: dict[str, str]) -> Box:
    """A node as it is; it looks like others of the same op with the same shapes, edges and, but for numbers, scope."""
    path = scope_of(node)
    if path is not None and path not in numberless:
        numberless[path] = without_numbers(path)
    leads = tuple([isinstance(target, Node) for target in node.edges])
    others = None if node.others is None else tuple([(shape, dtype.char) for shape, dtype in node.others])
    looks = (node.plan, node.shape, node.dtype.char, others, leads, None if path is None else numberless[path])
    return Box("node", [[node]], path, looks)


class Collapser:
    """Makes boxes of nodes, one step after the other, until they are few enough.

    Attributes:
        boxes: as of now, in the order of making.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Begin with a box per node; ``nodes`` are in the order of making."""
        numberless: dict[str, str] = {}
        self.boxes = [single(node, numberless) for node in nodes]
        self._codes: dict[Any, int] = {}
        self._work = 0
        self._level = max((_depth_of(box) for box in self.boxes), default=0)

    def shrink(self, wanted: int) -> bool:
        """Collapse until there are at most ``wanted`` boxes or nothing is left to collapse; whether anything was collapsed."""
        before = len(self.boxes)
        while len(self.boxes) > wanted:
            if self._collapse_repetition():
                continue
            if self._level == 0:
                break
            self._collapse_scopes(self._level)
            self._level -= 1
        return len(self.boxes) < before

    def _collapse_repetition(self) -> bool:
        """Collapse the runs of the period by which most boxes are repetitions of others; whether there was one."""
        self._work += len(self.boxes)
        if self._work > max(_MOST_WORK, len(self.boxes)):  # the first pass is never too much
            return False
        codes = np.array([self._codes.setdefault(box.signature, len(self._codes)) for box in self.boxes], np.int64)
        best: tuple[int, int, list[tuple[int, int]]] = (0, 0, [])
        for period in _periods(codes):
            runs, saved = _runs(codes, period)
            if saved > best[0]:
                best = (saved, period, runs)
        _, period, runs = best
        if not runs:
            return False
        made: list[Box] = []
        at = 0
        for start, times in runs:
            made.extend(self.boxes[at:start])
            at = start + times * period
            rounds = [
                [node for box in self.boxes[first : first + period] for node in box.nodes] for first in range(start, at, period)
            ]
            looks = ("repeat", times, tuple(codes[start : start + period].tolist()))
            made.append(Box("repeat", rounds, _common_scope(self.boxes[start:at]), looks))
        made.extend(self.boxes[at:])
        self.boxes = made
        return True

    def _collapse_scopes(self, level: int) -> None:
        """One box for each stretch of boxes whose paths agree in the first ``level`` names."""
        made: list[Box] = []
        group: list[Box] = []
        name: str | None = None

        def close() -> None:
            if len(group) < 2 or name is None:
                made.extend(group)
            else:
                looks = ("scope", without_numbers(name), tuple([box.signature for box in group]))
                code = self._codes.setdefault(looks, len(self._codes))  # a number, so that signatures do not grow
                made.append(Box("scope", [[node for box in group for node in box.nodes]], name, ("scope", code)))
            group.clear()

        for box in self.boxes:
            path = _first_names(box.scope, level)
            if path != name or path is None:
                close()
            name = path
            group.append(box)
        close()
        self.boxes = made


def _first_names(path: str | None, level: int) -> str | None:
    """The first ``level`` names of a path; None where it has fewer."""
    names = () if path is None else path.split(SEPARATOR)
    return SEPARATOR.join(names[:level]) if len(names) >= level else None


def _depth_of(box: Box) -> int:
    return 0 if box.scope is None else box.scope.count(SEPARATOR) + 1


def _common_scope(boxes: Sequence[Box]) -> str | None:
    return shared_path({box.scope for box in boxes})


def _periods(codes: npt.NDArray[np.int64]) -> list[int]:
    """Lengths that sequences which come again at once may have, shortest first."""
    count = len(codes)
    found = set(range(1, min(_SHORTEST_PERIODS, count // 2) + 1))
    for context in _CONTEXTS:
        if context > count // 2:
            break
        grams = _grams(codes, context)
        order = np.argsort(grams, kind="stable")
        same = grams[order][1:] == grams[order][:-1]
        gaps = (order[1:] - order[:-1])[same]
        gaps = gaps[gaps <= count // 2]
        if gaps.size:
            often = np.bincount(gaps)
            best = np.argsort(often, kind="stable")[::-1][:_CANDIDATES]
            found.update(int(gap) for gap in best if often[gap])
    return sorted(found)


def _grams(codes: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Numbers that are equal where the next ``length`` codes are; ``length`` is a power of two."""
    grams, done = codes, 1
    while done < length:
        pairs = grams[:-done] * (int(grams.max()) + 1) + grams[done:]
        grams = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
        done *= 2
    return grams


def _runs(codes: npt.NDArray[np.int64], period: int) -> tuple[list[tuple[int, int]], int]:
    """Stretches in which ``period`` codes come again and again, as (start, times), and how many codes come again.

    Where a stretch is no whole number of periods, the odd codes at its start are left out.
    """
    same = np.concatenate(([False], codes[:-period] == codes[period:], [False]))
    turns = np.flatnonzero(same[1:] != same[:-1])
    starts, ends = turns[0::2], turns[1::2]
    long = ends - starts >= period
    runs: list[tuple[int, int]] = []
    free = saved = 0
    for first, last in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        end = last + period
        times = (end - max(first, free)) // period  # a stretch may begin within the one before
        if times >= 2:
            runs.append((end - times * period, times))
            saved += (times - 1) * period
            free = end
    return runs, saved


def boxes_of(nodes: Sequence[Node], shown: Callable[[Sequence[Box]], int], most: int) -> list[Box]:
    """Boxes for ``nodes``, few enough that ``shown(boxes)``, which counts what is drawn beside them too, is at most ``most``.

    As few as can be where that cannot be.
    """
    collapser = Collapser(nodes)
    collapser.shrink(most)
    while (over := shown(collapser.boxes) - most) > 0:
        if not collapser.shrink(max(len(collapser.boxes) - over, 1)):
            break
    return collapser.boxes
