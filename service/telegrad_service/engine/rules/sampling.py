"""Kernels and derivatives of sampling at points, bags of embeddings, and distances."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.errors import ShapeError
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.nn import by_frequency, wide
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel

# Sampling ----------------------------------------------------------------------------------------------------------------------
# One text finds points and weights for the kernel, the gradient and the gradient of the gradient: on arrays and on Tensors.


def _integers(x: Any) -> Any:
    """Whole numbers as int64; what no int64 can hold lies outside every image."""
    limited = F.where(x == x, F.clamp(x, -1e9, 1e9), -1e9)  # noqa: PLR0124 - false for NaN only
    return limited.astype(np.int64) if limited.__class__ is np.ndarray else F.to(limited, dtype=dtypes.int64)


def _reflected(x: Any, low: float, high: float) -> Any:
    """Coordinates folded back between two mirrors."""
    span = high - low
    if span == 0:
        return x * 0
    distance = F.abs(x - low)
    flips = F.floor(distance / span)
    rest = distance - flips * span
    odd = flips - 2 * F.floor(flips / 2) == 1
    return F.where(odd, high - rest, rest + low)


def _coordinate(x: Any, size: int, padding_mode: str, align: bool) -> Any:
    """A position in [-1, 1] as one in points, the padding that bounds it applied."""
    x = (x + 1) * ((size - 1) / 2) if align else ((x + 1) * size - 1) / 2
    return _bounded(x, size, padding_mode, align)


def _bounded(x: Any, size: int, padding_mode: str, align: bool) -> Any:
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflected(x, 0.0, size - 1.0) if align else _reflected(x, -0.5, size - 0.5)
    return _limited(x, size)


def _limited(x: Any, size: int) -> Any:
    return F.where(x <= 0, 0.0, F.where(x >= size - 1, float(size - 1), x))


def _axis(grid: Any, axis: int) -> Any:
    return F.select(grid, dim=grid.ndim - 1, index=axis)


def _corners(grid: Any, spatial: Sequence[int], mode: str, padding_mode: str, align: bool) -> list[list[tuple[Any, Any]]]:
    """For each dimension of the image the points that weigh in: (integer position, weight; None: one)."""
    found: list[list[tuple[Any, Any]]] = []
    for d, size in enumerate(spatial):
        raw = _axis(grid, len(spatial) - 1 - d)
        if mode == "bicubic":
            x = (raw + 1) * ((size - 1) / 2) if align else ((raw + 1) * size - 1) / 2
            first = F.floor(x)
            t = x - first
            weights = _cubic_weights(t)
            places = [_bounded(first + float(k), size, padding_mode, align) for k in (-1, 0, 1, 2)]
            found.append([(_integers(p), w) for p, w in zip(places, weights, strict=True)])
            continue
        x = _coordinate(raw, size, padding_mode, align)
        if mode == "nearest":
            found.append([(_integers(F.round(x)), None)])
            continue
        first = F.floor(x)
        part = x - first
        at = _integers(first)
        found.append([(at, 1 - part), (at + 1, part)])
    return found


def _cubic_weights(t: Any) -> list[Any]:
    """Keys's weights, with a = -0.75, of the four points around a position ``t`` after the second."""
    a = -0.75

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _points(corners: list[list[tuple[Any, Any]]], spatial: Sequence[int]) -> Any:
    """Each point that weighs in: its flat place in the image, whether it lies inside, and the weights of its dimensions."""
    for choice in itertools.product(*corners):
        flat: Any = 0
        inside: Any = None
        for (at, _), size in zip(choice, spatial, strict=True):
            within = (at >= 0) & (at < size)
            inside = within if inside is None else inside & within
            flat = flat * size + F.clamp(at, 0, size - 1)
        yield flat, inside, [w for _, w in choice]


def _weight(inside: Any, weights: Sequence[Any], like: Any) -> Any:
    """The product of the weights, zero outside the image; [N, points]."""
    total = F.astype(inside, like)
    for w in weights:
        if w is not None:
            total = total * w
    return F.reshape(total, shape=(total.shape[0], math.prod(total.shape[1:])))


def _everywhere(flat: Any, channels: int) -> Any:
    """Flat places [N, ...] for every channel: [N, C, points]."""
    n, points = flat.shape[0], math.prod(flat.shape[1:])
    return F.expand(F.reshape(flat, shape=(n, 1, points)), size=(n, channels, points))


