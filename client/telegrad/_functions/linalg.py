"""Free functions of the linalg family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.tensor.linalg import einsum
from telegrad.contract.tensor.linalg import tensordot as _tensordot
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "addmm",
    "addmv",
    "baddbmm",
    "bmm",
    "dot",
    "einsum",
    "ger",
    "inner",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
]

tensordot = takes_out(SAME)(_tensordot)
addmm = free(Tensor.addmm, out=SAME)
addmv = free(Tensor.addmv, out=SAME)
baddbmm = free(Tensor.baddbmm, out=SAME)
bmm = free(Tensor.bmm, out=SAME)
dot = free(Tensor.dot, out=SAME)
ger = free(Tensor.ger, out=CASTS)
inner = free(Tensor.inner, out=CASTS)
matmul = free(Tensor.matmul, out=SAME)
mm = free(Tensor.mm, out=SAME)
mv = free(Tensor.mv, out=SAME)
outer = free(Tensor.outer, out=CASTS)
trace = free(Tensor.trace)
