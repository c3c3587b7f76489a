"""What `make demo` runs: a service on a free port of this machine, the worked example and the digits classifier through it.

python examples/demo.py              everything
python examples/demo.py --epochs 5   further arguments go to digits.py
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
READY_WITHIN_SECONDS: Final = 60.0
STOPPED_WITHIN_SECONDS: Final = 20.0


class DemoError(Exception):
    """Something that the demo is made of did not work; the message is for whoever started it."""


def answers_ready(port: int) -> bool:
    """Whether the service on that port says that it takes requests."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a text file, indented."""
    return "\n".join(f"    {line}" for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def wait_until_ready(service: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the service took, as soon as it takes requests. Raises DemoError."""
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise DemoError(f"the service ended at once, with status {service.returncode}; its log says:\n{last_lines(log)}")
        found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(encoding="utf-8", errors="replace"))
        if found and answers_ready(port := int(found[1])):
            return port
        time.sleep(0.05)
    raise DemoError(f"the service was not ready within {READY_WITHIN_SECONDS:.0f} s; its log says:\n{last_lines(log)}")


@contextlib.contextmanager
def running_service(log: Path) -> Generator[str]:
    """A service with its defaults on a free loopback port, writing its log there, stopped in any case: its address."""
    # What the caller's shell sets is for the caller's own service.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TELEGRAD_")}
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        service = subprocess.Popen(
            [sys.executable, "-m", "telegrad_service", "serve", "--port", "0", "--access-log", "true"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        url = f"http://127.0.0.1:{wait_until_ready(service, log)}"
        print(f"service on {url}, process {service.pid}, ready after {time.monotonic() - started:.1f} s")
        yield url
    finally:
        if service.poll() is None:
            service.terminate()
            try:
                service.wait(STOPPED_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()
            print(f"service stopped; its log: {log}")


def run_example(name: str, *arguments: str) -> None:
    """One example in a Python of its own, as a user would start it. Raises DemoError if it fails."""
    print(f"\n$ python examples/{name} {' '.join(arguments)}", flush=True)
    status = subprocess.run([sys.executable, str(HERE / name), *arguments], check=False).returncode
    if status:
        raise DemoError(f"examples/{name} ended with status {status}; what it printed is above")


def requests_in(log: Path) -> int:
    """How many requests that change something the service's log tells of."""
    return log.read_text(encoding="utf-8", errors="replace").count("telegrad.access: POST ")


def show(output: Path, arguments: Sequence[str]) -> None:
    """The worked example and the digits through a service of their own; what they leave behind goes to ``output``."""
    log, losses = output / "service.log", output / "losses.txt"
    with running_service(log) as url:
        run_example("worked_example.py", "--url", url)
        before = requests_in(log)
        run_example("digits.py", "--url", url, "--plot", str(output / "digits.png"), "--losses", str(losses), *arguments)
        requests = requests_in(log) - before
        steps = len(losses.read_text(encoding="ascii").splitlines())
        print(f"{requests} requests for {steps} steps: {requests / steps:.2f} a step, evaluations and all else included\n")


def main() -> int:
    """The whole demo; 0 if everything worked."""
    parser = argparse.ArgumentParser(
        description="A service, and two examples through it.", epilog="Further arguments go to digits.py."
    )
    parser.add_argument(
        "--output", type=Path, default=HERE / "output", help="folder for the picture, the losses and the service's log"
    )
    options, further = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the service is stopped then, too
    try:
        show(options.output, further)
    except DemoError as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
