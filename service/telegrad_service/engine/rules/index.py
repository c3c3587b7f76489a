"""Kernels and derivatives of indexing, looking up, scattering, masking and sorting."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from telegrad.contract.dtypes import from_numpy
from telegrad.contract.errors import IndexBoundsError, ShapeError
from telegrad.contract.index_rules import check_writable
from telegrad.contract.indexing import mismatch, placed, resolve
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.literal import check_fits
from telegrad.contract.tensor.base import TensorBase
from telegrad_service.engine import choosing
from telegrad_service.engine.calls import apply
from telegrad_service.engine.formulas import F
from telegrad_service.engine.parts import Part
from telegrad_service.engine.positions import add_at, complain, full, located
from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.rules.conversion import fits
from telegrad_service.engine.table import Array, derivative, extent, instead, kernel
from telegrad_service.engine.tensor import Engine

# Brackets ----------------------------------------------------------------------------------------------------------------------


@extent("repeat_interleave.Tensor")
def _repeated(self: Array, output_size: int | None) -> tuple[int, np.dtype[Any]]:
    return int(self.sum(dtype=np.float64)), self.dtype  # float64 cannot overflow


@kernel("repeat_interleave.Tensor")
def _repeat_positions(self: Array, output_size: int | None) -> Array:
    if self.size and self.min() < 0:
        raise ShapeError("repeats can not be negative")
    if output_size is not None and output_size != int(self.sum()):
        raise ShapeError("allocated size does not match required size")
    return np.repeat(np.arange(self.size, dtype=self.dtype), self)


@kernel("getitem.int")
def _getitem_int(self: Array, index: int) -> Array:
    return self[index, ...]


def _place(shape: Sequence[int], index: tuple[Any, ...]) -> tuple[Any, ...]:
    """A basic index as numpy takes it, so that it gives a view even where it names one element."""
    if Ellipsis not in index:
        return (*index, ...)
    return index if index.count(...) == 1 else (*resolve(tuple(shape), index, ()).basic, ...)


@kernel("getitem")
def _getitem(self: Array, index: tuple[Any, ...]) -> Array:
    return np.asarray(self[_place(self.shape, index)])


@instead("getitem.tensor")
def _getitem_by_tensors(home: Engine, inputs: tuple[Any, ...], track: bool | None, index: tuple[Any, ...]) -> Any:
    """The integers are read, and checked as any."""
    items = tuple([int(inputs[item.position].array) if item.__class__ is TensorSlot else item for item in index])
    return apply(home, "getitem", inputs[:1], {"index": items}, track=track)


@kernel("_getitem_gradient")
def _getitem_gradient(self: Array, shape: tuple[int, ...], index: tuple[Any, ...]) -> Array:
    result = np.zeros(shape, self.dtype)
    result[_place(shape, index)] = self
    return result


def _part(g: Any, shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
    """``g`` where a basic index selects: added straight into the walk's buffer, unless the sum is recorded."""
    if isinstance(g, TensorBase):
        return F._getitem_gradient(g, shape=shape, index=index)
    return Part(g, shape, _place(shape, index))


derivative(
    "getitem.int",
    self=lambda g, self_shape, index: (
        F._getitem_gradient(g, shape=self_shape, index=(index,)) if isinstance(g, TensorBase) else Part(g, self_shape, (index, ...))
    ),
)
derivative("getitem", self=lambda g, self_shape, index: _part(g, self_shape, index))
derivative("_getitem_gradient", self=lambda g, index: F.getitem(g, index=index))


@extent("index")
def _indexed(self: Array, *indices: Array, index: tuple[Any, ...]) -> tuple[int, np.dtype[Any]]:
    view, dims, arrays = located(self, index, indices)
    try:
        together = np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        raise mismatch([a.shape for a in arrays]) from None
    return math.prod(together) * math.prod([size for d, size in enumerate(view.shape) if d not in dims]), self.dtype


@kernel("index")
def _index(self: Array, *indices: Array, index: tuple[Any, ...]) -> Array:
    view, dims, arrays = located(self, index, indices)
    if not arrays:
        return view.copy()
    try:
        return np.asarray(view[full(dims, arrays)])
    except IndexError:
        raise complain(view, dims, arrays) from None


@kernel("_index_gradient")
def _index_gradient(self: Array, *indices: Array, shape: tuple[int, ...], index: tuple[Any, ...]) -> Array:
    result = np.zeros(shape, self.dtype)
    view, dims, arrays = located(result, index, indices)
    if arrays:
        add_at(view, dims, arrays, self)
    else:
        view[...] = self
    return result


derivative(
    "index",
    self=lambda g, indices, self_shape, index: F._index_gradient(g, *indices, shape=self_shape, index=index),
)
derivative("_index_gradient", self=lambda g, indices, index: F.index(g, *indices, index=index))


