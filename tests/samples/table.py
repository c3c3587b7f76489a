"""All samples of all families."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

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


def for_each_sample(samples: Sequence[Sample]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One test for each callable, that does all of its samples: a test of its own for each costs more than most samples do.

    All samples are tried; an error says in a note which sample it is about, several are raised together.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_of_them(*, samples: Sequence[Sample], **fixtures: Any) -> None:
            errors: list[Exception] = []
            for sample in samples:
                try:
                    test(sample=sample, **fixtures)
                except Exception as error:  # noqa: BLE001 - collected, and raised below
                    error.add_note(f"sample: {sample.id}")
                    errors.append(error)
            if errors:
                raise errors[0] if len(errors) == 1 else ExceptionGroup(f"{len(errors)} of {len(samples)} samples fail", errors)

        named = [p.replace(name="samples") if p.name == "sample" else p for p in inspect.signature(test).parameters.values()]
        cast(Any, all_of_them).__signature__ = inspect.Signature(named)  # what pytest reads fixtures from
        grouped: dict[str, list[Sample]] = {}
        for sample in samples:
            grouped.setdefault(sample.call, []).append(sample)
        return pytest.mark.parametrize("samples", [pytest.param(group, id=call) for call, group in grouped.items()])(all_of_them)

    return decorate
