"""Methods that only name others: PyTorch has each, and gives the same.

Some are called on detached tensors: PyTorch refuses to differentiate three of them in place, and gives the comparisons zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import telegrad
from tests.parity.transcripts import attempt, disagreements
from tests.references.sides import HAS_TORCH, torch_side

CALLS: list[Callable[[Any, Any], Any]] = [
    lambda tg, x: x.absolute_(),
    lambda tg, x: x.arccos_(),
    lambda tg, x: (x.detach() + 1).arccosh_(),
    lambda tg, x: x.arcsin_(),
    lambda tg, x: x.detach().arcsinh_(),
    lambda tg, x: x.arctan_(),
    lambda tg, x: x.arctan2_(tg.ones(2, 2)),
    lambda tg, x: x.detach().arctanh_(),
    lambda tg, x: x.clip_(0.3, 0.4),
    lambda tg, x: x.clip_(max=0.4),
    lambda tg, x: x.divide_(0.3, rounding_mode="floor"),
    lambda tg, x: x.true_divide_(0.3),
    lambda tg, x: (x * 9).fix_(),
    lambda tg, x: x.detach().greater_(0.3),
    lambda tg, x: x.detach().greater_equal_(0.5),
    lambda tg, x: x.detach().less_(tg.ones(2)),
    lambda tg, x: x.detach().less_equal_(0.5),
    lambda tg, x: x.multiply_(3),
    lambda tg, x: x.multiply_(1j),
    lambda tg, x: x.negative_(),
    lambda tg, x: x.detach().not_equal_(0.5),
    lambda tg, x: x.subtract_(tg.ones(2), alpha=3),
    lambda tg, x: x.addr_(tg.ones(2), tg.ones(2), beta=2, alpha=3),
    lambda tg, x: x[0].addr_(tg.ones(2), tg.ones(2)),
    lambda tg, x: x.float_power_(2),
    lambda tg, x: x.double().float_power_(3),
    lambda tg, x: tg.tensor([1 + 2j]).conj_physical_(),
    lambda tg, x: x.conj_physical_(),
    lambda tg, x: x.uniform_(2, 2),
    lambda tg, x: x.uniform_(2, 1),
    lambda tg, x: x.long().uniform_(),
    lambda tg, x: x.normal_(3, 0),
    lambda tg, x: x.normal_(0, -1),
    lambda tg, x: x.type(tg.float64),
    lambda tg, x: x.type(tg.float32) is x,
    lambda tg, x: x.cpu() is x,
    lambda tg, x: (x.is_same_size(x), x.is_same_size(x[0]), x.is_conj(), x.is_neg()),
    lambda tg, x: x.hardshrink(0.3),
    lambda tg, x: x.fill_diagonal_(3),
    lambda tg, x: tg.zeros(3, 5).fill_diagonal_(2),
    lambda tg, x: tg.zeros(7, 2).fill_diagonal_(2),
    lambda tg, x: tg.zeros(7, 2).fill_diagonal_(2, wrap=True),
    lambda tg, x: tg.zeros(2, 5).fill_diagonal_(2, wrap=True),
    lambda tg, x: tg.zeros(2, 2, 2).fill_diagonal_(3),
    lambda tg, x: tg.zeros(2, 3, 2).fill_diagonal_(3),
    lambda tg, x: x[0].fill_diagonal_(3),
    lambda tg, x: x.narrow_copy(1, 0, 1),
    lambda tg, x: x.prelu(tg.tensor([0.3])),
    lambda tg, x: x.bernoulli_(tg.tensor([0.0, 1.0])),
    lambda tg, x: x.bernoulli_(1),
    lambda tg, x: x.bernoulli_(2),
    lambda tg, x: x.bernoulli_(tg.tensor([0.0, 2.0])),
    lambda tg, x: x.exponential_(-1),
    lambda tg, x: x.long().exponential_(),
    lambda tg, x: x.geometric_(1),
    lambda tg, x: x.random_(3, 3),
    lambda tg, x: x.random_(1),
    lambda tg, x: x.random_(-4, -3),
    lambda tg, x: x.cauchy_(0, 0),
    lambda tg, x: x.log_normal_(0, -1),
    lambda tg, x: x.long().cauchy_(),
    lambda tg, x: [m.dtype for m in (x.long().bernoulli_(), x.int().geometric_(0.5), x.double().random_(5), x.bool().random_())],
    lambda tg, x: x.long().hardshrink(0.3),
]


def recorded(tg: Any, call: Callable[[Any, Any], Any]) -> Any:
    """What the call gives, and the gradient that comes back through it."""
    leaf = tg.tensor([[0.25, 0.5], [-0.75, 0.375]], requires_grad=True)

    def act() -> Any:
        made = call(tg, leaf * 1)
        if getattr(made, "requires_grad", False) and made.dtype in (tg.float32, tg.float64):
            made.sum().backward()
            return made.detach(), leaf.grad
        return made

    return attempt(act)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("index", range(len(CALLS)))
def test_other_names_do_the_same(index: int) -> None:
    wanted = recorded(torch_side().torch, CALLS[index])
    with telegrad.local():
        found = recorded(telegrad, CALLS[index])

    assert disagreements(found, wanted) == []


def test_draws_in_place_fill_the_tensor_with_the_session_s_draws() -> None:
    with telegrad.local() as session:
        session.manual_seed(3)
        x = telegrad.empty(4000, dtype=telegrad.float64)
        uniform = x.uniform_(-1, 3).numpy().copy()
        normal = x.normal_(5, 2).numpy()

    assert -1 <= uniform.min() < -0.9
    assert 2.9 < uniform.max() < 3
    assert abs(normal.mean() - 5) < 0.2
    assert abs(normal.std() - 2) < 0.2


@pytest.mark.parametrize(
    ("fill", "quantiles"),
    [
        (lambda x: x.exponential_(2), [0.1438, 0.3466, 0.6931]),
        (lambda x: x.cauchy_(1, 2), [-1.0, 1.0, 3.0]),
        (lambda x: x.log_normal_(0, 1), [0.5094, 1.0, 1.9630]),
        (lambda x: x.geometric_(0.3), [1.0, 2.0, 4.0]),
        (lambda x: x.random_(10, 21), [12.0, 15.0, 18.0]),
        (lambda x: x.random_(), [2.0**51, 2.0**52, 3 * 2.0**51]),
        (lambda x: x.bernoulli_(0.6), [0.0, 1.0, 1.0]),
    ],
)
def test_draws_in_place_have_the_quantiles_of_their_distribution(fill: Callable[[Any], Any], quantiles: list[float]) -> None:
    with telegrad.local() as session:
        session.manual_seed(5)
        drawn = fill(telegrad.empty(20_000, dtype=telegrad.float64)).numpy()

    assert np.quantile(drawn, [0.25, 0.5, 0.75]).tolist() == pytest.approx(quantiles, rel=0.06, abs=0.06)
