"""Samples of the linalg family."""

from __future__ import annotations

from tests.samples import ErrorSample, Sample

SAMPLES: list[Sample] = []

ERRORS: list[ErrorSample] = []
