"""The one way out of every op, as the families import it. It stands outside this package so that rules need no tower."""

from __future__ import annotations

from telegrad.contract.base import Applies, TensorBase

__all__ = ["Applies", "TensorBase"]
