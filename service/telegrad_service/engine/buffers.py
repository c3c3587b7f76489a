"""Which memory an array occupies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from telegrad_service.engine.table import Array


def owner_of(array: Array) -> Array:
    """The array whose buffer ``array`` is, or is a view of."""
    while array.base is not None:
        # A view that numpy made of strides keeps its owner in an object of its own.
        owner: Any = array.base
        if not isinstance(owner, np.ndarray):
            owner = getattr(owner, "base", None)
        if not isinstance(owner, np.ndarray):
            break
        array = owner
    return array


def overlap(a: Array, b: Array) -> str:
    """How two arrays share memory: ``"full"`` where they are the same elements in the same order, ``"part"`` where they surely
    share some otherwise, else ``""``: PyTorch's test, which does not look into arrays with gaps or elements used twice.
    """
    if not a.size or not b.size or not np.may_share_memory(a, b) or not (_dense(a) and _dense(b)):
        return ""
    same = a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides
    return "full" if same else "part"


class Neighbourhood:
    """Arrays, and which of them may share memory."""

    def __init__(self) -> None:
        self._by_owner: dict[int, list[Array]] = {}

    def add(self, array: Array) -> Sequence[Array]:
        """Take an array in; those of before that it may share memory with."""
        owner = array if array.base is None else owner_of(array)
        there = self._by_owner.get(id(owner))
        if there is None:  # as almost always
            self._by_owner[id(owner)] = [array]
            return ()
        found = [other for other in there if np.may_share_memory(array, other)]
        there.append(array)
        return found


def _dense(array: Array) -> bool:
    """Whether each place between an array's first and last element is one of its elements, once."""
    expected = array.itemsize
    for step, n in sorted(zip(array.strides, array.shape, strict=True)):
        if n > 1:
            if step != expected:
                return False
            expected *= n
    return True


def arrays_in(saved: Any) -> Iterator[Array]:
    """Every array in nested tuples."""
    if isinstance(saved, np.ndarray):
        yield saved
    elif isinstance(saved, tuple):
        for item in saved:  # pyright: ignore[reportUnknownVariableType]
            yield from arrays_in(item)
