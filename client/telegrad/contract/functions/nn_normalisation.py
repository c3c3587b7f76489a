"""Normalisation by statistics of groups and batches, and attention: functions of ``telegrad.nn.functional`` made of ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.modes import no_grad, refuse_gradient
from telegrad.contract.shapes import ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.wrapper import Wrapped

T = TypeVar("T", bound=Tensor)

EPSILON = {"float16": 2.0**-23, "float32": 2.0**-23, "float64": 2.0**-52, "complex64": 2.0**-23, "complex128": 2.0**-52}
"""The gap after 1 in the type that each type is computed in."""


def _input(name: str, x: Any, allow_complex: bool = False) -> Any:
    """``x`` if it is a tensor of floating numbers, or where allowed of complex ones."""
    if not isinstance(x, TensorBase):
        raise ArgumentTypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    tensor: Any = x
    if not (tensor.dtype.is_floating_point or (allow_complex and tensor.dtype.is_complex)):
        raise UnsupportedDTypeError(
            f'"{name}" not implemented for {tensor.dtype.name}; convert it first, for example with .to(telegrad.float32)'
        )
    return tensor


def _channels(name: str, x: Any) -> int:
    """The size of the second dimension."""
    if len(x.shape) < 2:
        raise ShapeError(f"{name}(): Expected at least 2 dimensions for input tensor but received {len(x.shape)}")
    return x.shape[1]  # type: ignore[no-any-return]


def _check_vectors(x: Any, channels: int, **vectors: Any) -> None:
    """Refuse weights and statistics that are not one number per channel of the input's type."""
    for name, vector in vectors.items():
        if vector is None:
            continue
        if vector.shape != (channels,):
            raise ShapeError(f"{name} should contain {channels} elements not {vector.numel()}: it has shape {list(vector.shape)}")
        if vector.dtype is not x.dtype:
            raise DTypeError(
                f"mixed dtype: all inputs must share same datatype, but the input has {x.dtype.name} and {name} {vector.dtype.name}"
            )


def _along_channels(vector: Any, x: Any) -> Any:
    """A vector shaped to broadcast along dimension 1."""
    return vector.reshape((-1,) + (1,) * (len(x.shape) - 2))


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    """Each channel times its weight plus its bias."""
    if weight is not None:
        x = x * _along_channels(weight, x)
    if bias is not None:
        x = x + _along_channels(bias, x)
    return x


def _normalise_rows(x: Any, rows: tuple[int, ...], eps: float) -> Any:
    """``x`` shifted and scaled to mean 0 and variance 1 in each of the groups that ``rows`` count."""
    size = math.prod(x.shape) // math.prod(rows) if math.prod(rows) else 1
    return x.reshape((*rows, size)).layer_norm((size,), None, None, eps).reshape(x.shape)


def _check_momentum(name: str, momentum: Any) -> None:
    if isinstance(momentum, bool) or not isinstance(momentum, (int, float)):
        raise ArgumentTypeError(f"{name}(): argument 'momentum' must be float, not {type(momentum).__name__}")


def _remember(running: Any, new: Any, momentum: float) -> None:
    """Move running statistics towards those of this batch."""
    with no_grad():
        running.copy_(running * (1 - momentum) + new * momentum)


def _refuse_gradients(running_mean: Any, running_var: Any) -> None:
    refuse_gradient("native_batch_norm", "running_mean", running_mean)
    refuse_gradient("native_batch_norm", "running_var", running_var)


