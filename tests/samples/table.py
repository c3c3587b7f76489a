"""All samples of all families."""

from __future__ import annotations

from tests.samples import ErrorSample, Sample, creation, elementwise, index, linalg, nn, reduce, shape

_FAMILIES = (creation, elementwise, reduce, shape, index, linalg, nn)

SAMPLES: list[Sample] = [sample for family in _FAMILIES for sample in family.SAMPLES]

ERRORS: list[ErrorSample] = [sample for family in _FAMILIES for sample in family.ERRORS]
