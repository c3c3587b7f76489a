"""What a run changes in its session besides arrays: write counters, gradients, answers, the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from telegrad_service.compiler.ir import Value

TENSOR: Final = "tensor"  # one that the program was given
GRADIENT: Final = "gradient"  # the gradient that such a one had before the run
NEW: Final = "new"  # one that the run makes


@dataclass(eq=False, slots=True)
class Symbol:
    """What stands for a tensor when another run has other ones.

    Attributes:
        kind: ``TENSOR``, ``GRADIENT`` or ``NEW``.
        index: position among what the program was given; of a new one, a number of its own.
        value: its array.
        version: of a new one, what its write counter says at the end.
        base: of a new one that is a view, the tensor whose memory it shares; ``view`` is then its path and whether history was
            recorded when it was made.
    """

    kind: str
    index: int
    value: Any = None
    version: int = 0
    base: Symbol | None = None
    view: Any = None


class Effect:
    """A change of the session."""

    def values(self) -> Sequence[Value]:
        """The arrays that it needs."""
        return ()


@dataclass(eq=False, slots=True)
class Bump(Effect):
    """The storage of a tensor that was there before was written to, ``count`` times."""

    symbol: Symbol
    count: int


@dataclass(eq=False, slots=True)
class Gradient(Effect):
    """The gradient of the tensor at ``index`` is another one, or None."""

    index: int
    symbol: Symbol | None

    def values(self) -> Sequence[Value]:
        """The gradient's array."""
        return () if self.symbol is None or self.symbol.kind != NEW else (self.symbol.value,)


@dataclass(eq=False, slots=True)
class Act(Effect):
    """Anything else, done by a function of the session.

    Attributes:
        do: ``do(state, *arrays)``, or ``do(state, tensor, *arrays)``; ``state`` is what the session hands to the run.
        takes: the arrays.
        symbol: the tensor, or None.
        takes_symbol: whether it gets the tensor.
    """

    do: Callable[..., None]
    takes: tuple[Value, ...] = field(default=())
    symbol: Symbol | None = None
    takes_symbol: bool = False

    def values(self) -> Sequence[Value]:
        """The arrays that it needs."""
        return self.takes
