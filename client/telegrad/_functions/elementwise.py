"""Arithmetic as free functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from telegrad._current import current
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free, op_of_number, swapped
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=TensorBase)

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "ceil",
    "copysign",
    "div",
    "divide",
    "fix",
    "floor",
    "floor_divide",
    "fmod",
    "frac",
    "gcd",
    "heaviside",
    "lcm",
    "lerp",
    "mul",
    "multiply",
    "neg",
    "negative",
    "nextafter",
    "positive",
    "pow",
    "remainder",
    "round",
    "sgn",
    "sign",
    "signbit",
    "square",
    "sub",
    "subtract",
    "true_divide",
    "trunc",
]


def _added_to(number: Number, x: Any, *, alpha: Number = 1) -> Any:
    return x.add(number) if alpha == 1 else (x * alpha).add(number)


def _arithmetic(number_first: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    """``number_first`` of arithmetic, which takes two numbers as well: the first is then made a tensor of the current session."""

    def call(number: Number, other: Any, **parameters: Any) -> Any:
        if isinstance(other, TensorBase):
            return number_first(number, other, **parameters)
        return method(current().tensor(number), other, **parameters)

    return call


abs = free(Tensor.abs, out=SAME)  # noqa: A001 - PyTorch's name
add = free(Tensor.add, out=CASTS, number_first=_arithmetic(_added_to, Tensor.add))
addcdiv = free(Tensor.addcdiv, out=CASTS)
addcmul = free(Tensor.addcmul, out=CASTS)
ceil = free(Tensor.ceil, out=SAME)
div = free(Tensor.div, out=CASTS, number_first=_arithmetic(op_of_number("div"), Tensor.div))
floor = free(Tensor.floor, out=SAME)
floor_divide = free(Tensor.floor_divide, out=CASTS, number_first=_arithmetic(op_of_number("floor_divide"), Tensor.floor_divide))
fmod = free(Tensor.fmod, out=CASTS)
frac = free(Tensor.frac, out=SAME)
lerp = free(Tensor.lerp, out=CASTS)
mul = free(Tensor.mul, out=CASTS, number_first=_arithmetic(swapped("mul"), Tensor.mul))
neg = free(Tensor.neg, out=SAME)
positive = free(Tensor.positive)
round = free(Tensor.round, out=SAME)  # noqa: A001 - PyTorch's name
sgn = free(Tensor.sgn, out=SAME)
sign = free(Tensor.sign, out=SAME)
square = free(Tensor.square, out=CASTS)
sub = free(Tensor.sub, out=CASTS, number_first=_arithmetic(op_of_number("sub"), Tensor.sub))
trunc = free(Tensor.trunc, out=SAME)
copysign = free(Tensor.copysign, out=CASTS)
gcd = free(Tensor.gcd, out=CASTS)
heaviside = free(Tensor.heaviside, out=SAME)
lcm = free(Tensor.lcm, out=CASTS)
nextafter = free(Tensor.nextafter, out=CASTS)
signbit = free(Tensor.signbit, out=SAME)

# Other names
subtract = sub
multiply = mul
divide = div
true_divide = div
negative = neg
absolute = abs
fix = trunc


@takes_out(CASTS)
def pow(input: T | Number, exponent: T | Number) -> T:  # noqa: A001 - PyTorch's name
    """``input`` to the power ``exponent``; either may be a number, one must be a tensor. See ``Tensor.pow``."""
    return _reflected("pow", input, exponent)


@takes_out(CASTS)
def remainder(input: T | Number, other: T | Number) -> T:
    """Remainder with the sign of ``other``; either may be a number, one must be a tensor. See ``Tensor.remainder``."""
    return _reflected("remainder", input, other)


def _reflected(name: str, input: T | Number, other: T | Number) -> T:
    for x in (input, other):
        if isinstance(x, TensorBase):
            return x._apply(name, input, other)  # type: ignore[no-any-return]
    raise ArgumentTypeError(f"{name}() needs a Tensor, got {type(input).__name__} and {type(other).__name__}")
