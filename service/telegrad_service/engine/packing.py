"""Saved values that a hook of a user has packed, and what becomes of them when a walk needs them."""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np

from telegrad.contract.errors import ShapeError
from telegrad.contract.hooks import Hook
from telegrad.contract.watching import no_tensor

alive: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Tables of hooks that are not empty, and packed values, of the whole process."""


class Packed:
    """What a hook made of a saved array of this shape, and the hook that makes a tensor of it again."""

    __slots__ = ("__weakref__", "kept", "shape", "unpack")

    def __init__(self, kept: Any, unpack: Hook, shape: tuple[int, ...]) -> None:
        self.kept = kept
        self.unpack = unpack
        self.shape = shape
        alive.add(self)


def is_packed(value: Any) -> bool:
    """Whether a saved value, or one of several, is packed."""
    return isinstance(value, Packed) or (isinstance(value, tuple) and any(map(is_packed, value)))  # pyright: ignore[reportUnknownArgumentType] - narrowed from Any


def unpacked(value: Any) -> Any:
    """The arrays of packed values; other values as they are.

    Raises ArgumentTypeError where a hook gives no tensor, ShapeError for one that cannot be broadcast to what was saved.
    """
    if isinstance(value, tuple):
        return tuple([unpacked(v) for v in value])  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
    if not isinstance(value, Packed):
        return value
    found = value.unpack(value.kept)
    array = getattr(found, "array", None)
    if not isinstance(array, np.ndarray):
        raise no_tensor(found)
    if array.shape == value.shape:
        return array  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
    try:
        return np.broadcast_to(array, value.shape)
    except ValueError:
        raise ShapeError(
            f"the unpack hook gave a tensor of shape {list(array.shape)} in place of a saved one of shape {list(value.shape)}"
        ) from None


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
