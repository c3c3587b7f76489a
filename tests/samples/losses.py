"""Samples of losses."""

from __future__ import annotations

from tests.samples import ErrorSample, Sample

SAMPLES: list[Sample] = []

ERRORS: list[ErrorSample] = []
