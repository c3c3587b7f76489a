"""Factorisations whose outcome is told in numbers rather than errors, LU, QR and eigenvalues of any square matrix."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from telegrad.contract import linalg_rules as rules
from telegrad.contract import notices
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError
from telegrad.contract.matrices import require_implemented
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.decompositions import Eigen


class FactorAndInfo(NamedTuple):
    """What ``linalg.cholesky_ex`` returns."""

    L: Any
    info: Any


class InverseAndInfo(NamedTuple):
    """What ``linalg.inv_ex`` returns."""

    inverse: Any
    info: Any


class ResultAndInfo(NamedTuple):
    """What ``linalg.solve_ex`` returns."""

    result: Any
    info: Any


class LU(NamedTuple):
    """What ``linalg.lu_factor`` returns."""

    LU: Any
    pivots: Any


class LUAndInfo(NamedTuple):
    """What ``linalg.lu_factor_ex`` returns."""

    LU: Any
    pivots: Any
    info: Any


class PLU(NamedTuple):
    """What ``linalg.lu`` and ``lu_unpack`` return."""

    P: Any
    L: Any
    U: Any


class QR(NamedTuple):
    """What ``linalg.qr`` returns."""

    Q: Any
    R: Any


class Reflectors(NamedTuple):
    """What ``geqrf`` returns."""

    a: Any
    tau: Any


def _mode(mode: str) -> str:
    """``mode`` if it is a string; raises ArgumentTypeError."""
    if not isinstance(mode, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"linalg_qr(): argument 'mode' (position 2) must be str, not {type(mode).__name__}")
    return mode


def _without_slope(parts: Any) -> PLU:
    """P, L and U, of which P is a constant wherever it does not jump."""
    P, L, U = parts
    return PLU(P.detach(), L, U)


class SingularTriple(NamedTuple):
    """What the older ``svd`` returns: V, not its adjoint."""

    U: Any
    S: Any
    V: Any


class FactorisationOps(TensorBase):
    """Factorisations."""

    __slots__ = ()

    @op(rules.cholesky_ex, name="cholesky_ex", namespace="linalg", outputs=("L", "info"), node="LinalgCholeskyEx")
    def _cholesky_ex(self, *, upper: bool = False, check_errors: bool = False) -> Any:
        """``linalg.cholesky`` that tells of failure in ``info``: 0, or the order of the first leading minor that is not positive.

        Shapes: [..., n, n] -> [..., n, n], [...] of int32. Where ``info`` is not 0, L is right up to that row only. Gradient:
        that of ``cholesky``. Raises: NumericalError with ``check_errors``.
        """
        return FactorAndInfo(
            *self._apply("cholesky_ex", self, upper=flag(upper, "upper"), check_errors=flag(check_errors, "check_errors"))
        )

    @op(rules.inv_ex, name="inv_ex", namespace="linalg", outputs=("inverse", "info"), node="LinalgInvEx")
    def _inv_ex(self, *, check_errors: bool = False) -> Any:
        """``linalg.inv`` that tells of failure in ``info``: 0, or the first zero (from 1) on the diagonal of U of ``P L U``.

        Shapes: [..., n, n] -> [..., n, n], [...] of int32. A singular matrix has an inverse of infinities and NaN. Gradient:
        that of ``inv``. Raises: NumericalError with ``check_errors``.
        """
        return InverseAndInfo(*self._apply("inv_ex", self, check_errors=flag(check_errors, "check_errors")))

    @op(rules.solve_ex, name="solve_ex", namespace="linalg", outputs=("result", "info"), node="LinalgSolveEx")
    def _solve_ex(self, B: Self, *, left: bool = True, check_errors: bool = False) -> Any:
        """``linalg.solve`` that tells of failure in ``info``, as ``inv_ex`` does.

        Shapes: [..., n, n], [..., n, k] -> [..., n, k], [...] of int32. Gradient: that of ``solve``. Raises: NumericalError
        with ``check_errors``.
        """
        return ResultAndInfo(
            *self._apply("solve_ex", self, B, left=flag(left, "left"), check_errors=flag(check_errors, "check_errors"))
        )

    @op(rules.lu_factor, name="lu_factor", namespace="linalg", outputs=("LU", "pivots"), node="LinalgLuFactorEx")
    def _lu_factor(self, *, pivot: bool = True) -> Any:
        """``self = P @ L @ U`` in one tensor: L below the diagonal, whose own is of ones, and U on and above it.

        ``pivots`` says which row, counted from 1, each row was exchanged with.

        Shapes: [..., m, n] -> [..., m, n], [..., min(m, n)] of int32. Gradient: P @ L^-H @ (the parts' gradients) @ U^-H.
        Raises: NumericalError where U has a zero on its diagonal.
        """
        return LU(*self._apply("lu_factor", self, pivot=flag(pivot, "pivot")))

    @op(rules.lu_factor_ex, name="lu_factor_ex", namespace="linalg", outputs=("LU", "pivots", "info"), node="LinalgLuFactorEx")
    def _lu_factor_ex(self, *, pivot: bool = True, check_errors: bool = False) -> Any:
        """``linalg.lu_factor`` that tells of failure in ``info``: 0, or the first zero (from 1) on the diagonal of U.

        Shapes: [..., m, n] -> [..., m, n], [..., min(m, n)] of int32, [...] of int32. Gradient: that of ``lu_factor``. Raises:
        NumericalError with ``check_errors``.
        """
        return LUAndInfo(
            *self._apply("lu_factor_ex", self, pivot=flag(pivot, "pivot"), check_errors=flag(check_errors, "check_errors"))
        )

    @op(rules.lu, name="lu", namespace="linalg", outputs=("P", "L", "U"), node="LinalgLu")
    def _lu(self, *, pivot: bool = True) -> Any:
        """``self = P @ L @ U``: a permutation, ones and what is below them, and what is on and above the diagonal.

        Shapes: [..., m, n] -> [..., m, m], [..., m, k], [..., k, n], k = min(m, n). Gradient: that of ``lu_factor``.
        """
        return _without_slope(self._apply("lu", self, pivot=flag(pivot, "pivot")))

    @op(rules.lu_unpack, outputs=("P", "L", "U"), differentiable=("self",))
    def lu_unpack(self, LU_pivots: Self, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
        """P, L and U out of what ``linalg.lu_factor`` returns; those not asked for are empty, of shape [0].

        Shapes: [..., m, n], [..., k] of int32 -> [..., m, m], [..., m, k], [..., k, n], k = min(m, n). Gradient: each part's in
        its own triangle. Raises: ShapeError, DTypeError.
        """
        data, pivots = flag(unpack_data, "unpack_data"), flag(unpack_pivots, "unpack_pivots")
        return _without_slope(self._apply("lu_unpack", self, LU_pivots, unpack_data=data, unpack_pivots=pivots))

    @op(rules.lu_solve, name="lu_solve", namespace="linalg", differentiable=("self", "B"), node="LinalgLuSolve")
    def _lu_solve(self, pivots: Self, B: Self, *, left: bool = True, adjoint: bool = False) -> Self:
        """The X of ``A @ X = B`` from ``LU, pivots = linalg.lu_factor(A)``; of ``X @ A = B`` with ``left=False``.

        With ``adjoint``, A^H stands in A's place. Shapes: [..., n, n], [..., n] of int32, [..., n, k] -> [..., n, k].
        Gradient: the adjoint system's solution Y for B, and -Y @ X^H for A. Raises: ShapeError, DTypeError.
        """
        return self._apply("lu_solve", self, pivots, B, left=flag(left, "left"), adjoint=flag(adjoint, "adjoint"))

    @op(rules.qr, name="qr", namespace="linalg", outputs=("Q", "R"), node="LinalgQr")
    def _qr(self, mode: str = "reduced") -> Any:
        """``self = Q @ R``, Q with orthonormal columns and R upper triangular.

        Shapes: [..., m, n] -> [..., m, k], [..., k, n], k = min(m, n), or m with ``mode="complete"``; with ``mode="r"`` Q is
        empty, of shape [0]. Gradient: none with "r", nor with "complete" where m > n; the first min(m, n) columns must be
        independent. Source: Roberts and Roberts (2020), arXiv:2009.10071.
        """
        return QR(*self._apply("qr", self, mode=_mode(mode)))

    @op(
        rules.geqrf,
        outputs=("a", "tau"),
        differentiable=(),
        reason="the reflectors are a form of storage; linalg.qr and its gradient are for the factors",
    )
    def geqrf(self) -> Any:
        """The QR factorisation as LAPACK keeps it: R on and above the diagonal, reflectors below it, and their factors.

        Shapes: [..., m, n] -> [..., m, n], [..., min(m, n)].
        """
        require_implemented("geqrf", self)
        return Reflectors(*self._apply("geqrf", self))

    @op(rules.eig, name="eig", namespace="linalg", outputs=("eigenvalues", "eigenvectors"), node="LinalgEig")
    def _eig(self) -> Any:
        """Eigenvalues and eigenvectors, as columns of norm 1, of a square matrix; complex, and in no order.

        Shapes: [..., n, n] -> [..., n], [..., n, n]. Gradient: undefined where eigenvalues repeat; what it comes from must not
        depend on the vectors' phases. Raises: NumericalError. Source: Boeddeker et al. (2017), arXiv:1701.00392.
        """
        return Eigen(*self._apply("eig", self))

    @op(rules.eigvals, name="eigvals", namespace="linalg", node="LinalgEig")
    def _eigvals(self) -> Self:
        """Eigenvalues of a square matrix; complex, and in no order.

        Shapes: [..., n, n] -> [..., n]. Gradient: vectors^-H @ diag(g) @ vectors^H. Raises: NumericalError.
        """
        return self._apply("eigvals", self)

    # Older names and forms -----------------------------------------------------------------------------------------------------

    def cholesky(self, upper: bool = False) -> Self:
        """``linalg.cholesky``."""
        notices.deprecated("cholesky")
        require_implemented("cholesky", self)
        return self._apply("cholesky", self, upper=flag(upper, "upper"))

    def qr(self, some: bool = True) -> Any:
        """``linalg.qr``, reduced or, without ``some``, complete."""
        notices.deprecated("qr")
        return self._qr("reduced" if flag(some, "some") else "complete")

    def lu(self, pivot: bool = True, get_infos: bool = False) -> Any:
        """``linalg.lu_factor_ex`` without, or with ``get_infos``, the third of its results."""
        notices.deprecated("lu")
        factors = self._lu_factor_ex(pivot=pivot)
        return factors if flag(get_infos, "get_infos") else LU(*factors[:2])

    def svd(self, some: bool = True, compute_uv: bool = True) -> Any:
        """``linalg.svd`` with V in place of its adjoint; not of full size with ``some``, and zeros without ``compute_uv``."""
        x: Any = self
        if len(x.shape) < 2:
            raise ShapeError(f"linalg.svd: input should have at least 2 dimensions, but has {len(x.shape)} dimensions instead")
        if not flag(compute_uv, "compute_uv"):
            *batch, m, n = x.shape
            zeros = x.new_zeros((*batch, m, m)), x.new_zeros((*batch, n, n))
            return SingularTriple(zeros[0], x._svdvals(), zeros[1])
        U, S, Vh = x._svd(not flag(some, "some"))
        return SingularTriple(U, S, Vh.mH)

    def orgqr(self, tau: Self) -> Self:
        """The first columns of the product of the reflectors ``1 - tau_i * v_i @ v_i^H``, v_i below the diagonal of ``self``.

        Shapes: [..., m, n], [..., k] -> [..., m, n], k <= n <= m. Gradient: through every reflector.
        """
        x, factors = self, tau
        a: Any = x
        t: Any = factors
        name = "torch.linalg.householder_product"
        if len(a.shape) < 2:
            raise ShapeError(f"{name}: input must have at least 2 dimensions.")
        if a.shape[-2] < a.shape[-1]:
            raise ShapeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
        if not t.shape or a.shape[-1] < t.shape[-1]:
            raise ShapeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
        if t.dtype is not a.dtype:
            raise DTypeError(f"{name}: tau dtype {t.dtype.name} does not match input dtype {a.dtype.name}")
        if t.shape[:-1] != a.shape[:-2]:
            raise ShapeError(
                f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(t.shape[:-1])}"
            )
        require_implemented("orgqr", a)
        # Zeros that come from the matrix: without a reflector too, the result depends on it.
        zeros = a.masked_fill(a.new_ones((), dtype="bool"), 0)
        return _reflected(a, t, zeros + a.new_ones((a.shape[-2],)).diag().narrow(1, 0, a.shape[-1]), left=True, adjoint=False)

    def ormqr(self, input2: Self, input3: Self, left: bool = True, transpose: bool = False) -> Self:
        """``input3`` times the product Q of the reflectors that ``orgqr`` tells of, Q from the left or the right, or its adjoint.

        Shapes: [..., m, k], [..., k], [..., m, n] -> [..., m, n]; from the right [..., n, m] -> [..., n, m].
        Gradient: through every reflector. Raises: ShapeError, DTypeError.
        """
        a, t, other = _any(self), _any(input2), _any(input3)
        side = -2 if flag(left, "left") else -1
        require_implemented("ormqr", a)
        if len(a.shape) < 2 or len(other.shape) < 2:
            raise ShapeError(f"torch.ormqr: {'input' if len(a.shape) < 2 else 'other'} must have at least 2 dimensions.")
        if len(other.shape) != len(a.shape):
            raise ShapeError(
                "torch.ormqr: Expected other to have the same number of dimensions as input, but got other.ndim equal to "
                f"{len(other.shape)} and input.ndim is equal to {len(a.shape)}"
            )
        if other.shape[side] != a.shape[-2]:
            raise ShapeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
        if len(t.shape) != len(a.shape) - 1 or t.shape[-1] != min(other.shape[side], a.shape[-1]):
            raise ShapeError(f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])")
        for name, x, batch in (("tau", t, t.shape[:-1]), ("other", other, other.shape[:-2])):
            if x.dtype is not a.dtype:
                raise DTypeError(
                    f"torch.ormqr: Expected input and {name} to have the same dtype, got {a.dtype.name} and {x.dtype.name}"
                )
            if batch != a.shape[:-2]:
                raise ShapeError(
                    f"torch.ormqr: Expected batch dimensions of {name} to be equal to input.shape[:-2], but got {list(batch)}"
                )
        return _reflected(a, t, other, left=left, adjoint=flag(transpose, "transpose"))


def _any(x: TensorBase) -> Any:
    return x


def _reflected(a: Any, t: Any, x: Any, *, left: bool, adjoint: bool) -> Any:
    """``x`` times the reflectors, one after the other: those next to it first."""
    eye = a.new_ones((a.shape[-2],)).diag()
    below = a.tril(-1)
    count = t.shape[-1]
    for i in range(count) if left == adjoint else reversed(range(count)):
        v = below.narrow(-1, i, 1) + eye.narrow(1, i, 1)
        factor = t.narrow(-1, i, 1).unsqueeze(-1)
        factor = factor.conj() if adjoint else factor
        x = x - factor * (v @ (v.mH @ x)) if left else x - factor * ((x @ v) @ v.mH)
    return x
