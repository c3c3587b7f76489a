"""New nodes under watch: anomaly mode gives them the lines that led to them, hooks on saved tensors pack what they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from telegrad.contract.modes import no_grad
from telegrad.contract.schedule import current_walk
from telegrad.contract.watching import Packing, current_packing, is_anomaly_enabled, packed_in_place, users_stack
from telegrad_service.engine.graph import Node, tensors_of_saved
from telegrad_service.engine.hooks import HookedWalk, hooks_for
from telegrad_service.engine.packing import Packed

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine


def note_lines(node: Node, home: Engine) -> None:
    """In anomaly mode, keep the lines that led to a node."""
    if is_anomaly_enabled() and home.watched:
        hooks = hooks_for(node)
        hooks.stack = users_stack()
        walk = current_walk()
        hooks.parent = walk.running if isinstance(walk, HookedWalk) else None


def look_at(node: Node, home: Engine, inputs: Sequence[Any]) -> None:
    """A node was recorded while somebody watches, of an op with these inputs."""
    note_lines(node, home)
    packing = current_packing() if home.watched else home.packing
    if packing is not None:
        _pack(node, home, inputs, packing)


def _pack(node: Node, home: Engine, inputs: Sequence[Any], packing: Packing) -> None:
    """Put in place of every saved tensor what the hook makes of it."""

    def packed(array: Any, tensor: Any) -> Any:
        if not isinstance(array, np.ndarray) or not hasattr(tensor, "array"):
            return array
        version = tensor.shared_version()
        before = version[0]
        with no_grad():
            kept = packing.pack(tensor)
        if version[0] != before:
            raise packed_in_place()
        return Packed(kept, packing.unpack, array.shape)

    saved: tuple[Any, ...] = () if node.saved is None else node.saved
    values: list[Any] = []
    tensors = list(tensors_of_saved(home, node, saved))
    for position, kind, what, _ in node.plan.restored:  # hooks get the very tensors that went in
        if kind == "input":
            tensors[position] = inputs[what]
        elif kind == "inputs":
            tensors[position] = tuple(inputs[what:])
    for value, tensor in zip(saved, tensors, strict=True):
        if isinstance(value, tuple) and isinstance(tensor, tuple):
            pairs: Any = zip(value, tensor, strict=True)  # pyright: ignore[reportUnknownArgumentType] - narrowed from Any
            values.append(tuple([packed(v, t) for v, t in pairs]))
        else:
            values.append(packed(value, tensor))
    node.saved = tuple(values)
    node.guards = ()  # whether a change of the original matters is the hook's business
