"""Interrupted at any line, as Ctrl-C does: what was recorded is done once, whatever is flushed next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

import telegrad
from telegrad.errors import DependentError, ShapeError
from tests.client.wire import Wire

MODULES = frozenset({"_batch", "_exchange", "_flight", "_queue", "_recorder", "_refusals", "_remote", "_retries"})
"""Where what was recorded is on its way. In the HTTP library an interruption is one at the request, which these see."""

SHARES: Final = 8
"""A process takes every eighth line; more of them share the work."""

OURS: Final = Path(telegrad.__file__).parent


class Interruption:
    """Raises KeyboardInterrupt at the n-th line that is run of ``MODULES``."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.place = ""

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        is_ours = path.parent == OURS and path.stem in MODULES and frame.f_code.co_name != "__del__"
        return self._line if is_ours else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.left -= 1
            if not self.left:
                sys.settrace(None)
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._line

    def during(self, call: Callable[[], Any]) -> bool:
        """Call it; whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


def gradient_of(tensor: telegrad.Tensor) -> Any:
    """Its values, read."""
    assert tensor.grad is not None
    return tensor.grad.tolist()


def at_every_line(share: int, script: Callable[[telegrad.RemoteSession, Interruption], bool]) -> int:
    """Run the script in new sessions, interrupted at one line after the other, until it was not; how often it was."""
    wire, count = Wire(), 0
    while True:
        interruption = Interruption(1 + share + SHARES * count)
        with wire.open() as session:
            try:
                if not script(session, interruption):
                    return count
            except (AssertionError, telegrad.TelegradError) as error:
                session._exchange.discard()
                raise AssertionError(f"interrupted at {interruption.place}") from error
        count += 1


@pytest.mark.parametrize("share", range(SHARES))
def test_a_flush_that_is_interrupted_anywhere_is_done_once(share: int) -> None:
    def script(session: telegrad.RemoteSession, interruption: Interruption) -> bool:
        w = telegrad.ones(2)
        session.flush()
        w += 1
        product, given = w * 2, telegrad.tensor([3.0, 4.0])
        telegrad.ones(3)  # collected, and released
        interrupted = interruption.during(session.flush)
        w += 1

        assert w.tolist() == [3, 3]
        assert product.tolist() == [4, 4]
        assert given.tolist() == [3, 4]
        return interrupted

    assert at_every_line(share, script) > 10


@pytest.mark.parametrize("share", range(SHARES))
def test_a_read_that_is_interrupted_anywhere_can_be_asked_again(share: int) -> None:
    def script(session: telegrad.RemoteSession, interruption: Interruption) -> bool:
        w = telegrad.ones(2, requires_grad=True)
        (w * 3).sum().backward()
        interrupted = interruption.during(lambda: gradient_of(w))
        (w * 4).sum().backward()

        assert gradient_of(w) == [7, 7]
        return interrupted

    assert at_every_line(share, script) > 10


@pytest.mark.parametrize("share", range(0, SHARES, 3))  # some of the lines: it is the longest
def test_a_mistake_is_told_and_the_rest_done_once_wherever_its_telling_is_interrupted(share: int) -> None:
    def script(session: telegrad.RemoteSession, interruption: Interruption) -> bool:
        def mistaken() -> None:
            with pytest.raises(ShapeError):
                session.flush()

        w = telegrad.ones(2)
        session.flush()
        w += 1
        bad = telegrad.ones(2, 3).t().view(6)
        worse = bad + 1
        w += 1
        interrupted = interruption.during(mistaken)
        if interrupted:
            try:
                session.flush()
            except ShapeError as error:
                assert "bad = telegrad" in "".join(error.__notes__)  # noqa: PT017 - it may have been told before
        w += 1

        assert w.tolist() == [4, 4]
        with pytest.raises(DependentError):
            worse.tolist()
        return interrupted

    assert at_every_line(share, script) > 10


@pytest.mark.parametrize("share", range(SHARES))
def test_a_step_that_is_interrupted_anywhere_leaves_a_state_between_two_lines_of_it(
    monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "MODULES", MODULES | {"_autograd", "_reach", "_walks", "_writes"})

    def step(w: telegrad.Tensor) -> None:
        (w * w).sum().backward()
        with telegrad.no_grad():
            w -= 0.25 * w.grad
            w.grad = None

    def script(session: telegrad.RemoteSession, interruption: Interruption) -> bool:
        w = telegrad.ones(2, requires_grad=True)
        session.flush()
        interrupted = interruption.during(lambda: step(w))
        telegrad.set_grad_enabled(True)

        assert w.grad is None or w.grad.tolist() == [2, 2]
        begun = w.tolist()
        assert begun in ([1, 1], [0.5, 0.5])
        w.grad = None
        step(w)
        assert w.tolist() == [begun[0] / 2] * 2
        return interrupted

    assert at_every_line(share, script) > 10
