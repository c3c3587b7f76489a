"""What ``x[...]`` means: from what users write to canonical items, and from items to the dimensions of the result.

Indexing is two steps, as in PyTorch. Integers, slices, None and Ellipsis come first and make a view; booleans and tensors then
index that
view. So an integer beside a tensor index never counts as an advanced index, unlike in numpy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from telegrad.contract import dtypes
from telegrad.contract.base import TensorBase
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, IndexBoundsError, ShapeError
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.ops import Shape, Spec
from telegrad.contract.shapes import broadcast

Index: TypeAlias = Any
"""Canonical: a tuple of ints, bools, slices of ints, None, Ellipsis and TensorSlots."""

MASKS = (dtypes.bool_, dtypes.uint8)
INTEGERS = (dtypes.int64, dtypes.int32)


def is_position(spec: Spec) -> bool:
    """Whether a 0-d tensor of that type counts as the integer in it: those that are no masks."""
    return spec.dtype.category == 1 and spec.dtype not in MASKS


class Resolved(NamedTuple):
    """An index applied to a shape.

    Attributes:
        basic: the view, as numpy takes it: an int, slice or None per item; a 0-d integer tensor stands as its TensorSlot.
        view_shape: shape of the view.
        advanced: what indexes the view: (dimension of the view, TensorSlot or bool), in order.
    """

    basic: tuple[Any, ...]
    view_shape: Shape
    advanced: tuple[tuple[int, Any], ...]


def canonical(index: Any, make_tensor: Callable[[Any], Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Canonical items, and the tensors that their slots stand for.

    Args:
        index: whatever stands between the brackets.
        make_tensor: makes a tensor of a list or array of integers or booleans.

    Raises:
        ArgumentTypeError, IndexBoundsError: for what is no index.
    """
    items: list[Any] = []
    tensors: list[Any] = []
    for item in _parts(index):
        kind: Any = item.__class__
        if item is None or item is Ellipsis or kind is int or kind is bool:
            items.append(item)
        elif kind is slice:
            items.append(_bounds(item))
        elif isinstance(item, TensorBase):
            tensors.append(item)
            items.append(TensorSlot(len(tensors)))
        elif isinstance(item, (list, tuple, range)) or (hasattr(item, "__array__") and getattr(item, "shape", None)):
            tensors.append(_sequence(item, make_tensor))
            items.append(TensorSlot(len(tensors)))
        elif getattr(getattr(item, "dtype", None), "kind", "") == "b":
            items.append(bool(item))
        elif isinstance(item, str):
            raise ArgumentTypeError(
                "a tensor is indexed by integers, slices (`:`), ellipsis (`...`), None and tensors, not by a str"
            )
        else:
            items.append(_integer(item))
    return tuple(items), tuple(tensors)


def _parts(index: Any) -> Sequence[Any]:
    """A tuple stands for itself, anything else is one item."""
    return index if type(index) is tuple else (index,)  # pyright: ignore[reportUnknownVariableType]


def _bounds(item: Any) -> slice:
    return slice(_bound(item.start), _bound(item.stop), _bound(item.step))


def spec_of(item: TensorSlot, tensors: Sequence[Spec]) -> Spec:
    """The tensor that a slot stands for."""
    return tensors[item.position - 1]


