"""A server in a process of its own, which tests stop, kill and start again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2

STARTUP_SECONDS = 120
JSON = {"Content-Type": "application/json"}


class Server:
    """A server that keeps sessions in a folder, or in the journal at an address."""

    def __init__(self, folder: Path, *options: str, journal: str = "") -> None:
        self.command = [sys.executable, "-m", "telegrad_service", "serve", "--data-dir", str(folder), *options]
        self.environment = {**os.environ, **({"TELEGRAD_JOURNAL": journal} if journal else {})}
        self.port = 0
        self.start()

    def start(self) -> None:
        """On the port of the first time."""
        self.process = subprocess.Popen(
            [*self.command, "--port", str(self.port)], env=self.environment, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        listening = threading.Event()

        def read() -> None:
            assert self.process.stderr is not None
            with self.process.stderr as lines:
                for line in lines:
                    self.lines.append(line)
                    if "listens on" in line:
                        self.port = int(re.findall(r":([0-9]+)", line)[-1])
                        listening.set()
            listening.set()

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        listening.wait(STARTUP_SECONDS)
        assert self.port, self.lines

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        self.process.wait(30)

    def workers(self) -> list[int]:
        """The processes of its sessions."""
        return [int(e.name) for e in Path("/proc").iterdir() if e.name.isdecimal() and _is_worker(e, self.process.pid)]

    def restart(self, number: int) -> None:
        self.stop(number)
        self.start()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        content = None if body is None else json.dumps(body).encode()
        return httpx2.request(method, self.url + path, content=content, headers={**JSON, **headers}, timeout=60)


def _is_worker(entry: Path, server: int) -> bool:
    """Whether a process is a grandchild of the server."""
    try:
        parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        return int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]) == server
    except (OSError, ValueError):
        return False
