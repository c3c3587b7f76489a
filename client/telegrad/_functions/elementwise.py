"""Arithmetic as free functions."""

from __future__ import annotations

from typing import TypeVar

from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
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

abs = free(Tensor.abs)  # noqa: A001 - PyTorch's name
add = free(Tensor.add)
addcdiv = free(Tensor.addcdiv)
addcmul = free(Tensor.addcmul)
ceil = free(Tensor.ceil)
div = free(Tensor.div)
floor = free(Tensor.floor)
floor_divide = free(Tensor.floor_divide)
fmod = free(Tensor.fmod)
frac = free(Tensor.frac)
lerp = free(Tensor.lerp)
mul = free(Tensor.mul)
neg = free(Tensor.neg)
positive = free(Tensor.positive)
round = free(Tensor.round)  # noqa: A001 - PyTorch's name
sgn = free(Tensor.sgn)
sign = free(Tensor.sign)
square = free(Tensor.square)
sub = free(Tensor.sub)
trunc = free(Tensor.trunc)
copysign = free(Tensor.copysign)
gcd = free(Tensor.gcd)
heaviside = free(Tensor.heaviside)
lcm = free(Tensor.lcm)
nextafter = free(Tensor.nextafter)
signbit = free(Tensor.signbit)

# Other names
subtract = sub
multiply = mul
divide = div
true_divide = div
negative = neg
absolute = abs
fix = trunc


def pow(input: T | Number, exponent: T | Number) -> T:  # noqa: A001 - PyTorch's name
    """``input`` to the power ``exponent``; either may be a number, one must be a tensor. See ``Tensor.pow``."""
    return _reflected("pow", input, exponent)


def remainder(input: T | Number, other: T | Number) -> T:
    """Remainder with the sign of ``other``; either may be a number, one must be a tensor. See ``Tensor.remainder``."""
    return _reflected("remainder", input, other)


def _reflected(name: str, input: T | Number, other: T | Number) -> T:
    for x in (input, other):
        if isinstance(x, TensorBase):
            return x._apply(name, input, other)  # type: ignore[no-any-return]
    raise ArgumentTypeError(f"{name}() needs a Tensor, got {type(input).__name__} and {type(other).__name__}")