def _bound(value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentTypeError("slice indices must be integers or None or have an __index__ method") from None


def _integer(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise IndexBoundsError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
            f"{type(value).__name__})"
        ) from None


def _sequence(values: Any, make_tensor: Callable[[Any], Any]) -> Any:
    """A tensor index from a list, range or array."""
    if isinstance(values, (list, tuple)):
        for value in cast("list[Any]", values):
            kind = type(value).__name__
            if value is None or value is Ellipsis or isinstance(value, (slice, TensorBase)):
                raise ArgumentTypeError(
                    f"a list as an index must hold integers or booleans, not {kind}; for several dimensions write a tuple: x[a, b]"
                )
    given: Any = cast("Any", values)
    if len(given) == 0 and not hasattr(given, "dtype"):
        import numpy as np

        return make_tensor(np.zeros(0, np.int64))
    return make_tensor(given if hasattr(given, "dtype") else list(given))


def resolve(shape: Shape, items: Sequence[Any], tensors: Sequence[Spec]) -> Resolved:
    """What ``items`` select from ``shape``; ``tensors`` are the Specs that the slots stand for.

    Raises:
        IndexBoundsError: too many indices, an integer out of range, a mask that does not fit, a tensor of the wrong type.
        ArgumentValueError: a slice whose step is not positive.
    """
    taken = sum(_dimensions_taken(item, tensors) for item in items)
    if taken > len(shape):
        if not shape:
            raise IndexBoundsError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
                "0-dim tensor "
                "to a number"
            )
        raise IndexBoundsError(f"too many indices for tensor of dimension {len(shape)}: {taken} were given")
    basic: list[Any] = []
    view: list[int] = []
    advanced: list[tuple[int, Any]] = []
    dim = 0
    expanded = False
    for position, item in enumerate(items):
        if item is None:
            basic.append(None)
            view.append(1)
        elif type(item) is bool:
            advanced.append((len(view), item))
            basic.append(None)
            view.append(1)
        elif item is Ellipsis:
            if not expanded:
                expanded = True
                count = len(shape) - taken
                basic.extend([slice(None)] * count)
                view.extend(shape[dim : dim + count])
                dim += count
        elif type(item) is slice:
            piece, size = _slice(item, shape[dim])
            basic.append(piece)
            view.append(size)
            dim += 1
        elif type(item) is int:
            size = shape[dim]
            if not -size <= item < size:
                raise IndexBoundsError(f"index {item} is out of bounds for dimension {dim} with size {size}")
            basic.append(item % size)
            dim += 1
        else:
            spec = spec_of(item, tensors)
            if spec.dtype in MASKS:
                fits = shape[dim : dim + len(spec.shape)] == spec.shape
                if not fits:
                    raise IndexBoundsError(
                        f"The shape of the mask {list(spec.shape)} at index {position} does not match the shape of the "
                        "indexed tensor "
                        f"{list(shape)} at index {dim}"
                    )
                advanced.append((len(view), item))
                if not spec.shape:
                    basic.append(None)
                    view.append(1)
                basic.extend([slice(None)] * len(spec.shape))
                view.extend(spec.shape)
                dim += len(spec.shape)
            elif not spec.shape:
                basic.append(item)
                dim += 1
            else:
                advanced.append((len(view), item))
                basic.append(slice(None))
                view.append(shape[dim])
                dim += 1
    view.extend(shape[dim:])
    return Resolved(tuple(basic), tuple(view), tuple(advanced))


def _dimensions_taken(item: Any, tensors: Sequence[Spec]) -> int:
    if type(item) is TensorSlot:
        if not 1 <= item.position <= len(tensors):
            raise IndexBoundsError(f"the index names tensor {item.position}, but {len(tensors)} are given")
        spec = tensors[item.position - 1]
        if spec.dtype in MASKS:
            return len(spec.shape)
        if spec.dtype not in INTEGERS and (spec.shape or not is_position(spec)):
            raise IndexBoundsError("tensors used as indices must be long, int, byte or bool tensors")
        return 1
    return 1 if type(item) in (int, slice) else 0


def _slice(item: slice, size: int) -> tuple[slice, int]:
    """The slice within ``size``, and how many elements it takes."""
    step = 1 if item.step is None else item.step
    if step == 0:
        raise ArgumentValueError("slice step cannot be zero")
    if step < 0:
        raise ArgumentValueError("step must be greater than zero; flip() reverses a dimension")
    start, stop, step = item.indices(size)
    count = max(0, -(-(stop - start) // step))
    return slice(start, start + count * step if count else start, step), count


def basic_shape(shape: Shape, items: Sequence[Any]) -> Shape:
    """Shape of a view; raises ArgumentTypeError where the index is no basic one."""
    if any(type(item) in (bool, TensorSlot) for item in items):
        raise ArgumentTypeError("getitem takes integers, slices, null and '...'; for booleans and tensors use the op 'index'")
    return resolve(shape, items, ()).view_shape


def advanced_shape(resolved: Resolved, tensors: Sequence[Spec]) -> Shape | None:
    """Shape of the result; None where a mask decides it."""
    shapes: list[Shape] = []
    for _, item in resolved.advanced:
        if type(item) is bool:
            shapes.append((int(item),))
        elif spec_of(item, tensors).dtype in MASKS:
            return None
        else:
            shapes.append(spec_of(item, tensors).shape)
    if not shapes:
        return resolved.view_shape
    try:
        together = broadcast(*shapes)
    except ShapeError:
        raise mismatch(shapes) from None
    return placed(resolved.view_shape, [dim for dim, _ in resolved.advanced], together)


def mismatch(shapes: Sequence[Shape]) -> IndexBoundsError:
    """The complaint about index tensors that do not broadcast."""
    listed = ", ".join(str(list(s)) for s in shapes)
    return IndexBoundsError(f"shape mismatch: indexing tensors could not be broadcast together with shapes {listed}")


def placement(dims: Sequence[int]) -> int:
    """Where the indexed dimensions appear in the result: at the first of them, or in front if others lie between them."""
    return dims[0] if list(dims) == list(range(dims[0], dims[0] + len(dims))) else 0


def placed(view_shape: Shape, dims: Sequence[int], together: Shape) -> Shape:
    """The result's shape: ``dims`` of the view replaced by the index tensors' common shape."""
    rest = tuple(n for dim, n in enumerate(view_shape) if dim not in dims)
    at = placement(dims)
    return rest[:at] + together + rest[at:]
