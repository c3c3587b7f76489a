"""Activations and losses of ``telegrad.nn.functional`` that are made of other ops; the gradients are those of the parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.functions.nn_arguments import with_older_arguments
from telegrad.contract.functions.out import SAME, takes_out
from telegrad.contract.literal import check_fits
from telegrad.contract.modes import refuse_gradient
from telegrad.contract.shapes import dimension
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.comparison import where as choose
from telegrad.contract.tensor.losses import check_reduction
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import warn_user

T = TypeVar("T", bound=Tensor)

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
"""Klambauer et al. (2017), arXiv:1706.02515."""


def _tensor(name: str, value: Any, *, floating: bool = False) -> Any:
    if not isinstance(value, TensorBase):
        raise ArgumentTypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(value).__name__}")
    x: Any = value
    if floating and not x.dtype.is_floating_point:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {x.dtype.name}; convert the tensor first, with .to(...)')
    return x


def _perhaps_in_place(formula: Callable[[Any], Any], x: Any, inplace: bool) -> Any:
    """The formula's result, written into ``x`` if ``inplace``; the formula then keeps a copy of what ``x`` was."""
    return x.copy_(formula(x.clone())) if inplace else formula(x)


# Activations -----------------------------------------------------------------------------------------------------------------


def celu(input: T, alpha: float = 1.0, inplace: bool = False) -> T:
    """The element where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere. Source: Barron (2017), arXiv:1704.07483."""
    x = _tensor("celu", input, floating=True)
    if alpha == 0:
        raise ShapeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    if alpha < 0:  # the element decides, not its quotient, whose sign is the other one
        return _perhaps_in_place(lambda v: choose(v > 0, v, (v / alpha).expm1() * alpha), x, inplace)  # type: ignore[no-any-return]
    return _perhaps_in_place(lambda v: (v / alpha).elu() * alpha, x, inplace)  # type: ignore[no-any-return]


def selu(input: T, inplace: bool = False) -> T:
    """``elu`` with the alpha and the scale that keep mean 0 and variance 1. Source: Klambauer et al. (2017), arXiv:1706.02515."""
    x = _tensor("selu", input, floating=True)
    return _perhaps_in_place(lambda v: v.elu(SELU_ALPHA) * SELU_SCALE, x, inplace)  # type: ignore[no-any-return]


def celu_(input: T, alpha: float = 1.0) -> T:
    """``celu`` into the tensor itself."""
    return celu(input, alpha, inplace=True)


def selu_(input: T) -> T:
    """``selu`` into the tensor itself."""
    return selu(input, inplace=True)


def threshold_(input: T, threshold: float, value: float) -> T:
    """``threshold`` into the tensor itself."""
    return _threshold(input, threshold, value, inplace=True)


def mish(input: T, inplace: bool = False) -> T:
    """``x * tanh(softplus(x))``. Source: Misra (2019), arXiv:1908.08681."""
    x = _tensor("mish", input, floating=True)
    return _perhaps_in_place(lambda v: v * v.softplus().tanh(), x, inplace)  # type: ignore[no-any-return]


def hardswish(input: T, inplace: bool = False) -> T:
    """``x * relu6(x + 3) / 6``. Source: Howard et al. (2019), arXiv:1905.02244."""
    x = _tensor("hardswish", input, floating=True)

    def formula(v: Any) -> Any:
        near = v.hardtanh(-3.0, 3.0)  # keeps the part not chosen finite
        return choose((v > -3) & (v < 3), near * (near + 3) / 6, v.masked_fill(v <= -3, 0))

    return _perhaps_in_place(formula, x, inplace)  # type: ignore[no-any-return]


def hardsigmoid(input: T, inplace: bool = False) -> T:
    """``relu6(x + 3) / 6``."""
    x = _tensor("hardsigmoid", input, floating=True)
    return _perhaps_in_place(lambda v: (v + 3).hardtanh(0.0, 6.0) / 6, x, inplace)  # type: ignore[no-any-return]


@takes_out(SAME)
def hardshrink(input: T, lambd: float = 0.5) -> T:
    """Zero within [-lambd, lambd], the element elsewhere."""
    x = _tensor("hardshrink", input, floating=True)
    return x.masked_fill((x >= -lambd) & (x <= lambd), 0)  # type: ignore[no-any-return]


