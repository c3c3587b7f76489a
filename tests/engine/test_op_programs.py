"""Every sample as a program that gives its results out with their graphs: walking these gives the bits of the call as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.transforms.trees import leaves_of
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad
from tests.references.stored import variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES, for_each_sample

CALLS = 2
"""Each is two runs: the first is interpreted, the second recorded, from the third on a plan runs."""


def weights_of(engine: Telegrad, y: Any) -> Any:
    """A vector for an output, the same each time."""
    random = np.random.default_rng(1)
    found: Any = random.normal(size=y.shape)
    return engine.tensor((found + 1j * random.normal(size=y.shape) if y.is_complex() else found).astype(y.dtype.numpy))


def seen(engine: Telegrad, tensors: Sequence[Any]) -> list[Any]:
    return [None if x is None else (x.shape, x.dtype, x.requires_grad, engine.array(x).tobytes()) for x in tensors]


def walked(engine: Telegrad, function: Callable[..., Any], tensors: Sequence[Any]) -> list[Any]:
    """Values, gradients, and gradients of those where there are any, of one call; gradients without a history of another."""
    inputs = [x for x in tensors if x.requires_grad]
    told: list[Any] = []
    for create_graph in (True, False):
        results = [y for y in leaves_of(function(*tensors)) if engine.is_tensor(y)]
        told += seen(engine, results)
        outputs = [y for y in results if y.requires_grad]
        if not outputs:
            continue
        first = engine.grad(outputs, inputs, [weights_of(engine, y) for y in outputs], create_graph=create_graph)
        told += seen(engine, first)
        again = [g for g in first if g is not None and g.requires_grad]
        if again:
            told += seen(engine, engine.grad(again, inputs, [weights_of(engine, g) for g in again], create_graph=False))
    return told


@for_each_sample([s for s in SAMPLES if s.gradient and not s.random and Bound(s).continuous])
def test_a_graph_that_a_program_gives_out_is_walked_outside(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    may = variables_of(sample)
    tensors = [
        engine.tensor(a, requires_grad=a.dtype.kind in "fc" and (may is None or i in may)) for i, a in enumerate(bound.arrays)
    ]

    def call(*given: Any) -> Any:
        return bound.call(engine, given)

    traced = telegrad.function(call)
    try:
        wanted = walked(engine, call, tensors)
        traced(*tensors)
    except (telegrad.TelegradError, NotImplementedError) as error:
        pytest.skip(f"not differentiated twice, or not traced: {error}")

    for _ in range(CALLS):
        assert walked(engine, traced, tensors) == wanted
