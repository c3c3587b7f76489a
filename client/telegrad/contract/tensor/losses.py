"""Losses of ``telegrad.nn.functional``. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentValueError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.modes import refuse_gradient
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, op
from telegrad.contract.shapes import broadcast, real_number, result_type
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.nn import FUNCTIONAL

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str) -> None:
    """Refuse a reduction that does not exist."""
    if reduction not in REDUCTIONS:
        raise ArgumentValueError("this is not a valid value for reduction; use 'mean', 'sum' or 'none'")


def _reduced(shape: Shape, reduction: str) -> Shape:
    check_reduction(reduction)
    return shape if reduction == "none" else ()


def pointwise(name: str, *, flops: int) -> Rule:
    """Rule of losses of the difference between two tensors, with optional weights of the input's shape."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, target, *rest = inputs
        weight = rest[0] if rest else None
        shape = broadcast(x.shape, target.shape)
        if weight is not None and weight.shape != x.shape:
            raise ArgumentValueError(
                f"Weights and input must have the same size: the weights have {list(weight.shape)}, the input {list(x.shape)}"
            )
        if x.dtype is dtypes.bool_ and target.dtype is dtypes.bool_:
            raise UnsupportedDTypeError("Subtraction, the `-` operator, with two bool tensors is not supported; convert one first")
        if name == "l1_loss" and (x.dtype is dtypes.bool_) != (target.dtype is dtypes.bool_):
            raise DTypeError("Subtraction, the `-` operator, with a bool tensor is not supported; convert it first, with .to(...)")
        dtype = result_type(inputs)
        made = dtype
        if dtype.is_complex and name == "l1_loss":
            made = dtypes.to_real(dtype)
        elif not dtype.is_floating_point:
            raise UnsupportedDTypeError(
                f'"{name}" not implemented for {dtype.name}; convert it first, for example with .to(telegrad.float32)'
            )
        if name == "huber_loss":  # PyTorch computes it in the input's memory, whose type the result must fit
            made = x.dtype
            if not dtypes.can_cast(dtype, made):
                raise DTypeError(f"result type {dtype.name} can't be cast to the desired output type {made.name}")
        size = math.prod(shape)
        out = Spec(_reduced(shape, parameters["reduction"]), made)
        return Outcome((out,), flops * size, dtype, size * dtype.itemsize)

    return rule


def _binary_rule(name: str, logits: bool) -> Rule:
    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, target, *weights = inputs
        if x.shape != target.shape:
            if logits:
                raise ArgumentValueError(f"Target size ({list(target.shape)}) must be the same as input size ({list(x.shape)})")
            raise ArgumentValueError(
                f"Using a target size ({list(target.shape)}) that is different to the input size ({list(x.shape)}) is "
                "deprecated. Please "
                "ensure they have the same size."
            )
        shape: Shape = broadcast(x.shape, *[w.shape for w in weights if w is not None])
        if shape != x.shape and not logits:
            raise ShapeError(f"{name}: the weight does not broadcast to the input's shape {list(x.shape)}")
        dtype = result_type(inputs)
        if not dtype.is_floating_point:
            raise UnsupportedDTypeError(
                f'"{name}" not implemented for {dtype.name}; convert it first, for example with .to(telegrad.float32)'
            )
        if logits and not x.dtype.is_floating_point:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert the logits to a floating type first')
        if not logits and target.dtype is not x.dtype:
            raise DTypeError(f"Found dtype {target.dtype.name} but expected {x.dtype.name}: convert the target with .to(...)")
        if logits and not target.dtype.is_floating_point:
            raise DTypeError(
                f"result type {dtype.name} can't be cast to the target's type {target.dtype.name}: convert the target with .to(...)"
            )
        size = math.prod(shape)
        # PyTorch computes into a copy of the target, so that one's type is the result's.
        out = Spec(_reduced(shape, parameters["reduction"]), target.dtype)
        return Outcome((out,), 30 * size, dtype, 2 * size * dtype.itemsize)

    return rule


def _check_class_targets(x: Spec, target: Spec, weight: Spec | None) -> None:
    """The shapes and types of class scores, class indices and class weights."""
    if not x.shape:
        raise ArgumentValueError("Expected 1 or more dimensions (got 0)")
    classes = x.shape[0] if len(x.shape) == 1 else x.shape[1]
    if len(x.shape) == 1:
        if target.shape not in ((), (1,)):
            raise ShapeError(
                f"with class scores of shape {list(x.shape)} the target must be 0-d, but it has shape {list(target.shape)}"
            )
    elif not target.shape or target.shape[0] != x.shape[0]:
        got = target.shape[0] if target.shape else 0
        raise ArgumentValueError(f"Expected input batch_size ({x.shape[0]}) to match target batch_size ({got}).")
    elif target.shape[1:] != x.shape[2:]:
        raise ShapeError(f"Expected target size {[x.shape[0], *x.shape[2:]]}, got {list(target.shape)}")
    if target.dtype not in (dtypes.int64, dtypes.uint8):
        raise DTypeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype.name}; class indices are int64, class "
            "probabilities have the "
            "input's shape"
        )
    _check_class_weight(x, weight, classes)


