"""Functions that make tensors, in the current session; without one, in a local session of this process."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from typing import Any, overload

from telegrad._current import current, in_current
from telegrad.contract.dtypes import DTypeLike
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.functions.free import free
from telegrad.contract.functions.out import CASTS, OWN, takes_out
from telegrad.contract.generator import Draws, drawing
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "bernoulli",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "get_rng_state",
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
    "scalar_tensor",
    "seed",
    "set_rng_state",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]


arange = takes_out(OWN)(in_current(BaseSession.arange))
as_tensor = in_current(BaseSession.as_tensor)
asarray = in_current(BaseSession.asarray)
bernoulli = free(Tensor.bernoulli, out=CASTS)
empty = takes_out(OWN)(in_current(BaseSession.empty))
empty_like = free(Tensor.empty_like)
eye = takes_out(OWN)(in_current(BaseSession.eye))
from_numpy = in_current(BaseSession.from_numpy)
full = takes_out(OWN)(in_current(BaseSession.full))
full_like = free(Tensor.full_like)
linspace = takes_out(OWN)(in_current(BaseSession.linspace))
logspace = takes_out(OWN)(in_current(BaseSession.logspace))
ones = takes_out(OWN)(in_current(BaseSession.ones))
ones_like = free(Tensor.ones_like)
rand = takes_out(OWN)(in_current(BaseSession.rand))
rand_like = free(Tensor.rand_like)
randint_like = free(Tensor.randint_like)
randn = takes_out(OWN)(in_current(BaseSession.randn))
randn_like = free(Tensor.randn_like)
randperm = takes_out(OWN)(in_current(BaseSession.randperm))
scalar_tensor = in_current(BaseSession.scalar_tensor)
tensor = in_current(BaseSession.tensor)
tril_indices = in_current(BaseSession.tril_indices)
triu_indices = in_current(BaseSession.triu_indices)
zeros = takes_out(OWN)(in_current(BaseSession.zeros))
zeros_like = free(Tensor.zeros_like)


def _normal_like(mean: Any, std: Any) -> Tensor:
    home = mean if isinstance(mean, Tensor) else std
    return home._apply("normal.Tensor", mean, std)  # type: ignore[no-any-return]


@overload
def randint(
    high: int, size: Sequence[int], /, *, dtype: DTypeLike | None = None, requires_grad: bool = False, **extra: Any
) -> Tensor: ...
@overload
def randint(
    low: int, high: int, size: Sequence[int], *, dtype: DTypeLike | None = None, requires_grad: bool = False, **extra: Any
) -> Tensor: ...
@takes_out(OWN)
def randint(
    low: int = 0, high: Any = None, size: Any = None, *, dtype: DTypeLike | None = None, requires_grad: bool = False, **extra: Any
) -> Tensor:
    """Integers drawn evenly: ``randint(high, size)`` from 0, ``randint(low, high, size)`` from ``low``, without ``high``."""
    return current().randint(low, high, size, dtype=dtype, requires_grad=requires_grad, **extra)


_normal = takes_out(OWN)(in_current(BaseSession.normal))
_normal_of = takes_out(CASTS)(_normal_like)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    generator: Draws | None = None,
    **extra: Any,
) -> Tensor:
    """Drawn from the normal distribution: as many as ``size`` says, or one for each element of ``mean`` or ``std``, or both."""
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        if size is not None or dtype is not None or requires_grad or extra:
            raise ArgumentTypeError("normal() of tensors takes their shape and type, and of other arguments generator and out only")
        with contextlib.nullcontext() if generator is None else drawing("normal", generator, (mean, std), {}):
            made: Tensor = _normal_of(mean, std, out=out)
        return made
    if size is None:
        raise ArgumentTypeError("normal() of numbers needs a size: normal(0.0, 1.0, (2, 3))")
    drawn: Tensor = _normal(mean, std, size, dtype=dtype, requires_grad=requires_grad, out=out, generator=generator, **extra)
    return drawn


def seed() -> int:
    """Restart the current session's random generator with a seed that nobody can know beforehand, and return it."""
    chosen = secrets.randbits(64)
    manual_seed(chosen)
    return chosen


def manual_seed(seed: int) -> BaseSession:
    """Restart the current session's random generator, and return the session."""
    return current().manual_seed(seed)


def get_rng_state() -> Tensor:
    """The state of the current session's random generator: bytes (37, uint8) for ``set_rng_state``."""
    return current().get_rng_state()


def set_rng_state(new_state: Tensor) -> None:
    """Draw again what was drawn after ``get_rng_state`` gave this. Raises ArgumentValueError for anything else."""
    new_state.session.set_rng_state(new_state)