@kernel("grid_sample")
def _grid_sample(self: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool) -> Array:
    spatial = self.shape[2:]
    x, points = wide(self), wide(grid)
    flat = x.reshape(*self.shape[:2], math.prod(spatial))
    total: Any = np.zeros((*self.shape[:2], math.prod(grid.shape[1:-1])), x.dtype)
    for place, inside, weights in _points(_corners(points, spatial, mode, padding_mode, align_corners), spatial):
        taken = np.take_along_axis(flat, np.asarray(_everywhere(place, self.shape[1])), 2)
        weight = _weight(inside, weights, x)[:, None]
        # What lies outside weighs nothing, be it infinite.
        total += np.where(weight == 0, 0, taken * weight) if padding_mode == "zeros" else taken * weight
    return np.asarray(total.reshape(*self.shape[:2], *grid.shape[1:-1]))


@joint_derivative("grid_sample", "self", "grid")
def _grid_sample_gradient(
    g: Any, self: Any, grid: Any, mode: str, padding_mode: str, align_corners: bool, needs: tuple[bool, bool]
) -> tuple[Any, Any]:
    spatial = tuple(self.shape[2:])
    batch, channels = self.shape[:2]
    points = math.prod(grid.shape[1:-1])
    flat_g = F.reshape(g, shape=(batch, channels, points))
    flat = F.reshape(self, shape=(batch, channels, math.prod(spatial)))
    corners = _corners(grid, spatial, mode, padding_mode, align_corners)
    slopes = _slopes(grid, spatial, mode, padding_mode, align_corners) if needs[1] and mode != "nearest" else None
    of_self = F.zeros(g, flat.shape) if needs[0] else None
    of_axes: list[Any] = [0.0] * len(spatial)
    counter = itertools.product(*[range(len(c)) for c in corners])
    for place, inside, weights in _points(corners, spatial):
        numbers = next(counter)
        index = _everywhere(place, channels)
        if needs[0]:
            weight = F.unsqueeze(_weight(inside, weights, g), dim=1)
            of_self = F.scatter_add(of_self, index, flat_g * weight, dim=2)
        if slopes is not None:
            along = F.reshape(F.sum(flat_g * F.gather(flat, index, dim=2), dim=(1,)), shape=tuple(grid.shape[:-1]))
            along = along * F.astype(inside, g)
            for d in range(len(spatial)):
                term = along * slopes[d][numbers[d]]
                for e, w in enumerate(weights):
                    if e != d:
                        term = term * w
                of_axes[d] = of_axes[d] + term
    of_grid = None
    if needs[1]:
        axes = [F.unsqueeze(a, dim=len(grid.shape) - 1) for a in reversed(of_axes)] if slopes is not None else []
        of_grid = F.cat(*axes, dim=len(grid.shape) - 1) if slopes is not None else F.zeros(g, tuple(grid.shape))
    return None if of_self is None else F.reshape(of_self, shape=tuple(self.shape)), of_grid


def _slopes(grid: Any, spatial: Sequence[int], mode: str, padding_mode: str, align: bool) -> list[list[Any]]:
    """For each dimension, how the weight of each of its points changes with the grid."""
    found: list[list[Any]] = []
    for d, size in enumerate(spatial):
        raw = _axis(grid, len(spatial) - 1 - d)
        scale = (size - 1) / 2 if align else size / 2
        if mode == "bicubic":
            x = (raw + 1) * scale if align else ((raw + 1) * size - 1) / 2
            t = x - F.floor(x)
            found.append([s * scale for s in _cubic_slopes(t)])
            continue
        factor = _coordinate_slope(raw, size, padding_mode, align) * scale
        found.append([-factor, factor])
    return found


def _cubic_slopes(t: Any) -> list[Any]:
    a = -0.75

    def near(x: Any) -> Any:
        return (3 * (a + 2) * x - 2 * (a + 3)) * x

    def far(x: Any) -> Any:
        return (3 * a * x - 10 * a) * x + 8 * a

    return [far(t + 1), near(t), -near(1 - t), -far(2 - t)]


