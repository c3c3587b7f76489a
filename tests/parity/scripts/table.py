"""The table of scripts: each a function of the library's module, returning what it saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Script = Callable[[Any], Any]

SCRIPTS: Final[dict[str, Script]] = {}


def script(function: Script) -> Script:
    """Put a script into the table under its name."""
    assert function.__name__ not in SCRIPTS
    SCRIPTS[function.__name__] = function
    return function
