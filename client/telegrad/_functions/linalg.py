"""Free functions of the linalg family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.linalg import einsum, tensordot
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

addmm = free(Tensor.addmm)
addmv = free(Tensor.addmv)
baddbmm = free(Tensor.baddbmm)
bmm = free(Tensor.bmm)
dot = free(Tensor.dot)
ger = free(Tensor.ger)
inner = free(Tensor.inner)
matmul = free(Tensor.matmul)
mm = free(Tensor.mm)
mv = free(Tensor.mv)
outer = free(Tensor.outer)
trace = free(Tensor.trace)
