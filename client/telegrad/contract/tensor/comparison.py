"""Comparison, logic, bits, tests of values, and choosing between values: maximum, minimum, clamp, where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy.typing as npt

from telegrad.contract import dtypes, notices
from telegrad.contract.dtypes import DType, Number
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.literal import check_fits
from telegrad.contract.ops import Outcome, Shape, Spec, op
from telegrad.contract.shapes import broadcast, elementwise, real_number, result_type
from telegrad.contract.tensor.arrays import ARRAY, deferred, is_operand, with_array
from telegrad.contract.tensor.base import TensorBase

T = TypeVar("T", bound=TensorBase)

# Python then asks the other operand, and falls back to identity: `x == None` is False, as in PyTorch.
_NOT_COMPARABLE: Any = NotImplemented

STEP = "it is a truth value"
BITS = "it works on whole numbers"


def _shapes(inputs: Sequence[Any]) -> tuple[int, ...]:
    return broadcast(*[i.shape for i in inputs if isinstance(i, Spec)])


def _compare(name: str, *, ordered: bool) -> Any:
    promoted = elementwise(result=dtypes.bool_, refuse="c" if ordered else "", name=name)

    def rule(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
        outcome = promoted(inputs, p)
        for value in inputs:
            if outcome.compute is not None and outcome.compute.category == 1 and type(value) is int:
                bits = 8 * outcome.compute.itemsize - outcome.compute.is_signed
                if not -(2**bits) * outcome.compute.is_signed <= value < 2**bits:
                    # A number that the elements' type cannot hold is compared in one that can, not wrapped around.
                    return outcome._replace(compute=dtypes.int64)
        return outcome

    return rule


def _truth(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of ops that look at each input's own type and answer bool."""
    shape = _shapes(inputs)
    spec = Spec(shape, dtypes.bool_)
    return Outcome((spec,), spec.size)


