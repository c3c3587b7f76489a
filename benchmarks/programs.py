"""What a traced function costs: against the same step done eagerly in this process, and against recording it op by op."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from typing import Any

import numpy as np

import telegrad
import telegrad.nn.functional as F
from benchmarks.harness import SPINNING_SECONDS, Ratio, compare, show
from benchmarks.roundtrip import BARE_APP, server
from telegrad.autograd import grad

OPS = 1000


class Perceptron:
    """A classifier of fully connected layers and one batch of 64, in ``session``."""

    def __init__(self, session: telegrad.Session, sizes: tuple[int, ...]) -> None:
        """Weights of the scale of He et al. (2015), arXiv:1502.01852, the same in every session."""
        rng = np.random.default_rng(0)
        self.parameters: list[Any] = []
        for inputs, outputs in itertools.pairwise(sizes):
            weight = (rng.normal(size=(inputs, outputs)) * np.sqrt(2 / inputs)).astype(np.float32)
            self.parameters += [session.tensor(weight, requires_grad=True), session.zeros(outputs, requires_grad=True)]
        self.x = session.tensor(rng.normal(size=(64, sizes[0])).astype(np.float32))
        self.t = session.tensor(rng.integers(0, sizes[-1], 64))

    def loss(self, x: Any, t: Any) -> Any:
        """The forward pass."""
        for i in range(0, len(self.parameters), 2):
            x = x @ self.parameters[i] + self.parameters[i + 1]
            if i + 2 < len(self.parameters):
                x = F.relu(x)
        return F.cross_entropy(x, t)

    def descend(self, loss: Any) -> Any:
        """The backward pass and the update; the loss."""
        loss.backward()
        with telegrad.no_grad():
            for p in self.parameters:
                p.sub_(0.001 * p.grad)
                p.grad = None
        return loss

    def step(self, x: Any, t: Any) -> Any:
        """One step of gradient descent; the loss."""
        return self.descend(self.loss(x, t))

    def eager(self) -> float:
        """A step as it is."""
        return float(self.step(self.x, self.t).item())

    def compiled(self) -> Callable[[], float]:
        """A step as a program."""
        step = telegrad.function(self.step)
        return lambda: float(step(self.x, self.t).item())

    def half_compiled(self) -> Callable[[], float]:
        """The forward pass as a program, and the rest as it is."""
        loss = telegrad.function(self.loss)
        return lambda: float(self.descend(loss(self.x, self.t)).item())


class Recurrent:
    """An LSTM cell in ops, 30 times over a batch of 8, in ``session``."""

    def __init__(self, session: telegrad.Session) -> None:
        """Weights and inputs, the same in every session."""
        rng = np.random.default_rng(0)
        shapes = ((32, 128), (32, 128), (128,))
        self._weights = [session.tensor(rng.normal(size=n).astype(np.float32) / 6, requires_grad=True) for n in shapes]
        self._inputs = session.tensor(rng.normal(size=(30, 8, 32)).astype(np.float32))
        self._start = session.zeros(8, 32)

    def forward(self, inputs: Any) -> Any:
        """The mean square of the last output."""
        wx, wh, bias = self._weights
        h = c = self._start
        for step in range(30):
            i, f, g, o = (inputs[step] @ wx + h @ wh + bias).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return (h**2).mean()

    def differentiated(self, forward: Callable[[Any], Any]) -> Callable[[], None]:
        """Forward so, and backward as it is."""

        def run() -> None:
            forward(self._inputs).backward()
            for w in self._weights:
                w.grad = None

        return run


def recording(session: Any) -> Ratio:
    """One op recorded, and nothing sent."""
    a, b = session.tensor([1.0, 2.0, 3.0]), session.tensor([4.0, 5.0, 6.0])
    session.flush()
    x, y = np.ones(3), np.ones(3)

    def record() -> None:
        for _ in range(OPS):
            _ = a + b
        session._exchange.discard()
        session._recorder.released.clear()

    def add() -> None:
        for _ in range(OPS):
            np.add(x, y)

    row = compare("record one op", record, add, against="numpy add of two 3-vectors", seconds=1)
    return Ratio(row.name, row.ours_seconds / OPS, row.floor_seconds / OPS, row.ratio, row.spread, row.against)


def gradient_call() -> Ratio:
    """The gradient of a function of 8 numbers that come from this process, back in this process."""
    numbers = np.linspace(0.1, 0.8, 8)

    def gradient(x: Any) -> Any:
        x = x.requires_grad_()
        (g,) = grad((x**2 * telegrad.sin(x)).sum(), x)
        return g

    traced = telegrad.function(gradient)
    return compare(
        "gradient on 8 numbers: record, flush, read",
        lambda: gradient(telegrad.tensor(numbers)).numpy(),
        lambda: traced(numbers).numpy(),
        against="the stored program",
        seconds=2,
    )


def round_trip(url: str) -> Callable[[], object]:
    """A round trip to a bare ASGI application by a raw socket, with as many bytes as a step: nothing over HTTP can be faster."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 600\r\n\r\n" + b" " * 600

    def trip() -> None:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):  # it gives no length, so that uvicorn sends chunks
            received = connection.recv(65536)
            if not received:
                raise ConnectionError("the bare application hung up")
            answer += received

    return trip


