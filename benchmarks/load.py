"""Latency under load: locust draws what the server can give, then 80 % of it; p50 and p99 for each isolation and durability."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.isolation import STEP
from benchmarks.roundtrip import server

LOCUSTFILE: Final = """
import json, os
from locust import FastHttpUser, constant_throughput, events, task

RATE = float(os.environ["STEPS_PER_SECOND"])
milliseconds, failures = [], []

@events.request.add_listener
def note(name, response_time, exception, **_):
    # Every one of them: locust's own percentiles are of rounded ones.
    if name == "a step":
        milliseconds.append(response_time) if exception is None else failures.append(str(exception))

@events.quitting.add_listener
def report(**_):
    with open(os.environ["REPORT"], "w") as file:
        json.dump({"milliseconds": milliseconds, "failures": failures[:5], "failed": len(failures)}, file)

class Trainer(FastHttpUser):
    if RATE:
        wait_time = constant_throughput(RATE)

    def on_start(self):
        self.address = self.client.post("/v1/sessions", name="open").headers["location"]

    @task
    def step(self):
        headers = {"Content-Type": "application/json"}
        self.client.post(self.address + "/batch", data=os.environ["BODY"], headers=headers, name="a step")
"""
"""Each user has a session, and sends training steps: so many a second, or with 0 as many as he can."""

USERS: Final = 16
SECONDS: Final = 8.0
SHARE: Final = 0.8


class Load(NamedTuple):
    """What was measured.

    Attributes:
        per_second: steps that were answered.
        milliseconds: of each, sorted.
        failed: how many were not answered with success.
    """

    per_second: float
    milliseconds: list[float]
    failed: int

    def percentile(self, share: float) -> float:
        """Milliseconds that so large a share stays under."""
        return self.milliseconds[min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)]


def drive(url: str, per_second: float = 0.0, seconds: float = SECONDS, users: int = USERS) -> Load:
    """Let so many users send steps; ``per_second`` is what they send together, 0 for as much as they can."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        environment = {
            **os.environ,
            "REPORT": str(report),
            "STEPS_PER_SECOND": str(per_second / users),
            "BODY": json.dumps(STEP),
            "PYTHONWARNINGS": "ignore",
        }
        script = Path(folder) / "locustfile.py"
        script.write_text(LOCUSTFILE, encoding="utf-8")
        command = [sys.executable, "-m", "locust", "-f", str(script), "--headless", "--host", url]
        command += ["-u", str(users), "-r", str(users), "-t", f"{seconds:g}s", "--only-summary", "--loglevel", "ERROR"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds + 60, check=False)
        if not report.exists():
            raise RuntimeError(done.stderr)
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    times = sorted(found["milliseconds"])
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} steps failed: {found['failures']}")
    return Load(len(times) / seconds, times, found["failed"])


def measure(isolation: str, durability: str, seconds: float = SECONDS) -> tuple[Load, Load]:
    """All that a server gives, and what its users see at ``SHARE`` of that."""
    with tempfile.TemporaryDirectory() as folder:
        serve = ("-m", "telegrad_service", "serve", "--port", "PORT", "--log-level", "error", "--data-dir", folder)
        with server(*serve, "--isolation", isolation, "--durability", durability, path="/healthz") as url:
            drive(url, seconds=2.0)  # to warm up; on a busy machine the users have hardly come by then
            most = drive(url, seconds=seconds)
            usual = drive(url, SHARE * most.per_second, seconds)
            if not (most.milliseconds and usual.milliseconds):
                raise RuntimeError(f"no step was answered in {seconds:g} s")
            return most, usual


def main() -> None:
    """Print a line for each kind of server."""
    if importlib.util.find_spec("locust") is None:
        print("\nLoad: locust is not installed (pip install 'telegrad[bench]'); left out")
        return
    print(f"\nLoad: {USERS} sessions, steps on 3 numbers over HTTP, at {SHARE:.0%} of what the server gives")
    for isolation in ("inline", "process"):
        for durability in ("none", "step"):
            most, usual = measure(isolation, durability)
            print(
                f"  {isolation:8s} {durability:5s} {most.per_second:6.0f} steps/s at most; at {usual.per_second:6.0f}/s "
                f"p50 {usual.percentile(0.5):6.2f} ms, p99 {usual.percentile(0.99):6.2f} ms"
            )


if __name__ == "__main__":
    main()
