"""Samples of losses with margins, random activations and dropout of channels, which are made of other ops."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, ints, rand


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


_SIGNS = np.array([1.0, -1.0, 1.0])
_A, _B, _C = rand(3, 4), rand(3, 4, seed=1), rand(3, 4, seed=2)
_LABELS = np.array([[3, 0, -1, 1], [-1, 1, 2, 0], [0, 1, 2, 3]])

_CHANNELS = ("dropout1d", "alpha_dropout", "feature_alpha_dropout")

SAMPLES: list[Sample] = [
    Sample(F("multi_margin_loss"), (rand(), np.asarray(0)), second=False),
    Sample(F("bilinear"), (ints(2, 3, dtype="int32"), ints(2, 4, dtype="int32"), ints(5, 3, 4, dtype="int32")), gradient=False),
    Sample(F("cosine_embedding_loss"), (_A, _B, _SIGNS, 0.1), op="clamp_min"),
    Sample(F("cosine_embedding_loss"), (_A[0], _B[0], np.array(1.0)), {"reduction": "none"}, op="clamp_min"),
    Sample(F("gaussian_nll_loss"), (_A, _B, np.abs(_C) + 0.1), op="log"),
    Sample(F("gaussian_nll_loss"), (_A, _B, np.abs(_C[:, 0]) + 0.1), {"full": True, "reduction": "sum"}, op="log"),
    Sample(F("gaussian_nll_loss"), (_A, _B, 1.5), {"reduction": "none"}, op="log"),
    Sample(F("multi_margin_loss"), (_A, np.array([1, 3, 0])), op="gather", second=False),
    Sample(F("multi_margin_loss"), (_A, np.array([1, 3, 0]), 2, 0.7), {"reduction": "none"}, op="gather", second=False),
    Sample(F("multi_margin_loss"), (_A[0], np.array(2)), {"reduction": "sum"}, op="gather", second=False),
    Sample(F("multilabel_margin_loss"), (_A, _LABELS), op="gather", second=False),
    Sample(F("multilabel_margin_loss"), (_A[0], _LABELS[0]), {"reduction": "none"}, op="gather", second=False),
    Sample(F("multilabel_soft_margin_loss"), (_A, (_B > 0).astype("float64")), op="logsigmoid"),
    Sample(F("multilabel_soft_margin_loss"), (_A, (_B > 0) * 1.0, rand(4, low=0.1)), {"reduction": "none"}, op="logsigmoid"),
    Sample(F("triplet_margin_with_distance_loss"), (_A, _B, _C), {"margin": 2.0, "swap": True}, op="norm"),
    Sample(F("bilinear"), (_A, rand(3, 2), rand(2, 4, 2), rand(2)), op="matmul"),
    Sample(F("bilinear"), (rand(2, 1, 3), rand(2, 1, 2), rand(2, 3, 2)), op="matmul"),
    *[Sample(F(f"dropout{n}d"), (rand(2, 3, *[2] * n), 0.3, False), op="dropout") for n in (1, 2, 3)],
    *[Sample(F(name), (rand(2, 3, 2), 1.0, True), op="dropout") for name in _CHANNELS],
    *[Sample(F(name), (np.ones((40, 25, 4)), 0.3, True), op="dropout", gradient=False, random=True) for name in _CHANNELS],
    Sample(F("rrelu"), (_A,), op="leaky_relu"),
    Sample(F("rrelu"), (_A, 0.2, 0.2, True), op="rand_like"),
    Sample(F("gumbel_softmax"), (rand(300, 3),), {"tau": 0.5}, op="softmax", gradient=False, random=True),
    Sample(F("gumbel_softmax"), (rand(300, 3),), {"hard": True}, op="softmax", gradient=False, random=True),
]

ERRORS: list[ErrorSample] = [
    ErrorSample(F("cosine_embedding_loss"), (_A, _B, np.array(1.0)), match="0D target tensor expects 1D input tensors"),
    ErrorSample(F("cosine_embedding_loss"), (_A[0], _B[0], _SIGNS), match="1D target tensor expects 2D input tensors"),
    ErrorSample(F("gaussian_nll_loss"), (_A, _B, -1.0), error=ValueError, match="negative entry"),
    ErrorSample(F("gaussian_nll_loss"), (_A, _B, rand(5)), error=ValueError, match="var is of incorrect size"),
    ErrorSample(F("multi_margin_loss"), (_A, np.array([1, 3, 0]), 3), error=ValueError, match="only p == 1 and p == 2"),
    ErrorSample(F("multi_margin_loss"), (_A, np.array([1, 3])), match="inconsistent target size"),
    ErrorSample(F("multilabel_margin_loss"), (_A, ints(3, 3)), match="inconsistent target size"),
    ErrorSample(F("multilabel_margin_loss"), (_A, _LABELS + 1), match="target values must be in"),
    ErrorSample(F("bilinear"), (_A, rand(2, 2), rand(2, 4, 2)), match="input batch dimensions do not match"),
    ErrorSample(F("triplet_margin_with_distance_loss"), (_A, _B, _C), {"margin": 0.0}, ValueError, "margin must be greater than 0"),
    ErrorSample(F("dropout2d"), (rand(2, 3, 2), 1.5), error=ValueError, match="between 0 and 1"),
    ErrorSample(F("rrelu"), (_A, 0.5, 0.2), match="Lower bound should be less than or equal"),
]
