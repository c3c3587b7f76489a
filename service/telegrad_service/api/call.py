"""One request on its way: what the row of its endpoint lets through, handed to the host, and the answer sent in pieces."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from telegrad.contract import codec
from telegrad.contract.errors import NotFoundError
from telegrad.contract.forms import REFERENCE_PATTERN
from telegrad.contract.limits import Limits
from telegrad_service.access.principal import Principal
from telegrad_service.api import bodies, negotiation, repeats
from telegrad_service.api.compressing import is_wanted
from telegrad_service.api.endpoint import DID_KEY, REQUEST_ID_KEY, Endpoint
from telegrad_service.api.line import Line, line_of
from telegrad_service.hosts.base import Answer, Array, Did, Host, Work
from telegrad_service.hosts.lending import Outlet, Upload
from telegrad_service.hosts.streams import Borrowed, StalledError, Stream
from telegrad_service.session.watch import Watch
from telegrad_service.settings import Settings

log = logging.getLogger("telegrad.service")

_PIECE_BYTES: Final = 2**20
_REFERENCE: Final = re.compile(REFERENCE_PATTERN)


class Call:
    """A request whose query string and Accept header have been found right.

    Attributes:
        request: as it came.
        endpoint: the row it belongs to.
        principal: who asks.
        host: where sessions live.
        query: the query parameters, complete with defaults.
        media_type: the form of the answer that was agreed; empty where there will be no body.
    """

    __slots__ = ("_session_id", "endpoint", "host", "media_type", "principal", "query", "request")

    def __init__(self, request: Request, endpoint: Endpoint, principal: Principal, host: Host) -> None:
        """Check what can be checked without the body and the session."""
        self.request = request
        self.endpoint = endpoint
        self.principal = principal
        self.host = host
        self._session_id: str | None = None
        asked = request.scope["query_string"]
        defaults = None if asked else endpoint.defaults
        self.query: Mapping[str, Any] = negotiation.query(asked, endpoint.query) if defaults is None else defaults
        offers = endpoint.offers if endpoint.offers_of is None else endpoint.offers_of(self.query)
        self.media_type = negotiation.accept(request.scope["headers"], offers) if offers else ""

    @property
    def limits(self) -> Limits:
        """The limits of sessions and requests."""
        return self.host.limits

    @property
    def session_id(self) -> str:
        """The session that the path names, known to exist for who asks. Raises NotFoundError."""
        session_id = self._session_id
        if session_id is None:
            session_id = self.request.scope["path_params"]["session"]
            self.host.require(session_id, self.principal.tenant)
            self._session_id = session_id
        return session_id

    def require_session(self) -> None:
        """Raise NotFoundError where there is no such session for who asks, before its body is read."""
        _ = self.session_id

    @property
    def reference(self) -> str:
        """The tensor that the path names. Raises NotFoundError for what can be no name."""
        return self.as_reference(self.request.path_params["tensor"])

    def as_reference(self, text: str) -> str:
        """The text as the name of a tensor. Raises NotFoundError for what can be no name."""
        if not _REFERENCE.fullmatch(text):
            raise NotFoundError("the session has no tensor of that name")
        return text

    def content_type(self) -> str:
        """The media type of the body. Raises UnsupportedMediaTypeError."""
        return negotiation.content_type(self.request.scope["headers"], self.endpoint.media_types)

    async def json(self) -> bytes:
        """The JSON body, unparsed; empty where it may be left out and was."""
        if self.endpoint.body_required or any(name == b"content-type" for name, _ in self.request.scope["headers"]):
            self.content_type()
            return await bodies.whole(self.request, self.limits.max_body_bytes)
        body = await bodies.whole(self.request, self.limits.max_body_bytes)
        if body:
            self.content_type()  # says what is missing
        return body

    def work(
        self,
        verb: str,
        *,
        body: bytes = b"",
        arguments: Mapping[str, Any] | None = None,
        buffers: Mapping[str, Array] | Upload | None = None,
    ) -> Work:
        """The request as data for the host."""
        scope = self.request.scope
        once = repeats.read(scope["headers"]) if self.endpoint.can_repeat else repeats.NOTHING
        request_id = scope.get(REQUEST_ID_KEY, "")
        arrays, upload = ({}, buffers) if isinstance(buffers, Upload) else (buffers or {}, None)
        return Work(
            verb,
            body,
            arguments or {},
            arrays,
            self.media_type,
            request_id,
            client=once.client,
            number=once.number,
            key=once.key,
            did=scope.setdefault(DID_KEY, Did()),
            upload=upload,
        )

    async def do(
        self,
        verb: str,
        *,
        body: bytes = b"",
        arguments: Mapping[str, Any] | None = None,
        buffers: Mapping[str, Array] | Upload | None = None,
        watch: Watch | None = None,
    ) -> Response:
        """Let the session do it, and send what came of it."""
        work = self.work(verb, body=body, arguments=arguments, buffers=buffers)
        try:
            answer = await self.host.do(self.session_id, work, watch)
        finally:
            if work.upload is not None:
                bodies.give_back(self.request, work.upload)
        location = None
        if answer.created is not None:
            location = f"/v1/sessions/{self.session_id}/{self.endpoint.path.rsplit('/', 1)[-1]}/{answer.created}"
        return AnswerResponse(answer, location)


class AnswerResponse(Response):
    """Sends an answer; a large one in pieces of 1 MiB, each when the client has taken the one before."""

    def __init__(self, answer: Answer, location: str | None = None) -> None:
        """Take over the answer's pieces."""
        self.status_code = answer.status
        self.background = None
        self.body = b""
        self._pieces = answer.pieces
        self._stream = answer.stream
        self._nbytes = answer.nbytes
        self.raw_headers = []
        if answer.status != 204:
            self.raw_headers.append((b"content-length", b"%d" % self._nbytes))
        if answer.media_type is not None:
            self.raw_headers.append(_content_type(answer.media_type))
        if location is not None:
            self.raw_headers.append((b"location", location.encode("latin-1")))
        for name, value in answer.headers:
            self.raw_headers.append((name.lower().encode("ascii"), value.encode("ascii")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """See the ASGI specification."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._stream is not None:
            line = line_of(scope) if isinstance(self._stream, Stream) and not is_wanted(scope["headers"]) else None
            descriptor = None if line is None else await line.lend_for_answer()
            if line is None or descriptor is None or isinstance(self._stream, Borrowed):
                await self._pass_on(self._stream, send)
            else:
                await self._let_pass(self._stream, descriptor, line, scope["app"].state.settings, send)
            return
        if self._nbytes <= _PIECE_BYTES:
            await send({"type": "http.response.body", "body": b"".join(self._pieces), "more_body": False})
            return
        for piece in self._pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _PIECE_BYTES):
                await send({"type": "http.response.body", "body": view[start : start + _PIECE_BYTES], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _let_pass(self, stream: Stream, descriptor: int, line: Line, settings: Settings, send: Send) -> None:
        """Let the session's process send the body. As ``_pass_on`` where the rest of it will not come."""
        seconds = settings.stall_seconds
        sent = await stream.deliver(Outlet(descriptor, seconds, seconds * settings.stall_bytes_per_second))
        line.note_sent(sent)
        if sent == self._nbytes:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            log.warning("an answer was cut: its client took %d bytes of %d, or its session ended", sent, self._nbytes)

    async def _pass_on(self, stream: Stream | Borrowed, send: Send) -> None:
        """Send what arrives. Where the rest will not come the answer is left unfinished, and the server closes the connection."""
        try:
            async for piece in stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except StalledError:
            log.warning("an answer of %d bytes was cut: it was not taken in time, or its session ended", self._nbytes)
        finally:
            stream.drop()


@functools.cache
def _content_type(media_type: str) -> tuple[bytes, bytes]:
    """The header that says what a body is: one of a few media types."""
    is_text = media_type.startswith(("text/", "image/svg"))
    return b"content-type", (media_type + ("; charset=utf-8" if is_text else "")).encode("latin-1")


def json_response(value: Any, *, status: int = 200) -> Response:
    """A small JSON answer that the front itself gives."""
    return Response(codec.dump_json(value), status, media_type=codec.JSON_MEDIA_TYPE)
