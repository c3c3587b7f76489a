"""Free functions that are composed of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract.dtypes import Number
from telegrad.contract.errors import DTypeError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.out import CASTS, JOINS, SAME, takes_out
from telegrad.contract.tensor.composite import atleast_1d, atleast_2d, atleast_3d
from telegrad.contract.tensor.composite import column_stack as _column_stack
from telegrad.contract.tensor.composite import dstack as _dstack
from telegrad.contract.tensor.numpy_names import with_numpy_names
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=Tensor)

__all__ = [
    "addr",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "column_stack",
    "cross",
    "diff",
    "dsplit",
    "dstack",
    "fliplr",
    "flipud",
    "hsplit",
    "kron",
    "nanmean",
    "rot90",
    "std_mean",
    "tensor_split",
    "var_mean",
    "vdot",
    "vsplit",
]

dstack = takes_out(JOINS)(_dstack)
column_stack = takes_out(JOINS)(_column_stack)
addr = free(Tensor.addr, out=CASTS)
cross = free(Tensor.cross, out=SAME)
diff = free(Tensor.diff, out=CASTS)
dsplit = free(Tensor.dsplit)
fliplr = free(Tensor.fliplr)
flipud = free(Tensor.flipud)
hsplit = free(Tensor.hsplit)
kron = free(Tensor.kron, out=CASTS)
nanmean = free(Tensor.nanmean, out=CASTS)
rot90 = free(Tensor.rot90)
tensor_split = free(Tensor.tensor_split)
vdot = free(Tensor.vdot, out=SAME)
vsplit = free(Tensor.vsplit)


@with_numpy_names
def var_mean(
    input: T,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | None = None,
) -> tuple[T, T]:
    """``var`` with these arguments, and ``mean`` over the same dimensions."""
    return _spread_and_mean("var", input, dim, unbiased, keepdim, correction)


@with_numpy_names
def std_mean(
    input: T,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | None = None,
) -> tuple[T, T]:
    """``std`` with these arguments, and ``mean`` over the same dimensions."""
    return _spread_and_mean("std", input, dim, unbiased, keepdim, correction)


def _spread_and_mean(name: str, input: T, dim: Any, unbiased: bool | None, keepdim: bool, correction: Any) -> tuple[T, T]:
    x: Any = require_tensor(input, f"{name}_mean")
    if not x.dtype.is_differentiable:
        raise DTypeError(f"{name}_mean only support floating point and complex dtypes")
    if isinstance(dim, bool):
        dim, unbiased = None, dim  # as in `x.var(False)`
    return getattr(x, name)(dim, unbiased, keepdim, correction=correction), x.mean(dim, keepdim)
