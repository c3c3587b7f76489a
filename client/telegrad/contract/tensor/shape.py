"""Ops that rearrange: new shapes, swapped dimensions, joined and split tensors. Most results are views of the same memory."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeAlias, TypeVar, cast, overload

from telegrad.contract import notices
from telegrad.contract import shape_rules as rules
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from telegrad.contract.ops import Shape, SizeByName, TypeByName, op
from telegrad.contract.shapes import broadcast, integer, ints, optional_ints, same, size_argument
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.watching import warn_user

T = TypeVar("T", bound=TensorBase)

Chain: TypeAlias = "tuple[tuple[str, dict[str, Any], int | None], ...]"
"""View ops in order: (op, parameters, which output where the op has several)."""


class ShapeOps(TensorBase):
    """Reshaping, permuting, slicing, splitting. A view shares memory with the tensor it was made from, as in PyTorch."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    # New shapes --------------------------------------------------------------------------------------------------------------

    @op(rules.reshape, view=True, node="View")
    def reshape(self, *shape_: int | Sequence[int], shape: SizeByName = None) -> Self:
        """The same elements in another shape; a view where the memory allows, else a copy.

        One size may be -1: it follows from the others. Shapes: [...] -> [*shape]. Gradient: g, reshaped.
        Raises: ShapeError if the number of elements differs.
        """
        return self._apply("reshape", self, shape=size_argument(shape_, shape, "shape"))

    @overload
    def view(self, dtype: DType) -> Self: ...
    @overload
    def view(self, *shape_: int | Sequence[int], size: SizeByName = None) -> Self: ...
    @op(rules.reshape, view=True)  # type: ignore[misc]
    # The op's signature is that of its sizes; a type makes it another op.
    def view(self, *shape_: int | Sequence[int], size: SizeByName = None, dtype: TypeByName = None) -> Self:  # pyright: ignore[reportInconsistentOverload]
        """The same memory in another shape; or, given an element type, the same bits as elements of that type.

        One size may be -1. Shapes: [...] -> [*shape]. Gradient: g, reshaped.
        Raises: ShapeError if the number of elements differs, or if only a copy could have that shape.
        """
        first: Any = shape_[0] if shape_ else dtype
        if first.__class__ is DType and (dtype is None or not shape_) and size is None:
            return self._apply("view.dtype", self, dtype=first)
        if dtype is not None:
            raise ArgumentTypeError("view() takes either sizes or an element type, dtype=telegrad.float32")
        return self._apply("view", self, shape=size_argument(shape_, size))

    def reshape_as(self, other: Self) -> Self:
        """``reshape`` to the shape of ``other``."""
        return self._apply("reshape", self, shape=other.shape)

    def view_as(self, other: Self) -> Self:
        """``view`` in the shape of ``other``."""
        return self._apply("view", self, shape=other.shape)

    @op(rules.flatten, view=True, node="View")
    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Self:
        """Dimensions ``start_dim`` to ``end_dim``, both included, joined into one; a single one leaves the tensor itself.

        Shapes: [..., a, ..., b, ...] -> [..., a * ... * b, ...]; 0-d -> [1]. Gradient: g, reshaped.
        """
        first, last = integer(start_dim, "start_dim"), integer(end_dim, "end_dim")
        if self._joins_one(first, last):
            return self
        return self._apply("flatten", self, start_dim=first, end_dim=last)

    def _joins_one(self, first: int, last: int) -> bool:
        """Whether two numbers of dimensions mean the same one; False where the shape is not known."""
        rank = len(self.shape)
        return -rank <= first < rank and -rank <= last < rank and first % rank == last % rank

    def ravel(self) -> Self:
        """``flatten`` under numpy's name."""
        return self._apply("flatten", self)

    @op(rules.unflatten, view=True, node="View")
    def unflatten(self, dim: int, sizes: Sequence[int]) -> Self:
        """Dimension ``dim`` split into ``sizes``, one of which may be -1.

        Shapes: [..., n, ...] -> [..., *sizes, ...]. Gradient: g, reshaped.
        Raises: ShapeError if the product of ``sizes`` is not n.
        """
        return self._apply("unflatten", self, dim=integer(dim, "dim"), sizes=ints(sizes, "sizes"))

    @op(rules.squeeze, view=True)
    def squeeze(self, dim: int | Sequence[int] | None = None) -> Self:
        """Dimensions of size 1 removed: all of them, or those of ``dim`` that have size 1.

        Shapes: [..., 1, ...] -> [...]. Gradient: g, reshaped.
        """
        return self._apply("squeeze", self, dim=optional_ints(dim, "dim"))

    @op(rules.unsqueeze, view=True)
    def unsqueeze(self, dim: int) -> Self:
        """A dimension of size 1 put in at ``dim``, -1 meaning after the last.

        Shapes: [...] -> [..., 1, ...]. Gradient: g, reshaped.
        """
        return self._apply("unsqueeze", self, dim=integer(dim, "dim"))

    @op(rules.expand, view=True)
    def expand(self, *size_: int | Sequence[int], size: SizeByName = None) -> Self:
        """Dimensions of size 1 repeated without copying, new ones in front; -1 keeps a size.

        Shapes: [...] -> [*size]. Gradient: g, summed over what was repeated.
        """
        return self._apply("expand", self, size=size_argument(size_, size))

    def expand_as(self, other: Self) -> Self:
        """``expand`` to the shape of ``other``."""
        return self._apply("expand", self, size=other.shape)

    def broadcast_to(self, *size_: int | Sequence[int], size: SizeByName = None) -> Self:
        """``expand`` under numpy's name."""
        return self._apply("expand", self, size=size_argument(size_, size))

    @op(rules.sum_to_size, node="Sum")
    def sum_to_size(self, *size_: int | Sequence[int], size: SizeByName = None) -> Self:
        """Summed over the dimensions along which ``size`` would be broadcast to the tensor's shape.

        Shapes: [...] -> [*size]. dtype: integers sum in int64. Gradient: g, expanded.
        Raises: ShapeError if ``size`` does not broadcast to the shape.
        """
        sizes = size_argument(size_, size)
        return self if sizes and sizes == self.shape else self._apply("sum_to_size", self, size=sizes)

    @op(rules.repeat)
    def repeat(self, *repeats_: int | Sequence[int], repeats: SizeByName = None) -> Self:
        """Copies side by side, ``repeats`` times along each dimension; extra repeats make new dimensions in front.

        Shapes: [n, ...] -> [n * repeats, ...]. Gradient: g, summed over the copies.
        """
        return self._apply("repeat", self, repeats=size_argument(repeats_, repeats, "repeats"))

    def tile(self, *dims_: int | Sequence[int], dims: SizeByName = None) -> Self:
        """``repeat`` that also takes fewer repeats than dimensions: missing ones count from the front as 1."""
        repeats = size_argument(dims_, dims, "dims")
        return self._apply("repeat", self, repeats=(1,) * (len(self.shape) - len(repeats)) + repeats)

    @op(same(), view=True, node="Clone")
    def contiguous(self) -> Self:
        """The tensor in row-major memory: itself if it is so, else a copy.

        Shapes: [...] -> [...]. Gradient: g.
        """
        return self._apply("contiguous", self)

    @op(same(flops=0), view=True, differentiable=(), reason="cutting the graph is its purpose")
    def detach(self) -> Self:
        """The same memory without history: gradients stop here. In-place changes of either show in both.

        Shapes: [...] -> [...]. Gradient: none, on purpose.
        """
        return self._apply("detach", self)

    # Order of dimensions and elements ----------------------------------------------------------------------------------------

    @op(rules.permute, view=True)
    def permute(self, *dims_: int | Sequence[int], dims: SizeByName = None) -> Self:
        """Dimensions in the order ``dims``.

        Shapes: [n0, n1, ...] -> [n_dims[0], n_dims[1], ...]. Gradient: g, permuted back.
        """
        return self._apply("permute", self, dims=size_argument(dims_, dims, "dims"))

    @op(rules.transpose, view=True)
    def transpose(self, dim0: int, dim1: int) -> Self:
        """Two dimensions swapped.

        Shapes: [..., n, ..., m, ...] -> [..., m, ..., n, ...]. Gradient: g, transposed.
        """
        return self._apply("transpose", self, dim0=integer(dim0, "dim0"), dim1=integer(dim1, "dim1"))

    def swapaxes(self, axis0: int, axis1: int) -> Self:
        """``transpose`` under numpy's name."""
        return self._apply("transpose", self, dim0=integer(axis0, "axis0"), dim1=integer(axis1, "axis1"))

    def moveaxis(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Self:
        """``movedim`` under numpy's name."""
        return self.movedim(source, destination)

    def swapdims(self, dim0: int, dim1: int) -> Self:
        """``transpose`` under another name."""
        return self._apply("transpose", self, dim0=integer(dim0, "dim0"), dim1=integer(dim1, "dim1"))

    @op(rules.matrix_transpose, view=True)
    def t(self) -> Self:
        """A matrix transposed; tensors of one dimension or none stay as they are.

        Shapes: [n, m] -> [m, n]. Gradient: g, transposed. Raises: ShapeError for more than two dimensions.
        """
        return self._apply("t", self)

    @property
    def T(self) -> Self:  # noqa: N802 - PyTorch's name
        """Dimensions in reverse order."""
        notices.reversed_dimensions(len(self.shape))
        return self._apply("permute", self, dims=tuple(range(len(self.shape)))[::-1])

    @property
    def mT(self) -> Self:  # noqa: N802 - PyTorch's name
        """The last two dimensions swapped; a tensor of none as it is. Raises ShapeError for one dimension."""
        if not self.shape:
            notices.scalar_transposed("Tensor.mT")
            return self
        if len(self.shape) < 2:
            raise ShapeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {len(self.shape)}-D tensor.")
        return self._apply("transpose", self, dim0=-2, dim1=-1)

    @op(rules.movedim, view=True, node="Permute")
    def movedim(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Self:
        """Dimensions ``source`` moved to ``destination``, the others kept in order.

        Shapes: [...] -> [...] permuted. Gradient: g, moved back.
        """
        if hasattr(source, "__index__") != hasattr(destination, "__index__"):
            raise ArgumentTypeError("movedim(): arguments 'source' and 'destination' must both be int or both tuple of ints")
        return self._apply("movedim", self, source=ints(source, "source"), destination=ints(destination, "destination"))

    @op(rules.flip)
    def flip(self, *dims_: int | Sequence[int], dims: SizeByName = None) -> Self:
        """Elements in reverse order along ``dims``; a copy.

        Shapes: [...] -> [...]. Gradient: g, flipped.
        """
        return self._apply("flip", self, dims=size_argument(dims_, dims, "dims"))

    @op(rules.roll)
    def roll(self, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Self:
        """Elements shifted along ``dims``, coming in again at the other end; without ``dims``, over the flattened tensor.

        Shapes: [...] -> [...]. Gradient: g, rolled back.
        """
        return self._apply("roll", self, shifts=ints(shifts, "shifts"), dims=optional_ints(dims, "dims"))

    @op(rules.triangle("tril"), inplace=True)
    def tril(self, diagonal: int = 0) -> Self:
        """The lower triangle of each matrix; zeros above the diagonal number ``diagonal``.

        Shapes: [..., n, m] -> [..., n, m]. Gradient: tril(g).
        """
        return self._apply("tril", self, diagonal=integer(diagonal, "diagonal"))

    @op(rules.triangle("triu"), inplace=True)
    def triu(self, diagonal: int = 0) -> Self:
        """The upper triangle of each matrix; zeros below the diagonal number ``diagonal``.

        Shapes: [..., n, m] -> [..., n, m]. Gradient: triu(g).
        """
        return self._apply("triu", self, diagonal=integer(diagonal, "diagonal"))

    # Parts -------------------------------------------------------------------------------------------------------------------

    @op(rules.diagonal, view=True)
    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Self:
        """The diagonal of the matrices in ``dim1`` and ``dim2``, as a last dimension; ``offset`` moves it up (or down, negative).

        Shapes: [n, m, ...] -> [..., k]. Gradient: g on the diagonal of zeros.
        """
        return self._apply(
            "diagonal", self, offset=integer(offset, "offset"), dim1=integer(dim1, "dim1"), dim2=integer(dim2, "dim2")
        )

    @op(rules.diag_embed)
    def diag_embed(self, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Self:
        """Square matrices, in ``dim1`` and ``dim2`` of the result, of zeros but for the last dimension's vectors on a diagonal.

        Shapes: [..., n] -> [..., n + abs(offset), n + abs(offset)]. Gradient: the diagonal of g.
        """
        return self._apply(
            "diag_embed", self, offset=integer(offset, "offset"), dim1=integer(dim1, "dim1"), dim2=integer(dim2, "dim2")
        )

    def diag(self, diagonal: int = 0) -> Self:
        """A vector as the diagonal of a square matrix of zeros, or the diagonal of a matrix as a new vector."""
        if len(self.shape) == 1:
            return self.diag_embed(integer(diagonal, "diagonal"))
        if len(self.shape) != 2:
            raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {len(self.shape)}D")
        return self._apply("clone", self.diagonal(integer(diagonal, "diagonal")))

    def diagflat(self, offset: int = 0) -> Self:
        """All elements, one after another, as the diagonal of a square matrix of zeros."""
        return self.reshape(-1).diag_embed(integer(offset, "offset"))

    @op(rules.select, view=True)
    def select(self, dim: int, index: int) -> Self:
        """The slice number ``index`` along ``dim``; negative counts from the end.

        Shapes: [..., n, ...] -> [...]. Gradient: g in that slice of zeros. Raises: IndexBoundsError.
        """
        return self._apply("select", self, dim=integer(dim, "dim"), index=integer(index, "index"))

    @op(rules.narrow, view=True, node="Slice")
    def narrow(self, dim: int, start: int, length: int) -> Self:
        """``length`` slices along ``dim`` from ``start`` on.

        ``start`` may be an integer tensor without dimensions. Shapes: [..., n, ...] -> [..., length, ...]. Gradient: g in that
        part of zeros. Raises: ShapeError, DimensionError, IndexBoundsError.
        """
        given: Any = start
        if isinstance(given, TensorBase) and (given.shape or given.dtype.category != 1):  # type: ignore[attr-defined]
            raise ShapeError("start must be an 0-dim integral Tensor.")
        return self._apply("narrow", self, dim=integer(dim, "dim"), start=integer(start, "start"), length=integer(length, "length"))

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Self, ...]:
        """Consecutive parts along ``dim``: of ``split_size`` each (the last may be smaller), or of the sizes listed."""
        if isinstance(split_size, (list, tuple)):
            return self._apply("split_with_sizes", self, split_sizes=ints(split_size, "split_size"), dim=integer(dim, "dim"))
        return self._apply("split", self, split_size=integer(split_size, "split_size"), dim=integer(dim, "dim"))

    @op(rules.split, name="split", view=True)
    def _split(self, split_size: int, dim: int = 0) -> tuple[Self, ...]:
        """Consecutive parts of ``split_size`` along ``dim``; the last may be smaller.

        Shapes: [..., n, ...] -> [..., split_size, ...], ... Gradient: the parts' gradients, joined.
        """
        return self.split(split_size, dim)

    @op(rules.split_with_sizes, view=True)
    def split_with_sizes(self, split_sizes: Sequence[int], dim: int = 0) -> tuple[Self, ...]:
        """Consecutive parts along ``dim`` of the sizes listed.

        Shapes: [..., n, ...] -> [..., n1, ...], [..., n2, ...], ... Gradient: the parts' gradients, joined.
        """
        return self._apply("split_with_sizes", self, split_sizes=ints(split_sizes, "split_sizes"), dim=integer(dim, "dim"))

    @op(rules.chunk, view=True, node="Split")
    def chunk(self, chunks: int, dim: int = 0) -> tuple[Self, ...]:
        """At most ``chunks`` consecutive parts along ``dim``, all but the last of one size.

        Shapes: [..., n, ...] -> [..., ceil(n / chunks), ...], ... Gradient: the parts' gradients, joined.
        """
        return self._apply("chunk", self, chunks=integer(chunks, "chunks"), dim=integer(dim, "dim"))

    @op(rules.unbind, view=True)
    def unbind(self, dim: int = 0) -> tuple[Self, ...]:
        """All slices along ``dim``.

        Shapes: [..., n, ...] -> n times [...]. Gradient: the slices' gradients, stacked.
        """
        return self._apply("unbind", self, dim=integer(dim, "dim"))

    # For the engine ----------------------------------------------------------------------------------------------------------

    @op(same(), namespace="internal", node="CopySlices")
    def view_scatter(self, src: Self, *, chain: Chain) -> Self:
        """A copy with the part that ``chain`` leads to replaced by ``src``: what a write through a view does to the base.

        Shapes: [...], [part] -> [...]. Gradient: g without that part; that part of g.
        """
        return self._apply("view_scatter", self, src, chain=chain)

    @op(rules.view_embed, namespace="internal", node="AsStridedScatter")
    def view_embed(self, *, size: Sequence[int], chain: Chain) -> Self:
        """Zeros of shape ``size`` with the tensor in the part that ``chain`` leads to: the transpose of taking that part.

        Shapes: [part] -> [*size]. Gradient: that part of g.
        """
        return self._apply("view_embed", self, size=size, chain=chain)


# Functions of several tensors ------------------------------------------------------------------------------------------------


def sequence_of_tensors(tensors: Any, name: str) -> Any:
    """The tensors themselves. Raises ArgumentTypeError unless they are a sequence of tensors.

    No tensor at all is a ValueError for cat and a RuntimeError for others, as in PyTorch.
    """
    if isinstance(tensors, TensorBase) or not isinstance(tensors, (tuple, list)):
        raise ArgumentTypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}")
    if not tensors:
        raise (ArgumentValueError if name == "cat" else ShapeError)(f"{name}(): expected a non-empty list of Tensors")
    found = cast("Sequence[object]", tensors)
    for position, tensor in enumerate(found):
        if not isinstance(tensor, TensorBase):
            raise ArgumentTypeError(
                f"{name}(): expected Tensor as element {position} in argument 0, but got {type(tensor).__name__}"
            )
    return found


@op(rules.cat)
def cat(tensors: Sequence[T], dim: int = 0) -> T:
    """Tensors joined along ``dim``.

    Shapes: [..., n1, ...], [..., n2, ...] -> [..., n1 + n2, ...]; tensors of shape [0] are passed over. Types promote.
    Gradient: each tensor's part of g. Raises: ShapeError if the other sizes differ.
    """
    return sequence_of_tensors(tensors, "cat")[0]._apply("cat", *tensors, dim=integer(dim, "dim"))


@op(rules.stack)
def stack(tensors: Sequence[T], dim: int = 0) -> T:
    """Tensors of one shape side by side along a new dimension ``dim``.

    Shapes: k times [...] -> [..., k, ...]. Types promote. Gradient: each tensor's slice of g.
    """
    return sequence_of_tensors(tensors, "stack")[0]._apply("stack", *tensors, dim=integer(dim, "dim"))


def concatenate(tensors: Sequence[T], axis: int = 0, *, dim: int | None = None) -> T:
    """``cat`` under numpy's name, and with numpy's name of the dimension; ``dim`` is the same."""
    return cat(tensors, axis if dim is None else dim)


def hstack(tensors: Sequence[T]) -> T:
    """Tensors joined along the second dimension, along the first where they have only one."""
    parts: list[Any] = [t if t.shape else t.reshape(1) for t in sequence_of_tensors(tensors, "hstack")]
    return cat(parts, dim=0 if len(parts[0].shape) == 1 else 1)


def vstack(tensors: Sequence[T]) -> T:
    """Tensors joined along the first dimension, those of one dimension or none as rows."""
    parts: list[Any] = [t if len(t.shape) >= 2 else t.reshape(1, -1) for t in sequence_of_tensors(tensors, "vstack")]
    return cat(parts, dim=0)


def meshgrid(*tensors: T | Sequence[T], indexing: str | None = None) -> tuple[T, ...]:
    """The coordinates of a grid, a tensor for each vector: element [i, j, ...] of the first is the first vector's element i.

    Shapes: [n], [m], ... -> [n, m, ...] each, views; with ``indexing="xy"`` the first two dimensions change places. Raises:
    ShapeError for tensors of two dimensions or more, and for another indexing; DTypeError where types differ.
    """
    given: Any = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], TensorBase) else tensors
    if isinstance(given, (tuple, list)) and not given:
        raise ShapeError("meshgrid expects a non-empty TensorList")
    found: list[Any] = list(sequence_of_tensors(given, "meshgrid"))
    if indexing is None:
        warn_user('torch.meshgrid: pass the indexing argument, "ij" (as by default here and in PyTorch) or "xy" (as in numpy).')
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise ShapeError('torch.meshgrid: indexing must be one of "xy" or "ij"')
    for tensor in found:
        if len(tensor.shape) > 1:
            raise ShapeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got shape {list(tensor.shape)}")
        if tensor.dtype is not found[0].dtype:
            raise DTypeError("meshgrid expects all tensors to have the same dtype")
    swapped = indexing == "xy" and len(found) > 1
    if swapped:
        found[:2] = found[1::-1]
    sizes = tuple(t.shape[0] if t.shape else 1 for t in found)
    grids = [t.reshape((-1,) + (1,) * (len(found) - 1 - i)).expand(sizes) for i, t in enumerate(found)]
    if swapped:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def broadcast_tensors(*tensors: T) -> tuple[T, ...]:
    """Every tensor expanded to the shape that all broadcast to."""
    if not tensors:
        return ()
    found: list[Any] = list(sequence_of_tensors(tensors, "broadcast_tensors"))
    shape = broadcast(*[t.shape for t in found])
    return tuple(t.expand(shape) for t in found)
