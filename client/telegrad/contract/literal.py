"""Data as users write it (numbers, nested sequences, arrays, tensors) into a numpy array, with PyTorch's types and refusals."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from telegrad.contract import dtypes
from telegrad.contract.base import TensorBase
from telegrad.contract.dtypes import DTYPES, DType, Number
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError

MAX_DIMENSIONS: Final = 64
"""numpy's own bound."""

_PYTHON: Final = frozenset({bool, int, float, complex})


Allocate: TypeAlias = "Callable[[tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]"
"""Gives an array without values for a shape and a type."""


def array_of(data: Any, dtype: DType | None = None, allocate: Allocate | None = None) -> npt.NDArray[Any]:
    """A new, contiguous array of ``data``.

    Args:
        data: a Python number, nested sequences of them, a numpy array or scalar, a tensor, or sequences of these. Where a number is
            due, a tensor of one element is one, whatever its shape.
        dtype: the element type; by default what PyTorch infers: bool, int64, float32 or complex64 for Python numbers; arrays and
            tensors keep their own.
        allocate: gives the memory for a copy of an array; by default numpy does.

    Raises:
        ArgumentValueError: for ragged or too deep nesting, for integers beyond 64 bits, for a longer tensor in a number's place.
        ArgumentTypeError: for strings, for a scalar among sequences, for arrays of a type without tensors, for complex into real.
        DTypeError: for an object that is no number, for a number that ``dtype`` cannot hold.
    """
    values = _values(data)
    if values is not None:
        return _convert_array(values, dtype, allocate)
    shape = _shape(data)
    leaves: set[Any] = set()
    _collect(data, shape, 0, leaves)
    if leaves <= _PYTHON:
        return from_numbers(data, leaves, shape, dtype)
    own = functools.reduce(dtypes.promote_pair, [_leaf_type(leaf) for leaf in leaves])
    nested = np.empty(shape, own.numpy)
    _write(nested, data)
    return _convert_array(nested, dtype)


def is_numpy_scalar(value: object) -> bool:
    """Whether ``value`` is a numpy number rather than an array of them."""
    return isinstance(value, np.generic)


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray)


def _values(data: Any) -> Any:
    """The array that ``data`` is or holds; None for numbers and sequences."""
    if isinstance(data, TensorBase):
        held: Any = data
        return held._value()
    return np.asarray(data) if is_numpy_scalar(data) or _is_array(data) else None


_LARGEST: Final = {"float16": 65504.0, "float32": (2 - 2**-23) * 2.0**127, "complex64": (2 - 2**-23) * 2.0**127}
"""The largest finite number of each type that Python's own floats exceed."""


def check_fits(value: Number, dtype: DType) -> None:
    """Refuse a Python number that ``dtype`` cannot hold.

    Raises DTypeError for a complex number that is not real into a real type, and beyond an integer's or a float's bounds: inf and
    nan fit into every float, 1e6 does not fit into float16.
    """
    if isinstance(value, complex):
        if dtype.category in (1, 2) and value.imag:
            raise _overflow(dtype)
        if dtype.category == 3:
            _check_finite(value.imag, dtype)
        value = value.real
    if dtype.category == 1:
        _check_bounds(value, value, dtype)
    elif dtype.category > 1:
        _check_finite(value, dtype)


def _check_finite(value: float, dtype: DType) -> None:
    if (largest := _LARGEST.get(dtype.name)) is not None and largest < abs(value) < math.inf:
        raise _overflow(dtype)


def _check_bounds(low: Any, high: Any, dtype: DType) -> None:
    """Negative integers wrap around in unsigned types as in C, as long as their size fits. Source: PyTorch's c10::overflows."""
    bound = 2 ** (8 * dtype.itemsize - dtype.is_signed)
    least = -bound if dtype.is_signed else 0 if isinstance(low, float) else 1 - bound
    # Written so that nan fails, too.
    if not (least <= low and high < bound):
        raise _overflow(dtype)


