"""Kernels of ``L D L^T``: LAPACK's, by way of scipy, a matrix at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from telegrad.contract.errors import NumericalError
from telegrad_service.engine.optional import library
from telegrad_service.engine.table import Array, kernel

_PREFIXES: Final = {"f": "s", "d": "d", "F": "c", "D": "z"}
"""LAPACK's letters for numpy's."""


def _routine(op: str, x: Array, hermitian: bool, name: str) -> Any:
    """``sytrf`` or ``sytrs``, or for Hermitian matrices ``hetrf`` or ``hetrs``."""
    family = "he" if hermitian and x.dtype.kind == "c" else "sy"
    lapack = library(op, "scipy.linalg.lapack")
    return getattr(lapack, _PREFIXES[x.dtype.char] + family + name)


def _factors(op: str, x: Array, hermitian: bool, check: bool) -> tuple[Array, Array, Array]:
    made = np.tril(x)
    pivots = np.zeros(x.shape[:-1], np.int32)
    info = np.zeros(x.shape[:-2], np.int32)
    work = _routine(op, x, hermitian, "trf")
    for at in np.ndindex(*info.shape) if x.shape[-1] else ():
        packed, pivots[at], info[at] = work(x[at], lower=1)
        made[at] = np.tril(packed)
    failed = np.flatnonzero(info)
    if check and failed.size:
        where = f"(Batch element {failed[0]}): " if info.ndim else ""
        raise NumericalError(
            f"torch.linalg.ldl_factor: {where}the diagonal element {info.reshape(-1)[failed[0]]} of D is zero, and solving "
            "a system by it would divide by zero; linalg.ldl_factor_ex(A) gives the factors nevertheless"
        )
    return made, pivots, info


@kernel("ldl_factor")
def _ldl_factor(self: Array, hermitian: bool) -> Any:
    return _factors("ldl_factor", self, hermitian, True)[:2]


@kernel("ldl_factor_ex")
def _ldl_factor_ex(self: Array, hermitian: bool, check_errors: bool) -> Any:
    return _factors("ldl_factor_ex", self, hermitian, check_errors)


def _check_pivots(pivots: Array, n: int) -> None:
    """Refuse pivots that LAPACK would follow out of the matrix: rows that it has not, and blocks of two that lack a row."""
    second = np.zeros(pivots.shape[:-1], np.bool_)
    fits = bool(pivots.all()) and not (abs(pivots) > n).any()
    for k in range(n if fits else 0):
        negative = pivots[..., k] < 0
        fits = fits and not (second & ~negative).any()
        second = negative & ~second
    if not fits or second.any():
        raise NumericalError(
            "Pivots given to ldl_solve must all satisfy |pivot| <= LD.size(-2), and negative ones come in pairs. Did you properly "
            "pass the result of ldl_factor?"
        )


@kernel("ldl_solve")
def _ldl_solve(self: Array, pivots: Array, B: Array, hermitian: bool) -> Any:
    n = self.shape[-1]
    _check_pivots(pivots.astype(np.int64), n)
    batch = np.broadcast_shapes(self.shape[:-2], B.shape[:-2])
    packed = np.broadcast_to(self, (*batch, n, n))
    exchanged = np.broadcast_to(pivots.astype(np.int32), (*batch, n))
    made = np.array(np.broadcast_to(B, (*batch, *B.shape[-2:])))
    work = _routine("ldl_solve", self, hermitian, "trs")
    for at in np.ndindex(*batch) if made.size else ():
        made[at], _ = work(packed[at], exchanged[at], made[at], lower=1)
    return made
