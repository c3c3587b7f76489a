"""A traced step does what it does untraced, to the bit, at the first call and at later ones, in every place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import telegrad
from tests.functions.steps import STEPS


def seen(x: Any) -> Any:
    """All that can be seen of a value, values as bytes."""
    if isinstance(x, telegrad.Tensor):
        gradient = x.grad if x.is_leaf else None
        node = None if x.grad_fn is None else x.grad_fn.name()
        values = x.detach().numpy().tobytes()
        return (x.shape, x.dtype, x.requires_grad, x.is_leaf, node, values, None if gradient is None else seen(gradient))
    if isinstance(x, dict):
        return {key: seen(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)([seen(value) for value in x])
    return x


def history(make: Any, step: Any, calls: int) -> list[Any]:
    """What is seen after each of several calls: of the result and of what the step works on."""
    telegrad.manual_seed(0)
    given = make()
    record: list[Any] = []
    for _ in range(calls):
        result = step(*given)
        record.append((seen(result), seen(given)))
    return record


@pytest.mark.parametrize("name", STEPS)
def test_a_traced_step_does_what_it_does_untraced(session, name):
    make, step = STEPS[name]

    eager = history(make, step, calls=4)
    traced = telegrad.function(step)
    found = history(make, traced, calls=4)

    assert found == eager
    assert 1 <= len(traced.programs) <= 3


def test_a_result_is_differentiated_outside(session):
    w = telegrad.tensor([0.5, -1.0], requires_grad=True)
    inner = (w * 2).sin()

    def step(x: Any) -> Any:
        return (x * w).sum()

    traced = telegrad.function(step)
    for function in (step, traced, traced):
        w.grad = None
        inner = (w * 2).sin()
        y = function(inner)
        (y * 3).backward()
        kept = w.grad.tolist()
        if function is step:
            expected = kept
        assert kept == expected
        assert y.grad_fn.name() == "SumBackward0"


def test_one_traced_function_goes_on_where_another_ended(session):
    w = telegrad.tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)
    v = telegrad.tensor([1.5, -0.5], requires_grad=True)
    x = telegrad.tensor([0.3, 0.7])

    def model(x: Any) -> Any:
        return (w @ x).tanh()

    def head(h: Any) -> Any:
        return (h * v).exp().sum(), h

    def step(first: Any, second: Any) -> Any:
        loss, h = second(first(x))
        loss.backward()
        with telegrad.no_grad():
            for p in (w, v):
                p -= 0.1 * p.grad
        told = [seen(loss), seen(h), seen(w), seen(v)]
        w.grad = v.grad = None
        return told

    start = [w.detach().clone(), v.detach().clone()]
    found = []
    for first, second in ((model, head), (telegrad.function(model), telegrad.function(head))):
        with telegrad.no_grad():
            for p, begin in zip((w, v), start, strict=True):
                p.copy_(begin)
        found.append([step(first, second) for _ in range(5)])

    assert found[0] == found[1]


def test_results_that_are_arguments_are_the_same_tensors(session):
    x = telegrad.tensor([1.0])
    w = telegrad.tensor([2.0])

    @telegrad.function
    def step(x: Any) -> Any:
        return x, w, x

    assert all(a is b for _ in range(2) for a, b in zip(step(x), (x, w, x), strict=True))


def test_arrays_become_inputs(session):
    @telegrad.function
    def step(x: Any) -> Any:
        return x * 2

    assert step(np.array([1.0, 2.0])).tolist() == [2.0, 4.0]
    assert step(np.array([3.0, 5.0])).tolist() == [6.0, 10.0]
    assert len(step.programs) == 1
