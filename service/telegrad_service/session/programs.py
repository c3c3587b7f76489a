"""Programs: lists of commands with holes, kept under their content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from telegrad.contract import codec
from telegrad.contract.commands import Command, Run, encode_command
from telegrad.contract.errors import ArgumentValueError


@dataclass(frozen=True, slots=True)
class Program:
    """A stored list of commands.

    Attributes:
        id: ``sha256:`` and the hash of the canonical JSON of ``inputs`` and ``commands``.
        inputs: the holes: names that the commands use and do not make.
        commands: in order; every name they make is the program's own.
    """

    id: str
    inputs: tuple[str, ...]
    commands: tuple[Command, ...]

    @classmethod
    def make(cls, commands: Sequence[Command], inputs: Sequence[str]) -> Program:
        """Check and name a program. Raises ArgumentValueError for a program that runs programs."""
        if any(isinstance(c, Run) for c in commands):
            raise ArgumentValueError("a program cannot run another program")
        if len(set(inputs)) != len(inputs):
            raise ArgumentValueError("an input of a program is named twice")
        text = codec.dump_json({"inputs": list(inputs), "commands": [encode_command(c) for c in commands]})
        return cls("sha256:" + hashlib.sha256(text).hexdigest(), tuple(inputs), tuple(commands))

    def describe(self) -> dict[str, Any]:
        """The program as JSON."""
        return {"id": self.id, "inputs": list(self.inputs), "commands": [encode_command(c) for c in self.commands]}
