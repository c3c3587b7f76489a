"""Free functions that reduce."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nansum",
    "norm",
    "prod",
    "std",
    "sum",
    "var",
]

# PyTorch's names, though Python's built-ins have some of them.
all = free(TensorOps.all)  # noqa: A001
amax = free(TensorOps.amax)
amin = free(TensorOps.amin)
aminmax = free(TensorOps.aminmax)
any = free(TensorOps.any)  # noqa: A001
argmax = free(TensorOps.argmax)
argmin = free(TensorOps.argmin)
count_nonzero = free(TensorOps.count_nonzero)
cummax = free(TensorOps.cummax)
cummin = free(TensorOps.cummin)
cumprod = free(TensorOps.cumprod)
cumsum = free(TensorOps.cumsum)
logsumexp = free(TensorOps.logsumexp)
max = free(TensorOps.max)  # noqa: A001
mean = free(TensorOps.mean)
min = free(TensorOps.min)  # noqa: A001
nansum = free(TensorOps.nansum)
norm = free(TensorOps.norm)
prod = free(TensorOps.prod)
std = free(TensorOps.std)
sum = free(TensorOps.sum)  # noqa: A001
var = free(TensorOps.var)
