"""Random draws: the same bits from the same seed, in the range and with the moments that they promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import telegrad

Draw = Callable[[telegrad.Session], Any]

DRAWS: dict[str, Draw] = {
    "rand": lambda s: s.rand(1000),
    "rand float64": lambda s: s.rand(1000, dtype="float64"),
    "randn": lambda s: s.randn(1000),
    "randn complex": lambda s: s.randn(1000, dtype="complex64"),
    "normal": lambda s: s.normal(2.0, 0.5, (1000,)),
    "randint": lambda s: s.randint(-5, 5, (1000,)),
    "randperm": lambda s: s.randperm(1000),
    "rand_like": lambda s: s.zeros(1000).rand_like(),
    "randn_like": lambda s: s.zeros(1000).randn_like(),
    "randint_like": lambda s: s.zeros(1000).randint_like(7),
    "bernoulli": lambda s: s.full((1000,), 0.3).bernoulli(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_same_seed_gives_same_bits_and_next_draw_differs(draw: Draw) -> None:
    with telegrad.local() as one, telegrad.local() as other:
        first = draw(one.manual_seed(7)).numpy()
        again = draw(one).numpy()
        elsewhere = draw(other.manual_seed(7)).numpy()

    assert first.tobytes() == elsewhere.tobytes()
    assert first.tobytes() != again.tobytes()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_rand_stays_below_one(kind: str) -> None:
    with telegrad.local() as session:
        drawn = session.manual_seed(0).rand(100_000, dtype=kind).numpy()

    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.astype("float64").mean() - 0.5) < 0.01


def test_complex_normal_numbers_have_variance_one() -> None:
    with telegrad.local() as session:
        drawn = session.manual_seed(0).randn(100_000, dtype="complex128").numpy()

    assert abs(np.mean(np.abs(drawn) ** 2) - 1) < 0.02


def test_randint_reaches_both_ends_and_randperm_every_number() -> None:
    with telegrad.local() as session:
        session.manual_seed(0)
        integers = session.randint(-2, 3, (1000,)).tolist()
        order = session.randperm(50).tolist()

    assert set(integers) == {-2, -1, 0, 1, 2}
    assert sorted(order) == list(range(50))
    assert order != sorted(order)
