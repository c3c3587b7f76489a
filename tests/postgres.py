"""A PostgreSQL of the tests' own: from the package pgserver, or the system's; stopped, killed and started again at will."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 30
USER = "nobody"
"""Who runs it where the tests run as root, whom PostgreSQL refuses."""


class Postgres:
    """A server on a socket in a folder of its own; ``url()`` makes a database.

    Attributes:
        folder: with all of it.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self._as: dict[str, Any] = {"user": USER, "group": folder.stat().st_gid} if os.geteuid() == 0 else {}
        self._process: subprocess.Popen[bytes] | None = None
        if self._as:
            shutil.chown(folder, USER)
        self._run("initdb", "--pgdata", str(folder / "data"), "--username", "telegrad", "--auth", "trust", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, timeout=START_SECONDS, check=False, **self._as
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")

    def start(self) -> None:
        """Begin to serve, if it does not."""
        import psycopg

        if self._process is not None:
            return
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "", "-F"]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._as)
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._address("postgres")).close()
            except psycopg.OperationalError:
                if time.monotonic() > give_up or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """End it at once, in the middle of everything; by default without a checkpoint, as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._process = None

    def pause(self, seconds: float = 0.0) -> None:
        """Stop, wait, and start again."""
        self.stop()
        time.sleep(seconds)
        self.start()

    def _address(self, database: str) -> str:
        return f"postgresql://telegrad:{PASSWORD}@/{database}?host={self.folder}"

    def give(self, folder: Path) -> None:
        """Let the server write there."""
        if self._as:
            shutil.chown(folder, USER)

    def url(self, options: str = "") -> str:
        """A new database, made with these options of CREATE DATABASE."""
        import psycopg

        name = f"d{secrets.token_hex(4)}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {options}")
        return self._address(name)

    def execute(self, url: str, statement: str) -> Any:
        """Rows of a statement, behind the journal's back."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


PASSWORD = "hunter2-7f3a"
"""Of a server that asks for none; it must show nowhere."""


def _programs(folder: Path) -> Path | None:
    """Where PostgreSQL's programs are; those of the package are copied, as they may lie where only root can read."""
    package = importlib.util.find_spec("pgserver")
    if package is not None and package.submodule_search_locations:
        home = Path(next(iter(package.submodule_search_locations)))
        if (home / "pginstall" / "bin" / "initdb").exists():
            if os.geteuid():
                return home / "pginstall" / "bin"
            shutil.copytree(home / "pginstall", folder / "pgserver" / "pginstall", symlinks=True)
            if (home.parent / "pgserver.libs").exists():
                shutil.copytree(home.parent / "pgserver.libs", folder / "pgserver.libs")
            return folder / "pgserver" / "pginstall" / "bin"
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


@contextlib.contextmanager
def serving() -> Iterator[Postgres]:
    """One that runs. Skips the test where there is none to be had."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install 'telegrad[postgres]'")
    # Not below pytest's own folder: a socket's path may not be long, and another user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="tgpg"))
    try:
        folder.chmod(0o755)
        programs = _programs(folder)
        if programs is None:
            pytest.skip("there is no PostgreSQL here: neither the package pgserver nor initdb on the PATH")
        home = folder / "home"
        home.mkdir()
        server = Postgres(programs, home)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
