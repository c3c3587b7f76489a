"""Rules of the scattering family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from telegrad.contract import dtypes
from telegrad.contract.errors import DTypeError, IndexBoundsError, ShapeError, UnsupportedDTypeError
from telegrad.contract.index_rules import scatter
from telegrad.contract.ops import Outcome, Spec
from telegrad.contract.shapes import dimension

Inputs = Sequence[Any]
Parameters = Mapping[str, Any]

REDUCTIONS: Final = ("sum", "prod", "mean", "amax", "amin")
"""The ways in which entries that meet at one place are made one."""


def put(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``put``."""
    x, index, source = inputs
    if index.dtype is not dtypes.int64:
        raise DTypeError(f"put_(): Expected a long tensor for index, but got {index.dtype.name}")
    if x.dtype is not source.dtype:
        raise DTypeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {x.dtype.name} and source.dtype = "
            f"{source.dtype.name}"
        )
    if index.size != source.size:
        raise IndexBoundsError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.size}, index.numel() = {index.size}"
        )
    if index.size and not x.size:
        raise IndexBoundsError("put_(): Tried to put elements into an empty tensor")
    return Outcome((x,), x.size + 4 * index.size)


def _reducible(name: str, x: Spec, reduce: str) -> None:
    if reduce in ("amax", "amin") and x.dtype.is_complex:
        raise UnsupportedDTypeError(f'"{name}_{reduce}" not implemented for {x.dtype.name}: complex numbers have no order')
    if reduce == "mean" and x.dtype is dtypes.bool_:
        raise UnsupportedDTypeError(f'"{name}_mean" not implemented for bool; convert the tensor first, with .to(...)')


def scatter_reduce(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``scatter_reduce``."""
    if p["reduce"] not in REDUCTIONS:
        raise ShapeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {p['reduce'][:40]}")
    outcome = scatter(inputs, p)
    _reducible("scatter_gather_tensor_cpu_reduce", inputs[0], p["reduce"])
    return Outcome(outcome.outputs, 4 * outcome.flops, None, 16 * inputs[1].size)


def index_reduce(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``index_reduce``."""
    x, index, source = inputs
    if p["reduce"] not in REDUCTIONS[1:]:
        raise ShapeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {p['reduce'][:40]}; index_add() sums"
        )
    dim, count = dimension(p["dim"], len(x.shape)), math.prod(index.shape)
    if len(index.shape) > 1:
        raise IndexBoundsError(f"index_reduce_(): Index is supposed to be a vector, but got dim: {len(index.shape)}")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(f"index_reduce_(): Expected dtype int32/int64 for index but got: {index.dtype.name}")
    if x.dtype is not source.dtype:
        raise DTypeError(f"index_reduce_(): self ({x.dtype.name}) and source ({source.dtype.name}) must have the same scalar type")
    if source.shape[dim : dim + 1] != (count,) and source.shape:
        raise ShapeError(
            f"index_reduce_(): Number of indices ({count}) should be equal to source.size(dim): ({source.shape[dim : dim + 1]}), "
            f"for dim: {dim}"
        )
    if (*source.shape[:dim], *source.shape[dim + 1 :]) != (*x.shape[:dim], *x.shape[dim + 1 :]) or len(source.shape) != len(
        x.shape
    ):
        raise ShapeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(x.shape)} source.shape = {list(source.shape)}"
        )
    _reducible("index_reduce", x, p["reduce"])
    return Outcome((x,), x.size + 8 * source.size, None, 16 * source.size)
