"""What a head says of its connection: what nobody should answer to, and how a body is taken up behind an offer to upgrade."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import httptools

if TYPE_CHECKING:
    from telegrad_service.api.protocol import Protocol

MAX_HEADERS: Final = 256
"""A head with more of them is refused, however short they are: each is looked at several times."""

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_NOBODYS: Final = ("localhost", "test", "example", "invalid", "example.com", "example.net", "example.org")
"""Names that nobody can register (RFC 6761), and all below them."""
_FRAMING: Final = (b"content-length", b"transfer-encoding")


def fault_of(headers: Sequence[tuple[bytes, bytes]], version: str, *, is_guarded: bool) -> str:
    """Why a request with this head is refused before anybody looks at it; empty where it is not.

    Args:
        headers: names in lower case, as they came.
        version: of HTTP.
        is_guarded: whether names that a stranger may have given to this machine are refused, see ``_host_fault``.
    """
    if len(headers) > MAX_HEADERS:
        return "the request has too many headers"
    hosts: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return "the only Transfer-Encoding that is read here is chunked; compressed bodies say so in Content-Encoding"
    if len(hosts) != 1:  # RFC 9112, section 3.2
        return "a request of HTTP/1.1 has one Host header" if hosts or version == "1.1" else ""
    return _host_fault(hosts[0], is_guarded)


@functools.lru_cache(256)
def _host_fault(value: bytes, is_guarded: bool) -> str:
    """What is wrong with the value of a Host header; empty for nothing.

    A page of any web site can have its own name lead to 127.0.0.1, and is then, for the browser, of the same origin as a server on
    its user's machine: neither CORS nor ``Cross-Origin-Resource-Policy`` keeps it away. The name that it uses does ("DNS
    rebinding").
    """
    match = _HOST.fullmatch(value.strip())
    if match is None:
        return "the Host header is no host and port"
    if not is_guarded:
        return ""
    host = match[1].decode("ascii").strip("[]").rstrip(".").lower()
    if "." not in host or any(host == name or host.endswith("." + name) for name in _NOBODYS):
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return (
            "this server asks for no keys, and so answers only to addresses and to names such as localhost in the Host header: any "
            "web page could reach it by a name of its own. Connect to 127.0.0.1 or localhost, have a gateway send that as Host, or "
            "ask for keys (--keys-file); --insecure-bind allows every name"
        )
    return ""


class Resumed:
    """The callbacks of a parser that takes up a body whose head another one has read.

    The parser of a request that offers to upgrade (``Upgrade: h2c``, as Java's own client sends with each first request) stops
    behind its head. We upgrade to nothing, so that the body is still to come (RFC 9110, 7.8), and what is in it must not be taken
    for a request.
    """

    def __init__(self, protocol: Protocol, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Let ``protocol`` go on with the body that these headers announce."""
        self._protocol = protocol
        self._is_known = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        lines = [b"%s: %s\r\n" % (name, value) for name, value in headers if name in _FRAMING]
        self.parser.feed_data(b"".join((b"POST / HTTP/1.1\r\n", *lines, b"\r\n")))

    def on_message_begin(self) -> None:
        """See httptools, as the others: the first head is the one that is known, later ones are new."""
        if not self._is_known:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        if not self._is_known:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if not self._is_known:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        if self._is_known:
            self._is_known = False
        else:
            self._protocol.on_headers_complete()


def has_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the headers announce a body."""
    return any(name in _FRAMING and value.strip() != b"0" for name, value in headers)
