"""Which memory an array occupies."""

from __future__ import annotations

from collections.abc import Iterator
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


def arrays_in(saved: Any) -> Iterator[Array]:
    """Every array in nested tuples."""
    if isinstance(saved, np.ndarray):
        yield saved
    elif isinstance(saved, tuple):
        for item in saved:  # pyright: ignore[reportUnknownVariableType]
            yield from arrays_in(item)
