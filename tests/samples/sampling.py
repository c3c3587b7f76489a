"""Samples of sampling at points, bags of embeddings, distances and renorm."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


_IMAGE, _GRID = rand(2, 2, 3, 4), rand(2, 2, 3, 2, low=-1.3, high=1.3, seed=1)
_BAGS, _TABLE = np.array([[0, 2, 2], [3, 1, 0]]), rand(4, 2)
_WORDS, _OFFSETS = np.array([3, 1, 1, 0, 2, 3]), np.array([0, 2, 2, 5])

SAMPLES: list[Sample] = [
    *[
        Sample(
            F("grid_sample"),
            (_IMAGE, _GRID),
            {"mode": mode, "padding_mode": padding, "align_corners": align},
            op="grid_sample",
            second=mode == "bilinear",
            differences=mode != "nearest",
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding, align in (("zeros", False), ("border", True), ("reflection", False))
    ],
    Sample(F("grid_sample"), (rand(1, 2, 2, 3, 2), rand(1, 2, 1, 2, 3, seed=1)), {"align_corners": True}, op="grid_sample"),
    Sample(F("affine_grid"), (rand(2, 2, 3), (2, 1, 3, 2)), {"align_corners": False}, op="mul"),
    Sample(F("affine_grid"), (rand(1, 3, 4), (1, 1, 2, 1, 3)), {"align_corners": True}, op="mul"),
    *[
        Sample(F("embedding_bag"), (_BAGS, _TABLE), {"mode": mode}, op="embedding_bag", second=False)
        for mode in ("sum", "mean", "max")
    ],
    *[
        Sample(F("embedding_bag"), (_WORDS, _TABLE, _OFFSETS), {"mode": mode, "padding_idx": -3}, op="embedding_bag", second=False)
        for mode in ("sum", "mean", "max")
    ],
    Sample(
        F("embedding_bag"),
        (_WORDS, _TABLE, np.array([0, 2, 6])),
        {"mode": "sum", "include_last_offset": True, "per_sample_weights": rand(6)},
        op="embedding_bag",
        second=False,
    ),
    Sample(F("embedding_bag"), (np.zeros((0,), "int64"), _TABLE, np.array([0, 0])), op="embedding_bag", second=False),
    *[Sample("cdist", (rand(3, 2), rand(4, 2, seed=1), p), op="cdist", second=False) for p in (1.0, 2.0, 3.0, float("inf"))],
    Sample("cdist", (rand(3, 2), rand(4, 2, seed=1), 0.0), op="cdist", second=False),
    Sample(
        "cdist",
        (rand(2, 1, 3, 2), rand(2, 3, 2, seed=1)),
        {"compute_mode": "donot_use_mm_for_euclid_dist"},
        op="cdist",
        second=False,
    ),
    Sample(F("pdist"), (rand(4, 2),), op="pdist", second=False),
    Sample(F("pdist"), (rand(3, 2), 1.5), op="pdist", second=False),
    Sample(F("pdist"), (rand(1, 2),), op="pdist", second=False),
    *[Sample("renorm", (rand(3, 2, 2), p, 0, 1.5), op="renorm") for p in (1, 2, 3.5)],
    Sample("renorm", (rand(3, 2), float("inf"), -1, 1.5), op="renorm"),
    Sample("renorm", (complexes(3, 2), 2, 1, 1.0), op="renorm"),
    Sample("Tensor.renorm", (rand(3, 2), 2, 0, 100), op="renorm"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample(
        F("embedding_bag"), (_BAGS, _TABLE), {"mode": "max", "scale_grad_by_freq": True}, ValueError, "max mode does not support"
    ),
    ErrorSample(F("grid_sample"), (_IMAGE, _GRID[:1]), match="expected grid and input to have same batch size"),
    ErrorSample(F("grid_sample"), (_IMAGE, rand(2, 2, 3, 3)), match="expected grid to have size 2 in last dimension"),
    ErrorSample(F("grid_sample"), (_IMAGE, _GRID), {"mode": "cubic"}, ValueError, "expected mode to be"),
    ErrorSample(F("grid_sample"), (_IMAGE, _GRID), {"padding_mode": "same"}, ValueError, "expected padding_mode to be"),
    ErrorSample(F("grid_sample"), (_IMAGE, _GRID.astype("float32")), match="expected scalar type float64 but found float32"),
    ErrorSample(F("affine_grid"), (rand(2, 3), (2, 3, 4, 5)), error=ValueError, match="Expected a batch of 2D affine matrices"),
    ErrorSample(F("affine_grid"), (rand(2, 2, 3), (2, 3, 4)), error=NotImplementedError, match="only supports 4D and 5D sizes"),
    ErrorSample(F("affine_grid"), (rand(2, 2, 3), (2, 3, 0, 5)), error=ValueError, match="Expected non-zero, positive"),
    ErrorSample(F("embedding_bag"), (_WORDS, _TABLE), error=ValueError, match="offsets has to be a 1D Tensor but got None"),
    ErrorSample(F("embedding_bag"), (_BAGS, _TABLE, _OFFSETS), error=ValueError, match="if input is 2D, then offsets has"),
    ErrorSample(F("embedding_bag"), (_BAGS, _TABLE), {"mode": "least"}, ValueError, "mode has to be one of sum, mean or max"),
    ErrorSample(
        F("embedding_bag"),
        (_BAGS, _TABLE),
        {"per_sample_weights": rand(2, 3)},
        NotImplementedError,
        "only supported for mode='sum'",
    ),
    ErrorSample("cdist", (rand(3), rand(3, 3)), match="at least 2D tensors, X1 got: 1D"),
    ErrorSample("cdist", (rand(3, 2), rand(3, 3)), match="must have the same number of columns"),
    ErrorSample("cdist", (rand(3, 2), rand(3, 2), -1.0), match="non-negative p values"),
    ErrorSample("cdist", (ints(3, 2), ints(3, 2)), match="only supports floating-point dtypes"),
    ErrorSample("cdist", (rand(3, 2), rand(3, 2)), {"compute_mode": "fast"}, ValueError, "is not a valid value for compute_mode"),
    ErrorSample(F("pdist"), (rand(2, 3, 4),), match="pdist only supports 2D tensors"),
    ErrorSample("renorm", (rand(3), 2, 0, 1), match="needs at least 2 dimensions"),
    ErrorSample("renorm", (rand(3, 2), 0, 0, 1), match="non-positive-norm not supported"),
    ErrorSample("renorm", (rand(3, 2), 2, 0, -1), match="expected maxnorm to be >= 0"),
    ErrorSample("renorm", (rand(3, 2), 2, 4, 1), error=IndexError, match="Dimension out of range"),
    ErrorSample("renorm", (ints(3, 2), 2, 0, 1), match="Expected a floating point or complex tensor"),
]
