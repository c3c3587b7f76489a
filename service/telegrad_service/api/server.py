"""Runs the application under uvicorn with uvloop and httptools: the one place that knows the server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import HANDLED_SIGNALS

from telegrad.contract import codec
from telegrad.contract.errors import ConfigurationError, RequestError
from telegrad_service import process
from telegrad_service.api.app import create_app, keeping_of
from telegrad_service.api.gathering import Gathering
from telegrad_service.api.observe import JsonFormatter, TextFormatter
from telegrad_service.hosts.base import Host
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.settings import Settings, unknown_variables

log = logging.getLogger("telegrad.service")

MAX_HEAD_BYTES: Final = 64 * 1024
"""Request line and headers together; a longer head is refused before it is held."""

_UNFINISHED_EXIT: Final = 3


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a bound on the head, and with problems for what never becomes a request."""

    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """See asyncio.Protocol."""
        self._gathering = Gathering(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._gathering))

    def eof_received(self) -> None:
        """See asyncio.Protocol: the connection closes now, with what it has been given."""
        self._gathering.flush()
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + len(data):
                self.send_400_response("the request's head is too long")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """See httptools."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP request with a problem, and hang up."""
        if self.transport.is_closing():
            return
        request_id = secrets.token_hex(12)
        detail = msg if msg.startswith("the ") else "the bytes on the connection are no HTTP request"
        body = codec.dump_json({**RequestError(detail).problem(), "request_id": request_id})
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {codec.PROBLEM_MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\n"
            "x-content-type-options: nosniff\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server; it says where it listens, which a port of 0 leaves open, and stops within a bound."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        """Prepare to serve ``app``, which ``config`` is made for."""
        super().__init__(config)
        self.app = app
        self.drain_seconds = drain_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Let signals stop the server, and leave it at that: uvicorn would raise them again, and the exit code would be theirs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn. New work is refused from the first moment, and the time for draining runs from it."""
        self.app.state.stop_by = time.monotonic() + self.drain_seconds
        self.app.state.host.drain()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            for server in self.servers:
                for bound in server.sockets:
                    host, port = bound.getsockname()[:2]
                    shown = f"[{host}]" if ":" in host else host
                    log.info("telegrad listens on http://%s:%d", shown, port)


def _host(settings: Settings) -> Host | None:
    """Where sessions live; None is the application's own process."""
    if settings.isolation == "inline":
        return None
    return ProcessHost(
        settings.limits,
        max_waiting_requests=settings.max_waiting_requests,
        request_seconds=settings.request_seconds,
        tune=settings.tune_process,
        keeping=keeping_of(settings),
    )


def _with_folder(settings: Settings) -> Settings:
    """With a folder for sessions, if they are to be kept and none is named: one for each port, so that no two servers share it."""
    if settings.durability == "none" or settings.data_dir or not settings.port:
        return settings
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "telegrad" / str(settings.port)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return settings
    return dataclasses.replace(settings, data_dir=str(folder))


def _say_where_sessions_are_kept(settings: Settings) -> None:
    keeping = keeping_of(settings)
    if not keeping.is_durable:
        log.info("sessions are kept in memory alone, and end with the server; --data-dir names a folder to keep them in")
    else:
        log.info("sessions are kept in %s, and are there again when the server is", settings.data_dir)


def run(settings: Settings) -> int:
    """Serve until a signal says stop; returns the exit code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    if settings.log_level != "debug":
        log.setLevel(logging.INFO)  # where the server listens is said at every level
    for name in unknown_variables():
        log.warning("%s is no setting of telegrad; `telegrad serve --help` lists them", name)
    if not settings.asks_for_keys:
        if settings.allow_remote:
            log.warning(
                "addresses other than loopback are allowed and no keys are asked for: whoever reaches the port may use every "
                "session"
            )
        else:
            log.info("no keys are asked for, so only loopback is served; `telegrad keys create` makes keys")
    process.tune(settings.tune_process)
    settings = _with_folder(settings)
    _say_where_sessions_are_kept(settings)
    try:
        app = create_app(settings, _host(settings))
    except ConfigurationError as error:
        log.error("%s", error.detail)  # noqa: TRY400 - the sentence says what to do; a traceback would hide it
        return 2
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "loop": "uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        "http": Protocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "log_level": settings.log_level if settings.log_level != "info" else "warning",
        "access_log": False,  # ours has no session ids in paths, and says more
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": max(1, round(settings.drain_seconds)),
    }
    config = uvicorn.Config(app, **options)
    if settings.access_log:
        logging.getLogger("telegrad.access").setLevel(logging.INFO)  # asked for, whatever the level of the rest
    server = Server(config, app, settings.drain_seconds)
    try:
        server.run()
    except SystemExit:
        return 1  # the port is taken, say; uvicorn has said what
    if app.state.unfinished:
        # Threads cannot be interrupted, and the interpreter would wait for them for ever.
        log.warning("stopped with %d computation(s) unfinished after %g s", app.state.unfinished, settings.drain_seconds)
        logging.shutdown()
        os._exit(_UNFINISHED_EXIT)
    return 0 if server.started else 1
