"""Kernels and derivatives of interpolation, adaptive pooling, sliding blocks and shuffles."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from telegrad.contract.errors import ShapeError
from telegrad.contract.resampling import adaptive_sizes, output_sizes
from telegrad.contract.tensor.resampling import block_windows
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.conv import offsets, padded
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, derivative, kernel
from telegrad_service.engine.taps import along, along_bytes, byte_taps, taps, windows

# Interpolation and averages ----------------------------------------------------------------------------------------------------


@kernel("_resample")
def _resample(
    self: Array,
    source: Sequence[int],
    target: Sequence[int],
    mode: str,
    align_corners: bool,
    scales: Sequence[float] | None,
    antialias: bool,
    transpose: bool,
) -> Array:
    of_bytes = self.dtype == np.uint8 and mode in ("bilinear", "bicubic")
    x = self if of_bytes else wide(self)
    count = len(source)
    for d in reversed(range(count)) if of_bytes else range(count):  # bytes are rounded in between, so that the order matters
        scale = None if scales is None else scales[d]
        which, axis = (source[d], target[d], mode, align_corners, scale, antialias, transpose), x.ndim - count + d
        x = along_bytes(x, axis, byte_taps(*which)) if of_bytes else along(x, axis, taps(*which))
    return x


def _settings(shape: tuple[int, ...], size: Any, scale_factor: Any, mode: str, align: Any, again: Any, antialias: bool) -> Any:
    source = tuple(shape[2:])
    given = (size,) if isinstance(size, int) else size
    target, scales = output_sizes(source, given, scale_factor, again)
    if mode == "area":
        scales = None
    rest = {"mode": mode, "align_corners": bool(align), "scales": scales, "antialias": antialias}
    return {"source": source, "target": target, **rest}


@kernel("interpolate")
def _interpolate(
    self: Array, size: Any, scale_factor: Any, mode: str, align_corners: Any, recompute_scale_factor: Any, antialias: bool
) -> Array:
    settings = _settings(self.shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    return _resample(self, transpose=False, **settings)


def _interpolate_gradient(
    g: Any,
    self_shape: Any,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: Any,
    recompute_scale_factor: Any,
    antialias: bool,
) -> Any:
    settings = _settings(self_shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    return F._resample(g, transpose=True, **settings)


derivative("interpolate", self=_interpolate_gradient)
derivative(
    "_resample",
    self=lambda g, source, target, mode, align_corners, scales, antialias, transpose: F._resample(
        g,
        source=source,
        target=target,
        mode=mode,
        align_corners=align_corners,
        scales=scales,
        antialias=antialias,
        transpose=not transpose,
    ),
)


def _register_adaptive_average(count: int) -> None:
    name = f"adaptive_avg_pool{count}d"

    def settings(shape: tuple[int, ...], output_size: Any) -> dict[str, Any]:
        target = adaptive_sizes(name, output_size, tuple(shape), count)
        rest = {"mode": "area", "align_corners": False, "scales": None, "antialias": False}
        return {"source": tuple(shape[len(shape) - count :]), "target": target, **rest}

    def compute(self: Array, output_size: Any) -> Array:
        return _resample(self, transpose=False, **settings(self.shape, output_size))

    def gradient(g: Any, self_shape: Any, output_size: Any) -> Any:
        return F._resample(g, transpose=True, **settings(self_shape, output_size))

    kernel(name, compute)
    derivative(name, self=gradient)


# Largest elements --------------------------------------------------------------------------------------------------------------


def _spread(g: Any, indices: Any, shape: Sequence[int], count: int) -> Any:
    """``g`` added up at flat places of zeros of ``shape``, whose last ``count`` dimensions are the plane."""
    lead, spatial = tuple(shape[: len(shape) - count]), shape[len(shape) - count :]
    flat = (*lead, math.prod(indices.shape[len(lead) :]))
    zeros = F.zeros(g, (*lead, math.prod(spatial)))
    spread = F.scatter_add(zeros, F.reshape(indices, shape=flat), F.reshape(g, shape=flat), dim=len(lead))
    return F.reshape(spread, shape=tuple(shape))


def _register_adaptive_max(count: int) -> None:
    name = f"adaptive_max_pool{count}d"

    def compute(self: Array, output_size: Any) -> tuple[Array, Array]:
        target = adaptive_sizes(name, output_size, self.shape, count)
        spatial = self.shape[self.ndim - count :]
        shape = (*self.shape[: self.ndim - count], *target)
        values, indices = np.full(shape, -np.inf, self.dtype), np.zeros(shape, np.int64)
        if not values.size:
            return values, indices
        starts, ends = zip(*[windows(n, m) for n, m in zip(spatial, target, strict=True)], strict=True)
        # A window shorter than the longest meets its last element again, which changes nothing.
        lengths = [int((e - s).max()) for s, e in zip(starts, ends, strict=True)]
        for place in itertools.product(*[range(n) for n in lengths]):
            at = np.ix_(*[np.minimum(s + k, e - 1) for s, e, k in zip(starts, ends, place, strict=True)])
            element = self[(..., *at)]
            flat: Any = 0
            for n, position in zip(spatial, at, strict=True):
                flat = flat * n + position
            # A NaN takes the window, as in PyTorch; a tie leaves it to the first.
            first = place == (0,) * count
            larger = np.ones(shape, bool) if first else (element > values) | np.isnan(element)
            np.copyto(values, element, where=larger)
            np.copyto(indices, np.broadcast_to(flat, shape), where=larger)
        return values, indices

    kernel(name, compute)
    derivative(name, self=lambda g, indices, self_shape: _spread(g[0], indices, self_shape, count))


def _register_unpool(count: int) -> None:
    name = f"max_unpool{count}d"

    def compute(self: Array, indices: Array, output_size: Sequence[int]) -> Array:
        lead = self.shape[: self.ndim - count]
        area = math.prod(output_size)
        if indices.size and (indices.min() < 0 or indices.max() >= area):
            raise ShapeError(
                f"{name}: Found an invalid max index: indices must lie in [0, {area}), the output's plane being {list(output_size)}"
            )
        places = math.prod(self.shape[len(lead) :])
        result = np.zeros((*lead, area), self.dtype)
        if self.size:
            np.put_along_axis(result, indices.reshape(*lead, places), self.reshape(*lead, places), axis=-1)
        return result.reshape(*lead, *output_size)

    def gradient(g: Any, indices: Any, output_size: Any) -> Any:
        lead = tuple(indices.shape[: len(indices.shape) - count])
        places = math.prod(indices.shape[len(lead) :])
        flat = F.reshape(g, shape=(*lead, math.prod(output_size)))
        taken = F.gather(flat, F.reshape(indices, shape=(*lead, places)), dim=len(lead))
        return F.reshape(taken, shape=tuple(indices.shape))

    kernel(name, compute)
    derivative(name, self=gradient)


for _count in (1, 2, 3):
    _register_adaptive_average(_count)
    _register_adaptive_max(_count)
    _register_unpool(_count)


# Blocks ------------------------------------------------------------------------------------------------------------------------


@kernel("unfold.blocks")
def _unfold(self: Array, **parameters: Any) -> Array:
    batch = self if self.ndim == 4 else self[None]
    where = block_windows("unfold", batch.shape[2:], parameters)
    source = padded(batch, where)
    item = source.strides
    view = as_strided(
        source,
        (*batch.shape[:2], *where.kernel, *where.output),
        (
            *item[:2],
            *[n * d for n, d in zip(item[2:], where.dilation, strict=True)],
            *[n * s for n, s in zip(item[2:], where.stride, strict=True)],
        ),
        writeable=False,
    )
    result = np.array(view).reshape(batch.shape[0], batch.shape[1] * math.prod(where.kernel), math.prod(where.output))
    return result if self.ndim == 4 else result[0]


@kernel("fold")
def _fold(self: Array, output_size: Sequence[int], **parameters: Any) -> Array:
    batch = self if self.ndim == 3 else self[None]
    size = tuple(output_size) * 2 if len(output_size) == 1 else tuple(output_size)
    where = block_windows("fold", size, parameters)
    channels = batch.shape[1] // math.prod(where.kernel)
    columns = batch.reshape(batch.shape[0], channels, *where.kernel, *where.output)
    sizes = [n + 2 * p for n, p in zip(size, where.low, strict=True)]
    total = np.zeros((batch.shape[0], channels, *sizes), batch.dtype)
    for place, index in offsets(where):
        at: Any = (slice(None), slice(None), *place)
        total[index] += columns[at]
    middle: Any = (..., *[slice(p, p + n) for n, p in zip(size, where.low, strict=True)])
    result = total[middle]
    return np.ascontiguousarray(result if self.ndim == 3 else result[0])


derivative(
    "unfold.blocks",
    self=lambda g, self_shape, kernel_size, dilation, padding, stride: F.fold(
        g, output_size=tuple(self_shape[-2:]), kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    ),
)


def _fold_gradient(g: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    unfold = getattr(F, "unfold.blocks")
    return unfold(g, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)


derivative("fold", self=_fold_gradient)


# Shuffles ----------------------------------------------------------------------------------------------------------------------


@kernel("pixel_shuffle")
def _pixel_shuffle(self: Array, upscale_factor: int) -> Array:
    *lead, channels, height, width = self.shape
    r = upscale_factor
    n = math.prod(lead)
    apart = self.reshape(n, channels // (r * r), r, r, height, width).transpose(0, 1, 4, 2, 5, 3)
    return apart.reshape(*lead, channels // (r * r), height * r, width * r)


@kernel("pixel_unshuffle")
def _pixel_unshuffle(self: Array, downscale_factor: int) -> Array:
    *lead, channels, height, width = self.shape
    r = downscale_factor
    n = math.prod(lead)
    apart = self.reshape(n, channels, height // r, r, width // r, r).transpose(0, 1, 3, 5, 2, 4)
    return apart.reshape(*lead, channels * r * r, height // r, width // r)


@kernel("channel_shuffle")
def _channel_shuffle(self: Array, groups: int) -> Array:
    batch, channels, *rest = self.shape
    return self.reshape(batch, groups, channels // groups, *rest).swapaxes(1, 2).reshape(self.shape)


derivative("pixel_shuffle", self=lambda g, upscale_factor: F.pixel_unshuffle(g, downscale_factor=upscale_factor))
derivative("pixel_unshuffle", self=lambda g, downscale_factor: F.pixel_shuffle(g, upscale_factor=downscale_factor))
derivative(
    "channel_shuffle",
    self=lambda g, self_shape, groups: F.channel_shuffle(g, groups=max(1, self_shape[1] // groups)),
)
