"""Integrals by the trapezoidal rule and derivatives by differences, of values at given points: made of other ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType, Number
from telegrad.contract.errors import ArgumentTypeError, DimensionError, DTypeError, IndexBoundsError, ShapeError
from telegrad.contract.ops import Shape
from telegrad.contract.shapes import dimension, integer, ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import cat


class QuadratureOps(TensorBase):
    """Integration and differentiation of samples."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    def trapezoid(self, x: Self | None = None, *, dx: Number | None = None, dim: int = -1) -> Self:
        """The integral along ``dim`` by the trapezoidal rule, of values at the points ``x`` or ``dx`` (1) apart.

        Shapes: [..., n, ...] -> [...]; ``x`` has n points, or broadcasts. dtype: whole numbers give float32.
        Raises: ShapeError, DTypeError for bool, DimensionError, ArgumentTypeError for both ``x`` and ``dx``.
        """
        if not self.shape:
            raise DimensionError(f"Dimension specified as {dim} but tensor has no dimensions")
        at = dimension(integer(dim, "dim"), len(self.shape))
        if self.shape[at] == 0:
            self._check_samples("trapezoid", dx)
            empty = tuple(n for d, n in enumerate(self.shape) if d != at)
            return self._apply("new_full", self, size=empty, fill_value=0, dtype=self.dtype)
        return self._apply("sum", self._trapezoids("trapezoid", x, dx, at), dim=(at,))

    def trapz(self, x: Self | None = None, *, dx: Number | None = None, dim: int = -1) -> Self:
        """``trapezoid`` by its other name."""
        return self.trapezoid(x, dx=dx, dim=dim)

    def cumulative_trapezoid(self, x: Self | None = None, *, dx: Number | None = None, dim: int = -1) -> Self:
        """The running integral along ``dim`` by the trapezoidal rule, of values at the points ``x`` or ``dx`` (1) apart.

        Shapes: [..., n, ...] -> [..., n - 1, ...]. dtype: whole numbers give float32.
        Raises: ShapeError, DTypeError for bool, IndexBoundsError, ArgumentTypeError for both ``x`` and ``dx``.
        """
        if not self.shape:
            raise IndexBoundsError("slice() cannot be applied to a 0-dim tensor.")
        at = dimension(integer(dim, "dim"), len(self.shape))
        return self._apply("cumsum", self._trapezoids("cumulative_trapezoid", x, dx, at), dim=at)

    def _check_samples(self, name: str, dx: Any) -> None:
        if self.dtype is dtypes.bool_:
            raise DTypeError(f"{name}: received a bool input for `y`, but bool is not supported")
        if isinstance(dx, (complex, bool)):
            raise ShapeError(f"{name}: Currently, we only support dx as a real number.")
        if dx is not None and not isinstance(dx, (int, float)):
            raise ArgumentTypeError(f"{name}(): argument 'dx' must be Number, not {type(dx).__name__}")

    def _trapezoids(self, name: str, x: Any, dx: Any, at: int) -> Self:
        """The area between each two neighbours along dimension ``at``."""
        self._check_samples(name, dx)
        if x is not None and dx is not None:
            raise ArgumentTypeError(f"{name}() takes either the points 'x' or their distance 'dx', not both")
        if x is not None and not isinstance(x, TensorBase):
            raise ArgumentTypeError(f"{name}(): argument 'x' must be Tensor, not {type(x).__name__}")
        both: Any = self._apply("add", _part(self, at, 1, None), _part(self, at, 0, -1))
        points: Any = x
        if points is None:
            return both * (1 if dx is None else dx) / 2
        if points.dtype is dtypes.bool_:
            raise DTypeError(f"{name}: received a bool input for `x`, but bool is not supported")
        if len(points.shape) == 1:
            if points.shape[0] != self.shape[at]:
                raise ShapeError(f"{name}: There must be one `x` value for each sample point")
            points = points.reshape([-1 if d == at else 1 for d in range(len(self.shape))])
        elif len(points.shape) < len(self.shape):
            points = points.reshape((1,) * (len(self.shape) - len(points.shape)) + points.shape)
        # With more dimensions than the values, the points count theirs from the front, as PyTorch does.
        return both * (_part(points, at, 1, None) - _part(points, at, 0, -1)) / 2

    def gradient(self, *, spacing: Any = 1, dim: int | Sequence[int] | None = None, edge_order: int = 1) -> tuple[Self, ...]:
        """Derivatives of samples along ``dim``, by default all: central differences inside, one-sided ones at the ends.

        ``spacing`` is one distance for all dimensions, a sequence of one for each, or of one tensor of coordinates for each.
        ``edge_order`` is 1 or 2: how many neighbours the ends look at. Shapes: [...] -> as many times [...]. Accurate to second
        order inside also for uneven coordinates. dtype: whole numbers give float32.

        Raises:
            ShapeError: dimensions shorter than ``edge_order + 1``, spacings that do not fit the dimensions.
            DTypeError: uint8 and bool.
        """
        if self.dtype in (dtypes.uint8, dtypes.bool_):
            raise DTypeError(f"torch.gradient does not support {self.dtype.name} input.")
        order = integer(edge_order, "edge_order")
        if order not in (1, 2):
            raise ShapeError("torch.gradient only supports edge_order=1 and edge_order=2.")
        given = None if dim is None else ints(dim, "dim")
        ndim = len(self.shape)
        dims = tuple(range(ndim)) if given is None else tuple(dimension(d, ndim) for d in given)
        for d in dims:
            if dims.count(d) > 1:
                raise ShapeError(f"dim {d} appears multiple times in the list of dims")
            if self.shape and self.shape[d] < order + 1:
                raise ShapeError("torch.gradient expected each dimension size to be at least edge_order+1")
        if not self.shape:
            return ()
        steps = _spacings(1 if spacing is None else spacing, len(dims), given is not None, ndim)
        return tuple(self._slope(step, d, order) for step, d in zip(steps, dims, strict=True))

    def _slope(self, step: Any, at: int, order: int) -> Self:
        """The derivative along ``at``; ``step`` is a distance or a tensor of coordinates."""
        x: Any = self

        def value(start: int, stop: int | None) -> Any:
            return _part(x, at, start, stop)

        def near(first: int) -> list[Any]:
            return [value(first + i, first + i + 1 if first + i != -1 else None) for i in range(order + 1)]

        starts, ends = near(0), near(-1 - order)
        if not isinstance(step, TensorBase):
            inner = (value(2, None) - value(0, -2)) / (2 * step)
            if order == 1:
                first, last = (starts[1] - starts[0]) / step, (ends[1] - ends[0]) / step
            else:
                first = (starts[1] * 2 - starts[0] * 1.5 - starts[2] * 0.5) / step
                last = (ends[2] * 1.5 - ends[1] * 2 + ends[0] * 0.5) / step
            return cat((first, inner, last), at)
        if len(step.shape) != 1:  # type: ignore[attr-defined]
            raise ShapeError(
                "torch.gradient expected each element of spacing to have one dimension, but got an element with "
                f"{len(step.shape)} dimensions!"  # type: ignore[attr-defined]
            )
        gaps: Any = _part(step, 0, 1, None) - _part(step, 0, 0, -1)
        column = [-1 if d == at else 1 for d in range(len(self.shape))]

        def gap(start: int, stop: int | None) -> Any:
            return _part(gaps, 0, start, stop).reshape(column)

        before, after = gap(0, -1), gap(1, None)
        inner = (
            value(0, -2) * (-after / (before * (before + after)))
            + value(1, -1) * ((after - before) / (before * after))
            + value(2, None) * (before / (after * (before + after)))
        )
        if order == 1:
            first, last = (starts[1] - starts[0]) / gap(0, 1), (ends[1] - ends[0]) / gap(-1, None)
        else:
            a, b = gap(0, 1), gap(1, 2)
            first = starts[0] * (-(2 * a + b) / (a * (a + b))) + starts[1] * ((a + b) / (a * b)) - starts[2] * (a / (b * (a + b)))
            a, b = gap(-2, -1), gap(-1, None)
            last = ends[0] * (b / (a * (a + b))) - ends[1] * ((a + b) / (a * b)) + ends[2] * ((2 * b + a) / (b * (a + b)))
        return cat((first, inner, last), at)


