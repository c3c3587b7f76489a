"""Family shape."""

from __future__ import annotations

from telegrad.contract.tensor.base import TensorBase


class ShapeOps(TensorBase):
    """Ops of the family."""

    __slots__ = ()
