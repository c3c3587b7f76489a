"""Kernels and derivatives of losses over many classes."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from telegrad.contract.errors import IndexBoundsError
from telegrad_service.engine import sums
from telegrad_service.engine.formulas import F
from telegrad_service.engine.normalisation import BLOCK, blocks
from telegrad_service.engine.rules.nn import log_softmax, wide
from telegrad_service.engine.table import Array, derivative, joint_derivative, keeping, kernel


def _class_axis(ndim: int) -> int:
    return 1 if ndim > 1 else 0


def _cells(shape: tuple[int, ...], target: Array, ignore_index: int) -> tuple[Any, Array | None]:
    """Where each sample's class lies in scores of ``shape`` seen as [N, C, rest], and which samples count (None: all).

    Raises IndexBoundsError for a class that does not exist.
    """
    axis = _class_axis(len(shape))
    samples, classes, rest = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    flat = target.reshape(samples, rest)
    kept: Array | None = None
    if 0 <= ignore_index < classes or (flat.size and (flat.min() < 0 or flat.max() >= classes)):
        counts = np.asarray(flat != ignore_index)
        flat = np.where(counts, flat, 0)
        kept = None if counts.all() else counts
        if flat.size and (flat.min() < 0 or flat.max() >= classes):
            raise IndexBoundsError(f"Target is out of bounds: class indices must be in [0, {classes}), or ignore_index")
    return (np.arange(samples)[:, None], flat, np.arange(rest)), kept


def _as_classes(x: Array) -> Array:
    axis = _class_axis(x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


@kernel("_pick_class")
def _pick_class(self: Array, target: Array, ignore_index: int) -> Array:
    cells, kept = _cells(self.shape, target, ignore_index)
    picked: Array = _as_classes(self)[cells]
    if kept is not None:
        picked[~kept] = 0
    return picked.reshape(target.shape)


@kernel("_spread_class")
def _spread_class(self: Array, target: Array, shape: tuple[int, ...], ignore_index: int) -> Array:
    cells, kept = _cells(shape, target, ignore_index)
    result = np.zeros(shape, self.dtype)
    values = np.broadcast_to(self, target.shape).reshape(cells[1].shape)
    _as_classes(result)[cells] = values if kept is None else np.where(kept, values, 0)
    return result


derivative(
    "_pick_class",
    self=lambda g, target, self_shape, ignore_index: F._spread_class(g, target, shape=self_shape, ignore_index=ignore_index),
)
derivative("_spread_class", self=lambda g, target, ignore_index: F._pick_class(g, target, ignore_index=ignore_index))


@kernel("_class_weights")
def _class_weights(self: Array, like: Array, weight: Array | None, ignore_index: int) -> Array:
    kept = self != ignore_index
    if weight is None:
        return np.asarray(kept).astype(like.dtype)
    return np.where(kept, weight[np.where(kept, self, 0)], 0)


def _weighted(losses: Array, weights: Array, reduction: str) -> Any:
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / weights.sum()


@kernel("nll_loss")
def _nll_loss(self: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str) -> Any:
    picked = -_pick_class(wide(self), target, ignore_index)
    weights = _class_weights(target, picked, weight, ignore_index)
    return _shaped(_weighted(picked * weights, weights, reduction), self, reduction)


def _shaped(losses: Any, scores: Array, reduction: str) -> Any:
    """Losses of one unbatched sample are 0-d, whether its target is [] or [1]."""
    return np.reshape(losses, ()) if reduction == "none" and scores.ndim == 1 else losses


def _sample_scale(g: Any, target: Any, weights: Any, reduction: str) -> Any:
    """The gradient of each sample's own loss: its share of the result, times its weight."""
    if reduction == "none":
        return F.reshape(g, shape=target.shape) * weights
    if reduction != "mean":
        return g * weights
    total = F.sum(weights)
    return g / (total + (total == 0)) * weights  # where every sample is ignored, all gradients are zero, as in PyTorch


