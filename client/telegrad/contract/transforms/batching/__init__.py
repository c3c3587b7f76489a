"""How ``vmap`` does each op on all rows at once: one module per family. Importing the package fills ``batched.RULES``."""

from __future__ import annotations

from telegrad.contract.transforms.batching import elementwise, folded, index, linalg, nn, reduce, shape, transposes

__all__ = ["elementwise", "folded", "index", "linalg", "nn", "reduce", "shape", "transposes"]
