"""Kernels and derivatives of medians, quantiles, running logarithms and covariances."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract.errors import NumericalError, ShapeError
from telegrad_service.engine import choosing
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.rules.reduce import at_position, shared_among_ties
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel

# Medians and ranks -------------------------------------------------------------------------------------------------------------


def _is_nan(x: Array) -> Array:
    return np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)


@kernel("median")
def _median(self: Array) -> Any:
    values = self.reshape(-1)
    if not values.size:
        # Nothing has no middle; a whole number cannot say so, and is PyTorch's smallest.
        return np.asarray(math.nan if self.dtype.kind == "f" else np.iinfo(self.dtype).min, self.dtype)
    nan = _is_nan(values)
    if nan.any():
        return np.asarray(math.nan, self.dtype)
    at = (values.size - 1) // 2
    return np.partition(values, at)[at]


@kernel("nanmedian")
def _nanmedian(self: Array) -> Any:
    values = self.reshape(-1)
    return _median(values[~_is_nan(values)])


derivative("median", self=shared_among_ties)
derivative("nanmedian", self=shared_among_ties)


def _picked(x: Array, positions: Array, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The values at ``positions``, which have size 1 along ``dim``, and the positions."""
    positions = np.asarray(positions, np.int64)
    values = np.take_along_axis(x, positions, dim)
    return (values, positions) if keepdim else (np.squeeze(values, dim), np.squeeze(positions, dim))


def _single(x: Array) -> tuple[Any, Any]:
    return x.copy(), np.zeros((), np.int64)


