"""Arithmetic as free functions."""

from __future__ import annotations

from typing import TypeVar

from telegrad._free import free
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.base import TensorBase

T = TypeVar("T", bound=TensorBase)

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "ceil",
    "div",
    "divide",
    "fix",
    "floor",
    "floor_divide",
    "fmod",
    "frac",
    "lerp",
    "mul",
    "multiply",
    "neg",
    "negative",
    "positive",
    "pow",
    "remainder",
    "round",
    "sgn",
    "sign",
    "square",
    "sub",
    "subtract",
    "true_divide",
    "trunc",
]

abs = free(TensorOps.abs)  # noqa: A001 - PyTorch's name
add = free(TensorOps.add)
addcdiv = free(TensorOps.addcdiv)
addcmul = free(TensorOps.addcmul)
ceil = free(TensorOps.ceil)
div = free(TensorOps.div)
floor = free(TensorOps.floor)
floor_divide = free(TensorOps.floor_divide)
fmod = free(TensorOps.fmod)
frac = free(TensorOps.frac)
lerp = free(TensorOps.lerp)
mul = free(TensorOps.mul)
neg = free(TensorOps.neg)
positive = free(TensorOps.positive)
round = free(TensorOps.round)  # noqa: A001 - PyTorch's name
sgn = free(TensorOps.sgn)
sign = free(TensorOps.sign)
square = free(TensorOps.square)
sub = free(TensorOps.sub)
trunc = free(TensorOps.trunc)

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
