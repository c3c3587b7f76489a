"""Samples of normalisation by statistics of groups and batches, and of attention."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand

_MASK = np.array([[True, False, True, True], [False, False, False, False], [True, True, False, False]])


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


_Q, _K, _V = rand(3, 2), rand(4, 2, seed=1), rand(4, 3, seed=2)
_FUSED = "_scaled_dot_product_attention"
_LIKE_HEADS = (rand(2, 2, 3, 2), rand(2, 2, 4, 2, seed=1), rand(2, 2, 4, 2, seed=2))
_HEADS = (rand(2, 2, 3, 2), rand(2, 2, 4, 2, seed=1), rand(2, 2, 4, 3, seed=2))

SAMPLES: list[Sample] = [
    Sample(F("rms_norm"), (complexes(2, 3), (3,), complexes(3, seed=2))),
    Sample(F("batch_norm"), (rand(0), rand(0), rand(0)), {"training": True}),
    Sample(F("batch_norm"), (rand(4, 3), None, None), {"training": True}),
    Sample(F("batch_norm"), (rand(2, 3, 2), None, None, rand(3, seed=1), rand(3, seed=2), True), {"eps": 1e-3}),
    Sample(F("batch_norm"), (rand(0, 3), None, None), {"training": True}),
    Sample(F("group_norm"), (rand(2, 4), 2)),
    Sample(F("group_norm"), (rand(2, 4, 3), 2, rand(4, seed=1), rand(4, seed=2), 1e-3)),
    Sample(F("group_norm"), (rand(0, 4), 2)),
    Sample(F("instance_norm"), (rand(2, 3, 4),)),
    Sample(F("instance_norm"), (rand(2, 3, 2, 2),), {"weight": rand(3, seed=1), "bias": rand(3, seed=2)}),
    Sample(F("rms_norm"), (rand(2, 4), (4,))),
    Sample(F("rms_norm"), (rand(2, 3, 2), (3, 2), rand(3, 2, seed=1), 1e-3)),
    Sample(F("scaled_dot_product_attention"), (_Q, _K, _V)),
    Sample(F("scaled_dot_product_attention"), _HEADS, {"scale": 0.3, "is_causal": True}),
    Sample(F("scaled_dot_product_attention"), (_Q, _K, _V, _MASK), note="one query sees nothing"),
    Sample(F("scaled_dot_product_attention"), (*_HEADS, rand(3, 4, seed=3)), note="scores to add"),
    Sample(F("scaled_dot_product_attention"), (rand(4, 3, 2), _K[None, :, :], _V[None, :, :]), {"enable_gqa": True}),
    Sample(F("scaled_dot_product_attention"), _LIKE_HEADS, op=_FUSED),
    Sample(F("scaled_dot_product_attention"), _LIKE_HEADS, {"is_causal": True}, op=_FUSED),
    Sample(F("scaled_dot_product_attention"), (*_LIKE_HEADS, _MASK), {"scale": 0.3}, op=_FUSED, note="one query sees nothing"),
    Sample(F("scaled_dot_product_attention"), (*_LIKE_HEADS, rand(2, 1, 3, 4, seed=3)), note="scores to learn"),
    Sample(F("scaled_dot_product_attention"), _LIKE_HEADS, {"scale": 0.3}, op=_FUSED),
    Sample(F("scaled_dot_product_attention"), (_Q, _K, _V), {"dropout_p": 1.0}, note="nothing kept"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample(F("batch_norm"), (rand(2, 3), None, None), match="running_mean must be defined in evaluation mode"),
    ErrorSample(F("batch_norm"), (rand(2, 3), rand(3), None), match="running_var must be defined in evaluation mode"),
    ErrorSample(
        F("batch_norm"), (rand(1, 3), None, None), {"training": True}, ValueError, "Expected more than 1 value per channel"
    ),
    ErrorSample(
        F("batch_norm"), (rand(2, 3), None, rand(3)), {"training": True}, ValueError, "must either both be None or neither"
    ),
    ErrorSample(F("batch_norm"), (rand(2, 3), rand(2), rand(3)), match="running_mean should contain 3 elements not 2"),
    ErrorSample(F("batch_norm"), (rand(2, 3), rand(3), rand(3), rand(4)), match="weight should contain 3 elements not 4"),
    ErrorSample(F("batch_norm"), (ints(2, 3), rand(3), rand(3)), match="not implemented for"),
    ErrorSample(F("batch_norm"), (rand(2, 3), rand(3, dtype="float32"), rand(3)), match="mixed dtype"),
    ErrorSample(F("batch_norm"), (rand(2, 3), None, None), {"training": True, "eps": 0.0}, ValueError, "eps must be positive"),
    ErrorSample(F("batch_norm"), (rand(2, 3), rand(3), rand(3)), {"momentum": None}, TypeError, "must be float, not NoneType"),
    ErrorSample(F("group_norm"), (rand(2, 3), 2), match="to be divisible by num_groups"),
    ErrorSample(F("group_norm"), (rand(4), 2), match="Expected at least 2 dimensions for input tensor but received 1"),
    ErrorSample(F("group_norm"), (rand(2, 4), 2, rand(3)), match="Expected weight to be a vector of size equal to the number"),
    ErrorSample(F("instance_norm"), (rand(2, 3, 1),), error=ValueError, match="Expected more than 1 spatial element when training"),
    ErrorSample(F("instance_norm"), (rand(2, 3, 4),), {"use_input_stats": False}, match="Expected running_mean and running_var"),
    ErrorSample(F("rms_norm"), (rand(2, 4), (3,)), match="Given normalized_shape=[3], expected input with shape"),
    ErrorSample(F("rms_norm"), (rand(2, 4), (4,), rand(3)), match="Expected weight to be of same shape as normalized_shape"),
    ErrorSample(F("rms_norm"), (rand(2, 4), ()), match="at least 1-dimensional"),
    ErrorSample(F("scaled_dot_product_attention"), (rand(2), _K, _V), match="2 dimensional, but got query.dim: 1"),
    ErrorSample(F("scaled_dot_product_attention"), (_Q, _V, _V), match="cannot be multiplied"),
    ErrorSample(
        F("scaled_dot_product_attention"), (_Q, _K, _V, _MASK), {"is_causal": True}, match="should not be set when is_causal"
    ),
    ErrorSample(F("scaled_dot_product_attention"), (_Q, _K, _V, ints(3, 4)), match="Expected attn_mask dtype to be bool or float"),
    ErrorSample(F("scaled_dot_product_attention"), (_Q, _K.astype("float32"), _V), match="to have the same dtype"),
    ErrorSample(F("scaled_dot_product_attention"), (_Q, _K, _V), {"dropout_p": 1.5}, match="dropout probability has to be between"),
    ErrorSample(F("scaled_dot_product_attention"), (complexes(3, 2),) * 3, match="not implemented for"),
]
