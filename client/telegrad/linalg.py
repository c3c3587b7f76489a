"""``telegrad.linalg``: as in ``torch.linalg``."""

from __future__ import annotations
