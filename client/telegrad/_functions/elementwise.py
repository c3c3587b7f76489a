"""Element-by-element free functions."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

__all__ = ["add", "exp", "mul"]

add = free(TensorOps.add)
exp = free(TensorOps.exp)
mul = free(TensorOps.mul)
