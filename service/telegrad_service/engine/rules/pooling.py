"""Kernels and derivatives of pooling and padding."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np

from telegrad.contract.windows import Windows, per_dimension, pooling_windows
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.rules.conv import inside, offsets, padded
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, derivative, kernel

# Pooling -----------------------------------------------------------------------------------------------------------------------
# Loops run over the places in a window, each taken from all windows at once.


def _along(values: Array, dimension: int, count: int) -> Array:
    """1-d ``values`` along one of ``count`` spatial dimensions."""
    return values.reshape([-1 if d == dimension else 1 for d in range(count)])


def _positions(spatial: tuple[int, ...], windows: Windows, place: tuple[int, ...] | None) -> Array:
    """Where each window's element at ``place`` lies in the flattened plane; None: its first element inside the plane."""
    total: Any = 0
    for d, size in enumerate(spatial):
        start = np.arange(windows.output[d]) * windows.stride[d] - windows.low[d]
        step = windows.dilation[d]
        at = start + place[d] * step if place is not None else np.where(start < 0, start % step, start)
        total = total * size + _along(at, d, len(spatial))
    return np.asarray(total, np.int64)


def _plain_maxima(x: Array, windows: Windows) -> tuple[Array, Array] | None:
    """Maxima of windows inside ``x`` and their flat positions in the plane; None where a NaN is among them."""
    first, *others = offsets(windows)
    values = x[first[1]].copy()
    best = np.zeros(values.shape, np.uint8)
    for number, (_, index) in enumerate(others, 1):
        element = np.ascontiguousarray(x[index])  # read twice, and with strides that takes four times as long
        # A tie leaves it to the first; numbers ascend, so the last one that was greater is the greatest.
        np.maximum(best, np.multiply(element > values, np.uint8(number)), out=best)
        np.maximum(values, element, out=values)
    if x.dtype.kind == "f" and np.isnan(values).any():
        return None
    spatial = x.shape[x.ndim - len(windows.kernel) :]
    corner, steps = (_corners if math.prod(windows.output) <= _MOST_KEPT else _corners.__wrapped__)(spatial, windows)
    indices = steps.take(best, mode="clip")  # nothing is left to clip; the other modes take twice as long
    return values, np.add(indices, corner, out=indices)


_MOST_KEPT: Final = 2**14
"""Windows whose positions are kept for the next call."""


@functools.lru_cache(maxsize=64)
def _corners(spatial: tuple[int, ...], windows: Windows) -> tuple[Array, Array]:
    """Where each window's first element lies in the flattened plane, and how far from there its elements do."""
    places = [_positions(spatial, windows, place) for place, _ in offsets(windows)]
    corner = places[0]
    steps = np.array([place.flat[0] - corner.flat[0] for place in places] if corner.size else [0], np.int64)
    corner.setflags(write=False)
    steps.setflags(write=False)
    return corner, steps


def _to_planes(g: Array, indices: Array, shape: tuple[int, ...], count: int, apart: bool) -> Array:
    """``g`` at its positions in planes of zeros, the last ``count`` dimensions of ``shape``; ``apart``: none comes twice."""
    result = np.zeros(shape, g.dtype)
    planes, size = math.prod(shape[:-count]), math.prod(shape[-count:])
    if not g.size:
        return result
    cells = indices.reshape(planes, -1) + np.arange(0, planes * size, size)[:, None]
    if apart:
        result.reshape(-1)[cells.reshape(-1)] = g.reshape(-1)
    else:
        add_rows(result.reshape(-1), cells.reshape(-1), g.reshape(-1))
    return result


