"""The engine against numpy by hand, PyTorch, HIPS autograd, mygrad and jitted JAX."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; see ``table``."""
    from benchmarks.engine.table import main as table  # a worker, which runs as a module of this package, is not to be in it yet

    return table(arguments)
