"""Free functions of the index family."""

from __future__ import annotations

from telegrad._free import free
from telegrad.contract.tensor import TensorOps

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
    "scatter",
    "scatter_add",
    "sort",
    "take",
    "take_along_dim",
    "topk",
]

argsort = free(TensorOps.argsort)
argwhere = free(TensorOps.argwhere)
gather = free(TensorOps.gather)
index_add = free(TensorOps.index_add)
index_copy = free(TensorOps.index_copy)
index_fill = free(TensorOps.index_fill)
index_put = free(TensorOps.index_put)
index_select = free(TensorOps.index_select)
masked_fill = free(TensorOps.masked_fill)
masked_scatter = free(TensorOps.masked_scatter)
masked_select = free(TensorOps.masked_select)
nonzero = free(TensorOps.nonzero)
scatter = free(TensorOps.scatter)
scatter_add = free(TensorOps.scatter_add)
sort = free(TensorOps.sort)
take = free(TensorOps.take)
take_along_dim = free(TensorOps.take_along_dim)
topk = free(TensorOps.topk)
