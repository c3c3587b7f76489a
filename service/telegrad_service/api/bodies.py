"""Request bodies, read as they arrive: bounded before they are held, arrays straight into memory allocated once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from starlette.requests import Request

from telegrad.contract import codec, compression, dtypes, safetensors
from telegrad.contract.errors import RequestError, RequestTimeoutError
from telegrad.contract.limits import Limits, check_body_bytes, refuse
from telegrad.contract.ops import check_sizes
from telegrad_service.api import negotiation, repeats
from telegrad_service.api.endpoint import PRINCIPAL_KEY
from telegrad_service.api.line import line_of
from telegrad_service.hosts.base import Host
from telegrad_service.hosts.lending import PATIENCE_SECONDS, Upload, begun, is_quick, receive
from telegrad_service.hosts.npy import NpyReader
from telegrad_service.hosts.sums import Arrived, Arriving

Array = npt.NDArray[Any]
Allocate = Callable[["tuple[int, ...]", "np.dtype[Any]"], Array]
Layout = Mapping[str, "tuple[np.dtype[Any], tuple[int, ...]]"]

_SMALL_BYTES: Final = 64 * 1024
"""Headers and checks of bodies up to this size take less time than handing them to a thread."""


_DECOMPRESSED_BYTES: Final = 2**20
"""Most that is decompressed at once, however little it was before."""


class DisconnectedError(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


def _declared(request: Request, max_body_bytes: int) -> int | None:
    """The length that the body is said to have. Raises PayloadTooLargeError where that is too much."""
    text = negotiation.header(request.scope["headers"], b"content-length")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise RequestError("Content-Length is not a number")
    declared = int(text[:32])
    check_body_bytes(declared, max_body_bytes)
    return declared


async def pieces(request: Request, max_body_bytes: int, until: Callable[[], bool] = lambda: False) -> AsyncIterator[bytes]:
    """The body as it arrives, decompressed if need be, ``until`` no more is wanted of it.

    Raises PayloadTooLargeError as soon as it is known to be too large.
    """
    arriving = _Arriving(request, max_body_bytes)
    if not negotiation.is_compressed(request.scope["headers"]):
        while piece := await arriving.piece():
            yield piece
            if until():
                return
        return
    decompressor = compression.Decompressor()
    total = 0
    while piece := await arriving.piece():
        decompressor.feed(piece)
        while True:
            if total < _SMALL_BYTES:
                made = decompressor.read(_SMALL_BYTES)
            else:
                made = await asyncio.to_thread(decompressor.read, _DECOMPRESSED_BYTES)
            if not made:
                break
            total += len(made)
            check_body_bytes(total, max_body_bytes)
            yield made
        if until():
            break
    decompressor.finish()


def _spend(request: Request, nbytes: int) -> None:
    """Count bytes of a body for whoever sends it. Raises RateLimitError, before any are read where their number was declared."""
    host: Host = request.app.state.host
    host.ledger.spend(request.scope[PRINCIPAL_KEY].tenant, "body_bytes", nbytes)


class _Arriving:
    """The body as it was sent, counted and bounded."""

    def __init__(self, request: Request, max_body_bytes: int) -> None:
        self._request = request
        self._max_body_bytes = max_body_bytes
        self._declared = _declared(request, max_body_bytes)
        self._total = 0
        self.more = True
        """Whether the end has not come yet."""
        if self._declared:
            _spend(request, self._declared)

    async def piece(self) -> bytes:
        """What has arrived; empty at the end."""
        while self.more:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            piece: bytes = message.get("body", b"")
            self.more = message.get("more_body", False)
            self._total += len(piece)
            check_body_bytes(self._total, self._max_body_bytes)
            if not self.more and self._declared is not None and self._total != self._declared:
                raise RequestError("the body has another length than Content-Length says")
            if piece:
                if self._declared is None:
                    _spend(self._request, len(piece))
                return piece
        return b""


async def whole(request: Request, max_body_bytes: int) -> bytes:
    """The whole body."""
    if negotiation.is_compressed(request.scope["headers"]):
        return b"".join([piece async for piece in pieces(request, max_body_bytes)])
    arriving = _Arriving(request, max_body_bytes)
    first = await arriving.piece()
    if not arriving.more:  # as of almost all
        return first
    several = [first]
    while piece := await arriving.piece():
        several.append(piece)
    return b"".join(several)


class Reader(Protocol):
    """What takes a binary body piece by piece."""

    @property
    def header_done(self) -> bool:
        """Whether the arrays are allocated: what follows is copying."""
        ...

    @property
    def is_plain(self) -> bool:
        """Whether the arrays need nothing but their bytes."""
        ...

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays in the order of their bytes, once the header is done."""
        ...

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        ...

    def targets(self) -> list[memoryview]:
        """The memory that the rest of the body belongs into, once the header is done."""
        ...

    def advance(self, count: int) -> None:
        """So many bytes were put into the first of ``targets``."""
        ...

    def finish(self) -> dict[str, Array]:
        """The arrays by name."""
        ...


