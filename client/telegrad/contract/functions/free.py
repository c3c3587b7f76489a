"""Free functions out of methods: ``exp = free(TensorOps.exp)`` gives ``telegrad.exp(x)``, with PyTorch's ``input=`` spelling."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, overload

from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.out import Out, TakesOut, written
from telegrad.contract.tensor.base import TensorBase

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NUMBERS: Final = (bool, int, float, complex)

_NUMPY_INPUTS: Final = ("x", "a", "x1")
"""Numpy's names of the first tensor, which PyTorch takes for ``input``; as ``x2`` for ``other``."""


def require_tensor(value: T, name: str) -> T:
    """``value`` if it is a tensor; raises ArgumentTypeError naming the function."""
    if not isinstance(value, TensorBase):
        raise ArgumentTypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(value).__name__}")
    return value


@overload
def free(method: Callable[P, R], first: str = "input") -> Callable[P, R]: ...
@overload
def free(
    method: Callable[P, R], first: str = "input", *, out: Out, number_first: Callable[..., Any] | None = None
) -> TakesOut[P, R]: ...
def free(
    method: Callable[P, R], first: str = "input", *, out: Out | None = None, number_first: Callable[..., Any] | None = None
) -> Any:
    """``method`` as a function whose first argument is the tensor, by position or as ``input=`` (or as ``first=``, or numpy's).

    With ``out`` it also takes an argument of that name, see ``takes_out``. ``number_first`` is what is called instead where a
    number comes first and another operand second. Raises ArgumentTypeError where the first argument is no tensor otherwise.
    """
    name = getattr(method, "__name__", "function").lstrip("_")
    takes_other = "other" in inspect.unwrap(method).__code__.co_varnames

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if out is not None and "out" in kwargs:
            target = kwargs.pop("out")
            if target is not None:
                return written(name, call, args, kwargs, target, out)
        if not args:
            given = next((n for n in ("input", first, *_NUMPY_INPUTS) if n in kwargs), None)
            if given is None:
                raise ArgumentTypeError(f"{name}() missing 1 required argument: '{first}'")
            args = (kwargs.pop(given),)
        if takes_other and "x2" in kwargs and "other" not in kwargs:
            kwargs["other"] = kwargs.pop("x2")
        if number_first is not None and isinstance(args[0], _NUMBERS):
            operands = args if args[1:] or "other" not in kwargs else (*args, kwargs.pop("other"))
            if operands[1:]:
                return number_first(*operands, **kwargs)
        require_tensor(args[0], name)
        return method(*args, **kwargs)

    call.__qualname__ = name
    return call


def takes_input(function: Callable[P, R], also: str = "input") -> Callable[P, R]:
    """``function``, whose first argument has a name of its own, and may be given under another name too."""
    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not args and also in kwargs and first not in kwargs:
            args = (kwargs.pop(also),)
        return function(*args, **kwargs)

    return call


def op_of_number(name: str) -> Callable[..., Any]:
    """``number_first`` of an op that takes a number in place of its first tensor: ``sub(1, x)``."""
    return lambda number, x, **parameters: _beside(number, x, name)._apply(name, number, x, **parameters)


def swapped(method: str) -> Callable[..., Any]:
    """``number_first`` of what does not mind the order: ``mul(2, x)`` is ``x.mul(2)``."""
    return lambda number, x: getattr(_beside(number, x, method), method)(number)


def _beside(number: Any, x: Any, name: str) -> Any:
    """``x`` if it is a tensor; otherwise there is none, and the first argument should have been one."""
    return x if isinstance(x, TensorBase) else require_tensor(number, name)
