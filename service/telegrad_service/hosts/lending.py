"""The client's connection, lent to the session's process: large bodies are received and sent there, and copied nowhere.

Of a request the server reads the head and as much of the body as tells how fast it comes. What comes quickly is left on the
connection, which goes to the session's process as a descriptor when it is the session's turn. What comes slowly the server
receives, so that no session waits for a slow client. Of an answer the server sends the head.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from telegrad.contract import codec

Array = npt.NDArray[Any]

LARGE_BYTES: Final = 2**20
"""Less is received sooner than it is handed over."""

_PROBE_BYTES: Final = 64 * 1024
"""So many bytes tell how fast a client is: several packets, more than it may send before anything is acknowledged."""

_PROBE_MOST_BYTES: Final = 2**22
"""Who was not found quick by then is not any more: what has come would have to be sent on."""

_QUICK_SECONDS: Final = 2.0
_QUICK_BYTES_PER_SECOND: Final = 2**25
"""What comes so fast, and is expected to be there within that, is worth a session's waiting: neighbours, not the internet."""

PATIENCE_SECONDS: Final = 30.0
"""Who promised to be quick and is not by then is given up: a session waits for him."""


_PIECE_BYTES: Final = 2**19
"""Most that is received at once: half of a processor's own cache, for whoever looks at it next."""

_MOST_PIECES: Final = 512
"""Of one call of ``sendmsg``; the kernel takes 1,024."""


@dataclass(slots=True)
class Upload:
    """Arrays on their way to a session.

    Attributes:
        layout: name, element type and shape of each, in the order of their bytes.
        first: the bytes that have come.
        missing: how many more come over the connection.
        descriptor: the connection.
        seconds: in which they must be there.
        taken: how many of those were received; None where nobody knows.
    """

    layout: Sequence[tuple[str, np.dtype[Any], tuple[int, ...]]]
    first: Sequence[memoryview]
    missing: int
    descriptor: int
    seconds: float
    taken: int | None = field(default=0)


def is_quick(came_bytes: int, seconds: float, missing_bytes: int) -> bool:
    """Whether the rest of a body is worth waiting for, by how fast its beginning came."""
    if not _PROBE_BYTES <= came_bytes <= _PROBE_MOST_BYTES or missing_bytes < LARGE_BYTES:
        return False
    return came_bytes >= _QUICK_BYTES_PER_SECOND * seconds and missing_bytes * seconds <= _QUICK_SECONDS * came_bytes


def begun(arrays: Mapping[str, Array], missing: int, descriptor: int, seconds: float) -> Upload:
    """Arrays whose bytes have come but for the last ones."""
    came = sum(array.nbytes for array in arrays.values()) - missing
    first: list[memoryview] = []
    for array in arrays.values():
        if came > 0:
            first.append(codec.array_bytes(array)[:came])
            came -= array.nbytes
    return Upload([(name, array.dtype, array.shape) for name, array in arrays.items()], first, missing, descriptor, seconds)


def receive(descriptor: int, targets: Iterable[memoryview], seconds: float, came: Callable[[int], object] | None = None) -> int:
    """Receive exactly what the targets hold, blocking; the connection stays open.

    Args:
        descriptor: the connection.
        targets: memory, in the order in which it is to be filled.
        seconds: in which all must be there.
        came: told now and then how much is there.

    Returns:
        how many bytes came: fewer where the client has hung up, or was not quick enough.
    """
    taken = 0
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError), socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        for whole in targets:
            target = whole
            while len(target) and time.monotonic() < end:
                count = connection.recv_into(target[:_PIECE_BYTES])
                if not count:
                    return taken
                taken += count
                target = target[count:]
                if came is not None:
                    came(taken)
    return taken


class Outlet(NamedTuple):
    """Where the body of an answer goes.

    Attributes:
        descriptor: the client's connection; None where the server itself takes it.
        seconds: of these stretches of time
        least_bytes: each must get on by so much, or the client is given up.
    """

    descriptor: int | None
    seconds: float
    least_bytes: float


def unsent_bytes(sock: socket.socket | None) -> int:
    """Bytes that the system holds for the other side; 0 where it does not say."""
    if sock is None or sys.platform == "win32":
        return 0
    import fcntl
    import termios

    answer = bytearray(struct.calcsize("i"))
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, answer)
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])


def deliver(outlet: Outlet, pieces: Sequence[bytes | memoryview]) -> int:
    """Send all pieces over the client's connection, blocking; it stays open.

    Returns:
        how many bytes went: fewer where the client has hung up, or does not take them.
    """
    sent = before = 0
    waiting = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    until = time.monotonic() + outlet.seconds
    assert outlet.descriptor is not None  # noqa: S101 - who has none delivers nothing
    with contextlib.suppress(OSError), socket.fromfd(outlet.descriptor, socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(outlet.seconds)
        while waiting:
            try:
                count = connection.sendmsg(waiting[:_MOST_PIECES])
            except TimeoutError:  # room is told of only when much of it is free: perhaps the client does get on
                count = 0
            sent += count
            while waiting and count >= len(waiting[0]):
                count -= len(waiting.pop(0))
            if count:
                waiting[0] = waiting[0][count:]
            if time.monotonic() >= until:
                taken = sent - unsent_bytes(connection)
                if taken - before < outlet.least_bytes:
                    break
                before, until = taken, time.monotonic() + outlet.seconds
    return sent
