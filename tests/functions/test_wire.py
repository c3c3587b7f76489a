"""What traced functions send: one small request a call, and the program again where the server has it no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

import telegrad
from telegrad import _defaults
from telegrad.errors import DependentError, LimitError, SessionClosedError, SessionError, TraceError
from tests.client.wire import ADDRESS, Wire, open_async
from tests.places import open_session


@contextmanager
def open_wire() -> Iterator[tuple[Any, Wire]]:
    """A session whose requests can be counted."""
    wire = Wire()
    with wire.open() as session:
        yield session, wire


def sent(wire: Any) -> list[str]:
    """What was asked for since the session was opened."""
    return [f"{r.method} {r.url.path.rpartition('/')[2]}" for r in wire.requests[1:]]


def descent(w: Any) -> Any:
    """A traced step of descent on ``w``."""

    @telegrad.function
    def step(x: Any) -> Any:
        loss = ((w * x) ** 2).sum()
        loss.backward()
        with telegrad.no_grad():
            w.sub_(0.1 * w.grad)
            w.grad = None
        return loss

    return step


def test_a_call_is_one_small_request():
    with open_wire() as (_, wire):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        for _ in range(3):
            step(x).item()

        assert sent(wire) == ["POST programs", "POST batch", "POST batch", "POST batch"]
        assert [c["command"] for c in wire.commands()] == ["run", "read", "release"]
        assert len(wire.requests[-1].content) < 400


def test_calls_are_recorded_and_travel_together():
    with open_wire() as (_, wire):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        for _ in range(5):
            loss = step(x)
        assert w.grad is None, "known without asking"
        assert not loss.is_leaf
        assert loss.grad_fn.name() == "SumBackward0"
        loss.item()

        assert sent(wire) == ["POST programs", "POST batch"]


NEW = ["POST batch", "POST programs"]
"""What is sent before the first of many calls: tensors, and the program."""


def test_many_calls_and_what_they_collect_are_one_request():
    with open_wire() as (_, wire):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        losses = [step.repeat(3, x).tolist() for _ in range(3)]

        assert sent(wire) == [*NEW, "POST batch", "POST batch", "POST batch"]
        assert [c["command"] for c in wire.commands()] == ["run", "read", "release"]
    with telegrad.local():
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        assert losses == [[step(x).item() for _ in range(3)] for _ in range(3)]


def test_what_many_calls_collected_is_read_again_once_it_was_written_to():
    with open_wire() as (_, wire):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        losses = descent(w).repeat(2, x)
        before = losses.tolist()
        losses.add_(1)
        assert losses.tolist() == [loss + 1 for loss in before]
        assert sent(wire) == [*NEW, "POST batch", "POST batch"]


def test_what_is_collected_does_not_come_unasked_where_it_is_large(monkeypatch):
    monkeypatch.setattr(_defaults, "READ_ALONG_BYTES", 8)
    with open_wire() as (_, wire):
        x = telegrad.tensor([1.0, -1.0])
        doubled = telegrad.function(lambda x: x * 2).repeat(2, x)
        assert sent(wire) == [*NEW, "POST batch"]
        assert doubled.tolist() == [[2.0, -2.0], [2.0, -2.0]]
        assert sent(wire) == [*NEW, "POST batch", "POST batch"]


def test_a_program_that_the_server_has_lost_is_sent_again():
    with open_wire() as (session, wire):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        losses = [step(x).item()]
        address = f"{ADDRESS}/v1/sessions/{session.id}/programs/{step.programs[0].id}"
        assert wire.handle_request(httpx2.Request("DELETE", address)).status_code == 204
        before = len(sent(wire))
        other = x * 2
        losses += [step(x).item(), other.sum().item(), step(x).item()]

        assert sent(wire)[before:] == ["POST batch", "POST programs", "POST batch", "POST batch", "POST batch"]
    with telegrad.local():
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        assert losses == [step(x).item(), step(x).item(), 0.0, step(x).item()]


def test_a_program_that_the_server_refuses_fails_at_the_read():
    with open_wire() as (_, wire):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step, fine = descent(w), x * 2
        refusal = {"type": "urn:telegrad:problem:limit", "title": "t", "status": 422, "detail": "too many programs"}
        full = httpx2.Response(422, headers={"content-type": "application/problem+json"}, json=refusal)
        wire.fault = lambda request: full if request.url.path.endswith("/programs") else None
        loss = step(x)
        with pytest.raises(LimitError, match="too many programs"):
            loss.item()
        with pytest.raises(DependentError):
            loss.item()
        assert fine.tolist() == [2.0, -2.0]
        wire.fault = None
        assert w.tolist() == [1.0, 2.0]
        assert step(x).item() == 5.0


def test_a_run_that_fails_leaves_the_rest_alive():
    with open_wire():
        x, w = telegrad.zeros(2, 2), telegrad.ones(2)

        @telegrad.function
        def step(x: Any) -> Any:
            w.add_(1)
            return telegrad.linalg.inv(x)

        step(telegrad.eye(2)).tolist()
        bad = step(x)
        fine = x + 1
        with pytest.raises(telegrad.errors.NumericalError):
            bad.tolist()
        assert fine.tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert w.tolist() == [3.0, 3.0], "what the program did before it failed stands, as it does untraced"


def test_the_async_twin():
    async def main() -> list[float]:
        async with open_async() as (_, wire):
            given: list[Any] = [telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])]
            w, x = given

            @telegrad.function
            async def step(x: Any) -> Any:
                loss = ((w * x) ** 2).sum()
                loss.backward()
                with telegrad.no_grad():
                    w.sub_(0.1 * await w.grad)
                    w.grad = None
                return loss

            losses = [await (await step(x)).item() for _ in range(3)]
            assert sent(wire) == ["POST programs", "POST batch", "POST batch", "POST batch"]

            @telegrad.function
            def plain(x: Any) -> Any:
                return x * w.detach()

            await plain(x).numpy()

            @telegrad.function
            async def looks(x: Any) -> Any:
                return x * await x.sum().item()

            with pytest.raises(TraceError, match="no values to look at"):
                await looks(x)

            @telegrad.function
            async def sleeps(x: Any) -> Any:
                await asyncio.sleep(0)
                return x

            with pytest.raises(TraceError, match="awaits something other"):
                await sleeps(x)
            with pytest.raises(SessionError, match="shape depends on values"):
                plain(x[x > 0])
            return losses

    losses = asyncio.run(main())

    with telegrad.local():
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        assert losses == [step(x).item() for _ in range(3)]


def test_programs_that_nobody_keeps_are_deleted(monkeypatch):
    monkeypatch.setattr("telegrad._defaults.TRACED_PROGRAMS", 2)
    with open_wire() as (session, wire):

        @telegrad.function
        def step(x: Any, n: int) -> Any:
            return x * n

        x = telegrad.ones(2)
        for n in range(6):
            assert step(x, n).tolist() == [n, n]
        step.clear()
        step(x, 0).tolist()

        listed = wire.handle_request(httpx2.Request("GET", f"{ADDRESS}/v1/sessions/{session.id}/programs"))
        assert [program["id"] for program in json.loads(listed.read())["programs"]] == [step.programs[0].id]


def test_an_eager_session_runs_programs_at_once():
    wire = Wire()
    with wire.open(eager=True):
        w, x = telegrad.tensor([1.0, 2.0], requires_grad=True), telegrad.tensor([1.0, -1.0])
        step = descent(w)
        step(x)
        before = wire.trips
        loss = step(x)
        assert wire.trips == before + 1
        assert loss.item() == pytest.approx(3.2)


def test_tensors_that_other_clients_share_are_asked_for():
    wire = Wire()
    with wire.open() as owner:
        w = owner.tensor([1.0, 2.0], requires_grad=True)
        owner.name(w, "weights")
        owner.flush()
        with wire.open(session=owner.id) as other:
            step = descent(other.tensor_by_name("weights"))
            x = other.tensor([1.0, -1.0])
            losses = [step(x).item() for _ in range(2)]
        assert losses == [5.0, pytest.approx(3.2)]
        assert w.tolist() == [pytest.approx(0.64), pytest.approx(1.28)]


def test_a_closed_session_says_so(place):
    session = open_session(place)
    x = session.ones(2)

    @telegrad.function
    def step(x: Any) -> Any:
        return x * 2

    step(x)
    session.close()
    with pytest.raises(SessionClosedError):
        step(x)