def _overflow(dtype: DType) -> DTypeError:
    return DTypeError(f"value cannot be converted to type {dtype.name} without overflow")


def _shape_of(data: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = data.shape
    return shape


def _is_sequence(data: Any) -> bool:
    if isinstance(data, (np.ndarray, TensorBase)):
        return len(_shape_of(data)) > 0
    return isinstance(data, Sequence) and not isinstance(data, (str, bytes))


def _shape(data: Any) -> tuple[int, ...]:
    """The shape along first elements; the others must agree."""
    shape: list[int] = []
    while _is_sequence(data) and not isinstance(data, TensorBase):
        if _is_array(data):
            shape.extend(_shape_of(data))
            break
        shape.append(len(data))
        if len(shape) > MAX_DIMENSIONS:
            raise ArgumentValueError(f"too many dimensions '{type(data).__name__}'; {MAX_DIMENSIONS} are possible")
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _collect(data: Any, shape: tuple[int, ...], depth: int, leaves: set[Any]) -> None:
    """Check that all sequences have the lengths in ``shape``, and add what the elements are: Python types or DTypes."""
    values = None if is_numpy_scalar(data) else _values(data)
    if values is not None:
        here: tuple[int, ...] = values.shape
        if isinstance(data, TensorBase):
            due = len(shape) - depth
            if math.prod(here[due:]) != 1:
                raise ArgumentValueError("only one element tensors can be converted to Python scalars")
            here = here[:due]
        if here != shape[depth:]:
            _refuse_ragged(here, shape, depth)
        leaves.add(numpy_type(values.dtype))
        return
    if depth == len(shape):
        leaves.add(_element(data))
        return
    if not _is_sequence(data):
        if isinstance(data, (str, bytes)):
            raise _no_number(data)
        raise ArgumentTypeError("not a sequence: numbers and sequences stand side by side")
    if len(data) != shape[depth]:
        raise ArgumentValueError(f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})")
    if depth + 1 == len(shape):
        kinds = set(map(type, data))
        if kinds <= _PYTHON:
            leaves |= kinds
            return
    for item in data:
        _collect(item, shape, depth + 1, leaves)


def _refuse_ragged(here: tuple[int, ...], shape: tuple[int, ...], depth: int) -> None:
    for offset, (size, wanted) in enumerate(zip(here, shape[depth:], strict=False)):
        if size != wanted:
            raise ArgumentValueError(f"expected sequence of length {wanted} at dim {depth + offset} (got {size})")
    if depth + len(here) < len(shape):
        raise ArgumentTypeError("not a sequence: numbers and sequences stand side by side")
    raise ArgumentTypeError("only 0-dimensional arrays can be converted to Python scalars")


def _element(value: Any) -> Any:
    """What a single element is: a Python number's type, or the DType of a numpy scalar."""
    scalar = _values(value)
    if scalar is not None:
        return numpy_type(scalar.dtype)
    for python in (bool, int, float, complex):
        if isinstance(value, python):
            return python
    raise _no_number(value)


def _no_number(value: Any) -> Exception:
    name = type(value).__name__
    if isinstance(value, (str, bytes)):
        return ArgumentTypeError(f"new(): invalid data type '{name}'")
    if _is_sequence(value):
        return ArgumentTypeError(f"'{name}' object cannot be interpreted as a number: sequences and numbers stand side by side")
    return DTypeError(f"Could not infer dtype of {name}")


def numpy_type(dtype: np.dtype[Any]) -> DType:
    """The DType of a numpy type; raises ArgumentTypeError in PyTorch's words where there is none."""
    try:
        return dtypes.from_numpy(dtype)
    except DTypeError:
        raise ArgumentTypeError(
            f"can't convert np.ndarray of type numpy.{dtype.type.__name__}. The only supported types are: {', '.join(DTYPES)}."
        ) from None


