"""Kernels of ops that make tensors from nothing."""

from __future__ import annotations

import numpy as np

from telegrad.contract.dtypes import DEFAULT_DTYPE, DType
from telegrad_service.engine.table import Array, kernel


@kernel("zeros")
def _zeros(size: tuple[int, ...], dtype: DType | None) -> Array:
    return np.zeros(size, (dtype or DEFAULT_DTYPE).numpy)
