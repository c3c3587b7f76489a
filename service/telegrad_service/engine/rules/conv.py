"""Kernels and derivatives of convolutions, pooling and padding."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from telegrad.contract.conv_rules import transposed_shape
from telegrad.contract.windows import Windows, convolution_windows, per_dimension, pooling_windows
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, derivative, kernel

# Windows -----------------------------------------------------------------------------------------------------------------------


def _inside(spatial: tuple[int, ...], windows: Windows) -> Any:
    """The index that takes the input out of its padding."""
    return (..., *[slice(a, a + n) for n, a in zip(spatial, windows.low, strict=True)])


def padded(x: Array, windows: Windows, value: Any = 0) -> Array:
    """``x`` with its last dimensions padded by ``value``; itself where there is nothing to pad."""
    if not any(windows.low) and not any(windows.high):
        return x
    count = len(windows.low)
    lead, spatial = x.shape[: x.ndim - count], x.shape[x.ndim - count :]
    sizes = zip(spatial, windows.low, windows.high, strict=True)
    result = np.full((*lead, *[n + a + b for n, a, b in sizes]), value, x.dtype)
    result[_inside(spatial, windows)] = x
    return result


def offsets(windows: Windows) -> list[tuple[tuple[int, ...], Any]]:
    """Each place in a window, and the index that takes that element of all windows from the padded input."""
    places = itertools.product(*[range(k) for k in windows.kernel])
    return [
        (
            place,
            (
                ...,
                *[
                    slice(at * d, at * d + (n - 1) * s + 1, s)
                    for at, d, n, s in zip(place, windows.dilation, windows.output, windows.stride, strict=True)
                ],
            ),
        )
        for place in places
    ]


# Convolutions ------------------------------------------------------------------------------------------------------------------
# With all windows laid out as the columns of one matrix per group, a convolution and both its transposes are each one product.


# A product for each sample needs no change of layout and stays in cache; for larger ones BLAS does better with all samples at once.

_SMALL_PRODUCT: Final = 2**18
"""Multiplications up to which BLAS takes one thread, so that a product for each sample costs no more than one for all."""


def _is_dense(windows: Windows) -> bool:
    """Whether windows begin at every place."""
    return all(s == 1 for s in windows.stride)


def _turned_round(windows: Windows, shape: tuple[int, ...]) -> Windows | None:
    """The windows by which a convolution with the turned kernel leads back from outputs of ``windows`` to inputs of ``shape``.

    None where there are none: windows have strides, or were padded by more than they reach.
    """
    reach = [d * (k - 1) for d, k in zip(windows.dilation, windows.kernel, strict=True)]
    low, high = (tuple([r - n for r, n in zip(reach, pad, strict=True)]) for pad in (windows.low, windows.high))
    if not _is_dense(windows) or min(low + high) < 0:
        return None
    return windows._replace(low=low, high=high, output=tuple(shape))


MOST_COLUMNS: Final = 4
"""A gradient with so many times the input's channels has columns that take longer to lay out than those of the input to add up."""


def _by_sample(weight: Array, windows: Windows, groups: int) -> bool:
    """Whether to multiply sample by sample."""
    return groups == 1 and weight.size * math.prod(windows.output) <= _SMALL_PRODUCT


def _sample_columns(x: Array, windows: Windows) -> Array:
    """[N, channels * kernel, output]: every window of ``x`` [N, C, ...]."""
    source = padded(x, windows)
    item = source.strides
    view = as_strided(
        source,
        (*x.shape[:2], *windows.kernel, *windows.output),
        (
            *item[:2],
            *[n * d for n, d in zip(item[2:], windows.dilation, strict=True)],
            *[n * s for n, s in zip(item[2:], windows.stride, strict=True)],
        ),
        writeable=False,
    )
    return view.reshape(x.shape[0], x.shape[1] * math.prod(windows.kernel), math.prod(windows.output))


