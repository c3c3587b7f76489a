"""``create_app``: the endpoints' rows become a FastAPI application. Wiring only."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telegrad._version import __version__
from telegrad.contract import codec
from telegrad.contract.errors import ArgumentValueError, ConfigurationError, TelegradError
from telegrad_service.api import cors, dispatch, document, errors
from telegrad_service.api.auth import Access
from telegrad_service.api.endpoint import Endpoint
from telegrad_service.api.middleware import Frame
from telegrad_service.api.observe import Observer
from telegrad_service.api.routes import ENDPOINTS
from telegrad_service.api.tracing import Tracing
from telegrad_service.hosts.base import Host
from telegrad_service.hosts.inline import InlineHost
from telegrad_service.hosts.keeping import Keeping
from telegrad_service.journal.base import shown
from telegrad_service.settings import Settings


class Application(FastAPI):
    """FastAPI, whose requests begin at our own outermost layer.

    What FastAPI has around it (a last net, a bound on bodies, spans) that layer has itself, by the server's settings; going through
    both takes 11 of the 134 us of a small request.
    """

    _front: Frame

    def frame_with(self, **options: Any) -> None:
        """Make ``Frame`` the outermost layer, with these options. To be called last."""

        def frame(app: ASGIApp) -> Frame:
            self._front = Frame(app, **options)
            return self._front

        self.add_middleware(frame)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":

            async def tell(message: Message) -> None:
                refused: str = self.state.refused
                if refused and message["type"] == "lifespan.startup.failed":
                    message = {**message, "message": refused}  # the sentence says what to do; a traceback would hide it
                await send(message)

            await super().__call__(scope, receive, tell)
            return
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        scope["app"] = self
        await self._front(scope, receive, send)


def create_app(settings: Settings | None = None, host: Host | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        settings: how it runs; the defaults otherwise.
        host: where sessions live; in this process otherwise. It starts with the application, or with the first request where the
            server does not announce the start (in-process clients do not), and stops with the application.
    """
    settings = settings or Settings()
    place = host or InlineHost(
        settings.limits,
        compute_threads=settings.compute_threads,
        max_waiting_requests=settings.max_waiting_requests,
        keeping=keeping_of(settings),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        try:
            await place.start()
        except TelegradError as refused:
            app.state.refused = refused.detail
            raise
        try:
            yield
        finally:
            stop_by = app.state.stop_by
            seconds = settings.drain_seconds if stop_by is None else max(0.0, stop_by - time.monotonic())
            app.state.unfinished = await place.stop(seconds)
            access.close()

    app = Application(
        title="telegrad",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.host = place
    app.state.settings = settings
    access = app.state.access = Access(settings)
    place.ledger.quotas_of = access.quotas_of
    app.state.stop_by = None  # the moment, on the monotonic clock, that a stopping server has until
    app.state.unfinished = 0
    app.state.refused = ""  # why it cannot start
    for endpoint in ENDPOINTS:
        app.add_api_route(
            endpoint.path,
            _adapt(endpoint),
            methods=[endpoint.method],
            operation_id=endpoint.operation,
            summary=endpoint.summary,
            tags=[endpoint.tag],
            status_code=next(iter(endpoint.answers)),
            response_class=Response,
            response_model=None,
            openapi_extra=document.operation(endpoint),
        )
    errors.install(app, dispatch.methods_of)
    app.add_middleware(dispatch.Shortcut)
    observer = app.state.observer = Observer(place, access_log=settings.access_log)
    if settings.origins:
        cors.install(app, settings.origins)
    app.frame_with(
        methods_of=dispatch.methods_of,
        observer=observer,
        has_preflights=bool(settings.origins),
        tracing=Tracing() if settings.tracing else None,
    )

    def openapi() -> dict[str, Any]:
        frame = get_openapi(title=app.title, version=app.version, routes=app.routes)
        return document.complete(frame)

    @functools.cache
    def document_bytes() -> bytes:
        return codec.dump_json(app.openapi())

    app.openapi = functools.cache(openapi)  # type: ignore[method-assign]
    app.state.document_bytes = document_bytes
    return app


def keeping_of(settings: Settings) -> Keeping:
    """How sessions are kept. Raises ConfigurationError for a journal that cannot be."""
    url = settings.journal or (f"sqlite:///{Path(settings.data_dir).absolute()}" if settings.data_dir else "")
    try:
        shown(url)
    except ArgumentValueError as error:
        raise ConfigurationError(f"TELEGRAD_JOURNAL (--journal) {error.detail}") from None
    return Keeping(url, settings.durability, settings.snapshot_seconds, settings.idempotency_seconds, settings.retention_seconds)


def _adapt(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """A route of the framework: what a mounted application is asked by, and where the document comes from."""

    async def handle(request: Request) -> Response:
        return await dispatch.answer(endpoint, request)

    return handle
