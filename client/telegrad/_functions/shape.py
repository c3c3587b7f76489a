"""Free functions that rearrange, join and split tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.out import JOINS, SAME, takes_out
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.numpy_names import with_numpy_names
from telegrad.contract.tensor.shape import broadcast_tensors, meshgrid
from telegrad.contract.tensor.shape import cat as _cat
from telegrad.contract.tensor.shape import concatenate as _concatenate
from telegrad.contract.tensor.shape import hstack as _hstack
from telegrad.contract.tensor.shape import stack as _stack
from telegrad.contract.tensor.shape import vstack as _vstack
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=TensorOps)

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "concat",
    "concatenate",
    "detach",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "flatten",
    "flip",
    "hstack",
    "meshgrid",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "reshape",
    "roll",
    "row_stack",
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
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "unsqueeze",
    "vstack",
]

concatenate = takes_out(JOINS)(_concatenate)
vstack = takes_out(JOINS)(_vstack)
hstack = takes_out(JOINS)(_hstack)
cat = takes_out(JOINS)(with_numpy_names(_cat))
chunk = free(Tensor.chunk)
unsafe_chunk = free(Tensor.unsafe_chunk)
unsafe_split = free(Tensor.unsafe_split, "tensor")
unsafe_split_with_sizes = free(Tensor.unsafe_split_with_sizes)
concat = cat
detach = free(Tensor.detach)
diag = free(Tensor.diag, out=SAME)
diag_embed = free(Tensor.diag_embed)
diagflat = free(Tensor.diagflat)
diagonal = free(Tensor.diagonal)
flatten = free(Tensor.flatten)
movedim = free(Tensor.movedim)
moveaxis = free(Tensor.movedim)
narrow = free(Tensor.narrow)
ravel = free(Tensor.ravel)
roll = free(Tensor.roll)
row_stack = vstack
select = free(Tensor.select)
split_with_sizes = free(Tensor.split_with_sizes)
squeeze = free(Tensor.squeeze)
stack = takes_out(JOINS)(with_numpy_names(_stack))
swapaxes = free(Tensor.swapaxes)
swapdims = free(Tensor.swapdims)
t = free(Tensor.t)
transpose = free(Tensor.transpose)
tril = free(Tensor.tril, out=SAME)
triu = free(Tensor.triu, out=SAME)
unbind = free(Tensor.unbind)
unflatten = free(Tensor.unflatten)
unsqueeze = free(Tensor.unsqueeze)


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
