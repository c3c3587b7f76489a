"""``telegrad.signal``: signal processing, as in ``torch.signal``."""

from __future__ import annotations

from telegrad.signal import windows as windows

__all__ = ["windows"]
