"""Free functions of the index family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
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
    "repeat_interleave",
    "scatter",
    "scatter_add",
    "sort",
    "take",
    "take_along_dim",
    "topk",
]

argsort = free(Tensor.argsort)
argwhere = free(Tensor.argwhere)
gather = free(Tensor.gather)
index_add = free(Tensor.index_add)
index_copy = free(Tensor.index_copy)
index_fill = free(Tensor.index_fill)
index_put = free(Tensor.index_put)
index_select = free(Tensor.index_select)
masked_fill = free(Tensor.masked_fill)
masked_scatter = free(Tensor.masked_scatter)
masked_select = free(Tensor.masked_select)
nonzero = free(Tensor.nonzero)
repeat_interleave = free(Tensor.repeat_interleave)
scatter = free(Tensor.scatter)
scatter_add = free(Tensor.scatter_add)
sort = free(Tensor.sort)
take = free(Tensor.take)
take_along_dim = free(Tensor.take_along_dim)
topk = free(Tensor.topk)
