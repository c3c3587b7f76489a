"""Copies and complex parts as free functions."""

from __future__ import annotations

from typing import TypeVar

from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.out import CASTS
from telegrad.contract.tensor import TensorOps
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=TensorOps)

__all__ = ["angle", "clone", "conj", "fill", "imag", "real"]

angle = free(Tensor.angle, out=CASTS)
clone = free(Tensor.clone)
conj = free(Tensor.conj)
fill = free(Tensor.fill)


def real(input: T) -> T:
    """Real part, sharing memory; a real tensor itself."""
    return require_tensor(input, "real").real


def imag(input: T) -> T:
    """Imaginary part, sharing memory. Raises DTypeError for real types."""
    return require_tensor(input, "imag").imag
