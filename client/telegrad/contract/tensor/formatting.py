"""How a tensor prints: PyTorch's layout, ``tensor([1., 2.], grad_fn=<AddBackward0>)``."""

from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from telegrad.contract.tensor.tensor import Tensor

def repr_tensor(tensor: Tensor) -> str:
    """x"""
    return f"tensor({tensor.tolist()})"

def html_tensor(tensor: Tensor) -> str:
    """x"""
    return ""
