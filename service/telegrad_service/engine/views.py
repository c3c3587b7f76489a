"""Chains of view ops applied to arrays and Tensors: how a write through a view reaches the base, and its gradient."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import Chain
from telegrad_service.engine.table import ENTRIES, Array

_ALWAYS_POSSIBLE = {"view": "reshape", "view_as_complex": "_as_complex"}
"""A chain is applied to arrays whose memory is laid out otherwise than the base's, where only the op that may copy works."""


def take(x: Any, chain: Chain) -> Any:
    """The part of ``x`` that ``chain`` leads to: a view where the memory allows."""
    for name, parameters, output in chain:
        op = _ALWAYS_POSSIBLE.get(name, name)
        if isinstance(x, TensorBase):
            x = x._apply(op, x, **parameters)
        else:
            x = ENTRIES[op].kernel(x, **parameters)
        if output is not None:
            x = x[output]
    return x


def put(target: Array, source: Any, chain: Chain) -> None:
    """Write ``source`` into the part of ``target`` (writable) that ``chain`` leads to."""
    part = take(target, chain)
    name = chain[-1][0]
    if np.iscomplexobj(source) and part.dtype.kind != "c":
        source = source.real  # zeros in g's type, for a part that is a real or an imaginary one
    if np.may_share_memory(part, target) and part.flags.writeable:
        part[...] = source
    elif part.size and len(chain) > 1:
        # Some step had to copy: write into what the first one gives, and that back.
        part = take(target, chain[:1])
        put(part, source, chain[1:])
        if not np.may_share_memory(part, target):
            put(target, part, chain[:1])
    elif part.size and name == "view_as_complex":
        target[..., 0], target[..., 1] = np.real(source), np.imag(source)
    elif part.size:
        positions = take(np.arange(target.size).reshape(target.shape), chain)
        target.flat[positions.reshape(-1)] = np.broadcast_to(source, positions.shape).reshape(-1)
