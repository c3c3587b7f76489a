"""Free functions of the statistics family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import SAME
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
kthvalue = free(Tensor.kthvalue, out=SAME)
logcumsumexp = free(Tensor.logcumsumexp, out=SAME)
median = free(Tensor.median, out=SAME)
mode = free(Tensor.mode, out=SAME)
nanmedian = free(Tensor.nanmedian, out=SAME)
nanquantile = free(Tensor.nanquantile, out=SAME)
quantile = free(Tensor.quantile, out=SAME)
