"""Samples of interpolation, adaptive pooling, unpooling, sliding blocks and shuffles."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


_INFINITE = np.where(rand(1, 1, 3, 3) > 1, np.inf, rand(1, 1, 3, 3))
_PLACES = {1: np.array([[[1, 2, 5]]]), 2: np.array([[[[0, 3], [9, 15]]]]), 3: np.array([[[[[1]], [[6]]]]])}
_PLANE = rand(1, 2, 3, 4)


def _interpolate(*args: object, note: str = "", **settings: object) -> Sample:
    return Sample(F("interpolate"), args, settings, op="interpolate", note=note)


SAMPLES: list[Sample] = [
    *[
        Sample(
            F(f"fractional_max_pool{d}d"),
            (rand(*batch, 2, *sizes), kernel),
            {"output_size": out, "return_indices": True, "_random_samples": rand(*(batch or (1,)), 2, d, low=0.0, high=1.0)},
            float32=False,
            second=False,
        )
        for d, batch, sizes, kernel, out in (
            (2, (2,), (7, 8), 2, 3),
            (2, (), (6, 5), (3, 2), (1, 4)),
            (3, (1,), (5, 4, 7), (2, 1, 3), (2, 3, 4)),
            (3, (), (4, 4, 4), 2, 2),
        )
    ],
    Sample(F("fractional_max_pool2d"), (rand(1, 2, 6, 7), 2), {"output_ratio": (0.5, 0.4)}, random=True, second=False),
    Sample(F("max_pool2d_with_indices"), (rand(1, 2, 6, 7), 2), second=False),
    *[
        Sample(
            F("interpolate"),
            (ints(1, 3, 7, 6, low=0, high=256, dtype="uint8"),),
            {"mode": mode, **settings},
            op="interpolate",
            gradient=False,
            note="bytes",
        )
        for mode in ("bilinear", "bicubic")
        for settings in ({"scale_factor": 1.7}, {"size": (4, 9), "align_corners": True}, {"size": (3, 4), "antialias": True})
    ],
    _interpolate(rand(2, 2, 3), 5),
    _interpolate(rand(1, 2, 3, 4), (5, 3)),
    _interpolate(rand(1, 1, 2, 3, 2), scale_factor=2.0),
    _interpolate(rand(1, 1, 5), scale_factor=1.7, mode="nearest-exact"),
    _interpolate(rand(1, 1, 4), scale_factor=1.6, mode="linear"),
    _interpolate(rand(1, 1, 4), 7, mode="linear", align_corners=True),
    _interpolate(rand(1, 1, 4), scale_factor=1.6, mode="linear", recompute_scale_factor=True),
    _interpolate(_PLANE, (5, 2), mode="bilinear"),
    _interpolate(_PLANE, (1, 7), mode="bilinear", align_corners=True),
    _interpolate(rand(1, 1, 6, 5), (3, 2), mode="bilinear", antialias=True),
    _interpolate(_PLANE, (5, 6), mode="bicubic"),
    _interpolate(_PLANE, (2, 3), mode="bicubic", align_corners=True),
    _interpolate(rand(1, 1, 6, 5), (3, 2), mode="bicubic", antialias=True),
    _interpolate(rand(1, 1, 2, 3, 2), (3, 2, 4), mode="trilinear"),
    _interpolate(rand(1, 1, 5, 4), (2, 3), mode="area"),
    Sample(F("interpolate"), (_INFINITE, (6, 6)), {"mode": "bilinear"}, op="interpolate", gradient=False, note="infinite"),
    Sample(F("interpolate"), (ints(1, 1, 3, dtype="uint8", low=0), 5), op="interpolate", gradient=False),
    Sample(F("upsample"), (rand(1, 1, 3),), {"scale_factor": 2, "mode": "linear"}, op="interpolate"),
    *[
        sample
        for count, shape, size in ((1, (2, 2, 5), 3), (2, (2, 5, 4), (2, 3)), (3, (1, 2, 3, 4, 2), (2, 3, 1)))
        for sample in (
            Sample(F(f"adaptive_avg_pool{count}d"), (rand(*shape), size), op=f"adaptive_avg_pool{count}d"),
            Sample(F(f"adaptive_max_pool{count}d"), (rand(*shape), size), op=f"adaptive_max_pool{count}d"),
            Sample(F(f"adaptive_max_pool{count}d"), (rand(*shape), 2, True), op=f"adaptive_max_pool{count}d"),
        )
    ],
    Sample(F("adaptive_avg_pool2d"), (rand(1, 2, 3, 4), (None, 6)), op="adaptive_avg_pool2d"),
    Sample(F("adaptive_avg_pool2d"), (rand(0, 2, 3, 4), 2), op="adaptive_avg_pool2d"),
    Sample(F("adaptive_max_pool2d_with_indices"), (rand(1, 2, 3, 4), (None, 2)), op="adaptive_max_pool2d"),
    Sample(F("adaptive_max_pool2d"), (np.zeros((1, 3, 3)), 2, True), op="adaptive_max_pool2d", differences=False, note="ties"),
    Sample(
        F("adaptive_max_pool1d"), (np.array([[1.0, np.nan, 3.0]]), 2, True), op="adaptive_max_pool1d", gradient=False, note="NaN"
    ),
    Sample(F("max_unpool1d"), (rand(1, 1, 3), _PLACES[1], 2), op="max_unpool1d"),
    Sample(F("max_unpool2d"), (rand(1, 1, 2, 2), _PLACES[2], 2), op="max_unpool2d"),
    Sample(F("max_unpool2d"), (rand(1, 1, 2, 2), _PLACES[2], 2, 2, 0, (5, 4)), op="max_unpool2d"),
    Sample(F("max_unpool3d"), (rand(1, 1, 2, 1, 1), _PLACES[3], (1, 2, 2)), {"stride": 2}, op="max_unpool3d"),
    Sample(F("unfold"), (rand(2, 2, 3, 4), (2, 3)), op="unfold.blocks"),
    Sample(F("unfold"), (rand(2, 4, 5), 2), {"dilation": (2, 1), "padding": 1, "stride": (1, 2)}, op="unfold.blocks"),
    Sample(F("unfold"), (complexes(1, 1, 3, 3), 2), op="unfold.blocks"),
    Sample(F("fold"), (rand(2, 8, 6), (3, 4), 2), op="fold"),
    Sample(F("fold"), (rand(4, 9), 4, 2), {"stride": 2, "padding": 1}, op="fold"),
    Sample(F("pixel_shuffle"), (rand(2, 8, 2, 3), 2), op="pixel_shuffle"),
    Sample(F("pixel_shuffle"), (ints(4, 1, 2), 2), op="pixel_shuffle", gradient=False),
    Sample(F("pixel_unshuffle"), (rand(2, 2, 4, 6), 2), op="pixel_unshuffle"),
    Sample(F("channel_shuffle"), (rand(2, 6, 2), 3), op="channel_shuffle"),
    # Made of other ops
    Sample(F("lp_pool1d"), (rand(1, 2, 5, low=0.1), 2, 2), op="avg_pool1d"),
    Sample(F("lp_pool2d"), (rand(2, 4, 5, low=0.1), 1.5, (2, 3)), {"ceil_mode": True}, op="avg_pool2d"),
    Sample(F("lp_pool3d"), (rand(1, 1, 3, 2, 4, low=0.1), 3.0, 2), {"stride": 1}, op="avg_pool3d"),
    Sample(F("local_response_norm"), (rand(2, 4, 3), 3), {"alpha": 0.3, "k": 1.5}, op="avg_pool2d"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample(F("fractional_max_pool2d"), (rand(1, 2, 6, 7), 4, 5), error=RuntimeError, match="too large"),
    ErrorSample(
        F("fractional_max_pool2d"), (rand(1, 2, 6, 7), 2), error=ValueError, match="either an output_size or an output_ratio"
    ),
    ErrorSample(F("fractional_max_pool2d"), (rand(1, 2, 6, 7), 2), {"output_ratio": (0.5, 1.5)}, error=RuntimeError, match="large"),
    ErrorSample(F("fractional_max_pool3d"), (rand(1, 2, 6, 7, 4), 2), {"output_size": 3}, error=RuntimeError, match="too large"),
    ErrorSample(F("interpolate"), (_PLANE,), error=ValueError, match="either size or scale_factor should be defined"),
    ErrorSample(F("interpolate"), (_PLANE, 3, 2.0), error=ValueError, match="only one of size or scale_factor"),
    ErrorSample(F("interpolate"), (_PLANE, (3,)), error=ValueError, match="same number of spatial dimensions"),
    ErrorSample(F("interpolate"), (_PLANE, 3), {"align_corners": True}, ValueError, "only be set with the interpolating modes"),
    ErrorSample(F("interpolate"), (_PLANE, 3), {"antialias": True}, ValueError, "Anti-alias option is restricted"),
    ErrorSample(F("interpolate"), (_PLANE, 3), {"mode": "linear"}, NotImplementedError, "but linear mode needs 3D input"),
    ErrorSample(F("interpolate"), (rand(2, 3), 3), error=NotImplementedError, match="Only 3D, 4D and 5D input Tensors supported"),
    ErrorSample(F("interpolate"), (_PLANE, 0), match="sizes should be greater than 0"),
    ErrorSample(F("interpolate"), (ints(1, 1, 3), 2), error=NotImplementedError, match="not implemented for"),
    *[ErrorSample(F(f"adaptive_{kind}_pool{n}d"), (rand(3), 2)) for kind in ("avg", "max") for n in (1, 2, 3)],
    ErrorSample(F("adaptive_avg_pool2d"), (_PLANE, (2, -1)), match="must be greater than or equal to 0"),
    ErrorSample(F("adaptive_avg_pool2d"), (rand(1, 2, 0, 3), 2), match="non-zero size for non-batch dimensions"),
    ErrorSample(F("adaptive_max_pool2d"), (ints(1, 3, 3), 2), error=NotImplementedError, match="not implemented for"),
    *[
        ErrorSample(F(f"max_unpool{n}d"), (rand(1, 1, *[2] * n), ints(1, 1, *[1] * n, low=0), 2), match="same as that of the input")
        for n in (1, 2, 3)
    ],
    ErrorSample(F("max_unpool2d"), (rand(1, 1, 2, 2), _PLACES[2], 1), match="Found an invalid max index"),
    ErrorSample(
        F("max_unpool2d"), (rand(1, 1, 2, 2), _PLACES[2], 2), {"output_size": (9, 9)}, ValueError, match="invalid output_size"
    ),
    ErrorSample(F("unfold"), (rand(1, 1, 3, 3), 4), match="calculated shape of the array of sliding blocks"),
    ErrorSample(F("unfold"), (rand(3, 3), 2), error=IndexError, match="Expected 3D or 4D"),
    ErrorSample(F("fold"), (rand(2, 7, 6), (3, 4), 2), match="divisible by the product of kernel_size"),
    ErrorSample(F("fold"), (rand(2, 8, 5), (3, 4), 2), match="calculated number of sliding blocks"),
    ErrorSample(F("pixel_shuffle"), (rand(3, 2, 2), 2), match="divisible by the square of upscale_factor"),
    ErrorSample(F("pixel_unshuffle"), (rand(3, 3, 2), 2), match="height to be divisible by downscale_factor"),
    ErrorSample(F("channel_shuffle"), (rand(1, 3, 2), 2), match="must be divisible by groups"),
    ErrorSample(F("local_response_norm"), (rand(2, 3), 2), error=ValueError, match="Expected 3D or higher"),
]
