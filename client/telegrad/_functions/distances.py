"""Distances and norms of slices as free functions."""

# pyright: reportPrivateUsage=false
# A tensor has no method ``cdist``, as in PyTorch.

from __future__ import annotations

from typing import TypeVar

from telegrad.contract.errors import ArgumentValueError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.out import SAME
from telegrad.contract.tensor.sampling import DISTANCE_MODES
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["cdist", "renorm"]

T = TypeVar("T", bound=Tensor)

renorm = free(Tensor.renorm, out=SAME)


def cdist(x1: T, x2: T, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> T:
    """Distance by the ``p``-norm between each row of ``x1`` and each row of ``x2``; see ``Tensor._cdist``.

    ``compute_mode`` is checked and makes no difference: differences are always taken first, which loses no digits.
    """
    if compute_mode not in DISTANCE_MODES:
        raise ArgumentValueError(f"{compute_mode} is not a valid value for compute_mode")
    return require_tensor(x1, "cdist")._cdist(require_tensor(x2, "cdist"), p)
