"""A training loop that counts its steps where the weights are: whatever is lost or done twice shows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import telegrad

BATCHES = np.random.default_rng(0).normal(size=(16, 8, 5))
TARGETS = np.random.default_rng(1).normal(size=(16, 8, 3))


class Training:
    """Steps of a small network with momentum and dropout, in four ways that take turns.

    Attributes:
        done: steps that were acknowledged.
        seen: what each of them returned.
    """

    def __init__(self, session: Any) -> None:
        """Make the weights in a session, remote or local."""
        self.session = session
        session.manual_seed(3)
        rng = np.random.default_rng(2)
        self.first = session.tensor(rng.normal(size=(5, 16)) * 0.3, requires_grad=True)
        self.second = session.tensor(rng.normal(size=(16, 3)) * 0.3, requires_grad=True)
        self.weights = (self.first, self.second)
        self.momenta = [w.detach().clone().zero_() for w in self.weights]
        self.count = session.tensor(0)
        self.done = 0
        self.seen: list[float] = []
        self.traced = telegrad.function(self._step)

    def _step(self, x: Any, t: Any) -> Any:
        hidden = (x @ self.first).tanh().dropout(0.1)
        loss = ((hidden @ self.second - t) ** 2).mean()
        loss.backward()
        with telegrad.no_grad():
            for w, m in zip(self.weights, self.momenta, strict=True):
                m.mul_(0.9).add_(w.grad)
                w.sub_(m, alpha=0.05)
                w.grad = None
            self.count.add_(1)
        return loss.detach()

    def _data(self) -> tuple[Any, Any]:
        number = self.done % len(BATCHES)
        return self.session.tensor(BATCHES[number]), self.session.tensor(TARGETS[number])

    def step(self) -> None:
        """Some steps, one way or another; what was acknowledged is checked at once."""
        way: Callable[[], float] = (self._recorded, self._recorded, self._called, self._mapped)[len(self.seen) % 4]
        self.seen.append(way())
        count = int(self.count.item())
        assert count == self.done, f"{self.done} steps were acknowledged, {count} were done"

    def _recorded(self) -> float:
        loss = self._step(*self._data())
        value = float(loss.item())
        self.done += 1
        return value

    def _called(self) -> float:
        value = float(self.traced(*self._data()).item())
        self.done += 1
        return value

    def _mapped(self) -> float:
        losses = self.traced.map(BATCHES[:5], TARGETS[:5])
        value = float(losses.sum().item())
        self.done += 5
        return value

    def state(self) -> list[bytes]:
        """All values, bit for bit."""
        return [x.detach().numpy().tobytes() for x in (*self.weights, *self.momenta, self.count)]


def uncut(rounds: int) -> tuple[list[float], list[bytes]]:
    """What every step returns and what is there at the end, where nothing goes wrong."""
    with telegrad.local() as session:
        training = Training(session)
        for _ in range(rounds):
            training.step()
        return training.seen, training.state()
