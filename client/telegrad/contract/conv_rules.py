"""Rules of convolutions, pooling and padding: output shapes, types, cost, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from telegrad.contract import dtypes
from telegrad.contract.errors import DerivativeMissingError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, check_bytes
from telegrad.contract.shapes import integer, ints, optional_ints
from telegrad.contract.windows import column_elements, convolution_windows, padded_elements, per_dimension, pooling_windows

PADDING_MODES: Final = ("constant", "reflect", "replicate", "circular")


def _check_types(name: str, x: Spec, weight: Spec, bias: Spec | None) -> None:
    if x.dtype.category == 0:
        raise UnsupportedDTypeError(f'"{name}" not implemented for bool; convert it first, for example with .to(telegrad.float32)')
    if weight.dtype is not x.dtype:
        raise DTypeError(
            f"{name}: expected scalar type {x.dtype.name} but found {weight.dtype.name}: convert the weight with .to(...)"
        )
    if bias is not None and bias.dtype is not x.dtype:
        raise DTypeError(f"{name}: Input type ({x.dtype.name}) and bias type ({bias.dtype.name}) should be the same")


def _check_channels(x: Spec, weight: Spec, bias: Spec | None, groups: int, channels: int) -> None:
    shape = list(weight.shape)
    if groups <= 0:
        raise ShapeError("non-positive groups is not supported")
    if weight.shape[0] < groups:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {shape} instead"
        )
    if weight.shape[0] % groups:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size {shape} instead"
        )
    if channels != weight.shape[1] * groups:
        raise ShapeError(
            f"Given groups={groups}, weight of size {shape}, expected input{list(x.shape)} to have {weight.shape[1] * groups} "
            f"channels, but got {channels} channels instead"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"Given weight of size {shape}, expected bias to be 1-dimensional with {weight.shape[0]} elements, but got bias of "
            f"size {list(bias.shape)} instead"
        )


def convolution_rule(count: int) -> Rule:
    """Rule of a convolution over ``count`` dimensions."""
    name = f"conv{count}d"

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, weight, *rest = inputs
        bias = rest[0] if rest else None
        if len(weight.shape) != count + 2:
            raise ShapeError(
                f"{name}: expected a {count + 2}-dimensional weight [out_channels, in_channels / groups, *kernel], got one of "
                f"size {list(weight.shape)}"
            )
        if len(x.shape) not in (count + 1, count + 2):
            raise ShapeError(
                f"Expected {count + 1}D (unbatched) or {count + 2}D (batched) input to {name}, but got input of size: "
                f"{list(x.shape)}"
            )
        _check_types(name, x, weight, bias)
        spatial, channels = x.shape[-count:], x.shape[-count - 1]
        _check_channels(x, weight, bias, parameters["groups"], channels)
        if not all(weight.shape[2:]):
            raise ShapeError(f"kernel size should be greater than zero, but got a weight of size {list(weight.shape)}")
        windows = convolution_windows(spatial, weight.shape[2:], parameters)
        if not all(spatial):
            raise ShapeError(f"Only zero batch or zero channel inputs are supported, but got input shape: {list(x.shape)}")
        shape = (*x.shape[: -count - 1], weight.shape[0], *windows.output)
        planes = math.prod(x.shape[:-count])
        scratch = column_elements(planes, windows) + padded_elements(planes, spatial, windows) + math.prod(shape)
        flops = 2 * math.prod(shape) * math.prod(weight.shape[1:])
        return Outcome((Spec(shape, x.dtype),), flops, None, scratch * max(4, x.dtype.itemsize))

    return rule


def transposed_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    """Rule of a convolution's transpose as a map of its input."""
    g, weight = inputs
    spatial = tuple(parameters["shape"])
    windows = convolution_windows(spatial, weight.shape[2:], parameters)
    channels = weight.shape[1] * parameters["groups"]
    planes = g.shape[0] * channels
    scratch = column_elements(planes, windows) + padded_elements(planes, spatial, windows) + g.size
    return Outcome(
        (Spec((g.shape[0], channels, *spatial), g.dtype),),
        2 * g.size * math.prod(weight.shape[1:]),
        None,
        scratch * max(4, g.dtype.itemsize),
    )


