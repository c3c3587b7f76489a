"""Free functions of integration and differentiation of samples."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["cumulative_trapezoid", "gradient", "trapezoid", "trapz"]

cumulative_trapezoid = free(Tensor.cumulative_trapezoid, "y")
gradient = free(Tensor.gradient)
trapezoid = free(Tensor.trapezoid, "y")
trapz = free(Tensor.trapz, "y")
