"""Every sample's first and second derivative: against finite differences in random directions, and against PyTorch."""

from __future__ import annotations

from tests.references.comparison import differences, precision_of
from tests.references.evaluation import Bound, evaluate, in_float32, is_wide, order_of
from tests.references.finite import first_order, second_order
from tests.references.sides import Telegrad
from tests.references.stored import reference, variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES, for_each_sample

VARYING = [sample for sample in SAMPLES if Bound(sample).continuous]
SMOOTH = [sample for sample in VARYING if sample.gradient and sample.differences and is_wide(sample)]
COMPARED = [sample for sample in VARYING if sample.torch and not sample.random]
NARROW = [narrow for sample in COMPARED if (narrow := in_float32(sample)) is not None]


@for_each_sample(SMOOTH)
def test_derivatives_agree_with_finite_differences(engine: Telegrad, sample: Sample) -> None:
    variables = variables_of(sample)

    assert first_order(engine, sample, variables) == []
    if sample.second:
        assert second_order(engine, sample, variables) == []


@for_each_sample(COMPARED + NARROW)
def test_derivatives_agree_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    wanted = reference(sample)
    assert wanted is not None, "no stored answer: run python -m tests.references.make where PyTorch is installed"

    precision = precision_of(Bound(sample).arrays)
    for order in range(1, order_of(sample) + 1):  # the first order has a way of its own: on bare arrays, recording nothing
        found = evaluate(engine, sample, order, wanted.variables)
        assert found.requires == wanted.requires
        assert differences(found.outputs, wanted.outputs, "output", precision=precision) == []
        assert differences(found.gradients, wanted.gradients, "gradient", slack=10, precision=precision) == []
        if order == 2:
            assert differences(found.seconds, wanted.seconds, "second derivative", slack=100, precision=precision) == []
