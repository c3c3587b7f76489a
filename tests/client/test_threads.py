"""Threads that share a session: each records its own hooks and checkpoints, and any may close it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import telegrad
from telegrad.errors import SessionClosedError
from telegrad.utils.checkpoint import checkpoint
from tests.client.wire import Wire
from tests.waiting import LONGEST_SECONDS, wait_until


def elsewhere(work: Callable[[], Any]) -> None:
    """Do it in another thread, and wait; raises what it raised."""
    raised: list[BaseException] = []

    def caught() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join(LONGEST_SECONDS)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_what_another_thread_does_while_a_hook_runs_is_not_part_of_the_hook(session: telegrad.RemoteSession) -> None:
    w, count = telegrad.ones(2, requires_grad=True), telegrad.zeros(1)

    def other() -> None:
        count.add_(1)
        assert count.tolist() == [1]

    def hook(gradient: telegrad.Tensor) -> telegrad.Tensor:
        elsewhere(other)
        return gradient * 3

    product = w * 2
    product.register_hook(hook)
    product.sum().backward()

    assert w.grad is not None
    assert w.grad.tolist() == [6, 6]
    assert count.tolist() == [1]


def test_hooks_run_in_two_threads_at_once(session: telegrad.RemoteSession) -> None:
    first, second = (telegrad.ones(2, requires_grad=True) for _ in range(2))

    def with_hook(w: telegrad.Tensor, factor: int, between: Callable[[], Any]) -> None:
        def hook(gradient: telegrad.Tensor) -> telegrad.Tensor:
            before = gradient * factor
            between()
            return before * factor

        w.register_hook(hook)
        w.sum().backward()

    with_hook(first, 2, lambda: elsewhere(lambda: with_hook(second, 3, lambda: None)))

    assert first.grad is not None
    assert second.grad is not None
    assert (first.grad.tolist(), second.grad.tolist()) == ([4, 4], [9, 9])


def test_checkpoints_run_in_two_threads_that_end_in_turn(session: telegrad.RemoteSession) -> None:
    first, second = (telegrad.ones(2, requires_grad=True) for _ in range(2))
    begun, ended = threading.Event(), threading.Event()
    results: list[telegrad.Tensor] = []

    def other() -> None:
        def block(x: telegrad.Tensor) -> telegrad.Tensor:
            begun.set()
            assert ended.wait(LONGEST_SECONDS)
            return x * 3 * second

        results.append(checkpoint(block, second, use_reentrant=False))

    thread = threading.Thread(target=other)

    def block(x: telegrad.Tensor) -> telegrad.Tensor:
        if thread.ident is None:  # backward runs the block again
            thread.start()
            assert begun.wait(LONGEST_SECONDS)
        return x * 2 * first

    product = checkpoint(block, first, use_reentrant=False)
    ended.set()
    thread.join(LONGEST_SECONDS)
    (product.sum() + results[0].sum()).backward()

    assert first.grad is not None
    assert second.grad is not None
    assert (first.grad.tolist(), second.grad.tolist()) == ([4, 4], [6, 6])


@pytest.mark.parametrize("place", ["local", "remote"])
def test_threads_enter_a_session_each_for_itself(place: str, wire: Wire) -> None:
    inside, left = threading.Event(), threading.Event()

    def other() -> None:
        with shared:
            inside.set()
            assert left.wait(LONGEST_SECONDS)
            assert telegrad.ones(1).session is shared
        assert not shared.closed

    with telegrad.local() as outer:
        shared = telegrad.local() if place == "local" else wire.open()
        with shared:
            thread = threading.Thread(target=other)
            with shared:
                thread.start()
                assert inside.wait(LONGEST_SECONDS)
            assert telegrad.ones(1).session is shared
            left.set()
            thread.join(LONGEST_SECONDS)
            assert not shared.closed
        assert telegrad.ones(1).session is outer
        with pytest.raises(SessionClosedError):
            shared.ones(1)


def test_blocks_need_not_end_in_the_order_of_their_beginning() -> None:
    first, second = telegrad.local(), telegrad.local()
    with telegrad.local() as outer:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert telegrad.ones(1).session is second
        second.__exit__(None, None, None)
        assert telegrad.ones(1).session is outer


def test_a_session_that_another_thread_closes_says_so_to_who_waits_for_a_value(wire: Wire) -> None:
    for _ in range(5):
        session = wire.open()
        x = session.ones(2)
        held, go_on = threading.Event(), threading.Event()

        def hold(request: httpx2.Request, held: threading.Event = held, go_on: threading.Event = go_on) -> None:
            held.set()
            assert go_on.wait(LONGEST_SECONDS)

        said: list[Any] = []

        def read(number: int, x: telegrad.Tensor = x, said: list[Any] = said) -> None:
            try:
                said.append((x + number).tolist())
            except SessionClosedError:
                said.append("closed")

        wire.fault = hold
        threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
        threads += [threading.Thread(target=session.close) for _ in range(2)]
        threads += [threading.Thread(target=read, args=(number,)) for number in range(3)]
        threads[0].start()
        assert held.wait(LONGEST_SECONDS)
        for thread in threads[1:]:
            thread.start()
        go_on.set()
        for thread in threads:
            thread.join(LONGEST_SECONDS)
        wire.fault = None

        assert len(said) == 6
        assert all(value == "closed" or len(set(value)) == 1 for value in said)
        assert session.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_leaves_a_block_while_another_thread_was_sending(wire: Wire) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with session._traffic.lock:
            held.set()
            go_on.wait(LONGEST_SECONDS)

    session = wire.open()
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(LONGEST_SECONDS)
    child = os.fork()
    if not child:
        try:
            with session:
                _ = 1 / 0
        except ZeroDivisionError:
            os._exit(7)
        finally:
            os._exit(8)
    ended: list[int] = []

    def has_ended() -> bool:
        number, status = os.waitpid(child, os.WNOHANG)
        ended.append(status)
        return number == child

    try:
        wait_until(has_ended)
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        go_on.set()
        thread.join(LONGEST_SECONDS)
        session.close()

    assert os.waitstatus_to_exitcode(ended[-1]) == 7


def test_a_session_that_is_left_at_the_interpreters_exit_waits_for_no_thread() -> None:
    script = """
import threading, telegrad
from tests.client.wire import Wire

def left_open():
    with Wire().open() as session:
        session.ones(2)
        yield session

class Late:
    def __del__(self):
        block.close()
        print("left", flush=True)

block = left_open()
session = next(block)
held = threading.Event()

def hold():
    with session._traffic.lock:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
import builtins
builtins.late = Late()
"""
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LONGEST_SECONDS, check=True)

    assert done.stdout.split() == ["left"], done.stderr
    assert time.monotonic() - begun < LONGEST_SECONDS