def batch_norm(
    input: T,
    running_mean: T | None,
    running_var: T | None,
    weight: T | None = None,
    bias: T | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> T:
    """Shift and scale each channel to mean 0 and variance 1, then ``* weight + bias``.

    When training, by the batch's own statistics, towards which the running ones, if given, move in place by ``momentum`` (the
    variance with Bessel's correction); otherwise by the running statistics.

    Shapes: [N, C, ...], [C] four times -> [N, C, ...]. Raises: ShapeError, DTypeError; ArgumentValueError for a batch of one
    value a channel. Source: Ioffe & Szegedy (2015), arXiv:1502.03167.
    """
    x = _input("batch_norm", input)
    _check_momentum("batch_norm", momentum)
    if x.shape == (0,):  # of a vector of nothing PyTorch asks no channels
        x = x.clone() if weight is None else x * weight[0]
        return x if bias is None else x + bias[0]  # type: ignore[no-any-return]
    channels = _channels("batch_norm", x)
    count = math.prod(x.shape) // channels if channels else 0
    if not training:
        for name, value in (("running_mean", running_mean), ("running_var", running_var)):
            if value is None:
                raise ShapeError(f"{name} must be defined in evaluation mode")
    elif count == 1:
        raise ArgumentValueError(f"Expected more than 1 value per channel when training, got input size {list(x.shape)}")
    elif eps <= 0:
        raise ArgumentValueError(f"batch_norm eps must be positive during training, but got {eps}")
    _refuse_gradients(running_mean, running_var)
    if (running_mean is None) != (running_var is None):
        raise ArgumentValueError("running_mean and running_var must either both be None or neither be None")
    _check_vectors(x, channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        mean: Any = running_mean
        variance: Any = running_var
        scale = _along_channels((variance.detach() + eps).rsqrt(), x)
        return _affine((x - _along_channels(mean.detach(), x)) * scale, weight, bias)  # type: ignore[no-any-return]
    dims = [d for d in range(len(x.shape)) if d != 1]
    normal = _normalise_rows(x.transpose(0, 1), (channels,), eps).transpose(0, 1)
    if running_mean is not None and running_var is not None and count:
        with no_grad():
            _remember(running_mean, x.mean(dims), momentum)
            _remember(running_var, x.var(dims), momentum)
    return _affine(normal, weight, bias)  # type: ignore[no-any-return]


def group_norm(input: T, num_groups: int, weight: T | None = None, bias: T | None = None, eps: float = 1e-5) -> T:
    """Shift and scale each sample's groups of channels to mean 0 and variance 1, then ``* weight + bias`` by channel.

    Shapes: [N, C, ...], [C] twice -> [N, C, ...]. Raises: ShapeError if ``num_groups`` does not divide C. Source: Wu & He (2018),
    arXiv:1803.08494.
    """
    x = _input("group_norm", input)
    channels = _channels("group_norm", x)
    if num_groups <= 0:
        raise ShapeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise ShapeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(x.shape)} and "
            f"num_groups={num_groups}"
        )
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.shape != (channels,):
            raise ShapeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
                f"{list(value.shape)} and input of shape {list(x.shape)}"
            )
    _check_vectors(x, channels, weight=weight, bias=bias)
    if x.shape[0] * channels // num_groups * math.prod(x.shape[2:]) == 1:
        raise ArgumentValueError(f"Expected more than 1 value per channel when training, got input size {list(x.shape)}")
    return _affine(_normalise_rows(x, (x.shape[0], num_groups), eps), weight, bias)  # type: ignore[no-any-return]


def instance_norm(
    input: T,
    running_mean: T | None = None,
    running_var: T | None = None,
    weight: T | None = None,
    bias: T | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> T:
    """Shift and scale each channel of each sample to mean 0 and variance 1, then ``* weight + bias`` by channel.

    Running statistics, if given, move in place towards the samples' mean ones by ``momentum``; with ``use_input_stats=False``
    they stand in for the input's own.

    Shapes: [N, C, ...], [C] four times -> [N, C, ...]. Raises: ArgumentValueError for a single value a channel.
    Source: Ulyanov, Vedaldi & Lempitsky (2016), arXiv:1607.08022.
    """
    x = _input("instance_norm", input)
    _check_momentum("instance_norm", momentum)
    channels = _channels("instance_norm", x)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ShapeError("Expected running_mean and running_var to be defined when use_input_stats is false")
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    _refuse_gradients(running_mean, running_var)
    if math.prod(x.shape[2:]) == 1:
        raise ArgumentValueError(f"Expected more than 1 spatial element when training, got input size {list(x.shape)}")
    _check_vectors(x, channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    normal = _normalise_rows(x, (x.shape[0], channels), eps)
    dims = list(range(2, len(x.shape)))
    with no_grad():
        if running_mean is not None:
            _remember(running_mean, x.mean([0, *dims]), momentum)
        if running_var is not None:
            _remember(running_var, x.var(dims).mean(0), momentum)
    return _affine(normal, weight, bias)  # type: ignore[no-any-return]


def rms_norm(input: T, normalized_shape: Sequence[int], weight: T | None = None, eps: float | None = None) -> T:
    """Divide by the root of the mean square over the last dimensions, then ``* weight``; ``eps`` is the type's own by default.

    Shapes: [..., *normalized_shape], [*normalized_shape] -> same. Raises: ShapeError. Source: Zhang & Sennrich (2019),
    arXiv:1910.07467.
    """
    x = _input("rms_norm", input, allow_complex=True)
    if isinstance(normalized_shape, int):
        raise ArgumentTypeError("rms_norm(): argument 'normalized_shape' (position 2) must be tuple of ints, not int")
    shape = ints(normalized_shape, "normalized_shape")
    if not shape:
        raise ShapeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got []"
        )
    if tuple(x.shape[len(x.shape) - len(shape) :]) != shape or len(x.shape) < len(shape):
        raise ShapeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of "
            f"size {list(x.shape)}"
        )
    if weight is not None and tuple(weight.shape) != shape:
        raise ShapeError(
            f"Expected weight to be of same shape as normalized_shape, but got weight of shape {list(weight.shape)} and "
            f"normalized_shape = {list(shape)}"
        )
    wide = x.to(dtypes.float32) if x.dtype is dtypes.float16 else x
    square = (wide * wide).mean(list(range(len(x.shape) - len(shape), len(x.shape))), True)
    normal = wide * (square + (EPSILON[x.dtype.name] if eps is None else eps)).rsqrt()
    result = normal if weight is None else normal * weight
    return result.to(x.dtype)  # type: ignore[no-any-return]