def _check_class_weight(x: Spec, weight: Spec | None, classes: int) -> None:
    if weight is None:
        return
    if weight.shape != (classes,):
        raise ShapeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: "
            f"{list(weight.shape)}"
        )
    if weight.dtype is not x.dtype:
        raise DTypeError(
            f"expected scalar type {x.dtype.name} but found {weight.dtype.name}: convert the class weights with .to(...)"
        )


def _refuse_type(name: str, x: Spec) -> None:
    if not x.dtype.is_floating_point:
        raise UnsupportedDTypeError(
            f'"{name}" not implemented for {x.dtype.name}; convert it first, for example with .to(telegrad.float32)'
        )


def _nll_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, target, weight = inputs
    _check_class_targets(x, target, weight)
    _refuse_type("nll_loss", x)
    own = x.shape[:1] + x.shape[2:] if len(x.shape) > 1 else ()
    return Outcome((Spec(_reduced(own, parameters["reduction"]), x.dtype),), 4 * target.size, None, 16 * target.size)


def _cross_entropy_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, target, weight = inputs
    _refuse_type("cross_entropy", x)
    if not 0 <= parameters["label_smoothing"] <= 1:
        raise ShapeError(f"label_smoothing must be between 0.0 and 1.0. Got: {parameters['label_smoothing']}")
    dtype = x.dtype
    if x.shape and x.shape == target.shape:
        if not target.dtype.is_floating_point:
            raise DTypeError(f"Expected floating point type for target with class probabilities, got {target.dtype.name}")
        if parameters["ignore_index"] >= 0:
            raise ShapeError("ignore_index is not supported for floating point target")
        _check_class_weight(x, weight, x.shape[0] if len(x.shape) == 1 else x.shape[1])
        dtype = dtypes.promote_pair(x.dtype, target.dtype)
    else:
        _check_class_targets(x, target, weight)
    own = x.shape[:1] + x.shape[2:] if len(x.shape) > 1 else ()
    return Outcome((Spec(_reduced(own, parameters["reduction"]), dtype),), 20 * x.size, None, 2 * x.nbytes)


def _pick_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, target = inputs
    return Outcome((Spec(target.shape, x.dtype),), target.size)


def _spread_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, _ = inputs
    return Outcome((Spec(tuple(parameters["shape"]), x.dtype),), math.prod(parameters["shape"]))


def _class_weights_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    target, like = inputs[:2]
    return Outcome((Spec(target.shape, like.dtype),), target.size)


