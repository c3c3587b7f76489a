"""Family index."""

from __future__ import annotations

from telegrad.contract.tensor.base import TensorBase


class IndexOps(TensorBase):
    """Ops of the family."""

    __slots__ = ()
