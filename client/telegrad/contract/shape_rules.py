"""Shape rules of the shape family: what each rearrangement makes of a shape, and when PyTorch refuses it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from telegrad.contract.errors import ArgumentValueError, DimensionError, IndexBoundsError, ShapeError
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, check_bytes
from telegrad.contract.reduce_rules import sum_type
from telegrad.contract.shapes import dimension, nonnegative, result_type

Parameters = Mapping[str, Any]


def _one(x: Spec, shape: Shape, flops: int = 0) -> Outcome:
    return Outcome((Spec(shape, x.dtype),), flops)


def _no_dimensions(dim: int) -> DimensionError:
    return DimensionError(f"Dimension specified as {dim} but tensor has no dimensions")


def resolve_size(shape: Sequence[int], count: int) -> Shape:
    """``shape`` for ``count`` elements, with its one -1 filled in. Raises ShapeError in PyTorch's words."""
    unknown = None
    known = 1
    for i, n in enumerate(shape):
        if n == -1:
            if unknown is not None:
                raise ShapeError("only one dimension can be inferred")
            unknown = i
        elif n < 0:
            raise ShapeError(f"invalid shape dimension {n} at index {i} of shape {list(shape)}")
        else:
            known *= n
    if unknown is None:
        if known != count:
            raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {count}")
        return tuple(shape)
    if known == 0:
        if count == 0:
            raise ShapeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 can "
                "be any value and is ambiguous"
            )
        raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    if count % known:
        raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    return (*shape[:unknown], count // known, *shape[unknown + 1 :])


def reshape(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``reshape`` and ``view``. Whether a view needs a copy depends on the memory, which the kernel sees."""
    return _one(inputs[0], resolve_size(p["shape"], inputs[0].size))


def flattened(shape: Shape, start_dim: int, end_dim: int) -> Shape:
    """The shape with ``start_dim`` to ``end_dim`` joined."""
    start, end = dimension(start_dim, len(shape)), dimension(end_dim, len(shape))
    if start > end:
        raise ShapeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return (1,)
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def flatten(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``flatten``."""
    return _one(inputs[0], flattened(inputs[0].shape, p["start_dim"], p["end_dim"]))


def unflattened(shape: Shape, dim: int, sizes: Sequence[int]) -> Shape:
    """The shape with ``dim`` split into ``sizes``."""
    if not sizes:
        raise ShapeError("unflatten: sizes must be non-empty")
    if not shape:
        raise ShapeError("unflatten: the tensor has no dimensions to split")
    at = dimension(dim, len(shape))
    try:
        found = resolve_size(sizes, shape[at])
    except ShapeError as error:
        raise ShapeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {at} ({shape[at]}) in the input tensor: "
            f"{error.detail}"
        ) from None
    return (*shape[:at], *found, *shape[at + 1 :])


def unflatten(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``unflatten``."""
    return _one(inputs[0], unflattened(inputs[0].shape, p["dim"], p["sizes"]))


def unique_dimensions(dims: Sequence[int], ndim: int) -> Shape:
    """``dims`` counted from the front; raises ShapeError where one is named twice."""
    found = tuple(dimension(d, ndim) for d in dims)
    for d in found:
        if found.count(d) > 1:
            raise ShapeError(f"dim {d} appears multiple times in the list of dims")
    return found


def squeezed(shape: Shape, dim: Sequence[int] | None) -> Shape:
    """The shape without dimensions of size 1, or without those of ``dim`` that have size 1."""
    gone = range(len(shape)) if dim is None else unique_dimensions(dim, len(shape))
    return tuple(n for i, n in enumerate(shape) if n != 1 or i not in gone)


def squeeze(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``squeeze``."""
    dim = p["dim"]
    return _one(inputs[0], squeezed(inputs[0].shape, (dim,) if isinstance(dim, int) else dim))


def unsqueeze(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``unsqueeze``."""
    shape = inputs[0].shape
    at = dimension(p["dim"], len(shape) + 1)
    return _one(inputs[0], (*shape[:at], 1, *shape[at:]))


def expanded(shape: Shape, size: Sequence[int]) -> Shape:
    """The shape that ``expand(size)`` makes, -1 filled in."""
    lead = len(size) - len(shape)
    if lead < 0:
        raise ShapeError(
            f"expand(tensor of shape {list(shape)}, size={list(size)}): the number of sizes provided ({len(size)}) must be "
            f"greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    found: list[int] = []
    for i, n in enumerate(size):
        own = shape[i - lead] if i >= lead else None
        if n == -1 and own is not None:
            found.append(own)
        elif n == -1:
            raise ShapeError(f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}")
        elif n < 0:
            raise ShapeError(f"Trying to create tensor with negative dimension {n}: {list(size)}")
        elif own is None or own in (1, n):
            found.append(n)
        else:
            raise ShapeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({own}) at non-singleton dimension {i}.  "
                f"Target sizes: {list(size)}.  Tensor sizes: {list(shape)}"
            )
    return tuple(found)


def expand(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``expand``."""
    shape = expanded(inputs[0].shape, p["size"])
    check_bytes(shape, inputs[0].dtype)
    return _one(inputs[0], shape)


def sum_to_size(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``sum_to_size``."""
    x, size = inputs[0], tuple(p["size"])
    lead = len(x.shape) - len(size)
    if lead < 0 or any(n not in (1, own) for n, own in zip(size, x.shape[lead:], strict=True)):
        raise ShapeError(f"size {{{list(size)}}} is not expandable to size {{{list(x.shape)}}}.")
    summed = not size or lead > 0 or size != x.shape
    return Outcome((Spec(size, sum_type(x.dtype, None) if summed else x.dtype),), x.size)


def repeat(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``repeat``."""
    x, repeats = inputs[0], p["repeats"]
    lead = len(repeats) - len(x.shape)
    if lead < 0:
        raise ShapeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = nonnegative(tuple(r * n for r, n in zip(repeats, (1,) * lead + x.shape, strict=True)))
    if any(r < 0 for r in repeats):
        raise ShapeError(f"Trying to create tensor with negative dimension: repeats {list(repeats)}")
    check_bytes(shape, x.dtype)
    return _one(x, shape, math.prod(shape))


def permuted(ndim: int, dims: Sequence[int]) -> Shape:
    """``dims`` counted from the front; raises unless they are a permutation of all dimensions."""
    if len(dims) != ndim:
        raise ShapeError(
            "permute: number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(dims)}"
        )
    found = tuple(dimension(d, ndim) for d in dims)
    if len(set(found)) != ndim:
        raise ShapeError("permute(): duplicate dims are not allowed.")
    return found


def permute(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``permute``."""
    shape = inputs[0].shape
    return _one(inputs[0], tuple(shape[d] for d in permuted(len(shape), p["dims"])))


def transpose(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``transpose``."""
    shape = list(inputs[0].shape)
    a, b = dimension(p["dim0"], len(shape)), dimension(p["dim1"], len(shape))
    if shape:
        shape[a], shape[b] = shape[b], shape[a]
    return _one(inputs[0], tuple(shape))


def matrix_transpose(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``t``."""
    shape = inputs[0].shape
    if len(shape) > 2:
        raise ShapeError(f"t() expects a tensor with <= 2 dimensions, but self is {len(shape)}D")
    return _one(inputs[0], shape[::-1])


def moved(ndim: int, source: Sequence[int], destination: Sequence[int]) -> Shape:
    """The permutation that moves ``source`` to ``destination``."""
    if len(source) != len(destination):
        raise ShapeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same number of dims as "
            f"destination ({list(destination)} dims)"
        )
    froms = tuple(dimension(d, ndim) for d in source)
    to = tuple(dimension(d, ndim) for d in destination)
    for name, found in (("source", froms), ("destination", to)):
        if len(set(found)) != len(found):
            raise ShapeError(f"movedim: repeated dim in `{name}` ({list(found)})")
    if not ndim:
        return ()
    rest = iter([d for d in range(ndim) if d not in froms])
    at = dict(zip(to, froms, strict=True))
    return tuple(at[i] if i in at else next(rest) for i in range(ndim))


def movedim(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``movedim``."""
    shape = inputs[0].shape
    source, destination = _tuple(p["source"]), _tuple(p["destination"])
    return _one(inputs[0], tuple(shape[d] for d in moved(len(shape), source, destination)))


def _tuple(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def flip(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``flip``."""
    unique_dimensions(p["dims"], len(inputs[0].shape))
    return _one(inputs[0], inputs[0].shape, inputs[0].size)


def roll(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``roll``."""
    shifts, dims = _tuple(p["shifts"]), p["dims"]
    if not shifts:
        raise ShapeError("`shifts` required")
    dims = () if dims is None else _tuple(dims)
    if len(shifts) != len(dims) and (dims or len(shifts) > 1):
        raise ShapeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    x = inputs[0]
    if dims and not x.shape:
        raise _no_dimensions(dims[0])
    if x.size:  # PyTorch returns early for a tensor without elements
        for d in dims:
            dimension(d, len(x.shape))
    return _one(inputs[0], inputs[0].shape, inputs[0].size)


def triangle(name: str) -> Rule:
    """Rule of ``tril`` and ``triu``."""

    def rule(inputs: Sequence[Any], p: Parameters) -> Outcome:
        x = inputs[0]
        if len(x.shape) < 2:
            raise ShapeError(f"{name}: input tensor must have at least 2 dimensions")
        return _one(x, x.shape, x.size)

    return rule


def diagonal(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``diagonal``."""
    shape, offset = inputs[0].shape, p["offset"]
    a, b = dimension(p["dim1"], len(shape)), dimension(p["dim2"], len(shape))
    if a == b:
        raise ShapeError(f"diagonal dimensions cannot be identical {p['dim1']}, {p['dim2']}")
    rows, columns = shape[a], shape[b]
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    return _one(inputs[0], (*[n for i, n in enumerate(shape) if i not in (a, b)], max(length, 0)))


def diag_embed(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``diag_embed``: ``dim1`` and ``dim2`` count dimensions of the result."""
    x, ndim = inputs[0], len(inputs[0].shape) + 1
    if ndim == 1:
        raise DimensionError("diag_embed(): a tensor without dimensions has no diagonal; reshape it to [1] first")
    a, b = dimension(p["dim1"], ndim), dimension(p["dim2"], ndim)
    if a == b:
        raise ShapeError(f"diagonal dimensions cannot be identical {p['dim1']}, {p['dim2']}")
    side = x.shape[-1] + abs(p["offset"])
    rest = iter(x.shape[:-1])
    return _one(x, tuple(side if i in (a, b) else next(rest) for i in range(ndim)), x.size)


def select(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``select``."""
    shape, index = inputs[0].shape, p["index"]
    if not shape:
        raise IndexBoundsError("select() cannot be applied to a 0-dim tensor.")
    at = dimension(p["dim"], len(shape))
    if not -shape[at] <= index < shape[at]:
        raise IndexBoundsError(f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {at}")
    return _one(inputs[0], (*shape[:at], *shape[at + 1 :]))


def narrow(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``narrow``."""
    shape, start, length = inputs[0].shape, p["start"], p["length"]
    if not shape:
        raise ShapeError("narrow() cannot be applied to a 0-dim tensor.")
    at = dimension(p["dim"], len(shape))
    n = shape[at]
    if length < 0:
        raise ShapeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexBoundsError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    if start < 0:
        start += n
    if start + length > n:
        raise ShapeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return _one(inputs[0], (*shape[:at], length, *shape[at + 1 :]))


def _parts(x: Spec, at: int, sizes: Sequence[int]) -> Outcome:
    return Outcome(tuple(Spec((*x.shape[:at], n, *x.shape[at + 1 :]), x.dtype) for n in sizes), 0)


MAX_PARTS: Final = 100_000
"""Tensors that one op makes at most: an expanded dimension costs no memory, its parts would."""


def _few(parts: int) -> int:
    if parts > MAX_PARTS:
        raise ShapeError(f"the op would make {parts:,} tensors, permitted are {MAX_PARTS:,} at once")
    return parts


def split_sizes(shape: Shape, split_size: int, dim: int) -> Shape:
    """The sizes of consecutive parts of ``split_size`` along ``dim``."""
    if not shape:
        raise ShapeError("split expects at least a 1-dimensional tensor")
    n = shape[dimension(dim, len(shape))]
    if split_size < 0:
        raise ShapeError(f"split expects split_size be non-negative, but got split_size={split_size}")
    if split_size == 0:
        if n:
            raise ShapeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        return (0,)
    _few(-(-n // split_size))
    return tuple(min(split_size, n - start) for start in range(0, n, split_size)) or (0,)


def split(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``split`` into equal parts."""
    x = inputs[0]
    sizes = split_sizes(x.shape, p["split_size"], p["dim"])
    return _parts(x, dimension(p["dim"], len(x.shape)), sizes)


def split_with_sizes(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``split_with_sizes``."""
    x, sizes = inputs[0], p["split_sizes"]
    if not x.shape:
        raise ShapeError("split expects at least a 1-dimensional tensor")
    at = dimension(p["dim"], len(x.shape))
    if any(n < 0 for n in sizes):
        raise ShapeError(f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={list(sizes)}")
    if sum(sizes) != x.shape[at]:
        raise ShapeError(
            f"split_with_sizes expects split_sizes to sum exactly to {x.shape[at]} (input tensor's size at dimension {at}), "
            f"but got split_sizes={list(sizes)}"
        )
    return _parts(x, at, sizes)


def chunk_sizes(shape: Shape, chunks: int, dim: int) -> Shape:
    """The sizes of at most ``chunks`` parts along ``dim``."""
    if not shape:
        raise ShapeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise ShapeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = shape[dimension(dim, len(shape))]
    if n == 0:
        return (0,) * _few(chunks)
    return split_sizes(shape, -(-n // chunks), dim)


def chunk(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``chunk``."""
    x = inputs[0]
    sizes = chunk_sizes(x.shape, p["chunks"], p["dim"])
    return _parts(x, dimension(p["dim"], len(x.shape)), sizes)


def unbind(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``unbind``."""
    x = inputs[0]
    if not x.shape:
        raise _no_dimensions(p["dim"])
    at = dimension(p["dim"], len(x.shape))
    return Outcome((Spec((*x.shape[:at], *x.shape[at + 1 :]), x.dtype),) * _few(x.shape[at]), 0)


def cat(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``cat``. Tensors of shape [0] fit anything, a rule from PyTorch's early days that users rely on."""
    if not inputs:
        raise ArgumentValueError("cat(): expected a non-empty list of Tensors")
    for i, x in enumerate(inputs):
        if not x.shape:
            raise ShapeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    dtype = result_type(inputs)
    first = next((x for x in inputs if x.shape != (0,)), inputs[0])
    ndim = len(first.shape)
    at = dimension(p["dim"], ndim) if first.shape != (0,) else 0
    total = 0
    for i, x in enumerate(inputs):
        if x.shape == (0,):
            continue
        if len(x.shape) != ndim:
            raise ShapeError(
                f"Tensors must have same number of dimensions: got {ndim} and {len(x.shape)}; "
                f"shapes {list(first.shape)} and {list(x.shape)}"
            )
        for axis, n in enumerate(x.shape):
            if axis != at and n != first.shape[axis]:
                raise ShapeError(
                    f"Sizes of tensors must match except in dimension {at}. Expected size {first.shape[axis]} but got size {n} "
                    f"for tensor number {i} in the list."
                )
        total += x.shape[at]
    shape = (*first.shape[:at], total, *first.shape[at + 1 :])
    check_bytes(shape, dtype)
    return Outcome((Spec(shape, dtype),), math.prod(shape), dtype)


def stack(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``stack``."""
    if not inputs:
        raise ShapeError("stack expects a non-empty TensorList")
    shape = inputs[0].shape
    at = dimension(p["dim"], len(shape) + 1)
    for i, x in enumerate(inputs):
        if x.shape != shape:
            raise ShapeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(x.shape)} at entry {i}"
            )
    dtype = result_type(inputs)
    size = (*shape[:at], len(inputs), *shape[at:])
    check_bytes(size, dtype)
    return Outcome((Spec(size, dtype),), math.prod(size), dtype)


def view_embed(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``view_embed``."""
    return _one(inputs[0], tuple(p["size"]), math.prod(p["size"]))
