"""Every sample's values, types and shapes: against PyTorch, and against what the op's rule foresees without values."""

from __future__ import annotations

import pytest

from tests.foreseeing import foresee
from tests.references.comparison import differences, precision_of
from tests.references.evaluation import Bound, evaluate
from tests.references.sides import Telegrad
from tests.references.stored import reference
from tests.samples import Sample
from tests.samples.table import SAMPLES, for_each_sample


@for_each_sample([sample for sample in SAMPLES if sample.torch])
def test_values_agree_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    wanted = reference(sample)
    assert wanted is not None, "no stored answer: run python -m tests.references.make where PyTorch is installed"

    found = evaluate(engine, sample)

    if sample.random:
        assert [(a.dtype, a.shape) for a in found.outputs] == [(a.dtype, a.shape) for a in wanted.outputs]
    else:
        precision = precision_of(Bound(sample).arrays)
        assert differences(found.outputs, wanted.outputs, "output", precision=precision) == []


@for_each_sample(SAMPLES)
def test_rule_foresees_shape_and_type(engine: Telegrad, sample: Sample) -> None:
    foreseen = foresee(sample)

    actual = evaluate(engine, sample).outputs

    if foreseen is None:
        pytest.skip("its shape depends on values")
    assert foreseen == [(a.shape, a.dtype.name) for a in actual]
