"""Which of equal elements ``topk``, ``kthvalue`` and ``mode`` take: those that PyTorch's algorithms come by.

Gradients go where the indices say, so ties have a say in them. PyTorch sorts and selects with the C++ library's introselect and
introsort and with a quickselect of its own; their steps are gone through here, on ranks. That is a loop in Python, so it is for
inputs of up to ``MOST_ELEMENTS``; beyond, the first of equals is taken.

Sources: D. Musser (1997), Introspective sorting and selection algorithms, in the form that GNU's libstdc++ gives them
(bits/stl_algo.h, bits/stl_heap.h); the quickselect of ATen (native/Sorting.cpp).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from telegrad_service.engine.table import Array

MOST_ELEMENTS: Final = 8192

_SHORT: Final = 16
"""Ranges of so many elements at most are sorted by insertion."""


def ranks(rows: Array, descending: bool) -> Array:
    """Per row, the number of different elements that come before; NaN after all others, and before them where ``descending``."""
    _, found = np.unique(rows.reshape(-1), return_inverse=True, equal_nan=True)
    found = found.reshape(rows.shape).astype(np.int64)
    return -found if descending else found


class _Range:
    """Numbers of elements in an order that changes, compared by their ranks."""

    __slots__ = ("at", "rank")

    def __init__(self, rank: list[int]) -> None:
        self.rank = rank
        self.at = list(range(len(rank)))

    def swap(self, i: int, j: int) -> None:
        self.at[i], self.at[j] = self.at[j], self.at[i]

    def less(self, i: int, j: int) -> bool:
        return self.rank[self.at[i]] < self.rank[self.at[j]]

    # libstdc++ ---------------------------------------------------------------------------------------------------------------

    def insertion_sort(self, first: int, last: int) -> None:
        # Each one goes behind all that are not greater: Python's own sort, which is stable, gives the same.
        self.at[first:last] = sorted(self.at[first:last], key=self.rank.__getitem__)

    def partition(self, first: int, last: int) -> int:
        """``__unguarded_partition_pivot``: the median of three as pivot, moved to the front."""
        a, b, c = first + 1, first + (last - first) // 2, last - 1
        if self.less(a, b):
            pivot = b if self.less(b, c) else c if self.less(a, c) else a
        else:
            pivot = a if self.less(a, c) else c if self.less(b, c) else b
        self.swap(first, pivot)
        at, rank = self.at, self.rank
        limit = rank[at[first]]
        low, high = first + 1, last
        while True:
            while rank[at[low]] < limit:
                low += 1
            high -= 1
            while limit < rank[at[high]]:
                high -= 1
            if not low < high:
                return low
            at[low], at[high] = at[high], at[low]
            low += 1

    def _push_down(self, first: int, hole: int, length: int, value: int) -> None:
        """``__adjust_heap``."""
        at, rank = self.at, self.rank
        top, child = hole, hole
        while child < (length - 1) // 2:
            child = 2 * (child + 1)
            if rank[at[first + child]] < rank[at[first + child - 1]]:
                child -= 1
            at[first + hole] = at[first + child]
            hole = child
        if length % 2 == 0 and child == (length - 2) // 2:
            child = 2 * (child + 1)
            at[first + hole] = at[first + child - 1]
            hole = child - 1
        parent = (hole - 1) // 2
        while hole > top and rank[at[first + parent]] < rank[value]:
            at[first + hole] = at[first + parent]
            hole, parent = parent, (parent - 1) // 2
        at[first + hole] = value

    def heap_select(self, first: int, middle: int, last: int) -> None:
        """``__heap_select``: the least in front, as a heap."""
        length = middle - first
        for parent in range((length - 2) // 2, -1, -1) if length > 1 else ():
            self._push_down(first, parent, length, self.at[first + parent])
        for i in range(middle, last):
            if self.less(i, first):
                value, self.at[i] = self.at[i], self.at[first]
                self._push_down(first, 0, length, value)

    def partial_sort(self, first: int, middle: int, last: int) -> None:
        """``std::partial_sort``."""
        self.heap_select(first, middle, last)
        while middle - first > 1:
            middle -= 1
            value, self.at[middle] = self.at[middle], self.at[first]
            self._push_down(first, 0, middle - first, value)

    def select(self, nth: int) -> None:
        """``std::nth_element``."""
        first, last = 0, len(self.at)
        if nth == last:
            return
        depth = 2 * (last.bit_length() - 1)
        while last - first > 3:
            if not depth:
                self.heap_select(first, nth + 1, last)
                self.swap(first, nth)
                return
            depth -= 1
            cut = self.partition(first, last)
            if cut <= nth:
                first = cut
            else:
                last = cut
        self.insertion_sort(first, last)

    def sort(self, last: int) -> None:
        """``std::sort`` of the first ones."""
        if last > 1:
            self._introsort(0, last, 2 * (last.bit_length() - 1))
            self.insertion_sort(0, last)  # whose pieces, already in order among each other, are short by now

    def _introsort(self, first: int, last: int, depth: int) -> None:
        while last - first > _SHORT:
            if not depth:
                self.partial_sort(first, last, last)
                return
            depth -= 1
            cut = self.partition(first, last)
            self._introsort(cut, last, depth)
            last = cut

    # ATen --------------------------------------------------------------------------------------------------------------------

    def quickselect(self, k: int) -> int:
        """Which element is number ``k``."""
        at, rank = self.at, self.rank
        low, high = 0, len(at) - 1
        while high > low:
            if high == low + 1:
                if self.less(high, low):
                    self.swap(low, high)
                break
            self.swap(low + (high - low) // 2, low + 1)
            if self.less(high, low + 1):
                self.swap(low + 1, high)
            if self.less(high, low):
                self.swap(low, high)
            if self.less(low, low + 1):
                self.swap(low + 1, low)
            i, j = low + 1, high
            limit = rank[at[low]]
            while True:
                i += 1
                while rank[at[i]] < limit:
                    i += 1
                j -= 1
                while limit < rank[at[j]]:
                    j -= 1
                if j < i:
                    break
                at[i], at[j] = at[j], at[i]
            self.swap(low, j)
            if j <= k:
                low = i
            if j >= k:
                high = j - 1
        return at[k]


def _rows(x: Array, dim: int) -> Array:
    return np.moveaxis(x, dim, -1).reshape(-1, x.shape[dim])


def _ties(ordered: Array) -> Array:
    """Per row, whether each element equals the next one."""
    found: Array = (ordered[:, 1:] == ordered[:, :-1]) | (np.isnan(ordered[:, 1:]) & np.isnan(ordered[:, :-1]))
    return found


def top(x: Array, order: Array, k: int, dim: int, descending: bool, in_order: bool) -> Array:
    """Positions of the first ``k`` along ``dim``, given all in order, equal ones as they stand."""
    first = np.arange(k)
    if not k or x.size > MOST_ELEMENTS:
        return np.take(order, first, axis=dim)
    rows, places = _rows(x, dim), _rows(order, dim)
    tied = _ties(np.take_along_axis(rows, places, -1)[:, : k + 1]).any(-1) if in_order else np.ones(len(rows), np.bool_)
    found = places[:, :k].copy()
    if tied.any():
        rank = ranks(rows, descending)
        for row in np.flatnonzero(tied):
            found[row] = _first_of(rank[row].tolist(), k, in_order)
    shape = np.moveaxis(x, dim, -1).shape[:-1]
    return np.moveaxis(found.reshape(*shape, k), -1, dim)


def kth(x: Array, order: Array, k: int, dim: int) -> Array:
    """The position of number ``k`` along ``dim``, from zero, given all in order; with size 1 there."""
    found = np.take(order, [k], axis=dim)
    if x.size > MOST_ELEMENTS:
        return found
    rows, places = _rows(x, dim), _rows(order, dim)
    near = max(k - 1, 0)
    tied = _ties(np.take_along_axis(rows, places[:, near : k + 2], -1)).any(-1)
    if not tied.any():
        return found
    rank = ranks(rows, False)
    one = places[:, k].copy()
    for row in np.flatnonzero(tied):
        one[row] = _Range(rank[row].tolist()).quickselect(k)
    return one.reshape(found.shape)


def sorted_as_pairs(x: Array, order: Array, dim: int) -> Array:
    """All positions in the order in which ``mode`` goes through them, given those in which equal ones are as they stand."""
    length = x.shape[dim]
    if length <= _SHORT or x.size > MOST_ELEMENTS or np.isnan(x).any():
        return order
    rank = ranks(_rows(x, dim), False)
    found = np.array([_in_order(row) for row in rank.tolist()], np.int64).reshape(-1, length)
    return np.moveaxis(found.reshape(np.moveaxis(x, dim, -1).shape), -1, dim)


def _first_of(rank: list[int], k: int, in_order: bool) -> list[int]:
    """The numbers of the ``k`` elements of lowest rank, as ``topk`` gives them."""
    found = _Range(rank)
    if k * 64 <= len(rank):
        found.partial_sort(0, k, len(rank))
    else:
        found.select(k - 1)
        if in_order:
            found.sort(k - 1)
    return found.at[:k]


def _in_order(rank: list[int]) -> list[int]:
    """All elements in order, as ``std::sort`` leaves them."""
    found = _Range(rank)
    found.sort(len(rank))
    return found.at
