"""Numbers taken apart and put together: mantissa and exponent, real and imaginary part, magnitude and angle."""

# PyTorch has functions, but no methods, `complex` and `polar`: they are found in ``telegrad``.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, Self, TypeVar

from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentTypeError, DTypeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Spec, op
from telegrad.contract.reduce_rules import norm
from telegrad.contract.shapes import broadcast, real_number, result_type
from telegrad.contract.tensor.base import TensorBase

T = TypeVar("T")


class MantissaAndExponent(NamedTuple, Generic[T]):
    """What ``frexp`` returns."""

    mantissa: T
    exponent: T


def _frexp(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    if not x.dtype.is_floating_point:
        raise DTypeError(f"torch.frexp() only supports floating-point dtypes, not {x.dtype.name}")
    return Outcome((x, Spec(x.shape, dtypes.int32)), 4 * x.size)


def _ldexp(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x, exponent = inputs
    if x.dtype.is_floating_point and exponent.dtype is dtypes.bool_:
        raise UnsupportedDTypeError('"ldexp" not implemented for exponents of type bool; convert them first, to int32 for example')
    dtype = dtypes.to_float(result_type(inputs))
    shape = broadcast(x.shape, exponent.shape)
    # Whole exponents stay so: shifting by them is exact where 2**exponent alone would overflow.
    whole = exponent.dtype.category < 2 and not dtype.is_complex
    real = exponent.dtype.is_floating_point and x.dtype is dtype
    return Outcome((Spec(shape, dtype),), 10 * math.prod(shape), None if real or (whole and x.dtype is dtype) else dtype)


_COMPLEX = {dtypes.float32: dtypes.complex64, dtypes.float64: dtypes.complex128}


def _of_two_reals(name: str, flops: int) -> Rule:
    def rule(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
        x, y = inputs
        if not (x.dtype.is_floating_point and y.dtype.is_floating_point):
            raise DTypeError(
                f"{name}(): Expected both inputs to be Float or Double tensors but got {x.dtype.name} and {y.dtype.name}"
            )
        if x.dtype is not y.dtype:
            raise DTypeError(f"{name}(): Expected object of type {x.dtype.name} but got type {y.dtype.name} for second argument")
        if x.dtype not in _COMPLEX:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; there is no complex type of its precision')
        shape = broadcast(x.shape, y.shape)
        return Outcome((Spec(shape, _COMPLEX[x.dtype]),), flops * math.prod(shape))

    return rule


def _dist(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    dtype = result_type(inputs)
    if any(x.dtype is dtypes.bool_ for x in inputs):
        raise DTypeError("dist(): Subtraction, the `-` operator, with a bool tensor is not supported; convert it first")
    difference = Spec(broadcast(inputs[0].shape, inputs[1].shape), dtype)
    found = norm((difference,), {"p": p["p"], "dim": None, "keepdim": False, "dtype": None})
    return found._replace(compute=dtype, scratch_bytes=found.scratch_bytes + 2 * difference.nbytes)


class NumberOps(TensorBase):
    """Numbers taken apart and put together."""

    __slots__ = ()

    @op(_frexp, name="frexp", outputs=("mantissa", "exponent"))
    def _frexp(self) -> tuple[Self, Self]:
        """``self`` as ``mantissa * 2**exponent``, the mantissa's magnitude in [0.5, 1) or 0.

        Shapes: [...] -> [...] twice, the exponent as int32. Gradient: g / 2**exponent. Raises: DTypeError for other than floating
        types.
        """
        return self.frexp()

    def frexp(self) -> MantissaAndExponent[Self]:
        """Named tuple (mantissa, exponent): ``self == mantissa * 2**exponent``, the mantissa's magnitude in [0.5, 1) or 0."""
        mantissa, exponent = self._apply("frexp", self)
        return MantissaAndExponent(mantissa, exponent)

    @op(_ldexp, inplace=True)
    def ldexp(self, other: Self) -> Self:
        """``self * 2**other``, exact for whole ``other``.

        Shapes: [...], [...] -> broadcast. Gradient: g * 2**other; g * result * ln 2.
        """
        return self._apply("ldexp", self, other)

    def ldexp_(self, other: Self) -> Self:
        """``ldexp`` in place."""
        return self._apply("ldexp_", self, other)

    @op(_of_two_reals("complex", 1), name="complex")
    def _complex(self, imag: Self) -> Self:
        """The complex numbers with real part ``self`` and imaginary part ``imag``.

        Shapes: [...], [...] -> broadcast. dtype: complex64 of float32, complex128 of float64. Gradient: the real part of g; its
        imaginary part. Raises: DTypeError for other types and for two different ones.
        """
        return self._apply("complex", self, imag)

    @op(_of_two_reals("polar", 40), name="polar")
    def _polar(self, angle: Self) -> Self:
        """The complex numbers with magnitude ``self`` and angle ``angle`` in radians.

        Shapes: [...], [...] -> broadcast. dtype: complex64 of float32, complex128 of float64. Gradient: the parts of g along the
        angle and, times the magnitude, across it. Raises: DTypeError for other types and for two different ones.
        """
        return self._apply("polar", self, angle)

    @op(_dist, name="dist")
    def _dist(self, other: Self, *, p: float = 2.0) -> Self:
        """The ``p``-norm of ``self - other``, over all elements.

        Shapes: [...], [...] -> []. Gradient: that of the norm; its negative. Raises: DTypeError for integers and bool.
        """
        return self._apply("dist", self, other, p=p)

    def dist(self, other: Self, p: float = 2) -> Self:
        """The ``p``-norm of ``self - other``, over all elements; ``p`` may be infinite. Raises: DTypeError for integers."""
        if not isinstance(p, (bool, int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"dist(): argument 'p' must be a real Number, not {type(p).__name__}")
        return self._apply("dist", self, other, p=real_number(p, "p"))
