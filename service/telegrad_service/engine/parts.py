"""Gradients of parts: an array, and the place in a larger array of zeros where it belongs.

A hundred slices of one tensor would make a hundred arrays of its size, zero but for the slice. A ``Part`` waits until the walk
has a buffer to add it into; only the first to arrive makes one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import AutogradError
from telegrad_service.engine.table import Array

Place = tuple[Any, ...]


def unfit(found: Any, wanted: Any) -> AutogradError:
    """The error of a gradient of another shape or type than the tensor has that it meets."""
    return AutogradError(
        f"a gradient of {found} arrived where the graph expects {wanted}: the data of a tensor was replaced by data of another "
        "shape or type after the graph was recorded. Replace it before, or compute the graph again"
    )


class Part:
    """``array`` at ``place``, a basic numpy index with an Ellipsis, of zeros of ``shape``.

    It has an array's ``shape`` and ``dtype``, can be scaled as one, and becomes one by ``numpy.asarray``.
    """

    __slots__ = ("array", "place", "shape")

    def __init__(self, array: Any, shape: tuple[int, ...], place: Place) -> None:
        self.array = array
        self.shape = shape
        self.place = place

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        found: np.dtype[Any] = self.array.dtype
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("the array of a part is always made anew")
        full = np.zeros(self.shape, self.array.dtype if dtype is None else dtype)
        full[self.place] = self.array
        return full

    def __mul__(self, factor: Any) -> Part:
        return Part(self.array * factor, self.shape, self.place)

    def add_to(self, total: Array) -> None:
        """Add the part to ``total``, in place. Raises AutogradError where that has another shape."""
        if total.shape != self.shape:
            raise unfit(list(self.shape), list(total.shape))
        where = total[self.place]
        np.add(where, self.array, out=where)
