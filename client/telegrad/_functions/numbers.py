"""Numbers taken apart and put together, distances and random choices, as free functions."""

# pyright: reportPrivateUsage=false
# `complex` and `polar` are no methods of a tensor, as in PyTorch.

from __future__ import annotations

from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, SAME
from telegrad.contract.tensor.tensor import Tensor

__all__ = ["complex", "dist", "frexp", "ldexp", "multinomial", "polar", "rsub"]

complex = free(Tensor._complex, "real", out=CASTS)  # noqa: A001 - PyTorch's name
dist = free(Tensor.dist)
frexp = free(Tensor.frexp, out=SAME)
ldexp = free(Tensor.ldexp, out=CASTS)
multinomial = free(Tensor.multinomial, out=SAME)
polar = free(Tensor._polar, "abs", out=CASTS)


def rsub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """``other - alpha * input``.

    Shapes: [...], [...] -> broadcast; ``other`` may be a number. Raises: ArgumentTypeError where ``input`` is no tensor; DTypeError
    for bool.
    """
    if not isinstance(input, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"rsub(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input._apply("rsub", input, other, alpha=alpha)  # type: ignore[no-any-return]
