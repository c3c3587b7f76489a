"""Free functions of the scattering family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import SAME
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["index_reduce", "put", "scatter_reduce"]

index_reduce = free(Tensor.index_reduce, out=SAME)
put = free(Tensor.put)
scatter_reduce = free(Tensor.scatter_reduce, out=SAME)
