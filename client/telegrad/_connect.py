"""``connect`` and ``connect_async``: sessions on a server."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from telegrad import _defaults
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError

KEY_VARIABLE: Final = "TELEGRAD_API_KEY"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110, section 5. What is no header would fail in the HTTP library, which looks like a failure of the network."""

if TYPE_CHECKING:
    import httpx2

    from telegrad._async import AsyncSession
    from telegrad._remote import RemoteSession
    from telegrad._transport import AsyncTransport, Transport


def connect(
    url: str,
    *,
    session: str | None = None,
    eager: bool = False,
    timeout_seconds: float = _defaults.ANSWER_TIMEOUT_SECONDS,
    retry_seconds: float = _defaults.RETRY_SECONDS,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    compression: str | None = None,
    transport: httpx2.BaseTransport | None = None,
) -> RemoteSession:
    """A session on the server at ``url``; use it as a context manager, which closes it at the end.

    Ops are recorded and travel together: a request goes out when a value is needed, when much is recorded, or after a moment's
    silence.

    Args:
        url: the server's address, for example ``http://127.0.0.1:8000``; a path prefix is kept.
        session: the id of a session to attach to; None opens a new one, which closing deletes.
        eager: send each op at once, so that every error is raised where it happens; for debugging.
        timeout_seconds: without a byte of an answer.
        retry_seconds: how long a request that failed is sent again, from its first failure on; 0 for never. The server knows each
            one again and does it once, so that a cut connection, a lost worker and a restarting server are a pause. Where nothing
            was ever heard of a server, 3 seconds at most.
        api_key: sent as ``Authorization: Bearer``; None takes the environment variable ``TELEGRAD_API_KEY``, where it is set and
            ``headers`` has no authorisation.
        headers: sent with each request.
        compression: ``"zstd"`` compresses requests, and asks for compressed answers: for slow networks, and data that has patterns.
        transport: an httpx2 transport to use instead of the default one: a proxy, an application in this process, a test double.
            Without one, a plain ``http://`` address is spoken to straight over a socket where httptools is installed
            (``telegrad[fast]``, part of ``telegrad[service]``), and any other address, or one behind a proxy, by httpx2.

    Raises:
        TransportError: the server was not reached, or is no telegrad server.
        NotFoundError: there is no such session.
    """
    from telegrad._remote import RemoteSession
    from telegrad._retries import Retries

    _check(timeout_seconds, retry_seconds, session)
    if type(eager) is not bool:
        raise ArgumentTypeError(f"eager must be bool, not {type(eager).__name__}")
    return RemoteSession(
        open_transport(
            url,
            timeout_seconds=timeout_seconds,
            headers=_authorised(headers, api_key),
            transport=transport,
            compress=_compresses(compression),
        ),
        session=session,
        eager=eager,
        retries=Retries(float(retry_seconds)),
    )


