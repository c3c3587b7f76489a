"""Samples of convolutions, pooling and padding."""

from __future__ import annotations

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


SAMPLES: list[Sample] = [
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
]
