"""Connections between two processes of one machine, where there is no network to be gentle with."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

_CHOICE: Final[int | None] = getattr(socket, "TCP_CONGESTION", None)
_UNPACED: Final = b"reno"
"""Part of every Linux, and free to all users."""


def unpace(connection: Any) -> None:
    """Let a TCP connection send as fast as the other end takes it, where both ends have the same address.

    Many systems use BBR, which spreads packets over time by what it measured before: on a connection that is kept, how fast
    somebody read. What that costs is in docs/performance.md. Systems that offer no choice keep what they have.

    Source: Linux, tcp(7), TCP_CONGESTION; N. Cardwell et al., BBR: Congestion-Based Congestion Control, ACM Queue 14 (2016).

    Args:
        connection: a connected socket, or what an event loop shows of one; None for a connection without.
    """
    if connection is None or _CHOICE is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # nothing depends on it
        if connection.getpeername()[0] == connection.getsockname()[0]:
            connection.setsockopt(socket.IPPROTO_TCP, _CHOICE, _UNPACED)
