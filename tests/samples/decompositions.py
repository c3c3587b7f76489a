"""Samples of inverses, determinants, linear systems and factorisations."""

from __future__ import annotations

import numpy as np

from tests.samples import Array, ErrorSample, Sample, complexes, ints, rand

_EYE = np.eye(3)


def _regular(*batch: int, seed: int = 0) -> Array:
    """Matrices well away from singular ones."""
    return np.asarray(rand(*batch, 3, 3, seed=seed) + 5 * _EYE)


def _complex(*batch: int, seed: int = 0) -> Array:
    return np.asarray(complexes(*batch, 3, 3, seed=seed) + 5 * _EYE)


def _symmetric(x: Array) -> Array:
    return np.asarray((x + x.swapaxes(-1, -2).conj()) / 2)


_SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])

_SQUARE = ("inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh")

SAMPLES: list[Sample] = [
    *[
        Sample(f"linalg.{name}", (x,), op=name)
        for name in ("inv", "det", "slogdet")
        for x in (_regular(), _regular(2, seed=1), _complex(2), rand(0, 0), rand(0, 3, 3))
    ],
    Sample("inverse", (_regular(seed=2),), op="inv"),
    Sample("linalg.solve", (), {"A": _regular(seed=3), "B": rand(3, seed=4)}, op="solve"),
    Sample("Tensor.det", (_regular(seed=2),), op="det"),
    Sample("linalg.det", (np.array([[0.0, 1.0], [1.0, 0.0]]),), op="det", note="a row exchange"),
    Sample("linalg.det", (_SINGULAR,), op="det", float32=False, note="singular"),
    Sample("linalg.slogdet", (-_regular(),), op="slogdet", note="negative"),
    Sample(
        "linalg.slogdet", (_SINGULAR,), op="slogdet", gradient=False, torch=False, note="singular: the sign of infinity is free"
    ),
    *[Sample("logdet", (x,), op="logdet") for x in (_regular(), _regular(2, seed=1), _complex(2))],
    Sample("logdet", (-_regular(),), op="logdet", gradient=False, note="negative"),
    Sample("logdet", (_SINGULAR,), op="logdet", gradient=False, torch=False, note="singular: the sign of infinity is free"),
    *[
        Sample("linalg.solve", (a, b), op="solve")
        for a, b in (
            (_regular(), rand(3, seed=1)),
            (_regular(), rand(3, 2, seed=1)),
            (_regular(2), rand(2, 3, seed=1)),
            (_regular(2), rand(3, seed=1)),
            (_regular(2), rand(2, 3, 2, seed=1)),
            (_regular(2, 1), rand(4, 3, 2, seed=1)),
            (_regular(), rand(3, 0)),
            (_complex(), complexes(3, 2, seed=3)),
        )
    ],
    Sample("linalg.solve", (_regular(), rand(2, 3, seed=1)), {"left": False}, op="solve"),
    Sample("linalg.solve", (_complex(2), complexes(4, 3, seed=1)), {"left": False}, op="solve"),
    # Only one triangle is read, so that differences do not see the symmetric gradient.
    *[
        Sample("linalg.cholesky", (_symmetric(x),), {"upper": upper}, op="cholesky", differences=False)
        for x in (_regular(), _regular(2), _complex(2))
        for upper in (False, True)
    ],
    Sample("linalg.cholesky", (_regular(),), op="cholesky", gradient=False, note="not symmetric"),
    Sample("linalg.cholesky", (_regular(),), {"upper": True}, op="cholesky", gradient=False, note="not symmetric"),
    *[
        Sample("linalg.eigvalsh", (_symmetric(x), *triangle), op="eigvalsh", differences=False)
        for x, triangle in ((rand(3, 3), ()), (rand(2, 3, 3), ("U",)), (complexes(3, 3), ()))
    ],
    Sample("linalg.cholesky", (rand(2, 1, 1, low=1.0),), op="cholesky", note="one triangle is the whole"),
    Sample("linalg.eigvalsh", (rand(2, 1, 1),), op="eigvalsh", note="one triangle is the whole"),
    Sample("linalg.eigvalsh", (rand(3, 3), "U"), op="eigvalsh", gradient=False, note="not symmetric"),
    Sample("linalg.eigh", (_symmetric(rand(3, 3)),), op="eigh", gradient=False, torch=False, note="signs are free"),
    Sample("linalg.eigh", (_symmetric(complexes(2, 3, 3)), "U"), op="eigh", gradient=False, torch=False, note="signs are free"),
    *[Sample("linalg.matrix_power", (_regular(), n)) for n in (0, 1, 2, 5, -3)],
    Sample("matrix_power", (_complex(2), 3)),
]

ERRORS: list[ErrorSample] = [
    *[
        error
        for name in _SQUARE
        for error in (
            ErrorSample(f"linalg.{name}", (rand(3),), match=f"linalg.{name}: The input tensor A must have at least 2 dimensions"),
            ErrorSample(
                f"linalg.{name}", (rand(2, 3),), match="A must be batches of square matrices, but they are 2 by 3 matrices"
            ),
            ErrorSample(f"linalg.{name}", (ints(2, 2),), match="Expected a floating point or complex tensor as input"),
        )
    ],
    ErrorSample("linalg.inv", (rand(2, 2, dtype="float16"),), match="Low precision dtypes not supported"),
    ErrorSample("linalg.det", (rand(2, 2, dtype="float16"),), error=NotImplementedError, match="float16", note="half"),
    ErrorSample("linalg.inv", (_SINGULAR,), match="because the input matrix is singular"),
    ErrorSample("linalg.inv", (np.stack([np.eye(2), _SINGULAR]),), match="(Batch element 1): The", note="batch"),
    ErrorSample("linalg.solve", (_SINGULAR, rand(2)), match="The solver failed because the input matrix is singular"),
    ErrorSample("linalg.solve", (_regular(), rand(2)), match="Incompatible shapes of A and B for the equation AX = B"),
    ErrorSample("linalg.solve", (_regular(), rand(2, 2)), {"left": False}, match="for the equation XA = B"),
    ErrorSample("linalg.solve", (_regular(), rand(3)), {"left": False}, match="Vector broadcasting of the left hand side"),
    ErrorSample("linalg.solve", (_regular(), rand(3, 2, dtype="float32")), match="Expected A and B to have the same dtype"),
    ErrorSample("linalg.cholesky", (-_EYE,), match="because the input is not positive-definite"),
    ErrorSample("linalg.eigh", (_EYE, "M"), match="Expected UPLO argument to be 'L' or 'U'"),
    ErrorSample("linalg.matrix_power", (rand(2, 3), 2), match="A must be batches of square matrices"),
    ErrorSample("linalg.matrix_power", (rand(3), 2), match="at least 2 dimensions"),
    ErrorSample("logdet", (rand(2, 3),), match="A must be batches of square matrices"),
]
