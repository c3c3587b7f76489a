"""Arithmetic, powers, signs and rounding, with Python's arithmetic operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType, Number
from telegrad.contract.errors import DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.literal import check_fits
from telegrad.contract.ops import Outcome, Spec, op
from telegrad.contract.shapes import elementwise, number_type, require_differentiable_type, result_type
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.factors import scaled

ROUNDING_MODES = ("trunc", "floor")

_STEPS = "it is piecewise constant, and PyTorch has no derivative of it"
_any_numbers = elementwise()
_to_float = elementwise(to_float=True)


def _type_of(value: Any) -> DType:
    return value.dtype if isinstance(value, Spec) else number_type(value)


def _scaled(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of add and sub: ``alpha`` must not lift the result's type."""
    outcome = _any_numbers(inputs, p)
    alpha, category = p["alpha"], outcome.outputs[0].dtype.category
    kind = number_type(alpha).category
    if kind == 0 and category != 0:
        raise DTypeError("Boolean alpha only supported for Boolean results.")
    if kind == 2 and category < 2:
        raise DTypeError("For integral input tensors, argument alpha must not be a floating point number.")
    if kind == 3 and category < 3:
        raise DTypeError("For non-complex input tensors, argument alpha must not be a complex number.")
    check_fits(alpha, outcome.outputs[0].dtype)
    return outcome


def _subtraction(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    count = [_type_of(i) is dtypes.bool_ for i in inputs].count(True)
    if count == 2:
        raise DTypeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if count == 1:
        raise DTypeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the "
            "`~` or `logical_not()` operator instead."
        )
    return _scaled(inputs, p)


_whole_division = elementwise(refuse="bc", name="div_floor")


