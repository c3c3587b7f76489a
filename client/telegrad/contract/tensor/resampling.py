"""Interpolation, adaptive pooling, and sliding blocks of ``telegrad.nn.functional``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from telegrad.contract import dtypes
from telegrad.contract.errors import DimensionError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, check_bytes, op
from telegrad.contract.resampling import adaptive_sizes, check_mode, output_sizes
from telegrad.contract.shapes import integer, ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.nn import FUNCTIONAL
from telegrad.contract.windows import Windows, per_dimension


def _require_floating(name: str, x: Spec) -> None:
    if not x.dtype.is_floating_point:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert it with .to(telegrad.float32)')


_MODES_OF_BYTES: Final = ("nearest", "nearest-exact", "bilinear", "bicubic")
"""In which modes images of 8-bit integers may be interpolated, as in PyTorch."""


def _interpolate_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    mode = parameters["mode"]
    check_mode(mode, len(x.shape), parameters["align_corners"], parameters["antialias"])
    spatial = x.shape[2:]
    sizes, _ = output_sizes(spatial, parameters["size"], parameters["scale_factor"], parameters["recompute_scale_factor"])
    if mode == "area":
        _check_adaptive("adaptive_avg_pool", x, len(spatial))
    elif any(n <= 0 for n in (*spatial, *sizes)):
        raise ShapeError(
            f"Input and output sizes should be greater than 0, but got input sizes {list(spatial)} and output sizes {list(sizes)}"
        )
    elif not x.shape[1]:
        raise ShapeError(f"Non-empty data tensor expected but got a tensor with sizes {list(x.shape)}: it has no channels")
    if not (x.dtype is dtypes.uint8 and mode in _MODES_OF_BYTES):
        _require_floating(f"interpolate_{mode}", x)
    shape = (*x.shape[:2], *sizes)
    check_bytes(shape, x.dtype)
    out = Spec(shape, x.dtype)
    return Outcome((out,), 8 * len(spatial) * (x.size + out.size), None, 2 * (x.nbytes + out.nbytes) * len(spatial))


def _resample_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    sizes = tuple(parameters["source"] if parameters["transpose"] else parameters["target"])
    out = Spec((*x.shape[: len(x.shape) - len(sizes)], *sizes), x.dtype)
    return Outcome((out,), 8 * len(sizes) * (x.size + out.size), None, 2 * (x.nbytes + out.nbytes) * len(sizes))


def _check_adaptive(name: str, x: Spec, count: int) -> None:
    if len(x.shape) not in (count + 1, count + 2):
        if count == 1:
            raise ShapeError(f"Expected 2 to 3 dimensions, but got {len(x.shape)}-dimensional tensor for argument 'self' of {name}")
        raise ShapeError(f"{name}(): Expected {count + 1}D or {count + 2}D tensor, but got: {list(x.shape)}")
    for dim in range(len(x.shape) - count - (len(x.shape) == count + 1), len(x.shape)):
        if dim > 0 and not x.shape[dim]:
            raise ShapeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {list(x.shape)} "
                f"with dimension {dim} being empty"
            )


def adaptive_rule(name: str, count: int, *, indices: bool) -> Rule:
    """Rule of adaptive pooling over ``count`` dimensions, with the places of the results if ``indices``."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        (x,) = inputs
        _check_adaptive(name, x, count)
        sizes = adaptive_sizes(name, parameters["output_size"], x.shape, count)
        _require_floating(name, x)
        shape = (*x.shape[: len(x.shape) - count], *sizes)
        check_bytes(shape, dtypes.int64)
        out = Spec(shape, x.dtype)
        outputs = (out, Spec(shape, dtypes.int64)) if indices else (out,)
        return Outcome(outputs, 2 * (x.size + out.size) * count, None, 2 * (x.nbytes + 8 * out.size))

    return rule


