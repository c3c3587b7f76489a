"""Tools with ``torch.utils``' names."""

from __future__ import annotations

from telegrad.utils import checkpoint as checkpoint

__all__ = ["checkpoint"]
