"""Small scripts as users write them, each a function of the library's module, returning what it saw.

The same text runs in all places and in PyTorch, apart from scripts whose name ends in ``_ours``: their draws are our own.
"""

from __future__ import annotations

from tests.parity.scripts import (
    aliases,
    checkpoints,
    construction,
    errors,
    forward,
    functions,
    graphs,
    hidden_graphs,
    hooks,
    inference,
    python_operators,
    reading,
    saved_tensors,
    tensors,
    training,
)
from tests.parity.scripts.table import SCRIPTS

__all__ = [
    "SCRIPTS",
    "aliases",
    "checkpoints",
    "construction",
    "errors",
    "forward",
    "functions",
    "graphs",
    "hidden_graphs",
    "hooks",
    "inference",
    "python_operators",
    "reading",
    "saved_tensors",
    "tensors",
    "training",
]
