"""The one way out of every op: ``_apply``."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from telegrad.contract.extra_arguments import accept_extra_arguments


def name_plainly(cls: type) -> None:
    """Let Python name a class's methods as users write the call: ``sum() got ...`` and not ``ReduceOps.sum() got ...``."""
    for name, method in vars(cls).items():
        if not name.startswith("__") and inspect.isfunction(method):
            method.__qualname__ = name.lstrip("_")  # a function of a module has its method by such a name


class Applies(Protocol):
    """Anything ops can be called on: a tensor, or a session for ops that make tensors from nothing."""

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        """Do one op.

        Args:
            op: the row's name in ``OPS``; with a trailing underscore, its in-place form.
            inputs: in the order of the row's slots: tensors, Python numbers, or None for an absent optional tensor.
            parameters: canonical values (tuples of ints, DTypes, ...); those equal to their default may be left out.

        Returns:
            One tensor, or a tuple of them where the row names several outputs or a data-dependent number of them.
        """
        ...


class TensorBase:
    """What op families build on. A subclass provides ``_apply``; the engine computes in it, the client records."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        name_plainly(cls)
        accept_extra_arguments(cls)

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:  # noqa: ARG002 - a subclass uses them
        """See ``Applies._apply``."""
        raise TypeError(f"{type(self).__name__} has no way to apply {op}")


def stands_for_number(x: Any) -> bool:
    """Whether a tensor may be given for a number: it has no dimensions and requires no grad. One that is awaited never is."""
    return hasattr(x, "__float__") and x.shape == () and not x.requires_grad
