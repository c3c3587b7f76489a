"""Rules of windows, of complex tensors seen as real ones, and of copies with a part replaced."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from telegrad.contract import dtypes
from telegrad.contract.dtypes import as_dtype
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DimensionError,
    DTypeError,
    ShapeError,
    UnsupportedDTypeError,
)
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, check_bytes
from telegrad.contract.shape_rules import diagonal, select
from telegrad.contract.shapes import dimension, result_type

Parameters = Mapping[str, Any]


def unfolded(shape: Shape, dim: int, size: int, step: int) -> Shape:
    """The shape of all windows of ``size`` elements, ``step`` apart, along ``dim``: as a last dimension."""
    at = dimension(dim, len(shape))
    length = shape[at] if shape else 1
    if size < 0:
        raise ShapeError(f"size is {size} but must be >= 0")
    if size > length:
        raise ShapeError(f"maximum size for tensor at dimension {at} is {length} but size is {size}")
    if step <= 0:
        raise ShapeError(f"step is {step} but must be > 0")
    if not shape:
        return (size,)
    return (*shape[:at], (length - size) // step + 1, *shape[at + 1 :], size)


def unfold(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``unfold``."""
    x = inputs[0]
    shape = unfolded(x.shape, p["dimension"], p["size"], p["step"])
    check_bytes(shape, x.dtype)
    return Outcome((Spec(shape, x.dtype),), 0)


