"""Sampling, bags of embeddings, distances and the connectionist loss: functions of ``telegrad.nn.functional``."""

# pyright: reportPrivateUsage=false
# A tensor has no public method of these names, as in PyTorch.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract import notices
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DerivativeMissingError, ShapeError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.modes import no_grad
from telegrad.contract.shapes import ints, real_number
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.comparison import where as choose
from telegrad.contract.tensor.losses import check_reduction
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=Tensor)

_MOST_POINTS = 2**22
"""Along one dimension of a grid."""

pdist = free(Tensor._pdist)


def grid_sample(input: T, grid: T, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None) -> T:
    """The input at the points of ``grid``; see ``Tensor._grid_sample``. ``align_corners`` is False by default."""
    if align_corners is None:
        notices.default_corners("grid_sample and affine_grid")
    return require_tensor(input, "grid_sample")._grid_sample(grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: T, size: Sequence[int], align_corners: bool | None = None) -> T:
    """Points for ``grid_sample``: those of an output of ``size``, moved by the affine maps ``theta``.

    Shapes: [N, 2, 3] with size (N, C, H, W) -> [N, H, W, 2]; [N, 3, 4] with (N, C, D, H, W) -> [N, D, H, W, 3].
    Raises: ArgumentValueError; NotImplementedError for other numbers of dimensions.
    """
    maps: Any = require_tensor(theta, "affine_grid")
    sizes = ints(size, "size")
    if not maps.dtype.is_floating_point:
        raise ArgumentValueError(f"Expected theta to have floating point type, but got {maps.dtype.name}")
    if len(sizes) not in (4, 5):
        raise DerivativeMissingError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {tuple(sizes)}."
        )
    if align_corners is None:
        notices.default_corners("grid_sample and affine_grid")
    count = len(sizes) - 2
    if len(maps.shape) != 3 or tuple(maps.shape[1:]) != (count, count + 1):
        raise ArgumentValueError(
            f"Expected a batch of {count}D affine matrices of shape Nx{count}x{count + 1} for size {tuple(sizes)}. "
            f"Got {list(maps.shape)}."
        )
    if any(n <= 0 for n in sizes):
        raise ArgumentValueError(f"Expected non-zero, positive output size. Got {tuple(sizes)}")
    if maps.shape[0] != sizes[0]:
        raise ShapeError(f"affine_grid: Expected size to have batch size {maps.shape[0]}, as theta has, but got {sizes[0]}")
    spatial = sizes[2:]
    if max(spatial) > _MOST_POINTS:
        raise ShapeError(f"affine_grid: at most {_MOST_POINTS} points along a dimension, but got {max(spatial)}")
    points: list[Any] = []
    for d in reversed(range(count)):  # x, the last dimension, comes first
        n = spatial[d]
        outer = 1.0 if align_corners else (n - 1) / n
        line = [0.0] if n == 1 else [outer * (2 * i / (n - 1) - 1) for i in range(n)]
        along = maps.new_tensor(line).reshape(tuple([n if e == d else 1 for e in range(count)]))
        points.append(along.expand(spatial).reshape((1, math.prod(spatial), 1)))
    result: Any = maps[:, :, count].unsqueeze(1)
    for d, point in enumerate(points):
        result = result + point * maps[:, :, d].unsqueeze(1)
    return result.reshape((sizes[0], *spatial, count))  # type: ignore[no-any-return]


def refuse_sparse(name: str, sparse: bool) -> None:
    """Refuse gradients that hold only the rows that were used."""
    if sparse:
        raise ArgumentValueError(f"{name}(): telegrad makes no sparse gradients; leave 'sparse' at False")


def renormalise(indices: Any, weight: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows of ``weight`` that are named down to ``max_norm`` where their norm is larger: in place, past its history."""
    bound, order = real_number(max_norm, "max_norm"), real_number(norm_type, "norm_type")
    with no_grad():
        table = require_tensor(weight, "embedding").detach()
        at = indices.reshape((-1,)).to("int64")
        rows = table.index_select(0, at)
        lengths = rows.norm(order, 1, keepdim=True)
        table.index_copy_(0, at, choose(lengths > bound, rows * (bound / (lengths + 1e-7)), rows))


def embedding_bag(
    input: T,
    weight: T,
    offsets: T | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: T | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> T:
    """Sum, mean or maximum of the rows of ``weight`` that each bag of indices names; see ``Tensor._embedding_bag``.

    ``max_norm`` and ``sparse`` as in ``embedding``; ``scale_grad_by_freq`` divides each row's gradient by how often it is named.
    """
    refuse_sparse("embedding_bag", sparse)
    if mode == "max" and scale_grad_by_freq:
        raise ArgumentValueError("max mode does not support scaling the gradient by the frequency")
    indices = require_tensor(input, "embedding_bag")
    if include_last_offset and offsets is None:
        raise ArgumentValueError("offsets has to be a 1D Tensor but got None: include_last_offset needs it")
    if max_norm is not None:
        renormalise(indices, weight, max_norm, norm_type)
    found: Any = indices._embedding_bag(
        weight,
        offsets,
        per_sample_weights,
        mode=mode,
        scale_grad_by_freq=scale_grad_by_freq,
        include_last_offset=include_last_offset,
        padding_idx=padding_idx,
    )
    return found[0]  # type: ignore[no-any-return]


def _lengths(name: str, given: Any) -> tuple[int, ...]:
    if isinstance(given, TensorBase):
        given = given.tolist()  # type: ignore[attr-defined]
    values = (given,) if isinstance(given, int) else given
    if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise ShapeError(f"ctc_loss(): {name} must be integral")
    return ints(values, name)


def ctc_loss(
    log_probs: T,
    targets: T,
    input_lengths: T | Sequence[int],
    target_lengths: T | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> T:
    """Negative log-probability of target sequences under all their alignments; see ``Tensor._ctc_loss``.

    The mean divides each loss by its target's length first. Shapes: [T, N, C] (or [T, C]) log-probabilities, [N, S], [S] or the
    targets one after another, lengths [N] -> [] (or [N]). Lengths given as tensors are read at once.
    """
    x: Any = require_tensor(log_probs, "ctc_loss")
    labels: Any = targets
    check_reduction(reduction)
    first, second = _lengths("input_lengths", input_lengths), _lengths("target_lengths", target_lengths)
    single = len(x.shape) == 2
    if single:
        x = x.unsqueeze(1)
    if not isinstance(targets, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"ctc_loss(): argument 'targets' must be Tensor, not {type(targets).__name__}")
    losses = x._ctc_loss(labels, first, second, blank, zero_infinity)
    if reduction == "mean":
        return (losses / losses.new_tensor([float(max(1, n)) for n in second])).mean()  # type: ignore[no-any-return]
    if reduction == "sum":
        return losses.sum()  # type: ignore[no-any-return]
    return losses.squeeze(0) if single else losses  # type: ignore[no-any-return]