def _coordinate_slope(raw: Any, size: int, padding_mode: str, align: bool) -> Any:
    """1 where a position moves with the grid, -1 where a mirror turns it around, 0 where it is held at the edge."""
    x = (raw + 1) * ((size - 1) / 2) if align else ((raw + 1) * size - 1) / 2
    one = x * 0 + 1
    if padding_mode == "zeros":
        return one
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align else (-0.5, float(size))
        if span == 0:
            return x * 0
        flips = F.floor(F.abs(x - low) / span)
        odd = flips - 2 * F.floor(flips / 2) == 1
        one = F.where(odd, -one, one) * F.where(x < low, -1.0, 1.0)
        x = _reflected(x, low, low + span)
    return F.where((x <= 0) | (x >= size - 1), 0.0, one)


# Bags of embeddings ------------------------------------------------------------------------------------------------------------


@kernel("embedding_bag")
def _embedding_bag(
    self: Array,
    weight: Array,
    offsets: Array | None,
    per_sample_weights: Array | None,
    mode: str,
    scale_grad_by_freq: bool,
    include_last_offset: bool,
    padding_idx: int | None,
) -> tuple[Array, Array, Array, Array]:
    flat = self.reshape(-1)
    count, width = weight.shape
    if flat.size and (flat.min() < 0 or flat.max() >= count):
        raise ShapeError(f"embedding_bag: Expected idx >= 0 && idx < num_embeddings, which is {count}")
    if offsets is None:
        bags, starts = self.shape[0], np.arange(self.shape[0]) * (self.shape[1] if self.shape[0] else 0)
    else:
        starts = _starts(offsets, flat.size, include_last_offset)
        bags = len(offsets) - include_last_offset
    bag = np.zeros(flat.size, np.int64)
    np.add.at(bag, starts[1:bags][starts[1:bags] < flat.size], 1)
    bag = np.cumsum(bag)
    if include_last_offset and offsets is not None and len(offsets):
        flat, bag_used = flat[: int(offsets[-1])], bag[: int(offsets[-1])]
    else:
        bag_used = bag
    kept = np.ones(flat.size, bool) if padding_idx is None else flat != padding_idx % count
    rows, owners = flat[kept], bag_used[kept]
    sizes = np.bincount(owners, minlength=bags).astype(np.int64)[:bags]
    values = wide(weight)[rows]
    if per_sample_weights is not None:
        values = values * wide(per_sample_weights).reshape(-1)[: flat.size][kept][:, None]
    result = np.zeros((bags, width), values.dtype)
    largest = np.full((bags, width) if mode == "max" else (0, width), -1, np.int64)
    if rows.size:
        firsts = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
        present = owners[firsts]
        if mode == "max":
            result[present] = np.maximum.reduceat(values, firsts, axis=0)
            # Backwards, so that the first of ties is written last.
            hits, columns = np.nonzero((values == result[owners])[::-1])
            at = rows.size - 1 - hits
            largest[owners[at], columns] = rows[at]
        else:
            result[present] = np.add.reduceat(values, firsts, axis=0)
            if mode == "mean":
                result /= np.maximum(sizes, 1).astype(result.dtype)[:, None]
    owner = np.full(self.size, -1, np.int64)
    owner[: flat.size] = np.where(kept, bag_used, -1)
    return result, owner, sizes, largest


def _starts(offsets: Array, size: int, include_last_offset: bool) -> Array:
    """Where the bags begin, once checked."""
    starts = offsets.astype(np.int64)
    if len(starts) and starts[0] != 0:
        raise ShapeError("embedding_bag: offsets[0] has to be 0: the first bag has to start from position 0")
    if (np.diff(starts) < 0).any():
        raise ShapeError("embedding_bag: offsets must not decrease")
    if len(starts) and starts[-1] > size:
        raise ShapeError(f"embedding_bag: offsets[-1] can not be greater than input's length {size}")
    return starts[:-1] if include_last_offset else starts


