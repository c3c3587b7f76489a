"""Kernels and derivatives of inverses, determinants, linear systems and factorisations."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import NumericalError
from telegrad.contract.matrices import has_vectors
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.rules.linalg import adjoint, on_diagonal, require_free_phases
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel


def _failed_at(x: Array, fails: Any) -> str:
    """Which matrix of a batch made a LAPACK routine fail, as PyTorch's messages name it; empty for a single matrix."""
    if x.ndim == 2:
        return ""
    for position, matrix in enumerate(x.reshape(-1, *x.shape[-2:])):
        try:
            fails(matrix)
        except np.linalg.LinAlgError:
            return f"(Batch element {position}): "
    return ""


# Inverses and systems ----------------------------------------------------------------------------------------------------------


@kernel("inv")
def _inverse(self: Array) -> Any:
    try:
        return np.linalg.inv(self)
    except np.linalg.LinAlgError:
        where = _failed_at(self, np.linalg.inv)
    raise NumericalError(f"linalg.inv: {where}The inversion could not be completed because the input matrix is singular.")


def inverse_gradient(g: Any, result: Any) -> Any:
    """``-inverse^H @ g @ inverse^H``."""
    transposed = adjoint(result)
    return -F.matmul(F.matmul(transposed, g), transposed)


derivative("inv", self=inverse_gradient)


@kernel("solve")
def _solve(self: Array, B: Array, left: bool) -> Any:
    vectors = has_vectors(self.shape, B.shape)
    right = B[..., None] if vectors else B
    try:
        if left:
            solution = np.linalg.solve(self, right)
        else:
            solution = np.linalg.solve(self.swapaxes(-1, -2), right.swapaxes(-1, -2)).swapaxes(-1, -2)
    except np.linalg.LinAlgError:
        where = _failed_at(self, np.linalg.inv)
    else:
        return solution[..., 0] if vectors else solution
    raise NumericalError(f"linalg.solve: {where}The solver failed because the input matrix is singular.")


@joint_derivative("solve", "self", "B")
def solve_gradient(g: Any, self: Any, B_shape: tuple[int, ...], result: Any, left: bool, needs: tuple[bool, bool]) -> Any:
    """Of a system's matrix and right side: -Y @ X^H and Y, the solution of the adjoint system for ``g``."""
    of_right = F.solve_ex(adjoint(self), g, left=left)[0]  # infinite, not refused, where solve_ex made an infinite solution
    if not needs[0]:
        return None, of_right
    if has_vectors(self.shape, B_shape):
        of_matrix = F.unsqueeze(of_right, dim=-1) * F.unsqueeze(F.conjugate(result), dim=-2)
    elif left:
        of_matrix = F.matmul(of_right, adjoint(result))
    else:
        of_matrix = F.matmul(adjoint(result), of_right)
    return -of_matrix, of_right if needs[1] else None


# Determinants ------------------------------------------------------------------------------------------------------------------


@kernel("det")
def _determinant(self: Array) -> Any:
    return np.linalg.det(self)


derivative("det", self=lambda g, self: F._cofactors(self) * _over_matrices(g))


def _over_matrices(x: Any) -> Any:
    """A number for each matrix of a batch, shaped to broadcast with them."""
    return F.reshape(x, shape=(*x.shape, 1, 1))


