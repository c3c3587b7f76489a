"""Losses with margins and likelihoods, random activations and dropout of channels: functions made of other ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from telegrad.contract import dtypes
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DTypeError,
    ShapeError,
    UnsupportedDTypeError,
)
from telegrad.contract.functions.free import require_tensor
from telegrad.contract.functions.nn_arguments import with_older_arguments
from telegrad.contract.functions.nn_composite import SELU_ALPHA, SELU_SCALE, pairwise_distance
from telegrad.contract.modes import refuse_gradient
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.comparison import where as choose
from telegrad.contract.tensor.losses import check_reduction
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import warn_user

T = TypeVar("T", bound=Tensor)


def _reduced(loss: Any, reduction: str) -> Any:
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def _floating(name: str, value: Any) -> Any:
    x = require_tensor(value, name)
    if not x.dtype.is_floating_point:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert it with .to(telegrad.float32)')
    return x


# Losses ------------------------------------------------------------------------------------------------------------------------


@with_older_arguments
def cosine_embedding_loss(input1: T, input2: T, target: T, margin: float = 0, *, reduction: str = "mean") -> T:
    """``1 - cosine`` where ``target`` is 1, ``max(0, cosine - margin)`` where it is -1.

    Shapes: [N, D], [N, D], [N], or [D], [D], []. Raises: ShapeError.
    """
    check_reduction(reduction)
    a, b, sign = (require_tensor(x, "cosine_embedding_loss") for x in (input1, input2, target))
    x: Any = a
    y: Any = b
    goal: Any = sign
    if len(goal.shape) not in (0, 1):
        raise ShapeError("0D or 1D target tensor expected, multi-target not supported")
    if len(goal.shape) == 1:
        if len(x.shape) != 2 or len(y.shape) != 2:
            raise ShapeError(
                f"1D target tensor expects 2D input tensors, but found inputs with sizes {list(x.shape)} and {list(y.shape)}."
            )
    elif len(x.shape) != 1 or len(y.shape) != 1:
        raise ShapeError(
            f"0D target tensor expects 1D input tensors, but found inputs with sizes {list(x.shape)} and {list(y.shape)}."
        )
    dim = len(goal.shape)
    tiny = 1e-12
    cosine = (x * y).sum(dim) / (((x * x).sum(dim) + tiny) * ((y * y).sum(dim) + tiny)).sqrt()
    loss = (1 - cosine).masked_fill(goal != 1, 0) + (cosine - margin).clamp_min(0).masked_fill(goal != -1, 0)
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


def gaussian_nll_loss(input: T, target: T, var: T | Number, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> T:
    """``(log(var) + (input - target) ** 2 / var) / 2``, ``var`` being at least ``eps``; ``full`` adds the constant log(2 pi) / 2.

    ``var`` is a number, or of the input's shape, or has 1 in the last dimension, or lacks it. The gradient passes ``eps`` by.
    """
    x: Any = require_tensor(input, "gaussian_nll_loss")
    goal: Any = target
    spread: Any = var
    if isinstance(var, (int, float)):
        if var < 0:
            raise ArgumentValueError("var has negative entry/entries")
        spread = x.new_full(tuple(x.shape), float(var)) if x.dtype.is_floating_point else x.to(dtypes.float32) * 0 + float(var)
    elif not isinstance(var, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"gaussian_nll_loss(): argument 'var' must be Tensor or float, not {type(var).__name__}")
    if tuple(spread.shape) != tuple(x.shape):
        if tuple(x.shape[:-1]) == tuple(spread.shape):
            spread = spread.unsqueeze(-1)
        elif len(x.shape) != len(spread.shape) or any(m not in (n, 1) for n, m in zip(x.shape, spread.shape, strict=True)):
            raise ArgumentValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentValueError(f"{reduction} is not valid; use 'mean', 'sum' or 'none'")
    if bool((spread.detach() < 0).any()):
        raise ArgumentValueError("var has negative entry/entries")
    bounded = spread + (spread.detach().clamp_min(eps) - spread.detach())
    bounded = choose(spread.detach() < eps, bounded, spread)
    loss = (bounded.log() + (x - goal) ** 2 / bounded) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


@with_older_arguments
def multi_margin_loss(
    input: T, target: T, p: int = 1, margin: float = 1.0, weight: T | None = None, *, reduction: str = "mean"
) -> T:
    """Mean over the wrong classes of ``max(0, margin - score of the right class + score) ** p``, times the right class's weight.

    Shapes: [N, C], [N] (or [C], []), [C] -> [] (or [N]). Raises: ShapeError, ArgumentValueError for a ``p`` other than 1 and 2.
    """
    check_reduction(reduction)
    x = _floating("multi_margin_loss", input)
    goal: Any = require_tensor(target, "multi_margin_loss")
    if p not in (1, 2):
        raise ArgumentValueError("only p == 1 and p == 2 supported")
    if weight is not None and len(weight.shape) != 1:
        raise ArgumentValueError("weight must be one-dimensional")
    refuse_gradient("multi_margin_loss", "weight", weight)
    single = len(x.shape) < 2
    if not x.shape:
        x = x.reshape((1,))  # one class
    if len(x.shape) > 2 or not x.shape[-1]:
        raise ShapeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(x.shape)}")
    scores = x.unsqueeze(0) if single else x
    count, classes = scores.shape
    if len(goal.shape) > 1 or math.prod(goal.shape) != count:
        raise ShapeError(f"inconsistent target size, expected {count} but got {list(goal.shape)}")
    if goal.dtype is not dtypes.int64:
        raise DTypeError(f"multi_margin_loss: expected scalar type Long for argument target but found {goal.dtype.name}")
    if weight is not None and weight.shape[0] != classes:
        raise ShapeError(f"inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    places = goal.reshape((count, 1))
    right = scores.gather(1, places)
    costs = (scores - right + margin).clamp_min(0)
    costs = costs if p == 1 else costs * costs
    if weight is not None:
        costs = costs * weight[goal.reshape((count,))].unsqueeze(1)
    own = scores.new_zeros((count, classes), dtype=dtypes.bool_).scatter(1, places, True)
    loss = costs.masked_fill(own, 0).sum(1) / classes
    if single and not goal.shape:
        loss = loss.squeeze(0)
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


@with_older_arguments
def multilabel_margin_loss(input: T, target: T, *, reduction: str = "mean") -> T:
    """Sum over right and wrong classes of ``max(0, 1 - score of the right one + score of the wrong one)``, averaged.

    ``target`` lists each sample's classes, up to the first -1. Shapes: [N, C] twice (or [C]) -> [] (or [N]). Raises: ShapeError.
    """
    check_reduction(reduction)
    x = _floating("multilabel_margin_loss", input)
    goal: Any = require_tensor(target, "multilabel_margin_loss")
    if len(x.shape) > 2 or (x.shape and not x.shape[-1]):
        raise ShapeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(x.shape)}")
    if math.prod(goal.shape) != math.prod(x.shape) or (len(x.shape) == 2 and tuple(goal.shape) != tuple(x.shape)):
        raise ShapeError(f"inconsistent target size {list(goal.shape)} for input of size {list(x.shape)}")
    if goal.dtype is not dtypes.int64:
        raise DTypeError(f"multilabel_margin_loss: expected scalar type Long for argument target but found {goal.dtype.name}")
    classes = x.shape[-1] if x.shape else 1
    count = x.shape[0] if len(x.shape) == 2 else 1
    scores, places = x.reshape((count, classes)), goal.reshape((count, classes))
    if bool(((places < -1) | (places >= classes)).any()):
        raise ShapeError(f"multilabel_margin_loss: target values must be in [-1, {classes})")
    listed = (places < 0).to(dtypes.int64).cumsum(1) == 0
    at = places.clamp_min(0)
    right = scores.new_zeros((count, classes)).scatter_add(1, at, listed.to(scores.dtype)) > 0
    gaps = (1 - scores.gather(1, at).unsqueeze(2) + scores.unsqueeze(1)).clamp_min(0)
    gaps = gaps.masked_fill(~listed.unsqueeze(2) | right.unsqueeze(1), 0)
    loss = gaps.sum([1, 2]) / classes
    if len(x.shape) < 2:
        loss = loss.squeeze(0)
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


@with_older_arguments
def multilabel_soft_margin_loss(input: T, target: T, weight: T | None = None, *, reduction: str = "mean") -> T:
    """Mean over classes of the cross entropy between ``target``, zeros and ones, and the sigmoid of the scores.

    Shapes: [..., C] twice, [C] -> [] (or [...]).
    """
    check_reduction(reduction)
    x: Any = require_tensor(input, "multilabel_soft_margin_loss")
    goal: Any = target
    classes = x.size(-1)  # refuses a single number, as PyTorch does
    loss = -(goal * x.logsigmoid() + (1 - goal) * (-x).logsigmoid())
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.sum(-1) / classes, reduction)  # type: ignore[no-any-return]


def triplet_margin_with_distance_loss(
    anchor: T,
    positive: T,
    negative: T,
    *,
    distance_function: Callable[[T, T], T] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> T:
    """``max(0, margin + distance(anchor, positive) - distance(anchor, negative))`` by a distance of the caller's own."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ArgumentValueError(f"margin must be greater than 0, got {margin}")
    distance: Callable[[Any, Any], Any] = pairwise_distance if distance_function is None else distance_function
    ranks = [len(x.shape) for x in (anchor, positive, negative)]
    if len(set(ranks)) > 1:
        raise ShapeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor "
            f"{ranks[0]}D, positive {ranks[1]}D, and negative {ranks[2]}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced((margin + near - far).clamp_min(0), reduction)  # type: ignore[no-any-return]


