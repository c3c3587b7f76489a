"""Kernels and derivatives of the gamma, zeta, Bessel, error and entropy functions; most values are scipy's."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from telegrad.contract.errors import DerivativeMissingError
from telegrad_service.engine.formulas import F
from telegrad_service.engine.optional import library
from telegrad_service.engine.rules.transcendental import erfc
from telegrad_service.engine.table import Array, Kernel, derivative, kernel

MODULE = "scipy.special"
HALF = np.dtype(np.float16)
_AT_ONCE: Final = 4096
"""Values of a sum over shifted arguments that are computed in one call, where the input has fewer."""


def _computed_by(op: str, function: str) -> Kernel:
    """``function`` of scipy.special in the type of the inputs; scipy answers float16 in float32."""

    def compute(*inputs: Any) -> Any:
        made = getattr(library(op, MODULE), function)(*inputs)
        return made.astype(HALF) if np.result_type(*inputs) == HALF else made

    return compute


for _name, _function in (
    ("digamma", "psi"),
    ("erfinv", "erfinv"),
    ("i0", "i0"),
    ("igamma", "gammainc"),
    ("igammac", "gammaincc"),
):
    _compute = _computed_by(_name, _function)
    kernel(_name, _compute, ufunc=_compute, ufunc_kinds="f")

# Methods of no tensor, or not for float16: these have no fast way.
for _name, _function in (
    ("i0e", "i0e"),
    ("i1", "i1"),
    ("i1e", "i1e"),
    ("erfcx", "erfcx"),
    ("ndtri", "ndtri"),
    ("log_ndtr", "log_ndtr"),
    ("bessel_j0", "j0"),
    ("bessel_j1", "j1"),
    ("bessel_y0", "y0"),
    ("bessel_y1", "y1"),
    ("modified_bessel_i0", "i0"),
    ("modified_bessel_i1", "i1"),
    ("modified_bessel_k0", "k0"),
    ("modified_bessel_k1", "k1"),
    ("scaled_modified_bessel_k0", "k0e"),
    ("scaled_modified_bessel_k1", "k1e"),
):
    kernel(_name, _computed_by(_name, _function))


def _refused(op: str, name: str) -> Any:
    """A formula for a gradient that has none: the error comes where backward would need it, as in PyTorch."""

    def formula(g: Any) -> Any:
        raise DerivativeMissingError(f"the derivative for '{op}: {name}' is not implemented; detach that input")

    return formula


# Gamma -------------------------------------------------------------------------------------------------------------------------


def _lgamma(self: Array) -> Any:
    made = _lgamma_of(self)
    return np.where(np.isneginf(self), np.inf, made)  # as in PyTorch and C; scipy has -inf


_lgamma_of = _computed_by("lgamma", "gammaln")
kernel("lgamma", _lgamma, ufunc=_lgamma, ufunc_kinds="f")


FAR_BELOW = -32.0
"""Where ``_hurwitz`` leaves scipy's way: as many terms are some 2 µs an element."""


def _hurwitz(op: str, s: Any, q: Any) -> Any:
    """zeta(s, q), of very negative q by the sum over all integers less the terms below q.

    scipy adds term by term until q is positive, which for q = -1e9 takes minutes. With f the fraction of q,
    zeta(s, q) = zeta(s, f) + (-1)**s * (zeta(s, 1 - f) - zeta(s, 1 - q)) for whole s; for other s the powers are not real.
    """
    zeta = library(op, MODULE).zeta
    far = np.less(q, FAR_BELOW) & np.not_equal(q, np.floor(q))  # of whole numbers scipy knows at once that they are poles
    if not np.any(far):
        return zeta(s, q)
    below = np.where(far, q, FAR_BELOW - 0.5).astype(np.float64)
    order = np.asarray(s, np.float64)
    fraction = below - np.floor(below)
    sign = np.where(np.remainder(order, 2) == 0, 1, -1)
    summed = zeta(order, fraction) + sign * (zeta(order, 1 - fraction) - zeta(order, 1 - below))
    summed = np.where(np.floor(order) == order, summed, np.nan)
    summed = np.where(order > 1, summed, zeta(order, 1.0))  # inf at 1, nan below
    return np.where(far, summed, zeta(s, np.where(far, 1, q)))


