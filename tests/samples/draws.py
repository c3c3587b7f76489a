"""Samples of the draws family."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand

WEIGHTS = np.array([[1.0, 0.0, 3.0, 0.5], [0.0, 2.0, 0.0, 2.0]])

SAMPLES: list[Sample] = [
    Sample("normal", (rand(30, 1), rand(40, low=0.5, seed=1)), op="normal.Tensor", random=True, gradient=False, second=False),
    Sample("normal", (2.0, rand(300, low=0.5)), op="normal.Tensor", random=True, gradient=False, second=False),
    Sample("normal", (complexes(200), 1.5), op="normal.Tensor", random=True, gradient=False, second=False),
    Sample("normal", (rand(200),), op="normal.Tensor", random=True, gradient=False, second=False),
    Sample("multinomial", (WEIGHTS[0], 300, True), op="multinomial", random=True, gradient=False),
    Sample("multinomial", (WEIGHTS, 200), {"replacement": True}, op="multinomial", random=True, gradient=False),
    Sample("multinomial", (rand(30, 5, low=0.5, high=0.6), 5), op="multinomial", random=True, gradient=False),
    Sample("multinomial", (rand(3, low=0.1, dtype="float16"), 1), op="multinomial", random=True, gradient=False),
    Sample("Tensor.multinomial", (rand(0, 3), 2), op="multinomial", random=True, gradient=False),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("normal", (rand(2), -1.0), error=RuntimeError, match="std >= 0.0"),
    ErrorSample("normal", (rand(2), -rand(2, low=1.0)), error=RuntimeError, match="all elements of std"),
    ErrorSample("normal", (ints(2), 1.0), error=NotImplementedError, match="not implemented for int64"),
    ErrorSample("normal", (rand(2), complexes(2)), error=RuntimeError, match="non-complex"),
    ErrorSample("normal", (rand(2), 1.0, (2,)), error=TypeError, match="of tensors"),
    ErrorSample("normal", (0.0, 1.0), error=TypeError, match="needs a size"),
    ErrorSample("multinomial", (rand(3, low=0.0), 4), error=RuntimeError, match="without replacement"),
    ErrorSample("multinomial", (rand(3, low=0.0), 0), error=RuntimeError, match="n_sample <= 0"),
    ErrorSample("multinomial", (rand(low=0.0), 1), error=RuntimeError, match="1 or 2 dim"),
    ErrorSample("multinomial", (ints(3, low=0), 1), error=RuntimeError, match="floating-point"),
    ErrorSample("multinomial", (-rand(3, low=1), 1), error=RuntimeError, match="element < 0"),
    ErrorSample("multinomial", (np.array([1.0, np.nan]), 1), error=RuntimeError, match="nan"),
    ErrorSample("multinomial", (np.zeros(3), 1, True), error=RuntimeError, match="sum of probabilities <= 0"),
    ErrorSample("multinomial", (np.ones(3), 1.5), error=TypeError, match="must be int"),
    ErrorSample("multinomial", (np.ones(3), 1, 1), error=TypeError, match="must be bool"),
]
