"""When an answer leaves: at once where nobody else waits for one, else with the others of the loop's turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from telegrad_service.api.app import create_app
from telegrad_service.api.protocol import Protocol

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Transport:
    """A client that takes everything."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.mark.parametrize(("clients", "left"), [(1, [1]), (3, [0, 0, 0])])
def test_an_answer_leaves_at_once_only_where_it_is_the_only_one(clients: int, left: list[int]):
    async def run() -> None:
        transports: list[Any] = [Transport() for _ in range(clients)]
        found: list[int] = []

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            headers = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"{}", "more_body": False})
            found.append(sum(len(transport.written) for transport in transports))

        state = ServerState()
        for transport in transports:
            config = uvicorn.Config(create_app(), lifespan="off", log_config=None)
            config.load()
            protocol = Protocol(config, state, {}, _loop=asyncio.get_running_loop())
            protocol.app = app
            protocol.connection_made(transport)
            protocol.data_received(REQUEST)
        for _ in range(5):
            await asyncio.sleep(0)
        assert found == left
        for transport in transports:
            (answer,) = transport.written  # in one piece
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\n{}")
        for connection in list[Any](state.connections):
            connection.connection_lost(RuntimeError("the end"))

    asyncio.run(run())