@kernel("zeta")
def _zeta(self: Any, other: Any) -> Any:
    dtype = np.result_type(self, other)
    made = _hurwitz("zeta", self, other)
    return np.where(np.isposinf(other), np.nan, made).astype(dtype, copy=False)  # nan at inf, as in PyTorch


derivative("zeta", self=_refused("zeta", "self"), other=lambda g, self, other: g * -self * F.zeta(self + 1, other))


BERNOULLI = (7 / 6, -691 / 2730, 5 / 66, -1 / 30, 1 / 42, -1 / 30, 1 / 6)
"""Bernoulli's numbers of even order, 14 down to 2."""


def _trigamma(x: Array) -> Any:
    """Slope of digamma: eight terms of its sum, then the asymptotic series of the rest, whose error is below 2e-15 there.

    Below 0.5 by reflection: pi**2 / sin(pi * x)**2 - trigamma(1 - x). Source: Abramowitz and Stegun, 6.4.6, 6.4.7, 6.4.12.
    scipy's way, by zeta, takes several times as long.
    """
    low = x < 0.5
    z = np.where(low, 1 - x, x)
    made = np.zeros_like(z)
    for _ in range(8):
        made += 1 / (z * z)
        z = z + 1
    square = 1 / (z * z)
    series = np.zeros_like(z)
    for number in BERNOULLI:
        series = series * square + number
    made += (1 + series * square) / z + 0.5 * square
    return np.where(low, (math.pi / np.sin(math.pi * x)) ** 2 - made, made)


def _polygamma(op: str, x: Array, n: int) -> Any:
    dtype, x = x.dtype, np.asarray(x, np.float64)
    if n == 0:
        made = library(op, MODULE).psi(x)
    elif n == 1:
        made = _trigamma(x)
    else:
        factorial = library(op, MODULE).gamma(n + 1.0)
        made = (1 if n % 2 else -1) * factorial * _hurwitz(op, float(n + 1), x)
        made = np.where(np.isposinf(x), np.nan, made)  # as in PyTorch
    return np.asarray(made).astype(dtype, copy=False)


@kernel("polygamma")
def _polygamma_of(self: Array, n: int) -> Any:
    return _polygamma("polygamma", self, n)


