"""Kernels and derivatives of factorisations that tell of failure in numbers, LU, QR and eigenvalues of any square matrix."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import AutogradError, NumericalError
from telegrad.contract.matrices import has_vectors
from telegrad_service.engine import factorise
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.rules.decompositions import cholesky_gradient, inverse_gradient, solve_gradient
from telegrad_service.engine.rules.linalg import adjoint, first_columns, first_rows, on_diagonal, require_free_phases
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel


def _refuse(info: Array, name: str, what: str) -> None:
    """Raise NumericalError for the first matrix that failed; ``{}`` in ``what`` stands for its number."""
    failed = np.flatnonzero(info)
    if failed.size:
        where = f"(Batch element {failed[0]}): " if info.ndim else ""
        raise NumericalError(f"{name}: {where}{what.format(info.reshape(-1)[failed[0]])}")


# Telling of failure in numbers -------------------------------------------------------------------------------------------------


def _is_positive(x: Array) -> bool:
    try:
        np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return False
    return True


def _partly(x: Array) -> tuple[Array, int]:
    """The factor of as many leading rows as have one, the others as they are, and the order of the first minor without."""
    good, bad = 0, len(x)  # a minor that is not positive spoils all larger ones
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _is_positive(x[:middle, :middle]) else (good, middle)
    made = np.tril(x)
    if good:
        made[:good, :good] = np.linalg.cholesky(x[:good, :good])
    return made, bad


@kernel("cholesky_ex")
def _cholesky_ex(self: Array, upper: bool, check_errors: bool) -> Any:
    lower = np.conjugate(self.swapaxes(-1, -2)) if upper else self
    info = np.zeros(self.shape[:-2], np.int32)
    try:
        made = np.linalg.cholesky(lower)
    except np.linalg.LinAlgError:
        made = np.tril(lower)
        for at in np.ndindex(*info.shape):
            if _is_positive(lower[at]):
                made[at] = np.linalg.cholesky(lower[at])
            else:
                made[at], info[at] = _partly(lower[at])
    if check_errors:
        _refuse(
            info,
            "linalg.cholesky_ex",
            "The factorization could not be completed because the input is not positive-definite "
            "(the leading minor of order {} is not positive-definite).",
        )
    return np.conjugate(made.swapaxes(-1, -2)) if upper else made, info


derivative("cholesky_ex", self=lambda g, L, upper: cholesky_gradient(g[0], L, upper))


def _solved(packed: Array, pivots: Array, b: Array) -> Array:
    """The X of ``P @ L @ U @ X = b``; infinities and NaN where U has zeros on its diagonal."""
    batch = np.broadcast_shapes(packed.shape[:-2], b.shape[:-2])
    places = np.broadcast_to(factorise.order(pivots, packed.shape[-1])[..., None], (*batch, *b.shape[-2:]))
    ordered = np.take_along_axis(np.broadcast_to(b, (*batch, *b.shape[-2:])), places, -2)
    lower = factorise.solve_triangular(packed, ordered, upper=False, unit=True)
    return factorise.solve_triangular(packed, lower, upper=True)


@kernel("inv_ex")
def _inv_ex(self: Array, check_errors: bool) -> Any:
    info = np.zeros(self.shape[:-2], np.int32)
    try:
        return np.linalg.inv(self), info
    except np.linalg.LinAlgError:
        packed, pivots, info = factorise.lu(self)
    if check_errors:
        what = "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular."
        _refuse(info, "linalg.inv_ex", what)
    return _solved(packed, pivots, np.eye(self.shape[-1], dtype=self.dtype)), info


derivative("inv_ex", self=lambda g, inverse: inverse_gradient(g[0], inverse))


@kernel("solve_ex")
def _solve_ex(self: Array, B: Array, left: bool, check_errors: bool) -> Any:
    try:
        return F.solve(self, B, left=left), np.zeros(self.shape[:-2], np.int32)
    except NumericalError:
        packed, pivots, info = factorise.lu(self if left else self.swapaxes(-1, -2))
    if check_errors:
        _refuse(info, "torch.linalg.solve_ex", "The solver failed because the input matrix is singular.")
    if not left:
        return _solved(packed, pivots, B.swapaxes(-1, -2)).swapaxes(-1, -2), info
    vectors = has_vectors(self.shape, B.shape)
    solution = _solved(packed, pivots, B[..., None] if vectors else B)
    return solution[..., 0] if vectors else solution, info


@joint_derivative("solve_ex", "self", "B")
def _solve_ex_gradient(g: Any, self: Any, B_shape: tuple[int, ...], result: Any, left: bool, needs: tuple[bool, bool]) -> Any:
    return solve_gradient(g[0], self, B_shape, result, left, needs)


# LU ----------------------------------------------------------------------------------------------------------------------------

_SINGULAR = (
    "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the "
    "factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
)


@kernel("lu_factor")
def _lu_factor(self: Array, pivot: bool) -> Any:
    packed, pivots, info = factorise.lu(self)
    _refuse(info, "torch.linalg.lu_factor", _SINGULAR)
    return packed, pivots


@kernel("lu_factor_ex")
def _lu_factor_ex(self: Array, pivot: bool, check_errors: bool) -> Any:
    packed, pivots, info = factorise.lu(self)
    if check_errors:
        _refuse(info, "torch.linalg.lu_factor_ex", _SINGULAR)
    return packed, pivots, info


@kernel("lu")
def _lu(self: Array, pivot: bool) -> Any:
    packed, pivots, _ = factorise.lu(self)
    return _unpacked(packed, pivots, True, True)


@kernel("lu_unpack")
def _unpacked(self: Array, LU_pivots: Array, unpack_data: bool, unpack_pivots: bool) -> Any:
    m, n = self.shape[-2:]
    k = min(m, n)
    nothing = np.empty((0,), self.dtype)
    permutation = factorise.permutation(LU_pivots, m, self.dtype) if unpack_pivots else nothing
    if not unpack_data:
        return permutation, nothing, nothing
    return permutation, np.tril(self[..., :k], -1) + np.eye(m, k, dtype=self.dtype), np.triu(self[..., :k, :])


def _with_columns(x: Any, count: int) -> Any:
    """``x`` with columns of zeros at the end, up to ``count``."""
    return x if x.shape[-1] == count else F.cat(x, F.zeros(x, (*x.shape[:-1], count - x.shape[-1])), dim=x.ndim - 1)


def _with_rows(x: Any, count: int) -> Any:
    """``x`` with rows of zeros at the end, up to ``count``."""
    if x.shape[-2] == count:
        return x
    return F.cat(x, F.zeros(x, (*x.shape[:-2], count - x.shape[-2], x.shape[-1])), dim=x.ndim - 2)


def _unpack_gradient(g: Any, self_shape: tuple[int, ...], unpack_data: bool) -> Any:
    if not unpack_data:
        return F.zeros(g[0], self_shape)
    m, n = self_shape[-2:]
    return _with_columns(F.tril(g[1], diagonal=-1), n) + _with_rows(F.triu(g[2], diagonal=0), m)


derivative("lu_unpack", self=_unpack_gradient)


def _last(x: Any, start: int, dim: int) -> Any:
    return F.narrow(x, dim=x.ndim + dim, start=start, length=x.shape[dim] - start)


def _plu_gradient(g_lower: Any, g_upper: Any, P: Any, L: Any, U: Any) -> Any:
    """The gradient of ``P @ L @ U``.

    For a square matrix dA = P (dL U + L dU), so that L^-1 P^T dA U^-1 falls into a strictly lower part, L^-1 dL, and an upper one,
    dU U^-1. The rows (columns) that a long (wide) matrix has beyond the square follow from the other factor.
    """
    m, n = L.shape[-2], U.shape[-1]
    k = L.shape[-1]
    lower, upper = first_rows(L, k), first_columns(U, k)
    below = F.matmul(adjoint(lower), first_rows(g_lower, k))
    above = F.matmul(first_columns(g_upper, k), adjoint(upper))
    rest = further = None
    if m > k:
        rest = _last(g_lower, k, -2)
        above = above - F.matmul(adjoint(_last(L, k, -2)), rest)
    if n > k:
        further = _last(g_upper, k, -1)
        below = below - F.matmul(further, adjoint(_last(U, k, -1)))
    core = F.tril(below, diagonal=-1) + F.triu(above, diagonal=0)
    to_right = F.solve_triangular(adjoint(upper), core, upper=False, left=False)
    made = F.solve_triangular(adjoint(lower), to_right, upper=True, unitriangular=True)
    if rest is not None:
        made = F.cat(made, F.solve_triangular(adjoint(upper), rest, upper=False, left=False), dim=made.ndim - 2)
    if further is not None:
        beside = F.solve_triangular(adjoint(lower), further, upper=True, unitriangular=True)
        made = F.cat(made, beside, dim=made.ndim - 1)
    return F.matmul(P, made)


derivative("lu", self=lambda g, P, L, U: _plu_gradient(g[1], g[2], P, L, U))


def _packed_gradient(g: Any, LU: Any, pivots: Any) -> Any:
    P, L, U = F.lu_unpack(LU, pivots)
    k = L.shape[-1]
    return _plu_gradient(first_columns(g[0], k), first_rows(g[0], k), P, L, U)


derivative("lu_factor", self=_packed_gradient)
derivative("lu_factor_ex", self=_packed_gradient)


@kernel("lu_solve")
def _lu_solve(self: Array, pivots: Array, B: Array, left: bool, adjoint: bool) -> Any:
    if not left:  # X A = B is A^H X^H = B^H
        conjugate = np.conjugate(B.swapaxes(-1, -2))
        return np.conjugate(_lu_solve(self, pivots, conjugate, True, not adjoint).swapaxes(-1, -2))
    if not adjoint:
        return _solved(self, pivots, B)
    turned = np.conjugate(self.swapaxes(-1, -2))
    above = factorise.solve_triangular(turned, B, upper=False)
    below = factorise.solve_triangular(turned, above, upper=True, unit=True)
    return np.matmul(factorise.permutation(pivots, self.shape[-1], self.dtype), below)


@joint_derivative("lu_solve", "self", "B")
def _lu_solve_gradient(g: Any, self: Any, pivots: Any, result: Any, left: bool, adjoint_: bool, needs: tuple[bool, bool]) -> Any:
    of_right = F.lu_solve(self, pivots, g, left=left, adjoint=not adjoint_)
    if not needs[0]:
        return None, of_right
    P, L, U = F.lu_unpack(self, pivots)
    of_matrix = F.matmul(of_right, adjoint(result)) if left else F.matmul(adjoint(result), of_right)
    if adjoint_:
        of_matrix = adjoint(of_matrix)
    turned = F.matmul(F.transpose(P, dim0=-2, dim1=-1), of_matrix)
    lower = F.tril(F.matmul(turned, adjoint(U)), diagonal=-1)
    upper = F.triu(F.matmul(adjoint(L), turned), diagonal=0)
    return -(lower + upper), of_right if needs[1] else None


# QR ----------------------------------------------------------------------------------------------------------------------------


@kernel("qr")
def _qr(self: Array, mode: str) -> Any:
    decompose: Any = np.linalg.qr
    if mode == "r":
        return np.empty((0,), self.dtype), decompose(self, mode="r")
    return tuple(decompose(self, mode=mode))


@kernel("geqrf")
def _geqrf(self: Array) -> Any:
    if not self.size:
        return self.copy(), np.zeros((*self.shape[:-2], min(self.shape[-2:])), self.dtype)
    transposed, factors = np.linalg.qr(self, mode="raw")
    return transposed.swapaxes(-1, -2), factors


def _orthogonal_gradient(g_q: Any, g_r: Any, q: Any, r: Any) -> Any:
    """The gradient of a matrix with independent columns: (g_q + Q @ M) @ R^-H, M the mirrored upper part of g_r R^H - Q^H g_q."""
    core = F.triu(F.matmul(g_r, adjoint(r)) - F.matmul(adjoint(q), g_q), diagonal=0)
    ones = on_diagonal(F.zeros(core, core.shape[:-1]) + 1)
    mirrored = core + adjoint(core) * (1 - ones)
    if is_complex(core):  # R's diagonal is real
        mirrored = mirrored - (core - F.conjugate(core)) * 0.5 * ones
    return F.solve_triangular(adjoint(r), g_q + F.matmul(q, mirrored), upper=False, left=False)


def _qr_gradient(g: Any, self: Any, Q: Any, R: Any, mode: str) -> Any:
    if mode == "r":
        raise AutogradError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
            "linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr."
        )
    m, n = self.shape[-2:]
    if mode == "complete" and m > n:
        raise AutogradError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
    if m >= n:
        return _orthogonal_gradient(g[0], g[1], Q, R)
    # The first m columns make Q, and with it the others: R's further columns are Q^H @ theirs.
    further = _last(g[1], m, -1)
    g_q = g[0] + F.matmul(_last(self, m, -1), adjoint(further))
    square = _orthogonal_gradient(g_q, first_columns(g[1], m), Q, first_columns(R, m))
    return F.cat(square, F.matmul(Q, further), dim=self.ndim - 1)


derivative("qr", self=_qr_gradient)


# Eigenvalues -------------------------------------------------------------------------------------------------------------------


def _decomposed(x: Array, name: str, decompose: Any) -> Any:
    if not np.all(np.isfinite(x)):
        raise NumericalError(f"torch.{name}: input tensor should not contain infs or NaNs.")
    try:
        return decompose(x)
    except np.linalg.LinAlgError:
        raise NumericalError(f"{name}: The algorithm failed to converge.") from None


@kernel("eig")
def _eig(self: Array) -> Any:
    values, vectors = _decomposed(self, "linalg.eig", np.linalg.eig)
    dtype = np.result_type(self.dtype, np.complex64)
    return values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)


@kernel("eigvals")
def _eigvals(self: Array) -> Any:
    return _decomposed(self, "linalg.eigvals", np.linalg.eigvals).astype(np.result_type(self.dtype, np.complex64), copy=False)


def _eig_gradient(g: Any, eigenvalues: Any, eigenvectors: Any) -> Any:
    """``V^-H @ (diag(g of the values) + (V^H g - V^H V diag(Re(V^H g))) / gaps^*) @ V^H``: the vectors keep the norm 1."""
    back = adjoint(eigenvectors)
    turned = F.matmul(back, g[1])
    along = F.diagonal(turned, dim1=-2, dim2=-1)
    require_free_phases("linalg_eig_backward", along, "eigenvectors")
    kept = (along + F.conjugate(along)) * 0.5
    turned = turned - F.matmul(back, eigenvectors * F.unsqueeze(kept, dim=-2))
    ones = on_diagonal(F.zeros(eigenvalues, eigenvalues.shape) + 1)
    gaps = F.unsqueeze(eigenvalues, dim=-2) - F.unsqueeze(eigenvalues, dim=-1) + ones
    core = turned * (1 - ones) / F.conjugate(gaps) + on_diagonal(g[0])
    return F.solve(back, F.matmul(core, back))


derivative("eig", self=_eig_gradient)


def _eigvals_gradient(g: Any, self: Any) -> Any:
    back = adjoint(F.eig(self)[1])
    return F.solve(back, F.unsqueeze(g, dim=-1) * back)


derivative("eigvals", self=_eigvals_gradient)
