"""Free functions that reduce."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.out import CASTS, OWN, SAME, takes_out
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.numpy_names import with_numpy_names
from telegrad.contract.tensor.reduce import ValuesIndices
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=TensorOps)

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
all = free(Tensor.all, out=SAME)  # noqa: A001
amax = free(Tensor.amax, out=SAME)
amin = free(Tensor.amin, out=SAME)
aminmax = free(Tensor.aminmax, out=SAME)
any = free(Tensor.any, out=SAME)  # noqa: A001
argmax = free(Tensor.argmax, out=SAME)
argmin = free(Tensor.argmin, out=SAME)
count_nonzero = free(Tensor.count_nonzero)
cummax = free(Tensor.cummax, out=SAME)
cummin = free(Tensor.cummin, out=SAME)
cumprod = free(Tensor.cumprod, out=OWN)
cumsum = free(Tensor.cumsum, out=OWN)
logsumexp = free(Tensor.logsumexp, out=CASTS)
mean = free(Tensor.mean, out=CASTS)
nansum = free(Tensor.nansum, out=CASTS)
norm = free(Tensor.norm, out=SAME)
prod = free(Tensor.prod, out=OWN)
std = free(Tensor.std, out=CASTS)
sum = free(Tensor.sum, out=OWN)  # noqa: A001
var = free(Tensor.var, out=CASTS)


@overload
def max(input: T) -> T: ...  # noqa: A001


@overload
def max(input: T, dim: int, keepdim: bool = False) -> ValuesIndices[T]: ...  # noqa: A001


@overload
def max(input: T, dim: T) -> T: ...  # noqa: A001


@overload
def max(input: T, *, other: T) -> T: ...  # noqa: A001


@overload
def max(input: Any, *args: Any, out: Any, **kwargs: Any) -> Any: ...  # noqa: A001


@takes_out(CASTS)
@with_numpy_names
def max(input: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:  # noqa: A001
    """Largest element; or, along ``dim``, (values, indices); or, with another tensor, ``maximum``."""
    return require_tensor(input, "max").max(dim, keepdim, other=other)


@overload
def min(input: T) -> T: ...  # noqa: A001


@overload
def min(input: T, dim: int, keepdim: bool = False) -> ValuesIndices[T]: ...  # noqa: A001


@overload
def min(input: T, dim: T) -> T: ...  # noqa: A001


@overload
def min(input: T, *, other: T) -> T: ...  # noqa: A001


@overload
def min(input: Any, *args: Any, out: Any, **kwargs: Any) -> Any: ...  # noqa: A001


@takes_out(CASTS)
@with_numpy_names
def min(input: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:  # noqa: A001
    """Smallest element; or, along ``dim``, (values, indices); or, with another tensor, ``minimum``."""
    return require_tensor(input, "min").min(dim, keepdim, other=other)
