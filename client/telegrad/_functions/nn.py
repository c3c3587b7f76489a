"""Free functions of the nn family that PyTorch also has at its top level; the rest is in ``telegrad.nn.functional``."""

from __future__ import annotations

from telegrad.contract.functions.free import free
from telegrad.contract.functions.nn import (
    adaptive_avg_pool1d,
    avg_pool1d,
    bilinear,
    celu,
    celu_,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    group_norm,
    hardshrink,
    layer_norm,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    rms_norm,
    rrelu,
    selu,
    selu_,
    threshold,
    threshold_,
)
from telegrad.contract.functions.out import SAME
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "avg_pool1d",
    "bilinear",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_similarity",
    "group_norm",
    "hardshrink",
    "layer_norm",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu_",
    "rms_norm",
    "rrelu",
    "selu",
    "selu_",
    "softmax",
    "threshold",
    "threshold_",
]

log_softmax = free(Tensor.log_softmax, out=SAME)
relu = free(Tensor.relu)
relu_ = free(Tensor.relu_)
softmax = free(Tensor.softmax, out=SAME)
