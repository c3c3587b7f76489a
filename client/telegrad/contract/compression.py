"""zstd where somebody asks for it: in pieces, so that little input never becomes much output at once.

Source: RFC 8878, the format; RFC 9659, which bounds the window of HTTP bodies to 8 MB.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from telegrad.contract.errors import RequestError

ZSTD: Final = "zstd"
"""The name of the coding."""

_MAX_WINDOW_LOG: Final = 23
_LEVEL: Final = 3


def _library() -> Any:
    """Python's own module, or the same for older Pythons. Raises ModuleNotFoundError."""
    try:
        return importlib.import_module("compression.zstd")
    except ModuleNotFoundError:
        return importlib.import_module("backports.zstd")


def is_available() -> bool:
    """Whether this installation can do zstd."""
    try:
        _library()
    except ModuleNotFoundError:
        return False
    return True


def compress(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The pieces as one zstd frame, in pieces."""
    compressor = Compressor()
    for piece in pieces:
        made = compressor.feed(piece)
        if made:
            yield made
    yield compressor.finish()


class Compressor:
    """Takes pieces (``feed``) and gives those of one zstd frame; ``finish`` gives the last."""

    def __init__(self) -> None:
        self._compressor = _library().ZstdCompressor(level=_LEVEL)

    def feed(self, piece: bytes | memoryview) -> bytes:
        """Take a piece; what is ready, which may be nothing."""
        made: bytes = self._compressor.compress(piece)
        return made

    def finish(self) -> bytes:
        """The rest."""
        made: bytes = self._compressor.flush()
        return made


class Decompressor:
    """Takes the pieces of a zstd body (``feed``) and gives its content in pieces of bounded size (``read`` until it gives none)."""

    def __init__(self) -> None:
        self._zstd = _library()
        self._decoder = self._new()
        self._begun = False
        self._pending: bytes = b""

    def _new(self) -> Any:
        return self._zstd.ZstdDecompressor(options={self._zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})

    def feed(self, piece: bytes) -> None:
        """Take the next piece; everything before it has been read."""
        self._pending = piece

    def read(self, max_bytes: int) -> bytes:
        """The next bytes of the content, at most so many; none where more input is needed. Raises RequestError if it is no zstd."""
        while True:
            if self._decoder.eof:  # the next frame, of which there may be several
                self._pending = self._decoder.unused_data or self._pending
                if not self._pending:
                    return b""
                self._decoder, self._begun = self._new(), False
            if not self._pending and self._decoder.needs_input:
                return b""
            data, self._pending = self._pending, b""
            self._begun = self._begun or bool(data)
            try:
                made: bytes = self._decoder.decompress(data, max_length=max_bytes)
            except self._zstd.ZstdError:
                raise RequestError("the body is no zstd, or needs a window of more than 8 MB") from None
            if made:
                return made

    def finish(self) -> None:
        """Nothing more will come. Raises RequestError where the body ended early."""
        if self._begun and not self._decoder.eof:
            raise RequestError("the zstd body ended early")