def _part(x: Any, at: int, start: int, stop: int | None) -> Any:
    return x[(slice(None),) * at + (slice(start, stop),)]


def _spacings(spacing: Any, count: int, has_dim: bool, ndim: int) -> list[Any]:
    """A distance or a tensor of coordinates for each of ``count`` dimensions."""
    if isinstance(spacing, (tuple, list)):
        if len(spacing) != count:
            if has_dim:
                raise ShapeError(
                    "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the "
                    f"same length, but got a spacing argument of length {len(spacing)} and a dim argument of length {count}."
                )
            raise ShapeError(
                f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = {ndim}', "
                f"since dim argument was not given, but got a list of length {len(spacing)}"
            )
        entries: list[Any] = list(spacing)
    elif isinstance(spacing, TensorBase) and math.prod(spacing.shape) == 1 and not spacing.shape:  # type: ignore[attr-defined]
        number: Any = spacing
        return [number.item()] * count
    else:
        entries = [spacing] * count
        if isinstance(spacing, TensorBase):
            raise ArgumentTypeError("gradient(): a tensor of coordinates belongs in a list, one for each dimension")
    tensors = [isinstance(s, TensorBase) for s in entries]
    for entry, tensor in zip(entries, tensors, strict=True):
        if not tensor and (isinstance(entry, bool) or not isinstance(entry, (int, float, complex))):
            raise ArgumentTypeError(f"gradient(): argument 'spacing' must be a number or tensors, not {type(entry).__name__}")
    if any(tensors) and not all(tensors):
        raise ArgumentTypeError("gradient(): argument 'spacing' must hold numbers or tensors, not both")
    return entries
