"""The older functions that make windows; ``telegrad.signal.windows`` has the newer ones."""

from __future__ import annotations

from telegrad._current import in_current
from telegrad.contract.session import BaseSession

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]

bartlett_window = in_current(BaseSession.bartlett_window)
blackman_window = in_current(BaseSession.blackman_window)
hamming_window = in_current(BaseSession.hamming_window)
hann_window = in_current(BaseSession.hann_window)
kaiser_window = in_current(BaseSession.kaiser_window)