def _nll_gradient(g: Any, self: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    weights = F._class_weights(target, self, weight, ignore_index=ignore_index)
    scale = -_sample_scale(g, target, weights, reduction)
    return F._spread_class(scale, target, shape=self.shape, ignore_index=ignore_index)


derivative("nll_loss", self=_nll_gradient)


def _along_classes(weight: Any, ndim: int) -> Any:
    """Class weights [C], shaped to broadcast against scores of ``ndim`` dimensions."""
    return F.reshape(weight, shape=(weight.shape[0],) + (1,) * (ndim - 2)) if ndim > 2 else weight


Samples: TypeAlias = "tuple[Array, Array, Array | None]"
"""Each sample's greatest score, the sum of the exponentials of its scores less that, and which samples count; None: all."""


def _exponentials(x: Array, at: Any) -> tuple[Array, Array, Array]:
    """Along dimension 1: the greatest score, the sum of the exponentials of scores less that, and the scores ``at`` less that."""
    top = np.maximum.reduce(x, axis=1, keepdims=True)
    shifted = x - top
    picked = shifted[at]
    np.exp(shifted, out=shifted)
    return top[:, 0], sums.of_rows(shifted) if shifted.ndim == 2 else shifted.sum(axis=1), picked


def _as_matrix(x: Array) -> Array:
    """Scores as [N, C], or [N, C, rest] where a sample has more than one place."""
    if x.ndim == 2:
        return x
    scores = _as_classes(x)
    return scores[:, :, 0] if scores.shape[2] == 1 else scores


def _by_blocks(x: Array, target: Array, ignore_index: int) -> tuple[Array, Array, Array | None, Sequence[tuple[slice, Any]]]:
    """Scores and target classes as [N, C] and [N], or [N, C, rest] and [N, rest]; which samples count; slices with their index."""
    plain = x.ndim == 2 and x.size <= BLOCK and not 0 <= ignore_index < x.shape[1] and target.dtype == np.int64
    if plain and np.maximum.reduce(target.view(np.uint64), axis=None) < x.shape[1]:  # as unsigned, numbers below 0 are the greatest
        rows = len(x)
        classes = target.reshape(rows)
        return x, classes, None, ((slice(0, rows), (np.arange(rows), classes)),)
    cells, kept = _cells(x.shape, target, ignore_index)
    scores, classes = _as_matrix(x), cells[1]
    if scores.ndim == 2:
        classes = classes[:, 0]
        return scores, classes, kept, [(b, (np.arange(b.stop - b.start), classes[b])) for b in blocks(*scores.shape)]
    size = scores.shape[1] * scores.shape[2]
    return scores, classes, kept, [(b, (cells[0][: b.stop - b.start], classes[b], cells[2])) for b in blocks(len(scores), size)]


def _class_costs(x: Array, target: Array, ignore_index: int) -> tuple[Array, Samples | None]:
    """The negative log-probability of each sample's class, a block of samples at a time; 0 for ignored samples.

    Also what was found on the way; None where there are no scores.
    """
    if not x.size:
        return -_pick_class(x, target, ignore_index), None
    scores, classes, kept, where = _by_blocks(x, target, ignore_index)
    if len(where) == 1:
        tops, totals, picked = _exponentials(scores, where[0][1])
        costs = np.log(totals)
        costs -= picked
    else:
        costs, tops, totals = (np.empty(classes.shape, x.dtype) for _ in range(3))
        for block, at in where:
            tops[block], totals[block], picked = _exponentials(scores[block], at)
            np.subtract(np.log(totals[block]), picked, out=costs[block])
    costs = costs.reshape(target.shape)
    if kept is not None:
        costs[~kept.reshape(target.shape)] = 0
    return costs, (tops, totals, kept)


def _class_slopes(x: Array, target: Array, scale: Array, ignore_index: int, samples: Samples | None) -> Array:
    """``scale * (softmax(x) - 1 at the target)``, a block of samples at a time; ``scale`` is zero for ignored samples.

    ``scale`` has the target's shape, or none where it is the same for all. ``samples`` is what ``_class_costs`` found, or None.
    """
    result = np.empty(x.shape, x.dtype)
    if not x.size:
        return result
    scores, classes, _, where = _by_blocks(x, target, ignore_index)
    out = result.reshape(scores.shape)
    scale = scale.reshape(classes.shape) if scale.shape else scale
    for block, at in where:
        part, factor = out[block], scale[block] if scale.shape else scale
        top, total = _exponentials(scores[block], at)[:2] if samples is None else (samples[0][block], samples[1][block])
        np.subtract(scores[block], top[:, None], out=part)
        np.exp(part, out=part)
        part *= (factor / total)[:, None]
        part[at] -= factor
    return result


@kernel("cross_entropy")
def _cross_entropy(
    self: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    axis = _class_axis(self.ndim)
    if self.shape != target.shape and not label_smoothing:
        return _of_classes(self, target, weight, ignore_index, reduction)[0]
    logs = log_softmax(self, axis)
    if self.shape == target.shape:
        goal = target if not label_smoothing else _smoothed(target, label_smoothing, self.shape[axis])
        terms = logs * goal
        if weight is not None:
            terms *= _along_classes(weight, self.ndim)
        losses = np.asarray(-terms.sum(axis=axis))
        if reduction == "mean":
            return losses.sum() / _samples(self.shape)
        return losses if reduction == "none" else losses.sum()
    picked = -_pick_class(logs, target, ignore_index)
    weights = _class_weights(target, picked, weight, ignore_index)
    losses = picked * weights
    if label_smoothing:
        terms = logs if weight is None else logs * _along_classes(weight, self.ndim)
        smooth = np.where(target != ignore_index, -terms.sum(axis=axis).reshape(target.shape), 0)
        losses = (1 - label_smoothing) * losses + label_smoothing / self.shape[axis] * smooth
    return _shaped(_weighted(losses, weights, reduction), self, reduction)


def _of_classes(self: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str) -> tuple[Any, Samples | None]:
    """The loss for target classes, and what ``_class_costs`` says of the samples."""
    costs, samples = _class_costs(wide(self), target, ignore_index)
    if weight is None and samples is not None and samples[2] is None:  # every sample counts, as one
        if reduction != "none":
            total = np.add.reduce(costs, axis=None)
            return total if reduction == "sum" else total / costs.size, samples
        return _shaped(costs, self, reduction), samples
    weights = _class_weights(target, costs, weight, ignore_index)
    return _shaped(_weighted(costs * weights, weights, reduction), self, reduction), samples


@keeping("cross_entropy", "samples")
def _cross_entropy_keeping(
    self: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str, label_smoothing: float
) -> tuple[Any, tuple[Samples | None]]:
    if self.shape != target.shape and not label_smoothing:
        loss, samples = _of_classes(self, target, weight, ignore_index, reduction)
        return loss, (samples,)
    return _cross_entropy(self, target, weight, ignore_index, reduction, label_smoothing), (None,)


def _smoothed(target: Any, smoothing: float, classes: int) -> Any:
    return target * (1 - smoothing) + smoothing / classes


def _samples(shape: tuple[int, ...]) -> int:
    """How many samples scores of ``shape`` hold: what the mean over class probabilities divides by."""
    axis = _class_axis(len(shape))
    return math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])


