"""Chains of view ops applied to arrays and Tensors: how a write through a view reaches the base, and its gradient."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import Chain
from telegrad_service.engine.table import ENTRIES, Array

_ALWAYS_POSSIBLE = {"view": "reshape"}
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
    """Write ``source`` into the part of ``target`` (row-major, writable) that ``chain`` leads to."""
    part = take(target, chain)
    if np.may_share_memory(part, target) and part.flags.writeable:
        part[...] = source
    elif part.size:
        # Some step had to copy: follow the elements' positions instead.
        positions = take(np.arange(target.size).reshape(target.shape), chain)
        target.reshape(-1)[positions] = source
