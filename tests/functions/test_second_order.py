"""Second derivatives of all ops in traced functions: a walk that records its own graph is compiled, or left to the interpreter, and
gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import telegrad
from telegrad.autograd import grad
from telegrad.contract.transforms.trees import leaves_of
from telegrad.errors import TraceError
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad
from tests.references.stored import variables_of
from tests.samples.table import SAMPLES, parameters

SECOND = [s for s in SAMPLES if s.gradient and s.second and not s.random]
CHOSEN = list({s.call: s for s in reversed(SECOND)}.values())
RUNS = 2  # beside the first, which is only noted: one that is recorded, and one by the plan


@pytest.fixture(scope="module")
def side() -> Iterator[Telegrad]:
    """One local session for all samples."""
    with telegrad.local() as session:
        yield Telegrad(session)


def size_of(outputs: Any) -> Any:
    """One real number of all that can be differentiated; None for nothing."""
    found = [y for y in leaves_of(outputs) if isinstance(y, telegrad.Tensor) and y.requires_grad]
    total = None
    for y in found:
        part = (y * y.conj()).real.sum() if y.dtype.is_complex else (y * y).sum()
        total = part if total is None else total + part
    return total


@pytest.mark.parametrize("sample", parameters(CHOSEN))
def test_a_gradient_of_a_gradient_is_the_same_compiled(side, sample):
    bound, variables = Bound(sample), variables_of(sample)

    def second(inputs: list[Any]) -> Any:
        value = size_of(bound.call(side, inputs))
        if value is None:
            return ()
        leaves = [x for x in inputs if x.requires_grad]
        first = grad(value, leaves, create_graph=True, allow_unused=True)
        again = size_of([g for g in first if g is not None])
        rest = () if again is None else grad(again, leaves, allow_unused=True)
        return value.detach(), [g.detach() for g in first if g is not None], [g for g in rest if g is not None]

    def seen(function: Any) -> Any:
        side.session.manual_seed(0)
        given = [side.tensor(a) for a in bound.arrays]
        for number, x in enumerate(given):
            x.requires_grad = x.dtype.is_differentiable and (variables is None or number in variables)
        return [(x.shape, x.dtype, x.numpy().tobytes()) for x in leaves_of(function(given))]

    plain = seen(second)
    traced = telegrad.function(second)
    try:
        seen(traced)
    except TraceError:
        return
    for _ in range(RUNS):
        assert seen(traced) == plain