@takes_out(SAME)
def softshrink(input: T, lambd: float = 0.5) -> T:
    """The element moved by ``lambd`` towards zero, zero within [-lambd, lambd]. Raises ShapeError for a negative ``lambd``."""
    x = _tensor("softshrink", input, floating=True)
    if lambd < 0:
        raise ShapeError(f"lambda must be greater or equal to 0, but found to be {lambd}")
    inside = (x >= -lambd) & (x <= lambd)
    # A zero keeps the element's sign.
    return choose(inside, x * 0, x - x.detach().sign() * lambd)  # type: ignore[no-any-return]


def softsign(input: T) -> T:
    """``x / (1 + abs(x))``."""
    x = _tensor("softsign", input)
    return x / (x.abs() + 1)  # type: ignore[no-any-return]


def tanhshrink(input: T) -> T:
    """``x - tanh(x)``."""
    x = _tensor("tanhshrink", input)
    return x - x.tanh()  # type: ignore[no-any-return]


def threshold(input: T, threshold: float, value: float, inplace: bool = False) -> T:
    """The element where above ``threshold``, ``value`` elsewhere."""
    x = _tensor("threshold", input)
    if x.dtype.category in (0, 3):
        raise UnsupportedDTypeError(f'"threshold" not implemented for {x.dtype.name}; convert it first, with .to(...)')
    check_fits(value, x.dtype)
    return _perhaps_in_place(lambda v: v.masked_fill(v <= threshold, value), x, inplace)  # type: ignore[no-any-return]


_threshold = threshold
"""The function, where an argument has its name."""


def prelu(input: T, weight: T) -> T:
    """The element where positive, ``weight`` times it elsewhere; a weight for all, or one for each slice of dimension 1."""
    x, w = _tensor("prelu", input, floating=True), _tensor("prelu", weight)
    if x.dtype is not w.dtype:
        raise DTypeError(f"prelu: Type promoting not supported. Got {x.dtype.name} and {w.dtype.name}")
    if len(w.shape) > 1:
        raise ShapeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {len(w.shape)}")
    if math.prod(w.shape) != 1:
        if not x.shape:
            raise ShapeError("Not allow zero-dim input tensor.")
        channels = x.shape[1] if len(x.shape) > 1 else 1
        if w.shape[0] != channels:
            raise ShapeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{w.shape[0]} and channel size = {channels}."
            )
        w = w.reshape((-1,) + (1,) * (len(x.shape) - 2))
    else:
        w = w.reshape(())
    return choose(x > 0, x, w * x)  # type: ignore[no-any-return]


def glu(input: T, dim: int = -1) -> T:
    """The first half along ``dim`` times the sigmoid of the second. Source: Dauphin et al. (2016), arXiv:1612.08083."""
    x = _tensor("glu", input, floating=True)
    if not x.shape:
        raise ShapeError("glu does not support scalars because halving size must be even")
    at = dimension(dim, len(x.shape))
    if x.shape[at] % 2:
        raise ShapeError(f"Halving dimension must be even, but dimension {at} is size {x.shape[at]}")
    half = x.shape[at] // 2
    return x.narrow(at, 0, half) * x.narrow(at, half, half).sigmoid()  # type: ignore[no-any-return]


# Losses ----------------------------------------------------------------------------------------------------------------------


