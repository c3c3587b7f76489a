"""In-place forms: ``add_`` is ``add`` with the result written into the tensor itself, for every op marked ``inplace``.

The signature repeats the op's (a test compares them); shape, type, leaf and view rules are one rule for all, in the engine.
"""

from __future__ import annotations

from typing import Self

from telegrad.contract.dtypes import Number
from telegrad.contract.tensor.base import TensorBase


class InPlaceOps(TensorBase):
    """Ops that change the tensor itself and return it."""

    __slots__ = ()

    def add_(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """``add`` in place."""
        if alpha == 1:
            return self._apply("add_", self, other)
        return self._apply("add_", self, other, alpha=alpha)

    def __iadd__(self, other: Self | Number) -> Self:
        return self._apply("add_", self, other)
