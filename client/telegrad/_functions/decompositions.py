"""Free functions of the decompositions family that PyTorch also has at its top level; the rest is in ``telegrad.linalg``."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, SAME
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["det", "inverse", "logdet", "matrix_power", "slogdet"]

det = free(Tensor.det, out=SAME)
inverse = free(Tensor.inverse, out=SAME)
logdet = free(Tensor.logdet)
matrix_power = free(Tensor.matrix_power, out=CASTS)
slogdet = free(Tensor.slogdet, out=SAME)
