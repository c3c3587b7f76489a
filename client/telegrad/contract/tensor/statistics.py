"""Medians, quantiles and other values chosen by rank, covariances, and running logarithms of sums."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from telegrad.contract import notices
from telegrad.contract import statistics_rules as rules
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import integer
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.reduce import ValuesIndices

PAIR = ("values", "indices")


class StatisticsOps(TensorBase):
    """Order statistics and moments of several variables."""

    __slots__ = ()

    # Medians and ranks -------------------------------------------------------------------------------------------------------

    @op(rules.middle, name="median", node="MedianBackward0")
    def _median(self) -> Self:
        """The middle element, the lower of two; NaN if any element is.

        Shapes: [...] -> []. NaN also of nothing. Gradient: g, shared evenly among the elements that equal it.
        """
        return self._apply("median", self)

    @op(rules.chosen("median"), name="median.dim", outputs=PAIR, node="MedianBackward1")
    def _median_dim(self, dim: int, keepdim: bool = False) -> tuple[Self, Self]:
        """The middle values along ``dim``, the lower of two, and where each was; NaN and its first place if any element is.

        Shapes: [..., n, ...] -> [...], [...]. Gradient: g at the positions. Raises: DimensionError for nothing to choose from.
        """
        values, indices = self._apply("median.dim", self, dim=dim, keepdim=keepdim)
        return values, indices

    def median(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The middle element, the lower of two; or, along ``dim``, (values, indices). NaN if any element is."""
        return _middle("median", self, dim, keepdim)

    @op(rules.middle, name="nanmedian", node="NanmedianBackward0")
    def _nanmedian(self) -> Self:
        """The middle of the elements that are numbers, the lower of two.

        Shapes: [...] -> []. NaN if there is none. Gradient: g, shared evenly among the elements that equal it.
        """
        return self._apply("nanmedian", self)

    @op(rules.chosen("median"), name="nanmedian.dim", outputs=PAIR, node="NanmedianBackward1")
    def _nanmedian_dim(self, dim: int, keepdim: bool = False) -> tuple[Self, Self]:
        """The middle along ``dim`` of the values that are numbers, the lower of two, and where each was.

        Shapes: [..., n, ...] -> [...], [...]. Gradient: g at the positions. Raises: DimensionError for nothing to choose from.
        """
        values, indices = self._apply("nanmedian.dim", self, dim=dim, keepdim=keepdim)
        return values, indices

    def nanmedian(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The middle of the elements that are numbers, the lower of two; or, along ``dim``, (values, indices)."""
        return _middle("nanmedian", self, dim, keepdim)

    @op(rules.chosen("mode", bools=True), name="mode", outputs=PAIR)
    def _mode(self, dim: int = -1, keepdim: bool = False) -> tuple[Self, Self]:
        """The values that occur most often along ``dim``, the smallest of several, and where each was last.

        Shapes: [..., n, ...] -> [...], [...]. Gradient: g at the positions. Raises: DimensionError for nothing to choose from.
        """
        values, indices = self.mode(dim, keepdim)
        return values, indices

    def mode(self, dim: int = -1, keepdim: bool = False) -> ValuesIndices[Self]:
        """The values that occur most often along ``dim``, the smallest of several, as (values, indices)."""
        return ValuesIndices(*self._apply("mode", self, dim=integer(dim, "dim"), keepdim=flag(keepdim, "keepdim")))

    @op(rules.chosen("kthvalue"), name="kthvalue", outputs=PAIR)
    def _kthvalue(self, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Self, Self]:
        """The ``k``-th smallest values along ``dim``, counted from 1, and where each was; NaN counts as largest.

        Shapes: [..., n, ...] -> [...], [...]. Gradient: g at the positions. Raises: ShapeError for a ``k`` outside 1 to n.
        """
        values, indices = self.kthvalue(k, dim, keepdim)
        return values, indices

    def kthvalue(self, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices[Self]:
        """The ``k``-th smallest values along ``dim``, counted from 1, as (values, indices)."""
        given = {"k": integer(k, "k"), "dim": integer(dim, "dim"), "keepdim": flag(keepdim, "keepdim")}
        return ValuesIndices(*self._apply("kthvalue", self, **given))

    # Quantiles ---------------------------------------------------------------------------------------------------------------

    @op(rules.quantile("quantile"))
    def quantile(self, q: Self | Number, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Self:
        """The values below which the fraction ``q`` of the elements lies, along ``dim`` or of all; NaN where any is NaN.

        ``interpolation`` between the neighbours of place q * (n - 1): "linear", "lower", "higher", "midpoint" or "nearest".
        Shapes: [..., n, ...], [] or [k] -> [...] or [k, ...]. Gradient: g to the neighbours by their weights; with "linear" also
        to ``q``. Raises: ShapeError for a ``q`` outside [0, 1], for nothing to choose from; DTypeError.
        """
        return self._apply("quantile", self, _fraction(q, "quantile"), **_between(dim, keepdim, interpolation, "quantile"))

    @op(rules.quantile("nanquantile"))
    def nanquantile(
        self, q: Self | Number, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Self:
        """``quantile`` of the elements that are numbers; NaN where none is.

        Shapes: [..., n, ...], [] or [k] -> [...] or [k, ...]. Gradient: g to the neighbours by their weights; with "linear" also
        to ``q``. Raises: ShapeError for a ``q`` outside [0, 1], for nothing to choose from; DTypeError.
        """
        return self._apply("nanquantile", self, _fraction(q, "nanquantile"), **_between(dim, keepdim, interpolation, "nanquantile"))

    @op(
        rules.quantile_places,
        namespace="internal",
        outputs=("lower", "upper", "base", "last"),
        differentiable=(),
        reason="its results are positions and ranks",
    )
    def _quantile_places(self, q: Self | Number, *, interpolation: str, ignore_nan: bool) -> tuple[Self, Self, Self, Self]:
        """Of the last dimension, where the values left and right of each quantile are, the left one's rank, and the last rank.

        Shapes: [..., n], [] or [k] -> [..., k] four times. Gradient: none.
        """
        found = self._apply("_quantile_places", self, q, interpolation=interpolation, ignore_nan=ignore_nan)
        return found[0], found[1], found[2], found[3]

    # Running -----------------------------------------------------------------------------------------------------------------

    @op(rules.logcumsumexp)
    def logcumsumexp(self, dim: int) -> Self:
        """Running logarithm of the sum of exponentials along ``dim``, without overflow.

        Shapes: [..., n, ...] -> [..., n, ...]. Gradient: g * exp(self - result), summed from the end.
        Raises: UnsupportedDTypeError for whole numbers.
        """
        return self._apply("logcumsumexp", self, dim=integer(dim, "dim"))

    # Covariances -------------------------------------------------------------------------------------------------------------

    @op(rules.covariance, name="cov", differentiable=("self", "aweights"))
    def _cov(self, fweights: Self | None = None, aweights: Self | None = None, *, correction: int = 1) -> Self:
        """Covariances of variables in rows, observed in columns: the sum of products of distances from the means, normalised.

        ``fweights`` are whole numbers, how often each observation counts; ``aweights`` floating, how much.
        Shapes: [v, n], [n], [n] -> [v, v]; [n] -> []. Gradient: (g + g^H) @ distances * weights / normaliser.
        Raises: ShapeError, DTypeError, NumericalError for negative weights or such that sum to 0.
        """
        return self._apply("cov", self, fweights, aweights, correction=correction)

    def cov(self, *, correction: int = 1, fweights: Self | None = None, aweights: Self | None = None) -> Self:
        """Covariances of variables in rows, observed in columns; over n - ``correction``, weighted by f- and aweights."""
        made: Self = self._apply("cov", self, fweights, aweights, correction=integer(correction, "correction"))
        if fweights is None and aweights is None:
            notices.observations(self, correction)
        return made

    @op(rules.correlation)
    def corrcoef(self) -> Self:
        """Pearson's correlation coefficients of variables in rows, observed in columns, cut to [-1, 1].

        Shapes: [v, n] -> [v, v]; [n] -> []. Gradient: that of ``cov`` over the product of the deviations.
        Raises: ShapeError, DTypeError.
        """
        made: Self = self._apply("corrcoef", self)
        notices.observations(self, 1)
        return made


def _middle(name: str, x: TensorBase, dim: Any, keepdim: Any) -> Any:
    """The two forms of ``median`` and ``nanmedian``."""
    if dim is None:
        if keepdim is not False:
            raise ArgumentTypeError(f"{name}(): keepdim needs a dim")
        return x._apply(name, x)
    return ValuesIndices(*x._apply(f"{name}.dim", x, dim=integer(dim, "dim"), keepdim=flag(keepdim, "keepdim")))


def _fraction(q: Any, name: str) -> Any:
    if isinstance(q, (TensorBase, int, float, np.integer, np.floating)) and not isinstance(q, bool):
        return q
    raise ArgumentTypeError(f"{name}(): argument 'q' (position 2) must be float or Tensor, not {type(q).__name__}")


def _between(dim: Any, keepdim: Any, interpolation: Any, name: str) -> dict[str, Any]:
    if not isinstance(interpolation, str):
        raise ArgumentTypeError(f"{name}(): argument 'interpolation' must be str, not {type(interpolation).__name__}")
    at = None if dim is None else integer(dim, "dim")
    return {"dim": at, "keepdim": flag(keepdim, "keepdim"), "interpolation": interpolation}
