"""Kernels and derivatives of triangular and least squares systems, pseudoinverses, ranks, exponentials and summed products."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import NumericalError
from telegrad.contract.matrices import has_vectors
from telegrad_service.engine import factorise
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.linalg import added, adjoint, decompose, scaled
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel

# Triangular systems ------------------------------------------------------------------------------------------------------------


@kernel("solve_triangular")
def _solve_triangular(self: Array, B: Array, upper: bool, left: bool, unitriangular: bool) -> Any:
    if left:
        return factorise.solve_triangular(self, B, upper=upper, unit=unitriangular)
    turned = factorise.solve_triangular(self.swapaxes(-1, -2), B.swapaxes(-1, -2), upper=not upper, unit=unitriangular)
    return turned.swapaxes(-1, -2)


@joint_derivative("solve_triangular", "self", "B")
def _solve_triangular_gradient(
    g: Any, self: Any, result: Any, upper: bool, left: bool, unitriangular: bool, needs: tuple[bool, bool]
) -> Any:
    of_right = F.solve_triangular(adjoint(self), g, upper=not upper, left=left, unitriangular=unitriangular)
    if not needs[0]:
        return None, of_right
    product = -(F.matmul(of_right, adjoint(result)) if left else F.matmul(adjoint(result), of_right))
    start = 1 if unitriangular else 0
    of_matrix = F.triu(product, diagonal=start) if upper else F.tril(product, diagonal=-start)
    return of_matrix, of_right if needs[1] else None


def _twice(factor: Array, b: Array, upper: bool) -> Array:
    """The X of ``L @ L^H @ X = b``, or of ``U^H @ U @ X = b``."""
    turned = np.conjugate(factor.swapaxes(-1, -2))
    first, second = (turned, factor) if upper else (factor, turned)
    return factorise.solve_triangular(second, factorise.solve_triangular(first, b, upper=False), upper=True)


@kernel("cholesky_inverse")
def _cholesky_inverse(self: Array, upper: bool) -> Any:
    zero = np.diagonal(self, axis1=-2, axis2=-1) == 0
    if zero.any():
        at = np.argwhere(zero)[0]
        where = f"(Batch element {np.flatnonzero(zero.any(-1))[0]}): " if self.ndim > 2 else ""
        raise NumericalError(
            f"cholesky_inverse: {where}The diagonal element {at[-1] + 1} is zero, the inversion could not be completed because "
            "the input matrix is singular."
        )
    return _twice(self, np.eye(self.shape[-1], dtype=self.dtype), upper)


def _of_factor(common: Any, factor: Any, upper: bool) -> Any:
    return -(F.matmul(factor, common) if upper else F.matmul(common, factor))


def _cholesky_inverse_gradient(g: Any, self: Any, result: Any, upper: bool) -> Any:
    common = F.matmul(F.matmul(result, g + adjoint(g)), result)
    return _of_factor(common, self, upper)


derivative("cholesky_inverse", self=_cholesky_inverse_gradient)


@kernel("cholesky_solve")
def _cholesky_solve(self: Array, input2: Array, upper: bool) -> Any:
    return _twice(input2, self, upper)


@joint_derivative("cholesky_solve", "self", "input2")
def _cholesky_solve_gradient(g: Any, input2: Any, result: Any, upper: bool, needs: tuple[bool, bool]) -> Any:
    of_right = F.cholesky_solve(g, input2, upper=upper)
    if not needs[1]:
        return of_right, None
    common = F.matmul(of_right, adjoint(result))
    return of_right if needs[0] else None, _of_factor(common + adjoint(common), input2, upper)


# Pseudoinverses and ranks ------------------------------------------------------------------------------------------------------


def _threshold(largest: Array, sizes: tuple[int, ...], atol: Any, rtol: Any) -> Array:
    """What counts as zero beside the ``largest`` singular value of each matrix of these sizes."""
    if rtol is None:
        default = np.finfo(largest.dtype).eps * max(sizes[-2:])
        rtol = default if atol is None else np.where(np.asarray(atol) > 0, 0, default)
    return np.asarray(np.maximum(0 if atol is None else atol, np.asarray(rtol) * largest))


def _mirrored(x: Array) -> Any:
    """The Hermitian matrix whose lower triangle is that of ``x``."""
    below = np.tril(x, -1)
    diagonal = np.real(np.diagonal(x, axis1=-2, axis2=-1))
    return below + np.conjugate(below.swapaxes(-1, -2)) + diagonal[..., None] * np.eye(x.shape[-1], dtype=diagonal.dtype)


@kernel("matrix_rank")
def _matrix_rank(self: Array, atol: Any, rtol: Any, hermitian: bool) -> Any:
    values = decompose(_mirrored(self) if hermitian else self, compute_uv=False)
    largest = values.max(-1) if values.shape[-1] else np.zeros(values.shape[:-1], values.dtype)
    return np.count_nonzero(values > _threshold(largest, self.shape, atol, rtol)[..., None], -1)


@kernel("pinv")
def _pinv(self: Array, atol: Any, rtol: Any, hermitian: bool) -> Any:
    u, s, vh = decompose(_mirrored(self) if hermitian else self, full_matrices=False)
    largest = s.max(-1) if s.shape[-1] else np.zeros(s.shape[:-1], s.dtype)
    counts = s > _threshold(largest, self.shape, atol, rtol)[..., None]
    reciprocal = np.where(counts, 1 / np.where(counts, s, 1), 0).astype(s.dtype, copy=False)
    return np.matmul(np.conjugate(vh.swapaxes(-1, -2)) * reciprocal[..., None, :], np.conjugate(u.swapaxes(-1, -2)))


def _pinv_slope(g: Any, matrix: Any, inverse: Any) -> Any:
    """Golub's and Pereyra's formula, transposed: from the gradient of the pseudoinverse to that of the matrix."""
    inverse_h, g_h = adjoint(inverse), adjoint(g)
    first = F.matmul(F.matmul(g_h, inverse), inverse_h)
    second = F.matmul(inverse_h, F.matmul(inverse, g_h))
    made = first - F.matmul(matrix, F.matmul(inverse, first)) + second - F.matmul(F.matmul(second, inverse), matrix)
    return made - F.matmul(F.matmul(inverse_h, g), inverse_h)


# With `hermitian` too, as in PyTorch: the lower triangle stands for both, and still both get a gradient.
derivative("pinv", self=lambda g, self, result: _pinv_slope(g, self, result))


@kernel("lstsq")
def _lstsq(self: Array, b: Array, rcond: float | None, driver: str | None) -> Any:
    vectors = has_vectors(self.shape, b.shape)
    right = b[..., None] if vectors else b
    m, n = self.shape[-2:]
    driver = driver or "gelsy"
    u, s, vh = decompose(self, full_matrices=False)
    nothing = np.empty((0,), s.dtype)
    limit = (np.finfo(s.dtype).eps * max(m, n) if rcond is None else rcond) * s[..., :1]
    counts = s > limit
    if driver == "gels" and not counts.all():
        raise NumericalError(
            "torch.linalg.lstsq: The least squares solution could not be computed because the input matrix does not have full rank."
        )
    reciprocal = np.where(counts, 1 / np.where(counts, s, 1), 0).astype(s.dtype, copy=False)[..., None]
    turned = np.matmul(np.conjugate(u.swapaxes(-1, -2)), right)
    solution = np.matmul(np.conjugate(vh.swapaxes(-1, -2)), reciprocal * turned)
    residuals = nothing
    if driver != "gelsy" and m > n and counts.all():
        left = right - np.matmul(self, solution)
        residuals = (left * np.conjugate(left)).real.sum(-2)
    return (
        solution[..., 0] if vectors else solution,
        residuals,
        np.empty((0,), np.int64) if driver == "gels" else counts.sum(-1),
        s if driver in ("gelsd", "gelss") else nothing,
    )


@joint_derivative("lstsq", "self", "b")
def _lstsq_gradient(g: Any, self: Any, b: Any, solution: Any, residuals_shape: Any, needs: tuple[bool, bool]) -> Any:
    vectors = has_vectors(self.shape, b.shape)
    right, answer, slope = (F.unsqueeze(x, dim=-1) if vectors else x for x in (b, solution, g[0]))
    inverse = F.pinv(self, None, None)
    of_right = F.matmul(adjoint(inverse), slope)
    of_matrix = _pinv_slope(F.matmul(slope, adjoint(right)), self, inverse) if needs[0] else None
    if residuals_shape != (0,):
        left = (right - F.matmul(self, answer)) * F.unsqueeze(g[1], dim=-2) * 2
        of_right = of_right + left
        if of_matrix is not None:
            of_matrix = of_matrix - F.matmul(left, adjoint(answer))
    if vectors:
        of_right = F.squeeze(of_right, dim=(-1,))
    return of_matrix, of_right if needs[1] else None


# The exponential ---------------------------------------------------------------------------------------------------------------

kernel("matrix_exp", factorise.matrix_exponential)


def _matrix_exp_gradient(g: Any, self: Any) -> Any:
    back, n = adjoint(self), self.shape[-1]
    upper = F.cat(back, g, dim=self.ndim - 1)
    lower = F.cat(F.zeros(back, back.shape), back, dim=self.ndim - 1)
    both = F.matrix_exp(F.cat(upper, lower, dim=self.ndim - 2))
    return F.getitem(both, index=(Ellipsis, slice(0, n, 1), slice(n, 2 * n, 1)))


derivative("matrix_exp", self=_matrix_exp_gradient)


# Summed products ---------------------------------------------------------------------------------------------------------------


def _side_by_side(x: Any) -> Any:
    """A batch of matrices next to each other: [b, n, m] -> [n, b * m]."""
    return F.reshape(F.permute(x, dims=(1, 0, 2)), shape=(x.shape[1], x.shape[0] * x.shape[2]))


@kernel("addbmm")
def _addbmm(self: Array, batch1: Array, batch2: Array, beta: Any, alpha: Any) -> Any:
    # One product that sums over the batch, too.
    return added(self, _side_by_side(batch1), batch2.reshape(batch2.shape[0] * batch2.shape[1], batch2.shape[2]), beta, alpha)


derivative(
    "addbmm",
    self=lambda g, beta: scaled(g, beta),
    batch1=lambda g, batch2, alpha: scaled(F.matmul(g, adjoint(batch2)), alpha),
    batch2=lambda g, batch1, alpha: scaled(F.matmul(adjoint(batch1), g), alpha),
)
