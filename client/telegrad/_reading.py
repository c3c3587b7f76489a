"""Reading values: each once until something changes; numbers that programs gave out together.

A training loop keeps its losses and looks at them now and then. Each would cost a round trip; the first one that is read brings the
others with it.
"""

# Handles and the recorder are one unit.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from telegrad import _defaults
from telegrad._places import users_place
from telegrad._queue import Recorded, Reply
from telegrad.contract import codec
from telegrad.contract.commands import Apply, Read

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad._recorder import Recorder
    from telegrad.contract.dtypes import DType


class Ahead(NamedTuple):
    """What nobody asked for yet: a tensor that is read by itself, or numbers that are read as the elements of one."""

    handles: Sequence[Handle]
    reply: Reply


class Asked(NamedTuple):
    """What was recorded to know the value of ``handle``.

    Attributes:
        handle: the tensor that somebody asked for.
        reply: what comes.
        ahead: others that come with it.
    """

    handle: Handle
    reply: Reply
    ahead: Sequence[Ahead]


class Numbers:
    """The 0-d tensors that programs gave out last and nobody has read."""

    def __init__(self) -> None:
        self._given: deque[weakref.ref[Handle]] = deque(maxlen=_defaults.READ_AHEAD)

    def give(self, handle: Handle) -> None:
        """One more."""
        self._given.append(weakref.ref(handle))

    def others(self, handle: Handle) -> list[Handle]:
        """Those that are worth asking for together with ``handle``: each once, and none with a tensor that is no such number."""
        alive = [known for reference in self._given if (known := reference()) is not None]
        if all(known is not handle for known in alive):
            return []
        self._given.clear()
        return [known for known in alive if known is not handle]


def ask(handle: Handle) -> Asked | None:
    """Record the reads for a handle's value, its own last; None where the value is known."""
    home, extra = handle._home, handle.extra()
    if extra.value is not None and extra.writes == home.writes and not home.shared:
        return None
    ahead: Sequence[Ahead] = ()
    if not home.shared and home.gathers:
        others = [other for other in home.numbers.others(handle) if other._name not in home.failed]
        ahead = _ahead(home, others)
    return Asked(handle, home.read(handle._name, "value", handle._spec), ahead)


def _ahead(home: Recorder, others: Sequence[Handle]) -> list[Ahead]:
    """Record the reads of numbers that nobody asked for."""
    if len(others) < _defaults.STACKED_READS:
        return [Ahead((other,), home.read(other._name, "value", other._spec)) for other in others]
    alike: dict[DType | None, list[Handle]] = {}
    for other in others:
        alike.setdefault(other.known_dtype(), []).append(other)
    return [_stacked(home, handles) for handles in alike.values()]


def _stacked(home: Recorder, handles: Sequence[Handle]) -> Ahead:
    """Record the read of many numbers of one type as one tensor: a read costs server and client some 30 µs each."""
    home.ask_in_hook()
    name = home.name()
    stack = Apply("stack", tuple([handle._name for handle in handles]), outputs=(name,), grad_enabled=False)
    home.put(Recorded(stack, *users_place(3), unasked=True))
    reply = home.read(name, "value")
    home.released.append(name)
    return Ahead(handles, reply)


def ask_along(home: Recorder, handles: Sequence[Handle]) -> list[Ahead]:
    """Record the reads of what many runs collect, to come with the answer to these, which is JSON: small ones."""
    if home.shared or not home.gathers:
        return []
    found: list[Ahead] = []
    for handle in handles:
        if handle._spec is not None and handle._spec.nbytes <= _defaults.READ_ALONG_BYTES:
            reply = Reply()
            home.put(Recorded(Read(handle._name, "value", "base64"), *users_place(3), reply=reply, unasked=True))
            found.append(Ahead((handle,), reply))
    return found


def take(asked: Asked, writes: int) -> None:
    """Keep what came, as of the recorder's ``writes``. Raises the error of the tensor that was asked for, of no other."""
    keep(asked.ahead, writes)
    handle = asked.handle
    handle.learn(asked.reply.take()["tensor"])
    extra = handle.extra()
    extra.value, extra.writes = asked.reply.array, writes


def keep(ahead: Sequence[Ahead], writes: int) -> None:
    """Keep what came of what nobody asked for yet."""
    for handles, reply in ahead:
        if reply.result is None or reply.array is None:
            continue
        if len(handles) == 1:
            handles[0].learn(reply.result["tensor"])
            parts: Sequence[codec.Array] = [reply.array]
        else:
            numbers = reply.array.reshape(-1)
            parts = [numbers[position, ...] for position in range(len(handles))]
        for handle, part in zip(handles, parts, strict=True):
            extra = handle.extra()
            extra.value, extra.writes = part, writes
