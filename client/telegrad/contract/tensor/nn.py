"""Family nn."""

from __future__ import annotations

from telegrad.contract.tensor.base import TensorBase


class NNOps(TensorBase):
    """Ops of the family."""

    __slots__ = ()
