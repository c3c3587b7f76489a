"""``out=``: the result of a function written into a tensor that is there already, one rule for all functions that take it.

It is the function and then a write in place, so it is the same in this process and on a server.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from telegrad.contract.dtypes import can_cast
from telegrad.contract.errors import ArgumentTypeError, AutogradError, DTypeError
from telegrad.contract.modes import is_grad_enabled, no_grad
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import warn_user

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Out: TypeAlias = Literal["casts", "joins", "same", "own"]
"""Which element types a result is written to: ``casts``: all that it may be converted to in place, and ``joins``, where PyTorch
calls others a TypeError; ``same``: its own only; ``own``: the function computes in the type of ``out`` unless it is told otherwise,
as those do that make tensors from nothing."""

CASTS: Final = "casts"
JOINS: Final = "joins"
SAME: Final = "same"
OWN: Final = "own"


class TakesOut(Protocol[P, R_co]):
    """A function that also takes ``out``."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, out: Any, **kwargs: Any) -> Any: ...


def takes_out(types: Out) -> Callable[[Callable[P, R]], TakesOut[P, R]]:
    """A decorator: the function takes ``out``, a tensor or, for several results, a tuple of them, and returns it.

    A tensor of another shape is given the result's, with a warning unless it was empty. Raises ArgumentTypeError for what is no
    tensor, AutogradError where anything requires grad and gradients are recorded, DTypeError where the result cannot be written to
    the type of ``out``.
    """

    def decorate(function: Callable[P, R]) -> TakesOut[P, R]:
        name = getattr(function, "__name__", "function").lstrip("_")

        @functools.wraps(function)
        def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
            return function(*args, **kwargs) if out is None else written(name, function, args, kwargs, out, types)

        return cast("TakesOut[P, R]", call)

    return decorate


def written(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, types: Out) -> Any:
    """Call ``function``, write what it gives into ``out``, and return that; see ``takes_out``."""
    several = isinstance(out, (tuple, list))
    targets: tuple[Any, ...] = tuple(cast("Any", out)) if several else (out,)
    for target in targets:
        if not isinstance(target, Tensor):
            raise ArgumentTypeError(f"{name}(): argument 'out' must be Tensor, not {type(target).__name__}")
    if is_grad_enabled() and any(x.requires_grad for x in _tensors((args, tuple(kwargs.values()), targets))):
        raise AutogradError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
            "requires grad."
        )
    if types == OWN and kwargs.get("dtype") is None:
        kwargs = {**kwargs, "dtype": targets[0].dtype}
    with no_grad():
        made: Any = function(*args, **kwargs)
        results: tuple[Any, ...] = tuple(made) if isinstance(made, tuple) else (made,)
        if isinstance(made, tuple) != several or len(results) != len(targets):
            wanted = f"tuple of {len(results)} Tensors" if isinstance(made, tuple) else "Tensor"
            given = f"{len(targets)} in a {type(out).__name__}" if several else "Tensor"
            raise ArgumentTypeError(f"{name}(): argument 'out' must be {wanted}, not {given}")
        for result, target in zip(results, targets, strict=True):
            _check_type(result, target, types)
        for result, target in zip(results, targets, strict=True):
            _write(result, target, any(result is x for x in _tensors(args)))
    if not isinstance(made, tuple):
        return out
    return type(made)(*targets) if hasattr(made, "_fields") else targets  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _tensors(given: Any) -> Iterator[Any]:
    """All tensors in nested tuples and lists."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (tuple, list)):
        for one in cast("Any", given):
            yield from _tensors(one)


def _check_type(result: Any, target: Any, types: Out) -> None:
    if result.dtype is target.dtype:
        return
    if types in (SAME, OWN):
        raise DTypeError(f"Expected out tensor to have dtype {result.dtype.name}, but got {target.dtype.name} instead")
    if not can_cast(result.dtype, target.dtype):
        if types == JOINS:
            raise ArgumentTypeError(f"input types can't be cast to the desired output type {target.dtype.name}")
        raise DTypeError(f"result type {result.dtype.name} can't be cast to the desired output type {target.dtype.name}")


def _write(result: Any, target: Any, given: bool) -> None:
    if result.shape == target.shape:
        target.copy_(result)
        return
    if target.numel():
        warn_user(
            f"An output with one or more elements was resized since it had shape {list(target.shape)}, which does not match the "
            f"required output shape {list(result.shape)}. This behavior is deprecated: give an out tensor of that shape, or an "
            "empty one."
        )
    fresh = result.to(target.dtype)
    target.data = fresh.clone() if given and fresh is result else fresh
    target._was_turned()
