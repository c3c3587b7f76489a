"""Libraries that a few ops need and a plain install lacks: imported when such an op first runs, missed in words that help."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from telegrad.contract.errors import LibraryMissingError
from telegrad.contract.ops import OPS


@functools.cache
def installed(module: str) -> Any:
    """``module`` of an optional library, or None where the library is not installed: for ops that only run faster with it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # the library is there, and lacks something of its own
        return None


@functools.cache
def library(op: str, module: str) -> Any:
    """``module``, of the library that the row of ``op`` says it needs: ``library("igamma", "scipy.special").gammainc(a, x)``.

    Cached for each op: found once, it costs a look-up a call. Raises LibraryMissingError, naming the op and the extra to install,
    where the library is not installed; LookupError where the row says nothing of it.
    """
    needs = OPS[op].needs
    if module.partition(".")[0] != needs:
        raise LookupError(f"op {op} uses {module}, but its row in the op table says that it needs {needs or 'nothing'}")
    found = installed(module)
    if found is None:
        name = op.removeprefix("_")
        raise LibraryMissingError(
            f"{name}() is computed by {needs}, which is not installed where it runs; there: pip install 'telegrad[{needs}]'",
            extra={"library": needs},
        )
    return found
