"""What one op costs, forward and backward, against the same arithmetic written out in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import telegrad
import telegrad.nn.functional as F
from benchmarks.harness import Ratio, compare, show

Array = npt.NDArray[Any]


def rows(shape: tuple[int, ...]) -> list[Ratio]:
    """Elementwise ops on ``shape``, a reduction, a matrix product and a softmax, each forward and with its backward."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=shape), rng.normal(size=shape)
    ones = np.ones(shape)
    session = telegrad.local()
    x = session.tensor(a, requires_grad=True)
    plain, other, seed = session.tensor(a), session.tensor(b), session.tensor(ones)
    one = session.tensor(1.0, dtype=telegrad.float64)

    def both(build: Callable[[Any], Any], cotangent: Any) -> Callable[[], None]:
        def run() -> None:
            x.grad = None
            build(x).backward(cotangent)

        return run

    size = "x".join(map(str, shape))
    against = "numpy by hand"
    found = [
        compare(f"add, forward, {size}", lambda: plain + other, lambda: a + b, against=against),
        compare(f"exp, forward, {size}", plain.exp, lambda: np.exp(a), against=against),
        compare(
            f"mul, forward and backward, {size}",
            both(lambda t: t * other, seed),
            lambda: (a * b, ones * b),
            against=against,
        ),
        compare(f"exp, forward and backward, {size}", both(lambda t: t.exp(), seed), lambda: ones * np.exp(a), against=against),
        compare(
            f"sum, forward and backward, {size}",
            both(lambda t: t.sum(), one),
            lambda: (a.sum(), np.broadcast_to(np.float64(1), shape).copy()),
            against=against,
        ),
    ]

    def softmax_by_hand() -> Array:
        shifted = np.exp(a - a.max(-1, keepdims=True))
        p = shifted / shifted.sum(-1, keepdims=True)
        return np.asarray(p * (ones - (ones * p).sum(-1, keepdims=True)))

    found.append(
        compare(
            f"softmax, forward and backward, {size}",
            both(lambda t: F.softmax(t, dim=-1), seed),
            softmax_by_hand,
            against=against,
        )
    )
    if len(shape) == 2:
        found.append(
            compare(
                f"matmul with its transpose, both, {size}",
                both(lambda t: t @ other.T, session.tensor(np.ones((shape[0], shape[0])))),
                lambda: (a @ b.T, np.ones((shape[0], shape[0])) @ b),
                against=against,
            )
        )
    return found


def chain() -> Ratio:
    """A chain of 1,000 tiny ops, forward and backward."""
    session = telegrad.local()
    w = np.full(3, 1.001)
    x, c, seed = session.tensor(np.ones(3), requires_grad=True), session.tensor(w), session.tensor(np.ones(3))

    def ours() -> None:
        x.grad = None
        y: Any = x
        for _ in range(500):
            y = y * c
            y = y + c
        y.backward(seed)

    def by_hand() -> Array:
        y = np.ones(3)
        for _ in range(500):
            y = y * w
            y = y + w
        g = np.ones(3)
        for _ in range(500):
            g = g * w
        return g

    return compare("chain of 1,000 ops on 3 numbers", ours, by_hand, against="numpy by hand", seconds=1.5)


def main() -> None:
    """Print the table."""
    show("One op", [*rows((3,)), *rows((100, 100)), *rows((1000, 1000)), chain()])
