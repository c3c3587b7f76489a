"""What is recorded, and when it travels."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import telegrad
from telegrad import _defaults
from telegrad._handle import new_names
from telegrad.errors import ConflictError, ShapeError
from tests.client.wire import Wire
from tests.waiting import wait_until


def test_ops_alone_send_nothing(wire: Wire, session: telegrad.RemoteSession) -> None:
    before = wire.trips

    y = (telegrad.ones(3) * 2).sum()

    assert (y.shape, y.dtype) == ((), telegrad.float32)
    assert wire.trips == before


def test_a_read_sends_everything_in_one_request(wire: Wire, session: telegrad.RemoteSession) -> None:
    before = wire.trips

    assert (telegrad.tensor([1.0, 2.0]) * 3).tolist() == [3.0, 6.0]

    assert wire.trips == before + 1


@pytest.mark.parametrize("clear", ["none", "zero"])
def test_a_training_step_is_one_round_trip_from_the_first(wire: Wire, session: telegrad.RemoteSession, clear: str) -> None:
    x = telegrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    parameters = [telegrad.tensor([[0.5], [-0.5]], requires_grad=True), telegrad.zeros(1, requires_grad=True)]
    trips = []

    for _ in range(4):
        before = wire.trips
        loss = ((x @ parameters[0] + parameters[1] - 1) ** 2).mean()
        for p in parameters:
            if clear == "zero" and p.grad is not None:
                p.grad.zero_()
        loss.backward()
        with telegrad.no_grad():
            for p in parameters:
                assert p.grad is not None
                p -= 0.1 * p.grad
                if clear == "none":
                    p.grad = None
        loss.item()
        trips.append(wire.trips - before)

    assert trips == [1, 1, 1, 1]


def test_a_value_that_was_read_is_not_read_again(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.tensor([1.0, 2.0])
    x.tolist()
    before = wire.trips

    assert (x.tolist(), repr(x)) == ([1.0, 2.0], "tensor([1., 2.])")

    assert wire.trips == before


def test_an_in_place_change_shows_in_every_alias(session: telegrad.RemoteSession) -> None:
    x = telegrad.zeros(2, 2)
    row, detached = x[0], x.detach()
    assert (row.tolist(), detached.tolist()) == ([0, 0], [[0, 0], [0, 0]])

    row += 1

    assert (x.tolist(), detached.tolist(), row.tolist()) == ([[1, 1], [0, 0]], [[1, 1], [0, 0]], [1, 1])


def test_backward_shows_in_a_gradient_that_was_read(session: telegrad.RemoteSession) -> None:
    x = telegrad.tensor(3.0, requires_grad=True)
    (x * x).backward()
    gradient = x.grad
    assert gradient is not None
    assert gradient.item() == 6

    (x * x).backward()

    assert x.grad is gradient
    assert gradient.item() == 12


def test_an_array_may_be_changed_after_it_became_a_tensor(session: telegrad.RemoteSession) -> None:
    array = np.arange(3.0)
    x = telegrad.tensor(array)

    array[0] = 9

    assert x.tolist() == [0, 1, 2]


def test_values_read_are_read_only(session: telegrad.RemoteSession) -> None:
    array = telegrad.zeros(2).numpy()

    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_collected_handles_are_released_with_the_next_batch(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2)
    y = x + 1
    name = y._name
    y.tolist()

    del y
    gc.collect()
    (x * 2).tolist()

    assert [c["tensors"] for c in wire.commands() if c["command"] == "release"] == [[name]]


def test_a_long_loop_without_reads_does_not_pile_up_tensors(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.zeros(1)
    for _ in range(1000):
        x = x + 1

    assert x.item() == 1000

    held, most = 0, 0
    for command in wire.commands():
        held += len(command.get("outputs", ())) - len(command.get("tensors", ()))
        most = max(most, held)
    assert most <= 3 * _defaults.RELEASE_COMMANDS


def test_a_loop_that_reads_large_values_does_not_pile_up_tensors(
    wire: Wire, session: telegrad.RemoteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_defaults, "LARGE_READ_BYTES", 100)
    before = wire.trips
    for step in range(20):
        assert telegrad.full((64,), step).tolist() == [step] * 64
        gc.collect()

    held = most = 0
    for index in range(before, wire.trips):
        for command in wire.commands(index):
            held += len(command.get("outputs", ())) - len(command.get("tensors", ()))
            most = max(most, held)
    assert most == 2
    numbered = ["telegrad-batch" in request.headers for request in wire.requests[before:]]
    assert numbered == [True, False] * 20  # what is large is in no answer that the server keeps


def test_what_is_read_last_is_released_after_it(
    wire: Wire, session: telegrad.RemoteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_defaults, "LARGE_READ_BYTES", 100)
    x = telegrad.ones(64)
    y = x + 1
    reply, name = session._recorder.read(y._name, "value", y._spec), y._name

    del y
    gc.collect()
    session.flush()

    assert reply.take()["tensor"]["shape"] == [64]
    x.sum().item()
    assert [c["tensors"] for c in wire.commands() if c["command"] == "release"] == [[name]]


def wait_for_trips(wire: Wire, count: int) -> None:
    """Until so many requests were sent; a full queue is sent in the background."""
    wait_until(lambda: wire.trips >= count)
    assert wire.trips == count


def test_a_full_queue_leaves_by_itself(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_COMMANDS", 128)
    with wire.open():
        x = telegrad.ones(1)
        before = wire.trips

        for _ in range(300):
            x = x + 1

        wait_for_trips(wire, before + 2)
        assert x.item() == 301


def test_many_bytes_leave_by_themselves(monkeypatch: pytest.MonkeyPatch, wire: Wire, session: telegrad.RemoteSession) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_BYTES", 1000)
    before = wire.trips

    x = telegrad.tensor(np.zeros(200))

    wait_for_trips(wire, before + 1)
    assert x.sum().item() == 0


def test_a_moment_of_silence_sends(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_SILENCE_SECONDS", 0.01)
    with wire.open():
        before = wire.trips
        x = telegrad.ones(2)

        wait_until(lambda: wire.trips > before)

        assert wire.trips == before + 1
        assert x.tolist() == [1, 1]


def test_an_error_met_in_silence_is_raised_by_what_comes_next(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_SILENCE_SECONDS", 0.01)
    with wire.open() as opened:
        x = telegrad.tensor([[1.0, 2.0], [2.0, 4.0]]).t().view(4)
        wait_until(lambda: opened._recorder.pending)

        with pytest.raises(ShapeError, match="view"):
            x.sum()


def test_eager_sends_each_op_and_raises_at_its_line(wire: Wire) -> None:
    with wire.open(eager=True):
        before = wire.trips
        x = telegrad.ones(2, 3)
        y = x.t()

        assert wire.trips == before + 2
        with pytest.raises(ShapeError, match="view"):
            y.view(6)
        assert y.reshape(6).tolist() == [1] * 6


def test_eager_and_recorded_give_equal_bits(wire: Wire) -> None:
    def train() -> list[bytes]:
        telegrad.manual_seed(7)
        w = telegrad.randn(3, 2, requires_grad=True)
        for _ in range(3):
            loss = (telegrad.randn(4, 3) @ w).exp().mean()
            loss.backward()
            with telegrad.no_grad():
                assert w.grad is not None
                w -= 0.1 * w.grad
            w.grad = None
        return [w.detach().numpy().tobytes()]

    with wire.open(eager=True):
        eager = train()
    with wire.open():
        recorded = train()

    assert eager == recorded


def test_the_mode_of_each_op_travels_with_it(session: telegrad.RemoteSession) -> None:
    x = telegrad.tensor(2.0, requires_grad=True)

    with telegrad.no_grad():
        y = x * 2
        with telegrad.enable_grad():
            z = x * 3

    assert (y.requires_grad, z.requires_grad) == (False, True)
    z.backward()
    assert x.grad is not None
    assert x.grad.item() == 3


def test_threads_record_into_one_session(session: telegrad.RemoteSession) -> None:
    results: list[float] = []

    def work(k: int) -> None:
        x = session.tensor(float(k))
        for _ in range(50):
            x = x + 1
            if k % 2:
                x.item()
        results.append(x.item())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [50.0 + k for k in range(6)]


def test_a_sliced_read_moves_only_the_slice(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.zeros(100_000)
    x.sum().item()

    assert x[:10].numpy().shape == (10,)

    assert wire.answered_bytes < 1000


def test_a_name_given_twice_is_a_conflict_of_the_second_line(session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(1)
    session.name(x, "weights")
    session.name(x, "weights")

    with pytest.raises(ConflictError):
        session.flush()


def test_large_values_are_read_apart_from_what_changes_something(
    wire: Wire, session: telegrad.RemoteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_defaults, "LARGE_READ_BYTES", 100)
    large, small = telegrad.zeros(64), telegrad.zeros(4)
    large += 1
    small += 1
    before = wire.trips

    assert large.tolist() == [1.0] * 64
    numbered = ["telegrad-batch" in request.headers for request in wire.requests[before:]]
    assert numbered == [True, False]
    assert [c["command"] for c in wire.commands()] == ["read"]

    small += large.sum()
    del large
    assert small.tolist() == [65.0] * 4
    assert wire.trips == before + 3


def test_names_are_new_whoever_asks():
    name = new_names()

    def some(_: int) -> list[str]:
        return [name() for _ in range(2500)]

    with ThreadPoolExecutor(4) as pool:
        found = [each for part in pool.map(some, range(4)) for each in part]

    assert len({*found, *some(0)}) == len(found) + 2500
    assert len({each.split(".")[0] for each in found}) == 1
