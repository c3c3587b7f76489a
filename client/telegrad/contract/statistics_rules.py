"""Rules of the statistics family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import DimensionError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Spec
from telegrad.contract.shapes import dimension, reduced_shape

Inputs = Sequence[Any]
Parameters = Mapping[str, Any]

INTERPOLATIONS: Final = ("linear", "lower", "higher", "midpoint", "nearest")
"""What ``quantile`` makes of a place between two values."""


def _ordered(name: str, dtype: DType, *, bools: bool) -> None:
    unsigned = dtype in (dtypes.uint16, dtypes.uint32, dtypes.uint64)
    if dtype.is_complex or unsigned or (dtype is dtypes.bool_ and not bools):
        raise UnsupportedDTypeError(f'"{name}_cpu" not implemented for {dtype.name}; convert the tensor first, with .to(...)')


def middle(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``median`` and ``nanmedian`` of all elements."""
    (x,) = inputs
    _ordered("median", x.dtype, bools=False)
    return Outcome((Spec((), x.dtype),), x.size * max(1, x.size.bit_length()), None, x.nbytes)


def chosen(name: str, *, bools: bool = False) -> Rule:
    """Rule of what picks one value along a dimension: ``median(dim)``, ``kthvalue``, ``mode``."""

    def rule(inputs: Inputs, p: Parameters) -> Outcome:
        (x,) = inputs
        dim = dimension(p["dim"], len(x.shape))
        size = x.shape[dim] if x.shape else 1
        if size == 0:
            raise DimensionError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
        if "k" in p and not 1 <= p["k"] <= size:
            raise ShapeError(f"kthvalue(): selected number k out of range for dimension {dim}: k is {p['k']}, the size {size}")
        _ordered(name, x.dtype, bools=bools)
        shape = reduced_shape(x.shape, (dim,), p["keepdim"])
        specs = (Spec(shape, x.dtype), Spec(shape, dtypes.int64))
        return Outcome(specs, x.size * max(1, x.size.bit_length()), None, 24 * x.size)

    return rule


def _quantile_inputs(name: str, x: Spec, q: Any, p: Parameters) -> None:
    if not x.size:
        raise ShapeError(f"{name}() input tensor must be non-empty")
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(f"{name}() input tensor must be either float or double dtype; it is {x.dtype.name}")
    if p["interpolation"] not in INTERPOLATIONS:
        raise ShapeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {p['interpolation'][:40]}"
        )
    if type(q) is Spec:
        if len(q.shape) > 1:
            raise ShapeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not x.dtype:
            raise DTypeError(f"{name}() q tensor must be same dtype as the input tensor: {q.dtype.name} and {x.dtype.name}")
    elif isinstance(q, complex) or not 0 <= q <= 1:
        raise ShapeError(f"{name}() q must be in the range [0, 1] but got {q}")


def quantile(name: str) -> Rule:
    """Rule of ``quantile`` and ``nanquantile``."""

    def rule(inputs: Inputs, p: Parameters) -> Outcome:
        x, q = inputs
        _quantile_inputs(name, x, q, p)
        dims = None if p["dim"] is None else (dimension(p["dim"], len(x.shape)),)
        shape = reduced_shape(x.shape, dims, p["keepdim"])
        spec = Spec((*(q.shape if type(q) is Spec else ()), *shape), x.dtype)
        return Outcome((spec,), x.size * max(1, x.size.bit_length()) + 8 * spec.size, None, 16 * x.size + 32 * spec.size)

    return rule


def quantile_places(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``_quantile_places``."""
    x, q = inputs
    shape = (*x.shape[:-1], *(q.shape if type(q) is Spec and q.shape else (1,)))
    places, ranks = Spec(shape, dtypes.int64), Spec(shape, x.dtype)
    return Outcome((places, places, ranks, ranks), x.size * max(1, x.size.bit_length()))


def logcumsumexp(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``logcumsumexp``."""
    (x,) = inputs
    dimension(p["dim"], len(x.shape))
    if x.dtype.category < 2:
        raise UnsupportedDTypeError(f'"logcumsumexp_out_cpu" not implemented for {x.dtype.name}; convert it first, with .to(...)')
    return Outcome((x,), 20 * x.size)


def _weights(name: str, weight: Spec, count: int) -> None:
    if len(weight.shape) > 1:
        raise ShapeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {len(weight.shape)} dimensions"
        )
    fits = weight.dtype.category == 1 if name == "fweights" else weight.dtype.is_floating_point
    if not fits:
        kind = "integral" if name == "fweights" else "floating point"
        raise DTypeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {weight.dtype.name} dtype")
    if weight.size != count:
        raise ShapeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got {weight.size} != {count}"
        )


def _variables(name: str, x: Spec) -> Outcome:
    if len(x.shape) > 2:
        raise ShapeError(
            f"{name}(): expected input to have two or fewer dimensions but got an input with {len(x.shape)} dimensions"
        )
    if x.dtype is dtypes.bool_:
        raise DTypeError(f"{name}(): bool dtype is not supported for input")
    result = dtypes.to_float(x.dtype)
    shape = (x.shape[0], x.shape[0]) if len(x.shape) == 2 and x.shape[0] != 1 else ()
    return Outcome((Spec(shape, result),), 2 * x.size * (x.shape[0] if len(x.shape) == 2 else 1), None, 3 * x.nbytes)


def covariance(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``cov``."""
    x, fweights, aweights = inputs
    outcome = _variables("cov", x)
    count = x.shape[-1] if x.shape else 1
    (spec,) = outcome.outputs
    if fweights is not None:
        _weights("fweights", fweights, count)
    if aweights is not None:
        _weights("aweights", aweights, count)
        spec = Spec(spec.shape, dtypes.promote_pair(spec.dtype, aweights.dtype))
    return Outcome((spec,), outcome.flops, None, outcome.scratch_bytes)


def correlation(inputs: Inputs, p: Parameters) -> Outcome:
    """Rule of ``corrcoef``."""
    return _variables("corrcoef", inputs[0])
