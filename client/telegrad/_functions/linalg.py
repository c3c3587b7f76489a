"""Free functions of the linalg family."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

__all__ = ["addmm", "addmv", "baddbmm", "bmm", "dot", "ger", "inner", "matmul", "mm", "mv", "outer"]

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