def _put(target: Array, values: Any, *indices: Array, index: tuple[Any, ...], accumulate: bool) -> Array:
    """Write or add into ``target`` itself."""
    values = fits(values, target.dtype)
    view, dims, arrays = located(target, index, indices)
    if not arrays:
        if accumulate:
            view += np.asarray(values).astype(view.dtype, copy=False)
        else:
            view[...] = values
        return target
    try:
        together = np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        raise mismatch([a.shape for a in arrays]) from None
    shape = placed(view.shape, dims, together)
    check_writable(np.shape(values), shape)
    if accumulate:
        add_at(view, dims, arrays, np.broadcast_to(_trimmed(values, len(shape)), shape).astype(target.dtype, copy=False))
        return target
    try:
        view[full(dims, arrays)] = values
    except IndexError:
        raise complain(view, dims, arrays) from None
    return target


def _trimmed(values: Any, ndim: int) -> Array:
    """Values without the leading ones that they have beyond ``ndim`` dimensions."""
    array = np.asarray(values)
    return array.reshape(array.shape[array.ndim - ndim :]) if array.ndim > ndim else array


@kernel("index_put", in_place=_put)
def _index_put(self: Array, values: Any, *indices: Array, index: tuple[Any, ...], accumulate: bool) -> Array:
    return _put(np.array(self), values, *indices, index=index, accumulate=accumulate)


derivative(
    "index_put",
    self=lambda g, indices, index, accumulate: g if accumulate else F.index_put(g, 0, *indices, index=index, accumulate=False),
    values=lambda g, values_shape, indices, index: _put_values(F.index(g, *indices, index=index), values_shape),
)


