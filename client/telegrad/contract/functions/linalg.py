"""``telegrad.linalg``: norms, decompositions and systems of equations, as in ``torch.linalg``."""

# pyright: reportPrivateUsage=false
# A tensor has no public method of these names, or one of that name that is another, older function.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from telegrad.contract.dtypes import DTypeLike
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError
from telegrad.contract.errors import NumericalError as LinAlgError
from telegrad.contract.functions.free import free, takes_input
from telegrad.contract.functions.linalg_composite import (
    cond,
    cross,
    diagonal,
    matrix_rank,
    multi_dot,
    pinv,
    tensorinv,
    tensorsolve,
    vander,
    vecdot,
)
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.shapes import dimension, ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]

T = TypeVar("T", bound=Tensor)

cholesky = free(Tensor._cholesky, out=SAME)
cholesky_ex = free(Tensor._cholesky_ex, out=SAME)
det = free(Tensor.det, "A", out=SAME)
eig = free(Tensor._eig, out=CASTS)
eigh = free(Tensor._eigh, out=SAME)
eigvals = free(Tensor._eigvals, out=CASTS)
eigvalsh = free(Tensor._eigvalsh, out=SAME)
householder_product = free(Tensor.orgqr, out=CASTS)
inv = free(Tensor.inverse, "A", out=SAME)
inv_ex = free(Tensor._inv_ex, "A", out=SAME)
ldl_factor = free(Tensor._ldl_factor, "A", out=SAME)
ldl_factor_ex = free(Tensor._ldl_factor_ex, "A", out=SAME)
ldl_solve = free(Tensor._ldl_solve, "LD", out=SAME)
lstsq = free(Tensor._lstsq, out=CASTS)
lu = free(Tensor._lu, "A", out=SAME)
lu_factor = free(Tensor._lu_factor, "A", out=SAME)
lu_factor_ex = free(Tensor._lu_factor_ex, "A", out=SAME)
lu_solve = free(Tensor._lu_solve, "LU", out=SAME)
matmul = free(Tensor.matmul, out=SAME)
matrix_exp = free(Tensor.matrix_exp)
matrix_power = free(Tensor.matrix_power, "A", out=CASTS)
qr = free(Tensor._qr, "A", out=SAME)
slogdet = free(Tensor.slogdet, "A", out=SAME)
solve = free(Tensor._solve, "A", out=SAME)
solve_ex = free(Tensor._solve_ex, "A", out=SAME)
solve_triangular = free(Tensor._solve_triangular, out=SAME)


@takes_out(SAME)
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """Singular value decomposition ``U @ diag(S) @ Vh``, singular values descending.

    Shapes: [..., m, n] -> [..., m, m], [..., k], [..., n, n], k = min(m, n), or [..., m, k] and [..., k, n] without
    ``full_matrices``. Raises: NumericalError; ShapeError for a ``driver``, a choice that only GPUs have.
    """
    _require(A, "svd")
    _refuse_driver("svd", driver)
    return A._svd(full_matrices)


@takes_out(SAME)
def svdvals(A: T, *, driver: str | None = None) -> T:
    """Singular values, descending.

    Shapes: [..., m, n] -> [..., min(m, n)]. Raises: NumericalError; ShapeError for a ``driver``, a choice that only GPUs have.
    """
    _require(A, "svdvals")
    _refuse_driver("svdvals", driver)
    return A._svdvals()


def _refuse_driver(name: str, driver: Any) -> None:
    if driver is not None:
        raise ShapeError(
            f"torch.linalg.{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend; leave it out"
        )


@takes_out(SAME)
@takes_input
def norm(
    A: T,
    ord: float | str | None = None,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> T:
    """Norm of a vector or a matrix.

    Without ``ord``, the square root of the sum of squares over ``dim`` (all dimensions by default). With it, a vector norm over one
    dimension or a matrix norm over two; see ``vector_norm`` and ``matrix_norm``.

    Shapes: [..., n, ...] -> [...]. Raises: ShapeError for orders and dimensions that do not go together.
    """
    _require(A, "norm")
    if isinstance(ord, str):
        return matrix_norm(A, ord, _two(A, dim), keepdim, dtype=dtype)
    dims = None if dim is None else ints(dim, "dim")
    if dims is not None and len(dims) not in (1, 2):
        raise ShapeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if dims is None and len(A.shape) not in (1, 2):
        raise ShapeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {len(A.shape)}D.")
    count = len(A.shape) if dims is None else len(dims)
    if count == 2:
        return matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)