def block_windows(name: str, spatial: Shape, parameters: Mapping[str, Any]) -> Windows:
    """The windows of ``unfold`` and ``fold`` over two dimensions. Raises ShapeError."""
    values: dict[str, tuple[int, ...]] = {}
    for field in ("kernel_size", "dilation", "padding", "stride"):
        got = len(parameters[field])
        values[field] = per_dimension(parameters[field], 2, field, f"{name}: It is expected {field} equals to 2, but got {got}")
        low = 0 if field == "padding" else 1
        if any(n < low for n in values[field]):
            kind = "non-negative" if field == "padding" else "greater than zero"
            raise ShapeError(f"{name}: {field} should be {kind}, but got {list(values[field])}")
    kernel, dilation, padding, stride = values.values()
    output = tuple(
        [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(spatial, kernel, dilation, padding, stride, strict=True)]
    )
    if any(n < 1 for n in output):
        raise ShapeError(
            f"{name}: Given input with spatial size {list(spatial)}, kernel_size={list(kernel)}, dilation={list(dilation)}, "
            f"padding={list(padding)}, calculated shape of the array of sliding blocks as {list(output)}, but its components must "
            "be at least one."
        )
    return Windows(kernel, stride, dilation, padding, padding, output)


def _unfold_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    if len(x.shape) not in (3, 4) or not all(x.shape[-3:]):
        raise (DimensionError if len(x.shape) < 3 else ShapeError)(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: "
            f"{list(x.shape)}"
        )
    windows = block_windows("unfold", x.shape[-2:], parameters)
    _require_block_type("im2col", x)
    shape = (*x.shape[:-3], x.shape[-3] * math.prod(windows.kernel), math.prod(windows.output))
    check_bytes(shape, x.dtype)
    out = Spec(shape, x.dtype)
    return Outcome((out,), out.size, None, 2 * x.nbytes)


def _require_block_type(name: str, x: Spec) -> None:
    if x.dtype.category == 1:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert it with .to(telegrad.float32)')


