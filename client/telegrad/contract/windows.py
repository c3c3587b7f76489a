"""Where the windows of convolutions and pooling lie: sizes and paddings per spatial dimension, for rules and kernels alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from telegrad.contract.errors import ShapeError

Sizes = tuple[int, ...]


class Windows(NamedTuple):
    """Windows over the spatial dimensions of an input, each field with one entry per dimension.

    Attributes:
        kernel: elements per window.
        stride: from one window to the next.
        dilation: from one element of a window to the next.
        low: padding before the input.
        high: padding after it.
        output: number of windows.
    """

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    low: Sizes
    high: Sizes
    output: Sizes


def per_dimension(values: Sequence[int] | int, count: int, name: str, refusal: str = "") -> Sizes:
    """One value per spatial dimension, from one for all or one each. Raises ShapeError."""
    values = (values,) if isinstance(values, int) else tuple(values)
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise ShapeError(
            refusal
            or f"expected {name} to be a single integer value or a list of {count} values to match the convolution dimensions, "
            f"but got {name}={list(values)}"
        )
    return values


def convolution_windows(spatial: Sizes, kernel: Sizes, parameters: Mapping[str, Any]) -> Windows:
    """Windows of a convolution with parameters ``stride``, ``padding`` (sizes, ``"same"`` or ``"valid"``) and ``dilation``.

    ``"same"`` pads by what the windows overlap; an odd total has its larger half after the input, as in PyTorch.
    """
    count = len(kernel)
    stride = per_dimension(parameters["stride"], count, "stride")
    dilation = per_dimension(parameters["dilation"], count, "dilation")
    padding = parameters["padding"]
    if any(s <= 0 for s in stride):
        raise ShapeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise ShapeError(f"dilation should be greater than zero, but got {list(dilation)}")
    reach = tuple([d * (k - 1) for d, k in zip(dilation, kernel, strict=True)])
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ShapeError("padding='same' is not supported for strided convolutions")
        low = tuple([r // 2 for r in reach])
        high = tuple([r - r // 2 for r in reach])
    elif isinstance(padding, str):
        if padding != "valid":
            raise ShapeError("Invalid padding string: use 'same' or 'valid', or give sizes")
        low = high = (0,) * count
    else:
        low = high = per_dimension(padding, count, "padding")
    if any(p < 0 for p in low):
        raise ShapeError("negative padding is not supported")
    padded = tuple([n + a + b for n, a, b in zip(spatial, low, high, strict=True)])
    if any(p <= r for p, r in zip(padded, reach, strict=True)):
        raise ShapeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). "
            f"Kernel size: ({' x '.join([str(r + 1) for r in reach])}). Kernel size can't be greater than actual input size"
        )
    output = tuple([(p - r - 1) // s + 1 for p, r, s in zip(padded, reach, stride, strict=True)])
    return Windows(kernel, stride, dilation, low, high, output)


def pooling_windows(name: str, spatial: Sizes, parameters: Mapping[str, Any]) -> Windows:
    """Windows of pooling with parameters ``kernel_size``, ``stride`` (None: the kernel's), ``padding``, ``ceil_mode`` and, where
    the op has it, ``dilation``.

    With ``ceil_mode`` a last window may reach beyond the padding, but must start inside the input or the padding before it.
    """
    count = len(spatial)
    words = {1: "one int", 2: "two ints", 3: "three ints"}[count]
    sizes = [
        per_dimension(value, count, field, f"{name}: {field} must either be a single int, or a tuple of {words}")
        for field, value in (
            ("kernel_size", parameters["kernel_size"]),
            ("stride", parameters["stride"] or parameters["kernel_size"]),
            ("padding", parameters["padding"]),
            ("dilation", parameters.get("dilation", (1,))),
        )
    ]
    kernel, stride, padding, dilation = sizes
    if any(k <= 0 for k in kernel):
        raise ShapeError(f"{name}: kernel_size must be greater than zero, but got {list(kernel)}")
    if any(s <= 0 for s in stride):
        raise ShapeError(f"{name}: stride must be greater than zero (stride should not be zero), but got {list(stride)}")
    if any(d <= 0 for d in dilation):
        raise ShapeError(f"{name}: dilation should be greater than zero, but got {list(dilation)}")
    if any(p < 0 for p in padding):
        raise ShapeError(f"{name}: pad must be non-negative, but got {list(padding)}")
    # Of volumes PyTorch asks that the padding be at most half of the dilated window, of others half of the window itself.
    reach = [d * (k - 1) + 1 if count == 3 else k for d, k in zip(dilation, kernel, strict=True)]
    if any(p > n // 2 for p, n in zip(padding, reach, strict=True)):
        raise ShapeError(
            f"{name}: padding should be at most half of effective kernel size, but got pad={list(padding)}, "
            f"kernel_size={list(kernel)} and dilation={list(dilation)}"
        )
    output: list[int] = []
    high: list[int] = []
    for n, k, s, p, d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        windows = (-(-room // s) if parameters["ceil_mode"] else room // s) + 1
        if parameters["ceil_mode"] and (windows - 1) * s >= n + p:
            windows -= 1
        if windows < 1:
            raise ShapeError(
                f"{name}: Given input size {list(spatial)}, Calculated output size {windows} in one dimension: Output size is too "
                "small (Invalid computed output size)"
            )
        output.append(windows)
        high.append(max(0, (windows - 1) * s + d * (k - 1) + 1 - n - p))
    return Windows(kernel, stride, dilation, padding, tuple(high), tuple(output))


def column_elements(leading: int, windows: Windows) -> int:
    """Elements of all windows laid out one after another, for ``leading`` planes."""
    return leading * math.prod(windows.kernel) * math.prod(windows.output)


def padded_elements(leading: int, spatial: Sizes, windows: Windows) -> int:
    """Elements of ``leading`` planes with their padding."""
    return leading * math.prod([n + a + b for n, a, b in zip(spatial, windows.low, windows.high, strict=True)])
