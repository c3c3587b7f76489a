"""``telegrad.nn.functional``: activations, losses, normalisation, as in ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract.dtypes import Number, promote_pair
from telegrad.contract.errors import ArgumentTypeError, DTypeError, UnsupportedDTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.functions.nn_arguments import log_softmax, softmax, softmin, with_older_arguments
from telegrad.contract.functions.nn_composite import (
    celu,
    celu_,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    mish,
    pairwise_distance,
    poisson_nll_loss,
    prelu,
    selu,
    selu_,
    soft_margin_loss,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
    threshold_,
    triplet_margin_loss,
)
from telegrad.contract.functions.nn_fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
    max_pool1d_with_indices,
    max_pool2d_with_indices,
    max_pool3d_with_indices,
)
from telegrad.contract.functions.nn_margins import (
    alpha_dropout,
    bilinear,
    cosine_embedding_loss,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
    gaussian_nll_loss,
    gumbel_softmax,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    rrelu,
    triplet_margin_with_distance_loss,
)
from telegrad.contract.functions.nn_normalisation import (
    batch_norm,
    group_norm,
    instance_norm,
    rms_norm,
    scaled_dot_product_attention,
)
from telegrad.contract.functions.nn_resampling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    channel_shuffle,
    fold,
    interpolate,
    local_response_norm,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
    upsample,
)
from telegrad.contract.functions.nn_sampling import (
    affine_grid,
    ctc_loss,
    embedding_bag,
    grid_sample,
    pdist,
    refuse_sparse,
    renormalise,
)
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.shapes import broadcast
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "upsample",
]

T = TypeVar("T", bound=Tensor)

avg_pool1d = free(Tensor.avg_pool1d)
avg_pool2d = free(Tensor.avg_pool2d, out=SAME)
avg_pool3d = free(Tensor.avg_pool3d, out=SAME)
binary_cross_entropy = with_older_arguments(free(Tensor.binary_cross_entropy))
binary_cross_entropy_with_logits = with_older_arguments(free(Tensor.binary_cross_entropy_with_logits))
conv1d = free(Tensor.conv1d)
conv2d = free(Tensor.conv2d)
conv3d = free(Tensor.conv3d)
conv_transpose1d = free(Tensor.conv_transpose1d)
conv_transpose2d = free(Tensor.conv_transpose2d)
conv_transpose3d = free(Tensor.conv_transpose3d)
cross_entropy = with_older_arguments(free(Tensor.cross_entropy))
gelu = free(Tensor.gelu, out=SAME)
huber_loss = with_older_arguments(free(Tensor.huber_loss))
l1_loss = with_older_arguments(free(Tensor.l1_loss))
layer_norm = free(Tensor.layer_norm)
leaky_relu_ = free(Tensor.leaky_relu_)
linear = free(Tensor.linear, out=SAME)
logsigmoid = free(Tensor.logsigmoid, out=SAME)
mse_loss = with_older_arguments(free(Tensor.mse_loss))
nll_loss = with_older_arguments(free(Tensor.nll_loss))
one_hot = free(Tensor.one_hot)
pad = free(Tensor.pad)
relu_ = free(Tensor.relu_)
sigmoid = free(Tensor.sigmoid)
smooth_l1_loss = with_older_arguments(free(Tensor.smooth_l1_loss))
softplus = free(Tensor.softplus, out=SAME)
tanh = free(Tensor.tanh)


def _tensor(name: str, value: T) -> T:
    if not isinstance(value, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(value).__name__}")
    return value


def relu(input: T, inplace: bool = False) -> T:
    """See ``Tensor.relu``; into the tensor itself if ``inplace``."""
    return _tensor("relu", input).relu_() if inplace else _tensor("relu", input).relu()


def relu6(input: T, inplace: bool = False) -> T:
    """The element, limited to [0, 6]; see ``hardtanh``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: T, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> T:
    """The element, limited to [min_val, max_val]; into the tensor itself if ``inplace``."""
    x = _tensor("hardtanh", input)
    return x.hardtanh_(min_val, max_val) if inplace else x.hardtanh(min_val, max_val)


def leaky_relu(input: T, negative_slope: float = 0.01, inplace: bool = False) -> T:
    """The element where positive, ``negative_slope`` times it elsewhere; into the tensor itself if ``inplace``."""
    x = _tensor("leaky_relu", input)
    return x.leaky_relu_(negative_slope) if inplace else x.leaky_relu(negative_slope)