class LossOps(TensorBase):
    """Losses."""

    __slots__ = ()

    # Regression ----------------------------------------------------------------------------------------------------------------

    @op(pointwise("mse_loss", flops=3), namespace=FUNCTIONAL)
    def mse_loss(self, target: Self, *, reduction: str = "mean", weight: Self | None = None) -> Self:
        """Squared differences; their mean is weighted if ``weight``, of the input's shape, is given.

        Shapes: [...], [...] -> [] (or broadcast). Gradient: 2 * (self - target) * g / n; the negative. Raises: ShapeError.
        """
        return self._apply("mse_loss", self, target, weight, reduction=reduction)

    @op(pointwise("l1_loss", flops=2), namespace=FUNCTIONAL)
    def l1_loss(self, target: Self, *, reduction: str = "mean", weight: Self | None = None) -> Self:
        """Absolute differences.

        Shapes: [...], [...] -> [] (or broadcast). Gradient: sign(self - target) * g / n; the negative. Raises: ShapeError.
        """
        return self._apply("l1_loss", self, target, weight, reduction=reduction)

    @op(pointwise("smooth_l1_loss", flops=5), namespace=FUNCTIONAL)
    def smooth_l1_loss(self, target: Self, *, reduction: str = "mean", beta: float = 1.0) -> Self:
        """Squared differences over ``2 * beta`` below ``beta``, absolute ones less ``beta / 2`` from there.

        Shapes: [...], [...] -> [] (or broadcast). Gradient: clamp(d / beta, -1, 1) * g / n; the negative.
        """
        beta = real_number(beta, "beta")
        if beta < 0:
            raise ShapeError("smooth_l1_loss does not support negative values for beta.")
        return self._apply("smooth_l1_loss", self, target, reduction=reduction, beta=beta)

    @op(pointwise("huber_loss", flops=5), namespace=FUNCTIONAL)
    def huber_loss(self, target: Self, reduction: str = "mean", delta: float = 1.0, weight: Self | None = None) -> Self:
        """Half squared differences up to ``delta``, ``delta * (|d| - delta / 2)`` beyond.

        Shapes: [...], [...] -> [] (or broadcast). Gradient: clamp(d, -delta, delta) * g / n; the negative.
        """
        delta = real_number(delta, "delta")
        if delta <= 0:
            raise ShapeError("huber_loss does not support non-positive values for delta.")
        return self._apply("huber_loss", self, target, weight, reduction=reduction, delta=delta)

    # Two classes ---------------------------------------------------------------------------------------------------------------

    @op(_binary_rule("binary_cross_entropy", False), namespace=FUNCTIONAL, differentiable=("self", "target"))
    def binary_cross_entropy(self, target: Self, weight: Self | None = None, *, reduction: str = "mean") -> Self:
        """Negative log-likelihood of probabilities ``self``; logarithms are cut at -100.

        Shapes: [...], [...] -> [] (or [...]). Gradient: (self - target) / (self * (1 - self)); log(1 - self) - log(self).
        Raises: ArgumentValueError for different shapes, ShapeError for values outside [0, 1].
        """
        refuse_gradient("binary_cross_entropy", "weight", weight)
        return self._apply("binary_cross_entropy", self, target, weight, reduction=reduction)

    @op(_binary_rule("binary_cross_entropy_with_logits", True), namespace=FUNCTIONAL)
    def binary_cross_entropy_with_logits(
        self, target: Self, weight: Self | None = None, *, reduction: str = "mean", pos_weight: Self | None = None
    ) -> Self:
        """``binary_cross_entropy`` of sigmoid(self), computed without overflow; ``pos_weight`` scales the positive term.

        Shapes: [...], [...] -> [] (or broadcast). Gradient: sigmoid(self) - target, weighted. Raises: ArgumentValueError.
        """
        return self._apply("binary_cross_entropy_with_logits", self, target, weight, pos_weight, reduction=reduction)

    # Many classes --------------------------------------------------------------------------------------------------------------

    @op(_nll_rule, namespace=FUNCTIONAL, differentiable=("self",))
    def nll_loss(self, target: Self, weight: Self | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> Self:
        """Negative of the log-probability of each target class, weighted by class; the mean divides by the weights' sum.

        Shapes: [N, C, ...] (or [C]), [N, ...] (or []), [C] -> [] (or the target's). Gradient: -weight at the target, over the sum.
        Raises: IndexBoundsError for a target outside [0, C) that is not ``ignore_index``; ArgumentValueError, ShapeError,
        DTypeError.
        """
        refuse_gradient("nll_loss", "weight", weight)
        return self._apply("nll_loss", self, target, weight, ignore_index=ignore_index, reduction=reduction)

    @op(_cross_entropy_rule, namespace=FUNCTIONAL, node="NllLossBackward0")
    def cross_entropy(
        self,
        target: Self,
        weight: Self | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Self:
        """``nll_loss`` of ``log_softmax(self)`` in one node; or, for a target of the input's shape, of class probabilities.

        Shapes: [N, C, ...] (or [C]), [N, ...] or [N, C, ...], [C] -> [] (or [N, ...]). Gradient: softmax(self) - target
        distribution.
        Raises: as ``nll_loss``. Source of smoothing: Szegedy et al. (2016), arXiv:1512.00567.
        """
        if weight is not None and target.shape != self.shape:  # type: ignore[attr-defined]
            refuse_gradient("nll_loss", "weight", weight)
        return self._apply(
            "cross_entropy",
            self,
            target,
            weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=real_number(label_smoothing, "label_smoothing"),
        )

    @op(_pick_rule, namespace="internal", differentiable=("self",))
    def _pick_class(self, target: Self, *, ignore_index: int) -> Self:
        """The element of each sample at its class; zero where the class is ``ignore_index``.

        Shapes: [N, C, ...] (or [C]), [N, ...] -> [N, ...]. Gradient: g at the class, zeros elsewhere.
        """
        return self._apply("_pick_class", self, target, ignore_index=ignore_index)

    @op(_spread_rule, namespace="internal", differentiable=("self",))
    def _spread_class(self, target: Self, *, shape: Sequence[int], ignore_index: int) -> Self:
        """Zeros of ``shape`` with each sample's element at its class; the transpose of ``_pick_class``.

        Shapes: broadcasts to [N, ...], [N, ...] -> [N, C, ...]. Gradient: g at the class.
        """
        return self._apply("_spread_class", self, target, shape=tuple(shape), ignore_index=ignore_index)

    @op(_class_weights_rule, namespace="internal", differentiable=(), reason="targets and class weights have none")
    def _class_weights(self, like: Self, weight: Self | None = None, *, ignore_index: int) -> Self:
        """The weight of each target class (``self``), 1 without ``weight``, 0 for ``ignore_index``; typed as ``like``.

        Shapes: [N, ...], any, [C] -> [N, ...].
        """
        return self._apply("_class_weights", self, like, weight, ignore_index=ignore_index)
