"""Free functions of the index family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import SAME
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "argsort",
    "argwhere",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "nonzero_static",
    "repeat_interleave",
    "scatter",
    "scatter_add",
    "sort",
    "take",
    "take_along_dim",
    "topk",
]

argsort = free(Tensor.argsort, out=SAME)
argwhere = free(Tensor.argwhere)
gather = free(Tensor.gather, out=SAME)
index_add = free(Tensor.index_add, out=SAME)
index_copy = free(Tensor.index_copy, out=SAME)
index_fill = free(Tensor.index_fill)
index_put = free(Tensor.index_put)
index_select = free(Tensor.index_select, out=SAME)
masked_fill = free(Tensor.masked_fill)
masked_scatter = free(Tensor.masked_scatter)
masked_select = free(Tensor.masked_select, out=SAME)
nonzero = free(Tensor.nonzero, out=SAME)
nonzero_static = free(Tensor.nonzero_static, out=SAME)
repeat_interleave = free(Tensor.repeat_interleave, "repeats")  # which may stand alone, and is then the tensor
scatter = free(Tensor.scatter, out=SAME)
scatter_add = free(Tensor.scatter_add, out=SAME)
sort = free(Tensor.sort, out=SAME)
take = free(Tensor.take, out=SAME)
take_along_dim = free(Tensor.take_along_dim, out=SAME)
topk = free(Tensor.topk, out=SAME)
