"""Pooling over windows whose places are drawn at random, and pooling with positions under the names that say so."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from telegrad.contract.functions.free import require_tensor
from telegrad.contract.shapes import ints
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.windows import per_dimension

T = TypeVar("T", bound=Tensor)

__all__ = [
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
]


def _sizes(name: str, spatial: Sequence[int], output_size: Any, output_ratio: Any) -> tuple[int, ...]:
    count = len(spatial)
    if output_size is not None:
        return per_dimension(ints(output_size, "output_size"), count, "output_size")
    if output_ratio is None:
        raise ArgumentValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if not isinstance(output_ratio, (tuple, list)):
        raise ArgumentTypeError(f"{name}(): output_ratio must be {count} numbers, not {type(output_ratio).__name__}")
    ratios: list[Any] = list(cast("Any", output_ratio))
    if len(ratios) != count:
        raise ArgumentValueError(f"{name} requires output_ratio to be a tuple of {count} numbers, got {len(ratios)}")
    return tuple([int(n * r) for n, r in zip(spatial, ratios, strict=True)])


def _starts(draws: Any, size: int, window: int, out: int, like: Any) -> Any:
    """Where the windows begin: [n, c] numbers of [0, 1) -> [n, c, out]; Graham's pseudorandom sequence, the last at the end."""
    last = like.new_full((*draws.shape, 1), size - window, dtype="int64")
    if out < 2:
        return last.narrow(-1, 0, out)
    alpha = (size - window) / (out - 1)
    steps = draws.new_full((out - 1,), 1).cumsum(0) - 1
    begun = ((draws.unsqueeze(-1) + steps) * alpha).to("int64") - (draws * alpha).to("int64").unsqueeze(-1)
    return begun._apply("cat", begun, last, dim=-1)


def _fractional(
    name: str, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, random_samples: Any, count: int
) -> tuple[Any, Any]:
    """The largest of each window and where in its plane it stands. Source: Graham (2014), arXiv:1412.6071."""
    x = require_tensor(input, name)
    if len(x.shape) not in (count + 1, count + 2) or 0 in x.shape[-count - 1 :]:
        raise ShapeError(f"{name}(): Expected {count + 1}D or {count + 2}D tensor with non-zero sizes, but got: {list(x.shape)}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"{name}(): expected a floating point tensor, got {x.dtype.name}; convert it with .to(...)")
    kernel = per_dimension(ints(kernel_size, "kernel_size"), count, "kernel_size")
    spatial = tuple(x.shape[-count:])
    sizes = _sizes(name, spatial, output_size, output_ratio)
    for n, k, out in zip(spatial, kernel, sizes, strict=True):
        if k < 1 or out < 0 or out + k - 1 > n - (count == 3):  # PyTorch's bound for volumes is one lower
            raise ShapeError(f"{name}(): pool size {k} with output size {out} too large relative to input size {n}")
    planes = x if len(x.shape) == count + 2 else x.unsqueeze(0)
    draws = random_samples
    if draws is None:
        draws = planes.detach().new_zeros((*planes.shape[:2], count)).rand_like()
    elif not isinstance(draws, Tensor):
        raise ArgumentTypeError(f"{name}(): argument '_random_samples' must be Tensor, not {type(draws).__name__}")
    elif draws.dtype is not x.dtype:
        raise DTypeError(f"Expect _random_samples to have the same dtype as input, got {draws.dtype.name} and {x.dtype.name}")
    elif tuple(draws.shape) != (*planes.shape[:2], count):
        raise ShapeError(f"Expect _random_samples of shape {[*planes.shape[:2], count]}, got {list(draws.shape)}")
    at: Any = 0
    for d, (n, k, out) in enumerate(zip(spatial, kernel, sizes, strict=True)):
        # In PyTorch the first number is for the columns of an image, and for the depth of a volume.
        begun = _starts(draws.select(-1, 1 - d if count == 2 else d), n, k, out, planes.detach())
        within = planes.new_full((k,), 1, dtype="int64").cumsum(0) - 1
        places = begun.unsqueeze(-1) + within  # [n, c, out, k]
        alone = [*planes.shape[:2], *[1] * (2 * count)]
        alone[2 + d], alone[2 + count + d] = out, k
        at = at * n + places.reshape(alone)
    windows = at.flatten(2 + count).flatten(2, 1 + count)  # [n, c, outs, elements]
    flat = planes.flatten(2)
    found = flat.gather(2, windows.flatten(2)).reshape(windows.shape).max(-1)
    where = windows.gather(-1, found.indices.unsqueeze(-1))
    shape = (*planes.shape[:2], *sizes)
    values, indices = found.values.reshape(shape), where.reshape(shape)
    return (values, indices) if planes is x else (values.squeeze(0), indices.squeeze(0))


def fractional_max_pool2d_with_indices(
    input: T,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: Sequence[float] | None = None,
    return_indices: bool = False,  # noqa: ARG001 - the positions come anyway, as in PyTorch
    _random_samples: T | None = None,
) -> tuple[T, T]:
    """``fractional_max_pool2d``, and where in its plane each element stands (int64)."""
    return _fractional("fractional_max_pool2d", input, kernel_size, output_size, output_ratio, _random_samples, 2)


def fractional_max_pool2d(
    input: T,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: T | None = None,
) -> Any:
    """The largest element of windows that are drawn at random, so many that ``output_size``, or ``output_ratio`` of the input's,
    comes out; with ``return_indices`` also where they stand.

    Shapes: [(n,) c, h, w] -> [(n,) c, *output_size]. Raises ArgumentValueError without a size, ShapeError where windows do not fit.
    Source: Graham (2014), arXiv:1412.6071.
    """
    found = fractional_max_pool2d_with_indices(input, kernel_size, output_size, output_ratio, True, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d_with_indices(
    input: T,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: Sequence[float] | None = None,
    return_indices: bool = False,  # noqa: ARG001 - the positions come anyway, as in PyTorch
    _random_samples: T | None = None,
) -> tuple[T, T]:
    """``fractional_max_pool3d``, and where in its volume each element stands (int64)."""
    return _fractional("fractional_max_pool3d", input, kernel_size, output_size, output_ratio, _random_samples, 3)


def fractional_max_pool3d(
    input: T,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: T | None = None,
) -> Any:
    """``fractional_max_pool2d`` of volumes. Shapes: [(n,) c, t, h, w] -> [(n,) c, *output_size]."""
    found = fractional_max_pool3d_with_indices(input, kernel_size, output_size, output_ratio, True, _random_samples)
    return found if return_indices else found[0]


def _with_indices(name: str) -> Any:
    """``max_pool1d`` and so on with ``return_indices``."""

    def pool(
        input: T,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,  # noqa: ARG001 - the positions come anyway, as in PyTorch
    ) -> tuple[T, T]:
        found: tuple[T, T] = getattr(require_tensor(input, name), name)(kernel_size, stride, padding, dilation, ceil_mode)
        return found

    pool.__name__ = pool.__qualname__ = f"{name}_with_indices"
    pool.__doc__ = f"""``{name}``, and where in its plane each element stands (int64)."""
    return pool


max_pool1d_with_indices = _with_indices("max_pool1d")
max_pool2d_with_indices = _with_indices("max_pool2d")
max_pool3d_with_indices = _with_indices("max_pool3d")