@kernel("_cofactors")
def _cofactors(self: Array) -> Any:
    determinants = np.linalg.det(self)
    if np.all(determinants != 0):
        inverse = np.linalg.inv(self)
        return np.conjugate((determinants[..., None, None] * inverse).swapaxes(-1, -2))
    # The singular values give the products without the one factor by which an inverse divides.
    u, s, vh = np.linalg.svd(self)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
    phase = np.conjugate(np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    return ((u * others[..., None, :]) @ vh * phase).astype(self.dtype, copy=False)


def _is_far_from_singular(x: Any) -> bool:
    """Whether quotients by the smallest singular value keep most digits, in every matrix of a batch."""
    values = np.linalg.svd(getattr(x, "array", x), compute_uv=False)
    return not values.size or bool(np.all(values[..., -1] > 1e-3 * values[..., 0]))


def _cofactors_gradient(g: Any, self: Any) -> Any:
    if not _is_far_from_singular(self):
        return _singular_cofactors_gradient(g, self)
    inverse = F.inv(self)
    determinant = F.det(self)
    back = adjoint(inverse)
    along = F.sum(g * F.transpose(inverse, dim0=-2, dim1=-1), dim=(-2, -1))
    once = back * _over_matrices(F.conjugate(along * determinant))
    return once - F.matmul(F.matmul(back, adjoint(g)), back) * _over_matrices(F.conjugate(determinant))


def _singular_cofactors_gradient(g: Any, self: Any) -> Any:
    """The same by the singular values, of which no quotient is taken.

    Between the singular vectors the matrix is diagonal, and a small change E of it moves cofactor ii by the sum over j of
    p_ij E_jj, cofactor ij by -p_ij E_ji, where p_ij is the product of all singular values but the i-th and the j-th.
    """
    u, s, vh = F.svd(self, full_matrices=False)
    n = s.shape[-1]
    off = 1 - on_diagonal(F.zeros(s, (n,)) + 1)
    counts = F.reshape(off, shape=(n, 1, n)) * F.reshape(off, shape=(1, n, n))
    others = F.reshape(s, shape=(*s.shape[:-1], 1, 1, n)) * counts + (1 - counts)
    products = F.prod(others, dim=others.ndim - 1, keepdim=False, dtype=None) * off
    phase = F.conjugate(F.det(u) * F.det(vh))
    turned = F.matmul(F.matmul(vh, adjoint(g)), u) * _over_matrices(phase)
    along = F.matmul(products, F.unsqueeze(F.diagonal(turned, dim1=-2, dim2=-1), dim=-1))
    core = on_diagonal(F.squeeze(along, dim=(-1,))) - products * turned
    return F.matmul(F.matmul(u, core), vh)


derivative("_cofactors", self=_cofactors_gradient)


def _inverse_adjoint(x: Any) -> Any:
    """``inverse^H``; infinite for a singular matrix, as the slope of a determinant's logarithm is there."""
    try:
        return adjoint(F.inv(x))
    except NumericalError:
        return F._cofactors(x) / _over_matrices(F.conjugate(F.det(x)))


@kernel("slogdet")
def _slogdet(self: Array) -> Any:
    return tuple(np.linalg.slogdet(self))


def _slogdet_gradient(g: Any, self: Any, sign: Any) -> Any:
    scale = g[1]
    if is_complex(self):
        # The phase turns with the imaginary part of trace(inverse @ change).
        turned = F.conjugate(g[0]) * sign
        scale = scale - (turned - F.conjugate(turned)) / 2
    return _inverse_adjoint(self) * _over_matrices(scale)


derivative("slogdet", self=_slogdet_gradient)


@kernel("logdet")
def _logdet(self: Array) -> Any:
    sign, logarithm = np.linalg.slogdet(self)
    return np.where(sign == 0, -np.inf, np.log(sign) + logarithm).astype(self.dtype, copy=False)


def _logdet_gradient(g: Any, self: Any, result: Any) -> Any:
    # Where the determinant is negative the logarithm is NaN, and PyTorch's gradient zero.
    return _inverse_adjoint(self) * _over_matrices(F.where(F.isnan(result), 0.0, g))


derivative("logdet", self=_logdet_gradient)


# Factorisations ----------------------------------------------------------------------------------------------------------------


@kernel("cholesky")
def _cholesky(self: Array, upper: bool) -> Any:
    try:
        return np.linalg.cholesky(self, upper=upper)
    except np.linalg.LinAlgError:
        where = _failed_at(self, np.linalg.cholesky)
    raise NumericalError(
        f"linalg.cholesky: {where}The factorization could not be completed because the input is not positive-definite."
    )


def cholesky_gradient(g: Any, result: Any, upper: bool) -> Any:
    """Half of ``L^-H @ (the lower triangle of L^H @ g, mirrored) @ L^-1``."""
    lower, slope = (adjoint(result), adjoint(g)) if upper else (result, g)
    product = F.matmul(adjoint(lower), slope)
    mirrored = F.tril(product, diagonal=0) + adjoint(F.tril(product, diagonal=-1))
    inverse = F.inv(lower)
    return F.matmul(F.matmul(adjoint(inverse), mirrored), inverse) * 0.5


derivative("cholesky", self=cholesky_gradient)


def _eigen(x: Array, name: str, decompose: Any, triangle: str) -> Any:
    try:
        return decompose(x, UPLO=triangle.upper())
    except np.linalg.LinAlgError:
        raise NumericalError(
            f"{name}: The algorithm failed to converge because the input matrix is ill-conditioned or contains non-finite values."
        ) from None


@kernel("eigh")
def _eigh(self: Array, UPLO: str) -> Any:
    return tuple(_eigen(self, "linalg.eigh", np.linalg.eigh, UPLO))


@kernel("eigvalsh")
def _eigvalsh(self: Array, UPLO: str) -> Any:
    return _eigen(self, "linalg.eigvalsh", np.linalg.eigvalsh, UPLO)


def _eigh_gradient(g: Any, eigenvalues: Any, eigenvectors: Any) -> Any:
    ones = on_diagonal(F.zeros(eigenvalues, eigenvalues.shape) + 1)
    gaps = F.unsqueeze(eigenvalues, dim=-2) - F.unsqueeze(eigenvalues, dim=-1) + ones
    turned = F.matmul(adjoint(eigenvectors), g[1])
    require_free_phases("linalg_eigh_backward", F.diagonal(turned, dim1=-2, dim2=-1), "eigenvectors")
    # Only the skew part turns the vectors, so that the gradient is symmetric.
    turned = (turned - adjoint(turned)) * 0.5
    core = turned * (1 - ones) / gaps + on_diagonal(g[0])
    return F.matmul(F.matmul(eigenvectors, core), adjoint(eigenvectors))


derivative("eigh", self=_eigh_gradient)


def _eigvalsh_gradient(g: Any, self: Any, UPLO: str) -> Any:
    _, vectors = F.eigh(self, UPLO=UPLO)
    return F.matmul(vectors * F.unsqueeze(g, dim=-2), adjoint(vectors))


derivative("eigvalsh", self=_eigvalsh_gradient)
