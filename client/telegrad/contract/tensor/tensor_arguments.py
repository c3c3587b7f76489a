"""Methods made of other ops refuse what is no tensor by their own name, as the ops do, before they ask for its shape."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.ops import OPS
from telegrad.contract.tensor.base import TensorBase

C = TypeVar("C")

_TENSORS: Final = {"Self": False, "Self | None": True}
"""Annotations of one tensor, and whether there may be none."""


def check_tensor_arguments(cls: type[C]) -> type[C]:
    """Let the methods of a class that are no ops of their own check their tensors; ops are checked where they are applied."""
    ops = {op.function for op in OPS.values()}
    methods = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items() if inspect.isfunction(value)}
    for name, method in methods.items():
        if not name.startswith("_") and not name.endswith("_") and method not in ops:
            tensors = _tensor_positions(method)
            if tensors:
                setattr(cls, name, _checking(method, tensors))
    return cls


def _tensor_positions(method: Callable[..., Any]) -> dict[str, tuple[int, bool]]:
    """The arguments that are one tensor: their positions, and whether None may stand there."""
    found: dict[str, tuple[int, bool]] = {}
    for position, p in enumerate(inspect.signature(method).parameters.values()):
        optional = _TENSORS.get(str(p.annotation))
        if optional is not None:
            found[p.name] = position, optional
    return found


def _checking(method: Callable[..., Any], tensors: dict[str, tuple[int, bool]]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, (position, optional) in tensors.items():
            given = len(args) > position
            if not given and name not in kwargs:
                continue
            value = args[position] if given else kwargs[name]
            if not isinstance(value, TensorBase) and not (optional and value is None):
                raise ArgumentTypeError(
                    f"{method.__name__}(): argument '{name}' (position {position + 1}) must be Tensor, not {type(value).__name__}"
                )
        return method(*args, **kwargs)

    return call
