"""Free functions that reduce."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

__all__ = ["sum"]

sum = free(TensorOps.sum)  # noqa: A001 - PyTorch's name
