"""The tensors of a trace that hold the same in every run: made of data and of each other, by ops that draw nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telegrad.contract import codec, tracing
from telegrad.contract.commands import Apply, Backward, Command, Create, Grad, Read, Release
from telegrad.contract.errors import TelegradError
from telegrad.contract.ops import OPS


class Constants:
    """What is known of values while a function is traced. It computes them when one is asked for, in a session of its own."""

    def __init__(self, rehearse: Callable[[], tracing.Rehearsal]) -> None:
        self._rehearse = rehearse
        self._session: tracing.Rehearsal | None = None
        self._names: set[str] = set()
        self._todo: list[Command] = []

    def see(self, command: Command) -> None:
        """One more of the trace's commands, in order."""
        if isinstance(command, Create) or (isinstance(command, Apply) and self._is_constant(command)):
            self._names.update([command.id] if isinstance(command, Create) else [x for x in command.outputs or () if x])
            self._todo.append(command)
        elif not _leaves_values(command):
            self._names.clear()  # what was written to may share its memory with any of them

    def value(self, reference: str) -> tuple[codec.Array, dict[str, Any]] | None:
        """The value of a tensor that is known, and what else is known of it; else None."""
        if reference not in self._names:
            return None
        session = self._session = self._session or self._rehearse()
        todo, self._todo = self._todo, []
        try:
            for command in todo:
                session.do(command)
        except TelegradError:  # an op that fails does so in every run, too, and its error is that run's
            self._names.clear()
            return None
        description = session.describe(reference)
        return None if description is None else (session.value(reference), description)

    def _is_constant(self, command: Apply) -> bool:
        known = all(not isinstance(x, str) or x in self._names for x in command.inputs)
        op = OPS.get(command.op) or OPS.get(command.op.removesuffix("_"))
        return known and op is not None and not op.random and command.pack is None


def _leaves_values(command: Any) -> bool:
    """Whether a command that is not constant changes the values of no tensor that is there."""
    if isinstance(command, Apply):
        return command.op in OPS
    if isinstance(command, (Backward, Grad)):
        return not command.callbacks
    return isinstance(command, (Read, Release))