def scaled_dot_product_attention(
    query: T,
    key: T,
    value: T,
    attn_mask: T | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> T:
    """Means of the values, weighted by the softmax of ``scale * query @ key^T``.

    Args:
        query: [..., L, E].
        key: [..., S, E].
        value: [..., S, V].
        attn_mask: broadcasts to [..., L, S]: True where a query may look, or a number to add to each score. A query that may look
            nowhere gets zeros.
        dropout_p: the probability of dropping each weight, drawn from the session's generator; 0 for evaluation.
        is_causal: query i looks at keys 0 to i only.
        scale: 1 / sqrt(E) by default.
        enable_gqa: several heads of the query (dimension -3) share one of key and value.

    Returns:
        [..., L, V]. Raises ShapeError, DTypeError. Source: Vaswani et al. (2017), arXiv:1706.03762.
    """
    name = "scaled_dot_product_attention"
    q, k, v = _input(name, query), _input(name, key), _input(name, value)
    mask: Any = attn_mask
    _check_attention(q, k, v, mask, dropout_p, is_causal)
    if enable_gqa:
        heads = q.size(-3)
        k, v = _shared(k, heads), _shared(v, heads)
    if _is_one_node(q, k, v, mask, dropout_p):
        return q._attention(k, v, mask, is_causal=is_causal, scale=scale)  # type: ignore[no-any-return]
    factor = (1 / math.sqrt(q.shape[-1]) if q.shape[-1] else math.inf) if scale is None else scale
    scores = (q * factor) @ k.transpose(-2, -1)
    if is_causal:
        mask = q.new_ones((q.shape[-2], k.shape[-2]), dtype=dtypes.bool_).tril()
    if mask is None:
        weights = scores.softmax(-1)
    else:
        scores = scores.where(mask, -math.inf) if mask.dtype is dtypes.bool_ else scores + mask.to(q.dtype)
        # The softmax of nothing but -inf is NaN, and so would be its gradient: both are cut out.
        blind = (scores == -math.inf).all(-1, True)
        weights = scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)
    if dropout_p:
        weights = weights.dropout(dropout_p)
    return weights @ v  # type: ignore[no-any-return]


def _is_one_node(q: Any, k: Any, v: Any, mask: Any, dropout_p: float) -> bool:
    """Whether PyTorch has one node for the call, on a CPU: heads of one size, nothing dropped, no gradient for the mask."""
    fits = len(q.shape) == 4 and q.shape[:2] == k.shape[:2] == v.shape[:2] and q.shape[3] == k.shape[3] == v.shape[3]
    if dropout_p or not fits or k.shape[2] != v.shape[2] or 0 in (*q.shape, *k.shape) or not q.dtype.is_floating_point:
        return False
    return mask is None or (1 < len(mask.shape) <= 4 and not _may_require_grad(mask))


def _may_require_grad(mask: Any) -> bool:
    """Whether a mask requires grad, or may have a tangent; yes where only the server could tell, whom a plain call of an async
    session cannot ask.
    """
    if mask.dtype is dtypes.bool_:
        return False
    if isinstance(mask, Wrapped):
        return True
    told = mask.requires_grad
    if type(told) is bool:
        return told
    told.close()
    return True


def _check_attention(q: Any, k: Any, v: Any, mask: Any, dropout_p: float, is_causal: bool) -> None:
    if not q.dtype is k.dtype is v.dtype:
        raise DTypeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {q.dtype.name} key.dtype: {k.dtype.name} "
            f"and value.dtype: {v.dtype.name} instead."
        )
    if min(len(q.shape), len(k.shape), len(v.shape)) < 2:
        raise ShapeError(
            f"Expected query, key, and value to all be at least 2 dimensional, but got query.dim: {len(q.shape)} key.dim: "
            f"{len(k.shape)} and value.dim: {len(v.shape)} instead."
        )
    if not 0 <= dropout_p <= 1:
        raise ShapeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if mask is None:
        return
    if is_causal:
        raise ShapeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if mask.dtype not in (dtypes.bool_, dtypes.float32, q.dtype):
        raise DTypeError(
            f"Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {mask.dtype.name} and "
            f"query.dtype: {q.dtype.name} instead."
        )


def _shared(x: Any, heads: int) -> Any:
    """``x`` with each head (dimension -3) repeated until there are ``heads``."""
    own = x.size(-3)
    if not own or heads % own:
        raise ShapeError(
            f"Number of heads in key and value must divide the number of heads in query: {own} does not divide {heads}"
        )
    return x.repeat_interleave(heads // own, -3)
