"""Interpolation, adaptive and power-mean pooling, blocks and shuffles: functions of ``telegrad.nn.functional``."""

# pyright: reportPrivateUsage=false
# A tensor has no public method of these names, as in PyTorch.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract import notices
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DimensionError, ShapeError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.resampling import adaptive_sizes, check_mode, output_sizes
from telegrad.contract.shapes import ints
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.windows import per_dimension

T = TypeVar("T", bound=Tensor)

unfold = free(Tensor._unfold_blocks)
fold = free(Tensor._fold)
pixel_shuffle = free(Tensor._pixel_shuffle)
pixel_unshuffle = free(Tensor._pixel_unshuffle)
channel_shuffle = free(Tensor._channel_shuffle)


def _flag(value: Any, name: str) -> bool | None:
    if value is not None and type(value) is not bool:
        raise ArgumentTypeError(f"interpolate(): argument '{name}' must be bool, not {type(value).__name__}")
    return value


def interpolate(
    input: T,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> T:
    """The input at other spatial sizes, given as they are or by a factor. See ``Tensor._interpolate``.

    Args:
        input: [N, C, L], [N, C, H, W] or [N, C, D, H, W].
        size: the new sizes, one for all or one each.
        scale_factor: new sizes over old ones, one for all or one each, in place of ``size``.
        mode: "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or "area" (means over windows).
        align_corners: whether the corners' centres, rather than their outer edges, lie on each other.
        recompute_scale_factor: compute coordinates by the rounded sizes, not by the factors as given.
        antialias: widen the filter where the output is smaller; for "bilinear" and "bicubic".

    Raises ArgumentValueError for settings that contradict each other, ShapeError for empty sizes; NotImplementedError for a mode
    that does not fit the input.
    """
    x = require_tensor(input, "interpolate")
    sizes = (
        None if size is None else ints(size, "size") if isinstance(size, (tuple, list)) else ints(size, "size") * (len(x.shape) - 2)
    )
    factors = None if scale_factor is None else _factors(scale_factor, max(len(x.shape) - 2, 1))
    align, again = _flag(align_corners, "align_corners"), _flag(recompute_scale_factor, "recompute_scale_factor")
    if sizes is not None and len(sizes) == 1 < len(x.shape) - 2:  # a list of one is no size for all, unlike on the wire
        raise ArgumentValueError(
            "Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of "
            f"{list(x.shape[2:])} and output size of {sizes}"
        )
    if sizes is None or factors is None:
        output_sizes(tuple(x.shape[2:]), sizes, factors, again)
    check_mode(mode, len(x.shape), align, antialias)
    return x._interpolate(sizes, factors, mode, align, again, antialias)


def _factors(given: Any, count: int) -> tuple[float, ...]:
    values = given if isinstance(given, (tuple, list)) else (given,) * count
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ArgumentTypeError(f"interpolate(): argument 'scale_factor' must be tuple of floats, not {type(value).__name__}")
    return tuple([float(v) for v in values])


def upsample(
    input: T,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> T:
    """``interpolate`` by its older name."""
    notices.deprecated("nn.functional.upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def _adaptive(name: str, input: Any, output_size: Any, count: int) -> tuple[Any, tuple[int, ...]]:
    x = require_tensor(input, name)
    if isinstance(output_size, (tuple, list)) and len(x.shape) <= len(output_size) and count > 1:
        raise ArgumentValueError(f"{name}(): Input dimension should be at least {len(output_size) + 1}, got {len(x.shape)}")
    if len(x.shape) < count:
        raise ShapeError(f"{name}(): Expected {count + 1}D or {count + 2}D tensor, but got: {list(x.shape)}")
    return x, adaptive_sizes(name, output_size, tuple(x.shape), count)


def adaptive_avg_pool1d(input: T, output_size: int | Sequence[int]) -> T:
    """Means of ``output_size`` windows that share out the last dimension evenly. See ``Tensor._adaptive_avg_pool1d``."""
    x, sizes = _adaptive("adaptive_avg_pool1d", input, output_size, 1)
    return x._adaptive_avg_pool1d(sizes)  # type: ignore[no-any-return]


def adaptive_avg_pool2d(input: T, output_size: int | Sequence[int | None] | None) -> T:
    """Means of windows that share out the last two dimensions evenly; a size of None keeps the input's."""
    x, sizes = _adaptive("adaptive_avg_pool2d", input, output_size, 2)
    return x._adaptive_avg_pool2d(sizes)  # type: ignore[no-any-return]


def adaptive_avg_pool3d(input: T, output_size: int | Sequence[int | None] | None) -> T:
    """Means of windows that share out the last three dimensions evenly; a size of None keeps the input's."""
    x, sizes = _adaptive("adaptive_avg_pool3d", input, output_size, 3)
    return x._adaptive_avg_pool3d(sizes)  # type: ignore[no-any-return]


def adaptive_max_pool1d_with_indices(input: T, output_size: int | Sequence[int], return_indices: bool = False) -> tuple[T, T]:
    """Largest elements and their places, of windows that share out the last dimension evenly."""
    del return_indices  # they are always returned, as in PyTorch
    x, sizes = _adaptive("adaptive_max_pool1d", input, output_size, 1)
    return x._adaptive_max_pool1d(sizes)  # type: ignore[no-any-return]


def adaptive_max_pool2d_with_indices(
    input: T, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> tuple[T, T]:
    """Largest elements and their places in the flattened plane, of windows that share out the last two dimensions evenly."""
    del return_indices  # they are always returned, as in PyTorch
    x, sizes = _adaptive("adaptive_max_pool2d", input, output_size, 2)
    return x._adaptive_max_pool2d(sizes)  # type: ignore[no-any-return]


def adaptive_max_pool3d_with_indices(
    input: T, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> tuple[T, T]:
    """Largest elements and their places in the flattened volume, of windows that share out the last three dimensions evenly."""
    del return_indices  # they are always returned, as in PyTorch
    x, sizes = _adaptive("adaptive_max_pool3d", input, output_size, 3)
    return x._adaptive_max_pool3d(sizes)  # type: ignore[no-any-return]


def adaptive_max_pool1d(input: T, output_size: int | Sequence[int], return_indices: bool = False) -> T | tuple[T, T]:
    """Largest elements of windows that share out the last dimension evenly, and with ``return_indices`` their places."""
    found = adaptive_max_pool1d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool2d(input: T, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> T | tuple[T, T]:
    """Largest elements of windows that share out the last two dimensions evenly, and with ``return_indices`` their places."""
    found = adaptive_max_pool2d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool3d(input: T, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> T | tuple[T, T]:
    """Largest elements of windows that share out the last three dimensions evenly, and with ``return_indices`` their places."""
    found = adaptive_max_pool3d_with_indices(input, output_size)
    return found if return_indices else found[0]


def _unpool(name: str, input: Any, indices: Any, count: int, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Any:
    x = require_tensor(input, name)
    kernel = per_dimension(ints(kernel_size, "kernel_size"), count, "kernel_size")
    steps = kernel if stride is None else per_dimension(ints(stride, "stride"), count, "stride")
    margins = per_dimension(ints(padding, "padding"), count, "padding")
    if len(x.shape) < count:
        raise DimensionError(f"{name}(): expected an input of at least {count} dimensions, got shape {list(x.shape)}")
    spatial = tuple(x.shape[len(x.shape) - count :])
    usual = tuple([(n - 1) * s + k - 2 * p for n, s, k, p in zip(spatial, steps, kernel, margins, strict=True)])
    if output_size is None:
        sizes = usual
    else:
        sizes = ints(output_size, "output_size")
        if len(sizes) == count + 2:
            sizes = sizes[2:]
        if len(sizes) != count:
            raise ArgumentValueError(
                f"output_size should be a sequence containing {count} or {count + 2} elements, but it has '{len(sizes)}'"
            )
        for d, (n, m, s) in enumerate(zip(sizes, usual, steps, strict=True)):
            if not m - s < n < m + s:
                raise ArgumentValueError(f"invalid output_size '{list(sizes)}' (dim {d} must be between {m - s} and {m + s})")
    return getattr(x, f"_{name}")(indices, output_size=sizes)


def max_unpool1d(
    input: T,
    indices: T,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> T:
    """The elements back at the places that ``max_pool1d`` found them at, zeros elsewhere; ``output_size`` decides between sizes
    that pool to the same. Raises ArgumentValueError for one that does not, ShapeError for a place outside.
    """
    return _unpool("max_unpool1d", input, indices, 1, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


def max_unpool2d(
    input: T,
    indices: T,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> T:
    """The elements back at the places that ``max_pool2d`` found them at, zeros elsewhere; see ``max_unpool1d``."""
    return _unpool("max_unpool2d", input, indices, 2, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


def max_unpool3d(
    input: T,
    indices: T,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> T:
    """The elements back at the places that ``max_pool3d`` found them at, zeros elsewhere; see ``max_unpool1d``."""
    return _unpool("max_unpool3d", input, indices, 3, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


def _power_mean(name: str, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool, count: int) -> Any:
    """The p-norm of each window: the mean of powers, times the window's size, its root; as PyTorch has it for odd p."""
    x: Any = require_tensor(input, name)
    kernel = ints(kernel_size, "kernel_size")
    area = math.prod(kernel * count if len(kernel) == 1 else kernel)
    means = getattr(x**norm_type, f"avg_pool{count}d")(kernel, stride, 0, ceil_mode)
    return (means.sign() * means.abs().relu() * area) ** (1.0 / norm_type)


def lp_pool1d(
    input: T,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> T:
    """The ``norm_type``-norm of each window of sequences."""
    return _power_mean("lp_pool1d", input, norm_type, kernel_size, stride, ceil_mode, 1)  # type: ignore[no-any-return]


def lp_pool2d(
    input: T,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> T:
    """The ``norm_type``-norm of each window of images."""
    return _power_mean("lp_pool2d", input, norm_type, kernel_size, stride, ceil_mode, 2)  # type: ignore[no-any-return]


def lp_pool3d(
    input: T,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> T:
    """The ``norm_type``-norm of each window of volumes."""
    return _power_mean("lp_pool3d", input, norm_type, kernel_size, stride, ceil_mode, 3)  # type: ignore[no-any-return]


def local_response_norm(input: T, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> T:
    """``x / (k + alpha * mean of x ** 2 over size neighbouring channels) ** beta``. Source: Krizhevsky (2012), section 3.3."""
    x: Any = require_tensor(input, "local_response_norm")
    if len(x.shape) < 3:
        raise ArgumentValueError(f"Expected 3D or higher dimensionality input (got {len(x.shape)} dimensions)")
    if not math.prod(x.shape):
        return x  # type: ignore[no-any-return]
    batch, channels = x.shape[:2]
    squares = (x * x).reshape(batch, 1, channels, math.prod(x.shape[2:]))
    means = squares.pad((0, 0, size // 2, (size - 1) // 2)).avg_pool2d((size, 1), 1).reshape(x.shape)
    return x / (means * alpha + k) ** beta  # type: ignore[no-any-return]
