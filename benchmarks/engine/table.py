"""``python -m benchmarks.engine [WORKLOAD ...] [--seconds N]``: print the table of the engine and its peers.

Every engine runs in a process of its own and they take turns. PyTorch stands in the table twice: as shipped, and with glibc told to
keep freed memory, as telegrad tells it by itself. Peers that are not installed are left out and named. Every engine's gradients are
compared with PyTorch's (by hand's, without it) before anything is timed; a wrong one ends the run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.engine.worker import TURN_SECONDS
from benchmarks.engine.workloads import WORKLOADS, Workload

THREADS = "2"
PAUSE_SECONDS = 0.1
"""Before each turn: threads of the one before wait for more work in a loop, up to so long, and would share its cores."""

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 * 2**20)}
"""glibc's environment variables for what ``telegrad_service.process`` tells it by calls."""

ENGINES = {
    # name in the table: (module that it needs, kind in the workload's table, environment)
    "hand": ("numpy", "hand", KEPT),
    "telegrad": ("telegrad", "tape", {}),
    "telegrad-fused": ("telegrad", "fused", {}),
    "torch": ("torch", "tape", {}),
    "torch-kept": ("torch", "tape", KEPT),
    "torch-fused": ("torch", "fused", {}),
    "autograd": ("autograd", "autograd", {}),
    "mygrad": ("mygrad", "mygrad", {}),
    "jax": ("jax", "jax", {}),
}

COMPILED = "telegrad-compiled"
"""The same script under ``telegrad.function``: a step is one run of a compiled program. In a table of its own."""

TORCH_COMPILED = "torch-compiled"
"""The same script under ``torch.compile``, which needs a C++ compiler and half a minute for each workload."""


@dataclass
class Worker:
    """A child process that times one engine."""

    process: subprocess.Popen[str]
    result: Path
    calls: int = 1
    seconds: list[float] = field(default_factory=list[float])
    peak_mib: float = 0.0

    @property
    def pipes(self) -> tuple[IO[str], IO[str]]:
        """To the child, from the child."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def line(self) -> str:
        """The child's next line; ends the run where it died."""
        text = self.pipes[1].readline()
        if not text:
            raise SystemExit(f"a worker ended with exit code {self.process.wait()}")
        return text

    def time(self) -> None:
        """One round."""
        self.pipes[0].write(f"{self.calls}\n")
        self.pipes[0].flush()
        seconds, peak_kib = self.line().split()
        self.seconds.append(float(seconds))
        self.peak_mib = float(peak_kib) / 1024

    @property
    def median(self) -> float:
        """Seconds of one step."""
        return statistics.median(self.seconds)


def _start(engine: str, workload: str, folder: Path) -> Worker:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    result = folder / f"{engine}.npz"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.engine.worker", engine, workload, str(result)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads | (ENGINES[engine][2] if engine in ENGINES else {}),
        cwd=Path(__file__).resolve().parents[2],
    )
    return Worker(process, result)


def _check(name: str, workload: Workload, workers: dict[str, Worker]) -> None:
    """Every engine's gradients against PyTorch's."""
    reference = "torch" if "torch" in workers else "hand"
    if reference not in workers:
        return
    with np.load(workers[reference].result) as wanted:
        for engine, worker in workers.items():
            with np.load(worker.result) as found:
                for key in wanted.files:
                    scale = float(np.abs(wanted[key]).max()) or 1.0
                    error = float(np.abs(found[key] - wanted[key]).max()) / scale
                    if not error <= workload.tolerance:
                        raise SystemExit(f"{name}: {engine} and {reference} differ by {error:.2g} in {key}")


def run(
    name: str, seconds: float, engines: Sequence[str] = tuple(ENGINES), more: Sequence[str] = ()
) -> tuple[dict[str, Worker], list[str]]:
    """Time one workload in those of the engines that are installed, and in ``more``; also the engines that are not."""
    workload = WORKLOADS[name]
    able = {e: ENGINES[e][0] for e in engines if ENGINES[e][1] in workload.make}
    missing = [engine for engine, module in able.items() if not importlib.util.find_spec(module)]
    chosen = [*more, *[engine for engine in able if engine not in missing]]
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for engine in chosen:
                workers[engine] = _start(engine, name, Path(folder))
                workers[engine].calls = int(workers[engine].line())
            _check(name, workload, workers)
            for _ in range(max(5, int(seconds / (len(workers) * (PAUSE_SECONDS + TURN_SECONDS))))):
                for worker in workers.values():
                    time.sleep(PAUSE_SECONDS)
                    worker.time()
        finally:
            for worker in workers.values():
                worker.pipes[0].close()
                try:
                    worker.process.wait(10)
                except subprocess.TimeoutExpired:
                    worker.process.kill()
    return workers, missing


def _ratio(ours: Worker, theirs: Worker) -> float:
    """Median of the pairwise ratios, round by round."""
    return statistics.median(a / b for a, b in zip(ours.seconds, theirs.seconds, strict=True))


def _duration(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def chosen(
    arguments: Sequence[str], module: str, description: str, workloads: Collection[str], *, seconds: float
) -> tuple[Collection[str], float]:
    """What a command line asks for: some of the workloads, or all, and the time for each. Ends the process for what is none."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"any of: {', '.join(workloads)} (default: all)")
    parser.add_argument("--seconds", type=float, default=seconds, help="time for each workload (default: %(default)g)")
    given = parser.parse_args(list(arguments))
    unknown = set(given.workloads) - set(workloads)
    if unknown:
        parser.error(f"unknown workload(s): {', '.join(sorted(unknown))}")
    return given.workloads or workloads, given.seconds


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; returns 1 where a goal is not reached."""
    names, seconds = chosen(arguments, "benchmarks.engine", "The engine against its peers.", WORKLOADS, seconds=6.0)
    failed: list[str] = []
    absent: set[str] = set()
    for name in names:
        workers, missing = run(name, seconds)
        absent.update(missing)
        failed += show(WORKLOADS[name].title, workers, "telegrad", WORKLOADS[name].reach, WORKLOADS[name].per)
    if absent:
        print(f"\nnot installed, left out: {', '.join(sorted(absent))} (pip install -e '.[bench,reference]')")
    if failed:
        print(f"\nnot reached: {'; '.join(failed)}")
    return 1 if failed else 0


def show(title: str, workers: dict[str, Worker], name: str, reach: Sequence[tuple[str, float]], per: int) -> list[str]:
    """Print one workload's rows, with ratios of the engine ``name`` to the others; returns the goals that were missed."""
    ours = workers[name]
    print(f"\n{title}")
    for engine, worker in workers.items():
        ratio = "" if worker is ours else f"{name} costs {_ratio(ours, worker):.2f}x this"
        print(f"  {engine:18s} {_duration(worker.median / per):>11s} {worker.peak_mib:7.0f} MiB peak   {ratio}", flush=True)
    missed: list[str] = []
    for peer, goal in reach:
        if peer in workers:
            found = _ratio(ours, workers[peer])
            word = "reached" if found <= goal else "MISSED"
            print(f"  goal: at most {goal:.2f}x {peer}: {found:.2f}x, {word}", flush=True)
            if found > goal:
                missed.append(f"{title}: {found:.2f}x {peer}, goal {goal:.2f}x")
    return missed
