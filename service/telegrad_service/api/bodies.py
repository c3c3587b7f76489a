"""Request bodies, read as they arrive: bounded before they are held, arrays straight into memory allocated once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from starlette.requests import Request

from telegrad.contract import codec, compression, dtypes
from telegrad.contract.errors import RequestError
from telegrad.contract.limits import Limits, refuse
from telegrad.contract.ops import check_sizes
from telegrad_service.api import negotiation
from telegrad_service.api.endpoint import PRINCIPAL_KEY
from telegrad_service.hosts.base import Host
from telegrad_service.hosts.npy import NpyReader

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
    codec.check_body_bytes(declared, max_body_bytes)
    return declared


async def pieces(request: Request, max_body_bytes: int) -> AsyncIterator[bytes]:
    """The body as it arrives, decompressed if need be. Raises PayloadTooLargeError as soon as it is known to be too large."""
    arriving = _as_sent(request, max_body_bytes)
    if not negotiation.is_compressed(request.scope["headers"]):
        async for piece in arriving:
            yield piece
        return
    decompressor = compression.Decompressor()
    total = 0
    async for piece in arriving:
        decompressor.feed(piece)
        while True:
            if total < _SMALL_BYTES:
                made = decompressor.read(_SMALL_BYTES)
            else:
                made = await asyncio.to_thread(decompressor.read, _DECOMPRESSED_BYTES)
            if not made:
                break
            total += len(made)
            codec.check_body_bytes(total, max_body_bytes)
            yield made
    decompressor.finish()


def _spend(request: Request, nbytes: int) -> None:
    """Count bytes of a body for whoever sends it. Raises RateLimitError, before any are read where their number was declared."""
    host: Host = request.app.state.host
    host.ledger.spend(request.scope[PRINCIPAL_KEY].tenant, "body_bytes", nbytes)


async def _as_sent(request: Request, max_body_bytes: int) -> AsyncIterator[bytes]:
    declared = _declared(request, max_body_bytes)
    if declared:
        _spend(request, declared)
    total = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        piece: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        total += len(piece)
        codec.check_body_bytes(total, max_body_bytes)
        if piece:
            if declared is None:
                _spend(request, len(piece))
            yield piece
    if declared is not None and total != declared:
        raise RequestError("the body has another length than Content-Length says")


async def whole(request: Request, max_body_bytes: int) -> bytes:
    """The whole body."""
    found = [piece async for piece in pieces(request, max_body_bytes)]
    return found[0] if len(found) == 1 else b"".join(found)


class Reader(Protocol):
    """What takes a binary body piece by piece."""

    @property
    def header_done(self) -> bool:
        """Whether the arrays are allocated: what follows is copying."""
        ...

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        ...

    def finish(self) -> dict[str, Array]:
        """The arrays by name."""
        ...


class BytesReader:
    """Raw little-endian elements of a type and a shape that the query string gave."""

    header_done = True

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


async def arrays(request: Request, limits: Limits, reader: Reader) -> dict[str, Array]:
    """Feed the body to the reader. Long headers are parsed, and long arrays checked, off the event loop."""
    total = 0
    async for piece in pieces(request, limits.max_body_bytes):
        total += len(piece)
        if reader.header_done or total <= _SMALL_BYTES:
            reader.feed(piece)
        else:
            await asyncio.to_thread(reader.feed, piece)
    return reader.finish() if total <= _SMALL_BYTES else await asyncio.to_thread(reader.finish)


def safetensors_reader(host: Host) -> codec.SafetensorsReader:
    """A reader of safetensors bodies within the limits."""
    limits = host.limits
    return codec.SafetensorsReader(
        max_bytes=limits.max_body_bytes, max_depth=limits.max_json_depth, check=layout_check(limits), allocate=host.allocate
    )


def npy_reader(host: Host, name: str) -> NpyReader:
    """A reader of ``.npy`` bodies within the limits."""
    limits = host.limits
    return NpyReader(name=name, max_bytes=limits.max_body_bytes, check=layout_check(limits), allocate=host.allocate)


def bytes_reader(host: Host, name: str, dtype: str, shape: tuple[int, ...]) -> BytesReader:
    """A reader of raw bytes within the limits."""
    return BytesReader(name, dtype, shape, layout_check(host.limits), host.allocate)
