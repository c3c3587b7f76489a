"""Saved values that a hook of a user has packed, and what becomes of them when a walk needs them."""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np

from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.hooks import Hook

alive: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Tables of hooks that are not empty, and packed values, of the whole process."""


class Packed:
    """What a hook made of a saved array, and the hook that makes a tensor of it again."""

    __slots__ = ("__weakref__", "kept", "unpack")

    def __init__(self, kept: Any, unpack: Hook) -> None:
        self.kept = kept
        self.unpack = unpack
        alive.add(self)


def unpacked(value: Any) -> Any:
    """The arrays of packed values; other values as they are."""
    if isinstance(value, tuple):
        return tuple([unpacked(v) for v in value])  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
    if not isinstance(value, Packed):
        return value
    found = value.unpack(value.kept)
    array = getattr(found, "array", None)
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(
            f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(found).__name__}"
        )
    return array


def valued(tensor: Any, array: Any) -> Any:
    """Restored tensors with the values that were unpacked: for a leaf, a tensor with its history and those values."""
    if tensor is None:
        return None  # what a kernel found on the way, which no formula on tensors asks for
    if isinstance(array, tuple):
        return tuple([valued(t, a) for t, a in zip(tensor, array, strict=True)])  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(array, np.ndarray) or tensor.array is array:
        return tensor
    made = tensor.clone()
    made.array = array
    return made
