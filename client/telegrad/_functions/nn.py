"""Free functions of the nn family that PyTorch also has at its top level; the rest is in ``telegrad.nn.functional``."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

__all__ = ["log_softmax", "relu", "relu_", "softmax"]

log_softmax = free(TensorOps.log_softmax)
relu = free(TensorOps.relu)
relu_ = free(TensorOps.relu_)
softmax = free(TensorOps.softmax)