def connect_async(
    url: str,
    *,
    session: str | None = None,
    timeout_seconds: float = _defaults.ANSWER_TIMEOUT_SECONDS,
    retry_seconds: float = _defaults.RETRY_SECONDS,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    compression: str | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncSession:
    """As ``connect``, for ``async with``: ops are plain calls, everything that waits for the server is awaited.

    The session is opened on the server when it is entered, or with the first request. There is no eager mode: a plain call cannot
    wait.
    """
    from telegrad._async import AsyncSession
    from telegrad._retries import Retries

    _check(timeout_seconds, retry_seconds, session)
    return AsyncSession(
        open_async_transport(
            url,
            timeout_seconds=timeout_seconds,
            headers=_authorised(headers, api_key),
            transport=transport,
            compress=_compresses(compression),
        ),
        session=session,
        retries=Retries(float(retry_seconds)),
    )


def _compresses(given: str | None) -> bool:
    """Whether to compress. Raises ArgumentValueError for what is unknown, or not installed."""
    if given is None:
        return False
    from telegrad.contract import compression

    if given != compression.ZSTD:
        raise ArgumentValueError('compression must be "zstd" or None')
    if not compression.is_available():
        raise ArgumentValueError("compression by zstd needs `pip install 'telegrad[zstd]'`")
    return True


def _authorised(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """The headers, with the key. Raises ArgumentTypeError and ArgumentValueError, which do not show it."""
    found = _headers(headers)
    has_own = any(name.lower() == "authorization" for name in found)
    if api_key is None:
        api_key = None if has_own else os.environ.get(KEY_VARIABLE) or None
        if api_key is None:
            return found
    elif has_own:
        raise ArgumentValueError("headers have an authorisation already; leave out api_key, or take it out of headers")
    if type(api_key) is not str:
        raise ArgumentTypeError(f"api_key must be str, not {type(api_key).__name__}")
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key or not api_key:
        raise ArgumentValueError("api_key has characters that no key has; copy it again from where it was made")
    return {**found, "authorization": f"Bearer {api_key}"}


def _headers(given: Mapping[str, str] | None) -> dict[str, str]:
    """The headers. Raises ArgumentTypeError and ArgumentValueError, which do not show values."""
    if given is not None and not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"headers must be a mapping from str to str, not {type(given).__name__}")
    found: dict[Any, Any] = dict(given or {})
    for position, (name, value) in enumerate(found.items()):
        if type(name) is not str or type(value) is not str:
            raise ArgumentTypeError(
                f"headers must be a mapping from str to str; number {position} is "
                f"of {type(name).__name__} and {type(value).__name__}"
            )
        if not _HEADER_NAME.fullmatch(name):
            raise ArgumentValueError(f"headers: name number {position} has characters that no header's name has")
        if not _HEADER_VALUE.fullmatch(value):
            raise ArgumentValueError(
                f"headers: the value of {name} has characters that no header's value has, a line break perhaps"
            )
    return found


def _check(timeout_seconds: float, retry_seconds: float, session: str | None) -> None:
    if session is not None and type(session) is not str:
        raise ArgumentTypeError(f"session must be the id of a session, a str, not {type(session).__name__}")
    if session == "":
        raise ArgumentValueError("session must be the id of a session; None opens a new one")
    for name, value in (("timeout_seconds", timeout_seconds), ("retry_seconds", retry_seconds)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"{name} must be a number, not {type(value).__name__}")
    if not timeout_seconds > 0:
        raise ArgumentValueError("timeout_seconds must be greater than zero")
    if not 0 <= retry_seconds < float("inf"):
        raise ArgumentValueError("retry_seconds must be finite and not negative; 0 stands for never")


def open_transport(
    url: str,
    *,
    timeout_seconds: float,
    headers: Mapping[str, str] | None,
    transport: httpx2.BaseTransport | None,
    compress: bool = False,
) -> Transport:
    """The transport for an address: straight over a socket where that does and httptools is installed, else httpx2."""
    from telegrad._transport import HttpTransport, check_url

    url = check_url(url)
    if transport is None:
        with contextlib.suppress(ModuleNotFoundError):
            from telegrad import _direct

            if _direct.serves(url, headers or {}):
                return _direct.DirectTransport(url, timeout_seconds=timeout_seconds, headers=headers, compress=compress)
    return HttpTransport(url, timeout_seconds=timeout_seconds, headers=headers, transport=transport, compress=compress)


def open_async_transport(
    url: str,
    *,
    timeout_seconds: float,
    headers: Mapping[str, str] | None,
    transport: httpx2.AsyncBaseTransport | None,
    compress: bool = False,
) -> AsyncTransport:
    """As ``open_transport``, for async sessions."""
    from telegrad._transport import AsyncHttpTransport, check_url

    url = check_url(url)
    if transport is None:
        with contextlib.suppress(ModuleNotFoundError):
            from telegrad import _direct, _direct_async

            if _direct.serves(url, headers or {}):
                return _direct_async.AsyncDirectTransport(url, timeout_seconds=timeout_seconds, headers=headers, compress=compress)
    return AsyncHttpTransport(url, timeout_seconds=timeout_seconds, headers=headers, transport=transport, compress=compress)
