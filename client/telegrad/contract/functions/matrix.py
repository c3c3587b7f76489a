"""Free functions of matrices under the names that PyTorch has at its top level, older ones among them."""

from __future__ import annotations

from typing import Any, TypeVar

from telegrad.contract import notices
from telegrad.contract.errors import ShapeError
from telegrad.contract.functions.free import free, require_tensor
from telegrad.contract.functions.linalg_composite import multi_dot
from telegrad.contract.functions.out import CASTS, SAME, takes_out
from telegrad.contract.shapes import integer
from telegrad.contract.tensor.shape import cat
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "addbmm",
    "chain_matmul",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "geqrf",
    "lu",
    "lu_solve",
    "lu_unpack",
    "matrix_exp",
    "orgqr",
    "ormqr",
    "pinverse",
    "qr",
    "svd",
    "triangular_solve",
    "vander",
]

T = TypeVar("T", bound=Tensor)

addbmm = free(Tensor.addbmm, out=SAME)
cholesky = free(Tensor.cholesky, out=CASTS)
cholesky_inverse = free(Tensor.cholesky_inverse, out=CASTS)
cholesky_solve = free(Tensor.cholesky_solve, out=CASTS)
geqrf = free(Tensor.geqrf, out=CASTS)
ormqr = free(Tensor.ormqr, out=CASTS)
lu = free(Tensor.lu, "A", out=CASTS)
lu_solve = free(Tensor.lu_solve, "b", out=SAME)
lu_unpack = free(Tensor.lu_unpack, "LU_data", out=SAME)
matrix_exp = free(Tensor.matrix_exp)
orgqr = free(Tensor.orgqr, out=CASTS)
pinverse = free(Tensor.pinverse)
qr = free(Tensor.qr, out=SAME)
svd = free(Tensor.svd, out=SAME)
triangular_solve = free(Tensor.triangular_solve, "b", out=SAME)


@takes_out(CASTS)
def chain_matmul(*matrices: T) -> T:
    """``linalg.multi_dot`` of matrices given one by one; a single one is given back.

    Shapes: [n, m], [m, ...], ..., [..., p] -> [n, p]. Raises: ShapeError for what is no matrix, or for none.
    """
    notices.deprecated("chain_matmul")
    for x in matrices:
        require_tensor(x, "chain_matmul")
        if len(x.shape) != 2:
            raise ShapeError(f"Tensor dimension is {len(x.shape)}, expected 2 instead.")
    if not matrices:
        raise ShapeError("chain_matmul(): Expected one or more matrices")
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


def vander(x: T, N: int | None = None, increasing: bool = False) -> T:
    """Columns of powers of a vector, the highest first, or last with ``increasing``; as many as it is long by default.

    Shapes: [n] -> [n, N]. dtype: integers and bool give int64. Raises: ShapeError for another shape or a negative N.
    """
    a: Any = require_tensor(x, "vander")
    if len(a.shape) != 1:
        raise ShapeError("x must be a one-dimensional tensor.")
    count = a.shape[0] if N is None else integer(N, "N")
    if count < 0:
        raise ShapeError("N must be non-negative.")
    base = a if a.dtype.category > 1 else a.long()
    ones = base.new_ones((a.shape[0], min(count, 1)))
    made = ones
    if count > 1:
        powers = base.unsqueeze(-1).expand(a.shape[0], count - 1).cumprod(-1)
        made = cat([ones, powers], dim=1)
    return made if increasing else made.flip((1,))  # type: ignore[no-any-return]
