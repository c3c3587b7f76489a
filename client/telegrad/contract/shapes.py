"""Rules that many ops share: dimensions, broadcasting, promotion, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DimensionError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Shape, Spec


def dimension(dim: int, ndim: int) -> int:
    """``dim`` counted from the front. A 0-d tensor accepts 0 and -1, as in PyTorch.

    Raises DimensionError when the tensor has no such dimension, ArgumentTypeError when ``dim`` is no int.
    """
    if type(dim) is not int:
        if isinstance(dim, bool) or not hasattr(dim, "__index__"):
            raise ArgumentTypeError(f"dim must be int, not {type(dim).__name__}")
        dim = dim.__index__()
    bound = ndim or 1
    if not -bound <= dim < bound:
        raise DimensionError(f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})")
    return dim % bound


def dimensions(dims: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """``dims`` counted from the front, in the given order; None or an empty sequence means all of them."""
    if dims is None or len(dims) == 0:
        return tuple(range(ndim))
    found = tuple(dimension(d, ndim) for d in dims)
    if len(set(found)) != len(found):
        twice = next(d for d in found if found.count(d) > 1)
        raise ShapeError(f"dim {twice} appears multiple times in the list of dims")
    return found if ndim else ()


def broadcast(*shapes: Shape) -> Shape:
    """The shape that all broadcast to. Raises ShapeError naming the first dimension that does not fit."""
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        return shapes[0]
    ndim = max(len(s) for s in shapes)
    result = [1] * ndim
    for shape in shapes:
        for axis in range(-1, -len(shape) - 1, -1):
            size = shape[axis]
            if size == 1 or size == result[axis]:
                continue
            if result[axis] != 1:
                raise ShapeError(
                    f"The size of tensor a ({result[axis]}) must match the size of tensor b ({size}) at non-singleton "
                    f"dimension {ndim + axis}; shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast"
                )
            result[axis] = size
    return tuple(result)


def result_type(inputs: Sequence[Any]) -> DType:
    """PyTorch's result type of tensors (as Specs) and Python numbers together; None entries are skipped."""
    first = inputs[0]
    if len(inputs) == 2:
        second = inputs[1]
        if type(first) is Spec and type(second) is Spec and first.dtype is second.dtype:
            return first.dtype
    dimensioned: list[DType] = []
    zero_dim: list[DType] = []
    numbers: list[DType] = []
    for value in inputs:
        if type(value) is Spec:
            (dimensioned if value.shape else zero_dim).append(value.dtype)
        elif value is not None:
            numbers.append(number_type(value))
    return dtypes.promote(dimensioned, zero_dim, numbers)


def number_type(value: Any) -> DType:
    """The default type of a Python number; raises ArgumentTypeError for anything that is none."""
    try:
        return dtypes.of_number(value)
    except KeyError:
        # A subclass, such as numpy's float64, counts as the Python type it derives from.
        for python in (int, float, complex):
            if isinstance(value, python):
                return dtypes.of_number(python())
        raise ArgumentTypeError(f"expected a tensor or a number, got {type(value).__name__}") from None


def _input_shapes(inputs: Sequence[Any]) -> list[Shape]:
    return [i.shape for i in inputs if type(i) is Spec]


def require_differentiable_type(name: str, dtype: DType) -> None:
    """Refuse integer and boolean tensors where PyTorch has no kernel for them."""
    if not dtype.is_differentiable:
        raise UnsupportedDTypeError(
            f'"{name}" not implemented for {dtype.name}; convert it first, for example with .to(telegrad.float32)'
        )


def elementwise(*, to_float: bool = False, result: DType | None = None, flops: int = 1, refuse: str = "", name: str = "") -> Rule:
    """Broadcast all inputs and promote them to one type.

    Args:
        to_float: integers and bool become the default floating type (exp, true division).
        result: the output's type where it is not the promoted one (comparisons give bool).
        flops: operations an element.
        refuse: categories of promoted type that PyTorch refuses, as letters: b bool, i integer, f floating, c complex.
        name: the op's name, for the message of a refusal.
    """
    refused = {"bifc".index(letter) for letter in refuse}

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        dtype = result_type(inputs)
        if dtype.category in refused:
            raise UnsupportedDTypeError(
                f'"{name}" not implemented for {dtype.name}; convert the tensor first, for example with .to(...)'
            )
        if to_float:
            dtype = dtypes.to_float(dtype)
        shape = inputs[0].shape if len(inputs) == 1 else broadcast(*_input_shapes(inputs))
        return Outcome((Spec(shape, result or dtype),), flops * math.prod(shape), dtype)

    return rule


