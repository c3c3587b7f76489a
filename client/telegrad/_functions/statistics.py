"""Free functions of the statistics family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "corrcoef",
    "cov",
    "kthvalue",
    "logcumsumexp",
    "median",
    "mode",
    "nanmedian",
    "nanquantile",
    "quantile",
]

corrcoef = free(Tensor.corrcoef)
cov = free(Tensor.cov)
kthvalue = free(Tensor.kthvalue)
logcumsumexp = free(Tensor.logcumsumexp)
median = free(Tensor.median)
mode = free(Tensor.mode)
nanmedian = free(Tensor.nanmedian)
nanquantile = free(Tensor.nanquantile)
quantile = free(Tensor.quantile)