@takes_out(SAME)
@takes_input
def vector_norm(
    x: T,
    ord: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> T:
    """``(sum of abs(x) ** ord) ** (1 / ord)`` over ``dim``; also for inf, -inf and 0.

    Shapes: [..., n, ...] -> [...]. Complex tensors have a real norm.
    """
    _require(x, "vector_norm")
    if isinstance(ord, bool) or not isinstance(ord, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"linalg_vector_norm(): argument 'ord' (position 2) must be Number, not {type(ord).__name__}")
    return x.norm(ord, dim, keepdim, dtype)


@takes_out(SAME)
@takes_input
def matrix_norm(
    A: T,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> T:
    """Norm of the matrices in the two dimensions ``dim``.

    Args:
        A: [..., m, n].
        ord: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 or -2 (largest, smallest singular value),
        inf or -inf
            (largest, smallest sum of magnitudes of a row), 1 or -1 (of a column).
        dim: rows and columns.
        keepdim: keep both with size 1.
        dtype: convert first.
    """
    _require(A, "matrix_norm")
    if len(A.shape) < 2:
        raise ShapeError(
            f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions, but it has shape {list(A.shape)}"
        )
    dims = ints(dim, "dim")
    if len(dims) != 2:
        raise ShapeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(dims)}")
    rows, columns = (dimension(d, len(A.shape)) for d in dims)
    if rows == columns:
        raise ShapeError(f"linalg.matrix_norm: dims must be different. Got {list(dims)}")
    supported = ("fro", "nuc") if isinstance(ord, str) else (2, -2, 1, -1, math.inf, -math.inf)
    if ord not in supported:
        raise ShapeError(f"linalg.matrix_norm: Order {ord} not supported; use 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2")
    if A.dtype.category < 2:
        raise DTypeError(f"linalg.matrix_norm: Expected a floating point or complex tensor as input. Got {A.dtype.name}")
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim, dtype=dtype)
    x: Any = A if dtype is None else A.to(dtype)
    if ord in ("nuc", 2, -2):
        order = [d for d in range(len(x.shape)) if d not in (rows, columns)]
        values = svdvals(x.permute(*order, rows, columns))
        if ord == 2 and not values.shape[-1]:
            values = values.detach()  # of no singular values PyTorch's largest has no history
        result = values.sum(-1) if ord == "nuc" else _largest(values, -1, False) if ord == 2 else values.amin(-1)
        if keepdim:
            for d in sorted((rows, columns)):
                result = result.unsqueeze(d)
        return result  # type: ignore[no-any-return]
    summed, kept = (rows, columns) if abs(float(ord)) == 1 else (columns, rows)
    sums: Any = vector_norm(x, 1, summed, keepdim)
    at = kept if keepdim or kept < summed else kept - 1
    return _largest(sums, at, keepdim) if float(ord) > 0 else sums.amin(at, keepdim)  # type: ignore[no-any-return]


def _largest(x: Any, dim: int, keepdim: bool) -> Any:
    """The largest along ``dim``; of no magnitudes 0, without history, as in PyTorch."""
    return x.amax(dim, keepdim) if x.shape[dim] else x.detach().sum(dim, keepdim)


def norm_of_matrices(x: Any, order: str, dim: Sequence[int] | None, keepdim: bool, dtype: DTypeLike | None) -> Any:
    """``x.norm(order, dim)`` for the orders of matrices, whose two dimensions are all that there are by default."""
    axes = tuple(range(len(x.shape))) if dim is None else tuple(dim)
    if len(axes) != 2 and (dim is not None or len(axes) > 2):
        raise ShapeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, axes))}")
    return matrix_norm(x, order, axes if len(axes) == 2 else (-2, -1), keepdim, dtype=dtype)


def _two(A: Tensor, dim: Any) -> tuple[int, ...]:
    """The two dimensions of a matrix norm that ``norm`` was asked for."""
    if dim is not None:
        return ints(dim, "dim")
    if len(A.shape) not in (1, 2):
        raise ShapeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {len(A.shape)}D.")
    return (-2, -1)


def _require(value: Any, name: str) -> None:
    if not isinstance(value, TensorBase):
        raise ArgumentTypeError(f"linalg.{name}(): argument 'A' (position 1) must be Tensor, not {type(value).__name__}")
