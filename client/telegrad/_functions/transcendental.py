"""Roots, exponentials, trigonometry and their relatives as free functions."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor.tensor import Tensor

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
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "nan_to_num",
    "rad2deg",
    "reciprocal",
    "rsqrt",
    "sigmoid",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
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

# Other names
arcsin = asin
arccos = acos
arctan = atan
arctan2 = atan2
arcsinh = asinh
arccosh = acosh
arctanh = atanh
