"""Roots, exponentials, trigonometry and their relatives as free functions."""

from __future__ import annotations

from typing import TypeVar

from telegrad.contract.dtypes import Number, complex128, float64
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, SAME, takes_out
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

acos = free(Tensor.acos, out=CASTS)
acosh = free(Tensor.acosh, out=CASTS)
asin = free(Tensor.asin, out=CASTS)
asinh = free(Tensor.asinh, out=CASTS)
atan = free(Tensor.atan, out=CASTS)
atan2 = free(Tensor.atan2, out=CASTS)
atanh = free(Tensor.atanh, out=CASTS)
cos = free(Tensor.cos, out=CASTS)
cosh = free(Tensor.cosh, out=CASTS)
deg2rad = free(Tensor.deg2rad, out=CASTS)
erf = free(Tensor.erf, out=CASTS)
erfc = free(Tensor.erfc, out=CASTS)
exp = free(Tensor.exp, out=CASTS)
exp2 = free(Tensor.exp2, out=CASTS)
expm1 = free(Tensor.expm1, out=CASTS)
log = free(Tensor.log, out=CASTS)
log10 = free(Tensor.log10, out=CASTS)
log1p = free(Tensor.log1p, out=CASTS)
log2 = free(Tensor.log2, out=CASTS)
logaddexp = free(Tensor.logaddexp, out=CASTS)
nan_to_num = free(Tensor.nan_to_num, out=SAME)
rad2deg = free(Tensor.rad2deg, out=CASTS)
reciprocal = free(Tensor.reciprocal, out=CASTS)
rsqrt = free(Tensor.rsqrt, out=CASTS)
sigmoid = free(Tensor.sigmoid, out=CASTS)
sin = free(Tensor.sin, out=CASTS)
sinh = free(Tensor.sinh, out=CASTS)
sqrt = free(Tensor.sqrt, out=CASTS)
tan = free(Tensor.tan, out=CASTS)
tanh = free(Tensor.tanh, out=CASTS)
hypot = free(Tensor.hypot, out=CASTS)
logaddexp2 = free(Tensor.logaddexp2, out=CASTS)
logit = free(Tensor.logit, out=CASTS)
sinc = free(Tensor.sinc, out=CASTS)

# Other names
arcsin = asin
arccos = acos
arctan = atan
arctan2 = atan2
arcsinh = asinh
arccosh = acosh
arctanh = atanh


@takes_out(CASTS)
def xlogy(input: T | Number, other: T | Number) -> T:
    """``input * log(other)``; either may be a number, one must be a tensor. See ``Tensor.xlogy``."""
    for x in (input, other):
        if isinstance(x, TensorBase):
            return x._apply("xlogy", input, other)  # type: ignore[no-any-return]
    raise ArgumentTypeError(f"xlogy() needs a Tensor, got {type(input).__name__} and {type(other).__name__}")


@takes_out(SAME)
def float_power(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """``pow`` in float64 or complex128; either may be a number, one must be a tensor. See ``Tensor.float_power``."""
    if isinstance(input, Tensor):
        return input.float_power(exponent)
    if not isinstance(exponent, Tensor):
        raise ArgumentTypeError(f"float_power() needs a Tensor, got {type(input).__name__} and {type(exponent).__name__}")
    wide = complex128 if isinstance(input, complex) or exponent.dtype.is_complex else float64
    return exponent.to(wide).__rpow__(input)
