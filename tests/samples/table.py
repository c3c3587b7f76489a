"""All samples of all families."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from tests.references.sides import fresh_engine
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


def for_each_sample(samples: Sequence[Sample] | Sequence[ErrorSample]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One test for each callable, that does all of its samples: a test of its own for each costs more than most samples do.

    All samples are tried, each with an ``engine`` of its own where the test asks for one. A note on an error says which sample it
    is about; several are raised together, and named, as plugins of pytest may show one alone of those that are alike. How many of
    how many passed is the property ``samples`` of the test.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        asked = inspect.signature(test).parameters

        def one(sample: Sample | ErrorSample, fixtures: dict[str, Any]) -> None:
            if "engine" not in asked:
                test(sample=sample, **fixtures)
                return
            with fresh_engine() as engine:
                test(sample=sample, engine=engine, **fixtures)

        @functools.wraps(test)
        def all_of_them(*, samples: Sequence[Sample | ErrorSample], record_property: Callable[..., None], **fixtures: Any) -> None:
            errors: list[BaseException] = []
            failed: list[str] = []
            skipped: list[BaseException] = []
            for sample in samples:
                try:
                    one(sample, fixtures)
                except pytest.skip.Exception as skip:
                    skipped.append(skip)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - collected, and raised below
                    error.add_note(f"sample: {sample.id}")
                    errors.append(error)
                    failed.append(sample.id)
            tried = len(samples) - len(skipped)
            record_property("samples", [tried - len(errors), tried])
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise BaseExceptionGroup(f"{len(errors)} of {tried} samples fail: {'; '.join(failed)}", errors)
            if skipped and not tried:
                raise skipped[0]

        kept = [p.replace(name="samples") if p.name == "sample" else p for p in asked.values() if p.name != "engine"]
        named = [*kept, inspect.Parameter("record_property", inspect.Parameter.KEYWORD_ONLY)]
        cast(Any, all_of_them).__signature__ = inspect.Signature(named)  # what pytest reads fixtures from
        grouped: dict[str, list[Sample | ErrorSample]] = {}
        for sample in samples:
            grouped.setdefault(sample.call, []).append(sample)
        return pytest.mark.parametrize("samples", [pytest.param(group, id=call) for call, group in grouped.items()])(all_of_them)

    return decorate
