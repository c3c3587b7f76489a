"""``L D L^T``, for matrices that are symmetric or Hermitian and need not be positive."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

from telegrad.contract import linalg_rules as rules
from telegrad.contract.ops import op
from telegrad.contract.reduce_rules import flag
from telegrad.contract.tensor.base import TensorBase

_REASON: Final = "PyTorch has none either; differentiate linalg.solve"


class LDL(NamedTuple):
    """What ``linalg.ldl_factor`` returns."""

    LD: Any
    pivots: Any


class LDLAndInfo(NamedTuple):
    """What ``linalg.ldl_factor_ex`` returns."""

    LD: Any
    pivots: Any
    info: Any


class IndefiniteOps(TensorBase):
    """The factorisation by Bunch and Kaufman, in LAPACK's packed form, and systems by it."""

    __slots__ = ()

    @op(
        rules.ldl_factor,
        name="ldl_factor",
        namespace="linalg",
        outputs=("LD", "pivots"),
        refuses=True,
        reason=_REASON,
        needs="scipy",
        node="NotImplemented",
    )
    def _ldl_factor(self, *, hermitian: bool = False) -> Any:
        """L and D of ``A = L @ D @ L^T`` in one matrix, and which rows were exchanged, as LAPACK's ``sytrf`` gives them.

        Only the lower triangle is read. ``hermitian``: ``A = L @ D @ L^H``, for complex numbers. D has blocks of one row or two; a
        negative pivot stands for a block of two. Shapes: [..., n, n] -> [..., n, n], [..., n] of int32. Raises: NumericalError
        where D is singular; ShapeError; DTypeError.
        """
        return LDL(*self._apply("ldl_factor", self, hermitian=flag(hermitian, "hermitian")))

    @op(
        rules.ldl_factor_ex,
        name="ldl_factor_ex",
        namespace="linalg",
        outputs=("LD", "pivots", "info"),
        refuses=True,
        reason=_REASON,
        needs="scipy",
        node="NotImplemented",
    )
    def _ldl_factor_ex(self, *, hermitian: bool = False, check_errors: bool = False) -> Any:
        """``linalg.ldl_factor`` that tells of failure in ``info``: 0, or the first zero (from 1) on the diagonal of D.

        Shapes: [..., n, n] -> [..., n, n], [..., n] of int32, [...] of int32. Raises: NumericalError with ``check_errors``;
        ShapeError; DTypeError.
        """
        return LDLAndInfo(
            *self._apply(
                "ldl_factor_ex", self, hermitian=flag(hermitian, "hermitian"), check_errors=flag(check_errors, "check_errors")
            )
        )

    @op(
        rules.ldl_solve,
        name="ldl_solve",
        namespace="linalg",
        differentiable=("self", "B"),
        refuses=True,
        reason=_REASON,
        needs="scipy",
        node="NotImplemented",
    )
    def _ldl_solve(self, pivots: Self, B: Self, *, hermitian: bool = False) -> Self:
        """The X of ``A @ X = B`` from ``LD, pivots = linalg.ldl_factor(A)``; ``hermitian`` as there.

        A zero in D gives infinities and NaN. Shapes: [..., n, n], [..., n], [..., n, k] -> [..., n, k]; the batches of LD and B
        broadcast. Raises: ShapeError, DTypeError; NumericalError for pivots beyond the matrix.
        """
        return self._apply("ldl_solve", self, pivots, B, hermitian=flag(hermitian, "hermitian"))
