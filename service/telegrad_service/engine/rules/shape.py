"""Kernels and derivatives of the shape family. Kernels of views return numpy views, so that the memory is shared as in PyTorch."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# Formulas take what the table saves for them; a lambda's arguments cannot be annotated.

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from telegrad.contract import shape_rules as rules
from telegrad.contract.errors import ShapeError
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import Chain
from telegrad_service.engine.formulas import F
from telegrad_service.engine.parts import Part
from telegrad_service.engine.sums import sum_to_shape
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel
from telegrad_service.engine.views import put, take

Ints = tuple[int, ...]


def _reshape_back(g: Any, self_shape: Ints) -> Any:
    return F.reshape(g, shape=self_shape)


# New shapes ------------------------------------------------------------------------------------------------------------------


@kernel("reshape")
def _reshape(self: Array, shape: Ints) -> Any:
    return np.asarray(self).reshape(shape)


derivative("reshape", self=_reshape_back)


@kernel("view")
def _view(self: Array, shape: Ints) -> Any:
    made = self.reshape(shape)
    if made.size and not np.may_share_memory(made, self):
        raise ShapeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous "
            "subspaces). Use .reshape(...) instead."
        )
    return made


derivative("view", self=_reshape_back)


@kernel("flatten")
def _flatten(self: Array, start_dim: int, end_dim: int) -> Any:
    return self.reshape(rules.flattened(self.shape, start_dim, end_dim))


derivative("flatten", self=_reshape_back)


@kernel("unflatten")
def _unflatten(self: Array, dim: int, sizes: Ints) -> Any:
    return self.reshape(rules.unflattened(self.shape, dim, sizes))


derivative("unflatten", self=_reshape_back)


@kernel("squeeze")
def _squeeze(self: Array, dim: int | Ints | None) -> Any:
    return np.asarray(self).reshape(rules.squeezed(np.shape(self), (dim,) if isinstance(dim, int) else dim))


derivative("squeeze", self=_reshape_back)


@kernel("unsqueeze")
def _unsqueeze(self: Array, dim: int) -> Any:
    return np.expand_dims(self, dim)


derivative("unsqueeze", self=_reshape_back)


@kernel("expand")
def _expand(self: Array, size: Ints) -> Any:
    shape = np.shape(self)
    if -1 in size:
        size = rules.expanded(shape, size)
    if size == shape or size == (1,) * (len(size) - len(shape)) + shape:
        return np.asarray(self).reshape(size)  # nothing is repeated: the view stays writable
    if not shape:
        # The gradient of every sum over all: four times as fast as numpy's broadcasting, which is written in Python.
        made: Array = np.ndarray(size, self.dtype, np.asarray(self), 0, (0,) * len(size))
        made.flags.writeable = False
        return made
    return np.broadcast_to(self, size)


derivative("expand", self=lambda g: g)  # the walk sums it to the tensor's shape


@kernel("sum_to_size")
def _sum_to_size(self: Array, size: Ints) -> Any:
    self = np.asarray(self)
    return self.copy() if self.shape == size else sum_to_shape(self, size)


derivative("sum_to_size", self=lambda g, self_shape: F.expand(g, size=self_shape))


@kernel("repeat")
def _repeat(self: Array, repeats: Ints) -> Any:
    return np.tile(self, repeats)


@joint_derivative("repeat", "self")
def _repeat_backward(g: Any, self_shape: Ints, repeats: Ints) -> Any:
    shape = (1,) * (len(repeats) - len(self_shape)) + self_shape
    if 0 in repeats or 0 in self_shape:
        return F.zeros(g, self_shape)
    pairs = tuple(n for pair in zip(repeats, shape, strict=True) for n in pair)
    copies = tuple(range(0, len(pairs), 2))
    return F.reshape(F.sum(F.reshape(g, shape=pairs), dim=copies), shape=self_shape) if copies else g


@kernel("contiguous")
def _contiguous(self: Array) -> Any:
    return self[...] if self.flags.c_contiguous else self.copy()


derivative("contiguous", self=lambda g: g)


@kernel("detach")
def _detach(self: Array) -> Any:
    return self[...]


# Order of dimensions and elements --------------------------------------------------------------------------------------------


@kernel("permute")
def _permute(self: Array, dims: Ints) -> Any:
    return np.asarray(self).transpose(dims)


def _permute_back(g: Any, dims: Ints) -> Any:
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return F.permute(g, dims=tuple(inverse))


derivative("permute", self=_permute_back)


@kernel("transpose")
def _transpose(self: Array, dim0: int, dim1: int) -> Any:
    return np.swapaxes(self, dim0, dim1) if np.ndim(self) else np.asarray(self)[...]


derivative("transpose", self=lambda g, dim0, dim1: F.transpose(g, dim0=dim0, dim1=dim1))


@kernel("t")
def _t(self: Array) -> Any:
    return np.asarray(self).transpose()


derivative("t", self=lambda g: F.t(g))


@kernel("movedim")
def _movedim(self: Array, source: int | Ints, destination: int | Ints) -> Any:
    return np.moveaxis(self, source, destination) if np.ndim(self) else np.asarray(self)[...]


derivative("movedim", self=lambda g, source, destination: F.movedim(g, source=destination, destination=source))


@kernel("flip")
def _flip(self: Array, dims: Ints) -> Any:
    self = np.asarray(self)
    return np.flip(self, dims).copy() if self.ndim else self.copy()


derivative("flip", self=lambda g, dims: F.flip(g, dims=dims))


@kernel("roll")
def _roll(self: Array, shifts: int | Ints, dims: int | Ints | None) -> Any:
    self = np.asarray(self)
    shifts = (shifts,) if isinstance(shifts, int) else shifts
    if dims is None or dims == ():
        return np.roll(self, shifts[0])
    if not self.size:
        return self.copy()
    return np.roll(self, shifts, dims)


def _roll_back(g: Any, shifts: int | Ints, dims: int | Ints | None) -> Any:
    back = -shifts if isinstance(shifts, int) else tuple(-s for s in shifts)
    return F.roll(g, shifts=back, dims=dims)


derivative("roll", self=_roll_back)


def _near(x: Array, diagonal: int) -> int:
    """The diagonal, or one just past the corner where it lies further out; numpy's have 32 bits."""
    rows, columns = x.shape[-2:]
    return int(max(-rows - 1, min(diagonal, columns + 1)))


