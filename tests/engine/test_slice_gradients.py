"""Gradients of slices are added into one array of the tensor's size, and into nobody else's."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

import telegrad


@pytest.fixture(autouse=True)
def session() -> Iterator[telegrad.Session]:
    with telegrad.local() as opened:
        yield opened


def grad_of(tensor: telegrad.Tensor) -> np.ndarray:
    assert tensor.grad is not None
    return tensor.grad.numpy()


def test_many_slices_need_the_memory_of_few_arrays() -> None:
    x = telegrad.ones(400, 400, dtype=telegrad.float64, requires_grad=True)
    total = x[0].sum()
    for row in range(1, 100):
        total = total + x[row].sum() * row

    tracemalloc.start()
    total.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2.5 * 400 * 400 * 8
    wanted = np.zeros((400, 400))
    wanted[0] = 1
    wanted[1:100] = np.arange(1, 100)[:, None]
    assert np.array_equal(grad_of(x), wanted)


def test_overlapping_slices_of_every_kind_add_up() -> None:
    x = telegrad.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    y = x * 1

    (y[1].sum() + y[0:2, 1].sum() * 2 + y.select(1, 1).sum() * 4 + y.narrow(0, -2, 2).sum() * 8 + y[2, 3] * 16).backward()

    wanted = np.zeros((3, 4))
    wanted[1] += 1
    wanted[0:2, 1] += 2
    wanted[:, 1] += 4
    wanted[1:] += 8
    wanted[2, 3] += 16
    assert np.array_equal(grad_of(x), wanted)


@pytest.mark.parametrize("leaf", [True, False])
def test_a_gradient_that_others_hold_is_not_added_into(leaf: bool) -> None:
    a = telegrad.ones(3, 2, requires_grad=True)
    b = telegrad.ones(3, 2, requires_grad=True)
    x, y = (a, b) if leaf else (a * 1, b * 1)
    part = x[1].sum() * 5  # made first, so that its gradient comes last
    both = x + y  # gives one array to both

    (both * telegrad.ones(3, 2)).sum().add(part).backward()

    assert grad_of(b).tolist() == [[1, 1], [1, 1], [1, 1]]
    assert grad_of(a).tolist() == [[1, 1], [6, 6], [1, 1]]


def test_gradients_of_slices_can_be_differentiated_again() -> None:
    x = telegrad.tensor([1.0, 2.0, 3.0], requires_grad=True)

    (first,) = telegrad.autograd.grad((x[0:2] ** 3).sum() + x[1] ** 2, x, create_graph=True)
    first.sum().backward()

    assert first.tolist() == [3, 16, 0]
    assert grad_of(x).tolist() == [6, 14, 0]