def _half_steps_below(x: Array, p: int) -> Iterator[Array]:
    """``x - j / 2`` for j below ``p``, along a last dimension: many at once. A loop over single numbers takes far longer than the
    arithmetic that is foreseen, and over none of them would never end.
    """
    at_once = max(1, _AT_ONCE // max(1, x.size))
    for begin in range(0, p if x.size else 0, at_once):
        yield x[..., None] - np.arange(begin, min(begin + at_once, p)) / 2


@kernel("mvlgamma")
def _mvlgamma(self: Array, p: int) -> Any:
    log_gamma = library("mvlgamma", MODULE).gammaln
    x = np.asarray(self, np.float64) + 0.0  # no -0, as in PyTorch
    total = np.full_like(x, p * (p - 1) / 4 * math.log(math.pi))
    for below in _half_steps_below(x, p):
        total += log_gamma(below).sum(-1)
    total[np.isneginf(x)] = np.inf
    return total.astype(self.dtype, copy=False)


@kernel("_polygamma_sum")
def _polygamma_sum(self: Array, n: int, p: int) -> Any:
    x = np.asarray(self, np.float64) + 0.0  # no -0, as in PyTorch
    total = np.zeros_like(x)
    for below in _half_steps_below(x, p):
        total += _polygamma("_polygamma_sum", below, n).sum(-1)
    return total.astype(self.dtype, copy=False)


def _igamma_slope(g: Any, self: Any, other: Any) -> Any:
    return g * F.exp((self - 1) * F.log(other) - other - F.lgamma(self))


derivative("lgamma", self=lambda g, self: g * F.digamma(self))
derivative("digamma", self=lambda g, self: g * F.polygamma(self, n=1))
derivative("polygamma", self=lambda g, self, n: g * F.polygamma(self, n=n + 1))
derivative("mvlgamma", self=lambda g, self, p: g * F._polygamma_sum(self, n=0, p=p))
derivative("_polygamma_sum", self=lambda g, self, n, p: g * F._polygamma_sum(self, n=n + 1, p=p))
derivative("igamma", self=_refused("igamma", "input"), other=_igamma_slope)
derivative("igammac", self=_refused("igammac", "input"), other=lambda g, self, other: _igamma_slope(-g, self, other))

# Error functions and the normal distribution -----------------------------------------------------------------------------------

ROOT_HALF = math.sqrt(0.5)


@kernel("ndtr")
def _ndtr(self: Array) -> Any:
    return 0.5 * erfc(self * -ROOT_HALF)


derivative("erfinv", self=lambda g, result: g * (math.sqrt(math.pi) / 2 * F.exp(result * result)))
derivative("erfcx", self=lambda g, self, result: g * (2 * self * result - 2 / math.sqrt(math.pi)))
derivative("ndtr", self=lambda g, self: g * (F.exp(self * self * -0.5) * (1 / math.sqrt(2 * math.pi))))
derivative("ndtri", self=lambda g, result: g * (math.sqrt(2 * math.pi) * F.exp(result * result * 0.5)))


def _log_ndtr_self(g: Any, self: Any, result: Any) -> Any:
    """The density over ``ndtr``; each form overflows where the other one is used."""
    low = F.lt(self, 0)
    far = math.sqrt(2 / math.pi) / F.erfcx(F.where(low, self, 0) * -ROOT_HALF)
    near = F.exp(self * self * -0.5 - result) * (1 / math.sqrt(2 * math.pi))
    return g * F.where(low, far, near)


derivative("log_ndtr", self=_log_ndtr_self)

# Entropy -----------------------------------------------------------------------------------------------------------------------


@kernel("entr")
def _entr(self: Array) -> Any:
    made = np.where(self == 0, 0, -self * np.log(self))
    return np.where(self < 0, -np.inf, made).astype(self.dtype, copy=False)


@kernel("xlog1py")
def _xlog1py(self: Any, other: Any) -> Any:
    if isinstance(other, bool):
        other = float(other)  # numpy takes the logarithm of a truth value in half precision
    made = np.where(np.equal(self, 0) & ~np.isnan(other), 0, self * np.log1p(other))
    return made.astype(np.result_type(self, other), copy=False)


def _xlog1py_self(g: Any, self: Any, other: Any) -> Any:
    if isinstance(other, (bool, int, float)):
        if other > -1:
            return g * math.log1p(other)
        return F.where(F.eq(self, 0), 0, g * (-math.inf if other == -1 else math.nan))
    flat = F.logical_and(F.eq(self, 0), F.le(other, -1))
    return F.where(flat, 0, g * F.log1p(F.where(flat, 0, other)))


derivative("entr", self=lambda g, self: g * -(1 + F.log(self)))
derivative("xlog1py", self=_xlog1py_self, other=lambda g, self, other: g * self / (other + 1))

# Bessel functions ----------------------------------------------------------------------------------------------------------------


@kernel("spherical_bessel_j0")
def _spherical_bessel_j0(self: Array) -> Any:
    made = np.where(self == 0, 1, np.sin(self) / self)
    return np.where(np.isinf(self), 0, made).astype(self.dtype, copy=False)


@kernel("airy_ai")
def _airy_ai(self: Array) -> Any:
    made = library("airy_ai", MODULE).airy(self)[0]
    return np.where((self > 200) & np.isfinite(self), 0, made).astype(self.dtype, copy=False)  # scipy gives up somewhere above


def _i1_slope(x: Any, i0: Any, i1: Any, scaled: bool) -> Any:
    """``i0 - i1 / x``; near 0, where that cancels, the derivative of i1's power series, times ``exp(-abs(x))`` if ``scaled``."""
    near = F.lt(F.abs(x), 0.1)
    small = F.where(near, x, 0)
    square = small * small
    series = 0.5 + square * (3 / 16 + square * (5 / 384 + square * (7 / 18432)))
    return F.where(near, series * F.exp(-F.abs(small)) if scaled else series, i0 - i1 / F.where(near, 1, x))


derivative("i0", self=lambda g, self: g * F.i1(self))
derivative("i0e", self=lambda g, self, result: g * (F.i1e(self) - F.sgn(self) * result))
derivative("i1", self=lambda g, self, result: g * _i1_slope(self, F.i0(self), result, scaled=False))
derivative(
    "i1e",
    self=lambda g, self, result: g * (_i1_slope(self, F.i0e(self), result, scaled=True) - F.sgn(self) * result),
)
