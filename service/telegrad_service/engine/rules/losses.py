"""Kernels and derivatives of losses."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from telegrad.contract.errors import ShapeError
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.nn import wide
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel


def reduced(losses: Array, reduction: str, weight: Array | None = None) -> Any:
    """Elementwise losses as asked for; with weights, the mean divides by their sum."""
    if weight is not None:
        losses = losses * weight
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / (losses.size if weight is None else weight.sum())


def share(g: Any, reduction: str, count: int) -> Any:
    """The gradient of one element of ``count``, before weights."""
    return g / count if reduction == "mean" and count else g


# Regression --------------------------------------------------------------------------------------------------------------------


def _pointwise(
    name: str, value: Callable[..., Any], slope: Callable[..., Any], *settings: str, weighted: bool, by_weight: bool = True
) -> None:
    """Register a loss of the difference ``d``: ``value(d, setting)`` and its derivative, both in F ops.

    Args:
        name: the op.
        value: the loss of a difference.
        slope: its derivative.
        *settings: names of parameters that both take.
        weighted: whether the op takes weights.
        by_weight: whether a weighted mean divides by the weights' sum, or by the count (huber_loss, as in PyTorch).
    """

    def compute(self: Array, target: Array, weight: Array | None = None, reduction: str = "mean", **rest: float) -> Any:
        d = np.subtract(wide(self), wide(target))
        losses = np.asarray(value(d, *[rest[s] for s in settings]))
        return reduced(losses, reduction, weight) if by_weight or weight is None else reduced(losses * weight, reduction)

    kernel(name, compute)

    def differences(g: Any, self: Any, target: Any, weight: Any, reduction: str, setting: Any, needs: Any) -> Any:
        d = self - target
        arguments = () if setting is None else (setting,)
        scaled = g
        divides = by_weight and weight is not None and reduction == "mean"
        if divides:
            scaled = g / F.sum(weight)
        elif weight is None or not by_weight:
            scaled = share(g, reduction, math.prod(d.shape))
        weight_gradient = None
        if needs[2:] == (True,):
            losses = value(d, *arguments)
            if divides:
                losses = losses - F.sum(losses * weight) / F.sum(weight)
            weight_gradient = losses * scaled
        if weight is not None:
            scaled = scaled * weight
        gradient: Any = slope(d, *arguments) * scaled if needs[0] or needs[1] else None
        pieces = (gradient if needs[0] else None, -gradient if needs[1] else None)
        return (*pieces, weight_gradient) if weighted else pieces

    names = ("self", "target", "weight") if weighted else ("self", "target")

    def plain(g: Any, self: Any, target: Any, weight: Any, reduction: str, needs: Any) -> Any:
        return differences(g, self, target, weight, reduction, None, needs)

    def smooth(g: Any, self: Any, target: Any, reduction: str, beta: float, needs: Any) -> Any:
        return differences(g, self, target, None, reduction, beta, needs)

    def huber(g: Any, self: Any, target: Any, weight: Any, reduction: str, delta: float, needs: Any) -> Any:
        return differences(g, self, target, weight, reduction, delta, needs)

    # A formula's signature says what is saved, so each setting needs its own.
    formula: Any = {"smooth_l1_loss": smooth, "huber_loss": huber}.get(name, plain)
    joint_derivative(name, *names)(formula)


def _smooth_value(d: Any, beta: float) -> Any:
    size = F.abs(d)
    return size if beta == 0 else F.where(size < beta, 0.5 * d * d / beta, size - 0.5 * beta)


def _smooth_slope(d: Any, beta: float) -> Any:
    return F.sign(d) if beta == 0 else F.where(F.abs(d) < beta, d / beta, F.sign(d))


def _huber_value(d: Any, delta: float) -> Any:
    size = F.abs(d)
    return F.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))


def _huber_slope(d: Any, delta: float) -> Any:
    return F.where(F.abs(d) < delta, d, delta * F.sign(d))


_pointwise("mse_loss", lambda d: d * d, lambda d: 2 * d, weighted=True)
_pointwise("l1_loss", lambda d: F.abs(d), lambda d: F.sgn(d), weighted=True)
_pointwise("smooth_l1_loss", _smooth_value, _smooth_slope, "beta", weighted=False)
_pointwise("huber_loss", _huber_value, _huber_slope, "delta", weighted=True, by_weight=False)


# Two classes -------------------------------------------------------------------------------------------------------------------

LOWEST_LOG = -100.0
"""PyTorch's cut, so that a certain but wrong probability costs 100 instead of infinity."""


@kernel("binary_cross_entropy")
def _binary(self: Array, target: Array, weight: Array | None, reduction: str) -> Any:
    x = wide(self)
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ShapeError("all elements of input should be between 0 and 1")
    losses = (target - 1) * np.maximum(np.log1p(-x), LOWEST_LOG) - target * np.maximum(np.log(x), LOWEST_LOG)
    return reduced(losses if weight is None else losses * weight, reduction)


def _binary_share(g: Any, weight: Any, reduction: str, shape: tuple[int, ...]) -> Any:
    scaled = share(g, reduction, math.prod(shape))
    return scaled if weight is None else scaled * weight


derivative(
    "binary_cross_entropy",
    self=lambda g, self, target, weight, reduction: (
        _binary_share(g, weight, reduction, self.shape) * (self - target) / F.clamp((1 - self) * self, 1e-12, None)
    ),
    target=lambda g, self, weight, reduction: _binary_share(g, weight, reduction, self.shape) * (F.log1p(-self) - F.log(self)),
)


def _negative_log_sigmoid(x: Any) -> Any:
    """``softplus(-x)``, exact for large ``x`` of either sign."""
    return F.softplus(-x)


@kernel("binary_cross_entropy_with_logits")
def _binary_logits(self: Array, target: Array, weight: Array | None, pos_weight: Array | None, reduction: str) -> Any:
    x = wide(self)
    cost = np.maximum(-x, 0) + np.log1p(np.exp(-np.abs(x)))
    if pos_weight is not None:
        cost = cost * (1 + (pos_weight - 1) * target)
    losses = (1 - target) * x + cost
    return reduced(losses if weight is None else losses * weight, reduction)


@joint_derivative("binary_cross_entropy_with_logits", "self", "target", "weight", "pos_weight")
def _binary_logits_gradient(
    g: Any,
    self: Any,
    target: Any,
    weight: Any,
    pos_weight: Any,
    reduction: str,
    needs: tuple[bool, bool, bool, bool],
) -> Any:
    """Each term of weight * ((1 - t) * x + (1 + (p - 1) * t) * softplus(-x)), differentiated."""
    shape = np.broadcast_shapes(self.shape, *[w.shape for w in (weight, pos_weight) if w is not None])
    base = share(g, reduction, math.prod(shape))
    scaled = base if weight is None else base * weight
    of_self = of_target = of_weight = of_pos = None
    if needs[0]:
        if pos_weight is None:
            of_self = (F.sigmoid(self) - target) * scaled
        else:
            of_self = (1 - target - (1 + (pos_weight - 1) * target) * F.sigmoid(-self)) * scaled
    if needs[1]:
        slope = -self if pos_weight is None else (pos_weight - 1) * _negative_log_sigmoid(self) - self
        of_target = slope * scaled
    if needs[2]:
        cost = _negative_log_sigmoid(self)
        if pos_weight is not None:
            cost = cost * (1 + (pos_weight - 1) * target)
        of_weight = ((1 - target) * self + cost) * base
    if needs[3]:
        of_pos = target * _negative_log_sigmoid(self) * scaled
    return of_self, of_target, of_weight, of_pos
