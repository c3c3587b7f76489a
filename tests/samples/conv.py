"""Samples of convolutions, pooling and padding."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


_ODD = np.array([[[np.nan, np.nan, 1.0, -np.inf, -np.inf]]])

SAMPLES: list[Sample] = [
    Sample(
        F("conv_transpose1d"),
        (rand(1, 2, 3), rand(2, 2, 2, seed=1), rand(2, seed=2)),
        {"stride": 1, "padding": 1, "output_padding": 2, "dilation": 3},
        op="conv_transpose1d",
        note="output padding of more than a stride",
    ),
    Sample(
        F("conv_transpose2d"),
        (rand(1, 2, 3, 3), rand(2, 2, 2, 2, seed=1), rand(2, seed=2)),
        {"stride": (2, 1), "padding": (1, 2), "output_padding": (2, 3), "dilation": 4},
        op="conv_transpose2d",
        note="output padding of more than a stride",
    ),
    Sample(F("conv1d"), (rand(2, 2, 5), rand(3, 2, 2, seed=1), rand(3, seed=2)), op="conv1d"),
    Sample(F("conv1d"), (rand(2, 6), rand(4, 1, 3, seed=1)), {"stride": 2, "padding": 1, "groups": 2}, op="conv1d"),
    Sample(F("conv1d"), (rand(1, 1, 5), rand(1, 1, 2, seed=1)), {"padding": "same", "dilation": 3}, op="conv1d"),
    Sample(F("conv1d"), (complexes(1, 2, 4), complexes(2, 2, 3, seed=3), complexes(2)), {"padding": (1,)}, op="conv1d"),
    Sample(F("conv2d"), (rand(2, 2, 4, 3), rand(3, 2, 2, 2, seed=1), rand(3, seed=2)), op="conv2d"),
    Sample(F("conv2d"), (rand(2, 5, 4), rand(2, 1, 3, 2, seed=1), rand(2)), {"padding": "same", "groups": 2}, op="conv2d"),
    Sample(
        F("conv2d"),
        (rand(1, 1, 5, 6), rand(2, 1, 2, 3, seed=1)),
        {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        op="conv2d",
    ),
    Sample(F("conv2d"), (rand(1, 1, 3, 3), rand(1, 1, 2, 2, seed=1)), {"padding": "valid"}, op="conv2d"),
    Sample(F("conv2d"), (rand(0, 2, 3, 3), rand(1, 2, 2, 2, seed=1), rand(1)), op="conv2d"),
    Sample(F("conv2d"), (ints(1, 1, 3, 3), ints(1, 1, 2, 2, seed=1)), op="conv2d", gradient=False),
    Sample(
        F("conv3d"), (rand(1, 2, 3, 2, 3), rand(2, 1, 2, 1, 2, seed=1), rand(2)), {"groups": 2, "padding": (0, 1, 0)}, op="conv3d"
    ),
    Sample(F("conv3d"), (rand(1, 4, 3, 2), rand(1, 1, 2, 2, 2, seed=1)), {"stride": (2, 1, 1)}, op="conv3d"),
    Sample(F("conv_transpose1d"), (rand(2, 2, 3), rand(2, 3, 2, seed=1), rand(3, seed=2)), op="conv_transpose1d"),
    Sample(
        F("conv_transpose1d"), (rand(4, 3), rand(4, 1, 3)), {"stride": 2, "output_padding": 1, "groups": 2}, op="conv_transpose1d"
    ),
    Sample(F("conv_transpose2d"), (rand(1, 2, 3, 2), rand(2, 2, 2, 3), rand(2), (2, 1), 1), op="conv_transpose2d"),
    Sample(F("conv_transpose2d"), (complexes(2, 2, 2), complexes(2, 1, 2, 2)), {"dilation": 2}, op="conv_transpose2d"),
    Sample(F("conv_transpose3d"), (rand(1, 2, 2, 1, 2), rand(2, 1, 2, 1, 2), rand(2)), {"groups": 2}, op="conv_transpose3d"),
    # Pooling
    Sample(F("max_pool1d"), (rand(2, 3, 7), 3), {"stride": 2, "padding": 1}, op="max_pool1d"),
    Sample(F("max_pool1d"), (rand(2, 6), 2), {"dilation": 2, "return_indices": True}, op="max_pool1d"),
    Sample(F("max_pool2d"), (rand(2, 2, 5, 4), 2), op="max_pool2d"),
    Sample(F("max_pool2d"), (rand(2, 5, 6), (3, 2)), {"stride": 1, "padding": 1, "dilation": (1, 2)}, op="max_pool2d"),
    Sample(F("max_pool2d"), (rand(1, 1, 5, 6), 3, 2), {"ceil_mode": True, "return_indices": True}, op="max_pool2d"),
    Sample(F("max_pool2d"), (np.zeros((1, 1, 3, 3)), 2, 1), op="max_pool2d", differences=False, note="ties"),
    Sample(
        F("max_pool2d"), (_ODD, (1, 2), 1, (0, 1)), {"return_indices": True}, op="max_pool2d", gradient=False, note="odd values"
    ),
    Sample(F("max_pool2d"), (ints(1, 4, 4), 2, 1), op="max_pool2d", gradient=False),
    Sample(F("max_pool2d"), (rand(0, 2, 4, 4), 2), op="max_pool2d"),
    Sample(F("max_pool3d"), (rand(1, 2, 3, 4, 3), (2, 2, 1)), {"stride": 1}, op="max_pool3d"),
    Sample(F("max_pool3d"), (rand(2, 4, 3, 3), 2), {"padding": 1, "return_indices": True}, op="max_pool3d"),
    Sample(F("avg_pool1d"), (rand(2, 3, 7), 3), {"stride": 2, "padding": 1, "count_include_pad": False}, op="avg_pool1d"),
    Sample(F("avg_pool1d"), (rand(2, 6), 4), {"ceil_mode": True}, op="avg_pool1d"),
    Sample(F("avg_pool2d"), (rand(2, 2, 5, 4), 2), op="avg_pool2d"),
    Sample(F("avg_pool2d"), (rand(2, 5, 6), (3, 2), 2, 1), {"ceil_mode": True}, op="avg_pool2d"),
    Sample(F("avg_pool2d"), (rand(2, 5, 6), 3, 2, 1, True, False), op="avg_pool2d"),
    Sample(F("avg_pool2d"), (rand(1, 2, 3, 3), 2, 1), {"divisor_override": 3}, op="avg_pool2d"),
    Sample(F("avg_pool2d"), (ints(1, 4, 4), 2), op="avg_pool2d", gradient=False),
    Sample(F("avg_pool3d"), (rand(1, 2, 3, 4, 3), (2, 2, 1)), {"stride": 1}, op="avg_pool3d"),
    Sample(F("avg_pool3d"), (rand(2, 4, 3, 3), 2), {"padding": 1, "divisor_override": 5}, op="avg_pool3d"),
    # Padding
    Sample(F("pad"), (rand(2, 1), (3, -1)), {"mode": "replicate"}, op="pad"),
    Sample(F("pad"), (rand(2, 3), (1, 2)), op="pad"),
    Sample(F("pad"), (rand(2, 3, 4), (-1, 2, 1, -2, 0, 1)), {"value": 1.5}, op="pad"),
    Sample(F("pad"), (rand(2, 3), ()), op="pad"),
    Sample(F("pad"), (rand(0, 3), (1, 0, 2, 1)), op="pad"),
    Sample(F("pad"), (ints(2, 3), (1, 0), "constant", 2), op="pad", gradient=False),
    Sample(F("pad"), (complexes(2, 3), (0, 1)), {"value": 2}, op="pad"),
    *[
        sample
        for mode in ("reflect", "replicate", "circular")
        for sample in (
            Sample(F("pad"), (rand(1, 2, 4, 3), (2, 1, 0, 3)), {"mode": mode}, op="pad"),
            Sample(F("pad"), (rand(2, 5), [-1, 2]), {"mode": mode}, op="pad"),
            Sample(F("pad"), (rand(1, 2, 2, 2), (1, 0, 1, 1, 0, 1)), {"mode": mode}, op="pad"),
            Sample(F("pad"), (ints(1, 4), (1, 1)), {"mode": mode}, op="pad", gradient=False),
        )
    ],
]

_X, _W = rand(1, 2, 5, 5), rand(4, 2, 3, 3)

ERRORS: list[ErrorSample] = [
    ErrorSample(F("conv1d"), (rand(3), rand(1, 1, 2)), match="Expected 2D (unbatched) or 3D (batched) input to conv1d"),
    ErrorSample(
        F("conv3d"), (rand(1, 1, 2, 2, 1), rand(1, 1, 3, 1, 1)), match="Kernel size can't be greater than actual input size"
    ),
    ErrorSample(F("conv2d"), (_X, rand(4, 1, 3, 3)), match="to have 1 channels, but got 2 channels instead"),
    ErrorSample(F("conv2d"), (_X, _W, rand(3)), match="expected bias to be 1-dimensional with 4 elements"),
    ErrorSample(F("conv2d"), (_X, _W), {"groups": 3}, match="expected weight to be divisible by 3 at dimension 0"),
    ErrorSample(F("conv2d"), (_X, _W), {"groups": 0}, match="non-positive groups is not supported"),
    ErrorSample(F("conv2d"), (_X, _W), {"stride": 0}, match="non-positive stride is not supported"),
    ErrorSample(F("conv2d"), (_X, _W), {"padding": -1}, match="negative padding is not supported"),
    ErrorSample(F("conv2d"), (_X, _W), {"dilation": 0}, match="dilation should be greater than zero"),
    ErrorSample(F("conv2d"), (_X, _W), {"padding": "most"}, match="Invalid padding string"),
    ErrorSample(F("conv2d"), (_X, _W), {"padding": "same", "stride": 2}, match="padding='same' is not supported for strided"),
    ErrorSample(F("conv2d"), (_X, _W), {"stride": (1, 2, 3)}, match="to be a single integer value or a list of 2 values"),
    ErrorSample(F("conv2d"), (_X, rand(4, 2, 3, 3, dtype="float32")), match="expected scalar type"),
    ErrorSample(F("conv2d"), (bools(1, 1, 2, 2), bools(1, 1, 1, 1)), match="not implemented for"),
    *[
        error
        for name in ("max_pool2d", "avg_pool2d")
        for error in (
            ErrorSample(F(name), (bools(1, 4, 4), 2), match="not implemented for"),
            ErrorSample(F(name), (complexes(1, 4, 4), 2), match="not implemented for"),
            ErrorSample(F(name), (_X, 2), {"padding": 2}, match="at most half of effective kernel size"),
            ErrorSample(F(name), (_X, 2), {"padding": -1}, match="pad must be non-negative"),
            ErrorSample(F(name), (_X, 2), {"stride": 0}, match="stride should not be zero"),
            ErrorSample(F(name), (_X, 7), match="Output size is too small"),
            ErrorSample(F(name), (_X, (2, 2, 2)), match="kernel_size must either be a single int, or a tuple of two ints"),
            ErrorSample(F(name), (rand(2, 0, 4, 4), 2), match="with optional 0 dim batch size for input"),
        )
    ],
    ErrorSample(F("avg_pool3d"), (rand(1, 2, 3, 3), 3), {"padding": 1}, match="smaller than kernel size"),
    ErrorSample(F("max_pool2d"), (_X, 2), {"dilation": 0}, match="dilation should be greater than zero"),
    ErrorSample(F("avg_pool2d"), (_X, 2), {"divisor_override": 0}, match="divisor must be not zero"),
    *[
        ErrorSample(F(f"{kind}_pool1d"), (rand(4), 2), match="max_pool1d: Expected 2D" if kind == "max" else "")
        for kind in ("max", "avg")
    ],
    *[ErrorSample(F(f"{kind}_pool3d"), (_X[0], 6), match="") for kind in ("max", "avg")],
    ErrorSample(F("pad"), (_X, (1,)), match="Padding length must be divisible by 2"),
    ErrorSample(F("pad"), (rand(3), (1, 1, 1, 1)), match="less than or equal to two times the input dimension"),
    ErrorSample(F("pad"), (complexes(3), (1, 1)), {"value": 1j}, TypeError, "must be float, not complex"),
    ErrorSample(F("pad"), (rand(3), (-2, -2)), match="length must be non-negative"),
    ErrorSample(F("pad"), (rand(1, 3), (3, 0)), {"mode": "reflect"}, match="should be less than the corresponding input dimension"),
    ErrorSample(F("pad"), (rand(1, 3), (4, 0)), {"mode": "circular"}, match="wrapping around more than once"),
    ErrorSample(F("pad"), (rand(3), (1, 0)), {"mode": "replicate"}, match="is not supported for 1D input tensor"),
    ErrorSample(F("pad"), (rand(3), (1, 0)), {"mode": "most"}, match="Unrecognised padding mode"),
    ErrorSample(F("pad"), (rand(1, 3), (1, 0), "reflect", 2.0), match="doesn't take in value argument"),
    *[
        ErrorSample(F(f"conv_transpose{n}d"), (rand(1, 2, *[3] * n), rand(3, 1, *[2] * n)), match="to have 3 channels, but got 2")
        for n in (1, 2, 3)
    ],
    ErrorSample(
        F("conv_transpose1d"), (rand(1, 2, 3), rand(2, 1, 2)), {"output_padding": 1}, match="output padding must be smaller"
    ),
    ErrorSample(F("conv_transpose1d"), (rand(1, 2, 3), rand(2, 1, 2), rand(2)), match="expected bias to be 1-dimensional with 1"),
    ErrorSample(F("conv_transpose1d"), (rand(1, 2, 1), rand(2, 1, 2)), {"padding": 1}, match="Output size is too small"),
]