def transposed_shape(spatial: Shape, kernel: Shape, parameters: Mapping[str, Any]) -> Shape:
    """Spatial sizes of a transposed convolution. Raises ShapeError."""
    count = len(kernel)
    fields = ("stride", "padding", "output_padding", "dilation")
    stride, padding, extra, dilation = [per_dimension(parameters[f], count, f) for f in fields]
    if any(s <= 0 for s in stride):
        raise ShapeError("non-positive stride is not supported")
    if any(p < 0 for p in padding):
        raise ShapeError("negative padding is not supported")
    if any(d <= 0 for d in dilation):
        raise ShapeError(f"dilation should be greater than zero, but got {list(dilation)}")
    if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ShapeError(
            f"output padding must be smaller than either stride or dilation, here {list(stride)} and {list(dilation)}, and not "
            f"negative; got {list(extra)}"
        )
    sizes = zip(spatial, kernel, stride, padding, extra, dilation, strict=True)
    shape = tuple([(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in sizes])
    if any(n < 1 for n in shape):
        raise ShapeError(
            f"Given input size per channel: {list(spatial)}. Calculated output size per channel: {list(shape)}. Output size is too "
            "small"
        )
    return shape


def transposed_convolution_rule(count: int) -> Rule:
    """Rule of a transposed convolution over ``count`` dimensions."""
    name = f"conv_transpose{count}d"

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, weight, *rest = inputs
        bias = rest[0] if rest else None
        if len(weight.shape) != count + 2 or not all(weight.shape):
            raise ShapeError(
                f"{name}: expected a non-empty {count + 2}-dimensional weight [in_channels, out_channels / groups, *kernel], got "
                f"one of size {list(weight.shape)}"
            )
        if len(x.shape) not in (count + 1, count + 2):
            raise ShapeError(
                f"Expected {count + 1}D (unbatched) or {count + 2}D (batched) input to {name}, but got input of size: "
                f"{list(x.shape)}"
            )
        _check_types(name, x, weight, bias)
        groups, spatial = parameters["groups"], x.shape[-count:]
        if groups <= 0:
            raise ShapeError("non-positive groups is not supported")
        if weight.shape[0] % groups:
            raise ShapeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0")
        if x.shape[-count - 1] != weight.shape[0]:
            raise ShapeError(
                f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(x.shape)} to have {weight.shape[0]} "
                f"channels, but got {x.shape[-count - 1]} channels instead"
            )
        channels = weight.shape[1] * groups
        if bias is not None and bias.shape != (channels,):
            raise ShapeError(
                f"Given transposed=1, weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {channels} "
                f"elements, but got bias of size {list(bias.shape)} instead"
            )
        if not all(spatial):
            raise ShapeError(f"Only zero batch or zero channel inputs are supported, but got input shape: {list(x.shape)}")
        shape = transposed_shape(spatial, weight.shape[2:], parameters)
        settings = {k: parameters[k] for k in ("stride", "padding", "dilation")}
        windows = convolution_windows(shape, weight.shape[2:], settings)
        planes = math.prod(x.shape[: -count - 1]) * channels
        scratch = column_elements(planes, windows) + padded_elements(planes, shape, windows) + x.size
        out = Spec((*x.shape[: -count - 1], channels, *shape), x.dtype)
        return Outcome((out,), 2 * x.size * math.prod(weight.shape[1:]), None, scratch * max(4, x.dtype.itemsize))

    return rule


