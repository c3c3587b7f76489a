"""Products of a few rows with a transposed matrix, which are made the other way round: the same numbers, in the same order."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
import telegrad.nn.functional as F

RNG = np.random.default_rng(0)


def whole(*shape: int) -> np.ndarray:
    """Numbers whose products and sums are exact."""
    return RNG.integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("columns", [127, 128, 300])
@pytest.mark.parametrize("width", [4, 40, 500])
@pytest.mark.parametrize("rows", [1, 7, 8, 16, 64, 65])
def test_a_linear_layer_of_any_size(rows, width, columns, bias):
    x, w, b = whole(rows, width), whole(columns, width), whole(columns) if bias else None

    y = F.linear(telegrad.tensor(x), telegrad.tensor(w), None if b is None else telegrad.tensor(b))

    assert np.array_equal(y.numpy(), x @ w.T + (0 if b is None else b))
    assert y.contiguous() is y


@pytest.mark.parametrize("rows", [7, 16, 64])
def test_the_gradient_of_a_product_of_any_size(rows):
    x, w, g = whole(rows, 300), whole(300, 40), whole(rows, 40)
    a = telegrad.tensor(x, requires_grad=True)

    (a @ telegrad.tensor(w)).backward(telegrad.tensor(g))

    assert np.array_equal(a.grad.numpy(), g @ w.T)
    assert a.grad.contiguous() is a.grad


def test_a_layer_whose_weight_is_seen_transposed_or_in_part():
    x, w = whole(16, 200), whole(200, 300)
    expected = x @ w
    transposed = telegrad.tensor(w).T
    part = telegrad.tensor(np.repeat(w.T.copy(), 2, axis=1))[:, ::2]

    assert np.array_equal(F.linear(telegrad.tensor(x), transposed).numpy(), expected)
    assert np.array_equal(F.linear(telegrad.tensor(x), part).numpy(), expected)


def test_a_program_multiplies_as_the_step_does():
    x, w, b = (telegrad.tensor(RNG.normal(size=s).astype(np.float32), requires_grad=True) for s in ((16, 200), (300, 200), (300,)))

    def loss(x, w, b):
        return telegrad.autograd.grad(F.linear(x, w, b).tanh().sum(), (x, w, b))

    expected = [g.numpy() for g in loss(x, w, b)]
    program = telegrad.function(loss)
    for _ in range(4):
        found = program(x, w, b)

    assert all(np.array_equal(f.numpy(), e) for f, e in zip(found, expected, strict=True))
