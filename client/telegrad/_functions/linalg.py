"""Free functions of the linalg family."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.linalg import einsum, tensordot

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

addmm = free(TensorOps.addmm)
addmv = free(TensorOps.addmv)
baddbmm = free(TensorOps.baddbmm)
bmm = free(TensorOps.bmm)
dot = free(TensorOps.dot)
ger = free(TensorOps.ger)
inner = free(TensorOps.inner)
matmul = free(TensorOps.matmul)
mm = free(TensorOps.mm)
mv = free(TensorOps.mv)
outer = free(TensorOps.outer)
trace = free(TensorOps.trace)
