"""Shape, type and cost rules of the ops that make tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DEFAULT_DTYPE, DType, Number, as_dtype
from telegrad.contract.errors import DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.literal import check_fits
from telegrad.contract.ops import Outcome, Spec, check_bytes
from telegrad.contract.shapes import nonnegative, number_type


def made(size: Sequence[int], dtype: DType, flops: int = 1) -> Outcome:
    """One new tensor; refuses negative sizes and sizes beyond memory."""
    shape = nonnegative(tuple(size))
    check_bytes(shape, dtype)
    spec = Spec(shape, dtype)
    return Outcome((spec,), flops * spec.size)


def chosen_type(p: Mapping[str, Any], default: DType = DEFAULT_DTYPE) -> DType:
    """The ``dtype`` parameter, or ``default``."""
    return default if p["dtype"] is None else as_dtype(p["dtype"])


def filled(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of ops with ``size`` and ``dtype``."""
    return made(p["size"], chosen_type(p))


def full(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """``fill_value`` decides the type unless ``dtype`` does."""
    dtype = chosen_type(p, number_type(p["fill_value"]))
    check_fits(p["fill_value"], dtype)
    return made(p["size"], dtype)


def eye(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rows ``n``, columns ``m`` or ``n``."""
    n, m = p["n"], p["n"] if p["m"] is None else p["m"]
    for name, value in (("n", n), ("m", m)):
        if value < 0:
            raise ShapeError(f"{name} must be greater or equal to 0, got {value}")
    return made((n, m), chosen_type(p))


def arange_bounds(start: Any, end: Any, step: Any, dtype: DType) -> tuple[Any, Any, int]:
    """First value, step and number of values of ``arange``; integers are exact.

    Raises DTypeError and ShapeError (RuntimeErrors, as in PyTorch) for bounds that make no range.
    """
    if end is None:
        start, end = 0, start
    for value in (start, end, step):
        if isinstance(value, complex):
            raise DTypeError("value cannot be converted to type double without overflow")
        if not math.isfinite(value):
            raise ShapeError("unsupported range: arange needs finite bounds and step")
    if dtype.category in (0, 3):
        raise UnsupportedDTypeError(f'"arange" not implemented for {dtype.name}')
    whole = all(isinstance(v, int) for v in (start, end, step))
    if dtype.category == 1 and not whole and dtype is dtypes.int64:
        start, end, step, whole = int(start.real), int(end.real), int(step.real), True
    if step == 0:
        raise ShapeError("step must be nonzero")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise ShapeError("upper bound and lower bound inconsistent with step sign")
    steps = (end - start) / step
    if not math.isfinite(steps):
        raise ShapeError("invalid size, possible overflow?")
    count = -((start - end) // step) if whole else math.ceil(steps)
    if count >= 2**63:
        raise ShapeError("invalid size, possible overflow?")
    # Narrower integers are counted by the numbers given and filled by what is left of those in the type, as in PyTorch.
    return (int(start), int(step), int(count)) if dtype.category == 1 else (start, step, int(count))


def arange_type(start: Number, end: Number | None, step: Number) -> DType:
    """int64 for integers, float32 as soon as one number is fractional."""
    return dtypes.int64 if all(isinstance(v, int) for v in (start, end, step) if v is not None) else DEFAULT_DTYPE


def arange(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of arange."""
    start, end, step = p["start"], p["end"], p["step"]
    dtype = chosen_type(p, arange_type(start, end, step))
    return made((arange_bounds(start, end, step, dtype)[2],), dtype, 2)


def spaced_type(start: Number, end: Number) -> DType:
    """complex64 as soon as one end is complex, else float32."""
    return dtypes.complex64 if isinstance(start, complex) or isinstance(end, complex) else DEFAULT_DTYPE


def spaced(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of linspace and logspace."""
    natural = spaced_type(p["start"], p["end"])
    dtype = chosen_type(p, natural)
    if natural.is_complex and not dtype.is_complex:
        raise DTypeError(f"linspace(): inferred dtype {natural.name} can't be safely cast to passed dtype {dtype.name}")
    if dtype.category == 0:
        raise UnsupportedDTypeError('"linspace" not implemented for bool')
    check_fits(p["start"], dtype)
    check_fits(p["end"], dtype)
    if p["steps"] < 0:
        raise ShapeError("number of steps must be non-negative")
    return made((p["steps"],), dtype, 3)


def fractional(name: str, dtype: DType) -> DType:
    """``dtype`` itself; raises DTypeError for integers and bool."""
    if dtype.category < 2:
        raise UnsupportedDTypeError(f'"{name}" not implemented for {dtype.name}; draw integers with randint')
    return dtype


def uniform(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of rand."""
    return made(p["size"], fractional("rand", chosen_type(p)), 10)


def normal(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of randn and normal."""
    if not p.get("std", 1) >= 0:
        raise ShapeError("normal expects std >= 0.0")
    return made(p["size"], fractional("randn", chosen_type(p)), 20)


def check_draw(low: int, high: int, dtype: DType) -> None:
    """Refuse an empty range, and one that reaches beyond the type."""
    if low >= high:
        raise ShapeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if dtype.is_complex:
        raise UnsupportedDTypeError(f'"randint" not implemented for {dtype.name}')
    if dtype.category == 0:
        bounds = (0, 1)
    elif dtype.category == 1:
        limits = np.iinfo(dtype.numpy)  # type: ignore[type-var]
        bounds = (int(limits.min), int(limits.max))
    else:
        return
    if low < bounds[0]:
        raise ShapeError(f"from is out of bounds for {dtype.name}")
    if high - 1 > bounds[1]:
        raise ShapeError(f"to - 1 is out of bounds for {dtype.name}")


def randint(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of randint."""
    dtype = chosen_type(p, dtypes.int64)
    check_draw(p["low"], p["high"], dtype)
    return made(p["size"], dtype, 10)


def randperm(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of randperm."""
    dtype = chosen_type(p, dtypes.int64)
    outcome = made((p["n"],), dtype, 10)
    if dtype.category in (0, 3):
        raise UnsupportedDTypeError(f'"randperm" not implemented for {dtype.name}')
    if dtype.category == 1:
        check_fits(p["n"], dtype)
    return outcome


def like(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Shape of the input; its type unless ``dtype`` is given."""
    return made(inputs[0].shape, chosen_type(p, inputs[0].dtype))


def full_like(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """As ``like``, with a number that must fit."""
    outcome = like(inputs, p)
    check_fits(p["fill_value"], outcome.outputs[0].dtype)
    return outcome


def uniform_like(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of rand_like."""
    return made(inputs[0].shape, fractional("rand", chosen_type(p, inputs[0].dtype)), 10)


def normal_like(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of randn_like."""
    return made(inputs[0].shape, fractional("randn", chosen_type(p, inputs[0].dtype)), 20)


def randint_like(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of randint_like."""
    dtype = chosen_type(p, inputs[0].dtype)
    check_draw(p["low"], p["high"], dtype)
    return made(inputs[0].shape, dtype, 10)


def new(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """``size`` is given, the type is the input's unless ``dtype`` is given."""
    dtype = chosen_type(p, inputs[0].dtype)
    check_fits(p["fill_value"], dtype)
    return made(p["size"], dtype)


def coins(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of bernoulli."""
    x = inputs[0]
    if p["p"] is not None:
        if not 0 <= p["p"] <= 1:
            raise ShapeError("bernoulli_ expects p to be in [0, 1]")
    elif x.dtype.category != 2:
        raise UnsupportedDTypeError(f'"bernoulli" not implemented for {x.dtype.name}')
    return Outcome((x,), 10 * x.size)
