"""Factors (``alpha`` of ``add``, ``value`` of ``addcmul``) that are tensors without dimensions: a rate that changes, say.

PyTorch reads the number that such a tensor holds. Here what it scales is multiplied by it, which reads nothing: a step is recorded
and traced with it, and needs no other trace for another rate.
"""

from __future__ import annotations

from typing import Any

from telegrad.contract.base import TensorBase, stands_for_number


def scaled(x: Any, factor: Any) -> Any:
    """``factor * x`` where ``factor`` is a tensor that stands for a number, and that does not lift the type of ``x``; else None."""
    if not isinstance(factor, TensorBase) or not isinstance(x, TensorBase) or not stands_for_number(factor):
        return None
    own: Any = x
    number: Any = factor
    if not 0 < number.dtype.category <= own.dtype.category:
        return None  # refused by the op itself, in PyTorch's words
    return own.mul(number)