@joint_derivative("cross_entropy", "self", "target", "weight")
def _cross_entropy_gradient(
    g: Any,
    self: Any,
    target: Any,
    weight: Any,
    samples: Samples | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    needs: tuple[bool, bool, bool],
) -> Any:
    if samples is not None and samples[2] is None and weight is None and self.dtype != np.float16:
        scale = g / target.size if reduction == "mean" else g
        return _class_slopes(self, target, np.asarray(scale), ignore_index, samples), None, None
    if self.shape == target.shape:
        return _probability_gradient(g, self, target, weight, reduction, label_smoothing, needs)
    axis = _class_axis(self.ndim)
    weights = F._class_weights(target, self, weight, ignore_index=ignore_index)
    scale = _sample_scale(g, target, weights, reduction)
    if not label_smoothing:
        if scale.__class__ is np.ndarray and self.dtype != np.float16:
            return _class_slopes(self, target, scale, ignore_index, samples), None, None
        goal = F._spread_class(scale, target, shape=self.shape, ignore_index=ignore_index)
        return F.softmax(self, dim=axis) * _at_classes(scale, self, axis) - goal, None, None
    # Smoothing gives every class of a sample that counts a share of the sample's unweighted gradient.
    plain = F._class_weights(target, self, None, ignore_index=ignore_index)
    if reduction == "mean":
        even = g / F.sum(weights) * plain
    else:
        even = (F.reshape(g, shape=target.shape) if reduction == "none" else g) * plain
    even = _at_classes(even, self, axis) * (label_smoothing / self.shape[axis])
    if weight is None:
        total = _at_classes(scale, self, axis) * (1 - label_smoothing) + even * self.shape[axis]
    else:
        total = _at_classes(scale, self, axis) * (1 - label_smoothing) + even * F.sum(weight)
        even = even * _along_classes(weight, self.ndim)
    goal = F._spread_class(scale * (1 - label_smoothing), target, shape=self.shape, ignore_index=ignore_index) + even
    return F.softmax(self, dim=axis) * total - goal, None, None


def _at_classes(scale: Any, scores: Any, axis: int) -> Any:
    """A number per sample, shaped to broadcast along the classes."""
    if scores.ndim == 1:
        return F.reshape(scale, shape=(1,))
    return F.unsqueeze(scale, dim=axis)


def _probability_gradient(
    g: Any, self: Any, target: Any, weight: Any, reduction: str, smoothing: float, needs: tuple[bool, bool, bool]
) -> Any:
    """With loss -sum(goal * logs), goal = weight * smoothed target: softmax * sum(goal) - goal; -logs * weight; -logs * target."""
    axis = _class_axis(self.ndim)
    count = _samples(self.shape)
    if reduction == "none":
        scale = F.unsqueeze(g, dim=axis)
    else:
        scale = g / count if reduction == "mean" else g
    smooth = _smoothed(target, smoothing, self.shape[axis]) if smoothing else target
    along = None if weight is None else _along_classes(weight, self.ndim)
    of_self = of_target = of_weight = None
    if needs[0]:
        goal = smooth if along is None else smooth * along
        of_self = (F.softmax(self, dim=axis) * F.sum(goal, dim=(axis,), keepdim=True) - goal) * scale
    if needs[1] or needs[2]:
        logs = F.log_softmax(self, dim=axis) * -scale
        if needs[1]:
            of_target = (logs if along is None else logs * along) * (1 - smoothing)
        if needs[2]:
            kept = tuple(i for i in range(self.ndim) if i != axis)
            of_weight = F.sum(logs * smooth, dim=kept) if kept else logs * smooth
    return of_self, of_target, of_weight
