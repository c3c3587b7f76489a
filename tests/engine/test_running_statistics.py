"""Normalisation by running statistics: how they move, and that nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.autograd import gradcheck
from telegrad.nn import functional as F
from tests.samples import rand


def statistics() -> tuple[telegrad.Tensor, telegrad.Tensor]:
    """A running mean and variance of three channels."""
    return telegrad.tensor(rand(3, seed=5)), telegrad.tensor(rand(3, low=0.5, seed=6))


def test_training_moves_batch_statistics_in_place() -> None:
    x, (mean, variance) = rand(4, 3, 2), statistics()
    kept_mean, kept_variance = mean.numpy().copy(), variance.numpy().copy()

    F.batch_norm(telegrad.tensor(x), mean, variance, training=True, momentum=0.3)

    np.testing.assert_allclose(mean.numpy(), 0.7 * kept_mean + 0.3 * x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance.numpy(), 0.7 * kept_variance + 0.3 * x.var((0, 2), ddof=1), rtol=1e-12)


def test_training_result_does_not_depend_on_running_statistics() -> None:
    x = telegrad.tensor(rand(4, 3, 2))

    alone, beside = F.batch_norm(x, None, None, training=True), F.batch_norm(x, *statistics(), training=True)

    np.testing.assert_array_equal(alone.numpy(), beside.numpy())


def test_evaluation_uses_running_statistics_and_leaves_them() -> None:
    x, (mean, variance) = rand(4, 3, 2), statistics()
    kept_mean, kept_variance = mean.numpy().copy(), variance.numpy().copy()

    result = F.batch_norm(telegrad.tensor(x), mean, variance, eps=0.1)

    wanted = (x - kept_mean[:, None]) / np.sqrt(kept_variance[:, None] + 0.1)
    np.testing.assert_allclose(result.numpy(), wanted, rtol=1e-12)
    np.testing.assert_array_equal(mean.numpy(), kept_mean)
    np.testing.assert_array_equal(variance.numpy(), kept_variance)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_has_derivatives_beside_running_statistics(training: bool) -> None:
    arguments = [telegrad.tensor(rand(*shape, seed=i), requires_grad=True) for i, shape in enumerate([(4, 3), (3,), (3,)])]

    def function(x: telegrad.Tensor, weight: telegrad.Tensor, bias: telegrad.Tensor) -> telegrad.Tensor:
        return F.batch_norm(x, *statistics(), weight, bias, training)

    assert gradcheck(function, tuple(arguments))


def test_instance_statistics_are_means_over_samples() -> None:
    x, (mean, variance) = rand(2, 3, 4), statistics()
    kept_mean, kept_variance = mean.numpy().copy(), variance.numpy().copy()

    F.instance_norm(telegrad.tensor(x), mean, variance, momentum=0.2)

    np.testing.assert_allclose(mean.numpy(), 0.8 * kept_mean + 0.2 * x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance.numpy(), 0.8 * kept_variance + 0.2 * x.var(2, ddof=1).mean(0), rtol=1e-12)


def test_instance_norm_may_use_running_statistics() -> None:
    x, (mean, variance) = telegrad.tensor(rand(2, 3, 4)), statistics()

    given: Any = F.instance_norm(x, mean, variance, use_input_stats=False)

    np.testing.assert_array_equal(given.numpy(), F.batch_norm(x, mean, variance).numpy())


def test_query_that_sees_nothing_gives_zeros_and_no_gradient() -> None:
    query, key, value = (telegrad.tensor(rand(2, 3, seed=i), requires_grad=True) for i in range(3))
    mask = telegrad.tensor([[True, True], [False, False]])

    result = F.scaled_dot_product_attention(query, key, value, mask)
    result.sum().backward()

    assert (result[1] == 0).all()
    assert query.grad is not None
    assert (query.grad[1] == 0).all()
    assert query.grad.isfinite().all()
