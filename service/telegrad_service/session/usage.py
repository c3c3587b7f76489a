"""What a session holds: counted exactly by walking it, but only when a cheap upper bound says that a limit is near."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from telegrad_service.engine.buffers import owner_of
from telegrad_service.engine.graph import Node
from telegrad_service.engine.table import Array
from telegrad_service.engine.tensor import Tensor


class Held(NamedTuple):
    """What a session's names keep alive: bytes of distinct buffers, and graph nodes."""

    nbytes: int
    nodes: int


def count(tensors: Iterable[Tensor], *, with_graphs: bool = True, with_gradients: bool = True) -> Held:
    """Walk everything reachable from ``tensors``: values, gradients, and what their graphs saved; each buffer counts once.

    Without ``with_graphs`` nothing that graphs lead to, without ``with_gradients`` no accumulated gradient.
    """
    buffers: dict[int, int] = {}
    seen: set[int] = set()
    nodes = 0
    todo: list[Tensor | Node] = list(tensors)
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            _add(buffers, item.array)
            node, gradient = item.node if with_graphs else None, item.kept_gradient if with_gradients else None
            todo.extend(x for x in (node, item.base, gradient) if x is not None)
            continue
        nodes += 1
        todo.extend(item.edges)
        for value in item.saved or ():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, np.ndarray):
                    _add(buffers, part)
    return Held(sum(buffers.values()), nodes)


def _add(buffers: dict[int, int], array: Array) -> None:
    """Note the buffer that the array is, or is a view of."""
    owner = owner_of(array)
    buffers[id(owner)] = owner.nbytes