def bilinear(input1: T, input2: T, weight: T, bias: T | None = None) -> T:
    """For each output feature k: ``input1 @ weight[k] @ input2 + bias[k]``.

    Shapes: [..., I], [..., J], [K, I, J], [K] -> [..., K]. Raises: ShapeError.
    """
    x, y, w = (require_tensor(v, "bilinear") for v in (input1, input2, weight))
    a: Any = x
    b: Any = y
    matrix: Any = w
    if len(a.shape) != len(b.shape):
        raise ShapeError(f"bilinear(): input dimensions do not match: got {len(a.shape)} and {len(b.shape)}")
    if tuple(a.shape[:-1]) != tuple(b.shape[:-1]):
        raise ShapeError(f"bilinear(): input batch dimensions do not match: got {list(a.shape)} and {list(b.shape)}")
    if len(matrix.shape) != 3 or a.shape[-1:] != matrix.shape[1:2] or b.shape[-1:] != matrix.shape[2:]:
        raise ShapeError(
            f"bilinear(): input sizes {list(a.shape)} and {list(b.shape)} do not match weight size {list(matrix.shape)}"
        )
    if bias is not None and tuple(bias.shape) != tuple(matrix.shape[:1]):
        raise ShapeError(f"bilinear(): bias size does not match weight size: got {list(bias.shape)} and {matrix.shape[0]}")
    if not a.dtype is b.dtype is matrix.dtype:
        raise DTypeError(f"bilinear(): expected one type, got {a.dtype.name}, {b.dtype.name} and {matrix.dtype.name}")
    outputs, first, second = matrix.shape
    rows = math.prod(a.shape[:-1])
    # One product with the weights, then a sum of products a row: no [rows, K, I, J].
    products = a.reshape((rows, first)) @ matrix.permute(1, 0, 2).reshape((first, outputs * second))
    result = (products.reshape((rows, outputs, second)) * b.reshape((rows, 1, second))).sum(2, dtype=a.dtype)
    result = result.reshape((*a.shape[:-1], outputs))
    return result if bias is None else result + bias  # type: ignore[no-any-return]


