"""The three places where a script can run, each behind ``open_session``: local, in-process ASGI, and HTTP over loopback.

The application and the server are started once a test process, with the first session that needs them, and stopped at its end:
by ``stop_all``, while threads can still be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import httpx2

import telegrad

STARTUP_SECONDS: Final = 120

_started: Final = contextlib.ExitStack()

stop_all: Final = _started.close
"""Stop what was started."""


class InProcess(httpx2.BaseTransport):
    """Calls an ASGI application in this process, on an event loop in a thread of its own: no socket, no other process."""

    def __init__(self, application: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = httpx2.ASGITransport(application)
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, and read the whole answer."""
        return asyncio.run_coroutine_threadsafe(self._handle(request.method, request.url, request), self._loop).result()

    async def _handle(self, method: str, url: httpx2.URL, request: httpx2.Request) -> httpx2.Response:
        passed_on = httpx2.Request(method, url, headers=request.headers, content=request.read())
        answer = await self._inner.handle_async_request(passed_on)
        body = b"".join([piece async for piece in answer.stream])
        return httpx2.Response(answer.status_code, headers=answer.headers, content=body, request=request)


def start(app: Any) -> tuple[Any, asyncio.AbstractEventLoop]:
    """An application that is up, and a running loop to call it on; it goes down with ``stop_all``."""
    life = app.router.lifespan_context(app)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="asgi-application", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(life.__aenter__(), loop).result()

    def stop() -> None:
        asyncio.run_coroutine_threadsafe(life.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    _started.callback(stop)
    return app, loop


@functools.cache
def application() -> tuple[Any, asyncio.AbstractEventLoop]:
    """The service, and a running loop to call it on."""
    from telegrad_service.api.app import create_app

    return start(create_app())


@functools.cache
def server_url() -> str:
    """The address of a real server on a free loopback port, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "telegrad_service", "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )

    def stop() -> None:
        process.terminate()
        process.wait()

    _started.callback(stop)
    said: list[str] = []
    listening = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                said.append(line)
                if "listens on" in line:
                    listening.set()
        listening.set()

    threading.Thread(target=read, name="server-log", daemon=True).start()
    assert listening.wait(STARTUP_SECONDS), "the server did not start in time"
    address = next((line.split()[-1] for line in said if "listens on" in line), None)
    assert address is not None, "".join(said)
    return address


def _open_in_process() -> telegrad.Session:
    return telegrad.connect("http://telegrad.test", transport=InProcess(*application()))


def _open_over_http() -> telegrad.Session:
    return telegrad.connect(server_url())


OPENERS: Final[dict[str, Callable[[], telegrad.Session]]] = {
    "local": telegrad.local,
    "asgi": _open_in_process,
    "http": _open_over_http,
}
"""How each place opens a session."""

PLACES: Final = tuple(OPENERS)
REMOTE: Final = tuple(place for place in PLACES if place != "local")


def open_session(place: str) -> telegrad.Session:
    """A new session in that place; use it as a context manager."""
    return OPENERS[place]()
