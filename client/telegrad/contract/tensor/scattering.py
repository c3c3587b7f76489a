"""Writing and reducing into places that an index names: ``put``, ``scatter_reduce``, ``index_reduce``."""

from __future__ import annotations

from typing import Any, Self

from telegrad.contract import scattering_rules as rules
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import integer
from telegrad.contract.tensor.base import TensorBase


class ScatteringOps(TensorBase):
    """Several entries may meet at one place; ``reduce`` says what becomes of them."""

    __slots__ = ()

    @op(rules.put, differentiable=("self", "source"), inplace=True)
    def put(self, index: Self, source: Self, accumulate: bool = False) -> Self:
        """A copy with the elements of ``source`` written, or with ``accumulate`` added, where ``index`` says in the flat tensor.

        Shapes: [...], [...], as many elements as index's -> [...]. Gradient: g, zero where written; g taken at the places.
        Raises: IndexBoundsError, also for another number of elements than of places; DTypeError.
        """
        return self._apply("put", self, index, source, accumulate=flag(accumulate, "accumulate"))

    def put_(self, index: Self, source: Self, accumulate: bool = False) -> Self:
        """``put`` in place."""
        return self._apply("put_", self, index, source, accumulate=flag(accumulate, "accumulate"))

    @op(rules.scatter_reduce, differentiable=("self", "src"), inplace=True)
    def scatter_reduce(self, dim: int, index: Self, src: Self, reduce: str, *, include_self: bool = True) -> Self:
        """``src`` reduced into the places along ``dim`` that ``index`` names, as ``scatter_add`` sums.

        ``reduce`` is "sum", "prod", "mean", "amax" or "amin"; without ``include_self`` the places' own values do not count.
        Shapes: [...], [...], at least index's -> [...]. Gradient: of ties, shared evenly; right also where factors are zero.
        Raises: ShapeError, DTypeError, UnsupportedDTypeError.
        """
        return self._apply("scatter_reduce", self, index, src, **_how(dim, reduce, include_self, "scatter_reduce"))

    def scatter_reduce_(self, dim: int, index: Self, src: Self, reduce: str, *, include_self: bool = True) -> Self:
        """``scatter_reduce`` in place."""
        return self._apply("scatter_reduce_", self, index, src, **_how(dim, reduce, include_self, "scatter_reduce_"))

    @op(rules.index_reduce, differentiable=("self", "source"), inplace=True)
    def index_reduce(self, dim: int, index: Self, source: Self, reduce: str, *, include_self: bool = True) -> Self:
        """The slices of ``source`` reduced into those along ``dim`` that the 1-d ``index`` names.

        ``reduce`` is "prod", "mean", "amax" or "amin"; without ``include_self`` the places' own values do not count.
        Shapes: [..., n, ...], [k], [..., k, ...] -> [..., n, ...]. Gradient: of ties, shared evenly; right also where factors are
        zero. Raises: ShapeError, DTypeError, IndexBoundsError, UnsupportedDTypeError.
        """
        return self._apply("index_reduce", self, index, source, **_how(dim, reduce, include_self, "index_reduce"))

    def index_reduce_(self, dim: int, index: Self, source: Self, reduce: str, *, include_self: bool = True) -> Self:
        """``index_reduce`` in place."""
        return self._apply("index_reduce_", self, index, source, **_how(dim, reduce, include_self, "index_reduce_"))


def _how(dim: Any, reduce: Any, include_self: Any, name: str) -> dict[str, Any]:
    if not isinstance(reduce, str):
        raise ArgumentTypeError(f"{name}(): argument 'reduce' must be str, not {type(reduce).__name__}")
    return {"dim": integer(dim, "dim"), "reduce": reduce, "include_self": flag(include_self, "include_self")}
