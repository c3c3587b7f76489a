"""Indexing: values as numpy's, gradients scattered back, assignment as numpy's and differentiable on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import telegrad
from tests.references.evaluation import weights
from tests.samples import Array
from tests.strategies import advanced_indices, basic_indices, shapes, values


def tensors_in(session: telegrad.Session, index: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index with its arrays as tensors."""
    return tuple(session.tensor(i) if isinstance(i, np.ndarray) else i for i in index)


@st.composite
def indexed(draw: st.DrawFn) -> tuple[Array, tuple[Any, ...]]:
    """Values, and an index into them."""
    shape = draw(shapes(min_dims=1, min_side=1))
    return values(shape, 1), draw(basic_indices(shape) | advanced_indices(shape))


def scattered(like: Array, index: tuple[Any, ...], g: Array) -> Array:
    """The gradient of an index: each picked value's share added where it came from."""
    total = np.zeros_like(like)
    np.add.at(total, index, g)
    return total


@given(case=indexed())
def test_values_are_those_of_numpy(case: tuple[Array, tuple[Any, ...]]) -> None:
    array, index = case

    with telegrad.local() as session:
        picked = session.tensor(array)[tensors_in(session, index)]

    assert picked.shape == array[index].shape
    assert np.array_equal(picked.numpy(), array[index])


@given(case=indexed())
def test_gradient_is_scattered_back(case: tuple[Array, tuple[Any, ...]]) -> None:
    array, index = case
    g = weights(0, np.asarray(array[index]), 1)

    with telegrad.local() as session:
        x = session.tensor(array, requires_grad=True)
        x[tensors_in(session, index)].backward(session.tensor(g))

    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), scattered(array, index, g), rtol=1e-12, atol=1e-13)


@given(case=indexed())
def test_gradient_of_the_gradient_gathers_again(case: tuple[Array, tuple[Any, ...]]) -> None:
    array, index = case
    w = weights(1, array, 2)

    with telegrad.local() as session:
        x = session.tensor(array, requires_grad=True)
        g = session.tensor(np.ones(array[index].shape), requires_grad=True)
        (first,) = session.grad(x[tensors_in(session, index)], x, g, create_graph=True)
        (second,) = session.grad(first, g, session.tensor(w))

    assert np.array_equal(second.numpy(), w[index])


@given(case=indexed(), scalar=st.booleans())
def test_assignment_writes_what_numpy_writes_and_both_sides_get_gradients(
    case: tuple[Array, tuple[Any, ...]], scalar: bool
) -> None:
    array, index = case
    # Written once each, so that the order of writing cannot matter.
    cells = np.arange(array.size).reshape(array.shape)[index]
    if np.unique(cells).size != np.asarray(cells).size:
        index = (np.zeros(array.shape, np.bool_),)
    target = array[index].shape
    written = values(() if scalar else target, 2)
    g = weights(0, array, 1)

    with telegrad.local() as session:
        x = session.tensor(array, requires_grad=True)
        v = session.tensor(written, requires_grad=True)
        y = x.clone()
        y[tensors_in(session, index)] = v
        y.backward(session.tensor(g))

    wanted = array.copy()
    wanted[index] = written
    assert np.array_equal(y.detach().numpy(), wanted)
    untouched = g.copy()
    untouched[index] = 0
    assert x.grad is not None
    assert np.array_equal(x.grad.numpy(), untouched)
    assert v.grad is not None
    share = g[index].sum() if scalar else g[index]
    np.testing.assert_allclose(v.grad.numpy(), share, rtol=1e-12, atol=1e-12)


def test_repeated_rows_add_up() -> None:
    with telegrad.local() as session:
        x = session.tensor(np.ones((3, 2)), requires_grad=True)
        x[[0, 0, 2]].sum().backward()

    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("index", "words"),
    [
        pytest.param((5,), "out of (range|bounds)", id="integer beyond the end"),
        pytest.param((-4,), "out of (range|bounds)", id="integer before the start"),
        pytest.param((0, 0, 0), "too many indices", id="more indices than dimensions"),
        pytest.param(([0, 7],), "out of (range|bounds)", id="list with one beyond the end"),
    ],
)
def test_index_out_of_bounds_is_an_index_error(index: tuple[Any, ...], words: str) -> None:
    with telegrad.local() as session:
        x = session.tensor(np.ones((3, 2)))

        with pytest.raises(IndexError, match=words):
            x[index]


def test_mask_of_another_shape_is_an_index_error() -> None:
    with telegrad.local() as session:
        x = session.tensor(np.ones((3, 2)))

        with pytest.raises(IndexError, match="mask"):
            x[session.tensor(np.array([True, False]))]


def test_negative_step_is_refused_as_in_pytorch() -> None:
    with telegrad.local() as session, pytest.raises(ValueError, match="step must be greater than zero"):
        session.tensor(np.ones(3))[::-1]
