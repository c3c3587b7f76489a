"""Kernels and derivatives of reductions; those of running ops and products: ``running``.

`dim` arrives as a tuple of ints, an int, or None or () for all dimensions.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# Formulas take what the table saves for them; a lambda's arguments cannot be annotated.

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from telegrad.contract.dtypes import DType
from telegrad_service.engine import sums
from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel

Dims = int | tuple[int, ...] | None
Ints = tuple[int, ...]


def _axis(dim: Dims, ndim: int) -> Any:
    """The axis for numpy: None for all dimensions; a 0-d array has no axis to name."""
    return None if dim is None or dim == () or not ndim else dim


def converted(x: Array, dtype: npt.DTypeLike) -> Array:
    """``x`` in ``dtype`` before anything is summed, as in PyTorch; the imaginary part goes silently, as there."""
    target = np.dtype(dtype)
    if x.dtype == target:
        return x
    return (np.real(x) if x.dtype.kind == "c" and target.kind != "c" else x).astype(target)


def reduced(ufunc: Any, x: Array, dim: Dims, keepdim: bool, dtype: Any = None) -> Any:
    """``x`` reduced by ``ufunc`` (add, maximum, ...) over ``dim``, in ``dtype`` or its own type."""
    return ufunc.reduce(x, axis=_axis(dim, x.ndim), keepdims=keepdim, dtype=dtype)


def _count(shape: Ints, dim: Dims) -> int:
    """How many elements are reduced to one."""
    axis = _axis(dim, len(shape))
    return math.prod(shape) if axis is None else math.prod([shape[d] for d in ((axis,) if isinstance(axis, int) else axis)])


def expand_reduced(g: Any, shape: Ints, dim: Dims, keepdim: bool) -> Any:
    """A reduced gradient (or result), broadcast back to the input's shape."""
    return F.expand(with_reduced_dims(g, shape, dim, keepdim), size=shape)


def with_reduced_dims(x: Any, shape: Ints, dim: Dims, keepdim: bool) -> Any:
    """A reduced array with size 1 where dimensions of ``shape`` were reduced, so that it broadcasts against the input."""
    axis = _axis(dim, len(shape))
    if keepdim or axis is None:
        return x  # a 0-d result broadcasts as it is
    gone = {axis % len(shape)} if isinstance(axis, int) else {d % len(shape) for d in axis}
    return F.reshape(x, shape=tuple([1 if i in gone else n for i, n in enumerate(shape)]))


# Sums and moments --------------------------------------------------------------------------------------------------------------


_MANY: Final = 8192
"""Arrays of at least this many elements are worth a look at how they are summed."""


def _sum_array(x: Array, dim: Dims, keepdim: bool) -> Any:
    """Sum in the array's own type; half precision sums in single, as in PyTorch."""
    if x.dtype.char == "e":
        return reduced(np.add, x, dim, keepdim, np.float32).astype(x.dtype)
    return sum_wide(x, dim, keepdim)


def sum_wide(x: Array, dim: Dims, keepdim: bool) -> Any:
    """``x`` summed over ``dim``: over leading and last dimensions of large real arrays as columns and rows of matrices."""
    if x.size >= _MANY and x.dtype.char in "fd" and x.flags.c_contiguous:
        axes = _axis(dim, x.ndim)
        gone = set(range(x.ndim)) if axes is None else {axes % x.ndim} if isinstance(axes, int) else {a % x.ndim for a in axes}
        last = next((n for n in range(x.ndim) if x.ndim - 1 - n not in gone), x.ndim)
        first = next((n for n in range(x.ndim) if n not in gone), x.ndim) if last < x.ndim else 0
        if gone and first + last == len(gone):
            rows, width = math.prod(x.shape[: x.ndim - last]), math.prod(x.shape[x.ndim - last :])
            if not last or sums.has_fast_rows(rows, width):
                summed = sums.of_rows(x.reshape(rows, width)) if last else x
                if first:
                    summed = sums.of_columns(summed.reshape(math.prod(x.shape[:first]), -1))
                return summed.reshape([1 if i in gone else n for i, n in enumerate(x.shape) if keepdim or i not in gone])
    return reduced(np.add, x, dim, keepdim)