# Drawn at random ---------------------------------------------------------------------------------------------------------------


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _channel_shape(x: Any) -> tuple[int, ...]:
    return (*x.shape[:2], *[1] * (len(x.shape) - 2))


def _written(result: Any, x: Any, inplace: bool) -> Any:
    return x.copy_(result) if inplace and result is not x else result


def _drop_channels(name: str, input: Any, p: float, training: bool, inplace: bool, batch_ranks: tuple[int, int]) -> Any:
    """Whole channels zeroed; ``batch_ranks`` are the numbers of dimensions without and with a batch."""
    _check_probability(p)
    x: Any = require_tensor(input, name)
    if not training or p == 0:
        return x
    if p == 1:
        return _written(x * 0, x, inplace)
    if len(x.shape) < 2:
        raise ShapeError("Feature dropout requires at least 2 dimensions in the input")
    single = len(x.shape) == batch_ranks[0]
    batch = x.unsqueeze(0) if single else x
    kept = batch.new_full(_channel_shape(batch), 1.0).dropout(p)
    result = batch * kept
    return _written(result.squeeze(0) if single else result, x, inplace)


def dropout1d(input: T, p: float = 0.5, training: bool = True, inplace: bool = False) -> T:
    """Zero whole channels of sequences [N, C, L] or [C, L] with probability ``p``, scale the rest by ``1 / (1 - p)``."""
    _check_probability(p)
    if len(require_tensor(input, "dropout1d").shape) not in (2, 3):
        raise ShapeError(f"dropout1d: Expected 2D or 3D input, but received a {len(input.shape)}D input.")
    return _drop_channels("dropout1d", input, p, training, inplace, (2, 3))  # type: ignore[no-any-return]


