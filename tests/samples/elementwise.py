"""Samples of element-by-element ops."""

from __future__ import annotations

import numpy as np

from tests.samples import D, ErrorSample, Sample, bools, complexes, ints, rand

SAMPLES: list[Sample] = [
    Sample("add", (rand(2, 3), rand(2, 3, seed=1)), op="add"),
    Sample("add", (rand(2, 3), rand(3, seed=1)), {"alpha": 2.5}, op="add"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("add", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
]
