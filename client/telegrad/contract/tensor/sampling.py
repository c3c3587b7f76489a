"""Sampling at points, bags of embeddings, distances and connectionist losses of ``telegrad.nn.functional``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from telegrad.contract import dtypes
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Spec, check_bytes, op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import broadcast, dimension, integer, real_number
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.nn import FUNCTIONAL

SAMPLING_MODES: Final = ("bilinear", "nearest", "bicubic")
SAMPLING_PADDING: Final = ("zeros", "border", "reflection")
DISTANCE_MODES: Final = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
BAG_MODES: Final = ("sum", "mean", "max")


def _grid_sample_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    x, grid = inputs
    if parameters["mode"] not in SAMPLING_MODES:
        raise ArgumentValueError("nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic'")
    if parameters["padding_mode"] not in SAMPLING_PADDING:
        raise ArgumentValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection'")
    count = len(x.shape) - 2
    if count not in (2, 3) or len(grid.shape) != len(x.shape):
        raise ShapeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(x.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[0] != x.shape[0]:
        raise ShapeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got input with sizes {list(x.shape)} and grid "
            f"with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != count:
        raise ShapeError(
            f"grid_sampler(): expected grid to have size {count} in last dimension, but got grid with sizes {list(grid.shape)}"
        )
    if not all(x.shape[2:]):
        raise ShapeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes {list(x.shape)}"
        )
    if parameters["mode"] == "bicubic" and count != 2:
        raise ShapeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if not x.dtype.is_floating_point:
        raise UnsupportedDTypeError(f'"grid_sampler" not implemented for {x.dtype.name}; convert it with .to(telegrad.float32)')
    if grid.dtype is not x.dtype:
        raise DTypeError(f"grid_sampler(): expected scalar type {x.dtype.name} but found {grid.dtype.name}: convert the grid")
    out = Spec((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    corners = 16 if parameters["mode"] == "bicubic" else 2**count
    return Outcome((out,), 8 * corners * (out.size + grid.size), None, 8 * (out.nbytes + 2 * grid.nbytes))


def _check_bag_weights(indices: Spec, weight: Spec, weights: Spec, mode: str) -> None:
    if mode != "sum":
        raise UnsupportedDTypeError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}')"
        )
    if weights.shape != indices.shape:
        raise ArgumentValueError(
            f"embedding_bag: If per_sample_weights ({list(weights.shape)}) is not None, then it must have the same shape as "
            f"the input ({list(indices.shape)})"
        )
    if weights.dtype is not weight.dtype:
        raise DTypeError(
            f"Expected tensor for argument 'weight' to have the same type as per_sample_weights: {weight.dtype.name} is not "
            f"{weights.dtype.name}"
        )


def _bag_count(indices: Spec, offsets: Spec | None, include_last_offset: bool) -> int:
    """How many bags there are."""
    if len(indices.shape) == 2:
        if offsets is not None:
            raise ArgumentValueError("if input is 2D, then offsets has to be None, as input is treated as a mini-batch of bags")
        return indices.shape[0]
    if len(indices.shape) == 1:
        if offsets is None:
            raise ArgumentValueError("offsets has to be a 1D Tensor but got None")
        if len(offsets.shape) != 1:
            raise ArgumentValueError(f"offsets has to be a 1D Tensor, it has shape {list(offsets.shape)}")
        if include_last_offset and not offsets.shape[0]:
            raise ShapeError("include_last_offset: number of offsets should be at least 1")
        return offsets.shape[0] - include_last_offset
    raise ArgumentValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {len(indices.shape)}")


def _embedding_bag_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    indices, weight, offsets, weights = inputs
    mode = parameters["mode"]
    if mode not in BAG_MODES:
        raise ArgumentValueError("mode has to be one of sum, mean or max")
    if len(weight.shape) != 2:
        raise ShapeError(f"embedding_bag(): weight must be 2-D, got shape {list(weight.shape)}")
    for name, x in (("input", indices), ("offsets", offsets)):
        if x is not None and x.dtype not in (dtypes.int64, dtypes.int32):
            raise DTypeError(
                f"Expected tensor for argument '{name}' to have one of the scalar types: Long, Int; but got {x.dtype.name}"
            )
    bags = _bag_count(indices, offsets, parameters["include_last_offset"])
    if not weight.dtype.is_floating_point:
        raise UnsupportedDTypeError(f'"embedding_bag" not implemented for {weight.dtype.name}')
    if weights is not None:
        _check_bag_weights(indices, weight, weights, mode)
    padding = parameters["padding_idx"]
    if padding is not None and not -weight.shape[0] <= padding < weight.shape[0]:
        raise ShapeError(f"padding_idx must be within the number of embeddings, which is {weight.shape[0]}, got {padding}")
    width = weight.shape[1]
    largest = Spec((bags, width) if mode == "max" else (0, width), dtypes.int64)
    outputs = (Spec((bags, width), weight.dtype), Spec((indices.size,), dtypes.int64), Spec((bags,), dtypes.int64), largest)
    return Outcome(outputs, 2 * indices.size * width, None, 2 * indices.size * width * weight.dtype.itemsize)


def _cdist_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    a, b = inputs
    for name, x in (("X1", a), ("X2", b)):
        if not x.dtype.is_floating_point:
            raise DTypeError(f"cdist only supports floating-point dtypes, {name} got: {x.dtype.name}")
        if x.dtype is dtypes.float16:
            raise UnsupportedDTypeError('"cdist" not implemented for float16; convert it first, with .to(telegrad.float32)')
    for name, x in (("X1", a), ("X2", b)):
        if len(x.shape) < 2:
            raise ShapeError(f"cdist only supports at least 2D tensors, {name} got: {len(x.shape)}D")
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"X1 and X2 must have the same number of columns. X1: {a.shape[-1]} X2: {b.shape[-1]}")
    _check_power("cdist", parameters["p"])
    if a.dtype is not b.dtype:
        raise DTypeError(f"expected scalar type {a.dtype.name} but found {b.dtype.name}: convert one of them with .to(...)")
    shape = (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-2])
    check_bytes(shape, a.dtype)
    out = Spec(shape, a.dtype)
    return Outcome((out,), 3 * out.size * a.shape[-1], None, out.nbytes * max(1, a.shape[-1]))


def _cdist_gradient_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    g, a = inputs[:2]
    shape = (*g.shape[:-2], *a.shape[-2:])
    return Outcome((Spec(shape, a.dtype),), 5 * g.size * a.shape[-1], None, g.nbytes * max(1, a.shape[-1]) * 2)


def _check_power(name: str, p: float) -> None:
    if not p >= 0:
        raise ShapeError(f"{name} only supports non-negative p values")


def _pdist_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    if len(x.shape) != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {len(x.shape)}D")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"pdist only supports floating-point dtypes, got: {x.dtype.name}")
    _check_power("pdist", parameters["p"])
    n = x.shape[0]
    out = Spec((n * (n - 1) // 2,), x.dtype)
    return Outcome((out,), 3 * out.size * x.shape[1], None, 2 * x.dtype.itemsize * n * n * max(1, x.shape[1]))


def _renorm_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    p, maxnorm = parameters["p"], parameters["maxnorm"]
    if isinstance(p, complex):
        raise ShapeError("renorm: p must be real-valued")
    if p <= 0:
        raise ShapeError("renorm: non-positive-norm not supported")
    if isinstance(maxnorm, complex):
        raise ShapeError("renorm: maxnorm must be real-valued")
    if maxnorm < 0:
        raise ShapeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if len(x.shape) < 2:
        raise ShapeError(f"renorm: input needs at least 2 dimensions, got {len(x.shape)} dimensions")
    dimension(parameters["dim"], len(x.shape))
    if not x.dtype.is_differentiable:
        raise DTypeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    return Outcome((x,), 4 * x.size, None, 2 * x.nbytes)


class SamplingOps(TensorBase):
    """Sampling, bags, distances."""

    __slots__ = ()

    @op(_grid_sample_rule, name="grid_sample", namespace=FUNCTIONAL, node="GridSampler2DBackward0")
    def _grid_sample(self, grid: Self, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False) -> Self:
        """The input at the points of ``grid``, whose last dimension holds (x, y) or (x, y, z) in [-1, 1] across the image.

        Shapes: [N, C, H, W], [N, h, w, 2] -> [N, C, h, w]; with three dimensions likewise. Gradient: g times each weight; g times
        the slope of the weights. Raises: ShapeError, ArgumentValueError. Source: Jaderberg et al. (2015), arXiv:1506.02025.
        """
        return self._apply("grid_sample", self, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners)

    @op(
        _embedding_bag_rule,
        name="embedding_bag",
        namespace=FUNCTIONAL,
        outputs=("result", "bags", "sizes", "largest"),
        differentiable=("weight", "per_sample_weights"),
        node="EmbeddingBagBackward0",
    )
    def _embedding_bag(
        self,
        weight: Self,
        offsets: Self | None = None,
        per_sample_weights: Self | None = None,
        *,
        mode: str = "mean",
        scale_grad_by_freq: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> tuple[Self, Self, Self, Self]:
        """Sum, mean or maximum of the rows of ``weight`` that each bag of indices names.

        A bag is a row of ``self``, or what lies between two ``offsets``. Besides the result: each index's bag, the size of each
        bag, and for "max" the row that each maximum came from (-1: none). Row ``padding_idx`` counts in no bag. Shapes: [B, n], or
        [n] with [B] offsets -> [B, width]. Gradient: each row's share of g, with ``scale_grad_by_freq`` divided by how often it is
        named. Raises: IndexBoundsError, ShapeError, DTypeError.
        """
        settings: dict[str, Any] = {
            "mode": mode,
            "scale_grad_by_freq": flag(scale_grad_by_freq, "scale_grad_by_freq"),
            "include_last_offset": include_last_offset,
            "padding_idx": padding_idx,
        }
        return self._apply("embedding_bag", self, weight, offsets, per_sample_weights, **settings)

    @op(_cdist_rule, name="cdist")
    def _cdist(self, x2: Self, p: float = 2.0) -> Self:
        """Distance by the ``p``-norm between each row of ``self`` and each row of ``x2``.

        Shapes: [..., P, M], [..., R, M] -> [..., P, R]. Gradient: along the differences; zero where the distance is.
        Raises: ShapeError, DTypeError.
        """
        return self._apply("cdist", self, x2, p=real_number(p, "p"))

    @op(_cdist_gradient_rule, namespace="internal")
    def _cdist_gradient(self, x1: Self, x2: Self, distance: Self, *, p: float) -> Self:
        """Gradient of ``cdist`` with respect to ``x1``, ``self`` being that of the distances.

        Shapes: [..., P, R], [..., P, M], [..., R, M], [..., P, R] -> [..., P, M]. Gradient: by parts, in all four.
        """
        return self._apply("_cdist_gradient", self, x1, x2, distance, p=p)

    @op(_pdist_rule, name="pdist", namespace=FUNCTIONAL)
    def _pdist(self, p: float = 2.0) -> Self:
        """Distance by the ``p``-norm between each two rows, in the order of a triangle's rows.

        Shapes: [N, M] -> [N * (N - 1) / 2]. Gradient: as of ``cdist``. Raises: ShapeError, DTypeError.
        """
        return self._apply("pdist", self, p=real_number(p, "p"))

    @op(_renorm_rule, inplace=True)
    def renorm(self, p: Number, dim: int, maxnorm: Number) -> Self:
        """Slices along ``dim`` whose ``p``-norm exceeds ``maxnorm`` scaled down to it.

        Shapes: [...] -> [...]. Gradient: through the scale where it applies, g elsewhere. Raises: ShapeError, DimensionError.
        """
        for name, value in (("p", p), ("maxnorm", maxnorm)):
            if isinstance(value, bool) or not isinstance(value, (int, float, complex)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ArgumentTypeError(f"renorm(): argument '{name}' must be Number, not {type(value).__name__}")
        return self._apply("renorm", self, p=p, dim=integer(dim, "dim"), maxnorm=maxnorm)

    def renorm_(self, p: Number, dim: int, maxnorm: Number) -> Self:
        """``renorm`` in place."""
        return self._apply("renorm_", self, p=p, dim=integer(dim, "dim"), maxnorm=maxnorm)
