"""Tensors of a walk that records its own graph, while a run is recorded: what a formula does with them becomes steps.

Formulas call operators, which the engine takes straight to numpy's functions; with a wrapper around each tensor, every op comes by
here.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from telegrad.contract.ops import Shape
from telegrad.contract.transforms.wrapper import Level, Wrapped
from telegrad_service.engine.calls import apply, compute, foresee
from telegrad_service.engine.table import ENTRIES
from telegrad_service.engine.tensor import Engine, Tensor, spec_of

if TYPE_CHECKING:
    from telegrad.contract.dtypes import DType
    from telegrad_service.compiler.recorder import Recorder
    from telegrad_service.engine.table import Array


class Noting(Level):
    """The ops of one walk."""

    def __init__(self, home: Engine, recorder: Recorder) -> None:
        super().__init__()
        self.home = home
        self.recorder = recorder

    def around(self, value: Any) -> Any:
        """A tensor, or the tensors in a tuple, wrapped; anything else as it is."""
        if isinstance(value, tuple):
            several: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType] - narrowed from Any
            return tuple([self.around(v) for v in several])
        return Noted(self, value) if isinstance(value, Tensor) else value

    def do(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """One op on plain tensors, recorded."""
        entry = ENTRIES.get(op)
        if self.recorder.failed or entry is None:
            self.recorder.fail("an op made of others")
            return apply(self.home, op, inputs, parameters)
        call = foresee(self.home, entry.op, inputs, parameters)
        noted: Any = self.recorder.entry(entry, inputs, call)
        made = compute(self.home, noted, inputs, {**entry.op.defaults, **parameters}, call)
        noted.finish(made if isinstance(made, tuple) else (made,), in_place=False)
        return made


class Noted(Wrapped):
    """One tensor of the walk."""

    __slots__ = ("held",)
    level: Noting

    def __init__(self, level: Noting, held: Tensor) -> None:
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

    @property
    def array(self) -> Array:
        """The values, for the walk."""
        return self.held.array

    def _held(self) -> Tensor:
        return self.held

    def _with_held(self, change: Callable[[Any], Any]) -> Any:
        return Noted(self.level, change(self.held))

    def _transform(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        return self.level.around(self.level.do(op, tuple([x.held if isinstance(x, Noted) else x for x in inputs]), parameters))
