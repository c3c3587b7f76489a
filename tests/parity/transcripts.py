"""What a script saw, as plain data that can be compared between places: bit for bit, or with PyTorch within tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import telegrad
from tests.references.comparison import difference
from tests.samples import Array


class Failure(NamedTuple):
    """What was raised."""

    cls: str
    builtins: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Seen:
    """A tensor as a script leaves it."""

    values: Array
    requires_grad: bool
    is_leaf: bool
    node: str | None

    def bits(self) -> tuple[Any, ...]:
        """Everything, exactly."""
        return self.values.dtype.str, self.values.shape, self.values.tobytes(), self.requires_grad, self.is_leaf, self.node


def attempt(action: Callable[[], Any]) -> Any:
    """What the action returned, read out, or what it raised. Reading is part of it: that is where a recorded error shows."""
    try:
        return transcript(action())
    except Exception as error:  # noqa: BLE001 - what is raised is the result
        builtins = tuple(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")
        return Failure(type(error).__name__, builtins, str(error))


def transcript(value: Any) -> Any:
    """The value with every tensor read out."""
    if isinstance(value, (Seen, Failure)):
        return value
    if hasattr(value, "requires_grad"):
        array = np.array(value.detach().numpy())
        node = value.grad_fn
        name = None if node is None else node.name().rpartition("::")[2]  # PyTorch spells some in full
        return Seen(array, bool(value.requires_grad), bool(value.is_leaf), name)
    if isinstance(value, (tuple, list)):
        return [transcript(item) for item in value]
    if isinstance(value, telegrad.dtype) or str(value).startswith("torch."):
        return str(value).rpartition(".")[2]
    return value


def exactly(value: Any) -> Any:
    """A transcript in a form where ``==`` means the same bits, types, history and messages."""
    if isinstance(value, Seen):
        return value.bits()
    if isinstance(value, list):
        return [exactly(item) for item in value]
    if isinstance(value, float):
        return value.hex()
    return value


def disagreements(found: Any, wanted: Any, path: str = "result") -> list[str]:
    """Where two transcripts differ beyond rounding; messages may be worded differently, the builtin class must be the same."""
    if isinstance(wanted, Failure):
        if not isinstance(found, Failure):
            return [f"{path}: PyTorch raises {wanted.cls}: {wanted.message}"]
        return [] if wanted.builtins[0] in found.builtins else [f"{path}: {found.cls} where PyTorch raises {wanted.cls}"]
    if isinstance(found, Failure):
        return [f"{path}: raises {found.cls}: {found.message}"]
    if isinstance(wanted, Seen):
        if not isinstance(found, Seen):
            return [f"{path}: {found!r} where PyTorch has a tensor"]
        said = difference(found.values, wanted.values, slack=10)
        flags = (found.requires_grad, found.is_leaf, found.node) == (wanted.requires_grad, wanted.is_leaf, wanted.node)
        history = "" if flags else f"history is {found}, PyTorch has {wanted}"
        return [f"{path}: {text}" for text in (said, history) if text]
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return [f"{path}: {found!r} where PyTorch has {wanted!r}"]
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for i, (a, b) in pairs for line in disagreements(a, b, f"{path}[{i}]")]
    if isinstance(wanted, float) and isinstance(found, float):
        said = difference(np.asarray(found), np.asarray(wanted), slack=10)
        return [f"{path}: {said}"] if said else []
    return [] if found == wanted else [f"{path}: {found!r} where PyTorch has {wanted!r}"]
