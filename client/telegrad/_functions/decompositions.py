"""Free functions of the decompositions family that PyTorch also has at its top level; the rest is in ``telegrad.linalg``."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["det", "inverse", "logdet", "matrix_power", "slogdet"]

det = free(Tensor.det)
inverse = free(Tensor.inverse)
logdet = free(Tensor.logdet)
matrix_power = free(Tensor.matrix_power)
slogdet = free(Tensor.slogdet)