class BytesReader:
    """Raw little-endian elements of a type and a shape that the query string gave."""

    header_done = True
    is_plain = True

    def __init__(
        self, name: str, dtype: str, shape: tuple[int, ...], check: Callable[[Layout], None], allocate: Allocate = np.empty
    ) -> None:
        """Allocate the array; ``check`` may refuse it before."""
        kind = dtypes.as_dtype(dtype).numpy
        check({name: (kind, shape)})
        self._name = name
        self._array: Array = allocate(shape, kind)
        self._target = codec.array_bytes(self._array)
        self._filled = 0

    @property
    def arrays(self) -> dict[str, Array]:
        """The array under its name."""
        return {self._name: self._array}

    def targets(self) -> list[memoryview]:
        """See ``Reader``."""
        return [self._target[self._filled :]]

    def advance(self, count: int) -> None:
        """See ``Reader``."""
        self._filled += count

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises RequestError where there are more bytes than elements."""
        if self._filled + len(piece) > len(self._target):
            raise RequestError(f"the body is longer than the {len(self._target):,} bytes of dtype and shape")
        self._target[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)

    def finish(self) -> dict[str, Array]:
        """The array under its name. Raises RequestError where bytes are missing."""
        if self._filled < len(self._target):
            raise RequestError(f"the body has {self._filled:,} bytes, dtype and shape need {len(self._target):,}")
        return {self._name: codec.as_bool(self._array)}


def layout_check(limits: Limits) -> Callable[[Layout], None]:
    """A check of announced arrays, before any is allocated."""

    def check(layout: Layout) -> None:
        if len(layout) > limits.max_tensors:
            raise refuse("the body", len(layout), limits.max_tensors, "max_tensors", unit="tensors")
        for dtype, shape in layout.values():
            nbytes = math.prod(shape) * dtype.itemsize
            if nbytes > limits.max_tensor_bytes:
                raise refuse("the tensor", nbytes, limits.max_tensor_bytes, "max_tensor_bytes")
            check_sizes(shape, dtype.itemsize)

    return check


async def arrays(request: Request, limits: Limits, reader: Reader, *, may_lend: bool = True) -> Mapping[str, Array] | Upload:
    """Feed the body to the reader. Long headers are parsed, and long arrays checked, off the event loop.

    A long body that comes quickly is received in one go: here, or, with ``may_lend``, by who does the work, where the host can
    that. Then the connection is lent to him, and ``give_back`` must follow.
    """
    total = 0
    since = time.monotonic()
    line = None if negotiation.is_compressed(request.scope["headers"]) else line_of(request.scope)
    declared = _declared(request, limits.max_body_bytes) or 0
    lent: list[tuple[int, bytes]] = []
    async for piece in pieces(request, limits.max_body_bytes, lambda: bool(lent)):
        if not reader.header_done:  # most are short
            piece, begin = piece[max(0, _SMALL_BYTES - total) :], piece[: max(0, _SMALL_BYTES - total)]
            reader.feed(begin)
            total += len(begin)
        total += len(piece)
        if reader.header_done:
            reader.feed(piece)
        elif piece:
            await asyncio.to_thread(reader.feed, piece)
        if line is not None and reader.header_done and is_quick(total, time.monotonic() - since, declared - total):
            lent.append(line.lend_for_body())
    if line is None or not lent:
        return reader.finish() if total <= _SMALL_BYTES else await asyncio.to_thread(reader.finish)
    ((descriptor, piece),) = lent
    taken: int | None = 0
    missing = declared - total - len(piece)
    seconds = min(PATIENCE_SECONDS, request.app.state.settings.stall_seconds)

    def receive_rest(targets: Sequence[memoryview], arriving: Arriving) -> Mapping[str, Array]:
        nonlocal taken
        taken = receive(descriptor, targets, seconds, arriving.came)
        if taken < missing:
            raise RequestTimeoutError("the rest of the body did not arrive in time; nothing was done")
        for target in targets:
            reader.advance(len(target))
        return Arrived(reader.finish(), arriving.finish())

    try:
        reader.feed(piece)
        targets = reader.targets()
        if sum(len(target) for target in targets) != missing:
            raise RequestError("the body has another length than its header says")
        if may_lend and reader.is_plain and request.app.state.host.takes_uploads:
            return begun(reader.arrays, missing, descriptor, seconds)
        is_known_again = reader.is_plain and repeats.read(request.scope["headers"]) is not repeats.NOTHING
        known = reader.arrays if is_known_again else {}
        taken = None
        return await asyncio.to_thread(receive_rest, targets, Arriving(known, sum(a.nbytes for a in known.values()) - missing))
    finally:
        line.take_back(missing, taken)


def give_back(request: Request, upload: Upload) -> None:
    """The work is done that the connection was lent for: go on with it."""
    line = line_of(request.scope)
    if line is not None:
        line.take_back(upload.missing, upload.taken)


def safetensors_reader(host: Host) -> safetensors.Reader:
    """A reader of safetensors bodies within the limits."""
    limits = host.limits
    return safetensors.Reader(
        max_bytes=limits.max_body_bytes, max_depth=limits.max_json_depth, check=layout_check(limits), allocate=host.allocate
    )


def npy_reader(host: Host, name: str) -> NpyReader:
    """A reader of ``.npy`` bodies within the limits."""
    limits = host.limits
    return NpyReader(name=name, max_bytes=limits.max_body_bytes, check=layout_check(limits), allocate=host.allocate)


def bytes_reader(host: Host, name: str, dtype: str, shape: tuple[int, ...]) -> BytesReader:
    """A reader of raw bytes within the limits."""
    return BytesReader(name, dtype, shape, layout_check(host.limits), host.allocate)
