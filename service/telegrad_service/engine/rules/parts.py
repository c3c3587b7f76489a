"""Kernels and derivatives of windows, complex parts as reals, copies with a part replaced, and choices."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ShapeError
from telegrad.contract.shape_parts_rules import block_shape, sliced, unfolded
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.conversion import fits
from telegrad_service.engine.table import ENTRIES, Array, derivative, joint_derivative, kernel

Ints = tuple[int, ...]

# Windows ---------------------------------------------------------------------------------------------------------------------


@kernel("unfold")
def _unfold(self: Array, dimension: int, size: int, step: int) -> Any:
    shape = unfolded(self.shape, dimension, size, step)
    x = self if self.ndim else self.reshape(1)
    at = dimension % x.ndim
    along = x.strides[at]
    if not self.ndim:
        return x[:size]
    strides = (*x.strides[:at], along * step, *x.strides[at + 1 :], along)
    # What a write to windows that overlap should do is not defined: it is refused as one to expanded memory is.
    return as_strided(x, shape, strides, writeable=x.flags.writeable and (step >= size or shape[at] <= 1))


@kernel("_unfold_gradient")
def _unfold_gradient(self: Array, shape: Ints, dimension: int, step: int) -> Any:
    made = np.zeros(shape, self.dtype)
    if not shape:
        return made + self.sum(dtype=self.dtype)
    at = dimension % len(shape)
    windows, size = self.shape[at], self.shape[-1]
    if not self.size:
        return made
    head: tuple[Any, ...] = (slice(None),) * at
    if windows < size:  # add whole windows, or one place of all windows at a time: whichever is fewer steps
        last = np.moveaxis(self, -1, at + 1)
        for i in range(windows):
            made[(*head, slice(i * step, i * step + size))] += last[(*head, i)]
    else:
        for i in range(size):
            made[(*head, slice(i, i + (windows - 1) * step + 1, step))] += self[..., i]
    return made


derivative(
    "unfold",
    self=lambda g, self_shape, dimension, step: F._unfold_gradient(g, shape=self_shape, dimension=dimension, step=step),
)
derivative(
    "_unfold_gradient",
    self=lambda g, self_shape, dimension, step: F.unfold(g, dimension=dimension, size=self_shape[-1], step=step),
)

# The same memory in another type ---------------------------------------------------------------------------------------------


def _seen_as(x: Array, dtype: np.dtype[Any]) -> Array:
    """The last dimension's bytes as elements of another type; numpy minds the strides even where there are no elements."""
    if x.size:
        return x.view(dtype)
    return np.empty((*x.shape[:-1], x.shape[-1] * x.itemsize // dtype.itemsize), dtype)


@kernel("view_as_complex")
def _view_as_complex(self: Array) -> Any:
    if self.size and self.strides[-1] != self.itemsize:
        raise ShapeError("Tensor must have a last dimension with stride 1; clone it into row-major memory with .contiguous()")
    if self.size and any(s % (2 * self.itemsize) for s in self.strides[:-1]):
        raise ShapeError("Tensor must have a stride divisible by 2 for all but last dimension; see .contiguous()")
    return _seen_as(self, np.result_type(self.dtype, np.complex64))[..., 0]


kernel("_as_complex", lambda self: _view_as_complex(np.ascontiguousarray(self)))
kernel("view_as_real", lambda self: _seen_as(self[..., None], self.real.dtype))

derivative("view_as_complex", self=lambda g: F.view_as_real(g))
derivative("_as_complex", self=lambda g: F.view_as_real(g))
derivative("view_as_real", self=lambda g: F._as_complex(g))


@kernel("view.dtype")
def _view_dtype(self: Array, dtype: DType) -> Any:
    if dtype.itemsize == self.itemsize:
        return self.view(dtype.numpy)
    if self.size and self.strides[-1] != self.itemsize and self.shape[-1] != 1:
        raise ShapeError(
            f"self.stride(-1) must be 1 to view {self.dtype.name} as {dtype.name} (different element sizes); see .contiguous()"
        )
    return _seen_as(self, dtype.numpy)


# Copies with a part replaced -------------------------------------------------------------------------------------------------


def _write(part: Array, src: Array) -> None:
    np.copyto(part, fits(src, part.dtype), casting="unsafe")


@kernel("select_scatter")
def _select_scatter(self: Array, src: Array, dim: int, index: int) -> Any:
    made = self.copy()
    _write(ENTRIES["select"].kernel(made, dim, index), src)
    return made


derivative(
    "select_scatter",
    self=lambda g, src_shape, dim, index: F.select_scatter(g, F.zeros(g, src_shape), dim=dim, index=index),
    src=lambda g, dim, index: F.select(g, dim=dim, index=index),
)


def _place(shape: Ints, dim: int, start: int | None, end: int | None, step: int) -> tuple[Any, ...]:
    """The index of the part that ``slice_scatter`` replaces."""
    at, part = sliced(tuple(shape), {"dim": dim, "start": start, "end": end, "step": step})
    return (*(slice(None),) * at, part)


@kernel("slice_scatter")
def _slice_scatter(self: Array, src: Array, dim: int, start: int | None, end: int | None, step: int) -> Any:
    made = self.copy()
    _write(made[_place(self.shape, dim, start, end, step)], src)
    return made


derivative(
    "slice_scatter",
    self=lambda g, src_shape, dim, start, end, step: F.slice_scatter(
        g, F.zeros(g, src_shape), dim=dim, start=start, end=end, step=step
    ),
    src=lambda g, self_shape, dim, start, end, step: F.getitem(g, index=_place(self_shape, dim, start, end, step)),
)


@kernel("diagonal_scatter")
def _diagonal_scatter(self: Array, src: Array, offset: int, dim1: int, dim2: int) -> Any:
    made = self.copy()
    _write(ENTRIES["diagonal"].kernel(made, offset, dim1, dim2), src)
    return made


derivative(
    "diagonal_scatter",
    self=lambda g, src_shape, offset, dim1, dim2: F.diagonal_scatter(g, F.zeros(g, src_shape), offset=offset, dim1=dim1, dim2=dim2),
    src=lambda g, offset, dim1, dim2: F.diagonal(g, offset=offset, dim1=dim1, dim2=dim2),
)

# Blocks ----------------------------------------------------------------------------------------------------------------------


def _blocks(shapes: tuple[Ints, ...]) -> list[tuple[int, int, int, int]]:
    """First row, first column, rows and columns of each block."""
    found: list[tuple[int, int, int, int]] = []
    row = column = 0
    for rows, columns in map(block_shape, shapes):
        found.append((row, column, rows, columns))
        row, column = row + rows, column + columns
    return found


@kernel("block_diag")
def _block_diag(*tensors: Array) -> Any:
    blocks = _blocks(tuple([np.shape(t) for t in tensors]))
    row, column, rows, columns = blocks[-1]
    made = np.zeros((row + rows, column + columns), np.result_type(*tensors))
    for tensor, (top, left, height, width) in zip(tensors, blocks, strict=True):
        made[top : top + height, left : left + width] = tensor
    return made


@joint_derivative("block_diag", "tensors")
def _block_diag_backward(g: Any, tensors_shapes: tuple[Ints, ...], needs: tuple[bool, ...]) -> tuple[Any, ...]:
    found: list[Any] = []
    for shape, (top, left, height, width), need in zip(tensors_shapes, _blocks(tensors_shapes), needs, strict=True):
        part = F.narrow(F.narrow(g, dim=0, start=top, length=height), dim=1, start=left, length=width) if need else None
        found.append(part if part is None else F.reshape(part, shape=shape))
    return tuple(found)


# Choices, positions ----------------------------------------------------------------------------------------------------------


def _choices(n: int, r: int, with_replacement: bool) -> Array:
    """The elements' numbers, a row a choice."""
    if not n or (r > n and not with_replacement):
        return np.empty((0, r), np.int64)  # without asking itertools, which makes room for a choice first
    ways = (itertools.combinations_with_replacement if with_replacement else itertools.combinations)(range(n), r)
    return np.fromiter(itertools.chain.from_iterable(ways), np.int64).reshape(-1, r)


@kernel("combinations")
def _combinations(self: Array, r: int, with_replacement: bool) -> Any:
    return self[_choices(self.size, r, with_replacement)] if r else np.zeros(0, self.dtype)


@kernel("_combinations_gradient")
def _combinations_gradient(self: Array, n: int, r: int, with_replacement: bool) -> Any:
    made = np.zeros(n, self.dtype)
    if r:
        np.add.at(made, _choices(n, r, with_replacement), self)
    return made


derivative(
    "combinations",
    self=lambda g, self_shape, r, with_replacement: F._combinations_gradient(
        g, n=math.prod(self_shape), r=r, with_replacement=with_replacement
    ),
)
derivative(
    "_combinations_gradient",
    self=lambda g, r, with_replacement: F.combinations(g, r=r, with_replacement=with_replacement),
)


@kernel("unravel_index")
def _unravel_index(self: Array, shape: Ints) -> tuple[Array, ...]:
    rest = np.asarray(self, np.int64)
    found: list[Array] = []
    for n in reversed(shape):
        rest, at = np.divmod(rest, n)
        found.append(np.asarray(at))
    return tuple(reversed(found))
