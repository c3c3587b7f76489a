"""One engine, one workload, one process: makes the step, then times it as often as the parent asks, over stdin and stdout.

    python -m benchmarks.engine.worker ENGINE WORKLOAD RESULT.npz

The first line out is the number of calls that make a turn; then, for each line ``CALLS`` in, the seconds of one
call and the peak resident memory in KiB. The gradients of the first call are left in RESULT.npz for the parent to compare.
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2

TURN_SECONDS = 0.1
"""How long a turn takes, about; a step that takes longer is a turn of its own."""


def _torch() -> Any:
    torch = importlib.import_module("torch")
    torch.set_num_threads(THREADS)
    return torch


def _telegrad() -> Any:
    return importlib.import_module("telegrad")


def _autograd() -> tuple[Any, Any]:
    return importlib.import_module("autograd.numpy"), importlib.import_module("autograd").grad


def _jax() -> tuple[Any, Any]:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)

    def grad(function: Any) -> Any:
        compiled = jax.jit(jax.grad(function))
        return lambda x: jax.block_until_ready(compiled(x))

    return importlib.import_module("jax.numpy"), grad


def step_of(engine: str, workload: str) -> Any:
    """The step of one workload in one engine."""
    from benchmarks.engine.workloads import WORKLOADS

    make = WORKLOADS[workload].make
    if engine == "torch-compiled":
        torch = _torch()
        return torch.compile(make["tape"](torch))
    if engine.startswith("torch"):
        return make["fused" if engine == "torch-fused" else "tape"](_torch())
    if engine == "telegrad-compiled":
        return _telegrad().function(make["tape"](_telegrad()))
    if engine.startswith("telegrad"):
        return make["fused" if engine == "telegrad-fused" else "tape"](_telegrad())
    if engine == "mygrad":
        return make["mygrad"](importlib.import_module("mygrad"))
    if engine == "autograd":
        return make["autograd"](*_autograd())
    if engine == "jax":
        return make["jax"](*_jax())
    return make["hand"]()


def _array(value: Any) -> Any:
    for name in ("detach", "numpy"):
        value = getattr(value, name)() if hasattr(value, name) else value
    return np.asarray(value)


def _time(step: Any, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def _peak_kib() -> int:
    """Peak resident memory; getrusage would give the parent's where that was higher."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(engine: str, workload: str, path: str) -> None:
    """Serve the parent until its end of the pipe closes."""
    step = step_of(engine, workload)
    np.savez(path, *[_array(a) for a in step()])
    for _ in range(3):  # a program is compiled in its third run
        step()
    print(max(1, min(1000, int(TURN_SECONDS / max(_time(step, 1), 1e-6)))), flush=True)
    for line in sys.stdin:
        seconds = _time(step, int(line))
        print(seconds, _peak_kib(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