def _reduced(loss: Any, reduction: str) -> Any:
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def pairwise_distance(x1: T, x2: T, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> T:
    """``p``-norm of ``x1 - x2 + eps`` over the last dimension."""
    return (_tensor("pairwise_distance", x1) - _tensor("pairwise_distance", x2) + eps).norm(p, -1, keepdim)  # type: ignore[no-any-return]


@with_older_arguments
def margin_ranking_loss(input1: T, input2: T, target: T, margin: float = 0, *, reduction: str = "mean") -> T:
    """``max(0, margin - target * (input1 - input2))``: ``target`` is 1 where the first should rank higher, else -1."""
    check_reduction(reduction)
    x = _tensor("margin_ranking_loss", input1)
    if not len(x.shape) == len(input2.shape) == len(target.shape):
        shapes = f"{list(x.shape)}, {list(input2.shape)} and {list(target.shape)}"
        raise ShapeError(f"margin_ranking_loss : All input tensors should have same dimension but got sizes: {shapes}")
    return _reduced((-target * (x - input2) + float(margin)).clamp_min(0), reduction)  # type: ignore[no-any-return]


@with_older_arguments
def hinge_embedding_loss(input: T, target: T, margin: float = 1.0, *, reduction: str = "mean") -> T:
    """The distance where ``target`` is 1, ``max(0, margin - distance)`` where it is -1."""
    check_reduction(reduction)
    x: Any = _tensor("hinge_embedding_loss", input)
    wanted: Any = target
    loss = (margin - x).clamp_min(0).masked_fill(wanted == 1, 0) + x.masked_fill(wanted == -1, 0)
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


@with_older_arguments
def soft_margin_loss(input: T, target: T, *, reduction: str = "mean") -> T:
    """``log(1 + exp(-target * input))``, with targets of 1 and -1."""
    check_reduction(reduction)
    x = _tensor("soft_margin_loss", input)
    if not x.dtype.is_floating_point:
        raise DTypeError(f"soft_margin_loss: result type float32 can't be cast to the input's type {x.dtype.name}")
    refuse_gradient("soft_margin_loss", "target", target)
    return _reduced((-(target * x)).exp().log1p(), reduction)  # type: ignore[no-any-return]


@with_older_arguments
def kl_div(input: T, target: T, *, reduction: str = "mean", log_target: bool = False) -> T:
    """``target * (log(target) - input)``: how far the probabilities ``target`` are from the logarithms ``input``.

    ``log_target`` says that ``target`` too holds logarithms; ``reduction="batchmean"`` divides the sum by the first size.
    """
    if reduction != "batchmean":
        check_reduction(reduction)
    if reduction == "mean":
        warn_user(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides only by the "
            "batch size, and aligns with the KL div math definition."
        )
    x, wanted = _tensor("kl_div", input), _tensor("kl_div", target)
    for given in (x, wanted):
        if given.dtype.is_complex:
            raise DTypeError("kl_div: Complex inputs not supported.")
        if not given.dtype.is_floating_point:
            raise DTypeError("kl_div: Integral inputs not supported; convert them with .to(...).")
    loss = wanted.exp() * (wanted - x) if log_target else wanted.xlogy(wanted) - wanted * x
    if reduction == "batchmean":
        return loss.sum() / (x.shape[0] if x.shape else 1)  # type: ignore[no-any-return]
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


@with_older_arguments
def poisson_nll_loss(
    input: T, target: T, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
) -> T:
    """``exp(input) - target * input``, or without ``log_input`` ``input - target * log(input + eps)``.

    ``full`` adds Stirling's approximation of ``log(target!)`` where the target is above 1.
    """
    check_reduction(reduction)
    x, wanted = _tensor("poisson_nll_loss", input), _tensor("poisson_nll_loss", target)
    loss = x.exp() - wanted * x if log_input else x - wanted * (x + eps).log()
    if full:
        stirling = wanted * wanted.log() - wanted + 0.5 * (2 * math.pi * wanted).log()
        loss = loss + stirling.masked_fill(wanted <= 1, 0)
    return _reduced(loss, reduction)  # type: ignore[no-any-return]


@with_older_arguments
def triplet_margin_loss(
    anchor: T,
    positive: T,
    negative: T,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> T:
    """``max(0, margin + distance(anchor, positive) - distance(anchor, negative))``; with ``swap`` the nearer of two negatives."""
    check_reduction(reduction)
    if margin <= 0:
        raise ArgumentValueError(f"margin must be greater than 0, got {margin}")
    a = _tensor("triplet_margin_loss", anchor)
    if not len(a.shape) == len(positive.shape) == len(negative.shape):
        raise ShapeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor "
            f"{len(a.shape)}D, positive {len(positive.shape)}D, and negative {len(negative.shape)}D inputs"
        )
    near: Any = pairwise_distance(a, positive, p, eps)
    far: Any = pairwise_distance(a, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced((margin + near - far).clamp_min(0), reduction)  # type: ignore[no-any-return]
