"""The ``TensorOps`` tower: one typed method per op, one module per family. Importing the package fills the op table."""

from __future__ import annotations

from telegrad.contract.tensor.creation import CreationOps
from telegrad.contract.tensor.operations import TensorOps

__all__ = ["CreationOps", "TensorOps"]
