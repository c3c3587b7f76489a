"""Runs the application under uvicorn with uvloop and httptools: the one place that knows the server."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.server import HANDLED_SIGNALS

from telegrad.contract.errors import ConfigurationError
from telegrad_service import process
from telegrad_service.api.app import create_app, keeping_of
from telegrad_service.api.protocol import Protocol
from telegrad_service.hosts.base import Host
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.journal.base import shown
from telegrad_service.logs import Log
from telegrad_service.settings import Settings, unknown_variables

log = logging.getLogger("telegrad.service")

_UNFINISHED_EXIT: Final = 3


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
        lines=_log_of(settings),
    )


def _log_of(settings: Settings) -> Log:
    return Log(settings.log_level, settings.log_format)


def _with_folder(settings: Settings) -> Settings:
    """With a folder for sessions, if they are to be kept and none is named: one for each port, so that no two servers share it."""
    if settings.durability == "none" or settings.data_dir or settings.journal or not settings.port:
        return settings
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "telegrad" / str(settings.port)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        log.warning("sessions cannot be kept in %s: %s", folder, error.strerror)
        return settings
    return dataclasses.replace(settings, data_dir=str(folder))


def _say_where_sessions_are_kept(settings: Settings) -> None:
    keeping = keeping_of(settings)
    if settings.durability == "none":
        log.info("sessions are kept in memory alone, and end with the server, as durability none says")
    elif not keeping.is_durable:
        log.info("sessions are kept in memory alone, and end with the server; --data-dir names a folder to keep them in")
    else:
        log.info("sessions are kept in %s, and are there again when the server is", shown(keeping.journal_url))


def run(settings: Settings) -> int:
    """Serve until a signal says stop; returns the exit code."""
    _log_of(settings).install()
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
    try:
        _say_where_sessions_are_kept(settings)
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
        "timeout_keep_alive": settings.keep_alive_seconds,
        "timeout_graceful_shutdown": max(1, round(settings.drain_seconds)),
    }
    config = uvicorn.Config(app, **options)
    if settings.access_log:
        logging.getLogger("telegrad.access").setLevel(logging.INFO)  # asked for, whatever the level of the rest
    server = Server(config, app, settings.drain_seconds)
    try:
        server.run()
    except SystemExit:  # uvicorn has said why, in the system's words or ours
        if not app.state.refused:
            log.error("nothing is served at that address; --host names another, --port names another port, 0 takes a free one")  # noqa: TRY400 - same as above
        return 1
    if app.state.unfinished:
        # Threads cannot be interrupted, and the interpreter would wait for them for ever.
        log.warning("stopped with %d computation(s) unfinished after %g s", app.state.unfinished, settings.drain_seconds)
        logging.shutdown()
        os._exit(_UNFINISHED_EXIT)
    return 0 if server.started else 1
