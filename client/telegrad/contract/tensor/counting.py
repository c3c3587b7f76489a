"""Counts, histograms, places in sorted sequences, and distinct values: ops whose results are counts, positions or a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np

from telegrad.contract import counting_rules as rules
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError, ShapeError
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import integer, ints
from telegrad.contract.tensor.base import TensorBase

if TYPE_CHECKING:
    from telegrad.contract.ops import Shape

T = TypeVar("T", bound=TensorBase)

COUNTS = "its result is made of counts, which do not change with small changes of the values"
POSITIONS = "its result is made of positions, which do not change with small changes of the values"
CHOICE = "which values are distinct is a choice that has no derivative, in PyTorch either"


class Histogram(NamedTuple):
    """What ``histogram`` and ``histogramdd`` return."""

    hist: Any
    bin_edges: Any


class CountingOps(TensorBase):
    """Counting and looking up. Nothing here has a derivative but ``msort``."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    def nonzero_static(self, *, size: int, fill_value: int = -1) -> Self:
        """The first ``size`` rows of ``nonzero``, and rows of ``fill_value`` where there are fewer. Raises ShapeError below 0."""
        rows = integer(size, "size")
        if rows < 0:
            raise ShapeError("nonzero_static: 'size' must be an non-negative integer")
        found: Any = self._apply("nonzero", self)
        rest = found.new_full((rows, found.shape[1]), integer(fill_value, "fill_value"))
        return self._apply("cat", found, rest, dim=0).narrow(0, 0, rows)

    @op(rules.bincount, differentiable=(), reason=COUNTS)
    def bincount(self, weights: Self | None = None, minlength: int = 0) -> Self:
        """How often each of 0, 1, 2, ... occurs among whole numbers, or the sum of ``weights`` where it does.

        Shapes: [n], [n] -> [largest + 1, at least minlength]. dtype: int64; float32 for such weights, float64 for others.
        Raises: ShapeError for negative numbers or more than one dimension; UnsupportedDTypeError.
        """
        return self._apply("bincount", self, weights, minlength=integer(minlength, "minlength"))

    @op(rules.bucketize, differentiable=(), reason=POSITIONS, reflected=True)
    def bucketize(self, boundaries: Self, *, out_int32: bool = False, right: bool = False) -> Self:
        """The bucket between ascending ``boundaries`` that each value falls into: how many boundaries lie below it.

        A value equal to a boundary falls below it, with ``right`` above it. Shapes: [...], [n] -> [...].
        dtype: int64, int32 with ``out_int32``. Raises: ShapeError, UnsupportedDTypeError.
        """
        return self._apply("bucketize", self, boundaries, out_int32=flag(out_int32, "out_int32"), right=flag(right, "right"))

    @op(rules.searchsorted, name="searchsorted", differentiable=(), reason=POSITIONS)
    def _searchsorted(
        self,
        input: Self | Number,
        sorter: Self | None = None,
        *,
        out_int32: bool = False,
        right: bool = False,
        side: str | None = None,
    ) -> Self:
        """Where in ascending sequences, the last dimension of ``self``, each value of ``input`` would be put in.

        Before equal values, with ``right`` or ``side="right"`` after them. ``sorter`` is the ``argsort`` of sequences that are not
        in order. Shapes: [n] or [..., n], [..., m] -> [..., m]. Raises: ShapeError, DTypeError, UnsupportedDTypeError.
        """
        return self._apply("searchsorted", self, input, sorter, out_int32=out_int32, right=right, side=side)

    @op(rules.histc, differentiable=(), reason=COUNTS)
    def histc(self, bins: int = 100, min: Number = 0, max: Number = 0) -> Self:
        """How many elements fall into each of ``bins`` bins of equal width from ``min`` to ``max``; others do not count.

        With ``min`` equal to ``max``, from the smallest element to the largest. Shapes: [...] -> [bins].
        Raises: ShapeError for a range that is not finite or runs backwards; UnsupportedDTypeError for whole numbers.
        """
        return self._apply("histc", self, bins=integer(bins, "bins"), min=min, max=max)

    @op(rules.histogram_edges, name="histogramdd.edges", outputs=("edges",), differentiable=(), reason=POSITIONS)
    def _histogram_edges(self, *, bins: Sequence[int], range: Sequence[float] | None = None) -> tuple[Self, ...]:
        """Edges of ``bins`` bins of equal width for each dimension of the points in the last dimension.

        ``range`` has the lowest and highest edge, dimension after dimension; without it they are the points' own extremes.
        Shapes: [..., d] -> [bins[0] + 1], ..., [bins[d - 1] + 1]. Raises: ShapeError, UnsupportedDTypeError.
        """
        return self._apply("histogramdd.edges", self, bins=bins, range=range)

    @op(rules.histogramdd, name="histogramdd", differentiable=(), reason=COUNTS)
    def _histogramdd(self, weight: Self | None, edges: Sequence[Self], *, density: bool = False) -> Self:
        """How many points, or how much ``weight``, each cell between ``edges`` holds; the last dimension has coordinates.

        ``density`` divides by the total and by the cell's size. Shapes: [..., d], [...], d times [n] -> [n - 1, ...].
        Raises: ShapeError, DTypeError, UnsupportedDTypeError.
        """
        return self._apply("histogramdd", self, weight, *edges, density=density)

    def histogram(
        self,
        bins: int | Self = 100,
        *,
        range: Sequence[float] | None = None,
        weight: Self | None = None,
        density: bool = False,
    ) -> Histogram:
        """How many elements fall into each bin, and the bins' edges, as (hist, bin_edges).

        ``bins`` is the number of bins of equal width, over ``range`` or from the smallest to the largest element, or a tensor of
        edges. The last bin has both its edges. ``weight`` counts elements by it; ``density`` makes the integral 1.
        """
        points = self._apply("reshape", self, shape=(-1, 1))
        weights = None if weight is None else self._apply("reshape", weight, shape=(-1,))
        if isinstance(bins, TensorBase):
            if range is not None:
                raise ArgumentTypeError("histogram(): takes either a range or a tensor of bin edges, not both")
            edges: Any = self._apply("clone", bins)
        else:
            counts = (integer(bins, "bins"),)
            (edges,) = _equal_bins(points, counts, _limits(range, "histogram"))
        hist = self._apply("histogramdd", points, weights, edges, density=flag(density, "density"))
        return Histogram(hist, edges)

    def unique(self, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
        """The distinct elements, or along ``dim`` the distinct slices, in ascending order.

        Also, if asked for: at which of them each element is, and how often each occurs. ``sorted=False`` permits any order.
        """
        found = self._apply("unique", self, sorted=flag(sorted, "sorted"), dim=None if dim is None else integer(dim, "dim"))
        return _asked_for(found, flag(return_inverse, "return_inverse"), flag(return_counts, "return_counts"))

    @op(rules.unique, name="unique", outputs=("output", "inverse", "counts"), refuses=True, reason=CHOICE, node="Unique2")
    def _unique(self, *, sorted: bool = True, dim: int | None = None) -> tuple[Self, Self, Self]:
        """The distinct elements or slices in ascending order, at which of them each element is, and how often each occurs.

        Shapes: [...] -> [k], [...], [k]; with ``dim``, [..., n, ...] -> [..., k, ...], [n], [k]. Every NaN is distinct.
        Raises: UnsupportedDTypeError for complex numbers; DimensionError.
        """
        output, inverse, counts = self._apply("unique", self, sorted=sorted, dim=dim)
        return output, inverse, counts

    def unique_consecutive(self, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
        """The elements, or along ``dim`` the slices, that differ from the one before.

        Also, if asked for: at which of them each element is, and how often each was repeated.
        """
        found = self._apply("unique_consecutive", self, dim=None if dim is None else integer(dim, "dim"))
        return _asked_for(found, flag(return_inverse, "return_inverse"), flag(return_counts, "return_counts"))

    @op(rules.unique, name="unique_consecutive", outputs=("output", "inverse", "counts"), refuses=True, reason=CHOICE)
    def _unique_consecutive(self, *, dim: int | None = None) -> tuple[Self, Self, Self]:
        """The elements or slices that differ from the one before, at which of them each element is, and how often each repeats.

        Shapes: [...] -> [k], [...], [k]; with ``dim``, [..., n, ...] -> [..., k, ...], [n], [k]. Every NaN is distinct.
        Raises: UnsupportedDTypeError for complex numbers; DimensionError.
        """
        output, inverse, counts = self._apply("unique_consecutive", self, dim=dim)
        return output, inverse, counts

    def msort(self) -> Self:
        """The values in order along the first dimension: ``sort(dim=0)`` without the positions."""
        return self._apply("sort", self, dim=0)[0]


def _asked_for(found: Any, inverse: bool, counts: bool) -> Any:
    if not inverse and not counts:
        return found[0]
    return (found[0], *(found[1:2] if inverse else ()), *(found[2:3] if counts else ()))


def _equal_bins(points: Any, bins: tuple[int, ...], limits: tuple[float, ...] | None) -> tuple[Any, ...]:
    """The edges of each dimension; an op that makes one tensor gives it bare."""
    found = points._apply("histogramdd.edges", points, bins=bins, range=limits)
    return (found,) if isinstance(found, TensorBase) else tuple(found)


def _limits(limits: Any, name: str) -> tuple[float, ...] | None:
    """The lowest and highest edges as floats."""
    if limits is None:
        return None
    if not isinstance(limits, (tuple, list)) or not all(
        isinstance(v, (int, float, np.integer, np.floating)) and not isinstance(v, bool) for v in limits
    ):
        raise ArgumentTypeError(f"{name}(): argument 'range' must be tuple of floats, not {type(limits).__name__}")
    return tuple(float(v) for v in limits)


def histogramdd(
    input: Any, bins: Any, range: Sequence[float] | None = None, weight: Any = None, density: bool = False
) -> Histogram:
    """How many points, the last dimension being their coordinates, fall into each cell, and the edges, as (hist, bin_edges).

    ``bins`` is the number of bins along every dimension, or for each, or a tensor of edges for each. ``range`` has the lowest and
    highest edge of each dimension one after another. ``weight`` counts points by it; ``density`` makes the integral 1.

    Raises:
        ShapeError: a number of bins, a range or a weight that does not fit the points.
        ArgumentTypeError: ``bins`` that are neither numbers nor tensors.
    """
    if not isinstance(input, TensorBase):
        raise ArgumentTypeError(f"histogramdd(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    x: Any = input
    if isinstance(bins, (tuple, list)) and bins and all(isinstance(b, TensorBase) for b in bins):
        if range is not None:
            raise ArgumentTypeError("histogramdd(): takes either a range or tensors of bin edges, not both")
        edges = tuple(bins)
    else:
        if len(x.shape) < 2:
            raise ShapeError("torch.histogramdd: input tensor should have at least 2 dimensions")
        counts = ints(bins, "bins")
        if not isinstance(bins, (tuple, list)):
            counts = counts * x.shape[-1]
        edges = _equal_bins(x, counts, _limits(range, "histogramdd"))
    return Histogram(x._apply("histogramdd", x, weight, *edges, density=flag(density, "density")), edges)


def searchsorted(
    sorted_sequence: Any,
    input: Any = None,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Where in the ascending ``sorted_sequence`` (its last dimension) each value of ``input`` would be put in.

    Before equal values, with ``right`` or ``side="right"`` after them. ``sorter`` is the ``argsort`` of a sequence not in order.

    Shapes: [n] or [..., n], [..., m] -> [..., m]; a number gives a 0-d tensor. dtype: int64, int32 with ``out_int32``.
    Raises: ShapeError, DTypeError, UnsupportedDTypeError, ArgumentTypeError.
    """
    if not isinstance(sorted_sequence, TensorBase):
        raise ArgumentTypeError(
            f"searchsorted(): argument 'sorted_sequence' (position 1) must be Tensor, not {type(sorted_sequence).__name__}"
        )
    if side is not None and not isinstance(side, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"searchsorted(): argument 'side' must be str, not {type(side).__name__}")
    chosen = {"out_int32": flag(out_int32, "out_int32"), "right": flag(right, "right"), "side": side}
    return sorted_sequence._apply("searchsorted", sorted_sequence, input, sorter, **chosen)


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The bucket between ascending ``boundaries`` that each value of ``input``, a tensor or a number, falls into."""
    if not isinstance(boundaries, TensorBase):
        raise ArgumentTypeError(f"bucketize(): argument 'boundaries' (position 2) must be Tensor, not {type(boundaries).__name__}")
    return boundaries._apply("bucketize", input, boundaries, out_int32=flag(out_int32, "out_int32"), right=flag(right, "right"))


@op(rules.isin, name="isin", differentiable=(), reason="its result is a bool")
def _isin(elements: T | Number, test_elements: T | Number, *, assume_unique: bool = False, invert: bool = False) -> T:
    """Whether each element is among ``test_elements``; with ``invert``, whether it is not.

    ``assume_unique`` promises that neither has a value twice; the result is the same. Shapes: [...], [...] -> the first's.
    Raises: DTypeError for complex numbers and booleans; ArgumentTypeError where neither is a tensor.
    """
    return isin(elements, test_elements, assume_unique=assume_unique, invert=invert)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element is among ``test_elements``, either of which may be a number; with ``invert``, whether it is not."""
    home = elements if isinstance(elements, TensorBase) else test_elements
    if not isinstance(home, TensorBase):
        raise ArgumentTypeError(f"isin(): one argument must be Tensor, not {type(elements).__name__} and {type(home).__name__}")
    return home._apply(
        "isin",
        elements,
        test_elements,
        assume_unique=flag(assume_unique, "assume_unique"),
        invert=flag(invert, "invert"),
    )
