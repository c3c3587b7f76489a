"""Free functions that rearrange, join and split tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from telegrad._free import free, require_tensor
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.shape import broadcast_tensors, cat, hstack, stack, vstack

T = TypeVar("T", bound=TensorOps)

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "concat",
    "concatenate",
    "detach",
    "diagonal",
    "flatten",
    "flip",
    "hstack",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "reshape",
    "roll",
    "select",
    "split",
    "split_with_sizes",
    "squeeze",
    "stack",
    "swapaxes",
    "swapdims",
    "t",
    "tile",
    "transpose",
    "tril",
    "triu",
    "unbind",
    "unflatten",
    "unsqueeze",
    "vstack",
]

chunk = free(TensorOps.chunk)
concat = cat
concatenate = cat
detach = free(TensorOps.detach)
diagonal = free(TensorOps.diagonal)
flatten = free(TensorOps.flatten)
movedim = free(TensorOps.movedim)
moveaxis = free(TensorOps.movedim)
narrow = free(TensorOps.narrow)
roll = free(TensorOps.roll)
select = free(TensorOps.select)
split_with_sizes = free(TensorOps.split_with_sizes)
squeeze = free(TensorOps.squeeze)
swapaxes = free(TensorOps.swapaxes)
swapdims = free(TensorOps.swapdims)
t = free(TensorOps.t)
transpose = free(TensorOps.transpose)
tril = free(TensorOps.tril)
triu = free(TensorOps.triu)
unbind = free(TensorOps.unbind)
unflatten = free(TensorOps.unflatten)
unsqueeze = free(TensorOps.unsqueeze)


# Methods that take sizes one by one take them as one argument here, which has a name.


def broadcast_to(input: T, size: Sequence[int]) -> T:
    """``Tensor.broadcast_to``: dimensions of size 1 repeated without copying."""
    return require_tensor(input, "broadcast_to").broadcast_to(size)


def flip(input: T, dims: int | Sequence[int]) -> T:
    """``Tensor.flip``: elements in reverse order along ``dims``."""
    return require_tensor(input, "flip").flip(dims)


def permute(input: T, dims: Sequence[int]) -> T:
    """``Tensor.permute``: dimensions in the order ``dims``."""
    return require_tensor(input, "permute").permute(dims)


def reshape(input: T, shape: Sequence[int]) -> T:
    """``Tensor.reshape``: the same elements in another shape."""
    return require_tensor(input, "reshape").reshape(shape)


def split(tensor: T, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[T, ...]:
    """``Tensor.split``: consecutive parts along ``dim``."""
    return require_tensor(tensor, "split").split(split_size_or_sections, dim)


def tile(input: T, dims: Sequence[int]) -> T:
    """``Tensor.tile``: copies side by side."""
    return require_tensor(input, "tile").tile(dims)
