"""Samples of the connectionist loss."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, rand


def F(name: str) -> str:  # noqa: N802 - reads as in user code
    """The path of a function of ``nn.functional``."""
    return f"nn.functional.{name}"


_SCORES = rand(5, 2, 3)
_LOGS = _SCORES - np.log(np.exp(_SCORES).sum(2, keepdims=True))
_TARGETS = np.array([[1, 2], [1, 1]])


def _loss(*args: object, **settings: object) -> Sample:
    """PyTorch's gradient is that of the scores under ``log_softmax``, which differences of the loss alone do not see."""
    return Sample(F("ctc_loss"), args, settings, op="ctc_loss", second=False, differences=False)


SAMPLES: list[Sample] = [
    _loss(_LOGS, _TARGETS, (5, 4), (2, 2)),
    _loss(_LOGS, _TARGETS, (5, 4), (2, 1), reduction="sum"),
    _loss(_LOGS, _TARGETS, (5, 5), (0, 2), reduction="none"),
    _loss(_LOGS, np.array([1, 2, 1]), (5, 3), (2, 1)),
    _loss(_LOGS, _TARGETS - 1, (5, 5), (2, 2), blank=2),
    _loss(_LOGS, _TARGETS, (5, 2), (2, 2), zero_infinity=True),
    # So unlikely that the part of log_softmax is nothing, and differences see the rest.
    Sample(F("ctc_loss"), (_SCORES - 40, _TARGETS, (5, 4), (2, 2)), op="ctc_loss", second=False),
    _loss(_LOGS[:, 0], _TARGETS[0], (5,), (2,), reduction="none"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample(F("ctc_loss"), (_LOGS, _TARGETS, (5,), (2, 2)), match="input_lengths must be of size batch_size"),
    ErrorSample(F("ctc_loss"), (_LOGS, _TARGETS, (6, 5), (2, 2)), match="Expected input_lengths to have value at most 5"),
    ErrorSample(F("ctc_loss"), (_LOGS, _TARGETS, (5, 5), (2, 2), 3), match="blank must be in label range"),
    ErrorSample(F("ctc_loss"), (_LOGS, _TARGETS, (5, 5), (2, 2), 0, "most"), error=ValueError, match="valid value for reduction"),
]
