"""Sums, means, extremes and other ops that take dimensions away, and running sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType, DTypeLike, as_dtype
from telegrad.contract.ops import op
from telegrad.contract.shapes import optional_ints, reduction
from telegrad.contract.tensor.base import TensorBase


def sum_type(x: DType, dtype: DType | None) -> DType:
    """Integers and bool sum to int64."""
    return dtype or (x if x.category >= 2 else dtypes.int64)


class ReduceOps(TensorBase):
    """Reductions. ``dim`` is an int, a tuple or None for all dimensions; ``keepdim`` keeps them with size 1."""

    __slots__ = ()

    @op(reduction(sum_type))
    def sum(
        self, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None
    ) -> Self:
        """Sum over ``dim``.

        Shapes: [..., n, ...] -> [...]. dtype: integers sum in int64. Gradient: g, expanded.
        """
        return self._apply(
            "sum",
            self,
            dim=optional_ints(dim, "dim"),
            keepdim=keepdim,
            dtype=None if dtype is None else as_dtype(dtype),
        )
