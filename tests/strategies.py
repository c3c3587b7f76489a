"""Hypothesis strategies for what ops take: shapes, types, values, pairs that broadcast, dimensions, indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from telegrad.contract import dtypes
from tests.samples import Array

FLOATING = st.sampled_from([dtypes.float32, dtypes.float64])
ANY_DTYPE = st.sampled_from(list(dtypes.DTYPES.values()))


def shapes(*, min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes, empty dimensions among them."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side) | (
        st.just(()) if min_dims == 0 else st.nothing()
    )


def broadcastable(count: int = 2, *, min_side: int = 0) -> st.SearchStrategy[tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]]:
    """Shapes that broadcast together, and what they broadcast to."""
    return hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=4, min_side=min_side, max_side=4).map(
        lambda found: (found.input_shapes, found.result_shape)
    )


def values(shape: tuple[int, ...], seed: int) -> Array:
    """Reproducible values between 0.5 and 2, so that no product or quotient loses its meaning."""
    return np.asarray(np.random.default_rng([seed, *shape]).uniform(0.5, 2.0, shape))


def dims(ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Some dimensions of a tensor, counted from either end, each at most once."""
    if ndim == 0:
        return st.sampled_from([(), (0,), (-1,)])
    return st.lists(st.integers(-ndim, ndim - 1), unique_by=lambda d: d % ndim, max_size=ndim).map(tuple)


def slices(size: int) -> st.SearchStrategy[slice]:
    """Slices with positive steps, as PyTorch takes them, beyond the ends too."""
    bound = st.none() | st.integers(-size - 2, size + 2)
    return st.builds(slice, bound, bound, st.none() | st.integers(1, 3))


@st.composite
def basic_indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Indices of integers, slices, None and at most one Ellipsis."""
    used = draw(st.integers(0, len(shape)))
    ellipsis = draw(st.booleans())
    front = draw(st.integers(0, used)) if ellipsis else used
    sizes = [*shape[:front], *shape[len(shape) - (used - front) :]]
    items: list[Any] = []
    for position, size in enumerate(sizes):
        if ellipsis and position == front:
            items.append(Ellipsis)
        if draw(st.integers(0, 5)) == 0:
            items.append(None)
        items.append(draw(slices(size) | st.integers(-size, size - 1)) if size else draw(slices(size)))
    if ellipsis and front == used:
        items.append(Ellipsis)
    return tuple(items)


@st.composite
def advanced_indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Indices with one or two integer arrays that broadcast, or a boolean mask, among slices.

    No 0-d arrays: beside another array they are integers to PyTorch and arrays to numpy; the dimensions come out in another order.
    """
    if draw(st.booleans()):
        covered = draw(st.integers(1, len(shape)))
        start = draw(st.integers(0, len(shape) - covered))
        mask = np.random.default_rng(draw(st.integers(0, 99))).random(shape[start : start + covered]) < 0.5
        return (*[draw(slices(n)) for n in shape[:start]], mask)
    count = draw(st.integers(1, min(2, len(shape))))
    places = sorted(draw(st.lists(st.integers(0, len(shape) - 1), min_size=count, max_size=count, unique=True)))
    (index_shapes, _) = draw(broadcastable(count))
    items: list[Any] = []
    for place in range(places[-1] + 1):
        size = shape[place]
        if place in places:
            index_shape = index_shapes[places.index(place)]
            random = np.random.default_rng([draw(st.integers(0, 99)), place])
            items.append(np.asarray(random.integers(-size, size, index_shape or (1,))))
        else:
            items.append(draw(slices(size)))
    return tuple(items)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Any telegrad array: every element type, NaN and infinities included, empty and 0-d shapes, odd strides."""
    dtype = draw(st.sampled_from([d.numpy for d in dtypes.DTYPES.values()]))
    array = draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    return draw(st.sampled_from([array, array.T, array[..., ::-1] if array.ndim else array]))


def same_bits(a: Array, b: Array) -> bool:
    """Equal shape, type and bytes; signs of zeros and NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
