"""Python's operators, as forms of the ops: ``x + y`` is ``add``, ``x += y`` is ``add`` in place. Comparisons: ``comparison``."""

from __future__ import annotations

from typing import Self

from telegrad.contract.dtypes import DType, Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.tensor.arrays import ARRAY, deferred, with_array
from telegrad.contract.tensor.base import TensorBase


class Operators(TensorBase):
    """What Python asks of a number, an array on the right included; in place, an array makes a new tensor as in PyTorch.

    Of what is no operand of ours Python asks the other side: ``[0] * tensor(3)``, and objects that define ``__radd__``.
    """

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    def positive(self) -> Self:
        """See ``ElementwiseOps.positive``."""
        raise NotImplementedError

    # Arithmetic --------------------------------------------------------------------------------------------------------------

    def __add__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("add", self, other)
        try:
            return self._apply("add", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __radd__(self, other: Self | Number) -> Self:
        try:
            return self._apply("add", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __sub__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("sub", self, other)
        try:
            return self._apply("sub", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rsub__(self, other: Self | Number) -> Self:
        try:
            return self._apply("rsub", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __mul__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("mul", self, other)
        try:
            return self._apply("mul", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rmul__(self, other: Self | Number) -> Self:
        try:
            return self._apply("mul", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __truediv__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("truediv", self, other)
        try:
            return self._apply("div", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rtruediv__(self, other: Self | Number) -> Self:
        # As PyTorch does it: other values would differ in their last bit.
        if other.__class__ is ARRAY:
            return with_array("mul", self._apply("reciprocal", self), other)
        try:
            return self._apply("mul", self._apply("reciprocal", self), other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    __rdiv__ = __rtruediv__

    def __floordiv__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("floordiv", self, other)
        try:
            return self._apply("floor_divide", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rfloordiv__(self, other: Number) -> Self:
        try:
            return self._apply("floor_divide", other, self)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __mod__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("mod", self, other)
        try:
            return self._apply("remainder", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rmod__(self, other: Number) -> Self:
        try:
            return self._apply("remainder", other, self)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __divmod__(self, other: Self | Number) -> tuple[Self, Self]:
        return self // other, self % other

    def __pow__(self, exponent: Self | Number, modulo: None = None) -> Self:
        if exponent.__class__ is ARRAY:
            return with_array("pow", self, exponent)
        if modulo is not None:
            raise ArgumentTypeError("pow() of a tensor takes no modulus")
        try:
            return self._apply("pow", self, exponent)
        except ArgumentTypeError as error:
            return deferred(error, exponent)

    def __rpow__(self, base: Number) -> Self:
        try:
            return self._apply("pow", base, self)
        except ArgumentTypeError as error:
            return deferred(error, base)

    def __neg__(self) -> Self:
        return self._apply("neg", self)

    def __pos__(self) -> Self:
        return self.positive()

    def __abs__(self) -> Self:
        return self._apply("abs", self)

    # Bits --------------------------------------------------------------------------------------------------------------------

    def __and__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("and_", self, other)
        try:
            return self._apply("bitwise_and", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rand__(self, other: Self | Number) -> Self:
        try:
            return self._apply("bitwise_and", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __or__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("or_", self, other)
        try:
            return self._apply("bitwise_or", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ror__(self, other: Self | Number) -> Self:
        try:
            return self._apply("bitwise_or", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __xor__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("xor", self, other)
        try:
            return self._apply("bitwise_xor", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rxor__(self, other: Self | Number) -> Self:
        try:
            return self._apply("bitwise_xor", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __lshift__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("lshift", self, other)
        try:
            return self._apply("bitwise_left_shift", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rlshift__(self, other: Number) -> Self:
        try:
            return self._apply("bitwise_left_shift", other, self)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rshift__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return with_array("rshift", self, other)
        try:
            return self._apply("bitwise_right_shift", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __rrshift__(self, other: Number) -> Self:
        try:
            return self._apply("bitwise_right_shift", other, self)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __invert__(self) -> Self:
        if self.dtype.category > 1:
            raise ArgumentTypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
        return self._apply("bitwise_not", self)

    # In place ----------------------------------------------------------------------------------------------------------------

    def __iadd__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("add_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __isub__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("sub_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __imul__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("mul_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __itruediv__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("div_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ifloordiv__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("floor_divide_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __imod__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("remainder_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ipow__(self, other: Self | Number) -> Self:  # type: ignore[misc]  # there is no modulus in place
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("pow_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __iand__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("bitwise_and_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ior__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("bitwise_or_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ilshift__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("bitwise_left_shift_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __irshift__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("bitwise_right_shift_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)

    def __ixor__(self, other: Self | Number) -> Self:
        if other.__class__ is ARRAY:
            return NotImplemented
        try:
            return self._apply("bitwise_xor_", self, other)
        except ArgumentTypeError as error:
            return deferred(error, other)
