"""``telegrad.signal.windows``: windows that signals are multiplied with before a Fourier transform, as in ``torch.signal.windows``.

See ``telegrad.contract.tensor.signal`` for what they are.
"""

# pyright: reportPrivateUsage=false
# A session has no public method of these names.

from __future__ import annotations

from telegrad._current import in_current
from telegrad.contract.session import BaseSession

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]

bartlett = in_current(BaseSession._bartlett)
blackman = in_current(BaseSession._blackman)
cosine = in_current(BaseSession._cosine)
exponential = in_current(BaseSession._exponential)
gaussian = in_current(BaseSession._gaussian)
general_cosine = in_current(BaseSession._general_cosine)
general_hamming = in_current(BaseSession._general_hamming)
hamming = in_current(BaseSession._hamming)
hann = in_current(BaseSession._hann)
kaiser = in_current(BaseSession._kaiser)
nuttall = in_current(BaseSession._nuttall)
