"""Rules of the counting family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, DimensionError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Spec, UnknownShape, check_bytes
from telegrad.contract.shapes import dimension, number_type

Inputs = Sequence[Any]
Parameters = Mapping[str, Any]

_WIDE_UNSIGNED = (dtypes.uint16, dtypes.uint32, dtypes.uint64)


def _not_implemented(name: str, dtype: DType) -> UnsupportedDTypeError:
    return UnsupportedDTypeError(f'"{name}" not implemented for {dtype.name}; convert the tensor first, for example with .to(...)')


def bincount(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``bincount``: as long as the largest value, which only the values tell."""
    x, weights = inputs
    if x.dtype.category != 1 or x.dtype in _WIDE_UNSIGNED:
        raise _not_implemented("bincount_cpu", x.dtype)
    if p["minlength"] < 0:
        raise ShapeError("minlength should be >= 0")
    if len(x.shape) != 1:
        raise ShapeError(f"bincount only supports 1-d non-negative integral inputs; got shape {list(x.shape)}")
    if weights is not None and x.size and weights.shape != x.shape:
        raise ShapeError(f"weights should be 1-d and have the same length as input; got shape {list(weights.shape)}")
    check_bytes((p["minlength"],), dtypes.int64)
    result = dtypes.int64
    if weights is not None and x.size:
        result = dtypes.float32 if weights.dtype is dtypes.float32 else dtypes.float64
    if not x.size:
        return Outcome((Spec((p["minlength"],), result),), p["minlength"])
    raise UnknownShape(result)


def _searched(name: str, boundaries: Spec, values: Any) -> None:
    own = values.dtype if type(values) is Spec else number_type(values)
    for dtype in (boundaries.dtype, own):
        if dtype.is_complex or dtype in _WIDE_UNSIGNED:
            raise _not_implemented(f"{name}_out_cpu", dtype)
    if own is dtypes.bool_ and boundaries.dtype is dtypes.bool_:
        raise _not_implemented(f"{name}_out_cpu", own)


def _positions(values: Any, p: Parameters) -> Outcome:
    shape = values.shape if type(values) is Spec else ()
    return Outcome((Spec(shape, dtypes.int32 if p["out_int32"] else dtypes.int64),), 16 * math.prod(shape))


