"""Comparison, logic, and choosing between values as free functions."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.comparison import where as choose
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=TensorBase)

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "eq",
    "equal",
    "fmax",
    "fmin",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "ne",
    "not_equal",
    "where",
]

allclose = free(Tensor.allclose)
bitwise_and = free(Tensor.bitwise_and)
bitwise_left_shift = free(Tensor.bitwise_left_shift)
bitwise_not = free(Tensor.bitwise_not)
bitwise_or = free(Tensor.bitwise_or)
bitwise_right_shift = free(Tensor.bitwise_right_shift)
bitwise_xor = free(Tensor.bitwise_xor)
clamp = free(Tensor.clamp)
clamp_max = free(Tensor.clamp_max)
clamp_min = free(Tensor.clamp_min)
eq = free(Tensor.eq)
equal = free(Tensor.equal)
ge = free(Tensor.ge)
greater = free(Tensor.greater)
greater_equal = free(Tensor.greater_equal)
less = free(Tensor.less)
less_equal = free(Tensor.less_equal)
not_equal = free(Tensor.not_equal)
gt = free(Tensor.gt)
isclose = free(Tensor.isclose)
isfinite = free(Tensor.isfinite)
isinf = free(Tensor.isinf)
isnan = free(Tensor.isnan)
le = free(Tensor.le)
logical_and = free(Tensor.logical_and)
logical_not = free(Tensor.logical_not)
logical_or = free(Tensor.logical_or)
logical_xor = free(Tensor.logical_xor)
lt = free(Tensor.lt)
maximum = free(Tensor.maximum)
minimum = free(Tensor.minimum)
ne = free(Tensor.ne)
fmax = free(Tensor.fmax)
fmin = free(Tensor.fmin)
isneginf = free(Tensor.isneginf)
isposinf = free(Tensor.isposinf)
isreal = free(Tensor.isreal)

# Other names
clip = clamp


@overload
def where(condition: T) -> tuple[T, ...]: ...
@overload
def where(condition: T, input: T | Number, other: T | Number) -> T: ...
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` holds, else ``other``; both may be tensors or numbers and broadcast with the condition.

    With the condition alone: the indices where it holds, one tensor per dimension, as ``nonzero(as_tuple=True)``.
    """
    if not isinstance(condition, TensorBase):
        raise ArgumentTypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}")
    if input is None and other is None:
        mask: Any = condition
        return mask.nonzero(as_tuple=True)
    return choose(condition, input, other)  # pyright: ignore[reportArgumentType] - the op refuses None
