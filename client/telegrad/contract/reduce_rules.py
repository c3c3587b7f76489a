"""Rules of the reduce family: result types, empty reductions, and what PyTorch refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DimensionError,
    DTypeError,
    ShapeError,
    UnsupportedDTypeError,
)
from telegrad.contract.ops import Outcome, Rule, Shape, Spec
from telegrad.contract.shapes import dimension, dimensions, reduced_shape

Parameters = Mapping[str, Any]


def flag(value: Any, name: str) -> bool:
    """``value`` if it is a bool; raises ArgumentTypeError naming the argument."""
    if type(value) is not bool:
        raise ArgumentTypeError(f"argument '{name}' must be bool, not {type(value).__name__}")
    return value


def sum_type(x: DType, dtype: DType | None) -> DType:
    """Integers and bool sum to int64."""
    return dtype or (x if x.category >= 2 else dtypes.int64)


def running_type(name: str) -> Callable[[DType, DType | None], DType]:
    """Like ``sum_type``; bool cannot be asked for."""

    def result(x: DType, dtype: DType | None) -> DType:
        if dtype is dtypes.bool_:
            raise UnsupportedDTypeError(f'"{name}_out_cpu" not implemented for bool; ask for an integer type')
        return sum_type(x, dtype)

    return result


def mean_type(x: DType, dtype: DType | None) -> DType:
    """Floating point and complex only; integers need a ``dtype``."""
    which = "Input" if dtype is None else "Optional"
    found = dtype or x
    if not found.is_differentiable:
        raise DTypeError(
            f"mean(): could not infer output dtype. {which} dtype must be either a floating point or complex dtype. "
            f"Got: {found.name}"
        )
    return found


def spread_type(x: DType, _: DType | None) -> DType:
    """Variances and deviations: floating point and complex in, real out."""
    if not x.is_differentiable:
        raise DTypeError(f"std and var only support floating point and complex dtypes; got {x.name}")
    return dtypes.to_real(x)


def bool_type(x: DType, _: DType | None) -> DType:
    """``all`` and ``any`` give bool, except uint8 in, uint8 out."""
    return x if x is dtypes.uint8 else dtypes.bool_


def integer_type(_: DType, __: DType | None) -> DType:
    """Counts and positions."""
    return dtypes.int64


def float_type(x: DType, _: DType | None) -> DType:
    """Integers become float32."""
    return dtypes.to_float(x)


def nansum_type(x: DType, dtype: DType | None) -> DType:
    """Like ``sum_type``, real only."""
    if x.is_complex:
        raise DTypeError("nansum on CPU does not support complex inputs")
    return sum_type(x, dtype)


def ordered(name: str, result: DType | None = None) -> Callable[[DType, DType | None], DType]:
    """Types that have an order: all but complex."""

    def found(x: DType, _: DType | None) -> DType:
        if x.is_complex:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {x.name}: complex numbers have no order')
        return result or x

    return found


def position_type(name: str) -> Callable[[DType, DType | None], DType]:
    """Positions of extremes: neither complex nor bool."""

    def found(x: DType, _: DType | None) -> DType:
        if x.is_complex or x is dtypes.bool_:
            raise DTypeError(f"{name}(): does not support {'complex' if x.is_complex else 'bool'} input")
        return dtypes.int64

    return found


def _dims(dim: Any) -> Sequence[int] | None:
    return (dim,) if isinstance(dim, int) else dim


def reduction(
    result: Callable[[DType, DType | None], DType],
    *outputs: Callable[[DType, DType | None], DType],
    flops: int = 1,
    needs_elements: str = "",
    empty_error: type[DimensionError | ShapeError] = ShapeError,
) -> Rule:
    """Reduce over ``dim`` (an int, a tuple or None for all) with ``keepdim``.

    Args:
        result: from the input's type and the ``dtype`` parameter (or None) to the result's type.
        outputs: likewise for further outputs of the same shape.
        flops: operations an input element.
        needs_elements: the op's name if reducing zero elements has no value (a maximum has none, a sum has).
        empty_error: what is raised for an empty tensor reduced over all dimensions.
    """

    def rule(inputs: Sequence[Any], p: Parameters) -> Outcome:
        x, dims = inputs[0], _dims(p.get("dim"))
        dtype = p.get("dtype")
        types = [f(x.dtype, dtype) for f in (result, *outputs)]
        shape = reduced_shape(x.shape, dims, p.get("keepdim", False))
        if needs_elements and x.size == 0:
            _require_elements(x.shape, dims, needs_elements, empty_error)
        return Outcome(tuple(Spec(shape, t) for t in types), flops * x.size)

    return rule


def _require_elements(shape: Shape, dims: Sequence[int] | None, name: str, error: type[DimensionError | ShapeError]) -> None:
    if not dims:
        raise error(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
            "Specify the reduction dim with the 'dim' argument."
        )
    for d in dimensions(dims, len(shape)):
        if shape and shape[d] == 0:
            raise DimensionError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def logical(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``all`` and ``any``: an empty tuple of dimensions reduces none, as in PyTorch."""
    x, dims = inputs[0], _dims(p["dim"])
    shape = x.shape if dims is not None and len(dims) == 0 else reduced_shape(x.shape, dims, p["keepdim"])
    return Outcome((Spec(shape, bool_type(x.dtype, None)),), x.size)


