"""All samples of all families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.samples import (
    ErrorSample,
    Sample,
    alignment,
    comparison,
    conv,
    conversion,
    counting,
    creation,
    decompositions,
    draws,
    elementwise,
    factorisations,
    fft,
    indefinite,
    index,
    linalg,
    losses,
    margins,
    nn,
    normalisation,
    numbers,
    parts,
    recurrent,
    reduce,
    resampling,
    sampling,
    scattering,
    shape,
    signal,
    special,
    statistics,
    stft,
    strided,
    systems,
    transcendental,
)

FAMILIES = (
    creation,
    elementwise,
    transcendental,
    comparison,
    conversion,
    reduce,
    shape,
    index,
    linalg,
    decompositions,
    factorisations,
    systems,
    nn,
    normalisation,
    losses,
    conv,
    fft,
    statistics,
    scattering,
    counting,
    parts,
    stft,
    special,
    numbers,
    draws,
    signal,
    alignment,
    margins,
    recurrent,
    resampling,
    sampling,
    strided,
    indefinite,
)

SAMPLES: list[Sample] = [sample for family in FAMILIES for sample in family.SAMPLES]

ERRORS: list[ErrorSample] = [sample for family in FAMILIES for sample in family.ERRORS]


def parameters(samples: Sequence[Sample] | Sequence[ErrorSample]) -> list[Any]:
    """The samples as pytest's parameters, with readable ids."""
    return [pytest.param(sample, id=sample.id[:120]) for sample in samples]
