"""Small writes of one turn of the event loop leave together, in their order."""

from __future__ import annotations

import asyncio
import time

from telegrad_service.api import gathering
from telegrad_service.api.gathering import Gathering


class Transport:
    """Notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("close")

    def is_closing(self) -> bool:
        return "close" in self.done

    def pause_reading(self) -> None:
        self.done.append("pause")


def done_by(scenario) -> list[bytes | str]:
    async def whole() -> list[bytes | str]:
        transport = Transport()
        await scenario(Gathering(transport, asyncio.get_running_loop()))
        return transport.done

    return asyncio.run(whole())


def test_what_is_written_in_one_turn_leaves_together():
    async def scenario(gathering: Gathering) -> None:
        gathering.write(b"head")
        gathering.write(memoryview(b"body"))
        await asyncio.sleep(0)
        gathering.write(b"next")
        await asyncio.sleep(0)

    assert done_by(scenario) == [b"headbody", b"next"]


def test_a_large_write_goes_by_itself_and_in_its_place():
    async def scenario(gathering: Gathering) -> None:
        gathering.write(b"head")
        gathering.write(b"x" * 100_000)
        gathering.write(b"tail")
        await asyncio.sleep(0)

    assert done_by(scenario) == [b"head", b"x" * 100_000, b"tail"]


def test_closing_sends_first():
    async def scenario(gathering: Gathering) -> None:
        gathering.write(b"bye")
        gathering.close()
        gathering.write(b"late")
        await asyncio.sleep(0)

    assert done_by(scenario) == [b"bye", "close"]


def test_everything_else_is_the_transport_s():
    async def scenario(gathering: Gathering) -> None:
        gathering.pause_reading()

    assert done_by(scenario) == ["pause"]


def two(scenario) -> list[bytes | str]:
    """What two connections of a loop send, in order."""

    async def whole() -> list[bytes | str]:
        loop, transports = asyncio.get_running_loop(), [Transport(), Transport()]
        transports[1].done = transports[0].done
        await scenario(*[Gathering(transport, loop) for transport in transports])
        return transports[0].done

    return asyncio.run(whole())


def test_what_several_connections_write_leaves_at_the_end_of_the_turn(monkeypatch):
    monkeypatch.setattr(gathering, "_LATE_SECONDS", 3600.0)

    async def scenario(one: Gathering, other: Gathering) -> None:
        one.write(b"a")
        other.write(b"b")
        one.outbox.flush_if_late()
        one.write(b"c")
        assert one.done == []  # the transport's
        await asyncio.sleep(0)

    assert two(scenario) == [b"ac", b"b"]


def test_what_has_waited_for_long_leaves_before_the_turn_ends():
    async def scenario(one: Gathering, other: Gathering) -> None:
        one.write(b"a")
        other.write(b"b")
        time.sleep(0.005)  # noqa: ASYNC251 - somebody computes
        one.outbox.flush_if_late()
        assert one.done == [b"a", b"b"]
        other.write(b"c")
        await asyncio.sleep(0)

    assert two(scenario) == [b"a", b"b", b"c"]
