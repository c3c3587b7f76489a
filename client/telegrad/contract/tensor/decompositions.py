"""Inverses, determinants, linear systems and factorisations of square matrices: ``telegrad.linalg``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from telegrad.contract.dtypes import to_real
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError
from telegrad.contract.matrices import check_square, has_vectors
from telegrad.contract.ops import Outcome, Rule, Spec, op
from telegrad.contract.shapes import broadcast
from telegrad.contract.tensor.base import TensorBase


def _square(name: str, outputs: Callable[[Spec], tuple[Spec, ...]], *, flops: int) -> Rule:
    """Rule of a function of square matrices that takes ``flops`` times n cubed operations for each."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        (x,) = inputs
        check_square(name, x)
        return Outcome(outputs(x), flops * x.size * max(1, x.shape[-1]), None, 2 * x.nbytes)

    return rule


def _eigen_specs(x: Spec) -> tuple[Spec, Spec]:
    return Spec(x.shape[:-1], to_real(x.dtype)), x


def _solve_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    a, b = inputs
    check_square("linalg.solve", a)
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type {a.dtype.name} and B of type "
            f"{b.dtype.name} instead; convert one of them with .to(...)"
        )
    left, n = parameters["left"], a.shape[-1]
    vectors = has_vectors(a.shape, b.shape)
    if vectors and not left:
        raise ShapeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False; unsqueeze B to a matrix"
        )
    if not b.shape or b.shape[-1 if vectors or not left else -2] != n:
        raise ShapeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({list(a.shape)} and {list(b.shape)})"
        )
    matrices = (*b.shape, 1) if vectors else b.shape
    shape = (*broadcast(a.shape[:-2], matrices[:-2]), *matrices[-2:])
    flops = 2 * math.prod(shape) * n + 2 * math.prod(shape[:-2]) * n**3
    scratch = (math.prod(shape[:-2]) * n * n + 2 * math.prod(shape)) * a.dtype.itemsize
    return Outcome((Spec(shape[:-1] if vectors else shape, a.dtype),), flops, None, scratch)


class SignAndLogarithm(NamedTuple):
    """What ``linalg.slogdet`` returns."""

    sign: Any
    logabsdet: Any


class Eigen(NamedTuple):
    """What ``linalg.eigh`` returns."""

    eigenvalues: Any
    eigenvectors: Any


def _triangle(UPLO: str) -> str:
    """The triangle that a symmetric matrix is read from."""
    if not isinstance(UPLO, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"linalg.eigh(): argument 'UPLO' must be str, not {type(UPLO).__name__}")
    return UPLO


def _eigen_rule(name: str, outputs: Callable[[Spec], tuple[Spec, ...]]) -> Rule:
    square = _square(name, outputs, flops=9)

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        if parameters["UPLO"].upper() not in ("L", "U"):
            raise ShapeError("Expected UPLO argument to be 'L' or 'U'")
        return square(inputs, parameters)

    return rule