@kernel("sum")
def _sum(self: Array, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    if self.__class__ is not np.ndarray:
        self = np.asarray(self)  # a formula's number
    if dtype is not None:
        self = converted(self, dtype.numpy)
        if self.dtype.kind == "b":
            return reduced(np.logical_or, self, dim, keepdim)
    elif self.dtype.kind in "biu":
        return reduced(np.add, self, dim, keepdim, np.int64)
    return _sum_array(self, dim, keepdim)


derivative("sum", self=lambda g, self_shape, dim, keepdim: expand_reduced(g, self_shape, dim, keepdim))


@kernel("nansum")
def _nansum(self: Array, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    kept = np.where(np.isnan(self), np.zeros((), self.dtype), self) if self.dtype.kind == "f" else self
    return _sum(kept, dim, keepdim, dtype)


derivative(
    "nansum",
    self=lambda g, self, self_shape, dim, keepdim: expand_reduced(g, self_shape, dim, keepdim) * (self == self),  # noqa: PLR0124
)


@kernel("mean")
def _mean(self: Array, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    if dtype is not None:
        self = converted(self, dtype.numpy)
    return _mean_array(self, dim, keepdim)


def _mean_array(x: Array, dim: Dims, keepdim: bool) -> Any:
    n = _count(x.shape, dim)
    if x.dtype.char == "e":
        return (reduced(np.add, x, dim, keepdim, np.float32) / n).astype(x.dtype)
    return np.true_divide(sum_wide(x, dim, keepdim), n)


derivative(
    "mean",
    self=lambda g, self_shape, dim, keepdim: expand_reduced(g / max(_count(self_shape, dim), 1), self_shape, dim, keepdim),
)


def _degrees_of_freedom(shape: Ints, dim: Dims, unbiased: bool | None, correction: Any) -> Any:
    """The number of elements less the correction, never below zero."""
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    return max(_count(shape, dim) - correction, 0)


@kernel("var")
def _var(self: Array, dim: Dims, unbiased: bool | None, keepdim: bool, correction: Any) -> Any:
    half = self.dtype.char == "e"
    x = self.astype(np.float32) if half else self
    distance = x - _mean_array(x, dim, True)
    squares = distance * distance if x.dtype.kind == "f" else np.real(distance) ** 2 + np.imag(distance) ** 2
    free = _degrees_of_freedom(self.shape, dim, unbiased, correction)
    found = np.true_divide(reduced(np.add, squares, dim, keepdim), free)
    return found.astype(np.float16) if half else found


def _var_backward(g: Any, self: Any, self_shape: Ints, dim: Dims, unbiased: bool | None, keepdim: bool, correction: Any) -> Any:
    free = _degrees_of_freedom(self_shape, dim, unbiased, correction)
    distance = self - F.mean(self, dim=dim, keepdim=True)
    return with_reduced_dims(g, self_shape, dim, keepdim) * (2 / free if free else math.inf) * distance


derivative("var", self=_var_backward)


@kernel("std")
def _std(self: Array, dim: Dims, unbiased: bool | None, keepdim: bool, correction: Any) -> Any:
    if self.dtype.char == "e":
        return np.sqrt(_var(self.astype(np.float32), dim, unbiased, keepdim, correction)).astype(np.float16)
    return np.sqrt(_var(self, dim, unbiased, keepdim, correction))


def _std_backward(
    g: Any, result: Any, self: Any, self_shape: Ints, dim: Dims, unbiased: bool | None, keepdim: bool, correction: Any
) -> Any:
    g = F.where(result == 0, 0.0, g / (result * 2))
    return _var_backward(g, self, self_shape, dim, unbiased, keepdim, correction)


derivative("std", self=_std_backward)


@kernel("logsumexp")
def _logsumexp(self: Array, dim: Dims, keepdim: bool) -> Any:
    x = self if self.dtype.kind in "fc" else self.astype(np.float32)
    axis = _axis(dim, x.ndim)
    top = np.max(np.real(x), axis=axis, keepdims=True, initial=-math.inf)
    top = np.where(np.isinf(top), np.zeros((), top.dtype), top)  # inf - inf would be NaN
    found = np.log(reduced(np.add, np.exp(x - top), dim, True)) + top
    return found if keepdim else np.squeeze(found, axis) if axis is not None else found.reshape(())


def _logsumexp_backward(g: Any, self: Any, result: Any, self_shape: Ints, dim: Dims, keepdim: bool) -> Any:
    share = F.exp(self - with_reduced_dims(result, self_shape, dim, keepdim))
    return with_reduced_dims(g, self_shape, dim, keepdim) * F.conjugate(share)


derivative("logsumexp", self=_logsumexp_backward)


# Norms -------------------------------------------------------------------------------------------------------------------------


@kernel("norm")
def _norm(self: Array, p: float | str | None, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    if dtype is not None:
        self = converted(self, dtype.numpy)
    if self.dtype.char == "e":
        return _norm(self.astype(np.float32), p, dim, keepdim, None).astype(np.float16)
    if p is None or p in ("fro", 2):
        squares = self * self if self.dtype.kind == "f" else np.real(self) ** 2 + np.imag(self) ** 2
        return np.sqrt(reduced(np.add, squares, dim, keepdim))
    size = np.abs(self)
    if p == math.inf:
        return reduced(np.maximum, size, dim, keepdim)
    if p == -math.inf:
        return reduced(np.minimum, size, dim, keepdim)
    if p == 0:
        return reduced(np.add, (size != 0).astype(size.dtype), dim, keepdim)
    if p == 1:
        return reduced(np.add, size, dim, keepdim)
    power = float(p)
    return reduced(np.add, size**power, dim, keepdim) ** (1 / power)


def _norm_backward(g: Any, self: Any, result: Any, self_shape: Ints, p: float | str | None, dim: Dims, keepdim: bool) -> Any:
    """Subgradient 0 at 0, an even share for each element of largest (or smallest) magnitude; no gradient at all for p = 0."""
    order = 2.0 if p is None or isinstance(p, str) else float(p)
    if order == 0:
        return None
    g = with_reduced_dims(g, self_shape, dim, keepdim)
    result = with_reduced_dims(result, self_shape, dim, keepdim)
    if order == 1:
        return g * F.sgn(self)
    if order == 2:
        return g * F.where(result == 0, 0.0, self / result)
    if math.isinf(order):
        ties = equal_or_nan(F.abs(self), result)
        return g * F.sgn(self) * ties / F.sum(ties, dim=_all_or(dim), keepdim=_axis(dim, len(self_shape)) is not None)
    if order < 1:
        own = F.sgn(self) * F.where(self == 0, 0.0, F.pow(F.abs(self), order - 1))
        return own * (g * F.pow(result, 1 - order))
    own = F.sgn(self) * F.pow(F.abs(self), order - 1) if order < 2 else self * F.pow(F.abs(self), order - 2)
    return own * F.where(result == 0, 0.0, g / F.pow(result, order - 1))


derivative("norm", self=_norm_backward)


# Extremes ----------------------------------------------------------------------------------------------------------------------


def _all_or(dim: Dims) -> Ints | None:
    """``dim`` as the parameter of ``sum``."""
    return (dim,) if isinstance(dim, int) else dim


def equal_or_nan(x: Any, value: Any) -> Any:
    """Where ``x`` is ``value``, NaN counting as equal to NaN."""
    return (x == value) | ((x != x) & (value != value))  # noqa: PLR0124 - only NaN differs from itself


kernel("max", lambda self: reduced(np.maximum, self, None, False))
kernel("min", lambda self: reduced(np.minimum, self, None, False))


def shared_among_ties(g: Any, self: Any, result: Any) -> Any:
    """An even share of ``g`` for each element that is the result."""
    ties = equal_or_nan(self, result)
    return ties * (g / F.sum(ties))


derivative("max", self=shared_among_ties)
derivative("min", self=shared_among_ties)


kernel("amax", lambda self, dim, keepdim: reduced(np.maximum, self, dim, keepdim))
kernel("amin", lambda self, dim, keepdim: reduced(np.minimum, self, dim, keepdim))


def _extreme_backward(g: Any, self: Any, result: Any, self_shape: Ints, dim: Dims, keepdim: bool) -> Any:
    g = with_reduced_dims(g, self_shape, dim, keepdim)
    ties = self == with_reduced_dims(result, self_shape, dim, keepdim)
    return g * ties / F.sum(ties, dim=_all_or(dim), keepdim=_axis(dim, len(self_shape)) is not None)


derivative("amax", self=_extreme_backward)
derivative("amin", self=_extreme_backward)


@kernel("aminmax")
def _aminmax(self: Array, dim: Dims, keepdim: bool) -> tuple[Any, Any]:
    return reduced(np.minimum, self, dim, keepdim), reduced(np.maximum, self, dim, keepdim)


@joint_derivative("aminmax", "self")
def _aminmax_backward(g: Any, self: Any, min: Any, max: Any, self_shape: Ints, dim: Dims, keepdim: bool) -> Any:
    low = _extreme_backward(g[0], self, min, self_shape, dim, keepdim)
    return low + _extreme_backward(g[1], self, max, self_shape, dim, keepdim)


def _with_position(find: Any, x: Array, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The extreme along ``dim`` and where it is first found."""
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    positions = find(x, axis=dim, keepdims=True)
    values = np.take_along_axis(x, positions, axis=dim)
    return (values, positions) if keepdim else (np.squeeze(values, dim), np.squeeze(positions, dim))


kernel("max.dim", lambda self, dim, keepdim: _with_position(np.argmax, self, dim, keepdim))
kernel("min.dim", lambda self, dim, keepdim: _with_position(np.argmin, self, dim, keepdim))


def at_position(g: Any, indices: Any, self_shape: Ints, dim: int, keepdim: bool) -> Any:
    """The values' gradient where they were found, zeros elsewhere."""
    g = with_reduced_dims(g[0], self_shape, dim, keepdim)
    return scattered(g, with_reduced_dims(indices, self_shape, dim, keepdim), self_shape, dim)


def scattered(g: Any, indices: Any, shape: Ints, dim: int) -> Any:
    """Zeros of ``shape`` with ``g`` added where ``indices`` say, along ``dim``."""
    return F.scatter_add(F.zeros(g, shape), indices, g, dim=dim)


derivative("max.dim", self=at_position)
derivative("min.dim", self=at_position)


def _position(find: Any, x: Array, dim: int | None, keepdim: bool) -> Any:
    return find(x, axis=_axis(dim, x.ndim), keepdims=keepdim)


kernel("argmax", lambda self, dim, keepdim: _position(np.argmax, self, dim, keepdim))
kernel("argmin", lambda self, dim, keepdim: _position(np.argmin, self, dim, keepdim))


# Tests and counts --------------------------------------------------------------------------------------------------------------


def _logical(ufunc: Any, x: Array, dim: Dims, keepdim: bool) -> Any:
    found = ufunc.reduce(x, axis=dim if x.ndim and dim is not None else None, keepdims=keepdim)
    return np.asarray(found).astype(np.uint8) if x.dtype == np.uint8 else found


kernel("all", lambda self, dim, keepdim: _logical(np.logical_and, self, dim, keepdim))
kernel("any", lambda self, dim, keepdim: _logical(np.logical_or, self, dim, keepdim))
kernel("count_nonzero", lambda self, dim: np.count_nonzero(self, axis=_axis(dim, np.ndim(self))))
