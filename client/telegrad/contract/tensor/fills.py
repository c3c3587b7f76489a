"""Methods that fill a tensor in place: with draws of a distribution, or along its diagonal."""

from __future__ import annotations

import math
from typing import Any, Self

from telegrad.contract.dtypes import Number
from telegrad.contract.errors import DTypeError, ShapeError
from telegrad.contract.shapes import integer, real_number
from telegrad.contract.tensor.base import TensorBase


class Fills(TensorBase):
    """Fills in place. The draws are the session's; history of what was there before ends."""

    __slots__ = ()

    def bernoulli_(self, p: Self | float = 0.5) -> Self:
        """Fill with 1 with probability ``p``, else 0; ``p`` may be a tensor that broadcasts.

        Raises ShapeError for a number outside of [0, 1].
        """
        x: Any = self
        if isinstance(p, TensorBase):
            given: Any = p
            return x.copy_(given.detach().expand(x.shape).bernoulli())
        if not 0 <= real_number(p, "p") <= 1:
            raise ShapeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        return x.copy_(_uniform(x) < p)

    def exponential_(self, lambd: float = 1) -> Self:
        """Fill with draws from the exponential distribution of rate ``lambd``. Raises ShapeError unless that is positive."""
        x = _continuous("Exponential", self)
        if lambd <= 0:
            raise ShapeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
        return x.copy_(-(-_uniform(x)).log1p() / lambd)

    def cauchy_(self, median: float = 0, sigma: float = 1) -> Self:
        """Fill with draws from the Cauchy distribution. Raises ShapeError unless ``sigma`` is positive."""
        x = _continuous("Cauchy", self)
        if sigma <= 0:
            raise ShapeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
        return x.copy_(median + sigma * (math.pi * (_uniform(x) - 0.5)).tan())

    def log_normal_(self, mean: float = 1, std: float = 2) -> Self:
        """Fill with exponentials of normal draws with ``mean`` and ``std``. Raises ShapeError unless ``std`` is positive."""
        x = _continuous("Log normal", self)
        if std <= 0:
            raise ShapeError(f"log_normal_ expects std > 0.0, but found std={std}")
        return x.copy_((x.detach().randn_like() * std + mean).exp())

    def geometric_(self, p: float) -> Self:
        """Fill with how many trials of probability ``p`` the first success takes. Raises ShapeError unless 0 < p < 1."""
        x: Any = self
        if not 0 < p < 1:
            raise ShapeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
        return x.copy_(((-_uniform(x)).log1p() / math.log1p(-p)).ceil().clamp(min=1))

    def random_(self, from_: int = 0, to: int | None = None) -> Self:
        """Fill with whole numbers of [from_, to), or of [0, from_) where one number is given, all as likely.

        Without numbers, up to what the type holds exactly. Raises ShapeError where there is none between them.
        """
        x: Any = self
        low, high = integer(from_, "from"), None if to is None else integer(to, "to")
        if high is None:
            low, high = (0, low) if low else (low, _MOST.get(x.dtype.name, 2**63 - 1))
        if low >= high:
            raise ShapeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        return x.copy_(x.detach().randint_like(low, high, dtype="int64"))

    def fill_diagonal_(self, fill_value: Number, wrap: bool = False) -> Self:
        """Write a number where all indices are the same; with ``wrap`` again and again below, in a matrix taller than wide.

        Raises ShapeError for fewer than two dimensions, and for sizes that differ where there are more than two.
        """
        x: Any = self
        shape = x.shape
        if len(shape) < 2:
            raise ShapeError("dimensions must larger than 1")
        if len(shape) > 2 and len(set(shape)) > 1:
            raise ShapeError("all dimensions of input must be of equal length")
        if len(shape) > 2:
            while x.dim() > 1:
                x = x.diagonal(0, 0, 1)
            x.fill_(fill_value)
            return self
        columns = shape[1]
        for row in range(0, shape[0] if wrap and columns else min(shape), columns + 1 if columns else 1):
            x[row : row + columns].diagonal().fill_(fill_value)
        return self

    def narrow_copy(self, dim: int, start: int, length: int) -> Self:
        """A copy of what ``narrow`` gives a view of."""
        x: Any = self
        return x.narrow(dim, start, length).clone()

    def prelu(self, weight: Self) -> Self:
        """See ``nn.functional.prelu``."""
        from telegrad.contract.functions.nn import prelu  # it needs the tower

        x: Any = self
        return prelu(x, weight)


_MOST = {
    "float16": 2**11 + 1,
    "float32": 2**24 + 1,
    "float64": 2**53 + 1,
    "bool": 2,
    "uint8": 2**8,
    "uint16": 2**16,
    "uint32": 2**32,
    "int8": 2**7,
    "int16": 2**15,
    "int32": 2**31,
    "int64": 2**63 - 1,
}
"""One more than the largest whole number that ``random_`` draws, by the name of the type."""


def _uniform(x: Any) -> Any:
    """Draws of [0, 1) in the shape of ``x``, in its type or, where that is none of real numbers, in float64."""
    plain = x.detach()
    return (plain if plain.dtype.is_floating_point else plain.double()).rand_like()


def _continuous(name: str, x: Any) -> Any:
    if not x.dtype.is_floating_point:
        raise DTypeError(
            f"{name} distribution is a continuous probability distribution. dtype must be a floating point but you specified "
            f"{x.dtype.name}"
        )
    return x
