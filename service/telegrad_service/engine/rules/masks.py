"""Kernels and derivatives of ops that take a mask, and of ``nonzero``, which makes positions of one."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract.errors import ShapeError
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.index import as_number_of
from telegrad_service.engine.table import Array, derivative, extent, kernel


def _fill_masked(target: Array, mask: Array, value: Any) -> Array:
    np.copyto(target, np.asarray(as_number_of(target, value)).astype(target.dtype, copy=False), where=mask)
    return target


@kernel("masked_fill", in_place=_fill_masked)
def _masked_fill(self: Array, mask: Array, value: Any) -> Array:
    return _fill_masked(np.array(np.broadcast_to(self, np.broadcast_shapes(self.shape, mask.shape))), mask, value)


derivative(
    "masked_fill",
    self=lambda g, mask: F.masked_fill(g, mask, 0),
    value=lambda g, mask: F.where(mask, g, 0),
)


@extent("masked_select")
def _selected(self: Array, mask: Array) -> tuple[int, np.dtype[Any]]:
    repeats = math.prod(np.broadcast_shapes(self.shape, mask.shape)) // max(mask.size, 1)
    return int(np.count_nonzero(mask)) * repeats, self.dtype


@kernel("masked_select")
def _masked_select(self: Array, mask: Array) -> Array:
    shape = np.broadcast_shapes(self.shape, mask.shape)
    return np.asarray(np.broadcast_to(self, shape)[np.broadcast_to(mask, shape)])


def _masked_select_gradient(g: Any, self_shape: tuple[int, ...], mask: Any) -> Any:
    return F.masked_scatter(F.zeros(g, np.broadcast_shapes(self_shape, tuple(mask.shape))), mask, g)


derivative("masked_select", self=_masked_select_gradient)


def _scatter_masked(target: Array, mask: Array, source: Array) -> Array:
    where = np.broadcast_to(mask, target.shape)
    count = int(np.count_nonzero(where))
    if count > source.size:
        raise ShapeError(
            f"masked_scatter: expected the source to have at least as many elements as the mask holds, {count}, but it has "
            f"{source.size}"
        )
    target[where] = source.reshape(-1)[:count]
    return target


@kernel("masked_scatter", in_place=_scatter_masked)
def _masked_scatter(self: Array, mask: Array, source: Array) -> Array:
    return _scatter_masked(np.array(np.broadcast_to(self, np.broadcast_shapes(self.shape, mask.shape))), mask, source)


def _masked_source_gradient(g: Any, mask: Any, source_shape: tuple[int, ...]) -> Any:
    found = F.masked_select(g, mask)
    size = math.prod(source_shape)
    if found.shape[0] < size:
        found = F._getitem_gradient(found, shape=(size,), index=(slice(0, found.shape[0], 1),))
    return F.reshape(found, shape=source_shape)


derivative("masked_scatter", self=lambda g, mask: F.masked_fill(g, mask, 0), source=_masked_source_gradient)


@kernel("nonzero")
def _nonzero(self: Array) -> Array:
    if self.ndim == 0:
        return np.zeros((int(bool(self)), 0), np.int64)
    return np.argwhere(self)
