"""Random numbers apart from a session's own: what ``generator=`` takes. Users have ``telegrad.Generator``."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, Self

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.placement import CPU, Device, check_device

DEFAULT_SEED: Final = 67280421310721
"""PyTorch's for new generators."""


def seed_of(value: Any) -> int:
    """A seed in 64 bits with sign; those without that PyTorch takes as well stand for the same bits.

    Raises ArgumentTypeError for what is no integer, and ArgumentValueError beyond 64 bits.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(f"seed must be int, not {type(value).__name__}")
    seed: int = value.__index__()
    if not -(2**63) <= seed < 2**64:
        raise ArgumentValueError("Overflow when unpacking long long: a seed lies in [-2**63, 2**64)")
    return seed - 2**64 if seed >= 2**63 else seed


class Draws:
    """A state of random numbers that a session draws from for a while.

    It is a tensor of the session that was drawn in last, so that nothing is read or waited for. Another session starts with the
    seed, or with a state of its own; it refuses a tensor that is not its own.
    """

    __slots__ = ("_seed", "_state")

    def __init__(self, device: Any = "cpu") -> None:
        check_device("Generator", device)
        self._seed = DEFAULT_SEED
        self._state: Any = None

    @property
    def device(self) -> Device:
        """``device("cpu")``."""
        return CPU

    def manual_seed(self, seed: int) -> Self:
        """Start anew with ``seed``, in [-2**63, 2**64)."""
        self._seed, self._state = seed_of(seed) % 2**64, None
        return self

    def initial_seed(self) -> int:
        """The seed that was started with last."""
        return self._seed

    def set_state(self, new_state: Any) -> Self:
        """Draw again what was drawn after ``get_state`` gave this."""
        self._state = new_state
        return self

    @contextlib.contextmanager
    def drawn_by(self, session: Any) -> Generator[None]:
        """Let the session draw from here, and go on with its own numbers afterwards."""
        outer = session.get_rng_state()
        if self._state is None:
            session.manual_seed(self._seed)
        else:
            session.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = session.get_rng_state()
            session.set_rng_state(outer)


def drawing(
    function: str, generator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> contextlib.AbstractContextManager[None]:
    """Let the session of ``args`` draw from ``generator``: one of them is a session or a tensor of it. Raises ArgumentTypeError."""
    if not isinstance(generator, Draws):
        raise ArgumentTypeError(f"{function}(): argument 'generator' must be telegrad.Generator, not {type(generator).__name__}")
    homes = [getattr(x, "session", x) for x in (*args, *kwargs.values())]
    return generator.drawn_by(next(home for home in homes if hasattr(home, "get_rng_state")))
