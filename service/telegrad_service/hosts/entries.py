"""Requests as a journal's entries, and back: what ``hosts/durable.py`` writes down, and does again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from telegrad.contract import codec
from telegrad_service.hosts.base import Work


def head_of(work: Work, mark: str | Work, buffers: Sequence[list[Any]], literals: Sequence[str]) -> dict[str, Any]:
    """What an entry says of a request beside its body.

    Args:
        work: the request.
        mark: its fingerprint; used where it has a number or a key.
        buffers: rows ``[name, dtype, shape, digest]`` of its arrays.
        literals: digests of what was cut out of its body.
    """
    head: dict[str, Any] = {
        "kind": "work",
        "at": time.time(),
        "verb": work.verb,
        "arguments": dict(work.arguments),
        "media_type": work.media_type,
        "request_id": work.request_id,
        "turn": work.turn,
    }
    if work.key:
        head["key"] = work.key
    if work.number:
        head["client"], head["batch"] = work.client, work.number
    if work.key or work.number:
        head["fingerprint"] = mark
    if buffers:
        head["buffers"] = buffers
    if literals:
        head["literals"] = literals
    if buffers or literals:
        head["blobs"] = [*[row[3] for row in buffers], *literals]
    return head


def work_of(head: dict[str, Any]) -> Work:
    """A request as an entry tells of it, without body and buffers."""
    once = head.get("client", ""), head.get("batch", 0), head.get("key", ""), head["turn"]
    return Work(head["verb"], b"", head["arguments"], {}, head["media_type"], head["request_id"], *once)


def array_of(dtype: str, shape: list[int], data: bytes) -> codec.Array:
    """An array of a request, of its own memory."""
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
