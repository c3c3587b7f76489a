"""What looking rows up does to their weights beside the gradient: rows scaled down in place, gradients divided by uses."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
from telegrad.nn import functional
from tests.references.sides import HAS_TORCH, torch_side

INDICES = np.array([0, 1, 1, 3])
WEIGHTS = np.arange(8.0).reshape(4, 2)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_named_rows_are_scaled_down_in_place_as_in_the_reference(order: float) -> None:
    torch = torch_side().torch
    theirs = torch.tensor(WEIGHTS, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor(INDICES), theirs, max_norm=1.5, norm_type=order)
    with telegrad.local():
        weights = telegrad.tensor(WEIGHTS, requires_grad=True)
        rows = functional.embedding(telegrad.tensor(INDICES), weights, max_norm=1.5, norm_type=order)
        rows.sum().backward()

        assert np.allclose(weights.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
        assert weights.tolist()[2] == [4.0, 5.0]  # which nobody named
        assert weights.grad is not None
        assert weights.grad.tolist() == [[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]
        assert weights.is_leaf


@pytest.mark.parametrize("padding", [None, 0])
def test_gradients_of_bags_are_divided_by_uses(padding: int | None) -> None:
    with telegrad.local():
        weights = telegrad.tensor(WEIGHTS, requires_grad=True)
        bags = functional.embedding_bag(
            telegrad.tensor(INDICES[None]), weights, mode="sum", scale_grad_by_freq=True, padding_idx=padding
        )
        bags.sum().backward()

        assert weights.grad is not None
        first = [1.0, 1.0] if padding is None else [0.0, 0.0]
        assert weights.grad.tolist() == [first, [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


def test_rows_of_a_map_count_their_own_uses() -> None:
    def gradient(indices: telegrad.Tensor) -> telegrad.Tensor:
        return telegrad.func.grad(lambda w: functional.embedding(indices, w, scale_grad_by_freq=True).sum())(weights)

    with telegrad.local():
        weights = telegrad.tensor(WEIGHTS)
        both = telegrad.tensor([[0, 0, 1], [2, 2, 2]])

        found = telegrad.vmap(gradient)(both)

        assert found.tolist() == [gradient(one).tolist() for one in both]
