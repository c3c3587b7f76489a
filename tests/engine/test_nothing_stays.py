"""What is over leaves nothing behind: tables have their bounds, and what nobody can reach is in no cycle."""

from __future__ import annotations

import contextlib
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.autograd.graph import allow_mutation_on_saved_tensors
from telegrad.errors import RunCancelledError, TraceError
from telegrad_service.engine import batched_walk, calls, table


class Mine:
    """Something of the user's, in his own frame."""


@pytest.fixture(autouse=True)
def session() -> Iterator[Any]:
    with telegrad.local() as opened:
        yield opened


def test_plans_for_ever_other_inputs_have_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_MOST_PLANNED", 1000)
    row = table.entry("stack")
    x, c = telegrad.ones(2, requires_grad=True), telegrad.ones(2)
    made = []
    for mask in range(1, 64):
        chosen = [bool(mask >> bit & 1) for bit in range(6)]
        made.append((sum(chosen), telegrad.stack([x if yes else c for yes in chosen])))
        assert len(row.plans) * (6 + 64) <= 1000

    for count, stacked in made:  # those of plans that went, too
        (gradient,) = telegrad.autograd.grad(stacked.sum(), x)
        assert gradient.tolist() == [count] * 2


def test_ways_of_batched_walks_have_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched_walk, "_MOST_WAYS", 2)
    monkeypatch.setattr(batched_walk, "_ways", type(batched_walk._ways)())
    x = telegrad.tensor([1.0, 2.0], requires_grad=True)
    for function, slope in (("exp", np.exp), ("sin", np.cos), ("square", lambda v: 2 * v), ("cos", lambda v: -np.sin(v))):
        y = getattr(x, function)()
        (found,) = telegrad.autograd.grad(y, x, telegrad.eye(2), is_grads_batched=True)
        np.testing.assert_allclose(found.numpy(), np.diag(slope(np.array([1.0, 2.0]))), rtol=1e-6)
        assert len(batched_walk._ways) <= 2


def test_calls_with_long_parameters_are_not_remembered() -> None:
    a = telegrad.ones(2, 2)
    before = set(calls._CALLS)
    short, long = "ij,jk->ik", "ij,jk->ik" + " " * 5000
    for _ in range(2):
        assert telegrad.einsum(short, a, a).tolist() == telegrad.einsum(long, a, a).tolist() == [[2, 2], [2, 2]]

    new = [key for key in calls._CALLS if key not in before]
    assert any(short in key for key in new) or any(short in key for key in before)
    assert not any(long in key for key in calls._CALLS)


def test_a_context_that_permits_mutation_goes_when_it_is_left(uncollected: None) -> None:
    x = telegrad.ones(2, requires_grad=True)
    with allow_mutation_on_saved_tensors() as context:
        y = x * 3
        z = (y * y).sum()
        y.detach().zero_()
        z.backward()
    gone = weakref.ref(context)

    del context, z
    assert gone() is None
    assert x.grad is not None
    assert x.grad.tolist() == [18, 18]


def test_a_session_that_is_closed_gives_the_memory_of_its_programs_back(uncollected: None) -> None:
    step = telegrad.function(lambda a, w: (a * w).exp().tanh().sum())

    def train() -> None:
        with telegrad.local():
            a, w = telegrad.ones(200_000), telegrad.ones(200_000, requires_grad=True)
            for _ in range(4):  # noted, recorded, and run by a plan
                step(a, w).backward()

    train()
    tracemalloc.start()
    try:
        train()
        train()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 800_000  # less than one array


def test_calls_that_were_cancelled_keep_nobody_who_was_told(uncollected: None) -> None:
    class Listener:
        def __call__(self, told: Any) -> None:
            told.cancel()

    step = telegrad.function(lambda a: a * 2)
    a = telegrad.ones(2)
    step(a)
    listener = Listener()
    with contextlib.suppress(RunCancelledError):
        step.repeat(1000, a, progress=listener)
    gone = weakref.ref(listener)

    del listener
    assert gone() is None


def test_a_function_that_cannot_be_traced_keeps_no_frame_of_its_caller(uncollected: None) -> None:
    step = telegrad.function(lambda a: a * a.sum().item())

    def refused() -> weakref.ref[Mine]:
        mine = Mine()
        with contextlib.suppress(TraceError):
            step(telegrad.ones(2))
        return weakref.ref(mine)

    assert refused()() is None
