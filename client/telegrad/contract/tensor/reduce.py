"""Sums, means, extremes and other ops that take dimensions away, and running sums."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Self, TypeVar, overload

import numpy as np

from telegrad.contract import notices
from telegrad.contract import reduce_rules as rules
from telegrad.contract.dtypes import DType, DTypeLike, Number, as_dtype
from telegrad.contract.errors import ArgumentTypeError, DimensionError
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag, sum_type
from telegrad.contract.shapes import integer, ints, optional_ints, same
from telegrad.contract.tensor.base import TensorBase

T = TypeVar("T")

NOT_SMOOTH = "its result is an integer or a bool"


class ValuesIndices(NamedTuple, Generic[T]):
    """What ``max(dim)``, ``min(dim)``, ``cummax`` and their like return."""

    values: T
    indices: T


class MinMax(NamedTuple, Generic[T]):
    """What ``aminmax`` returns."""

    min: T
    max: T


def optional_dtype(dtype: DTypeLike | None) -> DType | None:
    """The DType, or None."""
    return None if dtype is None else as_dtype(dtype)


def optional_integer(value: Any, name: str) -> int | None:
    """A Python int, or None."""
    return None if value is None else integer(value, name)


class ReduceOps(TensorBase):
    """Reductions. ``dim`` is an int, a tuple or None for all dimensions; ``keepdim`` keeps them with size 1."""

    __slots__ = ()

    # Sums and moments --------------------------------------------------------------------------------------------------------

    @op(rules.reduction(sum_type))
    def sum(self, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Self:
        """Sum over ``dim``.

        Shapes: [..., n, ...] -> [...]. dtype: integers sum in int64. Gradient: g, expanded.
        """
        if dim is None and keepdim is False and dtype is None:
            return self._apply("sum", self)
        return self._apply(
            "sum", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"), dtype=optional_dtype(dtype)
        )

    @op(rules.reduction(rules.nansum_type))
    def nansum(self, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Self:
        """Sum over ``dim``, NaN counted as zero.

        Shapes: [..., n, ...] -> [...]. dtype: integers sum in int64. Gradient: g, expanded; 0 where the input is NaN.
        """
        return self._apply(
            "nansum", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"), dtype=optional_dtype(dtype)
        )

    @op(rules.reduction(rules.mean_type))
    def mean(self, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Self:
        """Mean over ``dim``.

        Shapes: [..., n, ...] -> [...]. Gradient: g / n, expanded. Raises: DTypeError for integers without ``dtype``.
        """
        if dim is None and keepdim is False and dtype is None:
            return self._apply("mean", self)
        return self._apply(
            "mean", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"), dtype=optional_dtype(dtype)
        )

    @op(rules.reduction(sum_type))
    def prod(self, dim: int | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Self:
        """Product over one dimension, or of all elements.

        Shapes: [..., n, ...] -> [...]. dtype: integers multiply in int64. Gradient: g times the product of the other elements,
        right also where elements are zero.
        """
        return self._apply(
            "prod", self, dim=optional_integer(dim, "dim"), keepdim=flag(keepdim, "keepdim"), dtype=optional_dtype(dtype)
        )

    @op(rules.spread)
    def var(
        self,
        dim: int | Sequence[int] | None = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: Number | None = None,
    ) -> Self:
        """Variance over ``dim``: squared distances from the mean, summed, over n - correction.

        ``correction`` is 1 by default; ``unbiased=False`` is ``correction=0``. ``x.var(False)`` gives ``unbiased`` alone.
        Shapes: [..., n, ...] -> [...]. dtype: complex gives real. Gradient: g * 2 * (self - mean) / (n - correction).
        """
        parameters = _spread_parameters(dim, unbiased, keepdim, correction)
        made: Self = self._apply("var", self, **parameters)
        notices.freedom("var", self, parameters["dim"], 0 if parameters["unbiased"] is False else correction)
        return made

    @op(rules.spread)
    def std(
        self,
        dim: int | Sequence[int] | None = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: Number | None = None,
    ) -> Self:
        """Standard deviation over ``dim``: the square root of ``var`` with the same arguments.

        Shapes: [..., n, ...] -> [...]. Gradient: g * (self - mean) / ((n - correction) * result), 0 where the result is 0.
        """
        parameters = _spread_parameters(dim, unbiased, keepdim, correction)
        made: Self = self._apply("std", self, **parameters)
        notices.freedom("std", self, parameters["dim"], 0 if parameters["unbiased"] is False else correction)
        return made

    @op(rules.norm, node="LinalgVectorNorm")
    def norm(
        self,
        p: float | str | None = "fro",
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Norm of the elements over ``dim`` as of one vector: (sum of abs(x) ** p) ** (1 / p).

        ``p`` may be any number; "fro" and None mean 2, inf the largest, -inf the smallest magnitude, 0 the number of non-zeros;
        "nuc" is the sum of the singular values of matrices, see ``telegrad.linalg.matrix_norm``.
        Shapes: [..., n, ...] -> [...]. dtype: complex gives real. Gradient: for 2, g * self / result, 0 where the result is 0.
        """
        order = float(p) if isinstance(p, (int, float, np.integer, np.floating)) and not isinstance(p, bool) else p
        if order is not None and not isinstance(order, (float, str)):
            raise ArgumentTypeError(f"norm(): argument 'p' must be a number or a str, not {type(p).__name__}")
        if isinstance(order, str) and order != "fro":
            from telegrad.contract.functions.linalg import norm_of_matrices  # it needs the tower

            of_matrices: Self = norm_of_matrices(self, order, optional_ints(dim, "dim"), keepdim, dtype)
            return of_matrices
        return self._apply(
            "norm",
            self,
            p=order,
            dim=optional_ints(dim, "dim"),
            keepdim=flag(keepdim, "keepdim"),
            dtype=optional_dtype(dtype),
        )

    @op(rules.reduction(rules.float_type, flops=12))
    def logsumexp(self, dim: int | Sequence[int], keepdim: bool = False) -> Self:
        """Logarithm of the sum of exponentials over ``dim``, without overflow.

        Shapes: [..., n, ...] -> [...]. Gradient: g * exp(self - result).
        """
        return self._apply("logsumexp", self, dim=ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    # Extremes ----------------------------------------------------------------------------------------------------------------

    @op(rules.reduction(rules.ordered("max_all"), needs_elements="max"), name="max", node="MaxBackward1")
    def _max(self) -> Self:
        """Largest element.

        Shapes: [...] -> []. NaN wins. Gradient: g, shared evenly among equal maxima. Raises: ShapeError if there is no element.
        """
        return self._apply("max", self)

    @op(
        rules.reduction(rules.ordered("max"), rules.integer_type, needs_elements="max"),
        name="max.dim",
        outputs=("values", "indices"),
    )
    def _max_dim(self, dim: int, keepdim: bool = False) -> tuple[Self, Self]:
        """Largest elements along ``dim`` and their positions, the first of equals.

        Shapes: [..., n, ...] -> [...], [...]. NaN wins. Gradient: g at the positions.
        """
        return self._apply("max.dim", self, dim=dim, keepdim=keepdim)

    @overload
    def max(self) -> Self: ...

    @overload
    def max(self, dim: int, keepdim: bool = False) -> ValuesIndices[Self]: ...

    @overload
    def max(self, dim: Self) -> Self: ...

    @overload
    def max(self, *, other: Self) -> Self: ...

    def max(self, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        """Largest element; or, along ``dim``, (values, indices); or, with another tensor, ``maximum``."""
        return _extreme("max", self, dim, keepdim, other)

    @op(rules.reduction(rules.ordered("min_all"), needs_elements="min"), name="min", node="MinBackward1")
    def _min(self) -> Self:
        """Smallest element.

        Shapes: [...] -> []. NaN wins. Gradient: g, shared evenly among equal minima. Raises: ShapeError if there is no element.
        """
        return self._apply("min", self)

    @op(
        rules.reduction(rules.ordered("min"), rules.integer_type, needs_elements="min"),
        name="min.dim",
        outputs=("values", "indices"),
    )
    def _min_dim(self, dim: int, keepdim: bool = False) -> tuple[Self, Self]:
        """Smallest elements along ``dim`` and their positions, the first of equals.

        Shapes: [..., n, ...] -> [...], [...]. NaN wins. Gradient: g at the positions.
        """
        return self._apply("min.dim", self, dim=dim, keepdim=keepdim)

    @overload
    def min(self) -> Self: ...

    @overload
    def min(self, dim: int, keepdim: bool = False) -> ValuesIndices[Self]: ...

    @overload
    def min(self, dim: Self) -> Self: ...

    @overload
    def min(self, *, other: Self) -> Self: ...

    def min(self, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        """Smallest element; or, along ``dim``, (values, indices); or, with another tensor, ``minimum``."""
        return _extreme("min", self, dim, keepdim, other)

    @op(rules.reduction(rules.ordered("amax"), needs_elements="amax"))
    def amax(self, dim: int | Sequence[int] | None = (), keepdim: bool = False) -> Self:
        """Largest elements over ``dim``.

        Shapes: [..., n, ...] -> [...]. NaN wins. Gradient: g, shared evenly among equal maxima.
        """
        return self._apply("amax", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    @op(rules.reduction(rules.ordered("amin"), needs_elements="amin"))
    def amin(self, dim: int | Sequence[int] | None = (), keepdim: bool = False) -> Self:
        """Smallest elements over ``dim``.

        Shapes: [..., n, ...] -> [...]. NaN wins. Gradient: g, shared evenly among equal minima.
        """
        return self._apply("amin", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    @op(
        rules.reduction(rules.ordered("aminmax"), rules.ordered("aminmax"), flops=2, needs_elements="aminmax"),
        name="aminmax",
        outputs=("min", "max"),
    )
    def _aminmax(self, *, dim: int | None = None, keepdim: bool = False) -> tuple[Self, Self]:
        """Smallest and largest elements along ``dim``, or of all.

        Shapes: [..., n, ...] -> [...], [...]. NaN wins. Gradient: as of ``amin`` and ``amax``, added.
        """
        return self.aminmax(dim=dim, keepdim=keepdim)

    def aminmax(self, *, dim: int | None = None, keepdim: bool = False) -> MinMax[Self]:
        """Smallest and largest elements along ``dim``, or of all, as (min, max)."""
        low, high = self._apply("aminmax", self, dim=optional_integer(dim, "dim"), keepdim=flag(keepdim, "keepdim"))
        return MinMax(low, high)

    @op(
        rules.reduction(rules.position_type("argmax"), needs_elements="argmax", empty_error=DimensionError),
        differentiable=(),
        reason=NOT_SMOOTH,
    )
    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """Position of the largest element along ``dim``, or in the flattened tensor; the first of equals.

        Shapes: [..., n, ...] -> [...]. NaN wins. Gradient: none.
        """
        return self._apply("argmax", self, dim=optional_integer(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    @op(
        rules.reduction(rules.position_type("argmin"), needs_elements="argmin", empty_error=DimensionError),
        differentiable=(),
        reason=NOT_SMOOTH,
    )
    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Self:
        """Position of the smallest element along ``dim``, or in the flattened tensor; the first of equals.

        Shapes: [..., n, ...] -> [...]. NaN wins. Gradient: none.
        """
        return self._apply("argmin", self, dim=optional_integer(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    # Tests and counts --------------------------------------------------------------------------------------------------------

    @op(rules.logical, differentiable=(), reason=NOT_SMOOTH)
    def all(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Self:
        """Whether all elements over ``dim`` are true (not zero).

        Shapes: [..., n, ...] -> [...]. dtype: bool; uint8 for uint8. Gradient: none.
        """
        return self._apply("all", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    @op(rules.logical, differentiable=(), reason=NOT_SMOOTH)
    def any(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Self:
        """Whether any element over ``dim`` is true (not zero).

        Shapes: [..., n, ...] -> [...]. dtype: bool; uint8 for uint8. Gradient: none.
        """
        return self._apply("any", self, dim=optional_ints(dim, "dim"), keepdim=flag(keepdim, "keepdim"))

    @op(rules.reduction(rules.integer_type), differentiable=(), reason=NOT_SMOOTH)
    def count_nonzero(self, dim: int | Sequence[int] | None = None) -> Self:
        """Number of elements over ``dim`` that are not zero.

        Shapes: [..., n, ...] -> [...]. Gradient: none.
        """
        return self._apply("count_nonzero", self, dim=optional_ints(dim, "dim"))

    # Running -----------------------------------------------------------------------------------------------------------------

    @op(rules.running(rules.running_type("cumsum")), inplace=True)
    def cumsum(self, dim: int, *, dtype: DTypeLike | None = None) -> Self:
        """Running sum along ``dim``.

        Shapes: [..., n, ...] -> [..., n, ...]. dtype: integers sum in int64. Gradient: g, summed from the end.
        """
        return self._apply("cumsum", self, dim=integer(dim, "dim"), dtype=optional_dtype(dtype))

    @op(rules.running(rules.running_type("cumprod")), inplace=True)
    def cumprod(self, dim: int, *, dtype: DTypeLike | None = None) -> Self:
        """Running product along ``dim``.

        Shapes: [..., n, ...] -> [..., n, ...]. dtype: integers multiply in int64. Gradient: right also where elements are zero.
        """
        return self._apply("cumprod", self, dim=integer(dim, "dim"), dtype=optional_dtype(dtype))

    @op(rules.running(rules.ordered("cummax"), rules.integer_type), name="cummax", outputs=("values", "indices"))
    def _cummax(self, dim: int) -> tuple[Self, Self]:
        """Running maximum along ``dim`` and its positions, the last of equals.

        Shapes: [..., n, ...] -> twice [..., n, ...]. NaN wins. Gradient: g, added up at the positions.
        """
        return self.cummax(dim)

    def cummax(self, dim: int) -> ValuesIndices[Self]:
        """Running maximum along ``dim``, as (values, indices)."""
        return ValuesIndices(*self._apply("cummax", self, dim=integer(dim, "dim")))

    @op(rules.running(rules.ordered("cummin"), rules.integer_type), name="cummin", outputs=("values", "indices"))
    def _cummin(self, dim: int) -> tuple[Self, Self]:
        """Running minimum along ``dim`` and its positions, the last of equals.

        Shapes: [..., n, ...] -> twice [..., n, ...]. NaN wins. Gradient: g, added up at the positions.
        """
        return self.cummin(dim)

    def cummin(self, dim: int) -> ValuesIndices[Self]:
        """Running minimum along ``dim``, as (values, indices)."""
        return ValuesIndices(*self._apply("cummin", self, dim=integer(dim, "dim")))

    @op(same(flops=3), namespace="internal", node="Recurrence")
    def recurrence(self, factor: Self, *, dim: int, reverse: bool) -> Self:
        """A running sum along ``dim`` in which each term multiplies what came before it.

        The result y has y[0] = self[0] and y[i + 1] = self[i + 1] + factor[i] * y[i]; with ``reverse``,
        y[i] = self[i] + factor[i] * y[i + 1] from the end.
        The gradients of running and of whole products are made of it, so that no division by an element is needed.
        Shapes: [..., n, ...] twice -> [..., n, ...]. Gradient: the same recurrence, the other way round.
        """
        return self._apply("recurrence", self, factor, dim=dim, reverse=reverse)


def _spread_parameters(dim: Any, unbiased: Any, keepdim: Any, correction: Any) -> dict[str, Any]:
    if isinstance(dim, bool):
        if unbiased is not None:
            raise ArgumentTypeError("var() and std(): argument 'dim' must be int or tuple of ints, not bool")
        dim, unbiased = None, dim
    return {
        "dim": optional_ints(dim, "dim"),
        "unbiased": None if unbiased is None else flag(unbiased, "unbiased"),
        "keepdim": flag(keepdim, "keepdim"),
        "correction": correction,
    }


def _extreme(name: str, x: TensorBase, dim: Any, keepdim: Any, other: Any) -> Any:
    """The three forms of ``max`` and ``min``."""
    if isinstance(dim, TensorBase) or other is not None:
        if dim is not None and other is not None:
            raise ArgumentTypeError(f"{name}() takes a dimension or another tensor, not both")
        return x._apply(f"{name}imum", x, dim if other is None else other)
    if dim is None:
        if keepdim is not False:
            raise ArgumentTypeError(f"{name}(): keepdim needs a dim")
        return x._apply(name, x)
    found = x._apply(f"{name}.dim", x, dim=integer(dim, "dim"), keepdim=flag(keepdim, "keepdim"))
    return ValuesIndices(*found)
