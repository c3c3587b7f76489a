"""What kernels keep for backward beside inputs and outputs: gradients agree with those that find it again, of any order."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
from telegrad.autograd import grad
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES

load()
F = telegrad.nn.functional
RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(6, 5)), RNG.normal(size=5)
CLASSES = np.array([0, 4, 2, -100, 1, 1])

CALLS = {
    "gelu": F.gelu,
    "gelu, by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "layer_norm": lambda x: F.layer_norm(x, (5,), telegrad.tensor(W), telegrad.tensor(W)),
    "layer_norm without weights": lambda x: F.layer_norm(x, (5,)),
    "cross_entropy": lambda x: F.cross_entropy(x, telegrad.tensor(CLASSES)),
    "cross_entropy of each": lambda x: F.cross_entropy(x, telegrad.tensor(CLASSES), reduction="none"),
    "cross_entropy, smoothed": lambda x: F.cross_entropy(x, telegrad.tensor(CLASSES), label_smoothing=0.1),
}


def kept_by(y):
    """What the node of ``y`` saved that is neither input nor output."""
    node = y.grad_fn
    return [node.saved[position] for position, _ in node.plan.kept]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_gradient_agrees_with_one_that_finds_it_again(call):
    x = telegrad.tensor(X, requires_grad=True)
    y = call(x)
    v = telegrad.tensor(RNG.normal(size=y.shape))

    (by_kept,) = grad(y, (x,), v, retain_graph=True)
    (found_again,) = grad(y, (x,), v, create_graph=True)

    assert by_kept.numpy() == pytest.approx(found_again.detach().numpy(), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_second_derivatives_know_nothing_of_it(call):
    assert telegrad.autograd.gradgradcheck(call, (telegrad.tensor(X, requires_grad=True),))


@pytest.mark.parametrize("name", ["gelu", "layer_norm", "cross_entropy"])
def test_it_is_kept_only_where_a_node_is_made(name):
    x = telegrad.tensor(X, requires_grad=True)
    y = CALLS[name](x)

    assert all(value is not None for value in kept_by(y))
    with telegrad.no_grad():
        assert CALLS[name](x).grad_fn is None


@pytest.mark.parametrize("name", ["gelu", "layer_norm", "cross_entropy"])
def test_calls_that_come_again_keep_it_too(name):
    x = telegrad.tensor(X, requires_grad=True)
    for _ in range(4):
        y = CALLS[name](x)
        assert all(value is not None for value in kept_by(y))


def test_statistics_are_two_numbers_a_row():
    y = CALLS["layer_norm"](telegrad.tensor(X, requires_grad=True))

    assert [statistic.shape for statistic in kept_by(y)[0]] == [(6,), (6,)]


def test_large_scores_lose_nothing():
    scores = (X * 3 + 5000).astype(np.float32)
    x = telegrad.tensor(scores, requires_grad=True)
    target = np.arange(6) % 5
    F.cross_entropy(x, telegrad.tensor(target), reduction="sum").backward()
    exact = np.exp(scores.astype(float) - scores.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    exact[np.arange(6), target] -= 1

    assert x.grad.numpy() == pytest.approx(exact, abs=3e-7)


def test_every_kept_value_is_asked_for_by_a_formula():
    for entry in ENTRIES.values():
        if entry.kept:
            asked = {kind for kind, _ in entry.plan(1, len(entry.op.inputs)).sources}
            assert "kept" in asked, entry.op.name
