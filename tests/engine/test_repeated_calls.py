"""A call that was made before takes a shorter way: it must leave what the first one left, in values, types, views and nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad_service.engine.tensor import Tensor
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad, flatten
from tests.references.stored import variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES, for_each_sample


def told(value: Any) -> Any:
    """Everything that can be told from a result."""
    if not isinstance(value, Tensor):
        return value
    node: Any = value.grad_fn
    edges = None if node is None else [(n and n.name(), i) for n, i in node.next_functions]
    array = value.detach().numpy()
    return (
        array.tobytes() if array.dtype.kind != "c" else np.ascontiguousarray(array).tobytes(),
        *(value.shape, value.dtype, value.requires_grad, value.is_leaf),
        *(value.output_index, None if value.base is None else (value.chain(), value.recorded)),
        *(node and node.name(), edges, node and node.layouts, node and node.parameters),
    )


def calls(engine: Telegrad, sample: Sample) -> list[Any]:
    """What five calls of the sample tell, three of them on tensors that require grad."""
    bound = Bound(sample)
    stated = variables_of(sample)
    variables = bound.continuous if stated is None else list(stated)
    found: list[Any] = []
    for recorded in (False, True, False, True, True):
        engine.seed()
        leaves = [engine.tensor(a, requires_grad=recorded and i in variables) for i, a in enumerate(bound.arrays)]
        found.append([told(x) for x in flatten(engine, bound.call(engine, leaves))])
    return found


@for_each_sample(SAMPLES)
def test_a_call_leaves_the_same_every_time(engine: Telegrad, sample: Sample) -> None:
    plain, recorded, plain_again, recorded_again, once_more = calls(engine, sample)

    assert plain_again == plain
    assert recorded_again == once_more == recorded


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zeros_of_both_signs_are_two_calls(zero: float) -> None:
    x = telegrad.tensor([-1.0, 1.0])

    for _ in range(3):
        assert np.signbit(x.masked_fill(x > 0, 0.0).numpy()).tolist() == [True, False]
        made = x.clamp(min=zero, max=zero).numpy()
        assert np.signbit(made).tolist() == [np.signbit(zero)] * 2


def test_a_call_known_from_one_session_serves_another() -> None:
    first, second = telegrad.local(), telegrad.local()

    for session in (first, second, first, second):
        made = session.tensor([[1.0, 2.0]], requires_grad=True).softmax(-1)
        assert made.session is session


def test_a_repeated_call_of_stale_views_reaches_what_was_written() -> None:
    for _ in range(4):
        x = telegrad.ones(2, 2, requires_grad=True)
        y = x * 1
        row = y[0]
        y.mul_(3)
        row.sum(0).backward()
        assert x.grad is not None
        assert x.grad.tolist() == [[3.0, 3.0], [0.0, 0.0]]