@kernel("median.dim")
def _median_dim(self: Array, dim: int, keepdim: bool) -> tuple[Any, Any]:
    if not self.ndim:
        return _single(self)
    nan = _is_nan(self)
    middle = np.take(np.argsort(self, axis=dim, kind="stable"), [(self.shape[dim] - 1) // 2], axis=dim)
    positions = np.where(nan.any(axis=dim, keepdims=True), np.argmax(nan, axis=dim, keepdims=True), middle)
    return _picked(self, positions, dim, keepdim)


@kernel("nanmedian.dim")
def _nanmedian_dim(self: Array, dim: int, keepdim: bool) -> tuple[Any, Any]:
    if not self.ndim:
        return _single(self)
    count = np.count_nonzero(~_is_nan(self), axis=dim, keepdims=True)
    order = np.argsort(self, axis=dim, kind="stable")  # NaN come last
    return _picked(self, np.take_along_axis(order, np.maximum(count - 1, 0) // 2, dim), dim, keepdim)


@kernel("kthvalue")
def _kthvalue(self: Array, k: int, dim: int, keepdim: bool) -> tuple[Any, Any]:
    if not self.ndim:
        return _single(self)
    return _picked(self, choosing.kth(self, np.argsort(self, axis=dim, kind="stable"), k - 1, dim), dim, keepdim)


@kernel("mode")
def _mode(self: Array, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The end of the first longest run of equals in sorted order: the smallest value, at its last place."""
    if not self.ndim:
        return _single(self)
    order = choosing.sorted_as_pairs(self, np.argsort(self, axis=dim, kind="stable"), dim)
    ordered = np.moveaxis(np.take_along_axis(self, order, dim), dim, 0)
    at = np.arange(len(ordered)).reshape((-1,) + (1,) * (ordered.ndim - 1))
    begins = np.concatenate((np.ones((1, *ordered.shape[1:]), bool), ordered[1:] != ordered[:-1]))
    length = at - np.maximum.accumulate(np.where(begins, at, 0), axis=0)
    ends = np.moveaxis(np.argmax(length, axis=0, keepdims=True), 0, dim)
    return _picked(self, np.take_along_axis(order, ends, dim), dim, keepdim)


for _name in ("median.dim", "nanmedian.dim", "kthvalue", "mode"):
    derivative(_name, self=at_position)

# Quantiles ---------------------------------------------------------------------------------------------------------------------


@kernel("_quantile_places")
def _quantile_places(self: Array, q: Any, interpolation: str, ignore_nan: bool) -> tuple[Array, Array, Array, Array]:
    fractions = np.asarray(q, self.dtype).reshape(-1)
    if fractions.size and not (fractions.min() >= 0 and fractions.max() <= 1):
        raise ShapeError(f"{'nan' if ignore_nan else ''}quantile() q values must be in the range [0, 1]")
    order = np.argsort(self, axis=-1, kind="stable")
    nan = np.isnan(self)
    if ignore_nan:
        last = np.maximum(np.count_nonzero(~nan, axis=-1, keepdims=True) - 1, 0).astype(self.dtype)
        ranks = fractions * last
    else:
        # One NaN makes all quantiles NaN: it is the last in order, and that is the place taken.
        some = nan.any(axis=-1, keepdims=True)
        last = np.where(some, 0, self.shape[-1] - 1).astype(self.dtype)
        ranks = np.where(some, self.dtype.type(self.shape[-1] - 1), fractions * last)
    last = np.broadcast_to(last, ranks.shape)
    if interpolation == "lower":
        ranks = np.floor(ranks)
    elif interpolation == "higher":
        ranks = np.ceil(ranks)
    elif interpolation == "nearest":
        ranks = np.round(ranks)  # halves to the even rank
    base = np.floor(ranks)
    lower = np.take_along_axis(order, base.astype(np.int64), -1)
    upper = np.take_along_axis(order, np.ceil(ranks).astype(np.int64), -1)
    return lower, upper, np.where(last == 0, 0, base).astype(self.dtype), np.ascontiguousarray(last)


def _laid_out(x: Any, shape: tuple[int, ...], dim: int | None) -> Any:
    """``x`` with the dimension of the quantiles last: all elements in a row, or ``dim`` moved."""
    if dim is None or not shape:
        return F.reshape(x, shape=(math.prod(shape),))
    return F.movedim(x, source=(dim,), destination=(-1,))


def _weight(q: Any, base: Any, last: Any, interpolation: str) -> Any:
    """The share of the upper neighbour."""
    if interpolation == "linear":
        return last * q - base
    return 0.5 if interpolation == "midpoint" else 0.0


def _quantile_kernel(ignore_nan: bool) -> Any:
    def quantile(self: Array, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Array:
        rows = _laid_out(self, self.shape, dim)
        q = np.asarray(q, self.dtype)
        lower, upper, base, last = _quantile_places(rows, q, interpolation, ignore_nan)
        low, high = np.take_along_axis(rows, lower, -1), np.take_along_axis(rows, upper, -1)
        weight = np.asarray(_weight(q, base, last, interpolation), self.dtype)
        step = high - low
        # From the nearer end, so that both ends are exact; equal infinities have no distance.
        found = np.where(weight < 0.5, low + weight * step, high - step * (1 - weight))
        found = np.moveaxis(np.where(low == high, low, found), -1, 0)
        if keepdim:
            gone = range(self.ndim) if dim is None else (dim % self.ndim if self.ndim else 0,)
            shape = tuple(1 if i in gone else n for i, n in enumerate(self.shape))
            found = found.reshape((len(found), *shape))
        return np.asarray(found if q.ndim else found[0])

    return quantile


def _quantile_gradient(ignore_nan: bool) -> Any:
    def backward(
        g: Any,
        self: Any,
        q: Any,
        self_shape: tuple[int, ...],
        dim: int | None,
        interpolation: str,
        needs: tuple[bool, bool],
    ) -> tuple[Any, Any]:
        rows = _laid_out(self, self_shape, dim)
        several = getattr(q, "shape", ()) != ()
        lower, upper, base, last = F._quantile_places(rows, q, interpolation=interpolation, ignore_nan=ignore_nan)
        count = q.shape[0] if several else 1
        lead = tuple(rows.shape[:-1])
        if lead:
            g = F.movedim(F.reshape(g, shape=(count, *lead)), source=(0,), destination=(-1,))
        else:
            g = F.reshape(g, shape=(count,))
        weight = _weight(q, base, last, interpolation)
        mine = None
        if needs[0]:
            zeros = F.zeros(g, tuple(rows.shape))
            spread = F.scatter_add(zeros, lower, g * (1 - weight), dim=-1)
            if interpolation in ("linear", "midpoint"):
                spread = F.scatter_add(spread, upper, g * weight, dim=-1)
            if dim is None or not self_shape:
                mine = F.reshape(spread, shape=self_shape)
            else:
                mine = F.movedim(spread, source=(-1,), destination=(dim,))
        theirs = None
        if needs[1] and interpolation == "linear":
            step = F.gather(rows, upper, dim=-1) - F.gather(rows, lower, dim=-1)
            # Where the last rank is 0 there is one value, or NaN, and no way to go.
            theirs = F.sum_to_size(F.where(last == 0, 0.0, g * step * last), size=(count,))
            theirs = theirs if several else F.reshape(theirs, shape=())
        return mine, theirs

    return backward


for _name, _ignore in (("quantile", False), ("nanquantile", True)):
    kernel(_name, _quantile_kernel(_ignore))
    joint_derivative(_name, "self", "q")(_quantile_gradient(_ignore))

# Running logarithms ------------------------------------------------------------------------------------------------------------


def _log_of_sum(a: Array, b: Array) -> Array:
    """log(exp(a) + exp(b)) of complex numbers, from the one with the larger real part."""
    first = np.real(a) >= np.real(b)
    high, low = np.where(first, a, b), np.where(first, b, a)
    alone = np.isneginf(np.real(low)) | np.isposinf(np.real(high))
    return np.where(alone, high, high + np.log1p(np.exp(low - high)))


@kernel("logcumsumexp")
def _logcumsumexp(self: Array, dim: int) -> Array:
    if not self.ndim or not self.size:
        return self.copy()
    if self.dtype.kind == "f":
        wide = self.astype(np.float32) if self.dtype.char == "e" else self
        return np.logaddexp.accumulate(wide, axis=dim).astype(self.dtype)
    sums = np.moveaxis(self.copy(), dim, 0)
    step = 1
    while step < len(sums):  # after each pass an entry covers twice as many terms
        sums[step:] = _log_of_sum(sums[:-step], sums[step:])
        step *= 2
    return np.moveaxis(sums, 0, dim)


def _logcumsumexp_backward(g: Any, self: Any, result: Any, self_shape: tuple[int, ...], dim: int) -> Any:
    """The sum over k >= i of g[k] * exp(x[i] - result[k]), by a recurrence from the end whose factors never exceed 1."""
    if not self_shape or not math.prod(self_shape):
        return g
    # Equal values, infinities above all, are at no distance from each other.
    size = self_shape[dim]
    later = F.cat(F.narrow(result, dim=dim, start=1, length=size - 1), F.narrow(result, dim=dim, start=size - 1, length=1), dim=dim)
    factor = F.where(result == later, 1.0, F.exp(result - later))
    total = F.recurrence(g, F.conjugate(factor), dim=dim, reverse=True)
    return total * F.conjugate(F.where(self == result, 1.0, F.exp(self - result)))


derivative("logcumsumexp", self=_logcumsumexp_backward)

# Covariances -------------------------------------------------------------------------------------------------------------------


def _real(x: Any) -> Any:
    return x.real if is_complex(x) else x


def _observations(x: Any, shape: tuple[int, ...]) -> Any:
    """Variables in rows, observations in columns."""
    return x if len(shape) == 2 else F.reshape(x, shape=(1, math.prod(shape)))


def _adjoint(x: Any) -> Any:
    return F.conjugate(F.transpose(x, dim0=0, dim1=1))


def _moments(rows: Any, weights: Any, fweights: Any, aweights: Any, correction: int) -> tuple[Any, Any, Any]:
    """Distances from the means, the weights' sum, and the normaliser, which is never below zero."""
    if weights is None:
        count = rows.shape[1]
        # An empty mean is not a number rather than an error.
        mean = F.sum(rows, dim=(1,), keepdim=True) / count if count else F.sum(rows, dim=(1,), keepdim=True) * math.nan
        return rows - mean, count, max(count - correction, 0)
    total = F.sum(weights)
    mean = F.sum(rows * weights, dim=(1,), keepdim=True) / total
    if aweights is None or correction == 0:
        normaliser = total - correction
    else:
        normaliser = total - F.sum(weights * aweights) * correction / total
    return rows - mean, total, F.where(normaliser <= 0, 0.0, normaliser)


def _weights(fweights: Any, aweights: Any, like: Any) -> Any:
    """The product of both weights, in a floating type."""
    if aweights is None:
        return None if fweights is None else _real(F.astype(F.reshape(fweights, shape=(math.prod(fweights.shape),)), like))
    flat = F.reshape(aweights, shape=(math.prod(aweights.shape),))
    return flat if fweights is None else flat * F.astype(F.reshape(fweights, shape=flat.shape), flat)


def _floating(x: Array, aweights: Array | None) -> Array:
    made = x if x.dtype.kind in "fc" else x.astype(np.float32)
    return made if aweights is None else made.astype(np.result_type(made, aweights))


@kernel("cov")
def _cov(self: Array, fweights: Array | None, aweights: Array | None, correction: int) -> Any:
    for name, weight in (("fweights", fweights), ("aweights", aweights)):
        if weight is not None and weight.size and weight.min() < 0:
            raise NumericalError(f"cov(): {name} cannot be negative")
    rows = _observations(_floating(self, aweights), self.shape)
    weights = _weights(fweights, aweights, rows)
    if weights is not None and not weights.sum():
        raise NumericalError("cov(): weights sum to zero, can't be normalized")
    distance, _, normaliser = _moments(rows, weights, fweights, aweights, correction)
    weighted = distance if weights is None else distance * weights
    found = np.true_divide(distance @ np.conjugate(weighted).T, normaliser).astype(rows.dtype)
    return found if len(found) != 1 else found.reshape(())


@joint_derivative("cov", "self", "aweights")
def _cov_backward(
    g: Any,
    self: Any,
    fweights: Any,
    aweights: Any,
    result: Any,
    self_shape: tuple[int, ...],
    correction: int,
    needs: tuple[bool, bool],
) -> tuple[Any, Any]:
    """The means do not matter: the weighted distances sum to zero."""
    rows = _observations(self, self_shape)
    g = F.reshape(g, shape=(rows.shape[0], rows.shape[0]))
    weights = _weights(fweights, aweights, rows)
    distance, total, normaliser = _moments(rows, weights, fweights, aweights, correction)
    mine = theirs = None
    if needs[0]:
        weighted = distance if weights is None else distance * weights
        both = F.matmul(g + _adjoint(g), weighted)
        mine = F.reshape(both / normaliser if not isinstance(normaliser, int) or normaliser else both * math.inf, shape=self_shape)
    if needs[1]:
        counts = 1 if fweights is None else F.astype(F.reshape(fweights, shape=(math.prod(fweights.shape),)), weights)
        products = _real(F.sum(F.conjugate(distance) * F.matmul(g, distance), dim=(0,)))
        agreement = _real(F.sum(F.conjugate(g) * F.reshape(result, shape=g.shape)))
        flat = F.reshape(aweights, shape=(math.prod(aweights.shape),))
        slope = counts * 1.0
        if correction:
            slope = slope - correction * counts * (2 * flat / total - F.sum(weights * flat) / (total * total))
        theirs = F.reshape((products * counts - agreement * slope) / normaliser, shape=tuple(aweights.shape))
    return mine, theirs


@kernel("corrcoef")
def _corrcoef(self: Array) -> Any:
    found = np.asarray(_cov(self, None, None, 1))
    if not found.ndim:
        return found / found
    deviation = np.sqrt(np.real(np.diagonal(found)))
    found = found / deviation[:, None] / deviation[None, :]
    if found.dtype.kind == "c":
        return np.clip(found.real, -1, 1) + 1j * np.clip(found.imag, -1, 1)
    return np.clip(found, -1, 1)


def _corrcoef_backward(g: Any, self: Any, result: Any, self_shape: tuple[int, ...]) -> Any:
    """r[i, j] is c[i, j] over the roots of c[i, i] and c[j, j]; one variable agrees with itself whatever it is."""
    if not result.shape:
        return F.zeros(g, self_shape)
    covariance = F.cov(self, None, None, correction=1)
    variance = _real(F.diagonal(covariance, offset=0, dim1=0, dim2=1))
    deviation = F.sqrt(variance)
    agreement = _real(F.conjugate(g) * result)
    pull = (F.sum(agreement, dim=(0,)) + F.sum(agreement, dim=(1,))) / variance * 0.5
    scaled = g / F.unsqueeze(deviation, dim=1) / F.unsqueeze(deviation, dim=0)
    scaled = scaled - F.diag_embed(pull, offset=0, dim1=-2, dim2=-1)
    distance = self - F.mean(self, dim=(1,), keepdim=True)
    return F.matmul(scaled + _adjoint(scaled), distance) / max(self_shape[1] - 1, 0)


derivative("corrcoef", self=_corrcoef_backward)