def _rows_of_columns(x: Array, windows: Windows) -> tuple[Array, tuple[int, ...], int]:
    """Every window of stride 1 of ``x`` [N, C, ...], as columns [N, channels * kernel, length].

    Among them are windows that reach from the end of a row into the next, which nobody wants; but so, what one place of the kernel
    sees in a plane is one stretch of memory, copied three times as fast as row by row. Also given: the pitch of each dimension
    along the last, and the length.
    """
    source = padded(x, windows)
    if not source.flags.c_contiguous:
        source = np.ascontiguousarray(source)
    item = source.itemsize
    pitch = tuple([n // item for n in source.strides[2:]])
    length = sum((n - 1) * p for n, p in zip(windows.output, pitch, strict=True)) + 1
    view = as_strided(
        source,
        (*x.shape[:2], *windows.kernel, length),
        (*source.strides[:2], *[p * d * item for p, d in zip(pitch, windows.dilation, strict=True)], item),
        writeable=False,
    )
    return view.reshape(x.shape[0], x.shape[1] * math.prod(windows.kernel), length), pitch, length


def _slide(x: Array, matrix: Array, windows: Windows, bias: Array | None = None) -> Array:
    """[N, O, ...] from ``x`` [N, C, ...] and ``matrix`` [O, channels * kernel], for windows of stride 1."""
    columns, pitch, length = _rows_of_columns(x, windows)
    product = np.matmul(matrix, columns)
    shape = (*product.shape[:2], *windows.output)
    if length == math.prod(windows.output):
        result: Array = product.reshape(shape)
    else:
        result = np.ascontiguousarray(as_strided(product, shape, (*product.strides[:2], *[p * product.itemsize for p in pitch])))
    if bias is not None:
        result += bias.reshape(-1, *[1] * len(pitch))
    return result


def _columns(x: Array, windows: Windows, groups: int) -> Array:
    """[groups, channels of a group * kernel, N * output]: every window of ``x`` [N, C, ...]."""
    source = padded(x, windows)
    item = source.strides
    view = as_strided(
        source,
        (x.shape[1], *windows.kernel, x.shape[0], *windows.output),
        (
            item[1],
            *[n * d for n, d in zip(item[2:], windows.dilation, strict=True)],
            item[0],
            *[n * s for n, s in zip(item[2:], windows.stride, strict=True)],
        ),
        writeable=False,
    )
    rows = x.shape[1] // groups * math.prod(windows.kernel)
    return view.reshape(groups, rows, x.shape[0] * math.prod(windows.output))


def _by_channel(g: Array, groups: int) -> Array:
    """[groups, channels of a group, N * output] of [N, O, ...]."""
    return g.swapaxes(0, 1).reshape(groups, g.shape[1] // groups, g.shape[0] * math.prod(g.shape[2:]))


def _convolution(self: Array, weight: Array, bias: Array | None = None, *, groups: int, **parameters: Any) -> Array:
    count = weight.ndim - 2
    batch = wide(self if self.ndim == count + 2 else self[None])
    windows = convolution_windows(batch.shape[2:], weight.shape[2:], parameters)
    out = weight.shape[0]
    if groups == 1 and _is_dense(windows) and batch.size:
        result = _slide(batch, wide(weight).reshape(out, -1), windows, bias)
        return result if self.ndim == count + 2 else np.asarray(result[0])
    if _by_sample(weight, windows, groups):
        rows = wide(weight).reshape(out, weight.size // max(out, 1))
        samples = np.matmul(rows, _sample_columns(batch, windows))
        if bias is not None:
            samples += bias[:, None]
        result = samples.reshape(batch.shape[0], out, *windows.output)
        return result if self.ndim == count + 2 else np.asarray(result[0])
    matrix = wide(weight).reshape(groups, out // groups, math.prod(weight.shape[1:]))
    product = np.matmul(matrix, _columns(batch, windows, groups)).reshape(out, -1 if batch.shape[0] else 0)
    if bias is not None:
        product += bias[:, None]
    result = np.ascontiguousarray(product.reshape(out, batch.shape[0], *windows.output).swapaxes(0, 1))
    return result if self.ndim == count + 2 else result[0]


for _count in (1, 2, 3):
    kernel(f"conv{_count}d", _convolution)


@kernel("_convolution_input")
def _convolution_input(self: Array, weight: Array, *, shape: tuple[int, ...], groups: int, **parameters: Any) -> Array:
    windows = convolution_windows(shape, weight.shape[2:], parameters)
    out, width = weight.shape[:2]
    around = _turned_round(windows, shape)
    if groups == 1 and around is not None and out <= MOST_COLUMNS * width and self.size:
        axes = tuple(range(2, weight.ndim))
        turned = np.flip(wide(weight), axes).swapaxes(0, 1).reshape(width, -1)
        return _slide(wide(self), turned, around)
    matrix = wide(weight).reshape(groups, out // groups, math.prod(weight.shape[1:])).swapaxes(1, 2)
    product = np.matmul(matrix, _by_channel(wide(self), groups))
    columns = product.reshape(width * groups, *windows.kernel, self.shape[0], *windows.output)
    sizes = [n + a + b for n, a, b in zip(shape, windows.low, windows.high, strict=True)]
    total = np.zeros((width * groups, self.shape[0], *sizes), columns.dtype)
    for place, index in offsets(windows):
        total[index] += columns[(slice(None), *place)]
    return np.ascontiguousarray(total[_inside(shape, windows)].swapaxes(0, 1))


@kernel("_convolution_weight")
def _convolution_weight(self: Array, other: Array, *, kernel: tuple[int, ...], groups: int, **parameters: Any) -> Array:
    windows = convolution_windows(self.shape[2:], tuple(kernel), parameters)
    if groups == 1 and math.prod(kernel) * self.shape[1] * math.prod(other.shape[1:]) <= _SMALL_PRODUCT:
        columns = _sample_columns(wide(self), windows)
        product = np.matmul(wide(other).reshape(*other.shape[:2], columns.shape[2]), columns.swapaxes(1, 2)).sum(0)
        return np.asarray(product.reshape(other.shape[1], self.shape[1], *kernel))
    columns = _columns(wide(self), windows, groups)
    product = np.matmul(_by_channel(wide(other), groups), columns.swapaxes(1, 2))
    return np.asarray(product.reshape(other.shape[1], self.shape[1] // groups, *kernel))


def _batched(x: Any, count: int) -> Any:
    """``x`` with a batch dimension."""
    return x if x.ndim == count + 2 else F.reshape(x, shape=(1, *x.shape))


def _conv_self(g: Any, weight: Any, self_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    count = len(weight.shape) - 2
    found = F._convolution_input(
        _batched(g, count),
        F.conjugate(weight),
        shape=tuple(self_shape[-count:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return found if len(self_shape) == count + 2 else F.reshape(found, shape=tuple(self_shape))


def _conv_weight(g: Any, self: Any, weight_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    count = len(weight_shape) - 2
    return F._convolution_weight(
        _batched(F.conjugate(self), count),
        _batched(g, count),
        kernel=tuple(weight_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def _conv_bias(g: Any, weight_shape: Any) -> Any:
    channel = g.ndim - len(weight_shape) + 1
    return F.sum(g, dim=tuple([d for d in range(g.ndim) if d != channel]))


for _count in (1, 2, 3):
    derivative(f"conv{_count}d", self=_conv_self, weight=_conv_weight, bias=_conv_bias)


def _forward(x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The convolution of a batch, by its number of dimensions."""
    convolve = getattr(F, f"conv{len(weight.shape) - 2}d")
    return convolve(x, weight, None, stride=stride, padding=padding, dilation=dilation, groups=groups)


derivative(
    "_convolution_input",
    self=lambda g, weight, stride, padding, dilation, groups: _forward(g, F.conjugate(weight), stride, padding, dilation, groups),
    weight=lambda g, self, weight_shape, stride, padding, dilation, groups: F._convolution_weight(
        g,
        F.conjugate(self),
        kernel=tuple(weight_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    ),
)
derivative(
    "_convolution_weight",
    self=lambda g, other, self_shape, stride, padding, dilation, groups: F._convolution_input(
        F.conjugate(other),
        g,
        shape=tuple(self_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    ),
    other=lambda g, self, stride, padding, dilation, groups: _forward(F.conjugate(self), g, stride, padding, dilation, groups),
)


def _with_room(x: Any, output_padding: tuple[int, ...], stride: Any) -> Any:
    """A batch with as many zeros at the end of each dimension as there are whole strides in the output padding: they change no
    value, and what then is left of the output padding is less than a stride.
    """
    steps = per_dimension(stride, x.ndim - 2, "stride")
    room = [e // s for e, s in zip(per_dimension(output_padding, x.ndim - 2, "output_padding"), steps, strict=True)]
    if not any(room):
        return x
    return F.pad(x, pad=tuple(n for extra in reversed(room) for n in (0, extra)), mode="constant", value=0.0)


def _conv_transpose(
    self: Array, weight: Array, bias: Array | None = None, *, output_padding: tuple[int, ...], **parameters: Any
) -> Array:
    count = weight.ndim - 2
    spatial = self.shape[self.ndim - count :]
    shape = transposed_shape(spatial, weight.shape[2:], {**parameters, "output_padding": output_padding})
    x = _with_room(_batched(self, count), output_padding, parameters["stride"])
    result = _convolution_input(x, weight, shape=shape, **parameters)
    if bias is not None:
        result += bias.reshape(-1, *[1] * count)
    return result if self.ndim == count + 2 else result[0]


def _conv_transpose_self(g: Any, weight: Any, self_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    count = len(weight.shape) - 2
    found = _forward(_batched(g, count), F.conjugate(weight), stride, padding, dilation, groups)
    for d, n in enumerate(self_shape[-count:], start=2):
        if n < found.shape[d]:  # what stands for the room that the output padding was given
            found = F.narrow(found, dim=d, start=0, length=n)
    return found if len(self_shape) == len(weight.shape) else F.reshape(found, shape=tuple(self_shape))


def _conv_transpose_weight(
    g: Any, self: Any, weight_shape: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> Any:
    count = len(weight_shape) - 2
    return F._convolution_weight(
        _batched(g, count),
        _with_room(_batched(F.conjugate(self), count), output_padding, stride),
        kernel=tuple(weight_shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


for _count in (1, 2, 3):
    kernel(f"conv_transpose{_count}d", _conv_transpose)
    derivative(f"conv_transpose{_count}d", self=_conv_transpose_self, weight=_conv_transpose_weight, bias=_conv_bias)


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
    corner = _positions(spatial, windows, first[0])
    steps = [_positions(spatial, windows, place).flat[0] - corner.flat[0] for place, _ in (first, *others)] if corner.size else [0]
    indices = np.array(steps, np.int64).take(best)
    return values, np.add(indices, corner, out=indices)


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
    return np.ascontiguousarray(total[_inside(tuple(shape), windows)])


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
