"""Kernels and derivatives of writing and reducing into places that an index names."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import IndexBoundsError
from telegrad.contract.tensor.base import TensorBase
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.rules.index import cells_along, check_positions, lifted, source_gradient
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel

# put ---------------------------------------------------------------------------------------------------------------------------


@kernel("put")
def _put(self: Array, index: Array, source: Array, accumulate: bool) -> Array:
    result = np.array(self, order="C")
    flat, places = result.reshape(-1), index.reshape(-1)
    if places.size and (places.min() < -flat.size or places.max() >= flat.size):
        raise IndexBoundsError(f"put_(): index out of range: the tensor has {flat.size} elements")
    if accumulate:
        add_rows(flat, places % flat.size if flat.size else places, source.reshape(-1))
    else:
        flat[places] = source.reshape(-1)
    return result


derivative(
    "put",
    self=lambda g, index, accumulate: g if accumulate else F.put(g, index, F.zeros(g, tuple(index.shape)), accumulate=False),
    source=lambda g, index, source_shape: F.reshape(F.take(g, index), shape=source_shape),
)

# scatter_reduce ----------------------------------------------------------------------------------------------------------------

_UFUNCS: dict[str, Any] = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _reduced(self: Array, cells: Array, values: Array, reduce: str, include_self: bool) -> Array:
    """``values`` reduced into the flat places ``cells`` of a copy of ``self``."""
    result = np.array(self, order="C")
    flat = result.reshape(-1)
    if not include_self:
        flat[cells] = _neutral(reduce, flat.dtype)
    if reduce in ("sum", "mean"):
        add_rows(flat, cells, values)
        if reduce == "mean":
            counts = np.bincount(cells, minlength=flat.size) + (1 if include_self else 0)
            counts = np.maximum(counts, 1)
            # Whole numbers round down, as in PyTorch.
            flat[...] = flat // counts if flat.dtype.kind in "iu" else flat / counts.astype(flat.dtype)
    else:
        _UFUNCS[reduce].at(flat, cells, values)
    return result


def _neutral(reduce: str, dtype: np.dtype[Any]) -> Any:
    """What a reduction starts from when nothing is there yet."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype.kind == "b":
        return reduce == "amin"
    if dtype.kind == "f":
        return -np.inf if reduce == "amax" else np.inf
    limits = np.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


@kernel("scatter_reduce")
def _scatter_reduce(self: Array, index: Array, src: Array, dim: int, reduce: str, include_self: bool) -> Array:
    if not index.size:
        return self.copy()
    into, positions, source = lifted(self, index, src)
    dim %= into.ndim
    check_positions("scatter", positions, into.shape[dim], dim)
    values = source[tuple(slice(n) for n in positions.shape)].reshape(-1)
    return _reduced(into, cells_along(positions, into.shape, dim), values, reduce, include_self).reshape(self.shape)


def _scatter_reduce_backward(
    g: Any, self: Any, index: Any, src: Any, result: Any, dim: int, reduce: str, include_self: bool, needs: tuple[bool, bool]
) -> tuple[Any, Any]:
    """Sums pass g on, means a share of it, products what the other factors make, extremes a share to each that equals them."""
    if not all(index.shape):
        return g, F.zeros(g, tuple(src.shape)) if needs[1] else None
    part = src
    if tuple(src.shape) != tuple(index.shape) and src.shape:
        part = F.getitem(src, index=tuple(slice(0, n, 1) for n in index.shape))
    mine, theirs = _GRADIENTS[reduce](g, self, index, part, result, dim, include_self)
    if not include_self:
        mine = F.scatter(mine, index, 0, dim=dim)
    return mine, source_gradient(theirs(), tuple(src.shape)) if needs[1] else None


def _sum_parts(g: Any, self: Any, index: Any, part: Any, result: Any, dim: int, include_self: bool) -> Any:
    return g, lambda: F.gather(g, index, dim=dim)


def _mean_parts(g: Any, self: Any, index: Any, part: Any, result: Any, dim: int, include_self: bool) -> Any:
    ones = F.zeros(g, tuple(index.shape)) + 1
    counts = F.scatter_add(F.zeros(g, tuple(self.shape)) + int(include_self), index, ones, dim=dim)
    share = g / F.where(counts == 0, 1.0, counts)
    return share, lambda: F.gather(share, index, dim=dim)