def dropout2d(input: T, p: float = 0.5, training: bool = True, inplace: bool = False) -> T:
    """Zero whole channels (dimension 1) of images [N, C, H, W] with probability ``p``, scale the rest by ``1 / (1 - p)``."""
    ndim = len(require_tensor(input, "dropout2d").shape)
    if ndim not in (3, 4):
        _warn_of_dimensions("dropout2d", ndim, 2)
    elif ndim == 3:
        warn_user(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input is "
            "interpreted as shape (N, C, L). Use dropout1d to say so."
        )
    return _drop_channels("dropout2d", input, p, training, inplace, (-1, 4))  # type: ignore[no-any-return]


def dropout3d(input: T, p: float = 0.5, training: bool = True, inplace: bool = False) -> T:
    """Zero whole channels of volumes [N, C, D, H, W] (or [C, D, H, W]) with probability ``p``, scale the rest."""
    ndim = len(require_tensor(input, "dropout3d").shape)
    if ndim not in (4, 5):
        _warn_of_dimensions("dropout3d", ndim, 3)
    return _drop_channels("dropout3d", input, p, training, inplace, (4, 5))  # type: ignore[no-any-return]


def _warn_of_dimensions(name: str, ndim: int, spatial: int) -> None:
    warn_user(
        f"{name}: Received a {ndim}-D input to {name}, which is deprecated: it drops whole channels of inputs with {spatial} "
        f"spatial dimensions, a channel and perhaps a batch dimension ({spatial + 1}D or {spatial + 2}D). Use dropout for others."
    )


def _alpha(x: Any, kept: Any, p: float) -> Any:
    """What is dropped becomes SELU's limit at minus infinity; then mean and variance are restored."""
    limit = -SELU_ALPHA * SELU_SCALE
    if p == 1:
        return x * 0
    scale = 1 / math.sqrt((1 - p) * (1 + p * limit * limit))
    return (x * kept + (1 - kept) * limit) * scale - p * limit * scale


def alpha_dropout(input: T, p: float = 0.5, training: bool = False, inplace: bool = False) -> T:
    """Dropout for networks of ``selu``: keeps mean and variance. Source: Klambauer et al. (2017), arXiv:1706.02515."""
    _check_probability(p)
    if not training or p == 0:
        return require_tensor(input, "alpha_dropout")
    x = _floating("alpha_dropout", input)
    kept = (x.detach() * 0 + 1).dropout(p) * (1 - p)
    return _written(_alpha(x, kept, p), x, inplace)  # type: ignore[no-any-return]


def feature_alpha_dropout(input: T, p: float = 0.5, training: bool = False, inplace: bool = False) -> T:
    """``alpha_dropout`` of whole channels (dimension 1)."""
    _check_probability(p)
    if not training or p == 0:
        return require_tensor(input, "feature_alpha_dropout")
    x = _floating("feature_alpha_dropout", input)
    if p == 1:
        return _written(x * 0, x, inplace)  # type: ignore[no-any-return]
    if len(x.shape) < 2:
        raise ShapeError("Feature dropout requires at least 2 dimensions in the input")
    kept = x.new_full(_channel_shape(x), 1.0).dropout(p) * (1 - p)
    return _written(_alpha(x, kept, p), x, inplace)  # type: ignore[no-any-return]


def rrelu(input: T, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False) -> T:
    """``leaky_relu`` whose slope is drawn from [lower, upper] for each element when training, their mean otherwise."""
    x = _floating("rrelu", input)
    if lower > upper:
        raise ShapeError(f"Lower bound should be less than or equal to the upper bound, but got {lower} and {upper}")
    if not training:
        slope: Any = (lower + upper) / 2
        return x.leaky_relu_(slope) if inplace else x.leaky_relu(slope)  # type: ignore[no-any-return]
    slope = x.detach().rand_like() * (upper - lower) + lower
    before = x.clone() if inplace else x
    return _written(choose(before <= 0, before * slope, before), x, inplace)  # type: ignore[no-any-return]


def gumbel_softmax(logits: T, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> T:
    """The softmax of ``(logits + Gumbel noise) / tau``; with ``hard`` one-hot in value and soft in gradient.

    ``eps`` has no effect, as in PyTorch. Source: Jang et al. (2017), arXiv:1611.01144.
    """
    if eps != 1e-10:
        warn_user("`eps` parameter is deprecated and has no effect.")
    x = _floating("gumbel_softmax", logits)
    # Minus the logarithm of an exponential variable is Gumbel's; 1 - u keeps the logarithm finite.
    noise = -(-(1 - x.detach().rand_like()).log()).log()
    soft = ((x + noise) / tau).softmax(dim)
    if not hard:
        return soft  # type: ignore[no-any-return]
    places = soft.detach().max(dim, True)[1]
    sharp = soft.detach() * 0
    return sharp.scatter(dim, places, 1.0) - soft.detach() + soft  # type: ignore[no-any-return]