STEPS = 100


def in_a_row(step: Callable[[], Any], flush: Callable[[], None]) -> Callable[[], None]:
    """So many steps whose losses nobody reads until the last one is done."""

    def run() -> None:
        losses = [step() for _ in range(STEPS)]
        flush()
        losses[-1].item()

    return run


def main() -> None:
    """Print the table.

    A loss read after each step costs a round trip each time, which is why that is compared with a bare one, too; steps in a row are
    recorded while the ones before them run.
    """
    # One process, both cores for its products, nothing kept on a disk: what is compared is the step.
    serve = ("-m", "telegrad_service", "serve", "--port", "PORT", "--isolation", "inline", "--durability", "none")
    with (
        server(*serve, path="/healthz") as url,
        server("-c", BARE_APP, "PORT", path="/") as bare,
        telegrad.connect(url) as remote,
    ):
        rows = [recording(remote), gradient_call()]
        local = telegrad.local()
        for name, sizes in (("digits classifier 64-64-10", (64, 64, 10)), ("784-256-128-10", (784, 256, 128, 10))):
            eager, floor = Perceptron(local, sizes).eager, "the eager step in this process"
            compiled = Perceptron(remote, sizes).compiled()
            remotely = f"{name}: remote program"
            rows += [
                compare(remotely, compiled, eager, against=floor, seconds=3, rest_seconds=SPINNING_SECONDS),
                compare(remotely, compiled, round_trip(bare), against="a bare round trip", rest_seconds=SPINNING_SECONDS),
            ]
            far, near = Perceptron(remote, sizes), Perceptron(local, sizes)
            program = telegrad.function(far.step)
            rows.append(
                compare(
                    f"{name}: remote program, {STEPS} steps in a row",
                    in_a_row(lambda: program(far.x, far.t), remote.flush),  # noqa: B023 - called before the next round
                    in_a_row(lambda: near.step(near.x, near.t), local.flush),  # noqa: B023
                    against="as many eager steps in this process",
                    seconds=3,
                    rest_seconds=SPINNING_SECONDS,
                )
            )
            rows.append(compare(f"{name}: local program", Perceptron(local, sizes).compiled(), eager, against=floor, seconds=2))
            half = Perceptron(local, sizes).half_compiled()
            rows.append(compare(f"{name}: local program of the forward pass alone", half, eager, against=floor, seconds=2))
        cell = Recurrent(local)
        traced, plain = cell.differentiated(telegrad.function(cell.forward)), cell.differentiated(cell.forward)
        rows.append(compare("LSTM in ops: local program of the forward pass alone", traced, plain, against=floor, seconds=2))
    show("Traced functions", rows)


if __name__ == "__main__":
    main()
