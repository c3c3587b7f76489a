"""Functions of ``telegrad.linalg`` that are made of other ops: condition numbers, chains of products, tensors as matrices."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract.dtypes import to_real
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from telegrad.contract.functions.free import takes_input
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.matrices import check_square
from telegrad.contract.modes import refuse_gradient
from telegrad.contract.shapes import dimension, integer, ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import cat, sequence_of_tensors
from telegrad.contract.tensor.tensor import Tensor

T = TypeVar("T", bound=Tensor)


def require(value: Any, name: str, argument: str = "A") -> None:
    """Refuse what is no tensor; raises ArgumentTypeError naming the function."""
    if not isinstance(value, TensorBase):
        raise ArgumentTypeError(f"linalg.{name}(): argument '{argument}' must be Tensor, not {type(value).__name__}")


def diagonal(A: T, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> T:
    """The diagonals of matrices, as a view: ``A.diagonal`` of the last two dimensions."""
    require(A, "diagonal")
    return A.diagonal(offset, dim1, dim2)


@takes_out(SAME)
def cross(input: T, other: T, *, dim: int = -1) -> T:
    """Cross product of vectors of 3 along ``dim``; other sizes broadcast."""
    require(input, "cross", "input")
    return input.cross(other, dim)


@takes_out(SAME)
def vecdot(x: T, y: T, *, dim: int = -1) -> T:
    """Sum along ``dim`` of the conjugate of ``x`` times ``y``.

    Shapes: [..., n, ...] twice, broadcast -> [...]. Raises: DTypeError for integers and types that differ.
    """
    require(x, "vecdot", "x")
    require(y, "vecdot", "y")
    a: Any = x
    b: Any = y
    if a.dtype.category < 2:
        raise DTypeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {a.dtype.name}")
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, but found x of type {a.dtype.name} and y of type "
            f"{b.dtype.name} instead; convert one of them with .to(...)"
        )
    at = integer(dim, "dim")
    conjugate = a.conj() if a.dtype.is_complex else a
    if len(a.shape) == len(b.shape) == 1:
        dimension(at, 1)
        return conjugate.dot(b)  # type: ignore[no-any-return]
    return (conjugate * b).sum(at)  # type: ignore[no-any-return]


def vander(x: T, *, N: int | None = None) -> T:
    """Rows of powers, from 0 to ``N - 1``, of every element; as many as ``x`` is long in its last dimension by default.

    Shapes: [..., n] -> [..., n, N]. Raises: ShapeError for an N below 2; DTypeError for bool.
    """
    require(x, "vander", "x")
    a: Any = x
    if a.dtype.category == 0:
        raise DTypeError(f"linalg.vander supports floating point, complex, and integer tensors, but got {a.dtype.name}")
    a = a if a.shape else a.reshape(1)
    count = a.shape[-1] if N is None else integer(N, "N")
    if count <= 1:
        raise ShapeError("N must be greater than 1.")
    powers = a.unsqueeze(-1).expand(*a.shape, count - 1).cumprod(-1)
    return cat([powers.new_ones((*a.shape, 1)), powers], dim=-1)  # type: ignore[no-any-return]


@takes_out(CASTS)
def tensorinv(input: T, ind: int = 2) -> T:
    """The inverse of ``input`` as a map of tensors: its first ``ind`` dimensions count as rows, the others as columns.

    Shapes: [*rows, *columns] -> [*columns, *rows], with as many elements in both. Raises: NumericalError for a singular one.
    """
    require(input, "tensorinv", "input")
    at = integer(ind, "ind")
    if at <= 0:
        raise ShapeError(f"Expected a strictly positive integer for 'ind', but got {at}")
    a: Any = input
    if at > len(a.shape):
        raise ShapeError(f"Expected 'ind' to be at most the number of dimensions, {len(a.shape)}, but got {at}")
    first, last = a.shape[:at], a.shape[at:]
    rows, columns = math.prod(first), math.prod(last)
    if rows != columns:
        raise ShapeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{columns} != {rows}"
        )
    return a.reshape(rows, columns).inverse().reshape(last + first)  # type: ignore[no-any-return]


@takes_out(CASTS)
def tensorsolve(input: T, other: T, dims: Sequence[int] | None = None) -> T:
    """The X of ``tensordot(input, X, X.ndim) = other``.

    Args:
        input: [*other.shape, *shape of X], with as many elements in both, once ``dims`` are moved to the end.
        other: the right side.
        dims: dimensions of ``input`` that are moved to the end first.

    Raises: NumericalError for a singular ``input``.
    """
    require(input, "tensorsolve", "input")
    require(other, "tensorsolve", "other")
    a: Any = input
    b: Any = other
    if dims is not None:
        moved = ints(dims, "dims")
        a = a.movedim(moved, tuple(range(len(a.shape) - len(moved), len(a.shape))))
    rest = a.shape[len(b.shape) :]
    rows, columns = math.prod(a.shape[: len(b.shape)]), math.prod(rest)
    if rows != columns:
        raise ShapeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got "
            f"{columns} != {rows}"
        )
    return a.reshape(rows, columns)._solve(b.reshape(-1)).reshape(rest)  # type: ignore[no-any-return]


@takes_out(SAME)
def multi_dot(tensors: Sequence[T]) -> T:
    """The product of two or more matrices in the order that costs least; the first and the last may be vectors.

    Shapes: [n, m], [m, ...], ..., [..., p] -> [n, p]; a vector first drops n, a vector last p. Raises: ShapeError.
    """
    given: list[Any] = list(sequence_of_tensors(tensors, "multi_dot"))
    if len(given) < 2:
        raise ShapeError(f"multi_dot(): expected at least 2 tensors but got {len(given)}")
    for at, word in ((0, "first"), (-1, "last")):
        if len(given[at].shape) not in (1, 2):
            raise ShapeError(f"multi_dot(): the {word} tensor must be 1D or 2D but got {len(given[at].shape)}D")
    for at, x in enumerate(given[1:-1], 1):
        if len(x.shape) != 2:
            raise ShapeError(f"multi_dot(): tensor {at} must be 2D but got {len(x.shape)}D")
    for at, x in enumerate(given):
        if x.dtype is not given[0].dtype:
            raise DTypeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {given[0].dtype.name} and tensor {at} "
                f"{x.dtype.name}"
            )
    drop_first, drop_last = len(given[0].shape) == 1, len(given[-1].shape) == 1
    given[0] = given[0].unsqueeze(0) if drop_first else given[0]
    given[-1] = given[-1].unsqueeze(-1) if drop_last else given[-1]
    for at, (a, b) in enumerate(itertools.pairwise(given)):
        if a.shape[1] != b.shape[0]:
            raise ShapeError(
                f"multi_dot(): tensors {at} and {at + 1} with shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied"
            )
    splits = _best_splits([x.shape[0] for x in given] + [given[-1].shape[1]])

    def product(first: int, last: int) -> Any:
        if first == last:
            return given[first]
        middle = splits[first, last]
        return product(first, middle).mm(product(middle + 1, last))

    result = product(0, len(given) - 1)
    result = result.squeeze(-1) if drop_last else result
    return result.squeeze(0) if drop_first else result  # type: ignore[no-any-return]


def _best_splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """For matrices i of sizes[i] by sizes[i + 1]: after which one to split the product of those from i to j.

    Source: the matrix chain order of Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, section 14.2.
    """
    count = len(sizes) - 1
    costs = {(i, i): 0 for i in range(count)}
    splits: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs[i, j], splits[i, j] = min(
                (costs[i, m] + costs[m + 1, j] + sizes[i] * sizes[m + 1] * sizes[j + 1], m) for m in range(i, j)
            )
    return splits


@takes_out(CASTS)
@takes_input
def cond(A: T, p: float | str | None = None) -> T:
    """How much a system of equations with matrix ``A`` may amplify errors: the norm of A times that of its inverse.

    Args:
        A: [..., m, n]; square unless ``p`` is None, 2 or -2. A singular matrix has an infinite condition number.
        p: the norm, as for ``matrix_norm``; None is 2: the largest singular value over the smallest. -2 is its reciprocal.

    Shapes: [..., m, n] -> [...]. Raises: ShapeError.
    """
    from telegrad.contract.functions import linalg

    require(A, "cond")
    x: Any = A
    if len(x.shape) < 2:
        raise ShapeError(f"linalg.cond: The input tensor A must have at least 2 dimensions, but it has shape {list(x.shape)}")
    given: Any = p
    if isinstance(given, bool) or not (given is None or isinstance(given, (int, float, str))):
        raise ArgumentTypeError(f"linalg_cond(): argument 'p' must be a number or str, not {type(given).__name__}")
    if p is None or p in (2, -2):
        if 0 in x.shape:
            values = x._svdvals()
            return values.new_zeros(x.shape[:-2])  # type: ignore[no-any-return]
        values = x._svdvals()
        largest, smallest = values.select(-1, 0), values.select(-1, -1)
        return smallest / largest if p == -2 else largest / smallest  # type: ignore[no-any-return]
    if p not in ("fro", "nuc", 1, -1, math.inf, -math.inf):
        raise ShapeError(f"linalg.cond got an invalid norm type: {p}")
    check_square(f"linalg.cond(ord={p})", x)
    if 0 in x.shape:
        return x.new_zeros(x.shape[:-2], dtype=to_real(x.dtype))  # type: ignore[no-any-return]
    inverse, info = x._inv_ex()
    inverse = inverse.masked_fill((info > 0).unsqueeze(-1).unsqueeze(-1), math.inf)
    return linalg.matrix_norm(x, p) * linalg.matrix_norm(inverse, p)  # type: ignore[no-any-return]


@takes_out(CASTS)
def matrix_rank(input: T, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> T:
    """How many singular values (magnitudes of eigenvalues with ``hermitian``) exceed ``max(atol, rtol * the largest)``.

    Args:
        input: [..., m, n].
        tol: another name of ``atol``, with which ``rtol`` is 0.
        hermitian: the matrices are Hermitian, and their lower triangles alone are read.
        atol: 0 by default; a number, or a tensor that goes with the batch.
        rtol: the type's eps times max(m, n) by default, or 0 where ``atol`` is positive.

    Shapes: [..., m, n] -> [...] of int64.
    """
    require(input, "matrix_rank", "input")
    if tol is not None:
        if atol is not None or rtol is not None:
            raise ArgumentValueError("linalg_matrix_rank(): give either 'tol', or 'atol' and 'rtol'")
        atol, rtol = tol, 0.0
    return input._matrix_rank(atol, rtol, hermitian)


@takes_out(CASTS)
def pinv(input: T, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> T:
    """Pseudoinverses; see ``matrix_rank`` for the tolerances. ``rcond`` is another name of ``rtol``.

    Shapes: [..., m, n] -> [..., n, m]. Gradient: for matrices of constant rank.
    """
    require(input, "pinv", "input")
    if rcond is not None:
        if atol is not None or rtol is not None:
            raise ArgumentValueError("linalg_pinv(): give either 'rcond', or 'atol' and 'rtol'")
        rtol = rcond
    refuse_gradient("linalg_pinv", "atol", atol)
    refuse_gradient("linalg_pinv", "rtol", rtol)
    return input._pinv(atol, rtol, hermitian)
