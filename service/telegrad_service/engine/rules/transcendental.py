"""Kernels and derivatives of roots, exponentials, logarithms, trigonometry, hyperbolic functions and their relatives."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from telegrad_service.engine import error_function, threads
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.optional import installed
from telegrad_service.engine.table import Array, Kernel, derivative, kernel

for _name, _plain in (("sqrt", np.sqrt), ("reciprocal", np.reciprocal)):
    kernel(_name, _plain, ufunc=_plain)

for _name, _slow in (
    ("exp", np.exp),
    ("exp2", np.exp2),
    ("expm1", np.expm1),
    ("log", np.log),
    ("log2", np.log2),
    ("log10", np.log10),
    ("log1p", np.log1p),
    ("sin", np.sin),
    ("cos", np.cos),
    ("tan", np.tan),
    ("asin", np.arcsin),
    ("acos", np.arccos),
    ("atan", np.arctan),
    ("sinh", np.sinh),
    ("cosh", np.cosh),
    ("tanh", np.tanh),
    ("asinh", np.arcsinh),
    ("acosh", np.arccosh),
    ("atanh", np.arctanh),
):
    _computed = threads.large_ufunc(_slow)
    kernel(_name, _computed, ufunc=_computed)

_ONES: Final = {np.dtype(kind): np.ones((), kind) for kind in "efd"}
"""One in each real type: numpy takes a third of a microsecond to see what type a Python number is to have."""


def _alike(g: Any, result: Any) -> bool:
    """Whether both are arrays of one shape and real type, that a formula may go on in the memory of what it made."""
    # The compiler's stand-ins say that they are arrays, and are none: they take the general text, which gives the same bits.
    return type(result) is np.ndarray and g.shape == result.shape != () and g.dtype is result.dtype and result.dtype in _ONES


LN_2 = math.log(2)
LN_10 = math.log(10)
conj = F.conjugate

# Roots and reciprocals -------------------------------------------------------------------------------------------------------


def _rsqrt(self: Array) -> Any:
    return np.reciprocal(np.sqrt(self))


kernel("rsqrt", _rsqrt, ufunc=_rsqrt)

derivative("sqrt", self=lambda g, result: g / (2 * conj(result)))
derivative("rsqrt", self=lambda g, result: -0.5 * g * conj(result * result * result))
derivative("reciprocal", self=lambda g, result: -g * conj(result * result))

# Exponentials and logarithms -------------------------------------------------------------------------------------------------

derivative("exp", self=lambda g, result: g * conj(result))
derivative("exp2", self=lambda g, result: g * (conj(result) * LN_2))
derivative("expm1", self=lambda g, result: g * (conj(result) + 1))
derivative("log", self=lambda g, self: g / conj(self))
derivative("log2", self=lambda g, self: g / (conj(self) * LN_2))
derivative("log10", self=lambda g, self: g / (conj(self) * LN_10))
derivative("log1p", self=lambda g, self: g / (conj(self) + 1))

# Trigonometry ----------------------------------------------------------------------------------------------------------------

derivative("sin", self=lambda g, self: g * conj(F.cos(self)))
derivative("cos", self=lambda g, self: -g * conj(F.sin(self)))
derivative("tan", self=lambda g, result: g * conj(1 + result * result))
derivative("asin", self=lambda g, self: g * conj(F.rsqrt(1 - self * self)))
derivative("acos", self=lambda g, self: -g * conj(F.rsqrt(1 - self * self)))
derivative("atan", self=lambda g, self: g / conj(self * self + 1))

# Hyperbolic functions --------------------------------------------------------------------------------------------------------


def _tanh_self(g: Any, result: Any) -> Any:
    if _alike(g, result):
        slope = result * result  # and on in its memory
        np.subtract(_ONES[result.dtype], slope, slope)
        return np.multiply(slope, g, slope)
    return g * conj(1 - result * result)


derivative("sinh", self=lambda g, self: g * conj(F.cosh(self)))
derivative("cosh", self=lambda g, self: g * conj(F.sinh(self)))
derivative("tanh", self=_tanh_self)
derivative("asinh", self=lambda g, self: g * conj(F.rsqrt(self * self + 1)))


def _acosh_self(g: Any, self: Any) -> Any:
    if is_complex(self):
        # Two roots rather than one of the product, to stay on the branch that acosh is on.
        return g * conj(F.rsqrt(self - 1) * F.rsqrt(self + 1))
    return g * F.rsqrt(self * self - 1)


derivative("acosh", self=_acosh_self)
derivative("atanh", self=lambda g, self: g / conj(1 - self * self))


@threads.by_elements
def _sigmoid(self: Array) -> Any:
    # exp overflows to inf for very negative numbers, which gives the right 0.
    if type(self) is not np.ndarray or not self.ndim:
        return np.reciprocal(1 + np.exp(-self))
    if self.flags.c_contiguous:
        result = np.negative(self)  # and on in its memory
    else:
        result = self.copy("K")  # numpy walks through columns of a matrix in twice the time that it takes to copy them
        np.negative(result, result)
    np.exp(result, result)
    np.add(result, _ONES.get(self.dtype, 1), result)
    return np.reciprocal(result, result)


def _sigmoid_self(g: Any, result: Any) -> Any:
    if _alike(g, result):
        slope = np.subtract(_ONES[result.dtype], result)  # and on in its memory
        np.multiply(slope, result, slope)
        return np.multiply(slope, g, slope)
    return g * conj(result * (1 - result))


kernel("sigmoid", _sigmoid, ufunc=_sigmoid)
derivative("sigmoid", self=_sigmoid_self)

# Error function --------------------------------------------------------------------------------------------------------------

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def _error_function(name: str) -> Kernel:
    """By scipy where it is installed: 3 to 100 times as fast as ours, and better in float32. They agree to some last bits."""
    own: Kernel = getattr(error_function, name)

    def compute(self: Any) -> Any:
        special = installed("scipy.special")
        if special is None:
            return own(self)
        made = getattr(special, name)(self)
        return made.astype(self.dtype) if self.dtype != made.dtype else made  # float16 comes back as float32

    return threads.by_elements(compute, threads.WORTH_BYTES // 8)


erf, erfc = _error_function("erf"), _error_function("erfc")
kernel("erf", erf, ufunc=erf, ufunc_kinds="f")
kernel("erfc", erfc, ufunc=erfc, ufunc_kinds="f")
derivative("erf", self=lambda g, self: g * (TWO_OVER_ROOT_PI * F.exp(-(self * self))))
derivative("erfc", self=lambda g, self: g * (-TWO_OVER_ROOT_PI * F.exp(-(self * self))))

# Of several numbers ----------------------------------------------------------------------------------------------------------


def _over_distance(g: Any, along: Any, self: Any, other: Any) -> Any:
    """``g * along / (self**2 + other**2)``, 0 at the origin."""
    square = self * self + other * other
    at_origin = F.eq(square, 0)
    return F.where(at_origin, 0, g * along / F.where(at_origin, 1, square))


kernel("atan2", np.arctan2, ufunc=np.arctan2, ufunc_kinds="f")
derivative(
    "atan2",
    self=lambda g, self, other: _over_distance(g, other, self, other),
    other=lambda g, self, other: _over_distance(-g, self, self, other),
)


@kernel("logaddexp", ufunc=np.logaddexp, ufunc_kinds="f")
def _logaddexp(self: Any, other: Any) -> Any:
    if np.result_type(self, other).kind != "c":
        return np.logaddexp(self, other)
    greater = np.where(self.real >= other.real, self, other)
    return greater + np.log(np.exp(self - greater) + np.exp(other - greater))


derivative(
    "logaddexp",
    self=lambda g, self, other: g * conj(F.sigmoid(self - other)),
    other=lambda g, self, other: g * conj(F.sigmoid(other - self)),
)


@kernel("logaddexp2", ufunc=np.logaddexp2, ufunc_kinds="f")
def _logaddexp2(self: Any, other: Any) -> Any:
    if np.result_type(self, other).kind != "c":
        return np.logaddexp2(self, other)
    return _logaddexp(self * LN_2, other * LN_2) / LN_2


derivative(
    "logaddexp2",
    self=lambda g, self, other: g * conj(F.sigmoid((self - other) * LN_2)),
    other=lambda g, self, other: g * conj(F.sigmoid((other - self) * LN_2)),
)

kernel("hypot", np.hypot, ufunc=np.hypot, ufunc_kinds="f")
derivative(
    "hypot",
    self=lambda g, self, result: g * (self / result),
    other=lambda g, other, result: g * (other / result),
)


@kernel("xlogy", ufunc_kinds="f")
def _xlogy(self: Any, other: Any) -> Any:
    return np.where(np.equal(self, 0) & ~np.isnan(other), 0, self * np.log(other))


def _xlogy_self(g: Any, self: Any, other: Any) -> Any:
    if isinstance(other, (bool, int, float)):
        if other > 0:
            return g * math.log(other)
        return F.where(F.eq(self, 0), 0, g * (-math.inf if other == 0 else math.nan))
    flat = F.logical_and(F.eq(self, 0), F.le(other, 0))
    return F.where(flat, 0, g * F.log(F.where(flat, 1, other)))


derivative("xlogy", self=_xlogy_self, other=lambda g, self, other: g * self / other)


@kernel("sinc")
def _sinc(self: Array) -> Any:
    at_zero = self == 0
    angle = np.where(at_zero, 1, self) * math.pi
    return np.where(at_zero, 1, np.sin(angle) / angle).astype(self.dtype, copy=False)


def _sinc_self(g: Any, self: Any) -> Any:
    at_zero = F.eq(self, 0)
    x = F.where(at_zero, 1, self)
    angle = x * math.pi
    slope = (F.cos(angle) - F.sin(angle) / angle) / x
    # Near 0 the slope is -pi**2 / 3 * x: nothing at 0, but its own slope.
    return g * conj(F.where(at_zero, self * (-(math.pi**2) / 3), slope))


derivative("sinc", self=_sinc_self)


@kernel("logit", ufunc_kinds="f")
def _logit(self: Array, eps: float | None) -> Any:
    # Where the bounds cross, eps above 1/2, the lower one comes first, as in PyTorch.
    x = self if eps is None else np.where(self < eps, self.dtype.type(eps), np.minimum(1 - eps, self))
    return np.log(x / (1 - x))


def _logit_self(g: Any, self: Any, eps: float | None) -> Any:
    low = 0.0 if eps is None else eps
    outside = F.logical_or(F.lt(self, low), F.gt(self, 1 - low))
    return F.where(outside, math.nan if eps is None else 0.0, g / (self * (1 - self)))


derivative("logit", self=_logit_self)


@kernel("nan_to_num")
def _nan_to_num(self: Array, nan: float | None, posinf: float | None, neginf: float | None) -> Any:
    return np.nan_to_num(self, nan=nan or 0.0, posinf=posinf, neginf=neginf)


derivative("nan_to_num", self=lambda g, self: F.where(F.isfinite(self), g, 0))


@kernel("deg2rad", ufunc_kinds="f")
def _deg2rad(self: Array) -> Any:
    return self * (math.pi / 180)


@kernel("rad2deg", ufunc_kinds="f")
def _rad2deg(self: Array) -> Any:
    return self * (180 / math.pi)


derivative("deg2rad", self=lambda g: g * (math.pi / 180))
derivative("rad2deg", self=lambda g: g * (180 / math.pi))
