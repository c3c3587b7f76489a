"""Free functions of the counting family."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.tensor.counting import bucketize, histogramdd, isin, searchsorted
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

bincount = free(Tensor.bincount)
histc = free(Tensor.histc)
histogram = free(Tensor.histogram)
msort = free(Tensor.msort)
unique = free(Tensor.unique)
unique_consecutive = free(Tensor.unique_consecutive)