class DecompositionOps(TensorBase):
    """Square matrices."""

    __slots__ = ()

    @op(_square("linalg.inv", lambda x: (x,), flops=2), name="inv", namespace="linalg", node="LinalgInvEx")
    def inverse(self) -> Self:
        """Inverses of square matrices.

        Shapes: [..., n, n] -> [..., n, n]. Gradient: -inverse^H @ g @ inverse^H. Raises: NumericalError for a singular matrix.
        """
        return self._apply("inv", self)

    @op(_square("linalg.det", lambda x: (Spec(x.shape[:-2], x.dtype),), flops=1), namespace="linalg", node="LinalgDet")
    def det(self) -> Self:
        """Determinants.

        Shapes: [..., n, n] -> [...]. Gradient: g times the cofactors, conjugated; also for singular
        matrices. Raises: ShapeError, DTypeError.
        """
        return self._apply("det", self)

    @op(_square("linalg.det", lambda x: (x,), flops=16), namespace="internal")
    def _cofactors(self) -> Self:
        """The determinant times the inverse's transpose, conjugated; finite for singular matrices too.

        Shapes: [..., n, n] -> [..., n, n]. Gradient: by the product rule.
        """
        return self._apply("_cofactors", self)

    @op(
        _square("linalg.slogdet", lambda x: (Spec(x.shape[:-2], x.dtype), Spec(x.shape[:-2], to_real(x.dtype))), flops=1),
        namespace="linalg",
        outputs=("sign", "logabsdet"),
        node="LinalgSlogdet",
    )
    def slogdet(self) -> Any:
        """Sign (or phase) of the determinant and the logarithm of its magnitude; 0 and -inf for a singular matrix.

        Shapes: [..., n, n] -> [...], [...]. Gradient: g * inverse^H, infinite for a singular one. Raises: ShapeError, DTypeError.
        """
        return SignAndLogarithm(*self._apply("slogdet", self))

    @op(_square("logdet", lambda x: (Spec(x.shape[:-2], x.dtype),), flops=1), node="LinalgSlogdet")
    def logdet(self) -> Self:
        """Logarithm of the determinant: NaN where it is negative, -inf where it is zero.

        Shapes: [..., n, n] -> [...]. Gradient: g * inverse^H. Raises: ShapeError, DTypeError.
        """
        return self._apply("logdet", self)

    @op(_solve_rule, name="solve", namespace="linalg", node="LinalgSolveEx")
    def _solve(self, B: Self, *, left: bool = True) -> Self:
        """The X of ``self @ X = B``, or of ``X @ self = B`` with ``left=False``; batches broadcast.

        Shapes: [..., n, n], [..., n, k] -> [..., n, k]; B may be a vector, or a batch of them with the matrices' own batch shape.
        Gradient: -solve(self^H, g) @ X^H; solve(self^H, g). Raises: NumericalError for a singular matrix.
        """
        return self._apply("solve", self, B, left=left)

    @op(_square("linalg.cholesky", lambda x: (x,), flops=1), name="cholesky", namespace="linalg", node="LinalgCholeskyEx")
    def _cholesky(self, *, upper: bool = False) -> Self:
        """The triangular L of ``self = L @ L^H``, or its adjoint with ``upper``; only one triangle of ``self`` is read.

        Shapes: [..., n, n] -> [..., n, n]. Gradient: symmetric, as if both triangles were read. Raises: NumericalError for a
        matrix that is not positive-definite. Source: Murray (2016), arXiv:1602.07527.
        """
        return self._apply("cholesky", self, upper=upper)

    @op(
        _eigen_rule("linalg.eigh", _eigen_specs),
        name="eigh",
        namespace="linalg",
        outputs=("eigenvalues", "eigenvectors"),
        node="LinalgEigh",
    )
    def _eigh(self, UPLO: str = "L") -> Any:
        """Eigenvalues, ascending, and eigenvectors, as columns, of a symmetric or Hermitian matrix read from one triangle.

        Shapes: [..., n, n] -> [..., n], [..., n, n]. Gradient: undefined where eigenvalues repeat, unless it comes through them
        alone. Raises: NumericalError. Source: Giles (2008), Collected matrix derivative results.
        """
        return Eigen(*self._apply("eigh", self, UPLO=_triangle(UPLO)))

    @op(_eigen_rule("linalg.eigvalsh", lambda x: _eigen_specs(x)[:1]), name="eigvalsh", namespace="linalg", node="LinalgEigh")
    def _eigvalsh(self, UPLO: str = "L") -> Self:
        """Eigenvalues of a symmetric or Hermitian matrix, ascending.

        Shapes: [..., n, n] -> [..., n]. Gradient: vectors @ diag(g) @ vectors^H. Raises: NumericalError.
        """
        return self._apply("eigvalsh", self, UPLO=_triangle(UPLO))

    def matrix_power(self, n: int) -> Self:
        """``self`` multiplied with itself ``n`` times, by repeated squaring; the inverse's power for a negative ``n``.

        Shapes: [..., m, m] -> [..., m, m]. Raises: NumericalError for the inverse of a singular matrix.
        """
        if type(n) is not int:
            raise ArgumentTypeError(f"matrix_power(): argument 'n' must be int, not {type(n).__name__}")
        x: Any = self
        if len(x.shape) < 2:
            raise ShapeError(
                f"linalg.matrix_power: The input tensor A must have at least 2 dimensions, but it has shape {list(x.shape)}"
            )
        if x.shape[-1] != x.shape[-2]:
            raise ShapeError(
                f"linalg.matrix_power: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
            )
        if n == 0:
            return x.clone().copy_(x.new_ones((x.shape[-1],)).diag())
        base = x.inverse() if n < 0 else x
        result: Any = None
        left = abs(n)
        while left:
            if left & 1:
                result = base if result is None else result @ base
            left >>= 1
            if left:
                base = base @ base
        return result.clone() if result is x else result
