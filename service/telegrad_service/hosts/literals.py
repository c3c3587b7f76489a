"""Long literals in JSON bodies, which a journal keeps apart under their hash: a second epoch sends the same numbers again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from telegrad.contract import codec
from telegrad.contract.errors import TelegradError

_LITERAL_BYTES: Final = 1024
"""Numbers in JSON that take more text than this are kept apart, under their hash."""


def slim(body: bytes, keep: Callable[[bytes], str], max_depth: int) -> tuple[bytes, list[str]]:
    """A body without its long literals, and their hashes; in the place of each stands its number."""
    if len(body) <= 4 * _LITERAL_BYTES or not (b'"data"' in body or b'"base64"' in body) or b'"literal"' in body:
        return body, []
    literals: list[str] = []
    try:
        value = codec.load_json(body, max_depth=max_depth)
    except TelegradError:  # it will be refused, now and whenever it is read again
        return body, []

    def walk(at: Any) -> None:
        if isinstance(at, list):
            for item in at:  # pyright: ignore[reportUnknownVariableType] - JSON
                walk(item)
        elif isinstance(at, dict):
            for name, item in at.items():  # pyright: ignore[reportUnknownVariableType] - JSON
                if name in ("data", "base64") and isinstance(item, (list, str)):
                    text = codec.dump_json(item)
                    if len(text) > _LITERAL_BYTES:
                        at[name] = {"literal": len(literals)}
                        literals.append(keep(text))
                else:
                    walk(item)

    try:
        walk(value)
    except ValueError:  # a number beyond all floats, which only its own text says
        return body, []
    return (json.dumps(value, separators=(",", ":")).encode(), literals) if literals else (body, [])


def whole(body: bytes, literals: Any, blob: Callable[[str], bytes]) -> bytes:
    """The body with its long literals in their places."""
    if not literals:
        return body

    def put(at: Any) -> Any:
        if isinstance(at, list):
            return [put(item) for item in at]  # pyright: ignore[reportUnknownVariableType] - JSON
        if isinstance(at, dict):
            return {
                name: json.loads(blob(literals[item["literal"]]))
                if name in ("data", "base64") and isinstance(item, dict) and "literal" in item
                else put(item)
                for name, item in at.items()  # pyright: ignore[reportUnknownVariableType] - JSON
            }
        return at

    return json.dumps(put(json.loads(body)), separators=(",", ":")).encode()