def _register_max_pool(count: int) -> None:
    name = f"max_pool{count}d"

    def compute(self: Array, **parameters: Any) -> tuple[Array, Array]:
        spatial = self.shape[-count:]
        windows = pooling_windows(name, spatial, parameters)
        lowest = -np.inf if self.dtype.kind == "f" else np.iinfo(self.dtype).min
        if not any(windows.low) and not any(windows.high) and math.prod(windows.kernel) < 256:
            found = _plain_maxima(self, windows)
            if found is not None:
                return found
        source = padded(self, windows, lowest)
        shape = (*self.shape[:-count], *windows.output)
        values = np.full(shape, lowest, self.dtype)
        indices = np.empty(shape, np.int64)
        indices[...] = _positions(spatial, windows, None)
        for place, index in offsets(windows):
            element = source[index]
            # A NaN takes the window, as in PyTorch; a tie leaves it to the first.
            larger = element > values if self.dtype.kind != "f" else (element > values) | np.isnan(element)
            np.copyto(values, element, where=larger)
            np.copyto(indices, np.broadcast_to(_positions(spatial, windows, place), shape), where=larger)
        return values, indices

    def gradient(g: Any, indices: Any, self_shape: tuple[int, ...], kernel_size: Any, stride: Any, dilation: Any) -> Any:
        lead, spatial = tuple(self_shape[:-count]), self_shape[-count:]
        sizes = [per_dimension(v, count, "") for v in (kernel_size, stride or kernel_size, dilation)]
        apart = all(s > d * (k - 1) for k, s, d in zip(*sizes, strict=True))
        if g[0].__class__ is np.ndarray and g[0].shape == indices.shape:
            return _to_planes(g[0], indices, tuple(self_shape), count, apart)
        flat = (*lead, math.prod(indices.shape[-count:]))
        zeros = F.zeros(g[0], (*lead, math.prod(spatial)))
        spread = (F.scatter if apart else F.scatter_add)(
            zeros, F.reshape(indices, shape=flat), F.reshape(g[0], shape=flat), dim=len(lead)
        )
        return F.reshape(spread, shape=tuple(self_shape))

    kernel(name, compute)
    derivative(name, self=gradient)


def _divisor(spatial: tuple[int, ...], windows: Windows, count_include_pad: bool, divisor_override: int | None) -> Any:
    """What each window's sum is divided by: elements within the padding on both sides, or within the input."""
    if divisor_override is not None:
        return divisor_override
    total: Any = 1
    for d, size in enumerate(spatial):
        start = np.arange(windows.output[d]) * windows.stride[d] - windows.low[d]
        end = np.minimum(start + windows.kernel[d], size + windows.low[d])
        length = end - start if count_include_pad else np.minimum(end, size) - np.maximum(start, 0)
        total = total * _along(length, d, len(spatial))
    return total


