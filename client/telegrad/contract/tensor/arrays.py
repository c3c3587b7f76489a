"""What may stand beside a tensor in an operator; a numpy array on its right, where PyTorch takes one: ``tensor + array``.

PyTorch leaves it to numpy, which sees both as arrays and promotes by its own rules; the result is a tensor without history. So
an array meets no tensor that requires grad, and on the left of one it is refused but by ``/`` and ``==``: make a tensor of it.
``<`` and its like take none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from telegrad.contract.base import TensorBase
from telegrad.contract.dtypes import as_dtype
from telegrad.contract.errors import ArgumentTypeError, AutogradError
from telegrad.contract.modes import is_grad_enabled

ARRAY: Final[Any] = np.ndarray
"""What operators look for."""

OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    name: getattr(operator, name)
    for name in (
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
        *("and_", "or_", "xor", "lshift", "rshift", "eq", "ne"),
    )
}
"""The operators that take an array on their right."""


def is_operand(other: object) -> bool:
    """Whether ``other`` is a tensor, a number or an array; an array that does not do is refused by name."""
    return isinstance(other, (TensorBase, bool, int, float, complex, np.generic, np.ndarray))


def deferred(error: ArgumentTypeError, other: object) -> Any:
    """What an operator that raised ``error`` answers: NotImplemented where ``other`` is no operand, so that Python asks it.

    Of an operand the error is raised again. PyTorch does so for every TypeError of an operator. Source: torch/_tensor.py,
    ``_handle_torch_function_and_wrap_type_error_to_not_implemented``.
    """
    if is_operand(other):
        raise error
    return NotImplemented


def with_array(name: str, x: Any, array: Any) -> Any:
    """``operator.name(x, array)``. Raises AutogradError for a tensor that requires grad, outside of ``no_grad``."""
    if is_grad_enabled() and x.requires_grad:
        raise AutogradError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead; or make a tensor of the array "
            "to have the gradient"
        )
    kind = np.result_type(x.dtype.numpy, array.dtype)
    if name == "truediv" and kind.kind in "biu":
        kind = np.dtype(np.float64)
    other = x.session.tensor(array)
    if kind != x.dtype.numpy:
        x = x.to(as_dtype(kind))
    if kind != array.dtype:
        other = other.to(as_dtype(kind))
    return OPERATORS[name](x, other)
