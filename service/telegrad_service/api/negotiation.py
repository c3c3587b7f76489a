"""Content-Type, Content-Encoding, Accept, entity tags and query strings, read strictly."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from telegrad.contract import compression
from telegrad.contract.codec import JSON_MEDIA_TYPE
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    NotAcceptableError,
    RequestError,
    UnsupportedMediaTypeError,
)
from telegrad_service.api.endpoint import REQUIRED, Query

_MAX_QUERY_FIELDS: Final = 32
_MAX_REMEMBERED_CHARACTERS: Final = 256
_QUALITY: Final = re.compile(r"0?\.[0-9]{1,3}|0\.?|1(?:\.0{0,3})?")
"""As in RFC 9110, 12.4.2, and without the zero before the point: Java's own client sends ``*/*; q=.2`` with each request."""


Headers = Sequence[tuple[bytes, bytes]]
"""Headers as the server hands them over: names in lower case, as often as they came."""


def header(headers: Headers, name: bytes) -> str:
    """The values of a header, joined as one; empty where there is none."""
    found = None
    for key, value in headers:
        if key == name:
            found = value if found is None else b"%s,%s" % (found, value)
    return "" if found is None else str(found, "latin-1")


def is_compressed(headers: Headers) -> bool:
    """Whether the body is zstd. Raises UnsupportedMediaTypeError for other codings, and where zstd is not installed."""
    coding = header(headers, b"content-encoding").strip().lower()
    if coding in ("", "identity"):
        return False
    if coding != compression.ZSTD:
        raise UnsupportedMediaTypeError("the body may be compressed by zstd, and by nothing else: leave out Content-Encoding")
    if not compression.is_available():
        raise UnsupportedMediaTypeError("this server has no zstd: send the body as it is, or install telegrad[zstd] there")
    return True


def content_type(headers: Headers, accepted: tuple[str, ...]) -> str:
    """The media type of the body, one of ``accepted``. Raises UnsupportedMediaTypeError for others and for unknown codings."""
    is_compressed(headers)
    given = [value for key, value in headers if key == b"content-type"]
    if len(given) != 1:
        raise UnsupportedMediaTypeError(f"the request needs one Content-Type: {', '.join(accepted)}")
    text = str(given[0], "latin-1")
    return text if text in accepted else _media_type(text, accepted)


def _media_type(given: str, accepted: tuple[str, ...]) -> str:
    media_type, _, parameters = given.partition(";")
    media_type = media_type.strip().lower()
    if media_type not in accepted:
        raise UnsupportedMediaTypeError(f"the Content-Type must be one of: {', '.join(accepted)}")
    charset = re.search(r"charset\s*=\s*\"?([^\";\s]*)", parameters, re.IGNORECASE)
    if media_type == JSON_MEDIA_TYPE and charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaTypeError("JSON bodies are UTF-8")
    return media_type


def accept(headers: Headers, offers: tuple[str, ...]) -> str:
    """The offer that the Accept header likes best, the first where it does not care; raises NotAcceptableError.

    Source: RFC 9110, 12.5.1. A more specific range wins over a general one; ranges that cannot be read are left out.
    """
    given = header(headers, b"accept").strip(", \t")
    if not given or given == "*/*":
        return offers[0]
    # Clients say the same with each request; what is long is read anew each time, so that little is kept.
    return _remembered_best(given, offers) if len(given) <= _MAX_REMEMBERED_CHARACTERS else _best(given, offers)


def qualities(given: str) -> dict[str, float]:
    """What a header with preferences names, and how much each is liked, from 0 to 1; without those that cannot be read."""
    found: dict[str, float] = {}
    for part in given.split(","):
        name, *parameters = [p.strip() for p in part.split(";")]
        weights = [value.strip() for key, _, value in (p.partition("=") for p in parameters) if key.strip().lower() == "q"]
        if all(_QUALITY.fullmatch(weight) for weight in weights):
            found[name.lower()] = float(weights[-1]) if weights else 1.0
    return found


def _best(given: str, offers: tuple[str, ...]) -> str:
    ranges = qualities(given)

    def liking(offer: str) -> float:
        for name in (offer, offer.partition("/")[0] + "/*", "*/*"):
            if name in ranges:
                return ranges[name]
        return 0.0

    best = max(offers, key=liking)  # the first of equals
    if liking(best) == 0.0:
        raise NotAcceptableError(f"the answer can be had as: {', '.join(offers)}")
    return best


_remembered_best = functools.lru_cache(maxsize=256)(_best)


def query(raw: bytes, known: Sequence[Query]) -> dict[str, Any]:
    """The parameters of a query string, each known, given once and of its type; those left out have their default.

    Raises:
        RequestError: the string cannot be read, or names a parameter twice.
        ArgumentTypeError, ArgumentValueError: an unknown or missing parameter, or a value that does not fit.
    """
    values: dict[str, Any] = {q.name: q.default for q in known if q.default is not REQUIRED}
    if raw:
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS
            )
        except ValueError:
            raise RequestError(
                "the query string cannot be read: it is name=value, several of them joined by &, in percent-encoded UTF-8"
            ) from None
        if len(dict(pairs)) != len(pairs):
            raise RequestError("the query string names a parameter twice")
        readers = {q.name: q for q in known}
        for name, text in pairs:
            parameter = readers.get(name)
            if parameter is None:
                names = ", ".join(readers) or "none"
                raise ArgumentTypeError(f"the query string has an unknown parameter; the parameters here are: {names}")
            try:
                values[name] = parameter.read(text)
            except (ArgumentTypeError, ArgumentValueError) as error:
                raise type(error)(f"query parameter '{name}': {error.detail}") from None
    for parameter in known:
        if parameter.name not in values:
            raise ArgumentTypeError(f"the query parameter '{parameter.name}' is missing")
    return values


def entity_tag(body: bytes) -> str:
    """A strong entity tag: the hash of the bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def is_unchanged(headers: Mapping[str, str], tag: str) -> bool:
    """Whether If-None-Match names the tag, so that 304 will do."""
    given = headers.get("if-none-match", "")
    return given.strip() == "*" or tag in [t.strip().removeprefix("W/") for t in given.split(",")]
