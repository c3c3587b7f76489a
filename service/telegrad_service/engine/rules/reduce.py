"""Kernels and derivatives of reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, kernel

# Rules here get `dim` as a tuple of ints, or None or () for all dimensions.


@kernel("sum")
def _sum(self: Array, dim: tuple[int, ...] | None, keepdim: bool, dtype: DType | None) -> Any:
    # numpy sums int32 in the platform's int and bool in int; the result type is torch's either way.
    target = dtype.numpy if dtype is not None else (np.int64 if self.dtype.kind in "biu" else None)
    return np.sum(self, axis=dim or None, keepdims=keepdim, dtype=target)


def expand_reduced(g: Any, shape: tuple[int, ...], dim: tuple[int, ...] | None, keepdim: bool) -> Any:
    """A reduced gradient, broadcast back to the input's shape."""
    if not keepdim and len(shape) and dim:
        kept = [1 if i in {d % len(shape) for d in dim} else n for i, n in enumerate(shape)]
        g = F.reshape(g, shape=tuple(kept))
    elif not keepdim:
        g = F.reshape(g, shape=(1,) * len(shape))
    return F.expand(g, size=shape)


derivative("sum", self=lambda g, self_shape, dim, keepdim: expand_reduced(g, self_shape, dim, keepdim))
