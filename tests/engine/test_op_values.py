"""Every sample's values, types and shapes: against PyTorch, and against what the op's rule foresees without values."""

from __future__ import annotations

import pytest

from tests.foreseeing import foresee
from tests.references.comparison import differences
from tests.references.evaluation import evaluate, in_float32
from tests.references.sides import Telegrad, flatten
from tests.references.stored import reference
from tests.samples import Sample
from tests.samples.table import SAMPLES, parameters

NARROW = [narrow for sample in SAMPLES if (narrow := in_float32(sample)) is not None]
COMPARED = [sample for sample in SAMPLES if sample.torch]
COMPARED_NARROW = [sample for sample in NARROW if sample.torch]


def check_values(engine: Telegrad, sample: Sample, slack: float = 1.0) -> None:
    wanted = reference(sample)
    assert wanted is not None, "no stored answer: run python -m tests.references.make where PyTorch is installed"

    found = evaluate(engine, sample)

    if sample.random:
        assert [(a.dtype, a.shape) for a in found.outputs] == [(a.dtype, a.shape) for a in wanted.outputs]
    else:
        assert not differences(found.outputs, wanted.outputs, "output", slack=slack)


@pytest.mark.parametrize("sample", parameters(COMPARED))
def test_values_agree_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    check_values(engine, sample)


@pytest.mark.parametrize("sample", parameters(COMPARED_NARROW))
def test_values_in_float32_agree_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    check_values(engine, sample)


@pytest.mark.parametrize("sample", parameters(SAMPLES + NARROW))
def test_rule_foresees_shape_and_type(engine: Telegrad, sample: Sample) -> None:
    foreseen = foresee(sample)

    actual = [t for t in flatten(engine, evaluate(engine, sample).outputs)]

    if foreseen is None:
        pytest.skip("its shape depends on values")
    assert foreseen == [(a.shape, a.dtype.name) for a in actual]
