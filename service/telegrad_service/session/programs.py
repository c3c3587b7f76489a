"""Programs: lists of commands with holes, kept under their content hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from telegrad.contract.commands import (
    Apply,
    Backward,
    Command,
    Create,
    Grad,
    Read,
    Release,
    Resume,
    Run,
    inner_commands,
    names_made,
)
from telegrad.contract.errors import ArgumentValueError
from telegrad.contract.programs import as_message, content_id


@dataclass(frozen=True, slots=True)
class Program:
    """A stored list of commands.

    Attributes:
        id: ``sha256:`` and the hash of the canonical JSON of ``inputs`` and ``commands``.
        inputs: the holes: names that the commands use and do not make.
        commands: in order; every name they make is the program's own.
        names: what can be named when a run has ended: holes, and names made and not released.
        most_names: the most names that one command makes.
        puts_out: whether a read of it puts out an array.
    """

    id: str
    inputs: tuple[str, ...]
    commands: tuple[Command, ...]
    names: frozenset[str]
    most_names: int
    puts_out: bool

    @classmethod
    def make(cls, commands: Sequence[Command], inputs: Sequence[str]) -> Program:
        """Check and name a program.

        Raises ArgumentValueError for a program that runs programs, waits, or takes arrays from a body that is gone when it runs.
        """
        if len(set(inputs)) != len(inputs):
            raise ArgumentValueError("an input of the program is named twice")
        names = set(inputs)
        for index, command in enumerate(commands):
            if isinstance(command, Run):
                raise ArgumentValueError("a program cannot run another program", extra={"failed": index})
            if isinstance(command, Resume) or _waits(command):
                raise ArgumentValueError("a program cannot wait for anybody: no callback of it pauses", extra={"failed": index})
            if isinstance(command, Apply) and command.pack is not None:
                raise ArgumentValueError(
                    "nobody can be told what an op of a program saved: leave out its 'pack'", extra={"failed": index}
                )
            if _takes_array(command):
                raise ArgumentValueError("a program cannot take an array from a body; make it an input", extra={"failed": index})
            names.update(names_made(command))
            if isinstance(command, Release):
                names -= set(command.tensors)
        most = max([len(list(names_made(command))) for command in commands], default=0)
        return cls(
            content_id(as_message(commands, inputs)),
            tuple(inputs),
            tuple(commands),
            frozenset(names),
            most,
            any(map(puts_out, commands)),
        )

    def describe(self) -> dict[str, Any]:
        """The program as JSON."""
        return {"id": self.id, **as_message(self.commands, self.inputs)}


def puts_out(command: Command) -> bool:
    """Whether a command is a read that puts out an array."""
    return isinstance(command, Read) and command.what == "value" and command.encoding == "buffer"


def _waits(command: Command) -> bool:
    if not isinstance(command, (Backward, Grad)):
        return False
    return command.waits is not None or any(callback.pauses is not None for callback in command.callbacks)


def _takes_array(command: Command) -> bool:
    if isinstance(command, Create):
        return command.buffer is not None
    return any(_takes_array(inner) for inner in inner_commands(command))
