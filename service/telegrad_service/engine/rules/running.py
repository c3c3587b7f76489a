"""Kernels and derivatives of ops that run along a dimension, and of products, whose derivative runs.

`dim` arrives as an int, or as None for all dimensions.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# Formulas take what the table saves for them; a lambda's arguments cannot be annotated.

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad.contract.tensor.base import TensorBase
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.reduce import Ints, converted, equal_or_nan, reduced, scattered, with_reduced_dims
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel


def _accumulated(ufunc: Any, x: Array, dim: int, dtype: DType | None) -> Any:
    """The running ``ufunc`` in torch's result type."""
    x = np.asarray(x)
    if dtype is not None:
        x = converted(x, dtype.numpy)
    elif x.dtype.kind in "biu":
        x = x.astype(np.int64)
    if not x.ndim:
        return x.copy()
    if dim % x.ndim == x.ndim - 1 or math.prod(x.shape[dim % x.ndim + 1 :]) < _WIDE or not x.size:
        return ufunc.accumulate(x, axis=dim, dtype=x.dtype)
    # numpy runs along each column apart; whole slices one after another are several elements at once.
    made = np.empty_like(x, order="C")
    given, slices = np.moveaxis(x, dim, 0), np.moveaxis(made, dim, 0)
    slices[0] = given[0]
    for i in range(1, len(given)):
        ufunc(slices[i - 1], given[i], out=slices[i])
    return made


_WIDE: Final = 256
"""Slices of at least this many elements are run along together."""


def _write_accumulated(ufunc: Any, target: Array, dim: int, dtype: DType | None) -> None:
    target[...] = _accumulated(ufunc, target, dim, dtype)


kernel(
    "cumsum",
    lambda self, dim, dtype: _accumulated(np.add, self, dim, dtype),
    in_place=lambda target, dim, dtype: _write_accumulated(np.add, target, dim, dtype),
)
derivative("cumsum", self=lambda g, dim: F.flip(F.cumsum(F.flip(g, dims=(dim,)), dim=dim), dims=(dim,)))

kernel(
    "cumprod",
    lambda self, dim, dtype: _accumulated(np.multiply, self, dim, dtype),
    in_place=lambda target, dim, dtype: _write_accumulated(np.multiply, target, dim, dtype),
)


def shifted(x: Any, dim: int, *, first: int | None = None, last: int | None = None) -> Any:
    """``x`` moved by one along ``dim``: up with ``first`` coming in at the start, or down with ``last`` coming in at the end."""
    n = x.shape[dim]
    edge = F.zeros(x, tuple([1 if i == dim % len(x.shape) else m for i, m in enumerate(x.shape)]))
    if first is not None:
        return F.cat(edge + first, F.narrow(x, dim=dim, start=0, length=n - 1), dim=dim)
    return F.cat(F.narrow(x, dim=dim, start=1, length=n - 1), edge + last, dim=dim)


def _divides(factors: Any, products: Any) -> bool:
    """Whether products, all finite, may be divided by their factors: bare arrays without zeros.

    Nor may a factor be so small that a product lost to underflow would count once divided by it.
    """
    if isinstance(factors, TensorBase) or factors.dtype.char not in "fdFD" or not factors.size:
        return False
    least = math.sqrt(np.finfo(factors.dtype).tiny)
    return bool(np.abs(factors).min() > least and np.isfinite(np.sum(products)))


def _cumprod_backward(g: Any, self: Any, result: Any, dim: int) -> Any:
    """The product before each element times a recurrence from the end; without zeros, a running sum over the element.

    result[k] is the product up to k, so the gradient at i is the product before i times the sum over k >= i of g[k] times the
    product of i + 1 to k; that sum is the recurrence.
    """
    if not self.shape or not self.shape[dim]:
        return g
    if _divides(self, result):
        sums = g * F.conjugate(result)  # one new array for all, as making one costs more than the arithmetic
        backwards = np.flip(sums, dim)
        np.add.accumulate(backwards, axis=dim, out=backwards)
        return np.divide(sums, F.conjugate(self), out=sums)
    before = shifted(F.cumprod(self, dim=dim), dim, first=1)
    after = F.recurrence(g, F.conjugate(shifted(self, dim, last=0)), dim=dim, reverse=True)
    return F.conjugate(before) * after


derivative("cumprod", self=_cumprod_backward)


