"""What a session holds: counted exactly by walking it, but only when a cheap upper bound says that a limit is near."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from telegrad_service.engine.graph import Node
from telegrad_service.engine.tensor import Tensor


class Held(NamedTuple):
    """What a session's names keep alive: bytes of distinct buffers, and graph nodes."""

    nbytes: int
    nodes: int


def count(tensors: Iterable[Tensor]) -> Held:
    """Walk everything reachable from ``tensors``: values, gradients, and what their graphs saved; each buffer counts once."""
    buffers: dict[int, int] = {}
    seen_tensors: set[int] = set()
    seen_nodes: set[int] = set()
    todo: list[Tensor | Node] = list(tensors)

    def add(array: Any) -> None:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        buffers[id(owner)] = owner.nbytes

    while todo:
        item = todo.pop()
        if isinstance(item, Tensor):
            if id(item) in seen_tensors:
                continue
            seen_tensors.add(id(item))
            add(item.array)
            if item.node is not None:
                todo.append(item.node)
            if item.base is not None:
                todo.append(item.base)
            if item.grad is not None:
                todo.append(item.grad)
            continue
        if item.number in seen_nodes:
            continue
        seen_nodes.add(item.number)
        todo.extend(item.edges)
        for arguments in item.saved or ():
            for value in arguments:
                if isinstance(value, np.ndarray):
                    add(value)
                elif isinstance(value, tuple):
                    for part in value:
                        if isinstance(part, np.ndarray):
                            add(part)
    return Held(sum(buffers.values()), len(seen_nodes))
