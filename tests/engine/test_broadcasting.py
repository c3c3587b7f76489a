"""Broadcasting: values as numpy's, gradients summed back to each operand's own shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import telegrad
from telegrad.contract.shapes import broadcast
from tests.references.evaluation import weights
from tests.samples import Array
from tests.strategies import broadcastable, dims, shapes, values

Pair = tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]


def summed_to(array: Array, shape: tuple[int, ...]) -> Array:
    """The sum over every dimension that ``shape`` lacks or has with size 1, spelled out element by element."""
    total = np.zeros(shape)
    padded = (1,) * (array.ndim - len(shape)) + shape
    view = total.reshape(padded)
    for where in np.ndindex(array.shape):
        view[tuple(0 if n == 1 else i for i, n in zip(where, padded, strict=True))] += array[where]
    return total


@given(pair=broadcastable())
def test_values_are_those_of_numpy(pair: Pair) -> None:
    (left, right), result = pair
    a, b = values(left, 1), values(right, 2)

    with telegrad.local():
        product = telegrad.tensor(a) * telegrad.tensor(b)

    assert product.shape == result
    assert np.array_equal(product.numpy(), a * b)


@given(pair=broadcastable())
def test_gradient_is_summed_to_each_operand(pair: Pair) -> None:
    (left, right), result = pair
    a, b = values(left, 1), values(right, 2)
    g = weights(0, np.zeros(result), 1)

    with telegrad.local() as session:
        x = session.tensor(a, requires_grad=True)
        y = session.tensor(b, requires_grad=True)
        (x / y).backward(session.tensor(g))

    assert x.grad is not None
    assert y.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), summed_to(g / b, left), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y.grad.numpy(), summed_to(-g * a / (b * b), right), rtol=1e-12, atol=1e-12)


@given(triple=broadcastable(3))
def test_second_derivative_is_summed_to_each_operand(triple: Pair) -> None:
    (left, middle, right), result = triple
    a, b, c = values(left, 1), values(middle, 2), values(right, 3)
    g = weights(0, np.zeros(result), 1)

    with telegrad.local() as session:
        x, y, z = (session.tensor(v, requires_grad=True) for v in (a, b, c))
        (first,) = session.grad(x * y * z, x, session.tensor(g), create_graph=True)
        w = weights(1, a, 2)
        (second,) = session.grad(first, y, session.tensor(w))

    np.testing.assert_allclose(second.numpy(), summed_to(g * c * w, middle), rtol=1e-12, atol=1e-12)


@given(shape=shapes(), data=st.data())
def test_reduction_is_that_of_numpy_and_its_gradient_expands(shape: tuple[int, ...], data: st.DataObject) -> None:
    dim = data.draw(dims(len(shape)))
    keepdim = data.draw(st.booleans())
    a = values(shape, 1)
    axes = (tuple(d % len(shape) for d in dim) or None) if shape else None

    with telegrad.local() as session:
        x = session.tensor(a, requires_grad=True)
        total = x.sum(dim, keepdim)
        g = weights(0, np.zeros(total.shape), 1)
        total.backward(session.tensor(g))

    wanted = a.sum(axis=axes, keepdims=keepdim)
    assert total.shape == wanted.shape
    np.testing.assert_allclose(total.detach().numpy(), wanted, rtol=1e-12)
    kept = g.reshape(a.sum(axis=axes, keepdims=True).shape)
    assert x.grad is not None
    assert np.array_equal(x.grad.numpy(), np.broadcast_to(kept, shape))


@given(left=shapes(), right=shapes())
def test_shapes_that_do_not_fit_are_refused(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    try:
        wanted = np.broadcast_shapes(left, right)
    except ValueError:
        with pytest.raises(telegrad.errors.ShapeError, match="must match the size of tensor b"):
            broadcast(left, right)
    else:
        assert broadcast(left, right) == wanted