@kernel("recurrence")
def _recurrence(self: Array, factor: Array, dim: int, reverse: bool) -> Any:
    """Doubling: after each pass an entry covers twice as many terms, so log2(n) passes over whole arrays do."""
    if reverse:
        # y[i] = x[i] + f[i] * y[i + 1]: the forward rule on the flipped arrays, whose factor sits one place later.
        flipped = np.flip(factor, dim)
        made = _forward_recurrence(np.flip(self, dim), flipped, dim)
        return np.flip(made, dim).copy()
    return _forward_recurrence(self, np.roll(factor, 1, dim), dim)


def _forward_recurrence(x: Array, factor: Array, dim: int) -> Array:
    """y[i] = x[i] + factor[i] * y[i - 1]; factor[0] is not used."""
    sums = np.moveaxis(np.array(x, np.result_type(x, factor)), dim, 0)
    products = np.moveaxis(np.array(factor, sums.dtype), dim, 0)
    step = 1
    while step < len(sums):
        sums[step:] += products[step:] * sums[:-step]
        products[step:] *= products[:-step]
        step *= 2
    return np.moveaxis(sums, 0, dim)


@joint_derivative("recurrence", "self", "factor")
def _recurrence_backward(g: Any, factor: Any, result: Any, dim: int, reverse: bool, needs: tuple[bool, bool]) -> tuple[Any, Any]:
    back = F.recurrence(g, F.conjugate(factor), dim=dim, reverse=not reverse)
    if not needs[1]:
        return back, None
    if reverse:
        return back, back * F.conjugate(shifted(result, dim, last=0))
    return back, shifted(back, dim, last=0) * F.conjugate(result)


@kernel("prod")
def _prod(self: Array, dim: int | None, keepdim: bool, dtype: DType | None) -> Any:
    self = np.asarray(self)
    if dtype is not None:
        self = converted(self, dtype.numpy)
        if self.dtype.kind == "b":
            return reduced(np.logical_and, self, dim, keepdim)
    elif self.dtype.kind in "biu":
        self = self.astype(np.int64)
    if self.dtype.char == "e":
        return reduced(np.multiply, self, dim, keepdim, np.float32).astype(self.dtype)
    if dim is not None and self.ndim and dim % self.ndim == self.ndim - 1:
        # numpy multiplies a row one element after another; halves by halves it is many at once.
        while self.shape[-1] >= _LONG:
            half = self.shape[-1] // 2
            odd = self[..., 2 * half :]
            self = self[..., :half] * self[..., half : 2 * half]
            if odd.shape[-1]:
                self[..., :1] *= odd
    return reduced(np.multiply, self, dim, keepdim)


_LONG: Final = 32
"""Rows at least this long are multiplied by halves."""


def _prod_backward(g: Any, self: Any, result: Any, self_shape: Ints, dim: int | None, keepdim: bool) -> Any:
    """The gradient times the product before times the product after, so that zeros need no division."""
    if not self_shape:
        return g
    if self.dtype == result.dtype and _divides(self, result):
        g, result = (with_reduced_dims(x, self_shape, dim, keepdim) for x in (g, result))
        return g * F.conjugate(result) / F.conjugate(self)
    if dim is None:
        flat, count = F.reshape(self, shape=(-1,)), math.prod(self_shape)
        return F.reshape(_prod_backward(g, flat, result, (count,), 0, False), shape=self_shape)
    if not self_shape[dim]:
        return F.zeros(g, self_shape)
    before = shifted(F.cumprod(self, dim=dim), dim, first=1)
    after = F.flip(F.cumprod(F.flip(self, dims=(dim,)), dim=dim), dims=(dim,))
    others = before * shifted(after, dim, last=1)
    return with_reduced_dims(g, self_shape, dim, keepdim) * F.conjugate(others)


derivative("prod", self=_prod_backward)


def _running_extreme(ufunc: Any, x: Array, dim: int) -> tuple[Any, Any]:
    """The running extreme and the last position that equals it."""
    if not x.ndim:
        return x.copy(), np.zeros((), np.int64)
    values = ufunc.accumulate(x, axis=dim)
    shape = [1] * x.ndim
    shape[dim] = x.shape[dim]
    places = np.arange(x.shape[dim], dtype=np.int64).reshape(shape)
    return values, np.maximum.accumulate(np.where(equal_or_nan(x, values), places, 0), axis=dim)


kernel("cummax", lambda self, dim: _running_extreme(np.maximum, self, dim))
kernel("cummin", lambda self, dim: _running_extreme(np.minimum, self, dim))
derivative("cummax", self=lambda g, indices, self_shape, dim: scattered(g[0], indices, self_shape, dim))
derivative("cummin", self=lambda g, indices, self_shape, dim: scattered(g[0], indices, self_shape, dim))
