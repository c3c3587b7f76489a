"""Free functions of the counting family."""

from __future__ import annotations

from telegrad.contract.functions.free import free, takes_input
from telegrad.contract.functions.out import SAME, takes_out
from telegrad.contract.tensor.counting import bucketize as _bucketize
from telegrad.contract.tensor.counting import histogramdd
from telegrad.contract.tensor.counting import isin as _isin
from telegrad.contract.tensor.counting import searchsorted as _searchsorted
from telegrad.contract.tensor.numpy_names import with_numpy_names
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "bincount",
    "bucketize",
    "histc",
    "histogram",
    "histogramdd",
    "isin",
    "msort",
    "searchsorted",
    "unique",
    "unique_consecutive",
]

searchsorted = takes_out(SAME)(_searchsorted)
isin = takes_out(SAME)(takes_input(with_numpy_names(_isin), "element"))
bucketize = takes_out(SAME)(_bucketize)
bincount = free(Tensor.bincount)
histc = free(Tensor.histc, out=SAME)
histogram = free(Tensor.histogram, out=SAME)
msort = free(Tensor.msort, out=SAME)
unique = free(Tensor.unique)
unique_consecutive = free(Tensor.unique_consecutive)
