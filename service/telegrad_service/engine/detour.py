"""A wrapper around each tensor of a function, so that every op of it comes by: operators on plain ones go straight to numpy."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telegrad.contract.dtypes import DType
from telegrad.contract.ops import Shape
from telegrad.contract.transforms.wrapper import Level, Wrapped
from telegrad_service.engine.tensor import Tensor, spec_of


class Detour(Level):
    """The ops of one function.

    Attributes:
        wrapper: the class around its tensors.
    """

    wrapper: type[Detoured]

    def around(self, value: Any) -> Any:
        """A tensor, or the tensors in a tuple, wrapped; anything else as it is."""
        if isinstance(value, tuple):
            several: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
            return tuple([self.around(v) for v in several])
        return self.wrapper(self, value) if isinstance(value, Tensor) else value

    def do(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """One op on plain tensors."""
        raise NotImplementedError


class Detoured(Wrapped):
    """One tensor of the function."""

    __slots__ = ("held",)
    level: Detour

    def __init__(self, level: Detour, held: Tensor) -> None:
        self.level = level
        self.held = held

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        return spec_of(self.held).shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return spec_of(self.held).dtype

    def _held(self) -> Tensor:
        return self.held

    def _with_held(self, change: Callable[[Any], Any]) -> Any:
        return self.__class__(self.level, change(self.held))

    def _transform(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        return self.level.around(self.level.do(op, tuple([x.held if isinstance(x, Detoured) else x for x in inputs]), parameters))
