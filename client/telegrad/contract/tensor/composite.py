"""Ops that PyTorch too composes of others: they have no row of their own, and the gradients are those of the parts."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType, DTypeLike, Number, as_dtype
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Shape
from telegrad.contract.shapes import dimension, integer, ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import cat, sequence_of_tensors
from telegrad.contract.watching import warn_user

T = TypeVar("T", bound=TensorBase)


_MOST_PARTS = 2**16
"""Parts of a tensor that has fewer slices than that."""


class CompositeOps(TensorBase):
    """Flips and turns, parts, differences, products."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    # Flips and turns ---------------------------------------------------------------------------------------------------------

    def fliplr(self) -> Self:
        """Columns in reverse order: ``flip`` of dimension 1, as a copy."""
        if len(self.shape) < 2:
            raise ShapeError("Input must be >= 2-d.")
        return self._apply("flip", self, dims=(1,))

    def flipud(self) -> Self:
        """Rows in reverse order: ``flip`` of dimension 0, as a copy."""
        if not self.shape:
            raise ShapeError("Input must be >= 1-d.")
        return self._apply("flip", self, dims=(0,))

    def rot90(self, k: int = 1, dims: Sequence[int] = (0, 1)) -> Self:
        """A copy turned ``k`` times by 90 degrees in the plane of two dimensions, from the first towards the second."""
        plane, turns = ints(dims, "dims"), integer(k, "k") % 4
        if len(plane) != 2:
            raise ShapeError(f"expected total rotation dims == 2, but got dims = {len(plane)}")
        if len(self.shape) < 2:
            raise ShapeError(f"expected total dims >= 2, but got total dims = {len(self.shape)}")
        first, second = (dimension(d, len(self.shape)) for d in plane)
        if first == second:
            raise ShapeError(f"expected rotation dims to be different, but got dim0 = {plane[0]} and dim1 = {plane[1]}")
        if turns == 0:
            return self._apply("clone", self)
        if turns == 2:
            return self._apply("flip", self, dims=(first, second))
        flipped = self._apply("flip", self, dims=(second if turns == 1 else first,))
        return self._apply("transpose", flipped, dim0=first, dim1=second)

    # Parts -------------------------------------------------------------------------------------------------------------------

    def tensor_split(self, indices_or_sections: int | Sequence[int] | Self, dim: int = 0) -> tuple[Self, ...]:
        """Consecutive parts along ``dim``, as views: that many, of nearly one size, or cut before each index listed."""
        if not self.shape:
            raise ShapeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
        where: Any = indices_or_sections
        if isinstance(where, TensorBase):
            where = where.tolist()  # type: ignore[attr-defined]
        at = dimension(integer(dim, "dim"), len(self.shape))
        size = self.shape[at]
        if isinstance(where, (list, tuple)):
            cuts = list(ints(where, "indices"))
        else:
            count = integer(where, "sections")
            if count < 1:
                raise ShapeError(f"number of sections must be larger than 0, got {count}")
            if count > max(size, _MOST_PARTS):
                raise ShapeError(
                    f"tensor_split: {count} parts of {size} slices, nearly all of them empty; give {_MOST_PARTS} or fewer"
                )
            each, rest = divmod(size, count)
            cuts = [i * each + min(i, rest) for i in range(1, count)]
        parts: list[Self] = []
        for start, stop in zip([0, *cuts], [*cuts, size], strict=True):
            first, last, _ = slice(start, stop).indices(size)
            parts.append(self._apply("narrow", self, dim=at, start=first, length=max(last - first, 0)))
        return tuple(parts)

    def _divided(self, name: str, where: int | Sequence[int], dim: int, least: int) -> tuple[Self, ...]:
        if len(self.shape) < least:
            raise ShapeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {len(self.shape)} "
                "dimensions!"
            )
        if isinstance(where, int) and (where < 1 or self.shape[dim] % where):
            raise ShapeError(
                f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension {self.shape[dim]} is not "
                f"divisible by the split_size {where}!"
            )
        return self.tensor_split(where, dim)

    def hsplit(self, indices_or_sections: int | Sequence[int]) -> tuple[Self, ...]:
        """``tensor_split`` along dimension 1, along 0 of a vector; a number of parts must divide the size."""
        return self._divided("hsplit", indices_or_sections, 0 if len(self.shape) == 1 else 1, 1)

    def vsplit(self, indices_or_sections: int | Sequence[int]) -> tuple[Self, ...]:
        """``tensor_split`` along dimension 0; a number of parts must divide the size."""
        return self._divided("vsplit", indices_or_sections, 0, 2)

    def dsplit(self, indices_or_sections: int | Sequence[int]) -> tuple[Self, ...]:
        """``tensor_split`` along dimension 2; a number of parts must divide the size."""
        return self._divided("dsplit", indices_or_sections, 2, 3)

    # Differences and means ---------------------------------------------------------------------------------------------------

    def diff(self, n: int = 1, dim: int = -1, prepend: Self | None = None, append: Self | None = None) -> Self:
        """Differences of neighbours along ``dim``, ``n`` times over; of bool, whether they differ.

        ``prepend`` and ``append`` are joined to the tensor first. Shapes: [..., k, ...] -> [..., k - n, ...].
        """
        if not self.shape:
            raise ShapeError("diff expects input to be at least one-dimensional")
        for part in (prepend, append):
            if part is not None and len(part.shape) != len(self.shape):
                raise ShapeError("diff expects prepend or append to be the same dimension as input")
        at, times = dimension(integer(dim, "dim"), len(self.shape)), integer(n, "n")
        if times < 0:
            raise ShapeError(f"order must be non-negative but got {times}")
        given = [part for part in (prepend, self, append) if part is not None]
        x = self._apply("clone", self) if times == 0 else cat(given, at) if len(given) > 1 else self
        name = "logical_xor" if x.dtype is dtypes.bool_ else "sub"
        for _ in range(min(times, x.shape[at])):
            left = max(x.shape[at] - 1, 0)
            later = self._apply("narrow", x, dim=at, start=min(1, x.shape[at]), length=left)
            x = self._apply(name, later, self._apply("narrow", x, dim=at, start=0, length=left))
        return x

    def nanmean(self, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Self:
        """Mean over ``dim`` of the elements that are numbers: ``nansum`` over their count."""
        if not self.dtype.is_differentiable:
            raise DTypeError(f"nanmean(): expected input to have floating point or complex dtype but got {self.dtype.name}")
        if dtype is not None and not as_dtype(dtype).is_differentiable:
            raise DTypeError(
                "nanmean(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype"
            )
        x: Any = self
        return x.nansum(dim, keepdim, dtype=dtype) / x.isnan().logical_not().sum(dim, keepdim)

    # Products ----------------------------------------------------------------------------------------------------------------

    def kron(self, other: Self) -> Self:
        """Kronecker product: every element of ``self`` times all of ``other``, in blocks; missing dimensions count as 1."""
        ndim = max(len(self.shape), len(other.shape))
        mine = (1,) * (ndim - len(self.shape)) + self.shape
        theirs = (1,) * (ndim - len(other.shape)) + other.shape
        pairs = list(zip(mine, theirs, strict=True))
        left = self._apply("reshape", self, shape=tuple(n for a, _ in pairs for n in (a, 1)))
        right = self._apply("reshape", other, shape=tuple(n for _, b in pairs for n in (1, b)))
        return self._apply("reshape", self._apply("mul", left, right), shape=tuple(a * b for a, b in pairs))

    def vdot(self, other: Self) -> Self:
        """``dot`` of the conjugate of ``self`` with ``other``."""
        if len(self.shape) != 1 or len(other.shape) != 1:
            raise ShapeError(f"1D tensors expected, but got {len(self.shape)}D and {len(other.shape)}D tensors")
        mine = self._apply("conj", self) if self.dtype.is_complex else self
        return self._apply("dot", mine, other)

    def addr(self, vec1: Self, vec2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``beta * self + alpha * outer(vec1, vec2)``; with ``beta=0`` what is in ``self`` does not count, not even nan."""
        for name, vector in (("vec1", vec1), ("vec2", vec2)):
            if len(vector.shape) != 1:
                raise ShapeError(f"addr: Expected 1-D argument {name}, but got {len(vector.shape)}-D")
        kinds = {t.dtype.category for t in (self, vec1, vec2)}
        if max(kinds) < 2:
            for name, factor in (("beta", beta), ("alpha", alpha)):
                if not isinstance(factor, int):
                    raise DTypeError(f"For integral input tensors, argument {name} must not be a floating point number.")
        product = self._apply("outer", vec1, vec2)
        if kinds == {0}:
            beta, alpha = bool(beta), bool(alpha)  # so that the result stays bool
        expanded = self._apply("expand", self, size=product.shape)
        kept = expanded if beta == 1 else self._apply("mul", expanded, beta)
        if beta == 0:
            kept = self._apply("new_full", self, size=product.shape, fill_value=0)
        return self._apply("add", kept, product, alpha=alpha)

    def cross(self, other: Self, dim: int | None = None) -> Self:
        """Cross product of vectors of 3 along ``dim``, by default the first dimension of size 3. Other sizes broadcast."""
        if dim is None:
            warn_user(
                "Using torch.cross without specifying the dim arg is deprecated: it takes the first dimension of size 3. Give dim, "
                "or use telegrad.linalg.cross, which takes the last."
            )
            if 3 not in self.shape:
                raise ShapeError("no dimension of size 3 in input")
            dim = self.shape.index(3)
        if len(self.shape) != len(other.shape):
            raise ShapeError("linalg.cross: inputs must have the same number of dimensions.")
        at = dimension(integer(dim, "dim"), len(self.shape))
        if not self.shape or self.shape[at] != 3 or other.shape[at] != 3:
            sizes = f"Got {list(self.shape)} and {list(other.shape)}"
            raise ShapeError(f"linalg.cross: inputs dimension {dim} must have length 3. {sizes}")
        if self.dtype.category == 0:
            raise UnsupportedDTypeError('"cross" not implemented for bool; convert it first, for example with .to(telegrad.int64)')
        if self.dtype is not other.dtype:
            raise DTypeError(
                f"linalg.cross: expected scalar type {self.dtype.name} but found {other.dtype.name}; convert one with .to(...)"
            )

        def turned(x: Self, by: int) -> Self:
            return self._apply("roll", x, shifts=(-by,), dims=(at,))

        left = self._apply("mul", turned(self, 1), turned(other, 2))
        return self._apply("sub", left, self._apply("mul", turned(self, 2), turned(other, 1)))


# Functions of several tensors ------------------------------------------------------------------------------------------------


def _at_least(name: str, tensors: tuple[Any, ...], ones: dict[int, Shape]) -> Any:
    """The tensors, those of few dimensions with ones around: ``ones`` has a shape for each such number, -1 for the sizes."""
    if len(tensors) == 1 and isinstance(tensors[0], TensorBase):
        x: Any = tensors[0]
        shape = ones.get(len(x.shape))
        if shape is None:
            return x
        if -1 not in shape:
            return x.reshape(shape)
        for dim, n in enumerate(shape):
            if n == 1:
                x = x.unsqueeze(dim)
        return x
    several = tensors[0] if len(tensors) == 1 else tensors
    if isinstance(several, (tuple, list)) and not several:
        return ()
    if not isinstance(several, (tuple, list)):
        raise ArgumentTypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(several).__name__}")
    return tuple(_at_least(name, (x,), ones) for x in sequence_of_tensors(several, name))


def atleast_1d(*tensors: Any) -> Any:
    """A tensor of no dimensions as one of one element; others as they are. Several tensors give a tuple."""
    return _at_least("atleast_1d", tensors, {0: (1,)})


def atleast_2d(*tensors: Any) -> Any:
    """A tensor of fewer than two dimensions as a row; others as they are. Several tensors give a tuple."""
    return _at_least("atleast_2d", tensors, {0: (1, 1), 1: (1, -1)})


def atleast_3d(*tensors: Any) -> Any:
    """A vector as [1, n, 1], a matrix as [n, m, 1], others as they are. Several tensors give a tuple."""
    return _at_least("atleast_3d", tensors, {0: (1, 1, 1), 1: (1, -1, 1), 2: (-1, -1, 1)})


def column_stack(tensors: Sequence[T]) -> T:
    """Tensors joined along the second dimension, those of one dimension or none as columns."""
    parts: list[Any] = [t if len(t.shape) >= 2 else t.reshape(-1, 1) for t in sequence_of_tensors(tensors, "column_stack")]
    return cat(parts, dim=1)


def dstack(tensors: Sequence[T]) -> T:
    """Tensors joined along the third dimension, after ``atleast_3d``."""
    parts: list[Any] = [atleast_3d(t) for t in sequence_of_tensors(tensors, "dstack")]
    return cat(parts, dim=2)