def _put_values(g: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of written values whose extra leading ones were dropped."""
    extra = len(shape) - g.ndim
    return g if extra <= 0 else F.reshape(F.sum_to_size(g, size=shape[extra:]), shape=shape)


# Along one dimension -----------------------------------------------------------------------------------------------------------


def check_positions(name: str, index: Array, size: int, dim: int, error: type[Exception] = ShapeError) -> None:
    """Refuse positions outside [0, size); PyTorch raises RuntimeError for gather and scatter."""
    if index.size and (index.min() < 0 or index.max() >= size):
        raise error(f"{name}(): index is out of bounds for dimension {dim} with size {size}")


def cells_along(index: Array, shape: tuple[int, ...], dim: int) -> Array:
    """The flat position in ``shape`` of each entry of ``index``, which stands for the coordinate along ``dim``."""
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    cells: Any = index if index.dtype == np.int64 else index.astype(np.int64)
    if strides[dim] != 1:
        cells = cells * strides[dim]
    rest: Any = 0  # small: the index has more elements than the others have coordinates
    for d, stride in enumerate(strides):
        if d != dim:
            rest = rest + (np.arange(index.shape[d]) * stride).reshape([-1 if i == d else 1 for i in range(len(shape))])
    return np.asarray(cells + rest).reshape(-1)


def lifted(*arrays: Array) -> list[Array]:
    """0-d arrays as vectors of one."""
    return [a.reshape(1) if a.ndim == 0 else a for a in arrays]


@kernel("gather")
def _gather(self: Array, index: Array, dim: int, sparse_grad: bool = False) -> Array:
    if not index.size:
        return np.zeros(index.shape, self.dtype)
    source, positions = lifted(self, index)
    dim %= source.ndim
    check_positions("gather", positions, source.shape[dim], dim)
    if source.flags.c_contiguous:  # flat positions are looked up several times as fast as coordinates
        return source.reshape(-1).take(cells_along(positions, source.shape, dim)).reshape(index.shape)
    part = source[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(positions.shape))]
    return np.take_along_axis(part, positions, dim).reshape(index.shape)


def _scatter_into(target: Array, index: Array, src: Any, dim: int, add: bool) -> Array:
    """Write or add into ``target`` itself."""
    if not index.size:
        return target
    into, positions = lifted(target, index)
    dim %= into.ndim
    check_positions("scatter", positions, into.shape[dim], dim)
    cells = cells_along(positions, into.shape, dim)
    source = fits(src, target.dtype)
    if np.ndim(src):
        source = source[tuple(slice(n) for n in positions.shape)].reshape(-1)
    flat = into.reshape(-1) if into.flags.c_contiguous else into.flatten()
    if add:
        add_rows(flat, cells, np.broadcast_to(np.asarray(source, target.dtype), cells.shape))
    else:
        flat[cells] = source
    if not into.flags.c_contiguous:
        into[...] = flat.reshape(into.shape)
    return target


@kernel("scatter", in_place=lambda target, index, src, dim: _scatter_into(target, index, src, dim, False))
def _scatter(self: Array, index: Array, src: Any, dim: int) -> Array:
    return _scatter_into(np.array(self), index, src, dim, False)


@kernel("scatter_add", in_place=lambda target, index, src, dim: _scatter_into(target, index, src, dim, True))
def _scatter_add(self: Array, index: Array, src: Array, dim: int) -> Array:
    return _scatter_into(np.array(self), index, src, dim, True)


def _src_gradient(g: Any, index: Any, shape: tuple[int, ...], dim: int) -> Any:
    """``g`` at each source's place."""
    return source_gradient(F.gather(g, index, dim=dim), shape)


def source_gradient(found: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of a source whose used part has the gradient ``found``; zero for the part beyond the index."""
    if found.shape == shape:
        return found
    if not shape:  # a 0-d source or a number for all
        return F.sum(found)
    return F._getitem_gradient(found, shape=shape, index=tuple(slice(0, n, 1) for n in found.shape))


derivative(
    "gather",
    self=lambda g, self_shape, index, dim: F.scatter_add(F.zeros(g, self_shape), index, g, dim=dim),
)
derivative(
    "scatter",
    self=lambda g, index, dim: F.scatter(g, index, 0, dim=dim),
    src=lambda g, index, src_shape, dim: _src_gradient(g, index, src_shape, dim),
)
derivative(
    "scatter_add",
    self=lambda g: g,
    src=lambda g, index, src_shape, dim: _src_gradient(g, index, src_shape, dim),
)


@kernel("index_select")
def _index_select(self: Array, index: Array, dim: int) -> Array:
    positions = index.reshape(-1)
    source = self.reshape(1) if self.ndim == 0 else self
    check_positions("index_select", positions, source.shape[dim], dim, IndexBoundsError)
    taken = np.take(source, positions, axis=dim)
    return taken.reshape(()) if self.ndim == 0 else taken


def _index_add_into(target: Array, index: Array, source: Array, dim: int, alpha: Any) -> Array:
    positions = index.reshape(-1)
    into = target.reshape(1) if target.ndim == 0 else target
    check_positions("index_add", positions, into.shape[dim], dim, IndexBoundsError)
    ordered = np.moveaxis(into, dim, 0)
    values = source if alpha == 1 else source * np.asarray(alpha).astype(target.dtype)
    rows = (values.reshape(1) if values.ndim == 0 else np.moveaxis(values, dim, 0)).reshape(
        positions.size, -1 if values.size else 0
    )
    if ordered.flags.c_contiguous:
        add_rows(ordered.reshape(ordered.shape[0], -1 if ordered.size else 0), positions, rows)
    else:
        table = np.zeros((ordered.shape[0], ordered.size // max(1, ordered.shape[0])), target.dtype)
        add_rows(table, positions, rows)
        ordered += table.reshape(ordered.shape)
    return target


@kernel("index_add", in_place=_index_add_into)
def _index_add(self: Array, index: Array, source: Array, dim: int, alpha: Any) -> Array:
    return _index_add_into(np.array(self), index, source, dim, alpha)


def as_number_of(target: Array, value: Any) -> Any:
    """A 0-d array of another type as a number of the target's. Raises DTypeError where it does not fit."""
    if not isinstance(value, np.ndarray) or value.dtype == target.dtype:
        return value
    number = value.item()
    check_fits(number, from_numpy(target.dtype))
    return fits(number, target.dtype)


def _index_write_into(target: Array, index: Array, values: Any, dim: int, from_the_end: bool) -> Array:
    values = fits(as_number_of(target, values) if np.ndim(values) == 0 else values, target.dtype)
    positions = index.reshape(-1)
    into = target.reshape(1) if target.ndim == 0 else target
    if from_the_end:
        positions = _from_the_front(positions, into.shape[dim])
    check_positions("index_fill" if from_the_end else "index_copy", positions, into.shape[dim], dim, IndexBoundsError)
    np.moveaxis(into, dim, 0)[positions] = values if np.ndim(values) == 0 else np.moveaxis(values, dim, 0)
    return target


for _name, _from_the_end in (("index_fill", True), ("index_copy", False)):
    kernel(
        _name,
        lambda self, index, source, dim, _end=_from_the_end: _index_write_into(np.array(self), index, source, dim, _end),
        in_place=lambda target, index, source, dim, _end=_from_the_end: _index_write_into(target, index, source, dim, _end),
    )

derivative(
    "index_select",
    self=lambda g, self_shape, index, dim: F.index_add(F.zeros(g, self_shape), index, g, dim=dim),
)
derivative(
    "index_add",
    self=lambda g: g,
    source=lambda g, index, dim, alpha: (
        F.index_select(g, index, dim=dim) * F.conjugate(alpha) if alpha != 1 else F.index_select(g, index, dim=dim)
    ),
)
derivative(
    "index_fill",
    self=lambda g, index, dim: F.index_fill(g, index, 0, dim=dim),
    # Once for each place, also where the index names it twice.
    value=lambda g, index, dim: F.sum(F.where(F.index_fill(F.zeros(g, g.shape), index, 1, dim=dim) == 1, g, 0.0)),
)
derivative(
    "index_copy",
    self=lambda g, index, dim: F.index_fill(g, index, 0, dim=dim),
    source=lambda g, index, dim: F.index_select(g, index, dim=dim),
)


def _take_parts(self: Array, indices: Array, dim: int) -> tuple[Array, Array]:
    """Both operands with the dimensions other than ``dim`` broadcast."""
    dim %= self.ndim
    ours = (*self.shape[:dim], 1, *self.shape[dim + 1 :])
    theirs = (*indices.shape[:dim], 1, *indices.shape[dim + 1 :])
    rest = np.broadcast_shapes(ours, theirs)
    source = np.broadcast_to(self, (*rest[:dim], self.shape[dim], *rest[dim + 1 :]))
    return source, np.broadcast_to(indices, (*rest[:dim], indices.shape[dim], *rest[dim + 1 :]))


def _from_the_front(indices: Any, size: int) -> Any:
    """Indices where negative ones, which count from the end, are made to count from the front."""
    return F.where(indices < 0, indices + size, indices)


@kernel("take_along_dim")
def _take_along_dim(self: Array, indices: Array, dim: int | None) -> Array:
    if dim is None:
        return _gather(self.reshape(-1), indices.reshape(-1), 0)
    if self.ndim == 0:
        return _gather(self, indices, 0)
    return _gather(*_take_parts(self, _from_the_front(indices, self.shape[dim]), dim), dim)


def _take_along_dim_gradient(g: Any, self_shape: tuple[int, ...], indices: Any, dim: int | None) -> Any:
    if dim is None:
        flat = F.zeros(g, (math.prod(self_shape),))
        summed = F.scatter_add(flat, F.reshape(indices, shape=(math.prod(indices.shape),)), g, dim=0)
        return F.reshape(summed, shape=self_shape)
    if not self_shape:
        return F.reshape(g, shape=())
    dim %= len(self_shape)
    # The result has the broadcast sizes in the other dimensions; the walk sums the gradient back to the tensor's.
    shape = (*g.shape[:dim], self_shape[dim], *g.shape[dim + 1 :])
    places = _from_the_front(indices, self_shape[dim])
    return F.scatter_add(F.zeros(g, shape), F.expand(places, size=g.shape), g, dim=dim)


derivative("take_along_dim", self=_take_along_dim_gradient)


@kernel("take")
def _take(self: Array, index: Array) -> Array:
    try:
        return np.asarray(self.reshape(-1)[index])
    except IndexError:
        raise IndexBoundsError(f"take(): index out of range: the tensor has {self.size} elements") from None


derivative(
    "take",
    self=lambda g, self_shape, index: F.reshape(
        F._index_gradient(g, index, shape=(math.prod(self_shape),), index=(TensorSlot(1),))
        if index.ndim
        else F._getitem_gradient(g, shape=(math.prod(self_shape),), index=(int(index),)),
        shape=self_shape,
    ),
)


# Order -------------------------------------------------------------------------------------------------------------------------


def _order(x: Array, dim: int, descending: bool) -> Array:
    """Positions in sorted order; equal values keep their order in both directions, not a number is largest."""
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    backwards = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - backwards, dim)


@kernel("sort")
def _sort(self: Array, dim: int, descending: bool, stable: bool) -> tuple[Array, Array]:
    if self.ndim == 0:
        return self.copy(), np.zeros((), np.int64)
    positions = _order(self, dim, descending)
    return np.take_along_axis(self, positions, dim), np.ascontiguousarray(positions)


@kernel("argsort")
def _argsort(self: Array, dim: int, descending: bool, stable: bool) -> Array:
    if self.ndim == 0:
        return np.zeros((), np.int64)
    return np.ascontiguousarray(_order(self, dim, descending))


@kernel("topk")
def _topk(self: Array, k: int, dim: int, largest: bool, sorted: bool) -> tuple[Array, Array]:
    if self.ndim == 0:
        return self.copy(), np.zeros((), np.int64)
    positions = np.ascontiguousarray(choosing.top(self, _order(self, dim, largest), k, dim, largest, sorted))
    return np.take_along_axis(self, positions, dim), positions


def _order_gradient(g: Any, indices: Any, self_shape: tuple[int, ...], dim: int) -> Any:
    return F.scatter_add(F.zeros(g[0], self_shape), indices, g[0], dim=dim)


derivative("sort", self=_order_gradient)
derivative("topk", self=_order_gradient)
