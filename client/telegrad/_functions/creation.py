"""Functions that make tensors, in the current session; without one, in a local session of this process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from telegrad._current import current
from telegrad._free import free
from telegrad.contract.dtypes import DTypeLike
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "arange",
    "as_tensor",
    "bernoulli",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "manual_seed",
    "normal",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "zeros",
    "zeros_like",
]


def _in_current(method: Callable[Concatenate[Any, P], R]) -> Callable[P, R]:
    """``method`` of the current session as a function, with the same arguments."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(current(), *args, **kwargs)

    call.__qualname__ = method.__name__
    return call


arange = _in_current(BaseSession.arange)
as_tensor = _in_current(BaseSession.as_tensor)
bernoulli = free(Tensor.bernoulli)
empty = _in_current(BaseSession.empty)
empty_like = free(Tensor.empty_like)
eye = _in_current(BaseSession.eye)
from_numpy = _in_current(BaseSession.from_numpy)
full = _in_current(BaseSession.full)
full_like = free(Tensor.full_like)
linspace = _in_current(BaseSession.linspace)
logspace = _in_current(BaseSession.logspace)
normal = _in_current(BaseSession.normal)
ones = _in_current(BaseSession.ones)
ones_like = free(Tensor.ones_like)
rand = _in_current(BaseSession.rand)
rand_like = free(Tensor.rand_like)
randint_like = free(Tensor.randint_like)
randn = _in_current(BaseSession.randn)
randn_like = free(Tensor.randn_like)
randperm = _in_current(BaseSession.randperm)
tensor = _in_current(BaseSession.tensor)
zeros = _in_current(BaseSession.zeros)
zeros_like = free(Tensor.zeros_like)


@overload
def randint(high: int, size: Sequence[int], /, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor: ...
@overload
def randint(low: int, high: int, size: Sequence[int], *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor: ...
def randint(
    low: int = 0, high: Any = None, size: Any = None, *, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Integers drawn evenly: ``randint(high, size)`` from 0, ``randint(low, high, size)`` from ``low``, without ``high``."""
    return current().randint(low, high, size, dtype=dtype, requires_grad=requires_grad)


def manual_seed(seed: int) -> BaseSession:
    """Restart the current session's random generator, and return the session."""
    return current().manual_seed(seed)