def folded(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``_unfold_gradient``."""
    x = inputs[0]
    return Outcome((Spec(tuple(p["shape"]), x.dtype),), x.size)


def view_as_complex(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``view_as_complex``. Whether the memory allows it, the kernel sees."""
    x = inputs[0]
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(f"view_as_complex is only supported for float32 and float64 tensors, but got a tensor of {x.dtype.name}")
    if not x.shape:
        raise ShapeError("Input tensor must have one or more dimensions")
    if x.shape[-1] != 2:
        raise ShapeError(f"Tensor must have a last dimension of size 2, its shape is {list(x.shape)}")
    return Outcome((Spec(x.shape[:-1], dtypes.to_complex(x.dtype)),), 0)


def view_as_real(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``view_as_real``."""
    x = inputs[0]
    if not x.dtype.is_complex:
        raise DTypeError(f"view_as_real is only supported for complex tensors, got {x.dtype.name}")
    return Outcome((Spec((*x.shape, 2), dtypes.to_real(x.dtype)),), 0)


def view_dtype(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``view`` with an element type: the last dimension grows or shrinks with the size of an element."""
    x, dtype = inputs[0], as_dtype(p["dtype"])
    old, new = x.dtype.itemsize, dtype.itemsize
    if old == new:
        return Outcome((Spec(x.shape, dtype),), 0)
    pair = f"to view {x.dtype.name} as {dtype.name} (different element sizes)"
    if not x.shape:
        raise ShapeError(f"self.dim() cannot be 0 {pair}")
    if new > old and x.shape[-1] % (new // old):
        raise ShapeError(f"self.size(-1) must be divisible by {new // old} {pair}, but got {x.shape[-1]}")
    return Outcome((Spec((*x.shape[:-1], x.shape[-1] * old // new), dtype),), 0)


def _replaced(x: Spec, src: Spec, part: Shape) -> Outcome:
    if src.shape != part:
        raise ShapeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(part)}"
        )
    return Outcome((x,), x.size)


def select_scatter(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``select_scatter``."""
    x, src = inputs
    return _replaced(x, src, select((x,), p).outputs[0].shape)


def diagonal_scatter(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``diagonal_scatter``."""
    x, src = inputs
    return _replaced(x, src, diagonal((x,), p).outputs[0].shape)


def sliced(shape: Shape, p: Parameters) -> tuple[int, slice]:
    """The dimension, and the slice of it, that ``dim``, ``start``, ``end`` and ``step`` name."""
    if not shape:
        raise DimensionError("slice() cannot be applied to a 0-dim tensor.")
    at = dimension(p["dim"], len(shape))
    if p["step"] <= 0:
        raise ShapeError("slice step must be positive")
    start, end, step = slice(p["start"], p["end"], p["step"]).indices(shape[at])
    return at, slice(start, max(start, end), step)


def slice_scatter(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``slice_scatter``."""
    x, src = inputs
    at, part = sliced(x.shape, p)
    length = len(range(part.start, part.stop, part.step))
    return _replaced(x, src, (*x.shape[:at], length, *x.shape[at + 1 :]))


def block_diag(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``block_diag``."""
    if not inputs:
        raise ShapeError("block_diag(): expected at least one tensor")
    for i, x in enumerate(inputs):
        if len(x.shape) > 2:
            raise ShapeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {len(x.shape)} dimensions"
            )
    dtype = result_type(inputs)
    blocks = [block_shape(x.shape) for x in inputs]
    shape = (sum(rows for rows, _ in blocks), sum(columns for _, columns in blocks))
    check_bytes(shape, dtype)
    return Outcome((Spec(shape, dtype),), math.prod(shape), dtype)


def block_shape(shape: Shape) -> tuple[int, int]:
    """Rows and columns of a block: a vector is a row, a number one element."""
    rows, columns = (1,) * (2 - len(shape)) + shape
    return rows, columns


def choices(n: int, r: int) -> int:
    """In how many ways ``r`` of ``n`` can be chosen. Raises ShapeError where that is beyond memory, without counting."""
    if min(r, n - r) >= 64:  # at least 128 over 64, that is 2e37
        raise ShapeError(f"there are more ways to choose {r} of {n} than memory can address")
    return math.comb(n, r)


def combinations(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``combinations``."""
    x, r = inputs[0], p["r"]
    if len(x.shape) != 1:
        raise ShapeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if r < 0:
        raise ShapeError(f"Expect a non-negative number, but got {r}")
    (n,) = x.shape
    if r == 0:
        return Outcome((Spec((0,), x.dtype),), 0)
    shape = (choices(n + r - 1 if p["with_replacement"] and n else n, r), r)
    check_bytes(shape, dtypes.int64)
    spec = Spec(shape, x.dtype)
    return Outcome((spec,), spec.size, None, 8 * spec.size)


def uncombined(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``_combinations_gradient``."""
    x = inputs[0]
    return Outcome((Spec((p["n"],), x.dtype),), x.size, None, 8 * x.size)


def unravel_index(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``unravel_index``."""
    x = inputs[0]
    if x.dtype.category != 1:
        raise ArgumentTypeError(f"expected 'indices' to be integer dtype, but got {x.dtype.name}")
    if any(n < 0 for n in p["shape"]):
        raise ArgumentValueError(f"'shape' cannot have negative values, but got {tuple(p['shape'])}")
    if 0 in p["shape"]:
        raise ShapeError(f"unravel_index(): no index fits a shape without elements, got {tuple(p['shape'])}")
    spec = Spec(x.shape, dtypes.int64)
    return Outcome((spec,) * len(p["shape"]), len(p["shape"]) * x.size)


def triangle_size(row: int, col: int, offset: int, *, lower: bool) -> int:
    """How many elements of a matrix lie on or below the diagonal number ``offset``; or on or above it."""

    def staircase(first: int) -> int:
        """The sum of first, first + 1, ... over the rows, what is negative left out."""
        if first >= 0:
            return row * first + row * (row - 1) // 2
        steps = max(row + first, 0)
        return steps * (steps - 1) // 2

    def below(diagonal: int) -> int:
        return staircase(diagonal + 1) - staircase(diagonal + 1 - col)

    return below(offset) if lower else row * col - below(offset - 1)


def triangle_indices(name: str) -> Rule:
    """Rule of ``tril_indices`` and ``triu_indices``."""

    def rule(_inputs: Sequence[Any], p: Parameters) -> Outcome:
        dtype = dtypes.int64 if p["dtype"] is None else as_dtype(p["dtype"])
        row, col = p["row"], p["col"]
        for side, size in (("row", row), ("col", col)):
            if size < 0:
                raise ShapeError(f"{side} must be non-negative, got {size}")
        if dtype not in (dtypes.int32, dtypes.int64):
            raise UnsupportedDTypeError(f'"{name}" not implemented for {dtype.name}; use int32 or int64')
        spec = Spec((2, triangle_size(row, col, p["offset"], lower=name == "tril_indices")), dtype)
        check_bytes(spec.shape, dtype)
        check_bytes((row, col), dtype)
        return Outcome((spec,), row * col, None, row * col)

    return rule
