"""Family linalg."""

from __future__ import annotations

from telegrad.contract.tensor.base import TensorBase


class LinalgOps(TensorBase):
    """Ops of the family."""

    __slots__ = ()
