"""What a journal costs: a training step of the digits classifier with a hidden layer of 1,024, durable and not.

Measured in a process of its own with one BLAS thread, which is what a session has by default; and with BLAS on all cores, which
then has to share them with the thread that writes. The quickest tenths are compared, too: other programs disturb them least.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

import numpy as np

from telegrad.contract.limits import Limits
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.durable import DurableSession, Keeping
from telegrad_service.hosts.nursery import one_thread
from telegrad_service.journal.base import Kept

GOAL: Final = 0.15
STEPS: Final = 150
BATCH: Final = 128
HIDDEN: Final = 1024


def apply(op: str, *inputs: Any, to: str | None = None, **parameters: Any) -> dict[str, Any]:
    """A command; without a result's name an in-place one, which records nothing."""
    command: dict[str, Any] = {"command": "apply", "op": op, "inputs": list(inputs), "parameters": parameters}
    return {**command, "grad_enabled": False} if to is None else {**command, "outputs": [to]}


class Training:
    """The classifier in a session that is kept so."""

    def __init__(self, keeping: Keeping) -> None:
        self.session = DurableSession(Kept(keeping.durability, time.time()), Limits(), keeping)
        rng = np.random.default_rng(0)
        shapes = {"w1": (64, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, 10), "b2": (10,)}
        arrays: Any = {name: (rng.normal(size=shape) / 8).astype(np.float32) for name, shape in shapes.items()}
        self.do([{"command": "create", "id": name, "buffer": name, "requires_grad": True} for name in arrays], arrays)
        self.inputs: Any = [rng.normal(size=(BATCH, 64)).astype(np.float32) for _ in range(8)]
        self.numbers = itertools.count()

    def do(self, commands: list[dict[str, Any]], buffers: Any = None) -> None:
        """A batch."""
        answer = self.session.do(Work("batch", json.dumps({"commands": commands}).encode(), buffers=buffers or {}))
        assert answer.status == 200, answer

    def step(self) -> float:
        """Seconds until the answer of a step; what comes after it is not waited for by anybody."""
        n = next(self.numbers)
        x, t, h, a, b, y, loss = (f"c4f1a9.{8 * n + i}" for i in range(7))
        commands = [
            {"command": "create", "id": x, "buffer": "x"},
            apply("argmax", x, to=t, dim=1),
            apply("remainder", t, 10, to=f"{t}m"),
            apply("matmul", x, "w1", to=h),
            apply("add", h, "b1", to=a),
            apply("relu", a, to=b),
            apply("matmul", b, "w2", to=f"{y}r"),
            apply("add", f"{y}r", "b2", to=y),
            apply("cross_entropy", y, f"{t}m", to=loss),
            {"command": "backward", "tensors": [loss]},
        ]
        for parameter in ("w1", "b1", "w2", "b2"):
            commands += [
                {**apply("mul", f"{parameter}.grad", 0.01, to=f"{loss}{parameter}"), "grad_enabled": False},
                apply("sub_", parameter, f"{loss}{parameter}"),
                {"command": "set", "tensor": parameter, "grad": None},
            ]
        commands.append({"command": "read", "tensor": loss})
        made = [x, t, f"{t}m", h, a, b, f"{y}r", y, loss, *[f"{loss}{p}" for p in ("w1", "b1", "w2", "b2")]]
        commands.append({"command": "release", "tensors": made})
        begun = time.perf_counter()
        self.do(commands, {"x": self.inputs[n % len(self.inputs)].copy()})
        return time.perf_counter() - begun


def measure() -> None:
    """Print the ratio in this process."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}"
        trainings = [Training(Keeping(url, level)) for level in ("none", "step")]
        seconds: list[list[float]] = [[], []]
        for _ in range(STEPS):
            for training, taken in zip(trainings, seconds, strict=True):
                taken.append(training.step())
                training.session.rest()
        none, step = (statistics.median(taken[10:]) for taken in seconds)
        quick = [sorted(taken[10:])[STEPS // 10] for taken in seconds]
        pairs = sorted(b / a - 1 for a, b in zip(*[taken[10:] for taken in seconds], strict=True))
        print(
            f"step {step * 1e3:.2f} ms, none {none * 1e3:.2f} ms: {statistics.median(pairs):+.1%} of a digits step with a "
            f"hidden layer of {HIDDEN:,} (goal: under {GOAL:.0%}); {quick[1] / quick[0] - 1:+.1%} at the 10th percentile"
        )
        for training in trainings:
            training.session.stop()


def main() -> None:
    """Print both ratios."""
    for threads in (1, os.cpu_count() or 1):
        print(f"durability, BLAS threads: {threads:2d}   ", end="", flush=True)
        command = [sys.executable, "-c", "from benchmarks.durability import measure; measure()"]
        subprocess.run(command, env=one_thread(dict(os.environ), threads), check=True)


if __name__ == "__main__":
    main()
