"""What a request costs against a bare ASGI app under the same server, and a training step against the same in-process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

import httpx2
import numpy as np

import telegrad
import telegrad.nn.functional as F
from benchmarks.harness import compare, show

BARE_APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"applied":0,"results":[]}'})

import sys, uvicorn
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


@contextlib.contextmanager
def server(*command: str, path: str, python: str = sys.executable) -> Generator[str]:
    """A server subprocess on a free loopback port; its address, once ``path`` answers. Stopped at the end."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([python, *(c.replace("PORT", str(port)) for c in command)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(url + path)
                break
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


class Network:
    """A two-layer classifier as a newcomer would write it; the same text for every session."""

    def __init__(self, session: telegrad.Session, sizes: tuple[int, int, int]) -> None:
        """Weights and one batch of 64 in ``session``."""
        rng = np.random.default_rng(0)
        inputs, hidden, classes = sizes

        def weights(*shape: int) -> Any:
            return session.tensor((rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32), requires_grad=True)

        self.parameters = [weights(inputs, hidden), weights(hidden), weights(hidden, classes), weights(classes)]
        self.x = session.tensor(rng.normal(size=(64, inputs)).astype(np.float32))
        self.t = session.tensor(rng.integers(0, classes, 64))

    def step(self) -> float:
        """One step of gradient descent; the loss."""
        w1, b1, w2, b2 = self.parameters
        loss = F.cross_entropy(F.relu(self.x @ w1 + b1) @ w2 + b2, self.t)
        loss.backward()
        with telegrad.no_grad():
            for p in self.parameters:
                p -= 0.01 * p.grad
                p.grad = None
        return float(loss.item())


def main() -> None:
    """Print the table."""
    with (
        server("-m", "telegrad_service", "serve", "--port", "PORT", path="/healthz") as ours,
        server("-c", BARE_APP, "PORT", path="/") as bare,
        httpx2.Client() as client,
        telegrad.connect(ours) as remote,
    ):
        session = client.post(f"{ours}/v1/sessions", json={}).json()["id"]
        json: dict[str, Any] = {"commands": []}
        rows = [
            compare(
                "empty batch over HTTP",
                lambda: client.post(f"{ours}/v1/sessions/{session}/batch", json=json),
                lambda: client.post(f"{bare}/", json=json),
                against="bare ASGI app, same server and client",
                seconds=2,
            )
        ]
        a = telegrad.tensor([1.0, 2.0, 3.0], requires_grad=True)

        def gradient() -> None:
            y = (a * a).sum()
            y.backward()
            assert a.grad is not None
            a.grad.numpy()
            a.grad = None

        rows.append(
            compare(
                "record, backward, read: 3 numbers",
                gradient,
                lambda: client.post(f"{bare}/", json=json),
                against="bare ASGI app, same server and client",
                seconds=2,
            )
        )
        local = telegrad.local()
        rows += [
            compare(
                f"training step {'-'.join(map(str, sizes))}, batch 64",
                Network(remote, sizes).step,
                Network(local, sizes).step,
                against="the same step in-process",
                seconds=3,
            )
            for sizes in ((64, 32, 10), (784, 256, 10))
        ]
        for megabytes in (1, 32):
            data = np.random.default_rng(0).normal(size=megabytes * 2**17)

            def there_and_back(data: Any = data) -> None:
                telegrad.tensor(data).numpy()

            rows.append(compare(f"{megabytes} MiB up and down", there_and_back, data.copy, against="one memory copy", seconds=3))
    show("Over HTTP", rows)
