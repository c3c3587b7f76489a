"""Convolutions, pooling and padding of ``telegrad.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from telegrad.contract import conv_rules as rules
from telegrad.contract.conv_rules import convolution_settings, pooling_settings
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.ops import op
from telegrad.contract.shapes import ints, real_number
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.nn import FUNCTIONAL


class ConvOps(TensorBase):
    """Convolutions, pooling and padding."""

    __slots__ = ()

    # Convolutions --------------------------------------------------------------------------------------------------------------

    @op(rules.convolution_rule(1), namespace=FUNCTIONAL, node="ConvolutionBackward0")
    def conv1d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: int | Sequence[int] = (1,),
        padding: int | Sequence[int] | str = (0,),
        dilation: int | Sequence[int] = (1,),
        groups: int = 1,
    ) -> Self:
        """Cross-correlation of sequences with ``weight``, plus ``bias`` per output channel; ``padding`` may be "same" or "valid".

        Shapes: [N, C, L] (or [C, L]), [O, C / groups, K], [O] -> [N, O, (L + 2 * padding - dilation * (K - 1) - 1) / stride + 1].
        Gradient: the transposed convolution of g; the windows of self times g; g summed. Raises: ShapeError, DTypeError.
        """
        return self._apply("conv1d", self, weight, bias, **convolution_settings(stride, padding, dilation, groups))

    @op(rules.convolution_rule(2), namespace=FUNCTIONAL, node="ConvolutionBackward0")
    def conv2d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: int | Sequence[int] = (1,),
        padding: int | Sequence[int] | str = (0,),
        dilation: int | Sequence[int] = (1,),
        groups: int = 1,
    ) -> Self:
        """Cross-correlation of images with ``weight``, plus ``bias`` per output channel; ``padding`` may be "same" or "valid".

        Shapes: [N, C, H, W] (or [C, H, W]), [O, C / groups, KH, KW], [O] -> [N, O, ...], each size as in ``conv1d``.
        Gradient: the transposed convolution of g; the windows of self times g; g summed. Raises: ShapeError, DTypeError.
        """
        return self._apply("conv2d", self, weight, bias, **convolution_settings(stride, padding, dilation, groups))

    @op(rules.convolution_rule(3), namespace=FUNCTIONAL, node="ConvolutionBackward0")
    def conv3d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: int | Sequence[int] = (1,),
        padding: int | Sequence[int] | str = (0,),
        dilation: int | Sequence[int] = (1,),
        groups: int = 1,
    ) -> Self:
        """Cross-correlation of volumes with ``weight``, plus ``bias`` per output channel; ``padding`` may be "same" or "valid".

        Shapes: [N, C, D, H, W] (or [C, D, H, W]), [O, C / groups, KD, KH, KW], [O] -> [N, O, ...], each size as in ``conv1d``.
        Gradient: the transposed convolution of g; the windows of self times g; g summed. Raises: ShapeError, DTypeError.
        """
        return self._apply("conv3d", self, weight, bias, **convolution_settings(stride, padding, dilation, groups))

    @op(rules.transposed_convolution_rule(1), namespace=FUNCTIONAL, node="ConvolutionBackward0")
    def conv_transpose1d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: int | Sequence[int] = (1,),
        padding: int | Sequence[int] = (0,),
        output_padding: int | Sequence[int] = (0,),
        groups: int = 1,
        dilation: int | Sequence[int] = (1,),
    ) -> Self:
        """Transpose of ``conv1d`` as a map of its input sequences, plus ``bias`` per output channel.

        Shapes: [N, C, L] (or [C, L]), [C, O / groups, K], [O] -> [N, O, ...], each size (n - 1) * stride -
        2 * padding + dilation * (k - 1) + output_padding + 1. Gradient: the convolution of g; the windows of g times self; g
        summed. Raises: ShapeError, DTypeError.
        """
        settings = convolution_settings(stride, padding, dilation, groups)
        extra = ints(output_padding, "output_padding")
        return self._apply("conv_transpose1d", self, weight, bias, output_padding=extra, **settings)

    @op(rules.transposed_convolution_rule(2), namespace=FUNCTIONAL, node="ConvolutionBackward0")
    def conv_transpose2d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: int | Sequence[int] = (1,),
        padding: int | Sequence[int] = (0,),
        output_padding: int | Sequence[int] = (0,),
        groups: int = 1,
        dilation: int | Sequence[int] = (1,),
    ) -> Self:
        """Transpose of ``conv2d`` as a map of its input images, plus ``bias`` per output channel.

        Shapes: [N, C, H, W] (or [C, H, W]), [C, O / groups, KH, KW], [O] -> [N, O, ...], each size (n - 1) * stride -
        2 * padding + dilation * (k - 1) + output_padding + 1. Gradient: the convolution of g; the windows of g times self; g
        summed. Raises: ShapeError, DTypeError.
        """
        settings = convolution_settings(stride, padding, dilation, groups)
        extra = ints(output_padding, "output_padding")
        return self._apply("conv_transpose2d", self, weight, bias, output_padding=extra, **settings)

    @op(rules.transposed_convolution_rule(3), namespace=FUNCTIONAL, node="ConvolutionBackward0")
    def conv_transpose3d(
        self,
        weight: Self,
        bias: Self | None = None,
        stride: int | Sequence[int] = (1,),
        padding: int | Sequence[int] = (0,),
        output_padding: int | Sequence[int] = (0,),
        groups: int = 1,
        dilation: int | Sequence[int] = (1,),
    ) -> Self:
        """Transpose of ``conv3d`` as a map of its input volumes, plus ``bias`` per output channel.

        Shapes: [N, C, D, H, W] (or [C, D, H, W]), [C, O / groups, KD, KH, KW], [O] -> [N, O, ...], each size (n - 1) * stride -
        2 * padding + dilation * (k - 1) + output_padding + 1. Gradient: the convolution of g; the windows of g times self; g
        summed. Raises: ShapeError, DTypeError.
        """
        settings = convolution_settings(stride, padding, dilation, groups)
        extra = ints(output_padding, "output_padding")
        return self._apply("conv_transpose3d", self, weight, bias, output_padding=extra, **settings)

    @op(rules.transposed_rule, namespace="internal")
    def _convolution_input(
        self,
        weight: Self,
        *,
        shape: Sequence[int],
        stride: Sequence[int],
        padding: int | Sequence[int] | str,
        dilation: Sequence[int],
        groups: int,
    ) -> Self:
        """The transpose of a convolution as a map of its input, whose spatial sizes are ``shape``.

        Shapes: [N, O, ...], [O, C / groups, ...] -> [N, C, *shape]. Gradient: the convolution of g; its windows times self.
        """
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return self._apply("_convolution_input", self, weight, shape=shape, **settings)

    @op(rules.weight_rule, namespace="internal")
    def _convolution_weight(
        self,
        other: Self,
        *,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: int | Sequence[int] | str,
        dilation: Sequence[int],
        groups: int,
    ) -> Self:
        """The transpose of a convolution as a map of its weight: the windows of ``self`` times ``other``, the output's gradient.

        Shapes: [N, C, ...], [N, O, ...] -> [O, C / groups, *kernel]. Gradient: the transposed convolution of other by g; the
        convolution of self by g.
        """
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return self._apply("_convolution_weight", self, other, kernel=kernel, **settings)

    # Pooling -------------------------------------------------------------------------------------------------------------------

    @op(
        rules.pooling_rule("max_pool1d", 1, indices=True),
        namespace=FUNCTIONAL,
        outputs=("values", "indices"),
        node="MaxPool1D",
    )
    def max_pool1d(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = (0,),
        dilation: int | Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> tuple[Self, Self]:
        """Largest element of each window of sequences, and its place in the flattened plane.

        Shapes: [N, C, L] (or [C, L]) -> [N, C, ...], each size (n + 2 * padding - dilation * (k - 1) - 1) / stride + 1,
        rounded up with ``ceil_mode``. Gradient: g at the place of each maximum, the first of ties, added where windows overlap.
        Raises: ShapeError, DTypeError.
        """
        return self._apply("max_pool1d", self, **pooling_settings(kernel_size, stride, padding, ceil_mode, dilation))

    @op(
        rules.pooling_rule("max_pool2d", 2, indices=True),
        namespace=FUNCTIONAL,
        outputs=("values", "indices"),
        node="MaxPool2DWithIndicesBackward0",
    )
    def max_pool2d(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = (0,),
        dilation: int | Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> tuple[Self, Self]:
        """Largest element of each window of images, and its place in the flattened plane.

        Shapes: [N, C, H, W] (or [C, H, W]) -> [N, C, ...], each size (n + 2 * padding - dilation * (k - 1) - 1) / stride + 1,
        rounded up with ``ceil_mode``. Gradient: g at the place of each maximum, the first of ties, added where windows overlap.
        Raises: ShapeError, DTypeError.
        """
        return self._apply("max_pool2d", self, **pooling_settings(kernel_size, stride, padding, ceil_mode, dilation))

    @op(
        rules.pooling_rule("max_pool3d", 3, indices=True),
        namespace=FUNCTIONAL,
        outputs=("values", "indices"),
        node="MaxPool3DWithIndicesBackward0",
    )
    def max_pool3d(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = (0,),
        dilation: int | Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> tuple[Self, Self]:
        """Largest element of each window of volumes, and its place in the flattened plane.

        Shapes: [N, C, D, H, W] (or [C, D, H, W]) -> [N, C, ...], each size (n + 2 * padding - dilation * (k - 1) - 1) / stride + 1,
        rounded up with ``ceil_mode``. Gradient: g at the place of each maximum, the first of ties, added where windows overlap.
        Raises: ShapeError, DTypeError.
        """
        return self._apply("max_pool3d", self, **pooling_settings(kernel_size, stride, padding, ceil_mode, dilation))

    @op(rules.pooling_rule("avg_pool1d", 1, indices=False), namespace=FUNCTIONAL)
    def avg_pool1d(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Self:
        """Mean of each window of sequences, over input and padding or over input alone.

        Shapes: [N, C, L] (or [C, L]) -> sizes as in ``max_pool1d``.
        Gradient: g over the divisor, added where windows overlap. Raises: ShapeError, DTypeError.
        """
        settings = pooling_settings(kernel_size, stride, padding, ceil_mode)
        return self._apply("avg_pool1d", self, count_include_pad=bool(count_include_pad), **settings)

    @op(rules.pooling_rule("avg_pool2d", 2, indices=False), namespace=FUNCTIONAL, node="AvgPool2D")
    def avg_pool2d(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Self:
        """Mean of each window of images, over input and padding or over input alone; the divisor may be given.

        Shapes: [N, C, H, W] (or [C, H, W]) -> sizes as in ``max_pool2d``.
        Gradient: g over the divisor, added where windows overlap. Raises: ShapeError, DTypeError.
        """
        settings = pooling_settings(kernel_size, stride, padding, ceil_mode)
        return self._apply(
            "avg_pool2d", self, count_include_pad=bool(count_include_pad), divisor_override=divisor_override, **settings
        )

    @op(rules.pooling_rule("avg_pool3d", 3, indices=False), namespace=FUNCTIONAL, node="AvgPool3D")
    def avg_pool3d(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Self:
        """Mean of each window of volumes, over input and padding or over input alone; the divisor may be given.

        Shapes: [N, C, D, H, W] (or [C, D, H, W]) -> sizes as in ``max_pool3d``.
        Gradient: g over the divisor, added where windows overlap. Raises: ShapeError, DTypeError.
        """
        settings = pooling_settings(kernel_size, stride, padding, ceil_mode)
        return self._apply(
            "avg_pool3d", self, count_include_pad=bool(count_include_pad), divisor_override=divisor_override, **settings
        )

    @op(rules.average_gradient_rule, namespace="internal")
    def _avg_pool_gradient(
        self,
        *,
        shape: Sequence[int],
        kernel_size: Sequence[int],
        stride: Sequence[int] | None,
        padding: Sequence[int],
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None = None,
    ) -> Self:
        """The transpose of average pooling of an input with spatial sizes ``shape``.

        Shapes: [..., *output] -> [..., *shape]. Gradient: the pooled g.
        """
        settings = pooling_settings(kernel_size, stride, padding, ceil_mode)
        return self._apply(
            "_avg_pool_gradient",
            self,
            shape=shape,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
            **settings,
        )

    # Padding -------------------------------------------------------------------------------------------------------------------

    @op(rules.pad_rule, namespace=FUNCTIONAL, node="ConstantPadNdBackward0")
    def pad(self, pad: int | Sequence[int], mode: str = "constant", value: float | None = None) -> Self:
        """Pad by ``pad[0]`` before and ``pad[1]`` after the last dimension, then the one before it; negative numbers take away.

        ``mode`` is "constant" (``value``, 0 by default), "reflect" (without the edge), "replicate" (the edge) or "circular".
        Shapes: [...] -> [...]. Gradient: g without the padding, or added to the elements that the padding repeats.
        Raises: ShapeError.
        """
        if value is not None and not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"pad(): argument 'value' must be float, not {type(value).__name__}")
        return self._apply(
            "pad", self, pad=ints(pad, "pad"), mode=mode, value=None if value is None else real_number(value, "value")
        )

    @op(rules.pad_gradient_rule, namespace="internal")
    def _pad_gradient(self, *, shape: Sequence[int], pad: Sequence[int], mode: str) -> Self:
        """The transpose of padding an input of ``shape`` by repeating its elements.

        Shapes: [...] -> shape. Gradient: the padded g.
        """
        return self._apply("_pad_gradient", self, shape=shape, pad=pad, mode=mode)
