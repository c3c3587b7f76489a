"""Every invalid sample: PyTorch's class, the words people search for, and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad
from tests.references.stored import error_reference
from tests.samples import ErrorSample
from tests.samples.table import ERRORS, for_each_sample


@for_each_sample(ERRORS)
def test_invalid_call_raises_and_changes_nothing(engine: Telegrad, sample: ErrorSample) -> None:
    bound = Bound(sample)
    tensors = [engine.tensor(a) for a in bound.arrays]

    with pytest.raises(telegrad.TelegradError) as raised:
        bound.call(engine, tensors)

    assert isinstance(raised.value, sample.error)
    assert sample.match in str(raised.value)
    for tensor, array in zip(tensors, bound.arrays, strict=True):
        assert np.array_equal(engine.array(tensor), array, equal_nan=array.dtype.kind in "fc")


@for_each_sample([s for s in ERRORS if s.torch])
def test_invalid_call_raises_the_class_that_the_reference_raises(sample: ErrorSample) -> None:
    raised = error_reference(sample)

    assert raised is not None, "no stored answer: run python -m tests.references.make where PyTorch is installed"
    assert sample.error.__name__ in raised[: raised.index("Exception")]
