"""Samples of losses."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand

_LOGITS = np.array([-500.0, -30.0, -1.0, 0.0, 2.0, 40.0, 500.0])
_ZEROS_ONES = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
_CLASSES = np.array([2, 0, 2, 1])
_IGNORED = np.array([2, -100, 0, -100])


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


def _probabilities(*shape: int, seed: int = 0) -> np.ndarray:
    return rand(*shape, low=0.05, high=0.95, seed=seed)


def _regression(name: str, *settings: dict[str, object], weighted: bool = True) -> list[Sample]:
    call = F(name)
    x, y = rand(2, 3), rand(2, 3, seed=1)
    found = [Sample(call, (x, y), {"reduction": r}, op=name) for r in ("mean", "sum", "none")]
    found += [
        Sample(call, (x, y), op=name),
        Sample(call, (rand(), rand(seed=1)), op=name),
        Sample(call, (rand(0, 3), rand(0, 3)), {"reduction": "none"}, op=name),
        Sample(call, (rand(0, 3), rand(0, 3)), {"reduction": "sum"}, op=name),
        Sample(call, (rand(0, 3), rand(0, 3)), op=name, gradient=False, note="mean of nothing"),
        Sample(call, (rand(2, 3), rand(3, seed=1)), op=name),
        Sample(call, (rand(3, 1), rand(2, seed=1)), {"reduction": "sum"}, op=name),
        Sample(call, (rand(2, 3), rand(2, 3, dtype="float32", seed=1)), op=name, float32=False, gradient=name != "huber_loss"),
        *[Sample(call, (3 * x, y), {"reduction": r, **s}, op=name) for s in settings for r in ("mean", "none")],
    ]
    if weighted:
        w = rand(2, 3, low=0.1, seed=2)
        found += [Sample(call, (x, y), {"reduction": r, "weight": w}, op=name) for r in ("mean", "sum", "none")]
    return found


def _classes(name: str, *, extra: tuple[dict[str, object], ...] = ({},)) -> list[Sample]:
    """Class indices of every shape, with weights, ignored samples and every reduction."""
    call = F(name)
    weight = rand(3, low=0.5, high=2.0, seed=4)
    found: list[Sample] = []
    for reduction in ("mean", "sum", "none"):
        for more in extra:
            kwargs = {"reduction": reduction, **more}
            found += [
                Sample(call, (rand(4, 3), _CLASSES), kwargs, op=name),
                Sample(call, (rand(4, 3), _IGNORED), kwargs, op=name, note="ignored"),
                Sample(call, (rand(4, 3), _CLASSES), {"ignore_index": 2, **kwargs}, op=name),
                Sample(call, (rand(3), np.array(1)), kwargs, op=name),
                Sample(call, (rand(2, 3, 2), np.array([[0, 2], [1, 1]])), kwargs, op=name),
                Sample(call, (rand(2, 3, 2, 2), ints(2, 2, 2, low=0, high=3)), kwargs, op=name),
            ]
    fixed = weight.copy()
    for reduction in ("mean", "sum", "none"):
        for more in extra:
            kwargs = {"reduction": reduction, **more}
            found += [
                Sample(call, (rand(4, 3), _IGNORED, fixed), kwargs, op=name, gradient=False),
                Sample(call, (rand(2, 3, 2), np.array([[0, 2], [1, 1]]), fixed), kwargs, op=name, gradient=False),
            ]
    found += [
        Sample(call, (rand(0, 3), np.zeros((0,), "int64")), {"reduction": "none"}, op=name),
        Sample(call, (rand(0, 3), np.zeros((0,), "int64")), {"reduction": "sum"}, op=name),
        Sample(call, (rand(0, 3), np.zeros((0,), "int64")), op=name, gradient=False, note="mean of nothing"),
        Sample(call, (rand(2, 3), np.array([-100, -100])), op=name, gradient=False, note="all ignored"),
        Sample(call, (rand(4, 3), _CLASSES.astype("uint8")), op=name),
        Sample(call, (rand(4, 3, dtype="float16"), _CLASSES), op=name, gradient=False),
    ]
    return found


_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])

SAMPLES: list[Sample] = [
    *[
        Sample(F("l1_loss"), (complexes(2, 3), complexes(2, 3, seed=2)), {"reduction": r}, op="l1_loss")
        for r in ("mean", "sum", "none")
    ],
    *_regression("mse_loss"),
    *_regression("l1_loss"),
    *_regression("smooth_l1_loss", {"beta": 0.5}, {"beta": 0.0}, weighted=False),
    *_regression("huber_loss", {"delta": 0.5}),
    Sample(F("l1_loss"), (np.array([1.0, 2.0]), np.array([1.0, 3.0])), op="l1_loss", differences=False, note="equal"),
    Sample(F("smooth_l1_loss"), (np.array([1.0, 2.0]), np.array([1.0, 3.0])), op="smooth_l1_loss", differences=False, note="kink"),
    Sample(
        F("huber_loss"), (np.array([1.0, 2.0]), np.array([1.0, 3.0])), op="huber_loss", differences=False, second=False, note="kink"
    ),
    # Two classes
    *[
        Sample(
            F("binary_cross_entropy"),
            (_probabilities(2, 3), _probabilities(2, 3, seed=1)),
            {"reduction": r},
            op="binary_cross_entropy",
        )
        for r in ("mean", "sum", "none")
    ],
    Sample(
        F("binary_cross_entropy"),
        (_probabilities(2, 3), _probabilities(2, 3, seed=1), rand(3, seed=2)),
        op="binary_cross_entropy",
        gradient=False,
        note="weight",
    ),
    Sample(F("binary_cross_entropy"), (np.array([0.0, 1.0]), np.array([1.0, 0.0])), op="binary_cross_entropy", gradient=False),
    *[
        Sample(
            F("binary_cross_entropy_with_logits"),
            (rand(2, 3), _probabilities(2, 3, seed=1)),
            {"reduction": r, **more},
            op="binary_cross_entropy_with_logits",
            torch=not more,
            note="PyTorch has no gradient for weights" if more else "",
        )
        for r in ("mean", "sum", "none")
        for more in (
            {},
            {"weight": rand(3, seed=2)},
            {"pos_weight": rand(3, low=0.5, seed=2)},
            {"weight": rand(2, 1, seed=3), "pos_weight": rand(3, low=0.5, seed=2)},
        )
    ],
    *[
        Sample(
            F("binary_cross_entropy_with_logits"),
            (rand(2, 3), _probabilities(2, 3, seed=1), rand(2, 1, seed=3)),
            {"reduction": r, "pos_weight": rand(3, low=0.5, seed=2)},
            op="binary_cross_entropy_with_logits",
            gradient=False,
        )
        for r in ("mean", "sum", "none")
    ],
    Sample(F("binary_cross_entropy_with_logits"), (_LOGITS, _ZEROS_ONES), op="binary_cross_entropy_with_logits", differences=False),
    Sample(
        F("binary_cross_entropy_with_logits"),
        (rand(2, 3), _probabilities(2, 3).astype("float32")),
        op="binary_cross_entropy_with_logits",
        float32=False,
    ),
    # Many classes
    *_classes("nll_loss"),
    *_classes("cross_entropy", extra=({}, {"label_smoothing": 0.2})),
    *[
        Sample(F("cross_entropy"), (x, y), {"reduction": r, **more}, op="cross_entropy")
        for r in ("mean", "sum", "none")
        for more in ({}, {"label_smoothing": 0.2}, {"weight": rand(3, low=0.5, seed=4)})
        for x, y in (
            (rand(4, 3), _probabilities(4, 3)),
            (rand(3), _probabilities(3)),
            (rand(2, 3, 2), _probabilities(2, 3, 2)),
        )
    ],
    Sample(F("cross_entropy"), (100 * rand(4, 3), _CLASSES), op="cross_entropy", differences=False, note="far"),
    Sample(F("cross_entropy"), (rand(4, 3, dtype="float32"), _probabilities(4, 3)), op="cross_entropy", float32=False),
    Sample(F("cross_entropy"), (), {"input": rand(4, 3), "target": _CLASSES}, op="cross_entropy"),
    # Losses that are made of other ops
    Sample("nn.functional.pairwise_distance", (rand(2, 3), rand(2, 3, seed=1)), op="norm"),
    Sample("nn.functional.pairwise_distance", (rand(2, 3), rand(3, seed=1), 1.0), {"keepdim": True}, op="norm"),
    Sample("nn.functional.margin_ranking_loss", (rand(4), rand(4, seed=1), _SIGNS), {"margin": 0.3}, op="clamp_min"),
    Sample("nn.functional.hinge_embedding_loss", (rand(4), _SIGNS), {"reduction": "none"}, op="masked_fill"),
    Sample("nn.functional.soft_margin_loss", (rand(4), _SIGNS), {"reduction": "sum"}, op="log1p"),
    *[
        Sample("nn.functional.kl_div", (rand(2, 3), rand(2, 3, low=0.1, seed=1)), {"reduction": reduction}, op="xlogy")
        for reduction in ("batchmean", "sum", "none")
    ],
    Sample("nn.functional.kl_div", (rand(3), rand(3, seed=1)), {"reduction": "sum", "log_target": True}, op="exp"),
    Sample("nn.functional.poisson_nll_loss", (rand(4), rand(4, low=0.2, high=3, seed=1)), {"full": True}, op="exp"),
    Sample("nn.functional.poisson_nll_loss", (rand(4, low=0.2), rand(4, low=0.2, seed=1)), {"log_input": False}, op="log"),
    *[
        Sample("nn.functional.triplet_margin_loss", (rand(2, 3), rand(2, 3, seed=1), rand(2, 3, seed=2)), settings, op="norm")
        for settings in ({}, {"swap": True, "margin": 2.0, "reduction": "none"})
    ],
]

ERRORS: list[ErrorSample] = [
    *[
        ErrorSample(f"nn.functional.{name}", (rand(2), rand(2)), {"reduction": "q"}, ValueError, "valid value for reduction")
        for name in ("hinge_embedding_loss", "soft_margin_loss", "kl_div", "poisson_nll_loss")
    ],
    ErrorSample("nn.functional.margin_ranking_loss", (rand(2), rand(2), rand(2, 1)), match="should have same dimension"),
    ErrorSample("nn.functional.triplet_margin_loss", (rand(2), rand(1, 2), rand(2)), match="same number of dimensions"),
    ErrorSample("nn.functional.triplet_margin_loss", (rand(2), rand(2), rand(2), -1.0), error=ValueError, match="margin must be"),
    *[ErrorSample(F(name), (rand(2, 3), rand(2, 4)), match="must match the size of tensor b") for name in ("mse_loss", "l1_loss")],
    ErrorSample(F("mse_loss"), (rand(2), rand(2)), {"reduction": "most"}, ValueError, "is not a valid value for reduction"),
    ErrorSample(F("mse_loss"), (ints(2), ints(2)), match="not implemented for"),
    ErrorSample(F("mse_loss"), (complexes(2), complexes(2)), match="not implemented for"),
    ErrorSample(
        F("mse_loss"), (rand(2, 3), rand(2, 3)), {"weight": rand(3)}, ValueError, "Weights and input must have the same size"
    ),
    ErrorSample(F("smooth_l1_loss"), (rand(2), rand(2)), {"beta": -1.0}, match="negative values for beta"),
    ErrorSample(F("huber_loss"), (rand(2), rand(2)), {"delta": 0.0}, match="non-positive values for delta"),
    ErrorSample(F("binary_cross_entropy_with_logits"), (rand(2), ints(2)), match="can't be cast"),
    ErrorSample(F("binary_cross_entropy"), (rand(2), rand(2)), match="all elements of input should be between 0 and 1"),
    ErrorSample(F("binary_cross_entropy"), (_probabilities(2, 3), rand(3)), error=ValueError, match="Using a target size"),
    ErrorSample(
        F("binary_cross_entropy_with_logits"), (rand(2, 3), rand(3)), error=ValueError, match="must be the same as input size"
    ),
    ErrorSample(
        F("binary_cross_entropy_with_logits"), (rand(2, 3), rand(2, 3)), {"pos_weight": rand(4)}, match="must match the size"
    ),
    *[
        error
        for name in ("nll_loss", "cross_entropy")
        for error in (
            ErrorSample(
                F(name), (rand(2, 3), np.array([0, 1, 2])), error=ValueError, match="Expected input batch_size (2) to match"
            ),
            ErrorSample(F(name), (rand(2, 3), np.array([0, 5])), error=IndexError, match="is out of bounds"),
            ErrorSample(F(name), (rand(2, 3), np.array([0, -1])), error=IndexError, match="is out of bounds"),
            ErrorSample(F(name), (rand(2, 3), rand(2)), match="expected target dtype to be Long or Byte, but got"),
            ErrorSample(
                F(name), (rand(2, 3), np.array([0, 1], "int32")), match="expected target dtype to be Long or Byte, but got"
            ),
            ErrorSample(F(name), (rand(2, 3, 4), np.zeros((2, 5), "int64")), match="Expected target size [2, 4], got [2, 5]"),
            ErrorSample(
                F(name), (rand(2, 3), np.array([0, 1]), rand(2)), match="weight tensor should be defined either for all 3 classes"
            ),
            ErrorSample(
                F(name), (rand(2, 3), np.array([0, 1])), {"reduction": "most"}, ValueError, "is not a valid value for reduction"
            ),
            ErrorSample(F(name), (rand(2, 3), np.array([0, 1]), rand(3, dtype="float32")), match="expected scalar type"),
        )
    ],
    ErrorSample(
        F("cross_entropy"), (rand(2, 3), ints(2, 3)), match="Expected floating point type for target with class probabilities"
    ),
    ErrorSample(F("cross_entropy"), (rand(2, 3), rand(2, 3)), {"ignore_index": 1}, match="ignore_index is not supported"),
    ErrorSample(
        F("cross_entropy"), (rand(2, 3), np.array([0, 1])), {"label_smoothing": 1.5}, match="label_smoothing must be between"
    ),
    ErrorSample(F("cross_entropy"), (ints(2, 3), np.array([0, 1])), match="not implemented for"),
]