def _fold_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    if len(x.shape) not in (2, 3) or not all(x.shape[-2:]):
        raise ShapeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, but "
            f"got: {list(x.shape)}"
        )
    size = per_dimension(
        parameters["output_size"], 2, "", f"fold: It is expected output_size equals to 2, but got {list(parameters['output_size'])}"
    )
    windows = block_windows("fold", size, parameters)
    area, places = math.prod(windows.kernel), math.prod(windows.output)
    if x.shape[-2] % area:
        raise ShapeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={x.shape[-2]} and kernel_size={list(windows.kernel)}."
        )
    if x.shape[-1] != places:
        raise ShapeError(
            f"Given output_size={list(size)}, kernel_size={list(windows.kernel)}, dilation={list(windows.dilation)}, "
            f"padding={list(windows.low)}, stride={list(windows.stride)}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {' * '.join(map(str, windows.output))} = {places}, but got {x.shape[-1]}."
        )
    _require_block_type("col2im", x)
    shape = (*x.shape[:-2], x.shape[-2] // area, *size)
    check_bytes(shape, x.dtype)
    out = Spec(shape, x.dtype)
    return Outcome((out,), x.size, None, 3 * out.nbytes)


def unpool_rule(name: str, count: int) -> Rule:
    """Rule of max unpooling over ``count`` dimensions, whose parameter ``output_size`` holds the spatial sizes."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, indices = inputs
        if indices.dtype is not dtypes.int64:
            raise DTypeError(f"elements in indices should be type int64 but got: {indices.dtype.name}")
        if len(x.shape) not in (count + 1, count + 2):
            raise ShapeError(f"Input to {name} should be a {count + 1}d or {count + 2}d Tensor, but got {len(x.shape)} dimensions")
        if x.shape != indices.shape:
            raise ShapeError(
                "Expected shape of indices to be same as that of the input tensor "
                f"({list(x.shape)}) but got indices tensor with shape: {list(indices.shape)}"
            )
        if x.dtype.is_complex or x.dtype.category == 0:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}')
        sizes = tuple(parameters["output_size"])
        if len(sizes) != count or any(n < 0 for n in sizes):
            raise ShapeError(f"{name}: There should be exactly {count} sizes in output_size, none negative, but got {list(sizes)}")
        shape = (*x.shape[: len(x.shape) - count], *sizes)
        check_bytes(shape, x.dtype)
        return Outcome((Spec(shape, x.dtype),), x.size + math.prod(shape), None, 8 * x.size)

    return rule


def _block_settings(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, tuple[int, ...]]:
    given = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    return {name: ints(value, name) for name, value in given.items()}


def _shuffle_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    r = parameters["upscale_factor"]
    if len(x.shape) < 3:
        raise ShapeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {len(x.shape)} dimension(s)"
        )
    if r <= 0:
        raise ShapeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = x.shape
    if channels % (r * r):
        raise ShapeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={channels} is not divisible by {r * r}"
        )
    return Outcome((Spec((*lead, channels // (r * r), height * r, width * r), x.dtype),), x.size)


def _unshuffle_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    r = parameters["downscale_factor"]
    if len(x.shape) < 3:
        raise ShapeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {len(x.shape)} dimension(s)"
        )
    if r <= 0:
        raise ShapeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = x.shape
    for name, n, dim in (("height", height, -2), ("width", width, -1)):
        if n % r:
            raise ShapeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({dim})={n} is not "
                f"divisible by {r}"
            )
    return Outcome((Spec((*lead, channels * r * r, height // r, width // r), x.dtype),), x.size)


def _channel_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    groups = parameters["groups"]
    if len(x.shape) < 3:
        raise ShapeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(x.shape)}")
    if groups <= 0:
        raise ShapeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if x.shape[1] % groups:
        raise ShapeError(f"Number of channels must be divisible by groups. Got {x.shape[1]} channels and {groups} groups.")
    return Outcome((x,), x.size)


class ResamplingOps(TensorBase):
    """Interpolation, adaptive pooling, sliding blocks."""

    __slots__ = ()

    @op(_interpolate_rule, name="interpolate", namespace=FUNCTIONAL, node="UpsampleBackward0")
    def _interpolate(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> Self:
        """The input at other spatial sizes, given as they are or by a factor, by the ``mode`` of interpolation.

        ``mode`` is "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or "area". Shapes: [N, C, ...] ->
        [N, C, *sizes]. Gradient: each output's g goes to the inputs that it weighs. Raises: ArgumentValueError, ShapeError.
        Source of the cubic weights: Keys (1981), doi:10.1109/TASSP.1981.1163711, with a = -0.75 (-0.5 against aliases).
        """
        return self._apply(
            "interpolate",
            self,
            size=size,
            scale_factor=scale_factor,
            mode=mode,
            align_corners=align_corners,
            recompute_scale_factor=recompute_scale_factor,
            antialias=antialias,
        )

    @op(_resample_rule, namespace="internal")
    def _resample(
        self,
        *,
        source: Sequence[int],
        target: Sequence[int],
        mode: str,
        align_corners: bool,
        scales: Sequence[float] | None,
        antialias: bool,
        transpose: bool,
    ) -> Self:
        """The linear map of the last dimensions from sizes ``source`` to ``target`` that ``mode`` names, or its transpose.

        Shapes: [..., *source] -> [..., *target], or the other way. Gradient: the other of the two.
        """
        return self._apply(
            "_resample",
            self,
            source=source,
            target=target,
            mode=mode,
            align_corners=align_corners,
            scales=scales,
            antialias=antialias,
            transpose=transpose,
        )

    @op(adaptive_rule("adaptive_avg_pool1d", 1, indices=False), name="adaptive_avg_pool1d", namespace=FUNCTIONAL)
    def _adaptive_avg_pool1d(self, output_size: int | Sequence[int]) -> Self:
        """Means of ``output_size`` windows that share out the last dimension evenly.

        Shapes: [N, C, L] (or [C, L]) -> [N, C, output_size]. Gradient: g over each window's length. Raises: ShapeError.
        """
        return self._apply("adaptive_avg_pool1d", self, output_size=ints(output_size, "output_size"))

    @op(
        adaptive_rule("adaptive_avg_pool2d", 2, indices=False),
        name="adaptive_avg_pool2d",
        namespace=FUNCTIONAL,
        node="AdaptiveAvgPool2D",
    )
    def _adaptive_avg_pool2d(self, output_size: int | Sequence[int]) -> Self:
        """Means of windows that share out the last two dimensions evenly.

        Shapes: [N, C, H, W] (or [C, H, W]) -> [N, C, *output_size]. Gradient: g over each window's area. Raises: ShapeError.
        """
        return self._apply("adaptive_avg_pool2d", self, output_size=ints(output_size, "output_size"))

    @op(
        adaptive_rule("adaptive_avg_pool3d", 3, indices=False),
        name="adaptive_avg_pool3d",
        namespace=FUNCTIONAL,
        node="AdaptiveAvgPool3D",
    )
    def _adaptive_avg_pool3d(self, output_size: int | Sequence[int]) -> Self:
        """Means of windows that share out the last three dimensions evenly.

        Shapes: [N, C, D, H, W] (or [C, D, H, W]) -> [N, C, *output_size]. Gradient: g over each window's volume.
        Raises: ShapeError.
        """
        return self._apply("adaptive_avg_pool3d", self, output_size=ints(output_size, "output_size"))

    @op(
        adaptive_rule("adaptive_max_pool1d", 1, indices=True),
        name="adaptive_max_pool1d",
        namespace=FUNCTIONAL,
        outputs=("values", "indices"),
        node="AdaptiveMaxPool1DBackward0",
    )
    def _adaptive_max_pool1d(self, output_size: int | Sequence[int]) -> tuple[Self, Self]:
        """Largest element, and its place, of windows that share out the last dimension evenly.

        Shapes: [N, C, L] (or [C, L]) -> [N, C, output_size] twice. Gradient: g at the place of each maximum. Raises: ShapeError.
        """
        return self._apply("adaptive_max_pool1d", self, output_size=ints(output_size, "output_size"))

    @op(
        adaptive_rule("adaptive_max_pool2d", 2, indices=True),
        name="adaptive_max_pool2d",
        namespace=FUNCTIONAL,
        outputs=("values", "indices"),
        node="AdaptiveMaxPool2DBackward0",
    )
    def _adaptive_max_pool2d(self, output_size: int | Sequence[int]) -> tuple[Self, Self]:
        """Largest element, and its place in the flattened plane, of windows that share out the last two dimensions evenly.

        Shapes: [N, C, H, W] (or [C, H, W]) -> [N, C, *output_size] twice. Gradient: g at the place of each maximum.
        Raises: ShapeError.
        """
        return self._apply("adaptive_max_pool2d", self, output_size=ints(output_size, "output_size"))

    @op(
        adaptive_rule("adaptive_max_pool3d", 3, indices=True),
        name="adaptive_max_pool3d",
        namespace=FUNCTIONAL,
        outputs=("values", "indices"),
        node="AdaptiveMaxPool3DBackward0",
    )
    def _adaptive_max_pool3d(self, output_size: int | Sequence[int]) -> tuple[Self, Self]:
        """Largest element, and its place in the flattened volume, of windows that share out the last three dimensions evenly.

        Shapes: [N, C, D, H, W] (or [C, D, H, W]) -> [N, C, *output_size] twice. Gradient: g at the place of each maximum.
        Raises: ShapeError.
        """
        return self._apply("adaptive_max_pool3d", self, output_size=ints(output_size, "output_size"))

    @op(unpool_rule("max_unpool1d", 1), name="max_unpool1d", namespace=FUNCTIONAL, differentiable=("self",), node="MaxUnpool2D")
    def _max_unpool1d(self, indices: Self, *, output_size: Sequence[int]) -> Self:
        """Elements put to the places that ``max_pool1d`` found them at, zeros elsewhere.

        Shapes: [N, C, L] (or [C, L]) twice -> [N, C, *output_size]. Gradient: g at the places. Raises: ShapeError.
        """
        return self._apply("max_unpool1d", self, indices, output_size=ints(output_size, "output_size"))

    @op(unpool_rule("max_unpool2d", 2), name="max_unpool2d", namespace=FUNCTIONAL, differentiable=("self",), node="MaxUnpool2D")
    def _max_unpool2d(self, indices: Self, *, output_size: Sequence[int]) -> Self:
        """Elements put to the places in the flattened plane that ``max_pool2d`` found them at, zeros elsewhere.

        Shapes: [N, C, H, W] (or [C, H, W]) twice -> [N, C, *output_size]. Gradient: g at the places. Raises: ShapeError.
        """
        return self._apply("max_unpool2d", self, indices, output_size=ints(output_size, "output_size"))

    @op(unpool_rule("max_unpool3d", 3), name="max_unpool3d", namespace=FUNCTIONAL, differentiable=("self",), node="MaxUnpool3D")
    def _max_unpool3d(self, indices: Self, *, output_size: Sequence[int]) -> Self:
        """Elements put to the places in the flattened volume that ``max_pool3d`` found them at, zeros elsewhere.

        Shapes: [N, C, D, H, W] (or [C, D, H, W]) twice -> [N, C, *output_size]. Gradient: g at the places. Raises: ShapeError.
        """
        return self._apply("max_unpool3d", self, indices, output_size=ints(output_size, "output_size"))

    @op(_unfold_rule, name="unfold.blocks", namespace=FUNCTIONAL, node="Im2ColBackward0")
    def _unfold_blocks(
        self,
        kernel_size: int | Sequence[int],
        dilation: int | Sequence[int] = (1,),
        padding: int | Sequence[int] = (0,),
        stride: int | Sequence[int] = (1,),
    ) -> Self:
        """Every block of ``kernel_size`` of images, as a column.

        Shapes: [N, C, H, W] (or [C, H, W]) -> [N, C * KH * KW, blocks]. Gradient: ``fold`` of g. Raises: ShapeError.
        """
        settings = _block_settings(kernel_size, dilation, padding, stride)
        return self._apply("unfold.blocks", self, **settings)

    @op(_fold_rule, name="fold", namespace=FUNCTIONAL, node="Col2ImBackward0")
    def _fold(
        self,
        output_size: int | Sequence[int],
        kernel_size: int | Sequence[int],
        dilation: int | Sequence[int] = (1,),
        padding: int | Sequence[int] = (0,),
        stride: int | Sequence[int] = (1,),
    ) -> Self:
        """Columns added up where ``unfold`` took them from, in images of ``output_size``.

        Shapes: [N, C * KH * KW, blocks] (or without N) -> [N, C, *output_size]. Gradient: ``unfold`` of g. Raises: ShapeError.
        """
        settings = _block_settings(kernel_size, dilation, padding, stride)
        return self._apply("fold", self, output_size=ints(output_size, "output_size"), **settings)

    @op(_shuffle_rule, name="pixel_shuffle", namespace=FUNCTIONAL)
    def _pixel_shuffle(self, upscale_factor: int) -> Self:
        """Channels spread out over blocks of ``upscale_factor`` by ``upscale_factor`` pixels.

        Shapes: [..., C * r * r, H, W] -> [..., C, H * r, W * r]. Gradient: ``pixel_unshuffle`` of g. Raises: ShapeError.
        Source: Shi et al. (2016), arXiv:1609.05158.
        """
        return self._apply("pixel_shuffle", self, upscale_factor=integer(upscale_factor, "upscale_factor"))

    @op(_unshuffle_rule, name="pixel_unshuffle", namespace=FUNCTIONAL)
    def _pixel_unshuffle(self, downscale_factor: int) -> Self:
        """The inverse of ``pixel_shuffle``: blocks of pixels stacked as channels.

        Shapes: [..., C, H * r, W * r] -> [..., C * r * r, H, W]. Gradient: ``pixel_shuffle`` of g. Raises: ShapeError.
        """
        return self._apply("pixel_unshuffle", self, downscale_factor=integer(downscale_factor, "downscale_factor"))

    @op(_channel_rule, name="channel_shuffle", namespace=FUNCTIONAL)
    def _channel_shuffle(self, groups: int) -> Self:
        """Channels of ``groups`` groups taken in turns: one of each group, then the next of each.

        Shapes: [N, C, ...] -> same. Gradient: the shuffle by C / groups of g. Raises: ShapeError.
        Source: Zhang et al. (2018), arXiv:1707.01083.
        """
        return self._apply("channel_shuffle", self, groups=integer(groups, "groups"))