def weight_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    """Rule of a convolution's transpose as a map of its weight."""
    x, g = inputs
    kernel = tuple(parameters["kernel"])
    windows = convolution_windows(x.shape[2:], kernel, parameters)
    planes = math.prod(x.shape[:2])
    scratch = column_elements(planes, windows) + padded_elements(planes, x.shape[2:], windows) + g.size
    shape = (g.shape[1], x.shape[1] // parameters["groups"], *kernel)
    return Outcome((Spec(shape, x.dtype),), 2 * g.size * math.prod(shape[1:]), None, scratch * max(4, x.dtype.itemsize))


def convolution_settings(stride: Any, padding: Any, dilation: Any, groups: Any) -> dict[str, Any]:
    """A convolution's parameters in canonical form."""
    if not isinstance(padding, str):
        padding = ints(padding, "padding")
    return {
        "stride": ints(stride, "stride"),
        "padding": padding,
        "dilation": ints(dilation, "dilation"),
        "groups": integer(groups, "groups"),
    }


def pooling_rule(name: str, count: int, *, indices: bool) -> Rule:
    """Rule of pooling over ``count`` dimensions, with the places of the results if ``indices``."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        (x,) = inputs
        if x.dtype.is_complex or x.dtype.category == 0:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}')
        if not indices and x.dtype.category == 1 and x.dtype is not dtypes.int64:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert it first, with .to(...)')
        if len(x.shape) not in (count + 1, count + 2) or not all(x.shape[-count - 1 :]):
            raise ShapeError(
                f"{name}: Expected {count + 1}D or {count + 2}D (batch mode) tensor with optional 0 dim batch size for input, but "
                f"got: {list(x.shape)}"
            )
        if parameters.get("divisor_override") == 0:
            raise ShapeError("divisor must be not zero")
        spatial = x.shape[-count:]
        windows = pooling_windows(name, spatial, parameters)
        if name == "avg_pool3d" and any(n < k for n, k in zip(spatial, windows.kernel, strict=True)):
            raise ShapeError(f"input image {list(spatial)} smaller than kernel size {list(windows.kernel)}")
        out = Spec((*x.shape[:-count], *windows.output), x.dtype)
        planes = math.prod(x.shape[:-count])
        scratch = (padded_elements(planes, spatial, windows) + 2 * out.size) * max(4, x.dtype.itemsize)
        outputs = (out, Spec(out.shape, dtypes.int64)) if indices else (out,)
        return Outcome(outputs, out.size * math.prod(windows.kernel), None, scratch)

    return rule


def average_gradient_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    """Rule of average pooling's transpose."""
    (g,) = inputs
    spatial = tuple(parameters["shape"])
    windows = pooling_windows("avg_pool", spatial, parameters)
    planes = math.prod(g.shape[: len(g.shape) - len(spatial)])
    out = Spec((*g.shape[: len(g.shape) - len(spatial)], *spatial), g.dtype)
    scratch = (padded_elements(planes, spatial, windows) + 2 * g.size) * max(4, g.dtype.itemsize)
    return Outcome((out,), g.size * math.prod(windows.kernel), None, scratch)


def pooling_settings(kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, dilation: Any = None) -> dict[str, Any]:
    """Parameters of pooling in canonical form."""
    settings: dict[str, Any] = {
        "kernel_size": ints(kernel_size, "kernel_size"),
        "stride": optional_ints(stride, "stride") or None,
        "padding": ints(padding, "padding"),
        "ceil_mode": bool(ceil_mode),
    }
    return settings if dilation is None else {**settings, "dilation": ints(dilation, "dilation")}


def pad_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    """Rule of padding."""
    (x,) = inputs
    pad, mode, value = tuple(parameters["pad"]), parameters["mode"], parameters["value"]
    if len(pad) % 2:
        raise ShapeError(
            "Padding length must be divisible by 2: a number before and one after, for each dimension from the last on"
        )
    count = len(pad) // 2
    if count > len(x.shape):
        raise ShapeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {len(x.shape)}"
        )
    if mode not in PADDING_MODES:
        raise DerivativeMissingError(f"Unrecognised padding mode {mode}; use one of {', '.join(PADDING_MODES)}")
    if mode != "constant":
        if value is not None and value != 0:
            raise ShapeError(f'Padding mode "{mode}" doesn\'t take in value argument')
        if not 1 <= count <= 3 or len(x.shape) not in (count + 1, count + 2):
            raise DerivativeMissingError(
                f"Padding size {len(pad)} is not supported for {len(x.shape)}D input tensor: {mode} padding of the last n "
                "dimensions, n from 1 to 3, takes inputs of n + 1 or n + 2 dimensions"
            )
    shape = list(x.shape)
    for place in range(count):
        dim = len(shape) - 1 - place
        low, high = pad[2 * place : 2 * place + 2]
        size = shape[dim]
        if mode == "reflect" and max(low, high) >= size:
            raise ShapeError(
                "Padding size should be less than the corresponding input dimension, but got: padding "
                f"({low}, {high}) at dimension {dim} of input {list(x.shape)}"
            )
        if mode == "circular" and max(low, high) > size:
            raise ShapeError("Padding value causes wrapping around more than once.")
        shape[dim] = size + low + high
        left = size + min(low, 0) + min(high, 0) if mode in ("constant", "circular") else shape[dim]
        if min(left, shape[dim]) < (mode != "constant"):
            raise ShapeError(
                f"pad(): the padding ({low}, {high}) takes more than dimension {dim} of size {size} has: narrow(): length must be "
                "non-negative"
            )
    check_bytes(shape, x.dtype)
    out = Spec(tuple(shape), x.dtype)
    return Outcome((out,), out.size, None, out.nbytes)


def pad_gradient_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    """Rule of the transpose of padding that repeats elements."""
    (g,) = inputs
    return Outcome((Spec(tuple(parameters["shape"]), g.dtype),), g.size, None, 3 * g.nbytes)
