"""``telegrad.nn.functional``: activations, losses, normalisation, as in ``torch.nn.functional``."""

from __future__ import annotations

from telegrad.contract.functions.nn import *