def _register_average_pool(count: int) -> None:
    name = f"avg_pool{count}d"

    def compute(self: Array, count_include_pad: bool, divisor_override: int | None = None, **parameters: Any) -> Array:
        spatial = self.shape[-count:]
        windows = pooling_windows(name, spatial, parameters)
        source = padded(wide(self), windows)
        total = np.zeros((*self.shape[:-count], *windows.output), source.dtype)
        for _, index in offsets(windows):
            total += source[index]
        divisor = _divisor(spatial, windows, count_include_pad, divisor_override)
        if total.dtype.kind in "iu":  # towards zero, as in PyTorch
            return np.asarray(np.sign(total) * np.sign(divisor) * (np.abs(total) // np.abs(divisor)), self.dtype)
        total /= np.asarray(divisor, total.dtype)
        return total

    kernel(name, compute)

    def spread(g: Any, self_shape: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, **rest: Any) -> Any:
        return F._avg_pool_gradient(
            g,
            shape=tuple(self_shape[-count:]),
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            **rest,
        )

    def gradient(
        g: Any, self_shape: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Any:
        return spread(g, self_shape, kernel_size, stride, padding, ceil_mode, count_include_pad=count_include_pad)

    def overridden(
        g: Any,
        self_shape: Any,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: Any,
    ) -> Any:
        rest = {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
        return spread(g, self_shape, kernel_size, stride, padding, ceil_mode, **rest)

    # A formula's signature says what is saved; pooling of sequences has no divisor to give.
    derivative(name, self=gradient if count == 1 else overridden)


for _count in (1, 2, 3):
    _register_max_pool(_count)
    _register_average_pool(_count)


@kernel("_avg_pool_gradient")
def _avg_pool_gradient(
    self: Array, shape: tuple[int, ...], count_include_pad: bool, divisor_override: int | None, **parameters: Any
) -> Array:
    windows = pooling_windows("avg_pool", tuple(shape), parameters)
    g = wide(self)
    each = g / np.asarray(_divisor(tuple(shape), windows, count_include_pad, divisor_override), g.dtype)
    sizes = [n + a + b for n, a, b in zip(shape, windows.low, windows.high, strict=True)]
    total = np.zeros((*self.shape[: self.ndim - len(shape)], *sizes), each.dtype)
    for _, index in offsets(windows):
        total[index] += each
    return np.ascontiguousarray(total[inside(tuple(shape), windows)])


def _avg_pool_gradient_self(
    g: Any,
    shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    settings: dict[str, Any] = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    if len(shape) > 1:
        settings["divisor_override"] = divisor_override
    return getattr(F, f"avg_pool{len(shape)}d")(g, count_include_pad=count_include_pad, **settings)


derivative("_avg_pool_gradient", self=_avg_pool_gradient_self)


# Padding -----------------------------------------------------------------------------------------------------------------------


def _amounts(pad: tuple[int, ...], ndim: int) -> list[tuple[int, int, int]]:
    """(dimension, before, after) of each dimension to pad, from the last on."""
    return [(ndim - 1 - n // 2, pad[n], pad[n + 1]) for n in range(0, len(pad), 2)]


def _sources(size: int, low: int, high: int, mode: str) -> Array:
    """Which of ``size`` elements stands at each place of the padded dimension."""
    if mode == "circular":  # what is taken away goes first: the rest wraps around
        left = size + min(low, 0) + min(high, 0)
        return np.arange(-max(low, 0), left + max(high, 0)) % left - min(low, 0)
    places = np.arange(-low, size + high)
    if mode == "replicate":
        return np.clip(places, 0, size - 1)
    places = np.abs(places)
    return np.where(places >= size, 2 * (size - 1) - places, places)


@kernel("pad")
def _pad(self: Array, pad: tuple[int, ...], mode: str, value: Any) -> Array:
    amounts = _amounts(pad, self.ndim)
    if mode == "constant":
        shape, inner, outer = list(self.shape), [slice(None)] * self.ndim, [slice(None)] * self.ndim
        for dim, low, high in amounts:
            size = self.shape[dim]
            shape[dim] = size + low + high
            inner[dim] = slice(max(0, -low), size - max(0, -high))
            outer[dim] = slice(max(0, low), shape[dim] - max(0, high))
        result = np.full(shape, np.asarray(0 if value is None else value).astype(self.dtype), self.dtype)
        result[tuple(outer)] = self[tuple(inner)]
        return result
    found = self
    for dim, low, high in amounts:
        found = np.take(found, _sources(self.shape[dim], low, high, mode), axis=dim)
    return found


@kernel("_pad_gradient")
def _pad_gradient(self: Array, shape: tuple[int, ...], pad: tuple[int, ...], mode: str) -> Array:
    found = self
    for dim, low, high in _amounts(pad, self.ndim):
        moved = np.moveaxis(found, dim, 0)
        rest = moved.shape[1:]
        table = np.zeros((shape[dim], math.prod(rest)), self.dtype)
        add_rows(table, _sources(shape[dim], low, high, mode), moved.reshape(moved.shape[0], math.prod(rest)))
        found = np.moveaxis(table.reshape(shape[dim], *rest), 0, dim)
    return np.ascontiguousarray(found)


def _pad_self(g: Any, self_shape: tuple[int, ...], pad: tuple[int, ...], mode: str) -> Any:
    if mode == "constant":
        return F.pad(g, pad=tuple([-n for n in pad]), mode=mode, value=None)
    return F._pad_gradient(g, shape=tuple(self_shape), pad=pad, mode=mode)


derivative("pad", self=_pad_self)
derivative("_pad_gradient", self=lambda g, pad, mode: F.pad(g, pad=pad, mode=mode, value=None))
