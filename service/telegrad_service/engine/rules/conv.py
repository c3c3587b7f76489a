"""Kernels and derivatives of convolutions."""

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
from telegrad.contract.windows import Windows, convolution_windows, per_dimension
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, derivative, kernel

# Windows -----------------------------------------------------------------------------------------------------------------------


def inside(spatial: tuple[int, ...], windows: Windows) -> Any:
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
    result[inside(spatial, windows)] = x
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
    added = None if bias is None else bias.reshape(-1, *[1] * len(pitch))
    if length != math.prod(windows.output):
        wanted = as_strided(product, shape, (*product.strides[:2], *[p * product.itemsize for p in pitch]))
        return np.ascontiguousarray(wanted) if added is None else np.add(wanted, added, order="C", dtype=product.dtype)
    result: Array = product.reshape(shape)
    if added is not None:
        result += added
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
    return np.ascontiguousarray(total[inside(shape, windows)].swapaxes(0, 1))


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
