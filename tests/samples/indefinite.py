"""Samples of the indefinite family. PyTorch has no derivatives of it, so neither have we."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand


def symmetric(x: Any) -> Any:
    return x + x.swapaxes(-1, -2)


def hermitian(x: Any) -> Any:
    return x + x.swapaxes(-1, -2).conj()


A = symmetric(rand(4, 4))
MANY = symmetric(rand(2, 3, 3))
# Factors with blocks of one row and of two, as LAPACK packs them
LD, PIVOTS = np.tril(rand(4, 4)) + np.diag([3.0, 1.0, 2.0, 4.0]), np.array([2, -3, -3, 4], np.int32)


def _each(name: str, *cases: Any, **settings: Any) -> list[Sample]:
    return [Sample(f"linalg.{name}", case, settings, op=name, gradient=False) for case in cases]


SAMPLES: list[Sample] = [
    *_each(
        "ldl_factor", (A,), (MANY,), (rand(3, 3),), (symmetric(complexes(3, 3)),), (rand(1, 1),), (rand(0, 0),), (rand(0, 3, 3),)
    ),
    *_each("ldl_factor", (hermitian(complexes(2, 4, 4)),), (A,), hermitian=True),
    *_each("ldl_factor_ex", (A,), (MANY,), (np.zeros((2, 3, 3)),), (symmetric(complexes(3, 3)),)),
    *_each("ldl_factor_ex", (hermitian(complexes(4, 4)),), hermitian=True, check_errors=True),
    *_each("ldl_solve", (LD, PIVOTS, rand(4, 2)), (LD, PIVOTS.astype(np.int64), rand(3, 4, 1)), (LD, PIVOTS, rand(4, 0))),
    *_each(
        "ldl_solve",
        (np.stack([LD, LD + 1]), np.stack([PIVOTS, PIVOTS]), rand(4, 2)),
        (rand(0, 0), np.zeros(0, np.int32), rand(0, 2)),
    ),
    *_each("ldl_solve", (LD + 1j * np.tril(LD, -1), PIVOTS, complexes(4, 2)), hermitian=True),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("linalg.ldl_factor", (rand(2, 3),), match="batches of square matrices"),
    ErrorSample("linalg.ldl_factor", (rand(3),), match="at least 2 dimensions"),
    ErrorSample("linalg.ldl_factor", (ints(2, 2),), match="Expected a floating point or complex tensor"),
    ErrorSample("linalg.ldl_factor", (np.zeros((2, 2)),), match="torch.linalg.ldl_factor"),
    ErrorSample("linalg.ldl_factor_ex", (np.zeros((2, 2)),), {"check_errors": True}, match="torch.linalg.ldl_factor"),
    ErrorSample("linalg.ldl_solve", (LD, PIVOTS[:2], rand(4, 1)), match="pivots.shape to be the same"),
    ErrorSample("linalg.ldl_solve", (LD, rand(4), rand(4, 1)), match="Expected pivots to be integers"),
    ErrorSample("linalg.ldl_solve", (LD, PIVOTS, rand(4, 1, dtype="float32")), match="Expected b and A to have the same dtype"),
    ErrorSample("linalg.ldl_solve", (LD, PIVOTS, rand(3, 1)), match="Incompatible matrix sizes"),
    ErrorSample("linalg.ldl_solve", (LD, PIVOTS, rand(4)), error=IndexError, match="at least 2 dimensions", note="a vector"),
    ErrorSample("linalg.ldl_solve", (LD, PIVOTS + 3, rand(4, 1)), match="Pivots given to ldl_solve must all satisfy"),
    ErrorSample(
        "linalg.ldl_solve",
        (LD, np.array([1, 2, 3, -4], np.int32), rand(4, 1)),
        match="negative ones come in pairs",
        torch=False,
        note="PyTorch reads on behind the matrix",
    ),
]
