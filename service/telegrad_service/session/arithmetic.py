"""The arithmetic behind the nodes of a graph: by the rule of each one's op, from the shapes that the node still knows."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from telegrad.contract.dtypes import as_dtype
from telegrad.contract.errors import TelegradError
from telegrad.contract.ops import OPS
from telegrad_service.engine.calls import foresee
from telegrad_service.engine.graph import Node
from telegrad_service.engine.tensor import Engine
from telegrad_service.session.standins import shown

_UNKNOWN: Final = object()


def flops_of(node: Node, home: Engine) -> int:
    """Operations that the op took forward; one an element of its results where the node does not say enough of what went in."""
    elements = sum(math.prod(shape) for shape, _ in node.layouts)
    op = node.plan.entry.op
    if OPS.get(op.name) is not op:  # a function of a user's
        return elements
    inputs = _inputs(node, home)
    if any(x is _UNKNOWN for x in inputs):
        return elements
    try:
        outcome = foresee(home, op, inputs, node.parameters).outcome
    except TelegradError:  # the shapes alone do not make a call
        return elements
    return elements if outcome is None else max(outcome.flops, elements)


def _inputs(node: Node, home: Engine) -> list[Any]:
    """Stand-ins of what went in: edges and saved values tell. A number that nobody saved is as good as another."""
    plan = node.plan
    slots = plan.entry.op.inputs
    found: list[Any] = []
    for position in range(plan.count):
        slot = slots[min(position, len(slots) - 1)]
        found.append(None if slot.optional else 1.0 if slot.number else _UNKNOWN)

    def put(position: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        made = shown(home, tuple(shape), as_dtype(dtype.name))
        found[position] = _UNKNOWN if made is None else made

    saved: tuple[Any, ...] = node.saved or ()
    for (kind, what), value in zip(plan.sources, saved, strict=False):
        if kind == "input" and isinstance(value, np.ndarray):
            put(what, value.shape, value.dtype)
        elif kind == "input_shape":
            put(what, value, node.dtype)
        elif kind == "inputs":
            for position, one in enumerate(value, what):
                if isinstance(one, np.ndarray):
                    put(position, one.shape, one.dtype)
        elif kind == "inputs_shapes":
            for position, shape in enumerate(value, what):
                put(position, shape, node.dtype)
    for position, edge, index in zip(plan.positions, node.edges, node.indexes, strict=True):
        put(position, *(edge.layouts[index] if isinstance(edge, Node) else (edge.array.shape, edge.array.dtype)))
    return found
