"""Products of scattered values: derivatives of all orders, however many of the factors are zero."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import telegrad
from telegrad.autograd import gradcheck, gradgradcheck


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("function", [telegrad.scatter_reduce, telegrad.index_reduce])
def test_second_derivatives_are_right_with_several_zeros_in_one_place(function: Any, include_self: bool) -> None:
    index = telegrad.tensor([0, 0, 0, 1])
    for factors in itertools.product([0.0, 2.0], repeat=3):
        into = telegrad.tensor([3.0, 0.0, 5.0], dtype=telegrad.float64, requires_grad=True)
        source = telegrad.tensor([*factors, 0.0], dtype=telegrad.float64, requires_grad=True)

        def product(into: Any, source: Any) -> Any:
            return function(into, 0, index, source, "prod", include_self=include_self)

        assert gradcheck(product, (into, source))
        assert gradgradcheck(product, (into, source))


def test_the_second_derivative_leaves_out_two_zeros() -> None:
    source = telegrad.tensor([0.0, 0.0, 4.0], requires_grad=True)
    y = telegrad.scatter_reduce(telegrad.tensor([3.0]), 0, telegrad.tensor([0, 0, 0]), source, "prod")
    (first,) = telegrad.autograd.grad(y.sum(), source, create_graph=True)
    (second,) = telegrad.autograd.grad(first[0], source)

    assert first.tolist() == [0.0, 0.0, 0.0]
    assert second.tolist() == [0.0, 12.0, 0.0]
