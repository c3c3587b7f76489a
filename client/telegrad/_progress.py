"""How far many calls of a traced function are, and who is told: a bar, or a function of the user's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

_SECONDS: Final = 0.1
"""Shortest time between two lines of the plain bar."""


class Progress:
    """How far it is. What ``progress=`` functions are called with, at most about ten times a second.

    Attributes:
        run: how many calls are done.
        times: how many there will be; None where an iterable does not say.
        latest: what the last call returned, where that is one number a tensor, as Python numbers in the function's own structure;
            None before the first.
        cancelled: whether ``cancel()`` was called.
    """

    def __init__(self, times: int | None) -> None:
        self.run = 0
        self.times = times
        self.latest: Any = None
        self.cancelled = False
        self.stop: Callable[[], object] | None = None

    def cancel(self) -> None:
        """End after the call that is under way: what was done stands, and is returned as if that had been all."""
        if not self.cancelled:
            self.cancelled = True
            if self.stop is not None:
                self.stop()

    def __repr__(self) -> str:
        return f"<Progress {self.run:,} of {'?' if self.times is None else f'{self.times:,}'}>"


class Report:
    """Tells nobody. As a context manager it ends what it shows."""

    def __call__(self, progress: Progress) -> None:
        """It is so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more comes."""


class _Call(Report):
    def __init__(self, function: Callable[[Progress], object]) -> None:
        self._function = function

    def __call__(self, progress: Progress) -> None:
        self._function(progress)


class _Bar(Report):
    """tqdm's bar."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=progress.times, desc=self._name, unit="step", disable=None)
        self._bar.update(progress.run - self._bar.n)
        if isinstance(progress.latest, (int, float)):
            self._bar.set_postfix_str(f"{progress.latest:.4g}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Line(Report):
    """A line that writes itself over, where somebody is there to see it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._written = 0.0
        self._begun = time.monotonic()
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._written < _SECONDS and progress.run != progress.times:
            return
        self._written = now
        rate = progress.run / max(now - self._begun, 1e-9)
        total = "" if progress.times is None else f"/{progress.times:,}"
        latest = f", {progress.latest:.4g}" if isinstance(progress.latest, (int, float)) else ""
        text = f"{self._name}: {progress.run:,}{total} steps, {rate:,.0f}/s{latest}"
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def close(self) -> None:
        if self._width:
            sys.stderr.write("\n")


def reporter(progress: bool | Callable[[Progress], object], name: str) -> Report:
    """Who is told: nobody, a function, tqdm's bar where that is installed, or a plain line on a terminal."""
    if progress is False:
        return Report()
    if progress is not True:
        return _Call(progress)
    from importlib.util import find_spec

    if find_spec("tqdm") is not None:
        return _Bar(name)
    return _Line(name) if sys.stderr.isatty() else Report()
