"""Roots, exponentials, trigonometry and their relatives as free functions."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

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

acos = free(TensorOps.acos)
acosh = free(TensorOps.acosh)
asin = free(TensorOps.asin)
asinh = free(TensorOps.asinh)
atan = free(TensorOps.atan)
atan2 = free(TensorOps.atan2)
atanh = free(TensorOps.atanh)
cos = free(TensorOps.cos)
cosh = free(TensorOps.cosh)
deg2rad = free(TensorOps.deg2rad)
erf = free(TensorOps.erf)
erfc = free(TensorOps.erfc)
exp = free(TensorOps.exp)
exp2 = free(TensorOps.exp2)
expm1 = free(TensorOps.expm1)
log = free(TensorOps.log)
log10 = free(TensorOps.log10)
log1p = free(TensorOps.log1p)
log2 = free(TensorOps.log2)
logaddexp = free(TensorOps.logaddexp)
nan_to_num = free(TensorOps.nan_to_num)
rad2deg = free(TensorOps.rad2deg)
reciprocal = free(TensorOps.reciprocal)
rsqrt = free(TensorOps.rsqrt)
sigmoid = free(TensorOps.sigmoid)
sin = free(TensorOps.sin)
sinh = free(TensorOps.sinh)
sqrt = free(TensorOps.sqrt)
tan = free(TensorOps.tan)
tanh = free(TensorOps.tanh)

# Other names
arcsin = asin
arccos = acos
arctan = atan
arctan2 = atan2
arcsinh = asinh
arccosh = acosh
arctanh = atanh
