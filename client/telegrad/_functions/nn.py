"""Free functions of the nn family that PyTorch also has at its top level; the rest is in ``telegrad.nn.functional``."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["log_softmax", "relu", "relu_", "softmax"]

log_softmax = free(Tensor.log_softmax)
relu = free(Tensor.relu)
relu_ = free(Tensor.relu_)
softmax = free(Tensor.softmax)
