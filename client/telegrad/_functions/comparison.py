"""Comparison, logic, and choosing between values as free functions."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from telegrad._free import free
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.comparison import where as choose

T = TypeVar("T", bound=TensorBase)

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "eq",
    "equal",
    "ge",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "ne",
    "where",
]

allclose = free(TensorOps.allclose)
bitwise_and = free(TensorOps.bitwise_and)
bitwise_not = free(TensorOps.bitwise_not)
bitwise_or = free(TensorOps.bitwise_or)
bitwise_xor = free(TensorOps.bitwise_xor)
clamp = free(TensorOps.clamp)
clamp_max = free(TensorOps.clamp_max)
clamp_min = free(TensorOps.clamp_min)
eq = free(TensorOps.eq)
equal = free(TensorOps.equal)
ge = free(TensorOps.ge)
gt = free(TensorOps.gt)
isclose = free(TensorOps.isclose)
isfinite = free(TensorOps.isfinite)
isinf = free(TensorOps.isinf)
isnan = free(TensorOps.isnan)
le = free(TensorOps.le)
logical_and = free(TensorOps.logical_and)
logical_not = free(TensorOps.logical_not)
logical_or = free(TensorOps.logical_or)
logical_xor = free(TensorOps.logical_xor)
lt = free(TensorOps.lt)
maximum = free(TensorOps.maximum)
minimum = free(TensorOps.minimum)
ne = free(TensorOps.ne)

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
