"""Many steps of a traced function in one request: against the same in this process, and against a request for each step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

import telegrad
import telegrad.nn.functional as F
from benchmarks.harness import Ratio, compare, show
from benchmarks.roundtrip import server

STEPS = 1000
BATCH = 64
ROWS = 1792


class Network:
    """A classifier of 64 inputs with one hidden layer, and a step of its training; the same text for every session."""

    def __init__(self, session: telegrad.Session) -> None:
        rng = np.random.default_rng(0)
        sizes = [((64, 64), 8.0), ((64,), 1e9), ((64, 10), 8.0), ((10,), 1e9)]
        self.parameters = [
            session.tensor((rng.normal(size=size) / scale).astype(np.float32), requires_grad=True) for size, scale in sizes
        ]
        self.inputs = session.tensor(rng.normal(size=(ROWS, 64)).astype(np.float32))
        self.labels = session.tensor(rng.integers(0, 10, ROWS))
        self.first = session.tensor(np.arange(BATCH))
        self.order = np.random.default_rng(1).permutation(ROWS).reshape(-1, BATCH)
        self.step = telegrad.function(self.train)

    def train(self, rows: Any) -> Any:
        """One step on these rows of the data; its loss."""
        w1, b1, w2, b2 = self.parameters
        hidden = (self.inputs[rows] @ w1 + b1).relu()
        loss = F.cross_entropy(hidden @ w2 + b2, self.labels[rows])
        loss.backward()
        with telegrad.no_grad():
            for p in self.parameters:
                if p.grad is not None:
                    p.sub_(p.grad, alpha=0.01)
                p.grad = None
        return loss

    def repeat(self) -> Any:
        """A thousand steps on the same rows."""
        return self.step.repeat(STEPS, self.first).numpy()

    def epoch(self) -> Any:
        """One time through the data."""
        return self.step.map(self.order).numpy()

    def epoch_step_by_step(self) -> list[float]:
        """The same with a call, and a look at the loss, for each step."""
        return [self.step(rows).item() for rows in self.order]

    def epoch_untraced(self) -> list[float]:
        """The same without a program."""
        tensor = self.first.session.tensor
        return [self.train(tensor(rows)).item() for rows in self.order]


def _same(first: Callable[[], Any], second: Callable[[], Any]) -> None:
    """Both compute the same, to the bit."""
    np.testing.assert_array_equal(np.asarray(first()), np.asarray(second()))


def main() -> None:
    """Run all and print the ratios."""
    serve = ("-m", "telegrad_service", "serve", "--port", "PORT", "--log-level", "warning")
    rows: list[Ratio] = []
    with server(*serve, path="/healthz") as url, contextlib.closing(telegrad.connect(url)) as remote:
        local = telegrad.local()
        far, near = Network(remote), Network(local)
        _same(far.repeat, near.repeat)
        _same(far.epoch, near.epoch)
        what = f"{STEPS:,} steps by repeat, on a server"
        rows.append(compare(what, far.repeat, near.repeat, against="the same program in this process (goal 1.03)", seconds=12))
        stepwise = Network(remote)
        rows.append(compare("an epoch by map, on a server", far.epoch, stepwise.epoch_step_by_step, against="a request a step"))
        rows.append(compare("an epoch by map, on a server", far.epoch, stepwise.epoch_untraced, against="recorded, untraced"))
        rows.append(
            compare("an epoch by map, in this process", near.epoch, Network(local).epoch_untraced, against="a loop, untraced")
        )
    show("Many steps in one request", rows)


if __name__ == "__main__":
    main()
