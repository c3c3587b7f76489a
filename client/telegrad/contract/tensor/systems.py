"""Linear systems by other means than the inverse, pseudoinverses, ranks, the matrix exponential and summed products."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from telegrad.contract import linalg_rules as rules
from telegrad.contract import notices
from telegrad.contract.dtypes import Number
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.matrices import require_implemented
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.tensor.base import TensorBase


class LeastSquares(NamedTuple):
    """What ``linalg.lstsq`` returns."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


def _optional(value: Any, kinds: tuple[type, ...], name: str) -> Any:
    """``value`` if it is None or of one of the types; raises ArgumentTypeError."""
    if value is None or (isinstance(value, kinds) and not isinstance(value, bool)):
        return value
    raise ArgumentTypeError(f"linalg_lstsq(): argument '{name}' must be {kinds[-1].__name__}, not {type(value).__name__}")


class TriangularSolution(NamedTuple):
    """What ``triangular_solve`` returns."""

    solution: Any
    cloned_coefficient: Any


class SystemOps(TensorBase):
    """Systems of equations."""

    __slots__ = ()

    @op(rules.solve_triangular, name="solve_triangular", namespace="linalg", node="LinalgSolveTriangular")
    def _solve_triangular(self, B: Self, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Self:
        """The X of ``self @ X = B``, or ``X @ self = B`` with ``left=False``, where only one triangle of ``self`` is read.

        With ``unitriangular`` the diagonal is not read either and counts as ones. A zero on the diagonal gives infinities and
        NaN. Shapes: [..., n, n], [..., n, k] -> [..., n, k]; batches broadcast. Gradient: Y = the adjoint system's solution;
        the triangle of -Y @ X^H. Raises: ShapeError, DTypeError.
        """
        return self._apply(
            "solve_triangular",
            self,
            B,
            upper=flag(upper, "upper"),
            left=flag(left, "left"),
            unitriangular=flag(unitriangular, "unitriangular"),
        )

    @op(
        rules.lstsq,
        name="lstsq",
        namespace="linalg",
        outputs=("solution", "residuals", "rank", "singular_values"),
        node="LinalgLstsq",
    )
    def _lstsq(self, b: Self, rcond: float | None = None, *, driver: str | None = None) -> Any:
        """The X that minimises the norm of ``self @ X - b``, of smallest norm where there are several.

        Args:
            self: [..., m, n].
            b: [..., m, k], or vectors [..., m] with the batch shape of ``self``.
            rcond: singular values up to ``rcond`` times the largest count as zero; by default the type's eps times max(m, n).
            driver: "gelsy" (the default), "gels" (full rank supposed), "gelsd" or "gelss".

        Returns:
            The solution, [..., n, k]; sums of squares of what is left, [..., k], if m > n, every rank is full and the driver is
            not "gelsy", else empty; the rank, [...] of int64, empty for "gels"; the singular values, [..., min(m, n)], for
            "gelsd" and "gelss", else empty.

        Gradient: of the solution and the residuals, that of ``linalg.pinv(self) @ b``. Raises: NumericalError for "gels" and a
        matrix that lacks rank.
        """
        found = self._apply(
            "lstsq", self, b, rcond=_optional(rcond, (int, float), "rcond"), driver=_optional(driver, (str,), "driver")
        )
        solution, residuals, rank, values = found
        return LeastSquares(solution, residuals, rank, values.detach())

    @op(rules.matrix_rank, name="matrix_rank", namespace="linalg", differentiable=(), reason="a count has no slope")
    def _matrix_rank(self, atol: Self | Number | None = None, rtol: Self | Number | None = None, hermitian: bool = False) -> Self:
        """How many singular values (magnitudes of eigenvalues with ``hermitian``) exceed ``max(atol, rtol * the largest)``.

        By default ``atol`` is 0, and ``rtol`` the type's eps times max(m, n), or 0 where ``atol`` is given and positive.

        Shapes: [..., m, n] -> [...] of int64; tolerances of shape [...] go with the matrices.
        """
        return self._apply("matrix_rank", self, atol, rtol, hermitian=flag(hermitian, "hermitian"))

    @op(rules.pinv, name="pinv", namespace="linalg", differentiable=("self",), node="LinalgPinv")
    def _pinv(self, atol: Self | Number | None = None, rtol: Self | Number | None = None, hermitian: bool = False) -> Self:
        """Pseudoinverses: the inverse of the part that the singular values above ``max(atol, rtol * the largest)`` span.

        The tolerances are those of ``matrix_rank``; with ``hermitian`` the lower triangle alone is read, as a Hermitian matrix.

        Shapes: [..., m, n] -> [..., n, m]. Gradient: for matrices of constant rank. Source: Golub and Pereyra (1973), The
        differentiation of pseudo-inverses.
        """
        return self._apply("pinv", self, atol, rtol, hermitian=flag(hermitian, "hermitian"))

    @op(rules.cholesky_inverse)
    def cholesky_inverse(self, upper: bool = False) -> Self:
        """The inverse of ``L @ L^H``, where L is the lower triangle of ``self``; of ``U^H @ U`` and the upper one with ``upper``.

        Shapes: [..., n, n] -> [..., n, n]. Gradient: -inverse @ (g + g^H) @ inverse @ L, not cut to the triangle, as in PyTorch.
        Raises: NumericalError for a zero on the diagonal.
        """
        require_implemented("cholesky_inverse", self)
        return self._apply("cholesky_inverse", self, upper=flag(upper, "upper"))

    @op(rules.cholesky_solve)
    def cholesky_solve(self, input2: Self, upper: bool = False) -> Self:
        """The X of ``L @ L^H @ X = self``, where L is the lower triangle of ``input2``; of ``U^H @ U`` with ``upper``.

        Shapes: [..., n, k], [..., n, n] -> [..., n, k]; batches broadcast. Gradient: Y = cholesky_solve(g, L) for the right
        side; -(Y @ X^H + X @ Y^H) @ L, not cut to the triangle, as in PyTorch. Raises: ShapeError, DTypeError.
        """
        return self._apply("cholesky_solve", self, input2, upper=flag(upper, "upper"))

    @op(rules.matrix_exp, namespace="linalg", node="LinalgMatrixExp")
    def matrix_exp(self) -> Self:
        """The exponential of square matrices, ``sum of self^k / k!``.

        Shapes: [..., n, n] -> [..., n, n]. Gradient: a corner of the exponential of [[self^H, g], [0, self^H]]. Source: Higham
        (2005), The scaling and squaring method for the matrix exponential revisited.
        """
        return self._apply("matrix_exp", self)

    @op(rules.addbmm, inplace=True)
    def addbmm(self, batch1: Self, batch2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``beta * self + alpha * the sum of all batch1[i] @ batch2[i]``; with ``beta=0``, ``self`` is not read.

        Shapes: broadcasts to [n, p], [b, n, m], [b, m, p] -> [n, p]. Gradient: beta * g; alpha * g @ batch2^H; alpha * batch1^H
        @ g.
        """
        return self._apply("addbmm", self, batch1, batch2, beta=beta, alpha=alpha)

    def addbmm_(self, batch1: Self, batch2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``addbmm`` in place."""
        return self._apply("addbmm_", self, batch1, batch2, beta=beta, alpha=alpha)

    # Older names and forms -----------------------------------------------------------------------------------------------------

    def pinverse(self, rcond: float = 1e-15) -> Self:
        """``linalg.pinv`` where singular values up to ``rcond`` times the largest count as zero."""
        return self._pinv(None, rcond)

    def lu_solve(self, LU_data: Self, LU_pivots: Self) -> Self:
        """The X of ``A @ X = self`` from what ``linalg.lu_factor(A)`` returns."""
        return self._apply("lu_solve", LU_data, LU_pivots, self, left=True, adjoint=False)

    def triangular_solve(self, A: Self, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Any:
        """The X of ``A @ X = self`` for a triangular A, or of ``A^T @ X = self``, and a copy of A; the older form of
        ``linalg.solve_triangular``.
        """
        notices.deprecated("triangular_solve")
        require_implemented("triangular_solve", self)
        matrix: Any = A
        matrix = matrix.mT if transpose else matrix
        solution = matrix._solve_triangular(self, upper=flag(upper, "upper") != transpose, unitriangular=unitriangular)
        shape = (*solution.shape[:-2], *matrix.shape[-2:])
        return TriangularSolution(solution, self._apply("clone", self._apply("expand", A, size=shape)))