def _close(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    a, b = inputs
    if a.dtype is not b.dtype:
        raise DTypeError(f"{a.dtype.name} did not match {b.dtype.name}; convert one of them with .to(...)")
    for name in ("rtol", "atol"):
        if not p[name] >= 0:
            raise ShapeError(f"{name} must be greater than or equal to zero")  # RuntimeError, as in PyTorch
    return _truth(inputs, p)


def _extreme(name: str) -> Any:
    promoted = elementwise()

    def rule(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
        outcome = promoted(inputs, p)
        if outcome.outputs[0].dtype.is_complex:
            raise UnsupportedDTypeError(f"{name} not implemented for complex tensors.")
        return outcome

    return rule


def _infinite(name: str) -> Any:
    def rule(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
        if inputs[0].dtype.is_complex:
            raise DTypeError(f"{name} does not support complex inputs.")
        return _truth(inputs, p)

    return rule


def _clamp(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if all(bound is None for bound in inputs[1:]):
        raise ShapeError("torch.clamp: At least one of 'min' or 'max' must not be None")  # RuntimeError, as in PyTorch
    dtype = result_type(inputs)
    numbers = [bound for bound in inputs[1:] if bound is not None and not isinstance(bound, Spec)]
    if dtype.is_complex or (dtype is dtypes.bool_ and numbers):
        raise UnsupportedDTypeError(f'"clamp" not implemented for {dtype.name}')
    for bound in numbers:
        check_fits(bound, dtype)
    return elementwise(flops=2)(inputs, p)


def _where(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    condition, first, second = inputs
    if condition.dtype is not dtypes.bool_:
        raise DTypeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype.name}")
    dtype = result_type((first, second))
    spec = Spec(_shapes(inputs), dtype)
    return Outcome((spec,), spec.size)


_bitwise = elementwise(refuse="fc", name="bitwise")
_shift = elementwise(refuse="bfc", name="shift")


def _flattened(inputs: Sequence[Any], _p: Mapping[str, Any]) -> Outcome:
    return Outcome((inputs[0],), inputs[0].size)


class ComparisonOps(TensorBase):
    """Comparison and logic. Inputs broadcast; answers are bool."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    def _value(self) -> npt.NDArray[Any]:
        raise NotImplementedError

    # Comparison --------------------------------------------------------------------------------------------------------------

    @op(_flattened, namespace="internal", differentiable=("self", "other"))
    def _compared_in_place(self, other: Self | Number, mask: Self, *, node: str) -> Self:
        """``mask`` in the type of the tensor that it is written into: what a comparison in place leaves, whose node has the name
        ``node``.

        Shapes: [...], [...], [...] -> [...]. Gradient: zeros.
        """
        return self._apply("_compared_in_place", self, other, mask, node=node)

    @op(_compare("eq", ordered=False), differentiable=(), reason=STEP, inplace=True, flat_in_place=True)
    def eq(self, other: Self | Number) -> Self:
        """Whether equal, as bool.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("eq", self, other)

    @op(_compare("ne", ordered=False), differentiable=(), reason=STEP, inplace=True, flat_in_place=True)
    def ne(self, other: Self | Number) -> Self:
        """Whether different, as bool.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("ne", self, other)

    @op(_compare("lt", ordered=True), differentiable=(), reason=STEP, inplace=True, flat_in_place=True)
    def lt(self, other: Self | Number) -> Self:
        """Whether less, as bool. Raises DTypeError for complex numbers.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("lt", self, other)

    @op(_compare("le", ordered=True), differentiable=(), reason=STEP, inplace=True, flat_in_place=True)
    def le(self, other: Self | Number) -> Self:
        """Whether less or equal, as bool. Raises DTypeError for complex numbers.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("le", self, other)

    @op(_compare("gt", ordered=True), differentiable=(), reason=STEP, inplace=True, flat_in_place=True)
    def gt(self, other: Self | Number) -> Self:
        """Whether greater, as bool. Raises DTypeError for complex numbers.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("gt", self, other)

    @op(_compare("ge", ordered=True), differentiable=(), reason=STEP, inplace=True, flat_in_place=True)
    def ge(self, other: Self | Number) -> Self:
        """Whether greater or equal, as bool. Raises DTypeError for complex numbers.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("ge", self, other)

    def greater(self, other: Self | Number) -> Self:
        """``gt`` under numpy's name."""
        return self._apply("gt", self, other)

    def greater_equal(self, other: Self | Number) -> Self:
        """``ge`` under numpy's name."""
        return self._apply("ge", self, other)

    def less(self, other: Self | Number) -> Self:
        """``lt`` under numpy's name."""
        return self._apply("lt", self, other)

    def less_equal(self, other: Self | Number) -> Self:
        """``le`` under numpy's name."""
        return self._apply("le", self, other)

    def not_equal(self, other: Self | Number) -> Self:
        """``ne`` under numpy's name."""
        return self._apply("ne", self, other)

    # Logic and bits ----------------------------------------------------------------------------------------------------------

    @op(_truth, differentiable=(), reason=STEP, inplace=True)
    def logical_and(self, other: Self) -> Self:
        """Whether both are not zero.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("logical_and", self, other)

    @op(_truth, differentiable=(), reason=STEP, inplace=True)
    def logical_or(self, other: Self) -> Self:
        """Whether either is not zero.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("logical_or", self, other)

    @op(_truth, differentiable=(), reason=STEP, inplace=True)
    def logical_xor(self, other: Self) -> Self:
        """Whether exactly one is not zero.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("logical_xor", self, other)

    @op(_truth, differentiable=(), reason=STEP, inplace=True)
    def logical_not(self) -> Self:
        """Whether zero.

        Shapes: [...] -> [...].
        """
        return self._apply("logical_not", self)

    @op(_bitwise, differentiable=(), reason=BITS, inplace=True)
    def bitwise_and(self, other: Self | Number) -> Self:
        """Bits set in both; of bool, logical and. Raises DTypeError for floating types.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("bitwise_and", self, other)

    @op(_bitwise, differentiable=(), reason=BITS, inplace=True)
    def bitwise_or(self, other: Self | Number) -> Self:
        """Bits set in either; of bool, logical or. Raises DTypeError for floating types.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("bitwise_or", self, other)

    @op(_bitwise, differentiable=(), reason=BITS, inplace=True)
    def bitwise_xor(self, other: Self | Number) -> Self:
        """Bits set in exactly one; of bool, logical xor. Raises DTypeError for floating types.

        Shapes: [...], [...] -> broadcast.
        """
        return self._apply("bitwise_xor", self, other)

    @op(_shift, differentiable=(), reason=BITS, inplace=True, reflected=True)
    def bitwise_left_shift(self, other: Self | Number) -> Self:
        """Bits moved left by ``other``, as Python's ``<<``; 0 where ``other`` is negative or no smaller than the type's bits.

        Shapes: [...], [...] -> broadcast. Raises: DTypeError for bool, floating and complex types.
        """
        return self._apply("bitwise_left_shift", self, other)

    @op(_shift, differentiable=(), reason=BITS, inplace=True, reflected=True)
    def bitwise_right_shift(self, other: Self | Number) -> Self:
        """Bits moved right by ``other``, the sign kept, as Python's ``>>``; 0 or -1 where nothing is left.

        Shapes: [...], [...] -> broadcast. Raises: DTypeError for bool, floating and complex types.
        """
        return self._apply("bitwise_right_shift", self, other)

    @op(_bitwise, differentiable=(), reason=BITS, inplace=True)
    def bitwise_not(self) -> Self:
        """All bits flipped; of bool, logical not. Raises DTypeError for floating types.

        Shapes: [...] -> [...].
        """
        return self._apply("bitwise_not", self)

    # Tests of values ---------------------------------------------------------------------------------------------------------

    @op(_truth, differentiable=(), reason=STEP)
    def isnan(self) -> Self:
        """Whether not a number.

        Shapes: [...] -> [...].
        """
        return self._apply("isnan", self)

    @op(_truth, differentiable=(), reason=STEP)
    def isinf(self) -> Self:
        """Whether infinite, of either sign.

        Shapes: [...] -> [...].
        """
        return self._apply("isinf", self)

    @op(_truth, differentiable=(), reason=STEP)
    def isfinite(self) -> Self:
        """Whether neither infinite nor not a number.

        Shapes: [...] -> [...].
        """
        return self._apply("isfinite", self)

    @op(_infinite("isposinf"), differentiable=(), reason=STEP)
    def isposinf(self) -> Self:
        """Whether infinite and positive.

        Shapes: [...] -> [...]. Raises: DTypeError for complex numbers.
        """
        return self._apply("isposinf", self)

    @op(_infinite("isneginf"), differentiable=(), reason=STEP)
    def isneginf(self) -> Self:
        """Whether infinite and negative.

        Shapes: [...] -> [...]. Raises: DTypeError for complex numbers.
        """
        return self._apply("isneginf", self)

    @op(_truth, differentiable=(), reason=STEP)
    def isreal(self) -> Self:
        """Whether the imaginary part is zero.

        Shapes: [...] -> [...].
        """
        return self._apply("isreal", self)

    @op(_close, differentiable=(), reason=STEP)
    def isclose(self, other: Self, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Self:
        """Whether ``abs(self - other) <= atol + rtol * abs(other)``; equal infinities are close.

        Shapes: [...], [...] -> broadcast. Raises: DTypeError for tensors of two types.
        """
        return self._apply(
            "isclose", self, other, rtol=real_number(rtol, "rtol"), atol=real_number(atol, "atol"), equal_nan=equal_nan
        )

    def allclose(self, other: Self, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
        """Whether all elements are close (see ``isclose``), as a Python bool."""
        return bool(self.isclose(other, rtol, atol, equal_nan)._value().all())

    def equal(self, other: Self) -> bool:
        """Whether both have the same shape and equal elements, as a Python bool. Raises ArgumentTypeError unless it is a tensor."""
        if not isinstance(other, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"equal(): argument 'other' must be Tensor, not {type(other).__name__}")
        if self.shape != other.shape:
            return False
        return bool(self.eq(other)._value().all())

    # Choosing ----------------------------------------------------------------------------------------------------------------

    @op(_extreme("maximum"))
    def maximum(self, other: Self) -> Self:
        """The greater of each pair; not a number where either is.

        Shapes: [...], [...] -> broadcast. Gradient: g to the greater; half to each where equal.
        """
        return self._apply("maximum", self, other)

    @op(_extreme("minimum"))
    def minimum(self, other: Self) -> Self:
        """The lesser of each pair; not a number where either is.

        Shapes: [...], [...] -> broadcast. Gradient: g to the lesser; half to each where equal.
        """
        return self._apply("minimum", self, other)

    @op(_extreme("fmax"))
    def fmax(self, other: Self) -> Self:
        """The greater of each pair; the other where one is not a number.

        Shapes: [...], [...] -> broadcast. Gradient: g to the one taken, to ``self`` where equal.
        """
        return self._apply("fmax", self, other)

    @op(_extreme("fmin"))
    def fmin(self, other: Self) -> Self:
        """The lesser of each pair; the other where one is not a number.

        Shapes: [...], [...] -> broadcast. Gradient: g to the one taken, to ``self`` where equal.
        """
        return self._apply("fmin", self, other)

    @op(_clamp, inplace=True)
    def clamp(self, min: Self | Number | None = None, max: Self | Number | None = None) -> Self:
        """``minimum(maximum(self, min), max)``; at least one bound must be given.

        Shapes: [...], [...], [...] -> broadcast. Gradient: g where ``min <= self <= max``, to tensor bounds where they are taken.
        """
        return self._apply("clamp", self, min, max)

    clip = clamp

    @op(_clamp, inplace=True)
    def clamp_min(self, min: Self | Number) -> Self:
        """``maximum(self, min)`` with a number or a tensor.

        Shapes: [...], [...] -> broadcast. Gradient: g where ``self >= min``; g where ``self < min``.
        """
        return self._apply("clamp_min", self, min)

    @op(_clamp, inplace=True)
    def clamp_max(self, max: Self | Number) -> Self:
        """``minimum(self, max)`` with a number or a tensor.

        Shapes: [...], [...] -> broadcast. Gradient: g where ``self <= max``; g where ``self > max``.
        """
        return self._apply("clamp_max", self, max)

    def where(self, condition: Self, other: Self | Number) -> Self:
        """``self`` where ``condition`` holds, else ``other``. The free function takes the condition first."""
        return self._apply("where", _mask(condition), self, other)

    # Operators ---------------------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        if other.__class__ is ARRAY:
            return with_array("eq", self, other)
        return self._apply("eq", self, other) if is_operand(other) else _NOT_COMPARABLE

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        if other.__class__ is ARRAY:
            return with_array("ne", self, other)
        return self._apply("ne", self, other) if is_operand(other) else _NOT_COMPARABLE

    def __lt__(self, other: Self | Number) -> Self:
        try:
            return self._apply("lt", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __le__(self, other: Self | Number) -> Self:
        try:
            return self._apply("le", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __gt__(self, other: Self | Number) -> Self:
        try:
            return self._apply("gt", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ge__(self, other: Self | Number) -> Self:
        try:
            return self._apply("ge", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __hash__(self) -> int:
        return id(self)


@op(_where, differentiable=("input", "other"))
def where(condition: T, input: T | Number, other: T | Number) -> T:
    """``input`` where ``condition`` holds, else ``other``.

    Shapes: [...], [...], [...] -> broadcast. Gradient: g where the condition holds; g where it does not.
    Raises: DTypeError if ``condition`` is not bool.
    """
    return condition._apply("where", _mask(condition), input, other)  # pyright: ignore[reportPrivateUsage]


def _mask(condition: Any) -> Any:
    """The condition; of bytes, which PyTorch still takes and warns about, whether they are not zero."""
    if getattr(condition, "dtype", None) is not dtypes.uint8:
        return condition
    notices.byte_condition()
    return condition._apply("ne", condition, 0)
