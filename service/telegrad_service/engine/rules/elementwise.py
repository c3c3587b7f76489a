"""Kernels and derivatives of element-by-element ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, kernel


@kernel("add", ufunc=np.add)
def _add(self: Array, other: Any, alpha: Any) -> Any:
    return np.add(self, other if alpha == 1 else np.multiply(other, alpha))


derivative("add", self=lambda g: g, other=lambda g, alpha: g if alpha == 1 else g * F.conjugate(alpha))

kernel("mul", np.multiply, ufunc=np.multiply)
derivative(
    "mul",
    self=lambda g, other: g * F.conjugate(other),
    other=lambda g, self: g * F.conjugate(self),
)

kernel("exp", np.exp, ufunc=np.exp)
derivative("exp", self=lambda g, result: g * F.conjugate(result))
