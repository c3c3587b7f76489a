"""Gamma, Bessel and error functions as free functions; those that PyTorch has under this name too."""

from __future__ import annotations

from typing import TypeVar

from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.out import CASTS, takes_out
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=Tensor)

__all__ = ["digamma", "erfinv", "i0", "igamma", "igammac", "lgamma", "mvlgamma", "polygamma"]

digamma = free(Tensor.digamma, out=CASTS)
erfinv = free(Tensor.erfinv, out=CASTS)
i0 = free(Tensor.i0, out=CASTS)
igamma = free(Tensor.igamma, out=CASTS)
igammac = free(Tensor.igammac, out=CASTS)
lgamma = free(Tensor.lgamma, out=CASTS)
mvlgamma = free(Tensor.mvlgamma, out=CASTS)


@takes_out(CASTS)
def polygamma(n: int, input: T) -> T:
    """Derivative number ``n`` of ``digamma`` at ``input``. See ``Tensor.polygamma``."""
    if isinstance(n, TensorBase):
        raise ArgumentTypeError(f"polygamma(): argument 'n' (position 1) must be int, not {type(n).__name__}")
    return require_tensor(input, "polygamma").polygamma(n)