def _leaf_type(leaf: Any) -> DType:
    return leaf if isinstance(leaf, DType) else dtypes.of_number(leaf())


def from_numbers(data: Any, leaves: set[Any], shape: tuple[int, ...], dtype: DType | None) -> npt.NDArray[Any]:
    """An array of Python numbers: each is converted by itself, exactly or as its type rounds, and refused where it does not fit.

    Args:
        data: a number or nested sequences of them, of that ``shape``.
        leaves: the types among them.
        shape: see ``data``.
        dtype: see ``array_of``.

    Raises as ``array_of``.
    """
    category = max((_leaf_type(leaf).category for leaf in leaves), default=2)
    target = dtype or (dtypes.bool_, dtypes.int64, dtypes.DEFAULT_DTYPE, dtypes.complex64)[category]
    if category == 3 and target.category in (1, 2):
        raise ArgumentTypeError("must be real number, not complex")
    if target.category == 1 and category == 2:
        return _whole(data, leaves, shape, target)
    if target.category == 1:
        exact: Any = np.uint64 if target is dtypes.uint64 and _smallest(data, shape) >= 0 else np.int64
    else:
        exact = (np.bool_, None, np.float64, np.complex128)[target.category]
    try:
        array = np.array(data, exact).reshape(shape)
    except OverflowError:
        raise ArgumentValueError(
            "Overflow when unpacking long long: an integer beyond 64 bits"
            if target.category == 1
            else f"an integer is too large for {target.name}"
        ) from None
    if array.dtype == target.numpy:
        return array
    if target.category == 1 and array.size and category == 1:
        _check_bounds(array.min().item(), array.max().item(), target)
    with np.errstate(all="ignore"):  # a float too large for its type is infinite
        return array.astype(target.numpy)


_EXACT: Final = 2.0**53
"""Below this, float64 holds every integer."""


def _whole(data: Any, leaves: set[Any], shape: tuple[int, ...], target: DType) -> npt.NDArray[Any]:
    """Floats, and perhaps integers among them, as integers: towards zero."""
    try:
        array = np.array(data, np.float64).reshape(shape)
    except OverflowError:
        raise ArgumentValueError("Overflow when unpacking long long: an integer beyond 64 bits") from None
    if not array.size:
        return array.astype(target.numpy)
    if int not in leaves or (array.min() > -_EXACT and array.max() < _EXACT):
        _check_bounds(array.min().item(), array.max().item(), target)
        with np.errstate(all="ignore"):
            return array.astype(target.numpy)
    numbers = np.array(data, object).reshape(-1).tolist()  # some are integers that no float holds
    for number in numbers:
        _check_bounds(number, number, target)
    modulus = 2 ** (8 * target.itemsize)
    return np.array([int(n) if target.is_signed else int(n) % modulus for n in numbers], target.numpy).reshape(shape)


def _smallest(data: Any, shape: tuple[int, ...]) -> int:
    if not shape:
        return int(data)
    return min((_smallest(item, shape[1:]) for item in data), default=0)


def _write(target: npt.NDArray[Any], data: Any) -> None:
    """Copy nested sequences with numpy arrays, numpy scalars or tensors in them, whose shapes were checked."""
    values = _values(data)
    if values is not None or not _is_sequence(data):
        target[...] = data if values is None else values.reshape(target.shape)
        return
    for index, item in enumerate(data):
        _write(target[index : index + 1].reshape(target.shape[1:]), item)


def _convert_array(array: npt.NDArray[Any], dtype: DType | None, allocate: Allocate | None = None) -> npt.NDArray[Any]:
    target = numpy_type(array.dtype) if dtype is None else dtype
    numpy_type(array.dtype)
    if array.dtype.kind == "c" and target.category in (1, 2):
        array = np.real(array)
    with np.errstate(all="ignore"):
        if allocate is None:
            return np.array(array, target.numpy, order="C")
        made = allocate(array.shape, target.numpy)
        np.copyto(made, array, casting="unsafe")
        return made
