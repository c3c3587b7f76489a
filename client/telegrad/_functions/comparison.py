"""Comparison, logic, and choosing between values as free functions."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free, op_of_number, swapped
from telegrad.contract.functions.out import CASTS, SAME, takes_out
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
bitwise_and = free(Tensor.bitwise_and, out=CASTS, number_first=swapped("bitwise_and"))
bitwise_left_shift = free(Tensor.bitwise_left_shift, out=CASTS, number_first=op_of_number("bitwise_left_shift"))
bitwise_not = free(Tensor.bitwise_not, out=SAME)
bitwise_or = free(Tensor.bitwise_or, out=CASTS, number_first=swapped("bitwise_or"))
bitwise_right_shift = free(Tensor.bitwise_right_shift, out=CASTS, number_first=op_of_number("bitwise_right_shift"))
bitwise_xor = free(Tensor.bitwise_xor, out=CASTS, number_first=swapped("bitwise_xor"))
clamp = free(Tensor.clamp, out=CASTS)
clamp_max = free(Tensor.clamp_max, out=CASTS)
clamp_min = free(Tensor.clamp_min, out=CASTS)
eq = free(Tensor.eq, out=CASTS)
equal = free(Tensor.equal)
ge = free(Tensor.ge, out=CASTS)
greater = free(Tensor.greater, out=CASTS)
greater_equal = free(Tensor.greater_equal, out=CASTS)
less = free(Tensor.less, out=CASTS)
less_equal = free(Tensor.less_equal, out=CASTS)
not_equal = free(Tensor.not_equal, out=CASTS)
gt = free(Tensor.gt, out=CASTS)
isclose = free(Tensor.isclose)
isfinite = free(Tensor.isfinite)
isinf = free(Tensor.isinf)
isnan = free(Tensor.isnan)
le = free(Tensor.le, out=CASTS)
logical_and = free(Tensor.logical_and, out=CASTS)
logical_not = free(Tensor.logical_not, out=CASTS)
logical_or = free(Tensor.logical_or, out=CASTS)
logical_xor = free(Tensor.logical_xor, out=CASTS)
lt = free(Tensor.lt, out=CASTS)
maximum = free(Tensor.maximum, out=CASTS)
minimum = free(Tensor.minimum, out=CASTS)
ne = free(Tensor.ne, out=CASTS)
fmax = free(Tensor.fmax, out=CASTS)
fmin = free(Tensor.fmin, out=CASTS)
isneginf = free(Tensor.isneginf, out=SAME)
isposinf = free(Tensor.isposinf, out=SAME)
isreal = free(Tensor.isreal)

# Other names
clip = clamp


@overload
def where(condition: T) -> tuple[T, ...]: ...
@overload
def where(condition: T, input: T | Number, other: T | Number) -> T: ...
@overload
def where(condition: Any, *args: Any, out: Any, **kwargs: Any) -> Any: ...
@takes_out(SAME)
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