def spread(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``var`` and ``std``."""
    if p["unbiased"] is not None and p["correction"] is not None:
        raise ArgumentTypeError("var and std take either unbiased or correction, not both")
    if isinstance(p["correction"], complex):
        raise ArgumentTypeError("correction must be a real number")
    return reduction(spread_type, flops=4)(inputs, p)


def running(result: Callable[[DType, DType | None], DType], *outputs: Callable[[DType, DType | None], DType]) -> Rule:
    """Same shape out, running along ``dim``."""

    def rule(inputs: Sequence[Any], p: Parameters) -> Outcome:
        x = inputs[0]
        dimension(p["dim"], len(x.shape))
        types = [f(x.dtype, p.get("dtype")) for f in (result, *outputs)]
        return Outcome(tuple(Spec(x.shape, t) for t in types), x.size)

    return rule


def norm(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``norm``."""
    x, order, dtype, dims = inputs[0], p["p"], p["dtype"], _dims(p["dim"])
    if isinstance(order, str) and order != "fro":
        raise ArgumentValueError("norm(): p must be a number or 'fro'; telegrad.linalg.matrix_norm has the orders of matrices")
    if not x.dtype.is_differentiable:
        raise DTypeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    if dtype is not None:
        if not dtype.is_differentiable:
            raise DTypeError(f"linalg.vector_norm: dtype should be floating point or complex, but got {dtype.name}")
        if dtype.is_complex != x.dtype.is_complex:
            kind = "complex" if x.dtype.is_complex else "real"
            raise DTypeError(f"linalg.vector_norm: dtype should be {kind} for {kind} inputs, but got {dtype.name}")
        if dtypes.promote_pair(x.dtype, dtype) is not dtype:
            raise DTypeError(
                f"linalg.vector_norm: the dtype of the input ({x.dtype.name}) should be convertible without narrowing to the "
                f"specified dtype ({dtype.name})"
            )
    shape = reduced_shape(x.shape, dims, p["keepdim"])
    if isinstance(order, (int, float)) and (order < 0 or order == math.inf) and x.size == 0:
        # Without an identity, an empty extreme has no value.
        if not dims:
            raise ShapeError(
                f"linalg.vector_norm cannot compute the {order} norm on an empty tensor because the operation does not have an "
                "identity"
            )
        for d in dimensions(dims, len(x.shape)):
            if x.shape[d] == 0:
                raise ShapeError(
                    f"linalg.vector_norm cannot compute the {order} norm on the dimension {d} because this dimension is empty and "
                    "the operation does not have an identity"
                )
    return Outcome((Spec(shape, dtypes.to_real(dtype or x.dtype)),), 4 * x.size)