def _zeros_apart(part: Any, index: Any, shape: tuple[int, ...], dim: int) -> list[Any]:
    """Masks of the zeros of ``part``, so that no place of ``shape`` gets two of one mask.

    Numbers need those zeros only that are the only ones of their place: products without one of several are zero. What is recorded
    needs all, since second derivatives leave out two.
    """
    home: Any = getattr(part, "home", None)
    recorded = home is not None
    values, places = lifted(*(x.array if isinstance(x, TensorBase) else x for x in (part, index)))  # type: ignore[attr-defined]
    zeros = np.flatnonzero(values.reshape(-1) == 0)
    if not zeros.size:
        return []
    cells = cells_along(places, shape or (1,), dim % max(len(shape), 1))[zeros]
    order = np.argsort(cells, kind="stable")
    begins = np.concatenate([[0], np.flatnonzero(np.diff(cells[order])) + 1])
    counts = np.diff(np.append(begins, len(order)))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(begins, counts)
    if not recorded:
        alone = np.empty(len(order), bool)
        alone[order] = np.repeat(counts == 1, counts)
        zeros, ranks = zeros[alone], ranks[alone]
    masks: list[Any] = []
    for rank in range(int(ranks.max(initial=-1)) + 1):
        mask = np.zeros(part.shape, bool)
        mask.reshape(-1)[zeros[ranks == rank]] = True
        masks.append(home.wrap(mask) if recorded else mask)
    return masks


def _prod_parts(g: Any, self: Any, index: Any, part: Any, result: Any, dim: int, include_self: bool) -> Any:
    """A factor's gradient is the product of the others: the result over the factor, or computed without it where it is zero."""
    ones = F.zeros(self, tuple(self.shape)) + 1
    others = F.scatter_reduce(ones, index, part, dim=dim, reduce="prod", include_self=True)

    def theirs() -> Any:
        found = F.gather(g * F.conjugate(result), index, dim=dim) / F.conjugate(F.masked_fill(part, part == 0, 1))
        for one in _zeros_apart(part, index, tuple(self.shape), dim):
            without = F.scatter_reduce(self, index, F.masked_fill(part, one, 1), dim=dim, reduce="prod", include_self=include_self)
            found = F.where(one, F.gather(g * F.conjugate(without), index, dim=dim), found)
        return found

    return g * F.conjugate(others), theirs


def _extreme_parts(g: Any, self: Any, index: Any, part: Any, result: Any, dim: int, include_self: bool) -> Any:
    own = F.astype(self == result, g)
    equal = F.astype(part == F.gather(result, index, dim=dim), g)
    # PyTorch counts a place's own value that happens to equal the result also where it was left out.
    ties = F.scatter_add(own, index, equal, dim=dim)
    share = g / F.where(ties == 0, 1.0, ties)
    return own * share, lambda: equal * F.gather(share, index, dim=dim)


_GRADIENTS: dict[str, Any] = {
    "sum": _sum_parts,
    "mean": _mean_parts,
    "prod": _prod_parts,
    "amax": _extreme_parts,
    "amin": _extreme_parts,
}

joint_derivative("scatter_reduce", "self", "src")(_scatter_reduce_backward)

# index_reduce ------------------------------------------------------------------------------------------------------------------


def _spread(index: Any, shape: tuple[int, ...], dim: int) -> Any:
    """The vector ``index`` as an index of every element of ``shape``."""
    if not shape:
        return F.reshape(index, shape=())
    dim %= len(shape)
    column = F.reshape(index, shape=tuple(-1 if i == dim else 1 for i in range(len(shape))))
    return F.expand(column, size=shape)


@kernel("index_reduce")
def _index_reduce(self: Array, index: Array, source: Array, dim: int, reduce: str, include_self: bool) -> Array:
    into = self.reshape(1) if self.ndim == 0 else self
    check_positions("index_reduce", index, into.shape[dim], dim, IndexBoundsError)
    return _scatter_reduce(self, _spread(index, source.shape, dim), source, dim, reduce, include_self)


@joint_derivative("index_reduce", "self", "source")
def _index_reduce_backward(
    g: Any, self: Any, index: Any, source: Any, result: Any, dim: int, reduce: str, include_self: bool, needs: tuple[bool, bool]
) -> tuple[Any, Any]:
    places = _spread(index, tuple(source.shape), dim)
    return _scatter_reduce_backward(g, self, places, source, result, dim, reduce, include_self, needs)