def bucketize(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``bucketize``."""
    values, boundaries = inputs
    if len(boundaries.shape) != 1:
        raise ShapeError(f"boundaries tensor must be 1 dimension, but got dim({len(boundaries.shape)})")
    _searched("searchsorted", boundaries, values)
    return _positions(values, p)


def searchsorted(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``searchsorted``."""
    boundaries, values, sorter = inputs
    if p["side"] not in (None, "left", "right"):
        raise ShapeError("torch.searchsorted(): side can only be 'left' or 'right' but got something else")
    if p["side"] == "left" and p["right"]:
        raise ShapeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True")
    value_shape = values.shape if type(values) is Spec else ()
    count = math.prod(value_shape)
    if not value_shape and len(boundaries.shape) != 1:
        raise ShapeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries "
            f"tensor dim({len(boundaries.shape)}) and input value's dim(0) numel({count})"
        )
    if not boundaries.shape:
        raise ShapeError("torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension")
    if len(boundaries.shape) != 1 and boundaries.shape[:-1] != value_shape[:-1]:
        raise ShapeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
            f"input value tensor must match, but we got boundaries tensor {list(boundaries.shape)} and input value tensor "
            f"{list(value_shape)}"
        )
    if sorter is not None:
        if sorter.shape != boundaries.shape:
            raise ShapeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(boundaries.shape)} and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype is not dtypes.int64:
            raise DTypeError(f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {sorter.dtype.name}")
    _searched("searchsorted", boundaries, values)
    return _positions(values, p)


def histc(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``histc``."""
    (x,) = inputs
    if not x.dtype.is_floating_point:
        raise _not_implemented("aminmax_cpu" if x.dtype.is_complex else "histogram_cpu", x.dtype)
    if p["bins"] <= 0:
        raise ShapeError(f"torch.histogram(): bins must be > 0, but got {p['bins']} for dimension 0")
    for name in ("min", "max"):
        if isinstance(p[name], complex):
            raise ArgumentTypeError(f"histc(): argument '{name}' must be a real number")
    if p["min"] > p["max"]:
        raise ShapeError("torch.histc: max must be larger than min")
    check_bytes((p["bins"],), x.dtype)
    return Outcome((Spec((p["bins"],), x.dtype),), 8 * x.size + p["bins"])


def _points(x: Spec) -> int:
    """The number of dimensions of the points whose coordinates ``x`` holds in its last dimension."""
    if len(x.shape) < 2:
        raise ShapeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise _not_implemented("histogramdd", x.dtype)
    return x.shape[-1]


def histogram_edges(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``histogramdd.edges``."""
    (x,) = inputs
    dims, bins, limits = _points(x), p["bins"], p["range"]
    if len(bins) != dims:
        raise ShapeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    for d, count in enumerate(bins):
        if count <= 0:
            raise ShapeError(f"torch.histogram(): bins must be > 0, but got {count} for dimension {d}")
    if limits is not None:
        if len(limits) != 2 * dims:
            raise ShapeError(
                f"torch.histogramdd: for a {dims}-dimensional histogram range should have {2 * dims} elements, but got "
                f"{len(limits)}"
            )
        for d in range(dims):
            low, high = limits[2 * d], limits[2 * d + 1]
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ShapeError(f"torch.histogramdd: dimension {d}'s range [{low}, {high}] is not finite")
            if low > high:
                raise ShapeError(f"torch.histogramdd: min should not exceed max, but got min {low} max {high} for dimension {d}")
    check_bytes((sum(bins),), x.dtype)
    return Outcome(tuple(Spec((count + 1,), x.dtype) for count in bins), 2 * x.size + sum(bins))


def histogramdd(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``histogramdd``."""
    x, weight, *edges = inputs
    dims = _points(x)
    if len(edges) != dims:
        raise ShapeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    for d, edge in enumerate(edges):
        if edge.dtype is not x.dtype:
            raise DTypeError(
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with dtype "
                f"{x.dtype.name} and bins for dimension {d} with dtype {edge.dtype.name}"
            )
        if len(edge.shape) != 1:
            raise ShapeError(
                f"torch.histogramdd: bins tensor should have one dimension, but got {len(edge.shape)} dimensions in the bins "
                f"tensor for dimension {d}"
            )
        if edge.shape[0] == 0:
            raise ShapeError(
                "torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements in the bins tensor for "
                f"dimension {d}"
            )
        if edge.shape[0] == 1:
            raise ShapeError(f"torch.histogram(): bins must be > 0, but got 0 for dimension {d}")
    if weight is not None:
        if weight.dtype is not x.dtype:
            raise DTypeError(
                "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but "
                f"got input({x.dtype.name}), and weight({weight.dtype.name})"
            )
        if weight.shape != x.shape[:-1]:
            raise ShapeError(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor excluding its "
                f"innermost dimension, but got input with shape {list(x.shape)} and weight with shape {list(weight.shape)}"
            )
    shape = tuple(edge.shape[0] - 1 for edge in edges)
    check_bytes(shape, x.dtype)
    return Outcome((Spec(shape, x.dtype),), 16 * x.size + math.prod(shape))


def isin(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``isin``."""
    for value in inputs:
        if type(value) is Spec and (value.dtype.is_complex or value.dtype is dtypes.bool_):
            raise DTypeError(f"Unsupported input type encountered for isin(): {value.dtype.name}")
        if isinstance(value, (complex, bool)):
            raise DTypeError(f"Unsupported input type encountered for isin(): {type(value).__name__}")
    shape = inputs[0].shape if type(inputs[0]) is Spec else ()
    return Outcome((Spec(shape, dtypes.bool_),), 32 * math.prod(shape))


def unique(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``unique`` and ``unique_consecutive``: how many there are only the values tell."""
    (x,) = inputs
    dim = p["dim"]
    if dim is not None:
        if not x.shape:
            raise DimensionError(f"Dimension specified as {dim} but tensor has no dimensions")
        if x.dtype.is_complex:
            raise _not_implemented("unique_dim", x.dtype)
        at = dimension(dim, len(x.shape))
        if x.shape[at] and not x.size:
            raise ShapeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    if x.dtype.is_complex:
        raise _not_implemented("unique", x.dtype)
    raise UnknownShape(x.dtype, dtypes.int64, dtypes.int64)
