"""What a program is called: the hash of its canonical JSON, the same on client and server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from telegrad.contract import codec
from telegrad.contract.command_fields import encode_command
from telegrad.contract.commands import Command

PROGRAM_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
"""What an id looks like."""


def as_message(commands: Sequence[Command], inputs: Sequence[str]) -> dict[str, Any]:
    """A program as JSON, without its id."""
    return {"inputs": list(inputs), "commands": [encode_command(c) for c in commands]}


def content_id(message: dict[str, Any]) -> str:
    """The id of the program that ``as_message`` gave."""
    return "sha256:" + hashlib.sha256(codec.dump_json(message)).hexdigest()
