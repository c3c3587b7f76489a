"""Answers as a stream of server-sent events: how far a long request is, then what came of it.

By hand, because the format is four kinds of line: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from telegrad.contract import codec
from telegrad.contract.errors import TelegradError
from telegrad_service.api.call import AnswerResponse, Call
from telegrad_service.api.endpoint import REQUEST_ID_KEY
from telegrad_service.api.errors import fault
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.session.watch import News, Watch

RETURN_SECONDS: Final = 15.0
"""How long a run goes on whose client has hung up, where the request can be sent again: a cut connection is no wish to stop."""

_SERVER: Final = secrets.token_hex(8)
_run_numbers: Final = itertools.count(1)
"""The ids of runs whose client gave none: no two alike, and none that a client would give by chance."""

HEARTBEAT_SECONDS: Final = 10.0
"""Something is sent at least so often: below the 30 to 60 s after which proxies and clients give a silent connection up."""


def event(name: str, data: bytes) -> bytes:
    """One event. JSON has no line breaks of its own."""
    return b"event: %s\ndata: %s\n\n" % (name.encode("ascii"), data)


class _Box:
    """Where the latest news lies until it is taken. It knows nothing of the work, so that the answer goes when it was sent."""

    def __init__(self) -> None:
        self.fresh: News | None = None
        self.changed = asyncio.Event()

    def put(self, news: News) -> None:
        """There is something new."""
        self.fresh = news
        self.changed.set()


class _Following:
    """A piece of work under way: its latest news, for a stream that may be slower than they come."""

    def __init__(self, call: Call, work: Work, run_id: str) -> None:
        loop = asyncio.get_running_loop()
        box = self._box = _Box()
        self.watch = Watch(run_id, lambda news: loop.call_soon_threadsafe(box.put, news), work.repeats)
        self.answer = asyncio.ensure_future(call.host.do(call.session_id, work, self.watch))
        self.answer.add_done_callback(lambda _: box.changed.set())

    def hung_up(self) -> None:
        """Nobody listens any more: stop, at once, or when nobody has come back in time."""
        if self.answer.done():
            return
        if self.watch.repeats is None:
            self.watch.stop("hung-up")
            return
        at = self.watch.origin or self.watch
        asyncio.get_running_loop().call_later(RETURN_SECONDS, self._give_up, at, at.returns)

    def _give_up(self, at: Watch, returns: int) -> None:
        if not self.answer.done() and at.returns == returns:
            (self.watch.origin or self.watch).stop("hung-up")

    async def wait(self) -> None:
        """Until there is news, or the end."""
        await self._box.changed.wait()

    def news(self) -> News | None:
        """What is new since this was last called."""
        found, self._box.fresh = self._box.fresh, None
        if not self.answer.done():
            self._box.changed.clear()
        return found


async def watched(call: Call, verb: str, **more: Any) -> Response:
    """Let the session do something that can be stopped, and followed if the client asked for events."""
    run_id = call.query["run_id"]
    if run_id is None:
        run_id = f"{_SERVER}.{next(_run_numbers)}"
    if call.media_type != codec.EVENTS_MEDIA_TYPE:
        work = call.work(verb, **more)
        return AnswerResponse(await call.host.do(call.session_id, work, Watch(run_id, repeats=work.repeats)))
    following = _Following(call, call.work(verb, **more), run_id)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(following.wait(), HEARTBEAT_SECONDS)
    except asyncio.CancelledError:
        following.watch.stop("stopping")
        raise
    if following.watch.latest is None and following.answer.done():
        # What is refused before it begins is answered with its status, as ever; where the session's turn is long in coming, the
        # stream begins before that.
        answer = await following.answer
        if answer.status >= 400:
            return AnswerResponse(answer)
    return _Stream(following)


class _Stream(Response):
    """Sends ``started``, ``progress`` and at last ``result`` or ``problem``.

    A client that hangs up stops the work, unless it can send the request again, and does so in time.
    """

    def __init__(self, following: _Following) -> None:
        self.status_code = 200
        self.background = None
        self._following = following
        # A proxy that gathers an answer before it passes it on would gather until the end.
        self.init_headers({"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"})
        self.body = b""  # not before: what has a body gets a Content-Length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        watch = self._following.watch
        hung_up = asyncio.ensure_future(_hung_up(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _send(send, event("started", codec.dump_json({"run_id": watch.id})))
            while not self._following.answer.done():
                waiting = asyncio.ensure_future(self._following.wait())
                await asyncio.wait({waiting, hung_up}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if hung_up.done():
                    return
                news = self._following.news()
                if news is not None:
                    await _send(send, event("progress", codec.dump_json(news)))
                elif not self._following.answer.done():
                    await _send(send, b": still at it\n\n")
            news = self._following.news()
            if news is not None:
                await _send(send, event("progress", codec.dump_json(news)))
            await _send(send, await _end(self._following.answer, scope.get(REQUEST_ID_KEY, "")), last=True)
        finally:
            hung_up.cancel()
            self._following.hung_up()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})


async def _end(answer: asyncio.Future[Answer], request_id: str) -> bytes:
    error = answer.exception()
    if error is None:
        found = answer.result()
        return event("problem" if found.status >= 400 else "result", await found.whole())
    if not isinstance(error, TelegradError):
        error = fault(error, request_id)
    problem: Mapping[str, Any] = {**error.problem(), "request_id": request_id}
    return event("problem", codec.dump_json(problem))