def _division(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    mode = p["rounding_mode"]
    if mode is None:
        return _to_float(inputs, p)
    if mode not in ROUNDING_MODES:
        # PyTorch raises RuntimeError here, not ValueError.
        raise ShapeError("div expected rounding_mode to be one of None, 'trunc', or 'floor'")
    return _whole_division(inputs, p)


def _power(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    dtype = result_type(inputs)
    exponent = inputs[1]
    if dtype is dtypes.bool_ and type(exponent) is not bool:
        raise UnsupportedDTypeError(
            '"pow" not implemented for bool; convert the tensor first, for example with .to(telegrad.int64)'
        )
    if dtype.category == 1 and not isinstance(exponent, Spec) and exponent < 0:
        raise DTypeError("Integers to negative integer powers are not allowed.")
    if not isinstance(exponent, Spec):
        check_fits(exponent, dtype)
    return elementwise(flops=10)(inputs, p)


def _square(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    # The number 2 lifts bool to int64, as in `x ** 2`.
    return _any_numbers((inputs[0], 2), p)


def _negation(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if inputs[0].dtype is dtypes.bool_:
        raise DTypeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
            "`logical_not()` operator instead."
        )
    return _any_numbers(inputs, p)


def _absolute(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    if x.dtype is dtypes.bool_:
        raise UnsupportedDTypeError('"abs" not implemented for bool')
    return Outcome((Spec(x.shape, dtypes.to_real(x.dtype)),), x.size)


def _sign(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if inputs[0].dtype.is_complex:
        raise UnsupportedDTypeError("Unlike NumPy, torch.sign is not intended to support complex numbers. Please use sgn instead.")
    return _any_numbers(inputs, p)


def _rounding(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    if p["decimals"] != 0 and x.dtype.category == 1:
        raise UnsupportedDTypeError(f'"round" with decimals not implemented for {x.dtype.name}')
    return elementwise(refuse="bc", name="round")(inputs, p)


def _interpolation(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    start, end, weight = inputs
    promoted = not isinstance(weight, Spec) or not weight.shape  # a weight without dimensions stands for a number
    for name, value in (("end", end), ("weight", start if promoted else weight)):
        if value.dtype is not start.dtype:
            raise DTypeError(f"expected dtype {start.dtype.name} for `{name}` but got dtype {value.dtype.name}")
    require_differentiable_type("lerp", start.dtype)
    if not isinstance(weight, Spec):
        check_fits(weight, start.dtype)
    return elementwise(flops=3)(inputs, p)


def _real_value(name: str, outcome: Outcome, value: Any) -> Outcome:
    if isinstance(value, complex) and outcome.outputs[0].dtype.category < 3:
        raise DTypeError(f"{name}(): for non-complex input tensors, argument value must not be a complex number")
    return outcome


def _multiply_add(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    return _real_value("addcmul", elementwise(refuse="b", name="addcmul", flops=3)(inputs, p), p["value"])


def _divide_add(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if result_type(inputs[1:]).category < 2:
        raise DTypeError("Integer division with addcdiv is not supported; convert the tensors to a floating type first")
    return _real_value("addcdiv", elementwise(refuse="b", name="addcdiv", flops=3)(inputs, p), p["value"])


def _step(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x, values = inputs
    if x.dtype.is_complex or values.dtype.is_complex:
        raise DTypeError("heaviside is not yet implemented for complex tensors.")
    if x.dtype is not values.dtype:
        raise DTypeError("heaviside is not yet implemented for tensors with different dtypes.")
    return _any_numbers(inputs, p)


def _sign_bit(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    if x.dtype.is_complex:
        raise UnsupportedDTypeError("signbit is not implemented for complex tensors.")
    return Outcome((Spec(x.shape, dtypes.bool_),), x.size)


class ElementwiseOps(TensorBase):
    """Element-by-element arithmetic. Inputs broadcast; types promote as in PyTorch."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    # Sums, products, quotients -----------------------------------------------------------------------------------------------

    @op(_scaled, inplace=True)
    def add(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """Sum, ``self + alpha * other``.

        Shapes: [...], [...] -> broadcast. Gradient: g; alpha * g.
        """
        if type(alpha) is int and alpha == 1:
            return self._apply("add", self, other)
        product = scaled(other, alpha)
        return self._apply("add", self, other, alpha=alpha) if product is None else self._apply("add", self, product)

    @op(_subtraction, inplace=True, reflected=True)
    def sub(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """Difference, ``self - alpha * other``.

        Shapes: [...], [...] -> broadcast. Gradient: g; -alpha * g. Raises: DTypeError for bool.
        """
        if type(alpha) is int and alpha == 1:
            return self._apply("sub", self, other)
        product = scaled(other, alpha)
        return self._apply("sub", self, other, alpha=alpha) if product is None else self._apply("sub", self, product)

    @op(_subtraction, name="rsub")
    def _rsub(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """Difference the other way round, ``other - alpha * self``: what ``1 - x`` is.

        Shapes: [...], [...] -> broadcast. Gradient: -alpha * g; g. Raises: DTypeError for bool.
        """
        return self._apply("rsub", self, other, alpha=alpha)

    @op(_any_numbers, inplace=True)
    def mul(self, other: Self | Number) -> Self:
        """Product.

        Shapes: [...], [...] -> broadcast. Gradient: g * other; g * self (conjugated if complex).
        """
        return self._apply("mul", self, other)

    @op(_division, inplace=True, reflected=True)
    def div(self, other: Self | Number, *, rounding_mode: str | None = None) -> Self:
        """Quotient; with ``rounding_mode`` "trunc" rounded towards zero, with "floor" downwards.

        Shapes: [...], [...] -> broadcast. dtype: integers divide in float32 unless rounded. Gradient: g / other;
        -g * self / other**2; zeros when rounded. Raises: NumericalError for a rounded integer division by zero.
        """
        if rounding_mode is None:
            return self._apply("div", self, other)
        return self._apply("div", self, other, rounding_mode=rounding_mode)

    @op(_whole_division, refuses=True, reason=_STEPS, inplace=True, reflected=True, node="NotImplemented")
    def floor_divide(self, other: Self | Number) -> Self:
        """Quotient rounded downwards, as Python's ``//``. Has no derivative, as in PyTorch: backward refuses to pass it.

        Shapes: [...], [...] -> broadcast. Raises: NumericalError for an integer division by zero.
        """
        return self._apply("floor_divide", self, other)

    @op(elementwise(refuse="bc", name="remainder"), inplace=True, reflected=True)
    def remainder(self, other: Self | Number) -> Self:
        """Remainder with the sign of ``other``, as Python's ``%``.

        Shapes: [...], [...] -> broadcast. Gradient: g; -g * floor(self / other). Raises: NumericalError for an integer modulo zero.
        """
        return self._apply("remainder", self, other)

    @op(elementwise(refuse="bc", name="fmod"), inplace=True)
    def fmod(self, other: Self | Number) -> Self:
        """Remainder with the sign of ``self``, as C's ``fmod``.

        Shapes: [...], [...] -> broadcast. Gradient: g; -g * trunc(self / other). Raises: NumericalError for an integer modulo zero.
        """
        return self._apply("fmod", self, other)

    @op(_power, inplace=True, reflected=True)
    def pow(self, exponent: Self | Number) -> Self:
        """Power.

        Shapes: [...], [...] -> broadcast. Gradient: g * exponent * self**(exponent - 1), 0 where exponent is 0;
        g * result * log(self), 0 where self is 0 and exponent is not negative.
        Raises: DTypeError for integers to a negative number.
        """
        return self._apply("pow", self, exponent)

    @op(_square, node="Pow", inplace=True)
    def square(self) -> Self:
        """``self * self``.

        Shapes: [...] -> [...]. dtype: bool squares in int64. Gradient: 2 * g * self.
        """
        return self._apply("square", self)

    @op(_multiply_add, inplace=True)
    def addcmul(self, tensor1: Self, tensor2: Self, *, value: Number = 1) -> Self:
        """``self + value * tensor1 * tensor2``.

        Shapes: [...], [...], [...] -> broadcast. Gradient: g; g * value * tensor2; g * value * tensor1.
        """
        product = scaled(tensor1, value)
        if product is not None:
            return self._apply("addcmul", self, product, tensor2)
        return self._apply("addcmul", self, tensor1, tensor2, value=value)

    @op(_divide_add, inplace=True)
    def addcdiv(self, tensor1: Self, tensor2: Self, *, value: Number = 1) -> Self:
        """``self + value * tensor1 / tensor2``.

        Shapes: [...], [...], [...] -> broadcast. Gradient: g; g * value / tensor2; -g * value * tensor1 / tensor2**2.
        """
        product = scaled(tensor1, value)
        if product is not None:
            return self._apply("addcdiv", self, product, tensor2)
        return self._apply("addcdiv", self, tensor1, tensor2, value=value)

    @op(_interpolation, inplace=True)
    def lerp(self, end: Self, weight: Self | Number) -> Self:
        """Linear interpolation, ``self + weight * (end - self)``.

        Shapes: [...], [...], [...] -> broadcast. Gradient: g * (1 - weight); g * weight; g * (end - self).
        """
        return self._apply("lerp", self, end, weight)

    # Signs -------------------------------------------------------------------------------------------------------------------

    @op(_negation, inplace=True)
    def neg(self) -> Self:
        """Negative.

        Shapes: [...] -> [...]. Gradient: -g. Raises: DTypeError for bool.
        """
        return self._apply("neg", self)

    def positive(self) -> Self:
        """The tensor itself. Raises DTypeError for bool."""
        if self.dtype is dtypes.bool_:
            raise DTypeError("The `+` operator, on a bool tensor is not supported.")
        return self

    @op(_absolute, inplace=True)
    def abs(self) -> Self:
        """Absolute value; of complex numbers, their length.

        Shapes: [...] -> [...]. Gradient: g * sgn(self), so 0 at 0.
        """
        return self._apply("abs", self)

    @op(_sign, inplace=True)
    def sign(self) -> Self:
        """-1, 0 or 1. Raises DTypeError for complex numbers, which have ``sgn``.

        Shapes: [...] -> [...]. Gradient: 0.
        """
        return self._apply("sign", self)

    @op(_any_numbers, inplace=True)
    def sgn(self) -> Self:
        """``sign``; of complex numbers, ``self / abs(self)``, and 0 at 0.

        Shapes: [...] -> [...]. Gradient: 0; for complex numbers (g - result * Re(g * conj(result))) / abs(self).
        """
        return self._apply("sgn", self)

    @op(elementwise(to_float=True, refuse="c", name="copysign"), inplace=True)
    def copysign(self, other: Self | Number) -> Self:
        """The size of ``self`` with the sign of ``other``, also that of a zero.

        Shapes: [...], [...] -> broadcast. dtype: integers give float32. Gradient: g * result / self, 0 where self is 0; 0.
        """
        return self._apply("copysign", self, other)

    @op(_step, refuses=True, reason=_STEPS, inplace=True, node="NotImplemented")
    def heaviside(self, values: Self) -> Self:
        """0 where negative, 1 where positive, ``values`` where zero. Has no derivative, as in PyTorch: backward refuses to pass it.

        Shapes: [...], [...] -> broadcast. Raises: DTypeError for two types, and for complex numbers.
        """
        return self._apply("heaviside", self, values)

    @op(_sign_bit, differentiable=(), reason="it is a truth value")
    def signbit(self) -> Self:
        """Whether the sign is a minus, also that of a zero.

        Shapes: [...] -> [...] of bool. Raises: DTypeError for complex numbers.
        """
        return self._apply("signbit", self)

    @op(elementwise(refuse="bic", name="nextafter"), inplace=True)
    def nextafter(self, other: Self) -> Self:
        """The next number that the type can hold, from ``self`` towards ``other``.

        Shapes: [...], [...] -> broadcast. Gradient: g, 0 where the two are equal; 0.
        """
        return self._apply("nextafter", self, other)

    @op(elementwise(refuse="bfc", name="gcd"), differentiable=(), reason="it works on whole numbers", inplace=True)
    def gcd(self, other: Self) -> Self:
        """Greatest common divisor, never negative.

        Shapes: [...], [...] -> broadcast. Raises: DTypeError but for integers.
        """
        return self._apply("gcd", self, other)

    @op(elementwise(refuse="bfc", name="lcm"), differentiable=(), reason="it works on whole numbers", inplace=True)
    def lcm(self, other: Self) -> Self:
        """Least common multiple, never negative; 0 where either is 0.

        Shapes: [...], [...] -> broadcast. Raises: DTypeError but for integers.
        """
        return self._apply("lcm", self, other)

    # Rounding ----------------------------------------------------------------------------------------------------------------

    @op(elementwise(refuse="bc", name="floor"), inplace=True)
    def floor(self) -> Self:
        """Largest whole number not above.

        Shapes: [...] -> [...]. Gradient: 0.
        """
        return self._apply("floor", self)

    @op(elementwise(refuse="bc", name="ceil"), inplace=True)
    def ceil(self) -> Self:
        """Smallest whole number not below.

        Shapes: [...] -> [...]. Gradient: 0.
        """
        return self._apply("ceil", self)

    @op(_rounding, inplace=True)
    def round(self, *, decimals: int = 0) -> Self:
        """Nearest whole number, halves to the even one; with ``decimals``, nearest multiple of ``10**-decimals``.

        Shapes: [...] -> [...]. Gradient: 0.
        """
        if decimals == 0:
            return self._apply("round", self)
        return self._apply("round", self, decimals=decimals)

    @op(elementwise(refuse="bc", name="trunc"), inplace=True)
    def trunc(self) -> Self:
        """The whole part, towards zero.

        Shapes: [...] -> [...]. Gradient: 0.
        """
        return self._apply("trunc", self)

    @op(elementwise(refuse="bic", name="frac"), inplace=True)
    def frac(self) -> Self:
        """``self - trunc(self)``.

        Shapes: [...] -> [...]. Gradient: g.
        """
        return self._apply("frac", self)

    # Other names -------------------------------------------------------------------------------------------------------------

    subtract = sub
    multiply = mul
    divide = div
    true_divide = div
    negative = neg
    absolute = abs
    fix = trunc
