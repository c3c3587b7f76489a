"""Maps of a grid of points to another, one dimension at a time: which input points each output point weighs, and by how much.

Interpolation and adaptive averages are such maps; rules and kernels read them here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DerivativeMissingError,
    ShapeError,
)
from telegrad.contract.ops import Shape

LINEAR: Final = {1: "linear", 2: "bilinear", 3: "trilinear"}
SMOOTH: Final = ("linear", "bilinear", "bicubic", "trilinear")
"""Modes that know ``align_corners``."""
MODES: Final = ("nearest", "nearest-exact", "area", *SMOOTH)


def output_sizes(
    spatial: Shape,
    size: Sequence[int] | None,
    scale_factor: Sequence[float] | None,
    recompute_scale_factor: bool | None,
) -> tuple[Shape, tuple[float, ...] | None]:
    """The output's spatial sizes, and the scales that coordinates are computed with; None: by the sizes.

    Raises ArgumentValueError where not exactly one of size and scale factor is given, or their number does not fit.
    """
    count = len(spatial)
    if size is not None and scale_factor is not None:
        raise ArgumentValueError("only one of size or scale_factor should be defined")
    if size is not None:
        sizes = tuple(size) * count if len(size) == 1 else tuple(size)
        if len(sizes) != count:
            raise ArgumentValueError(
                "Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of "
                f"{list(spatial)} and output size of {tuple(size)}. Please provide input tensor in (N, C, d1, d2, ...,dK) format"
            )
        if recompute_scale_factor:
            raise ArgumentValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return sizes, None
    if scale_factor is None:
        raise ArgumentValueError("either size or scale_factor should be defined")
    scales = tuple(scale_factor)
    if len(scales) != count:
        raise ArgumentValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial dimensions of "
            f"{list(spatial)} and scale_factor of shape {scales}. Please provide one number for all or one for each"
        )
    for scale in scales:
        if not math.isfinite(scale):
            raise ArgumentValueError("scale_factor must be finite numbers")
    found = tuple([int(n * s) for n, s in zip(spatial, scales, strict=True)])
    return found, None if recompute_scale_factor else scales


def check_mode(mode: str, ndim: int, align_corners: bool | None, antialias: bool) -> None:
    """Refuse a mode that does not exist or does not fit a tensor of ``ndim`` dimensions."""
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ArgumentValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if antialias and not (mode in ("bilinear", "bicubic") and ndim == 4):
        raise ArgumentValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    wanted = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}.get(mode)
    if not 3 <= ndim <= 5 or mode not in MODES:
        raise DerivativeMissingError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: {' | '.join(MODES)}"
        )
    if wanted is not None and ndim != wanted:
        raise DerivativeMissingError(f"Got {ndim}D input, but {mode} mode needs {wanted}D input")


def adaptive_sizes(name: str, given: Sequence[int | None] | int | None, shape: Shape, count: int) -> Shape:
    """The output sizes of adaptive pooling over the last ``count`` dimensions of ``shape``; None keeps a size.

    Raises ShapeError, ArgumentTypeError.
    """
    values = (given,) * count if given is None or isinstance(given, int) else tuple(given)
    if len(values) == 1 and count == 1:
        values = tuple(values)
    if len(values) != count:
        word = {1: "one int", 2: "2", 3: "3"}[count]
        raise ShapeError(f"{name}: output_size must be {word} (got {len(values)} values)")
    found: list[int] = []
    for value, n in zip(values, shape[len(shape) - count :], strict=True):
        if value is None:
            found.append(n)
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ArgumentTypeError(f"{name}(): argument 'output_size' must be tuple of ints, found {type(value).__name__}")
        found.append(value.__index__())
    if any(n < 0 for n in found):
        raise ShapeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {found}")
    return tuple(found)