@joint_derivative("embedding_bag", "weight", "per_sample_weights")
def _embedding_bag_gradient(
    g: Any,
    self: Any,
    weight: Any,
    per_sample_weights: Any,
    bags: Any,
    sizes: Any,
    largest: Any,
    mode: str,
    scale_grad_by_freq: bool,
    needs: tuple[bool, ...],
) -> tuple[Any, ...]:
    of_result = g[0]
    if mode == "max":
        found = F.astype(largest >= 0, of_result)
        zeros = F.zeros(of_result, tuple(weight.shape))
        return F.scatter_add(zeros, F.clamp(largest, 0, None), of_result * found, dim=0), None
    count = weight.shape[0]
    flat = F.reshape(self, shape=(math.prod(self.shape),))
    if not math.prod(of_result.shape[:1]):
        return F.zeros(of_result, tuple(weight.shape)), None if not any(needs[1:]) else per_sample_weights * 0
    owner = F.clamp(bags, 0, None)
    each = F.embedding(owner, of_result) * F.unsqueeze(F.astype(bags >= 0, of_result), dim=1)
    if mode == "mean":
        share = F.astype(F.clamp(sizes, 1, None), of_result)
        each = each / F.unsqueeze(F.reshape(F.embedding(owner, F.unsqueeze(share, dim=1)), shape=(math.prod(self.shape),)), dim=1)
    of_weights = None
    if any(needs[1:]):
        of_weights = F.reshape(F.sum(each * F.embedding(flat, weight), dim=(1,)), shape=tuple(self.shape))
    if per_sample_weights is not None:
        each = each * F.unsqueeze(F.reshape(per_sample_weights, shape=(math.prod(self.shape),)), dim=1)
    if scale_grad_by_freq:
        each = by_frequency(each, flat, count)
    return F._embedding_gradient(each, flat, count=count, padding_idx=None) if needs[0] else None, of_weights


# Distances ---------------------------------------------------------------------------------------------------------------------


def _differences(a: Any, b: Any) -> Any:
    """Every row of ``a`` less every row of ``b``: [..., P, R, M]."""
    return F.unsqueeze(a, dim=a.ndim - 1) - F.unsqueeze(b, dim=b.ndim - 2)


@kernel("cdist")
def _cdist(self: Array, x2: Array, p: float) -> Array:
    return _norms(_differences(wide(self), wide(x2)), p)


def _norms(d: Array, p: float) -> Array:
    """``p``-norms along the last dimension."""
    if not d.shape[-1]:
        return np.zeros(d.shape[:-1], d.dtype)
    if p == 0:
        return np.asarray((d != 0).sum(axis=-1)).astype(d.dtype)
    if p == 2:
        return np.asarray(np.sqrt(np.einsum("...i,...i->...", d, d)))
    size = np.abs(d)
    if p == 1:
        return np.asarray(size.sum(axis=-1))
    if math.isinf(p):
        return np.asarray(size.max(axis=-1))
    return np.asarray((size**p).sum(axis=-1) ** (1 / p))


def _slope_of_norm(d: Any, distance: Any, p: float) -> Any:
    """The gradient of each norm along its difference; zero where the norm is, at p = inf shared by nobody: all that attain it."""
    distance = F.unsqueeze(distance, dim=distance.ndim)
    if p == 0:
        return d * 0
    if p == 1:
        return F.sign(d)
    if math.isinf(p):
        return F.sign(d) * F.astype(F.abs(d) == distance, d)
    nothing = distance == 0
    safe = F.where(nothing, 1.0, distance)
    if p == 2:
        return F.where(nothing, 0.0, d / safe)
    zero = d == 0
    size = F.where(zero, 1.0, F.abs(d))
    return F.where(nothing | zero, 0.0, F.sign(d) * size ** (p - 1) / safe ** (p - 1))


@kernel("_cdist_gradient")
def _cdist_gradient(self: Array, x1: Array, x2: Array, distance: Array, p: float) -> Array:
    d = _differences(wide(x1), wide(x2))
    result = (wide(self)[..., None] * _slope_of_norm(d, wide(distance), p)).sum(axis=-2)
    return np.asarray(np.broadcast_to(result, (*self.shape[:-2], *x1.shape[-2:])))


derivative(
    "cdist",
    self=lambda g, self, x2, result, p: F._cdist_gradient(g, self, x2, result, p=p),
    x2=lambda g, self, x2, result, p: F._cdist_gradient(
        F.transpose(g, dim0=g.ndim - 2, dim1=g.ndim - 1),
        x2,
        self,
        F.transpose(result, dim0=result.ndim - 2, dim1=result.ndim - 1),
        p=p,
    ),
)