def same(*, flops: int = 1, compute: bool = False) -> Rule:
    """One output like the first input."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x = inputs[0]
        return Outcome((x,), flops * x.size, x.dtype if compute else None)

    return rule


def reduced_shape(shape: Shape, dims: Sequence[int] | None, keepdim: bool) -> Shape:
    """``shape`` with ``dims`` (None or empty: all) removed, or kept with size 1."""
    gone = set(dimensions(dims, len(shape)))
    if keepdim:
        return tuple(1 if i in gone else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in gone)


def reduction(result: Callable[[DType, DType | None], DType], *, flops: int = 1, empty: bool = True, name: str = "") -> Rule:
    """Reduce over ``dim`` (an int, a tuple or None for all) with ``keepdim``.

    Args:
        result: from the input's type and the ``dtype`` parameter (or None) to the result's type.
        flops: operations an input element.
        empty: whether reducing zero elements has a value (a sum has, a maximum has not).
        name: the op's name, for the message.
    """

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x = inputs[0]
        dim = parameters.get("dim")
        dims: Sequence[int] | None = (dim,) if isinstance(dim, int) else dim
        shape = reduced_shape(x.shape, dims, bool(parameters.get("keepdim", False)))
        if not empty:
            for d in dimensions(dims, len(x.shape)):
                if x.shape[d] == 0:
                    raise DimensionError(
                        f"{name}(): Expected reduction dim {d} to have non-zero size; the tensor's shape is {list(x.shape)}"
                    )
        dtype = result(x.dtype, parameters.get("dtype"))
        return Outcome((Spec(shape, dtype),), flops * x.size, None)

    return rule


def size_argument(given: Sequence[Any], by_name: Sequence[int] | None = None, name: str = "size") -> Shape:
    """Sizes that were given one by one, as one tuple or list, or by name; every entry an int.

    Raises ArgumentTypeError for entries that are no ints, and unless the sizes were given in exactly one way.
    """
    if by_name is not None:
        if given:
            raise ArgumentTypeError(f"got the sizes both by position and as '{name}='")
        return ints(by_name, name)
    if not given:
        raise ArgumentTypeError(f'missing 1 required argument: "{name}"')
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = given[0]
    return ints(given, name)


def ints(values: Any, name: str) -> tuple[int, ...]:
    """A tuple of ints from an int or a sequence of ints; raises ArgumentTypeError naming the argument."""
    if type(values) is int:
        return (values,)
    if not isinstance(values, (tuple, list)):
        if hasattr(values, "__index__") and not isinstance(values, bool):
            return (values.__index__(),)
        raise ArgumentTypeError(f"argument '{name}' must be int or tuple of ints, not {type(values).__name__}")
    out: list[int] = []
    for v in values:
        if type(v) is not int:
            if isinstance(v, bool) or not hasattr(v, "__index__"):
                raise ArgumentTypeError(f"argument '{name}' must be tuple of ints, found {type(v).__name__}")
            v = v.__index__()
        out.append(v)
    return tuple(out)


def integer(value: Any, name: str) -> int:
    """A Python int from anything that is one; raises ArgumentTypeError naming the argument."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(f"argument '{name}' must be int, not {type(value).__name__}")
    return value.__index__()  # type: ignore[no-any-return]


def real_number(value: Any, name: str) -> float:
    """A Python float from a real number or a tensor without dimensions; raises ArgumentTypeError naming the argument."""
    if type(value) is float:
        return value
    number = isinstance(value, (int, np.integer, np.floating)) or getattr(value, "shape", None) == ()
    if not number:
        raise ArgumentTypeError(f"argument '{name}' must be float, not {type(value).__name__}")
    return float(value)


def optional_ints(values: Any, name: str) -> tuple[int, ...] | None:
    """Like ``ints``, None allowed."""
    return None if values is None else ints(values, name)


def nonnegative(shape: Shape) -> Shape:
    """The shape itself; raises ShapeError if any size is negative."""
    for n in shape:
        if n < 0:
            raise ShapeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    return shape


def choose(value: str, allowed: Sequence[str], name: str) -> str:
    """``value`` if it is one of ``allowed``; raises ArgumentValueError naming the choices."""
    if value not in allowed:
        raise ArgumentValueError(f"argument '{name}' must be one of {', '.join(allowed)}")
    return value