def elu(input: T, alpha: Number = 1.0, inplace: bool = False) -> T:
    """The element where positive, ``alpha * (exp(x) - 1)`` elsewhere; into the tensor itself if ``inplace``."""
    x = _tensor("elu", input)
    return x.elu_(alpha) if inplace else x.elu(alpha)


def elu_(input: T, alpha: Number = 1.0) -> T:
    """``elu`` into the tensor itself."""
    return elu(input, alpha, inplace=True)


def hardtanh_(input: T, min_val: float = -1.0, max_val: float = 1.0) -> T:
    """``hardtanh`` into the tensor itself."""
    return hardtanh(input, min_val, max_val, inplace=True)


def silu(input: T, inplace: bool = False) -> T:
    """The element times its sigmoid; into the tensor itself if ``inplace``."""
    return _tensor("silu", input).silu_() if inplace else _tensor("silu", input).silu()


@takes_out(CASTS)
def normalize(input: T, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> T:
    """The tensor over its ``p``-norm along ``dim``; norms below ``eps`` count as ``eps``."""
    x = _tensor("normalize", input)
    return x / x.norm(p, dim, True).clamp_min(eps)


def cosine_similarity(x1: T, x2: T, dim: int = 1, eps: float = 1e-8) -> T:
    """Cosine of the angle between vectors along ``dim``; norms below ``eps`` count as ``eps``. Shapes broadcast."""
    first: Any = _tensor("cosine_similarity", x1)
    second: Any = _tensor("cosine_similarity", x2)
    common = promote_pair(first.dtype, second.dtype)
    if not common.is_floating_point:
        raise DTypeError("expected common dtype to be floating point, yet it is not; convert with .to(telegrad.float32)")
    shape = broadcast(first.shape, second.shape)
    first, second = first.to(common).expand(shape), second.to(common).expand(shape)
    left = first / first.norm(2, dim, True).clamp_min(eps)
    right = second / second.norm(2, dim, True).clamp_min(eps)
    return (left * right).sum(dim)  # type: ignore[no-any-return]


def dropout(input: T, p: float = 0.5, training: bool = True, inplace: bool = False) -> T:
    """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)``; the tensor itself if not training.

    Draws from the session's generator. Raises ArgumentValueError if ``p`` is outside [0, 1].
    """
    dropped = _tensor("dropout", input).dropout(p, training)
    if inplace and dropped is not input:
        return input.copy_(dropped)
    return dropped


def embedding(
    input: T,
    weight: T,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> T:
    """Rows of ``weight`` named by the integers of ``input``; row ``padding_idx`` gets no gradient.

    With ``max_norm``, rows that are named and whose ``norm_type``-norm is larger are first scaled down to it, in ``weight`` itself.
    Raises ArgumentValueError for ``sparse``: there are no sparse gradients.
    """
    refuse_sparse("embedding", sparse)
    indices = _tensor("embedding", input)
    if max_norm is not None:
        renormalise(indices, weight, max_norm, norm_type)
    return indices.embedding(weight, padding_idx, scale_grad_by_freq)


def max_pool1d(
    input: T,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> T | tuple[T, T]:
    """Largest element of each window, and with ``return_indices`` its place in the flattened plane; see ``Tensor.max_pool1d``."""
    x = _tensor("max_pool1d", input)
    if not return_indices and not x.dtype.is_differentiable:
        raise UnsupportedDTypeError(f'"max_pool1d" not implemented for {x.dtype.name}; convert it first, with .to(...)')
    found = x.max_pool1d(kernel_size, stride, padding, dilation, ceil_mode)
    return found if return_indices else found[0]


def max_pool2d(
    input: T,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> T | tuple[T, T]:
    """Largest element of each window, and with ``return_indices`` its place in the flattened plane; see ``Tensor.max_pool2d``."""
    found = _tensor("max_pool2d", input).max_pool2d(kernel_size, stride, padding, dilation, ceil_mode)
    return found if return_indices else found[0]


def max_pool3d(
    input: T,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> T | tuple[T, T]:
    """Largest element of each window, and with ``return_indices`` its place in the flattened plane; see ``Tensor.max_pool3d``."""
    found = _tensor("max_pool3d", input).max_pool3d(kernel_size, stride, padding, dilation, ceil_mode)
    return found if return_indices else found[0]