kernel(
    "tril",
    lambda self, diagonal: np.tril(self, _near(self, diagonal)),
    in_place=lambda target, diagonal: np.copyto(target, np.tril(target, _near(target, diagonal))),
)
derivative("tril", self=lambda g, diagonal: F.tril(g, diagonal=diagonal))
kernel(
    "triu",
    lambda self, diagonal: np.triu(self, _near(self, diagonal)),
    in_place=lambda target, diagonal: np.copyto(target, np.triu(target, _near(target, diagonal))),
)
derivative("triu", self=lambda g, diagonal: F.triu(g, diagonal=diagonal))


# Parts -----------------------------------------------------------------------------------------------------------------------


def _embed(g: Any, shape: Ints, name: str, **parameters: Any) -> Any:
    """``g`` where the view op took its part from, zeros elsewhere."""
    return F.view_embed(g, size=shape, chain=((name, parameters, None),))


@kernel("diagonal")
def _diagonal(self: Array, offset: int, dim1: int, dim2: int) -> Any:
    # Beyond the corners there is nothing, however far; numpy's offset has 32 bits.
    made = np.diagonal(self, max(-self.shape[dim1], min(offset, self.shape[dim2])), dim1, dim2)
    if self.flags.writeable:
        made.flags.writeable = True  # numpy hands diagonals out read-only
    return made


derivative(
    "diagonal",
    self=lambda g, self_shape, offset, dim1, dim2: _embed(g, self_shape, "diagonal", offset=offset, dim1=dim1, dim2=dim2),
)


@kernel("diag_embed")
def _diag_embed(self: Array, offset: int, dim1: int, dim2: int) -> Any:
    length = self.shape[-1]
    side = length + abs(offset)
    made = np.zeros((*self.shape[:-1], side, side), self.dtype)
    along = np.arange(length)
    made[..., along + max(-offset, 0), along + max(offset, 0)] = self
    return np.ascontiguousarray(np.moveaxis(made, (-2, -1), (dim1, dim2)))


derivative("diag_embed", self=lambda g, offset, dim1, dim2: F.diagonal(g, offset=offset, dim1=dim1, dim2=dim2))


@kernel("select")
def _select(self: Array, dim: int, index: int) -> Any:
    return self[(slice(None),) * (dim % self.ndim) + (index, ...)]


def _select_back(g: Any, self_shape: Ints, dim: int, index: int) -> Any:
    if isinstance(g, TensorBase):
        return _embed(g, self_shape, "select", dim=dim, index=index)
    return Part(g, self_shape, (slice(None),) * (dim % len(self_shape)) + (index, ...))


derivative("select", self=_select_back)


