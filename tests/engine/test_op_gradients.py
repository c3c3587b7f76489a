"""Every sample's first and second derivative: against finite differences in random directions, and against PyTorch."""

from __future__ import annotations

import pytest

from tests.references.comparison import differences
from tests.references.evaluation import Bound, evaluate, in_float32, is_wide, order_of
from tests.references.finite import first_order, second_order
from tests.references.sides import Telegrad
from tests.references.stored import reference, variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES, parameters

STEADY = [sample for sample in SAMPLES if not sample.random]
SMOOTH = [sample for sample in STEADY if sample.gradient and sample.differences and is_wide(sample)]
SMOOTH_TWICE = [sample for sample in SMOOTH if sample.second]
COMPARED = [sample for sample in STEADY if sample.torch and Bound(sample).continuous]
NARROW = [narrow for sample in COMPARED if (narrow := in_float32(sample)) is not None]


@pytest.mark.parametrize("sample", parameters(SMOOTH))
def test_gradient_agrees_with_finite_differences(engine: Telegrad, sample: Sample) -> None:
    assert not first_order(engine, sample, variables_of(sample))


@pytest.mark.parametrize("sample", parameters(SMOOTH_TWICE))
def test_second_derivative_agrees_with_finite_differences(engine: Telegrad, sample: Sample) -> None:
    assert not second_order(engine, sample, variables_of(sample))


@pytest.mark.parametrize("sample", parameters(COMPARED + NARROW))
def test_gradient_agrees_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    wanted = reference(sample)
    assert wanted is not None, "no stored answer: run python -m tests.references.make where PyTorch is installed"

    found = evaluate(engine, sample, 1, wanted.variables)

    assert found.requires == wanted.requires
    assert not differences(found.gradients, wanted.gradients, "gradient", slack=10)


@pytest.mark.parametrize("sample", parameters([s for s in COMPARED if order_of(s) == 2]))
def test_second_derivative_agrees_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    wanted = reference(sample)
    assert wanted is not None, "no stored answer: run python -m tests.references.make where PyTorch is installed"

    found = evaluate(engine, sample, 2, wanted.variables)

    assert not differences(found.gradients, wanted.gradients, "gradient", slack=10)
    assert not differences(found.seconds, wanted.seconds, "second derivative", slack=100)
