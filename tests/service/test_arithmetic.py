"""What is foreseen of a graph that is there is what was foreseen when it was made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import telegrad
import telegrad.nn.functional as F
from telegrad_service.engine.graph import Node
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.arithmetic import flops_of


def leaf(*size: int) -> telegrad.Tensor:
    return telegrad.rand(*size, requires_grad=True)


CALLS: dict[str, tuple[Callable[[], telegrad.Tensor], int]] = {
    "matmul": (lambda: leaf(3, 40) @ leaf(40, 5), 2 * 3 * 40 * 5),
    "a matmul with one that has no gradient": (lambda: leaf(3, 40) @ telegrad.rand(40, 5), 2 * 3 * 40 * 5),
    "a number": (lambda: leaf(3, 4) * 2, 12),
    "a sum": (lambda: leaf(30, 4).sum(), 120),
    "a concatenation": (lambda: telegrad.cat([leaf(3, 4), leaf(5, 4)]), 32),
    "a value that was not kept": (lambda: leaf(3, 4) + telegrad.rand(4), 12),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_node_counts_what_its_op_took(name):
    make, expected = CALLS[name]
    with telegrad.local():
        made = make()
        assert isinstance(made, Tensor)
        assert isinstance(made.node, Node)

        assert flops_of(made.node, made.home) == expected


def test_a_convolution_counts_its_products():
    with telegrad.local():
        made = F.conv2d(leaf(1, 3, 8, 8), leaf(4, 3, 3, 3), padding=1)
        assert isinstance(made, Tensor)
        assert isinstance(made.node, Node)
        assert flops_of(made.node, made.home) >= 2 * 4 * 8 * 8 * 27


def test_a_function_of_a_user_counts_its_results():
    class Double(telegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    with telegrad.local():
        made = Double.apply(leaf(3, 4))
        assert flops_of(made.node, made.home) == 12
