"""Roots, exponentials, trigonometry and their relatives as free functions."""

from __future__ import annotations

from typing import TypeVar

from telegrad.contract.dtypes import Number, complex128, float64
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=TensorBase)

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "deg2rad",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "float_power",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logit",
    "nan_to_num",
    "rad2deg",
    "reciprocal",
    "rsqrt",
    "sigmoid",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "xlogy",
]

acos = free(Tensor.acos)
acosh = free(Tensor.acosh)
asin = free(Tensor.asin)
asinh = free(Tensor.asinh)
atan = free(Tensor.atan)
atan2 = free(Tensor.atan2)
atanh = free(Tensor.atanh)
cos = free(Tensor.cos)
cosh = free(Tensor.cosh)
deg2rad = free(Tensor.deg2rad)
erf = free(Tensor.erf)
erfc = free(Tensor.erfc)
exp = free(Tensor.exp)
exp2 = free(Tensor.exp2)
expm1 = free(Tensor.expm1)
log = free(Tensor.log)
log10 = free(Tensor.log10)
log1p = free(Tensor.log1p)
log2 = free(Tensor.log2)
logaddexp = free(Tensor.logaddexp)
nan_to_num = free(Tensor.nan_to_num)
rad2deg = free(Tensor.rad2deg)
reciprocal = free(Tensor.reciprocal)
rsqrt = free(Tensor.rsqrt)
sigmoid = free(Tensor.sigmoid)
sin = free(Tensor.sin)
sinh = free(Tensor.sinh)
sqrt = free(Tensor.sqrt)
tan = free(Tensor.tan)
tanh = free(Tensor.tanh)
hypot = free(Tensor.hypot)
logaddexp2 = free(Tensor.logaddexp2)
logit = free(Tensor.logit)
sinc = free(Tensor.sinc)

# Other names
arcsin = asin
arccos = acos
arctan = atan
arctan2 = atan2
arcsinh = asinh
arccosh = acosh
arctanh = atanh


def xlogy(input: T | Number, other: T | Number) -> T:
    """``input * log(other)``; either may be a number, one must be a tensor. See ``Tensor.xlogy``."""
    for x in (input, other):
        if isinstance(x, TensorBase):
            return x._apply("xlogy", input, other)  # type: ignore[no-any-return]
    raise ArgumentTypeError(f"xlogy() needs a Tensor, got {type(input).__name__} and {type(other).__name__}")


def float_power(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """``pow`` in float64 or complex128; either may be a number, one must be a tensor. See ``Tensor.float_power``."""
    if isinstance(input, Tensor):
        return input.float_power(exponent)
    if not isinstance(exponent, Tensor):
        raise ArgumentTypeError(f"float_power() needs a Tensor, got {type(input).__name__} and {type(exponent).__name__}")
    wide = complex128 if isinstance(input, complex) or exponent.dtype.is_complex else float64
    return exponent.to(wide).__rpow__(input)
