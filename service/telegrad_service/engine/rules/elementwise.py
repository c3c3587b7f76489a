"""Kernels and derivatives of arithmetic, powers, signs and rounding."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from telegrad.contract.errors import NumericalError
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.rules.conversion import fits
from telegrad_service.engine.table import Array, derivative, kernel

# Sums, products, quotients ---------------------------------------------------------------------------------------------------


def _scaled(other: Any, alpha: Any) -> Any:
    if type(alpha) is int and isinstance(other, np.ndarray):
        alpha = fits(alpha, other.dtype)  # a negative one wraps around in unsigned types, as in PyTorch
    return other if alpha == 1 else np.multiply(other, alpha)


def _in_place(ufunc: np.ufunc) -> Any:
    """The in-place kernel of a binary ufunc: computed in the operands' type, stored in the target's."""

    def write(target: Array, other: Any) -> None:
        ufunc(target, other, out=target, casting="unsafe")

    return write


def _add_in_place(target: Array, other: Any, alpha: Any) -> None:
    np.add(target, _scaled(other, alpha), out=target, casting="unsafe")


def _subtract_in_place(target: Array, other: Any, alpha: Any) -> None:
    np.subtract(target, _scaled(other, alpha), out=target, casting="unsafe")


@kernel("add", ufunc=np.add, in_place=_add_in_place)
def _add(self: Array, other: Any, alpha: Any) -> Any:
    return np.add(self, _scaled(other, alpha))


derivative("add", self=lambda g: g, other=lambda g, alpha: g if alpha == 1 else g * F.conjugate(alpha))


@kernel("sub", ufunc=np.subtract, in_place=_subtract_in_place)
def _sub(self: Any, other: Any, alpha: Any) -> Any:
    return np.subtract(self, _scaled(other, alpha))


kernel("rsub", lambda self, other, alpha: _sub(other, self, alpha), ufunc=lambda self, other: np.subtract(other, self))
derivative("rsub", self=lambda g, alpha: -g if alpha == 1 else g * F.conjugate(-alpha), other=lambda g: g)
derivative("sub", self=lambda g: g, other=lambda g, alpha: -g if alpha == 1 else g * F.conjugate(-alpha))

kernel("mul", np.multiply, ufunc=np.multiply, in_place=_in_place(np.multiply))
derivative("mul", self=lambda g, other: g * F.conjugate(other), other=lambda g, self: g * F.conjugate(self))


def _refuse_whole_division_by_zero(dividend: Any, divisor: Any) -> None:
    """Integers have no infinity to answer with."""
    if np.result_type(dividend, divisor).kind in "biu" and not np.all(divisor):
        raise NumericalError("ZeroDivisionError: an integer division or modulo by zero")


def _truncated(self: Any, other: Any) -> Any:
    if np.result_type(self, other).kind in "biu":
        # Whole numbers must not pass through floats, which hold only 53 bits.
        floored = np.floor_divide(self, other)
        inexact = np.not_equal(np.multiply(floored, other), self)
        return floored + (inexact & np.less(floored, 0))
    return np.trunc(np.true_divide(self, other))


@kernel("div", ufunc=np.true_divide)
def _div(self: Any, other: Any, rounding_mode: str | None) -> Any:
    if rounding_mode is None:
        return np.true_divide(self, other)
    _refuse_whole_division_by_zero(self, other)
    return np.floor_divide(self, other) if rounding_mode == "floor" else _truncated(self, other)


def _div_self(g: Any, other: Any, rounding_mode: str | None) -> Any:
    return g / F.conjugate(other) if rounding_mode is None else F.zeros(g, g.shape)


def _div_other(g: Any, self: Any, other: Any, rounding_mode: str | None) -> Any:
    return -g * F.conjugate(self / other / other) if rounding_mode is None else F.zeros(g, g.shape)


derivative("div", self=_div_self, other=_div_other)


@kernel("floor_divide", ufunc=np.floor_divide, ufunc_kinds="f")
def _floor_divide(self: Any, other: Any) -> Any:
    _refuse_whole_division_by_zero(self, other)
    return np.floor_divide(self, other)


def _signed_remainder(self: Any, other: Any) -> Any:
    """Numpy gives a zero the sign of the divisor, PyTorch that of the dividend."""
    made = np.remainder(self, other)
    return np.where(made == 0, np.copysign(made, self), made)


@kernel("remainder", ufunc=_signed_remainder, ufunc_kinds="f")
def _remainder(self: Any, other: Any) -> Any:
    _refuse_whole_division_by_zero(self, other)
    return _signed_remainder(self, other) if np.result_type(self, other).kind == "f" else np.remainder(self, other)


derivative(
    "remainder",
    self=lambda g: g,
    other=lambda g, self, other: -g * F.div(self, other, rounding_mode="floor"),
)


@kernel("fmod", ufunc=np.fmod, ufunc_kinds="f")
def _fmod(self: Any, other: Any) -> Any:
    _refuse_whole_division_by_zero(self, other)
    return np.fmod(self, other)


derivative("fmod", self=lambda g: g, other=lambda g, self, other: -g * F.div(self, other, rounding_mode="trunc"))

# Powers ----------------------------------------------------------------------------------------------------------------------


def _power(self: Any, exponent: Any) -> Any:
    """Floating powers; the usual small exponents by multiplication, ten times as fast and closer to exact."""
    if type(exponent) is int or type(exponent) is float:
        if exponent == 2:
            return np.square(self)
        if exponent == 3:
            return np.square(self) * self
        if exponent == 1:
            return np.array(self)
        if exponent == 0.5:
            return np.sqrt(self)
        if exponent == -1:
            return np.reciprocal(self)
        if exponent == -0.5:
            return np.reciprocal(np.sqrt(self))
    return np.power(self, exponent)


def _whole_power(self: Any, exponent: Any) -> Any:
    """Integer powers; a negative exponent leaves only 1, -1 and 0, as truncated division would."""
    negative = np.less(exponent, 0)
    if not np.any(negative):
        return np.power(self, exponent)
    base, exponent = np.broadcast_arrays(self, exponent)
    result = np.power(base, np.where(exponent < 0, 0, exponent))
    odd = exponent % 2 != 0
    reciprocal = np.where(base == 1, 1, np.where(base == -1, np.where(odd, -1, 1), 0))
    return np.where(exponent < 0, reciprocal, result)


@kernel("pow", ufunc=_power)
def _pow(self: Any, exponent: Any) -> Any:
    kind = np.result_type(self, exponent).kind
    if kind == "b":  # the exponent is True or False itself
        return np.logical_or(self, not exponent)
    return _whole_power(self, exponent) if kind in "iu" else _power(self, exponent)


def _is_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic)


def _pow_self(g: Any, self: Any, exponent: Any) -> Any:
    if _is_number(exponent):
        if exponent == 0:
            return F.zeros(g, g.shape)
        if exponent == 2:
            return g * (2 * F.conjugate(self))
        return g * F.conjugate(exponent * self ** (exponent - 1))
    is_zero = F.eq(exponent, 0)
    # x**-1 is infinite at 0, so the exponent 0 is taken out before, not only after.
    safe = F.where(is_zero, 1, exponent)
    return F.where(is_zero, 0, g * F.conjugate(safe * self ** (safe - 1)))


def _pow_exponent(g: Any, self: Any, exponent: Any, result: Any) -> Any:
    if _is_number(self):
        if self == 0:
            return g * F.where(_not_negative(exponent), 0.0, float("-inf"))
        return g * F.conjugate(result * _log_of_number(self, exponent))
    flat = F.logical_and(F.eq(self, 0), _not_negative(exponent))
    safe = F.where(flat, 1, self)
    return F.where(flat, 0, g * F.conjugate(result * F.log(F.astype(safe, result))))


def _not_negative(exponent: Any) -> Any:
    if is_complex(exponent):
        return F.logical_and(F.eq(F.imag(exponent), 0), F.ge(F.real(exponent), 0))
    return F.ge(exponent, 0)


def _log_of_number(number: Any, like: Any) -> Any:
    """The logarithm of a Python number; nan for a negative one unless complex numbers are computed with."""
    if is_complex(number) or is_complex(like):
        return cmath.log(number)
    return math.log(number) if number > 0 else math.nan


derivative("pow", self=_pow_self, exponent=_pow_exponent)

kernel("square", np.square, ufunc=np.square)
derivative("square", self=lambda g, self: g * (2 * F.conjugate(self)))


@kernel("addcmul")
def _addcmul(self: Array, tensor1: Array, tensor2: Array, value: Any) -> Any:
    return self + value * tensor1 * tensor2


derivative(
    "addcmul",
    self=lambda g: g,
    tensor1=lambda g, tensor2, value: g * value.conjugate() * F.conjugate(tensor2),
    tensor2=lambda g, tensor1, value: g * value.conjugate() * F.conjugate(tensor1),
)


@kernel("addcdiv")
def _addcdiv(self: Array, tensor1: Array, tensor2: Array, value: Any) -> Any:
    return self + value * (tensor1 / tensor2)


derivative(
    "addcdiv",
    self=lambda g: g,
    tensor1=lambda g, tensor2, value: g * F.conjugate(value / tensor2),
    tensor2=lambda g, tensor1, tensor2, value: -g * F.conjugate(value * tensor1 / (tensor2 * tensor2)),
)


@kernel("lerp")
def _lerp(self: Array, end: Array, weight: Any) -> Any:
    # From the nearer end, so that weight 1 gives `end` exactly.
    step = end - self
    return np.where(np.abs(weight) < 0.5, self + weight * step, end - step * (1 - weight))


derivative(
    "lerp",
    self=lambda g, weight: g * F.conjugate(1 - weight),
    end=lambda g, weight: g * F.conjugate(weight),
    weight=lambda g, self, end: g * F.conjugate(end - self),
)

# Signs -----------------------------------------------------------------------------------------------------------------------

kernel("neg", np.negative, ufunc=np.negative)
derivative("neg", self=lambda g: -g)

kernel("abs", np.absolute, ufunc=np.absolute)
derivative("abs", self=lambda g, self: g * F.sgn(self))


def _direction(self: Array) -> Any:
    """-1, 0 or 1; 0 for nan, as in PyTorch, where numpy gives nan."""
    if self.dtype.kind == "c":
        length = np.abs(self)
        return np.where(length == 0, 0, self / length)  # not a number at infinities, where numpy's sign is one
    return np.subtract(self > 0, self < 0, dtype=self.dtype)


@kernel("sign", ufunc=_direction, ufunc_kinds="f")
def _sign(self: Array) -> Any:
    return self.copy() if self.dtype.kind == "b" else _direction(self)


derivative("sign", self=lambda g: F.zeros(g, g.shape))


@kernel("sgn", ufunc=_direction)
def _sgn(self: Array) -> Any:
    return self.copy() if self.dtype.kind == "b" else _direction(self)


def _sgn_self(g: Any, self: Any, result: Any) -> Any:
    if not is_complex(self):
        return F.zeros(g, g.shape)
    length = F.abs(self)
    at_zero = F.eq(length, 0)
    along = F.real(g * F.conjugate(result))
    return F.where(at_zero, 0, (g - result * along) / F.where(at_zero, 1, length))


derivative("sgn", self=_sgn_self)

kernel("copysign", np.copysign, ufunc=np.copysign, ufunc_kinds="f")
derivative(
    "copysign",
    self=lambda g, self, result: g * F.where(F.eq(self, 0), 0, F.sgn(result) * F.sgn(self)),
    other=lambda g: F.zeros(g, g.shape),
)


@kernel("heaviside", ufunc_kinds="f")
def _heaviside(self: Array, values: Array) -> Any:
    # Not a number is neither negative nor zero nor positive: 0, as in PyTorch.
    return np.where(self == 0, values, np.greater(self, 0).astype(self.dtype))


kernel("signbit", lambda self: np.signbit(self) if self.dtype.kind == "f" else np.less(self, 0))
kernel("gcd", np.gcd)
kernel("lcm", np.lcm)
kernel("nextafter", np.nextafter, ufunc=np.nextafter, ufunc_kinds="f")
derivative("nextafter", self=lambda g, self, other: F.where(F.ne(self, other), g, 0), other=lambda g: F.zeros(g, g.shape))

# Rounding --------------------------------------------------------------------------------------------------------------------


def _flat(g: Any) -> Any:
    """The derivative of steps."""
    return F.zeros(g, g.shape)


def _whole(ufunc: np.ufunc) -> Any:
    def compute(self: Array) -> Any:
        return self.copy() if self.dtype.kind in "iu" else ufunc(self)

    return compute


for _name, _ufunc in (("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc)):
    kernel(_name, _whole(_ufunc), ufunc=_ufunc, ufunc_kinds="f")
    derivative(_name, self=_flat)


_MAX_DECIMALS = 308
"""The largest power of ten that float64 holds."""


@kernel("round", ufunc=np.rint, ufunc_kinds="f")
def _round(self: Array, decimals: int) -> Any:
    if self.dtype.kind in "iu":
        return self.copy()
    if decimals == 0:
        return np.rint(self)
    if decimals < 0:
        scale = float(10 ** min(-decimals, _MAX_DECIMALS))
        return np.rint(self / scale) * scale
    scale = float(10 ** min(decimals, _MAX_DECIMALS))
    return np.rint(self * scale) / scale


derivative("round", self=_flat)


@kernel("frac", ufunc_kinds="f")
def _frac(self: Array) -> Any:
    return self - np.trunc(self)


derivative("frac", self=lambda g: g)
