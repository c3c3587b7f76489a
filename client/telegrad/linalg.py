"""``telegrad.linalg``: matrices, as in ``torch.linalg``."""

from __future__ import annotations

from telegrad.contract.functions.linalg import *
