"""Reading values: once until something changes, and numbers that programs gave out together."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

import telegrad
from telegrad import _defaults
from telegrad.errors import NotFoundError, TelegradError
from tests.client.wire import ADDRESS, Wire, open_async


class Counter:
    """A program that counts, and gives out the count and its square root."""

    def __init__(self, session: telegrad.RemoteSession) -> None:
        self.count = telegrad.tensor(0.0)
        self.step = telegrad.function(self._step)
        self.step()  # traced
        self.count.zero_()
        session.flush()

    def _step(self) -> tuple[Any, Any]:
        self.count += 1
        return self.count.clone(), self.count.sqrt()


def test_numbers_kept_for_later_come_in_one_round_trip(session, wire: Wire):
    counter = Counter(session)
    kept = [counter.step() for _ in range(20)]
    before = wire.trips

    counts = [count.item() for count, _ in kept]
    roots = [root.item() for _, root in kept]

    assert counts == [float(i + 1) for i in range(20)]
    assert roots == pytest.approx([count**0.5 for count in counts])
    assert wire.trips == before + 1


def test_a_number_that_was_read_ahead_is_read_again_once_something_was_written(session, wire: Wire):
    counter = Counter(session)
    (first, _), (second, _) = counter.step(), counter.step()
    assert first.item() == 1.0
    before = wire.trips
    second += 10

    assert second.item() == 12.0
    assert wire.trips == before + 1


def test_what_is_no_such_number_brings_nothing_with_it(session, wire: Wire):
    counter = Counter(session)
    kept = [counter.step() for _ in range(3)]
    session.flush()
    before = wire.trips

    assert telegrad.tensor([1.0, 2.0]).sum().item() == 3.0
    assert wire.trips == before + 1
    assert kept[0][0].item() == 1.0
    assert wire.trips == before + 2


def test_no_more_than_some_are_read_ahead(session, wire: Wire):
    counter = Counter(session)
    kept = [counter.step()[0] for _ in range(2 * _defaults.READ_AHEAD)]
    session.flush()
    before = wire.trips

    assert kept[-1].item() == float(len(kept))
    assert kept[0].item() == 1.0
    assert wire.trips == before + 2


def test_a_number_that_cannot_be_read_ahead_costs_the_others_nothing(session, wire: Wire):
    counter = Counter(session)
    (first, _), (gone, _), (third, _) = (counter.step() for _ in range(3))
    session.flush()
    with httpx2.Client(transport=wire, base_url=ADDRESS) as other:
        other.delete(f"/v1/sessions/{session.id}/tensors/{gone._name}").raise_for_status()

    assert first.item() == 1.0
    assert third.item() == 3.0
    with pytest.raises(NotFoundError):
        gone.item()


def test_many_numbers_are_read_as_one_tensor_of_each_type(session, wire: Wire):
    count = telegrad.tensor(0)

    def step() -> tuple[Any, Any]:
        nonlocal count
        count += 1
        return count.clone(), count / 4

    traced = telegrad.function(step)
    kept = [traced() for _ in range(2 * _defaults.STACKED_READS)]

    assert kept[5][0].item() == 6
    sent = wire.commands()
    before = wire.trips
    assert [command["command"] for command in sent].count("read") == 3
    assert [whole.item() for whole, _ in kept] == [i + 1 for i in range(len(kept))]
    assert [type(whole.item()) for whole, _ in kept] == [int] * len(kept)
    assert [part.item() for _, part in kept] == [(i + 1) / 4 for i in range(len(kept))]
    assert kept[3][1].numpy().shape == ()
    assert wire.trips == before
    session.flush()
    with httpx2.Client(transport=wire, base_url=ADDRESS) as other:
        held = other.get(f"/v1/sessions/{session.id}").json()["tensors"]
    assert held <= 2 * len(kept) + 1  # what they were stacked in is gone


def test_one_among_many_numbers_that_cannot_be_read_costs_the_others_nothing(session, wire: Wire):
    counter = Counter(session)
    kept = [counter.step()[0] for _ in range(2 * _defaults.STACKED_READS)]
    session.flush()
    with httpx2.Client(transport=wire, base_url=ADDRESS) as other:
        other.delete(f"/v1/sessions/{session.id}/tensors/{kept[3]._name}").raise_for_status()

    assert kept[-1].item() == float(len(kept))
    assert kept[0].item() == 1.0
    with pytest.raises(NotFoundError):
        kept[3].item()
    session.flush()


def test_eager_sessions_read_what_was_asked_for(wire: Wire):
    with wire.open(eager=True) as session:
        counter = Counter(session)
        kept = [counter.step()[0] for _ in range(3)]
        before = wire.trips

        assert kept[0].item() == 1.0
        assert wire.trips == before + 1


def test_async_sessions_read_ahead_too():
    async def main() -> None:
        async with open_async() as (session, wire):
            count = telegrad.tensor(0.0)

            def step() -> Any:
                nonlocal count
                count += 1
                return count.clone()

            traced = telegrad.function(step)
            kept = [traced() for _ in range(10)]
            await session.flush()
            before = wire.trips

            assert [await number.item() for number in kept] == [float(i + 1) for i in range(10)]
            assert wire.trips == before + 1

    asyncio.run(main())


def test_an_error_of_the_one_that_was_asked_for_is_raised(session, wire: Wire):
    counter = Counter(session)
    kept = [counter.step()[0] for _ in range(3)]
    session.flush()
    session.close()

    with pytest.raises(TelegradError):
        kept[0].item()
