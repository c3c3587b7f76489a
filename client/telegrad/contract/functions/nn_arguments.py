"""PyTorch's older arguments of losses and of softmax: their order, ``size_average`` and ``reduce``, and a ``dim`` left out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

from telegrad.contract import notices
from telegrad.contract.dtypes import DTypeLike
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.out import SAME, takes_out
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import warn_user

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Tensor)

_ORDER: Final = {
    "binary_cross_entropy": "input target weight size_average reduce reduction",
    "binary_cross_entropy_with_logits": "input target weight size_average reduce reduction pos_weight",
    "cosine_embedding_loss": "input1 input2 target margin size_average reduce reduction",
    "cross_entropy": "input target weight size_average ignore_index reduce reduction label_smoothing",
    "hinge_embedding_loss": "input target margin size_average reduce reduction",
    "huber_loss": "input target reduction delta weight",
    "kl_div": "input target size_average reduce reduction log_target",
    "l1_loss": "input target size_average reduce reduction weight",
    "margin_ranking_loss": "input1 input2 target margin size_average reduce reduction",
    "mse_loss": "input target size_average reduce reduction weight",
    "multi_margin_loss": "input target p margin weight size_average reduce reduction",
    "multilabel_margin_loss": "input target size_average reduce reduction",
    "multilabel_soft_margin_loss": "input target weight size_average reduce reduction",
    "nll_loss": "input target weight size_average ignore_index reduce reduction",
    "poisson_nll_loss": "input target log_input full size_average eps reduce reduction",
    "smooth_l1_loss": "input target size_average reduce reduction beta",
    "soft_margin_loss": "input target size_average reduce reduction",
    "triplet_margin_loss": "anchor positive negative margin p eps swap size_average reduce reduction",
}
"""The positions of each loss's arguments, the older ones between the others."""

_LIKE_SIZES: Final = frozenset({"huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"})
"""Losses of two tensors that should have one size."""


def reduction_of(size_average: object, reduce: object) -> str:
    """What the two older arguments mean. None stands for True."""
    if reduce is not None and not reduce:
        found = "none"
    else:
        found = "mean" if size_average is None or size_average else "sum"
    warn_user(f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.")
    return found


def with_older_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """A loss that takes PyTorch's positional order and its older arguments, and warns of those and of sizes that differ."""
    name = function.__name__
    order = _ORDER[name].split()
    plain: Callable[..., Any] = function
    common = order[1] == "target" and name not in _LIKE_SIZES  # two tensors by position need none of what follows

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if common and not kwargs and len(args) == 2 and isinstance(args[1], TensorBase):
            return plain(*args)
        if len(args) > len(order):
            raise ArgumentTypeError(f"{name}() takes from 2 to {len(order)} positional arguments but {len(args)} were given")
        named = dict(zip(order, args, strict=False))
        twice = named.keys() & kwargs.keys()
        if twice:
            raise ArgumentTypeError(f"{name}() got multiple values for argument '{min(twice)}'")
        named |= kwargs
        older = named.pop("size_average", None), named.pop("reduce", None)
        if older != (None, None) and "size_average" in order:
            named["reduction"] = reduction_of(*older)
        x, target = named.get(order[0]), named.get("target")
        # PyTorch computes with a number in the place of this one loss's target.
        if "target" in named and not isinstance(target, TensorBase) and name != "multilabel_soft_margin_loss":
            raise ArgumentTypeError(f"{name}(): argument 'target' must be Tensor, not {type(target).__name__}")
        if name in _LIKE_SIZES and isinstance(x, TensorBase) and isinstance(target, TensorBase):
            notices.sizes_that_broadcast(x, target)
        return plain(*(named.pop(order[0]),) if order[0] in named else (), **named)

    return cast("Callable[P, R]", call)


def _softmax(name: str, input: Any, dim: int | None, dtype: Any) -> Any:
    if not isinstance(input, TensorBase):
        raise ArgumentTypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    x: Any = input
    if dim is None:
        dim = notices.implicit_dimension(name, len(x.shape))
    if name == "log_softmax":
        return x.log_softmax(dim, dtype)
    return (-x if name == "softmin" else x).softmax(dim, dtype)


@takes_out(SAME)
def softmax(input: T, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> T:
    """See ``Tensor.softmax``. Without ``dim``, with a warning: dimension 0 of none, one or three dimensions, else 1."""
    return _softmax("softmax", input, dim, dtype)  # type: ignore[no-any-return]


@takes_out(SAME)
def log_softmax(input: T, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> T:
    """See ``Tensor.log_softmax``. Without ``dim`` as ``softmax``."""
    return _softmax("log_softmax", input, dim, dtype)  # type: ignore[no-any-return]


def softmin(input: T, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> T:
    """``softmax`` of the negated tensor. Without ``dim`` as ``softmax``."""
    return _softmax("softmin", input, dim, dtype)  # type: ignore[no-any-return]