@joint_derivative("_cdist_gradient", "self", "x1", "x2", "distance")
def _cdist_second(g: Any, self: Any, x1: Any, x2: Any, distance: Any, p: float, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    d = _differences(x1, x2)
    wanted = F.unsqueeze(g, dim=g.ndim - 1)
    of_g = F.sum(wanted * _slope_of_norm(d, distance, p), dim=(d.ndim - 1,)) if needs[0] else None
    if p in (0, 1) or math.isinf(p):
        return of_g, *[x * 0 if need else None for x, need in zip((x1, x2, distance), needs[1:], strict=True)]
    # The slope is sign(d) |d| ** (p - 1) / distance ** (p - 1).
    column = F.unsqueeze(distance, dim=distance.ndim)
    nothing = column == 0
    safe = F.where(nothing, 1.0, column)
    scaled = wanted * F.unsqueeze(self, dim=self.ndim)
    zero = d == 0
    size = F.where(zero, 1.0, F.abs(d))
    along = F.where(nothing | (zero if p != 2 else nothing), 0.0, (p - 1) * size ** (p - 2) / safe ** (p - 1) * scaled)
    if p == 2:
        along = F.where(nothing, 0.0, scaled / safe)
    of_1 = F.sum(along, dim=(d.ndim - 2,)) if needs[1] else None
    of_2 = -F.sum(along, dim=(d.ndim - 3,)) if needs[2] else None
    of_distance = None
    if needs[3]:
        inner = F.sum(scaled * _slope_of_norm(d, distance, p), dim=(d.ndim - 1,))
        flat = F.where(distance == 0, 1.0, distance)
        of_distance = F.where(distance == 0, 0.0, -(p - 1) * inner / flat)
    return of_g, of_1, of_2, of_distance


@kernel("pdist")
def _pdist(self: Array, p: float) -> Array:
    rows, columns = np.triu_indices(self.shape[0], 1)
    x = wide(self)
    return _norms(x[rows] - x[columns], p)


def _pdist_gradient(g: Any, self: Any, result: Any, p: float) -> Any:
    """As of ``cdist`` with itself, whose upper triangle it is."""
    n = self.shape[0]

    def square(x: Any) -> Any:
        zeros = F.zeros(x, (n, n))
        return F.masked_scatter(zeros, F.triu(zeros + 1, diagonal=1) > 0, x)

    upper, distance = square(g), square(result)
    both = upper + F.transpose(upper, dim0=0, dim1=1)
    return F._cdist_gradient(both, self, self, distance + F.transpose(distance, dim0=0, dim1=1), p=p)


derivative("pdist", self=_pdist_gradient)


def _renorm_scale(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    """What each slice along ``dim`` is multiplied by."""
    rest = tuple([d for d in range(x.ndim) if d != dim % x.ndim])
    size = F.norm(x, p=float(p), dim=rest, keepdim=True)
    over = size > maxnorm
    return F.where(over, maxnorm / (F.where(over, size, 1.0) + 1e-7), 1.0)


@kernel("renorm")
def _renorm(self: Array, p: float, dim: int, maxnorm: float) -> Array:
    x = wide(self)
    return np.asarray(x * _renorm_scale(x, p, dim, maxnorm))


def _renorm_gradient(g: Any, self: Any, p: float, dim: int, maxnorm: float) -> Any:
    """G times the scale, and through the norm of the slices that are over: the scale's slope is -scale / (norm + 1e-7)."""
    rest = tuple([d for d in range(self.ndim) if d != dim % self.ndim])
    scale = _renorm_scale(self, p, dim, maxnorm)
    size = F.norm(self, p=float(p), dim=rest, keepdim=True)
    over = size > maxnorm
    inner = F.sum(F.real(F.conjugate(g) * self) if _is_complex(self) else g * self, dim=rest, keepdim=True)
    safe = F.where(over, size, 1.0)
    through = F.where(over, -inner * maxnorm / ((safe + 1e-7) * (safe + 1e-7)), 0.0)
    return g * scale + through * _slope_of_long_norm(self, safe, float(p), rest)


def _is_complex(x: Any) -> bool:
    return bool(x.dtype.kind == "c" if x.__class__ is np.ndarray else x.dtype.is_complex)


def _slope_of_long_norm(x: Any, size: Any, p: float, rest: tuple[int, ...]) -> Any:
    """The gradient of the ``p``-norm ``size`` of a slice, which is not zero."""
    if p == 2:
        return x / size
    length = F.abs(x)
    if math.isinf(p):
        # Compared with the largest itself: the norm may have been rounded otherwise.
        most = F.astype(length == (F.amax if p > 0 else F.amin)(length, dim=rest, keepdim=True), length)
        count = F.sum(most, dim=rest, keepdim=True)
        return F.sgn(x) * (most / (count + (count == 0)))
    zero = length == 0
    return F.sgn(x) * F.where(zero, 0.0, (F.where(zero, 1.0, length) / size) ** (p - 1))


derivative("renorm", self=_renorm_gradient)