@kernel("narrow")
def _narrow(self: Array, dim: int, start: int, length: int) -> Any:
    at = dim % self.ndim
    if start < 0:
        start += self.shape[at]
    return self[(slice(None),) * at + (slice(start, start + length),)]


def _narrow_back(g: Any, self_shape: Ints, dim: int, start: int, length: int) -> Any:
    if isinstance(g, TensorBase):
        return _embed(g, self_shape, "narrow", dim=dim, start=start, length=length)
    at = dim % len(self_shape)
    first = start + self_shape[at] if start < 0 else start
    return Part(g, self_shape, (slice(None),) * at + (slice(first, first + length), ...))


derivative("narrow", self=_narrow_back)


@functools.lru_cache(maxsize=64)
def _places(kind: Callable[[Ints, Any, int], Ints], shape: Ints, parts: Any, dim: int) -> tuple[tuple[slice, ...], ...]:
    """Where consecutive slices along ``dim`` lie, of the sizes that ``kind`` gives."""
    sizes = kind(shape, parts, dim)
    head = (slice(None),) * (dim % len(shape))
    return tuple([(*head, slice(end - n, end)) for n, end in zip(sizes, accumulate(sizes), strict=True)])


def _cut(self: Array, kind: Callable[[Ints, Any, int], Ints], parts: Any, dim: int) -> tuple[Array, ...]:
    return tuple([self[place] for place in _places(kind, self.shape, parts, dim)])


def _as_given(_shape: Ints, sizes: Ints, _dim: int) -> Ints:
    return sizes


@kernel("split")
def _split(self: Array, split_size: int, dim: int) -> tuple[Array, ...]:
    return _cut(self, rules.split_sizes, split_size, dim)


@kernel("split_with_sizes")
def _split_with_sizes(self: Array, split_sizes: Ints, dim: int) -> tuple[Array, ...]:
    return _cut(self, _as_given, split_sizes, dim)


@kernel("chunk")
def _chunk(self: Array, chunks: int, dim: int) -> tuple[Array, ...]:
    return _cut(self, rules.chunk_sizes, chunks, dim)


def _joined(g: Any, dim: int) -> Any:
    """The parts' gradients as one; the walk gives a lone part's gradient without a tuple around it."""
    if not isinstance(g, tuple):
        return g
    return np.concatenate(g, axis=dim) if g[0].__class__ is np.ndarray else F.cat(*g, dim=dim)


derivative("split", self=_joined)
derivative("split_with_sizes", self=_joined)
derivative("chunk", self=_joined)


@kernel("unbind")
def _unbind(self: Array, dim: int) -> tuple[Array, ...]:
    return tuple(_select(self, dim, i) for i in range(self.shape[dim]))


derivative("unbind", self=lambda g, dim: F.stack(*(g if isinstance(g, tuple) else (g,)), dim=dim))


# Several tensors -------------------------------------------------------------------------------------------------------------


@kernel("cat")
def _cat(*tensors: Array, dim: int) -> Any:
    kept = [t for t in tensors if t.shape != (0,)]
    return np.concatenate(kept, dim) if kept else tensors[0].copy()


@joint_derivative("cat", "tensors")
def _cat_backward(g: Any, tensors_shapes: tuple[Ints, ...], dim: int, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    found: list[Any] = []
    start = 0
    for shape, need in zip(tensors_shapes, needs, strict=True):
        if shape == (0,):
            found.append(F.zeros(g, shape) if need else None)
            continue
        length = shape[dim]
        found.append(F.narrow(g, dim=dim, start=start, length=length) if need else None)
        start += length
    return tuple(found)


@kernel("stack")
def _stack(*tensors: Array, dim: int) -> Any:
    return np.stack(tensors, dim)


@joint_derivative("stack", "tensors")
def _stack_backward(g: Any, dim: int, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    return tuple(F.select(g, dim=dim, index=i) if need else None for i, need in enumerate(needs))


# For the engine --------------------------------------------------------------------------------------------------------------


@kernel("view_scatter")
def _view_scatter(self: Array, src: Array, chain: Chain) -> Any:
    made = np.array(self, order="C")
    put(made, src, chain)
    return made


derivative(
    "view_scatter",
    self=lambda g, src_shape, chain: F.view_scatter(g, F.zeros(g, src_shape), chain=chain),
    src=lambda g, chain: take(g, chain),
)


@kernel("view_embed")
def _view_embed(self: Array, size: Ints, chain: Chain) -> Any:
    self = np.asarray(self)
    made = np.zeros(size, self.dtype)
    put(made, self, chain)
    return made


derivative("view_embed", self=lambda g, chain: take(g, chain))
