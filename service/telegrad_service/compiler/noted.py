"""Tensors of a walk that records its own graph, while a run is recorded: what a formula does with them becomes steps.

Formulas call operators, which the engine takes straight to numpy's functions; with a wrapper around each tensor, every op comes by
here.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telegrad_service.engine.calls import apply, compute, foresee
from telegrad_service.engine.detour import Detour, Detoured
from telegrad_service.engine.table import ENTRIES

if TYPE_CHECKING:
    from telegrad_service.compiler.recorder import Recorder
    from telegrad_service.engine.table import Array
    from telegrad_service.engine.tensor import Engine


class Noting(Detour):
    """The ops of one walk."""

    def __init__(self, home: Engine, recorder: Recorder) -> None:
        super().__init__()
        self.home = home
        self.recorder = recorder

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


class Noted(Detoured):
    """One tensor of the walk."""

    __slots__ = ()

    @property
    def array(self) -> Array:
        """The values, for the walk."""
        return self.held.array


Noting.wrapper = Noted
