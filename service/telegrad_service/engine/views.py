"""Chains of view ops applied to arrays and Tensors: how a write through a view reaches the base, and its gradient."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import AutogradError, LeafError
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import Chain
from telegrad_service.engine.graph import CustomNode
from telegrad_service.engine.table import ENTRIES, Array

_BOTH_INSIDE = (
    " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view "
    "and the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you "
    "want the inplace to be tracked)."
)
_OUT_OF_PLACE = (
    " This view is the output of a function that returns multiple views. Such functions do not allow the output views to be "
    "modified inplace. You should replace the inplace operation by an out-of-place one."
)
_CUSTOM = (
    " This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic to handle "
    "view+inplace would override the custom backward associated with the custom Function, leading to incorrect gradients. This "
    "behavior is forbidden. You can fix this by cloning the output of the custom Function."
)


def stale(node: Any, output: int, chain: Chain, modified: str) -> AutogradError:
    """A view that does not follow its base was written to, or its base was: PyTorch's words for it.

    Args:
        node: what made the view; None where nothing was recorded.
        output: which output of it.
        chain: how the view was made.
        modified: the tensor that is written to, and a verb.
    """
    several = any(index is not None for _, _, index in chain)
    if node is None:
        why = _OUT_OF_PLACE if several else _BOTH_INSIDE
        return LeafError(f"A view was created in no_grad mode and {modified} modified inplace with grad mode enabled.{why}")
    name = node.name().removesuffix("0").removesuffix("Backward")
    if not several and node.__class__ is not CustomNode:  # recorded, but of what was not
        return LeafError(
            f"Output {output} of {name} is a view of a view which was created in no_grad mode and {modified} modified inplace with "
            f"grad mode enabled.{_BOTH_INSIDE}"
        )
    return LeafError(f"Output {output} of {name} is a view and {modified} modified inplace.{_OUT_OF_PLACE if several else _CUSTOM}")


_ALWAYS_POSSIBLE = {"view": "reshape", "view_as_complex": "_as_complex", "_strided": "_strided_part"}
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
    elif part.size and len(chain) > 1 and chain[0][0] != "_strided":  # whose elements may occur twice: found by their places
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
