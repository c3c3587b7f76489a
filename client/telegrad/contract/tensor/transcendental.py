"""Roots, exponentials, logarithms, trigonometry, hyperbolic functions and their relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import DTypeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, op
from telegrad.contract.shapes import elementwise, real_number, require_differentiable_type, result_type
from telegrad.contract.tensor.base import TensorBase

_cheap = elementwise(to_float=True, flops=2)
_fractional = elementwise(to_float=True, flops=10)


def _real(name: str, flops: int = 10) -> Any:
    return elementwise(to_float=True, flops=flops, refuse="c", name=name)


def _sum_of_exponentials(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    require_differentiable_type("logaddexp", result_type(inputs))
    return elementwise(flops=20)(inputs, p)


def _sum_of_powers_of_two(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    dtype = result_type(inputs)
    require_differentiable_type("logaddexp2", dtype)
    if dtype.is_complex:
        raise UnsupportedDTypeError(f'"logaddexp2" not implemented for {dtype.name}')
    return elementwise(flops=20)(inputs, p)


def _nan_to_num(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    return Outcome((x,), 3 * x.size)


def _angle_unit(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if inputs[0].dtype.is_complex:
        raise DTypeError("deg2rad and rad2deg are not supported on complex tensors.")
    return _cheap(inputs, p)


class TranscendentalOps(TensorBase):
    """Functions of one number, element by element. Integers and bool compute in float32."""

    __slots__ = ()

    # Roots and reciprocals ---------------------------------------------------------------------------------------------------

    @op(_cheap, inplace=True)
    def sqrt(self) -> Self:
        """Square root; of negative numbers, nan.

        Shapes: [...] -> [...]. Gradient: g / (2 * result).
        """
        return self._apply("sqrt", self)

    @op(_cheap, inplace=True)
    def rsqrt(self) -> Self:
        """``1 / sqrt(self)``.

        Shapes: [...] -> [...]. Gradient: -g * result**3 / 2.
        """
        return self._apply("rsqrt", self)

    @op(_cheap, inplace=True)
    def reciprocal(self) -> Self:
        """``1 / self``.

        Shapes: [...] -> [...]. Gradient: -g * result**2.
        """
        return self._apply("reciprocal", self)

    # Exponentials and logarithms ---------------------------------------------------------------------------------------------

    @op(_fractional, inplace=True)
    def exp(self) -> Self:
        """The number e to the power of each element.

        Shapes: [...] -> [...]. Gradient: g * result.
        """
        return self._apply("exp", self)

    @op(_fractional, inplace=True)
    def exp2(self) -> Self:
        """2 to the power of each element.

        Shapes: [...] -> [...]. Gradient: g * result * ln 2.
        """
        return self._apply("exp2", self)

    @op(_fractional, inplace=True)
    def expm1(self) -> Self:
        """``exp(self) - 1``, exact near 0.

        Shapes: [...] -> [...]. Gradient: g * (result + 1).
        """
        return self._apply("expm1", self)

    @op(_fractional, inplace=True)
    def log(self) -> Self:
        """Natural logarithm; of 0, -inf; of negative real numbers, nan.

        Shapes: [...] -> [...]. Gradient: g / self.
        """
        return self._apply("log", self)

    @op(_fractional, inplace=True)
    def log2(self) -> Self:
        """Logarithm to base 2.

        Shapes: [...] -> [...]. Gradient: g / (self * ln 2).
        """
        return self._apply("log2", self)

    @op(_fractional, inplace=True)
    def log10(self) -> Self:
        """Logarithm to base 10.

        Shapes: [...] -> [...]. Gradient: g / (self * ln 10).
        """
        return self._apply("log10", self)

    @op(_fractional, inplace=True, node="Log1PBackward0")
    def log1p(self) -> Self:
        """``log(1 + self)``, exact near 0.

        Shapes: [...] -> [...]. Gradient: g / (1 + self).
        """
        return self._apply("log1p", self)

    # Trigonometry, in radians ------------------------------------------------------------------------------------------------

    @op(_fractional, inplace=True)
    def sin(self) -> Self:
        """Sine of radians.

        Shapes: [...] -> [...]. Gradient: g * cos(self).
        """
        return self._apply("sin", self)

    @op(_fractional, inplace=True)
    def cos(self) -> Self:
        """Cosine of radians.

        Shapes: [...] -> [...]. Gradient: -g * sin(self).
        """
        return self._apply("cos", self)

    @op(_fractional, inplace=True)
    def tan(self) -> Self:
        """Tangent of radians.

        Shapes: [...] -> [...]. Gradient: g * (1 + result**2).
        """
        return self._apply("tan", self)

    @op(_fractional, inplace=True)
    def asin(self) -> Self:
        """Inverse sine, in radians; nan outside [-1, 1].

        Shapes: [...] -> [...]. Gradient: g / sqrt(1 - self**2).
        """
        return self._apply("asin", self)

    @op(_fractional, inplace=True)
    def acos(self) -> Self:
        """Inverse cosine, in radians; nan outside [-1, 1].

        Shapes: [...] -> [...]. Gradient: -g / sqrt(1 - self**2).
        """
        return self._apply("acos", self)

    @op(_fractional, inplace=True)
    def atan(self) -> Self:
        """Inverse tangent, in radians.

        Shapes: [...] -> [...]. Gradient: g / (1 + self**2).
        """
        return self._apply("atan", self)

    # Hyperbolic functions ----------------------------------------------------------------------------------------------------

    @op(_fractional, inplace=True)
    def sinh(self) -> Self:
        """Hyperbolic sine.

        Shapes: [...] -> [...]. Gradient: g * cosh(self).
        """
        return self._apply("sinh", self)

    @op(_fractional, inplace=True)
    def cosh(self) -> Self:
        """Hyperbolic cosine.

        Shapes: [...] -> [...]. Gradient: g * sinh(self).
        """
        return self._apply("cosh", self)

    @op(_fractional, inplace=True)
    def tanh(self) -> Self:
        """Hyperbolic tangent.

        Shapes: [...] -> [...]. Gradient: g * (1 - result**2).
        """
        return self._apply("tanh", self)

    @op(_fractional, inplace=True)
    def asinh(self) -> Self:
        """Inverse hyperbolic sine.

        Shapes: [...] -> [...]. Gradient: g / sqrt(self**2 + 1).
        """
        return self._apply("asinh", self)

    @op(_fractional, inplace=True)
    def acosh(self) -> Self:
        """Inverse hyperbolic cosine; nan below 1.

        Shapes: [...] -> [...]. Gradient: g / sqrt(self**2 - 1).
        """
        return self._apply("acosh", self)

    @op(_fractional, inplace=True)
    def atanh(self) -> Self:
        """Inverse hyperbolic tangent; nan outside [-1, 1].

        Shapes: [...] -> [...]. Gradient: g / (1 - self**2).
        """
        return self._apply("atanh", self)

    @op(_fractional, inplace=True)
    def sigmoid(self) -> Self:
        """Logistic function, ``1 / (1 + exp(-self))``.

        Shapes: [...] -> [...]. Gradient: g * result * (1 - result).
        """
        return self._apply("sigmoid", self)

    # Error function ----------------------------------------------------------------------------------------------------------

    @op(_real("erf", 30), inplace=True)
    def erf(self) -> Self:
        """Error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to ``self``.

        Shapes: [...] -> [...]. Gradient: g * 2 / sqrt(pi) * exp(-self**2). Source: Cody (1969), Mathematics of Computation 23.
        """
        return self._apply("erf", self)

    @op(_real("erfc", 30), inplace=True)
    def erfc(self) -> Self:
        """``1 - erf(self)``, exact where that is tiny.

        Shapes: [...] -> [...]. Gradient: -g * 2 / sqrt(pi) * exp(-self**2). Source: Cody (1969), Mathematics of Computation 23.
        """
        return self._apply("erfc", self)

    # Of several numbers ------------------------------------------------------------------------------------------------------

    @op(_real("atan2"), inplace=True)
    def atan2(self, other: Self) -> Self:
        """Angle of the point (x=other, y=self), in radians, in (-pi, pi].

        Shapes: [...], [...] -> broadcast. Gradient: g * other / (self**2 + other**2); -g * self / (self**2 + other**2);
        0 at the origin.
        """
        return self._apply("atan2", self, other)

    @op(_sum_of_exponentials)
    def logaddexp(self, other: Self) -> Self:
        """``log(exp(self) + exp(other))``, without overflow.

        Shapes: [...], [...] -> broadcast. Gradient: g * sigmoid(self - other); g * sigmoid(other - self).
        """
        return self._apply("logaddexp", self, other)

    @op(_sum_of_powers_of_two)
    def logaddexp2(self, other: Self) -> Self:
        """``log2(2**self + 2**other)``, without overflow.

        Shapes: [...], [...] -> broadcast. Gradient: g / (1 + 2**(other - self)); g / (1 + 2**(self - other)).
        """
        return self._apply("logaddexp2", self, other)

    @op(elementwise(flops=4, refuse="bic", name="hypot"), inplace=True)
    def hypot(self, other: Self) -> Self:
        """``sqrt(self**2 + other**2)``, without overflow.

        Shapes: [...], [...] -> broadcast. Gradient: g * self / result; g * other / result.
        """
        return self._apply("hypot", self, other)

    @op(_real("xlogy"), inplace=True, reflected=True)
    def xlogy(self, other: Self | Number) -> Self:
        """``self * log(other)``, 0 where ``self`` is 0 unless ``other`` is not a number.

        Shapes: [...], [...] -> broadcast. Gradient: g * log(other), 0 where self is 0 and other not positive; g * self / other.
        """
        return self._apply("xlogy", self, other)

    @op(_fractional, inplace=True)
    def sinc(self) -> Self:
        """``sin(pi * self) / (pi * self)``, 1 at 0.

        Shapes: [...] -> [...]. Gradient: g * (cos(pi * self) - result) / self, 0 at 0.
        """
        return self._apply("sinc", self)

    @op(_real("logit"), inplace=True)
    def logit(self, eps: float | None = None) -> Self:
        """``log(self / (1 - self))``, after a clamp to [eps, 1 - eps] if ``eps`` is given.

        Shapes: [...] -> [...]. Gradient: g / (self * (1 - self)); outside [0, 1] nan, outside [eps, 1 - eps] 0.
        """
        return self._apply("logit", self, eps=None if eps is None else real_number(eps, "eps"))

    def float_power(self, exponent: Self | Number) -> Self:
        """``pow`` computed in float64, or in complex128 where either is complex."""
        values = [getattr(value, "dtype", value) for value in (self, exponent)]
        is_complex = any(isinstance(v, complex) or (isinstance(v, dtypes.DType) and v.is_complex) for v in values)
        wide = dtypes.complex128 if is_complex else dtypes.float64
        power: Any = exponent
        if isinstance(exponent, TensorBase):
            power = self._apply("to", exponent, dtype=wide)
        return self._apply("pow", self._apply("to", self, dtype=wide), power)

    @op(_nan_to_num, inplace=True)
    def nan_to_num(self, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Self:
        """``nan`` (0), ``posinf`` (the type's greatest number) and ``neginf`` (its least) in place of what is not finite.

        Shapes: [...] -> [...]. Gradient: g where finite, else 0.
        """
        return self._apply("nan_to_num", self, nan=nan, posinf=posinf, neginf=neginf)

    @op(_angle_unit, inplace=True, node="Deg2Rad")
    def deg2rad(self) -> Self:
        """Degrees as radians.

        Shapes: [...] -> [...]. Gradient: g * pi / 180.
        """
        return self._apply("deg2rad", self)

    @op(_angle_unit, inplace=True, node="Rad2Deg")
    def rad2deg(self) -> Self:
        """Radians as degrees.

        Shapes: [...] -> [...]. Gradient: g * 180 / pi.
        """
        return self._apply("rad2deg", self)

    arcsin = asin
    arccos = acos
    arctan = atan
    arctan2 = atan2
    arcsinh = asinh
    arccosh = acosh
    arctanh = atanh
