"""Samples of factorisations that tell of failure in numbers, of LU, QR, and eigenvalues of any square matrix."""

from __future__ import annotations

import numpy as np

from tests.samples import Array, ErrorSample, Sample, complexes, ints, rand


def _regular(*batch: int, seed: int = 0) -> Array:
    return np.asarray(rand(*batch, 3, 3, seed=seed) + 5 * np.eye(3))


def _complex(*batch: int, seed: int = 0) -> Array:
    return np.asarray(complexes(*batch, 3, 3, seed=seed) + 5 * np.eye(3))


def _definite(x: Array) -> Array:
    return np.asarray(x @ x.swapaxes(-1, -2).conj() + np.eye(x.shape[-1]))


_SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
_PIVOTS = np.array([2, 3, 3], np.int32)

_RECTANGLES = (rand(3, 3), rand(2, 3, 3, seed=1), rand(4, 2), rand(2, 5), complexes(3, 3), complexes(2, 4, 3), complexes(2, 4))
_EMPTY = (rand(0, 3), rand(2, 3, 0), rand(0, 2, 2))

SAMPLES: list[Sample] = [
    *[
        Sample(
            "ormqr",
            (kind(*batch, 4, 3), kind(*batch, 3, seed=1), kind(*batch, *((4, 2) if left else (2, 4)), seed=2)),
            {"left": left, "transpose": transpose},
            float32=False,
        )
        for kind, batch in ((rand, ()), (complexes, (2,)))
        for left in (True, False)
        for transpose in (True, False)
    ],
    Sample("linalg.householder_product", (rand(3, 2), np.zeros(0)), note="no reflectors", second=False),
    *[
        Sample("linalg.cholesky_ex", (_definite(x),), {"upper": upper}, op="cholesky_ex", differences=False)
        for x in (rand(3, 3), complexes(2, 3, 3))
        for upper in (False, True)
    ],
    Sample("linalg.cholesky_ex", (rand(2, 1, 1, low=1.0),), op="cholesky_ex", note="one triangle is the whole"),
    Sample("linalg.cholesky_ex", (np.stack([np.eye(2), -_SINGULAR]),), op="cholesky_ex", gradient=False, note="not positive"),
    Sample("linalg.cholesky_ex", (np.array([[4.0, 2.0], [2.0, -1.0]]),), op="cholesky_ex", gradient=False, torch=False, note="2"),
    *[Sample("linalg.inv_ex", (x,), op="inv_ex") for x in (_regular(), _complex(2), rand(0, 3, 3))],
    Sample("linalg.inv_ex", (_SINGULAR,), op="inv_ex", gradient=False, note="singular"),
    Sample("linalg.inv_ex", (np.stack([np.eye(2), _SINGULAR]),), op="inv_ex", gradient=False, note="singular"),
    *[
        Sample("linalg.solve_ex", (a, b), {"left": left}, op="solve_ex")
        for a, b, left in (
            (_regular(), rand(3, seed=1), True),
            (_complex(2), complexes(3, 2), True),
            (_regular(2), rand(2, 2, 3), False),
        )
    ],
    Sample("linalg.solve_ex", (_SINGULAR, np.array([1.0, 1.0])), op="solve_ex", gradient=False, note="singular"),
    Sample("linalg.solve_ex", (_SINGULAR, np.ones((1, 2))), {"left": False}, op="solve_ex", gradient=False, note="singular"),
    *[Sample(f"linalg.{name}", (x,), op=name) for name in ("lu", "lu_factor", "lu_factor_ex") for x in (*_RECTANGLES, *_EMPTY)],
    Sample("linalg.lu", (rand(20, 20),), op="lu", gradient=False, note="more than a block"),
    Sample("linalg.lu_factor", (rand(2, 40, 19),), op="lu_factor", gradient=False, note="more than a block"),
    Sample("linalg.lu_factor_ex", (_SINGULAR,), op="lu_factor_ex", gradient=False, note="singular"),
    Sample("linalg.lu", (np.zeros((2, 3)),), op="lu", gradient=False, note="nothing to divide by"),
    Sample("lu", (rand(3, 3),), {"get_infos": True}),
    Sample("Tensor.lu", (rand(3, 3),)),
    *[
        Sample("lu_unpack", (x, np.array([2, 2], np.int32)), kwargs, op="lu_unpack")
        for x in (rand(2, 2), rand(3, 2), rand(2, 4), complexes(2, 3))
        for kwargs in ({}, {"unpack_pivots": False})
    ],
    Sample(
        "lu_unpack", (rand(3, 2), np.array([2, 2], np.int32)), {"unpack_data": False}, op="lu_unpack", gradient=False, torch=False
    ),
    Sample("lu_unpack", (rand(2, 3, 3), np.stack([_PIVOTS, _PIVOTS])), op="lu_unpack"),
    *[
        Sample("linalg.lu_solve", (a, _PIVOTS, b), {"left": left, "adjoint": adjoint}, op="lu_solve")
        for a, b in ((_regular(), rand(3, 3, seed=2)), (_complex(), complexes(2, 3, 3, seed=2)))
        for left in (True, False)
        for adjoint in (True, False)
    ],
    Sample("linalg.lu_solve", (_regular(2), np.stack([_PIVOTS, _PIVOTS]), rand(3, 2)), op="lu_solve", note="broadcast"),
    Sample("lu_solve", (rand(3, 2), _regular(), _PIVOTS)),
    Sample("Tensor.lu_solve", (rand(3, 2), _regular(), _PIVOTS)),
    *[Sample("linalg.qr", (x,), op="qr") for x in (*_RECTANGLES, *_EMPTY)],
    *[Sample("linalg.qr", (x,), {"mode": "complete"}, op="qr") for x in (rand(3, 3), complexes(2, 2, 4), rand(0, 2), rand(0, 0))],
    Sample("linalg.qr", (rand(4, 2), "complete"), op="qr", gradient=False),
    Sample("linalg.qr", (rand(2, 0), "complete"), op="qr", gradient=False),
    Sample("linalg.qr", (rand(4, 2), "r"), op="qr", gradient=False),
    Sample("qr", (rand(3, 3),)),
    Sample("Tensor.qr", (rand(2, 3),), {"some": False}),
    *[Sample("geqrf", (x,), op="geqrf", gradient=False) for x in (rand(3, 3), rand(2, 4, 3), complexes(2, 3), rand(0, 3))],
    *[
        Sample(f"linalg.{name}", (x,), op=name, gradient=False, torch=False, note="phases and order are free")
        for name in ("eig", "eigvals")
        for x in (rand(3, 3), complexes(2, 3, 3), rand(0, 0), rand(2, 2, dtype="float32"))
    ],
    Sample("linalg.eigvals", (np.array([[[1.0]], [[3.0]]]),), op="eigvals", note="the one there is"),
    Sample("linalg.eigvals", (complexes(2, 1, 1),), op="eigvals", note="the one there is"),
    *[
        Sample(name, (a, tau))
        for name in ("linalg.householder_product", "orgqr")
        for a, tau in ((rand(3, 2), rand(2)), (rand(2, 3, 3), rand(2, 2)), (complexes(3, 2), complexes(2)))
    ],
    Sample("svd", (rand(4, 3),), {"compute_uv": False}),
    Sample("Tensor.svd", (rand(3, 3),), gradient=False, torch=False, note="signs are free"),
    Sample("cholesky", (_definite(rand(3, 3)), True), differences=False),
    Sample("Tensor.cholesky", (_definite(rand(3, 3)),), differences=False),
]

_ARRAYS_OF_ONE = ("cholesky_ex", "inv_ex", "eig", "eigvals")

ERRORS: list[ErrorSample] = [
    ErrorSample("ormqr", (rand(4, 3), rand(3), rand(2, 4)), error=RuntimeError, match="must be equal to input.shape"),
    ErrorSample("ormqr", (rand(4, 3), rand(2), rand(4, 2)), error=RuntimeError, match="tau.shape"),
    ErrorSample("ormqr", (rand(4, 3), rand(3), ints(4, 2)), error=RuntimeError, match="same dtype"),
    ErrorSample("ormqr", (rand(3), rand(3), rand(4, 2)), error=RuntimeError, match="at least 2 dimensions"),
    *[
        error
        for name in _ARRAYS_OF_ONE
        for error in (
            ErrorSample(f"linalg.{name}", (rand(3),), match="must have at least 2 dimensions"),
            ErrorSample(f"linalg.{name}", (rand(2, 3),), match="A must be batches of square matrices"),
            ErrorSample(f"linalg.{name}", (ints(2, 2),), match="Expected a floating point or complex tensor as input"),
        )
    ],
    *[
        error
        for name in ("lu", "lu_factor", "lu_factor_ex", "qr")
        for error in (
            ErrorSample(f"linalg.{name}", (rand(3),), match="must have at least 2 dimensions"),
            ErrorSample(f"linalg.{name}", (ints(2, 2),), match="", error=RuntimeError, note="integers"),
        )
    ],
    ErrorSample("linalg.cholesky_ex", (-np.eye(2),), {"check_errors": True}, match="leading minor of order 1 is not positive"),
    ErrorSample("linalg.inv_ex", (_SINGULAR,), {"check_errors": True}, match="The diagonal element 2 is zero"),
    ErrorSample("linalg.solve_ex", (_SINGULAR, rand(2)), {"check_errors": True}, match="the input matrix is singular"),
    ErrorSample("linalg.solve_ex", (_SINGULAR, rand(3, 2)), match="Incompatible shapes"),
    ErrorSample("linalg.solve_ex", (_SINGULAR, rand(2, dtype="float32")), match="same dtype"),
    ErrorSample("linalg.lu_factor", (_SINGULAR,), match="is zero and using it on lu_solve would result in a division by zero"),
    ErrorSample("linalg.lu_factor_ex", (_SINGULAR,), {"check_errors": True}, match="U[2,2] is zero"),
    ErrorSample("linalg.lu", (_SINGULAR,), {"pivot": False}, match="LU without pivoting is not implemented on the CPU"),
    ErrorSample("linalg.lu_solve", (_regular(), _PIVOTS, rand(3)), match="B must have at least 2 dimensions"),
    ErrorSample("linalg.lu_solve", (_regular(), _PIVOTS, rand(2, 2)), match="Incompatible shapes of A and B"),
    ErrorSample("linalg.lu_solve", (_regular(), _PIVOTS, rand(3, 2, dtype="float32")), match="same dtype"),
    ErrorSample("linalg.lu_solve", (_regular(), _PIVOTS.astype(np.int64), rand(3, 2)), match="int32"),
    ErrorSample("linalg.lu_solve", (_regular(), _PIVOTS[:2], rand(3, 2)), match="Number of pivots per batch"),
    ErrorSample("lu_unpack", (rand(3, 3), _PIVOTS.astype(np.int64)), match="int32"),
    ErrorSample("lu_unpack", (rand(3), _PIVOTS), match="at least 2 dimensions"),
    ErrorSample("linalg.qr", (rand(2, 2), "other"), match="qr received unrecognized mode 'other'"),
    ErrorSample("linalg.eig", (np.array([[np.nan]]),), match="should not contain infs or NaNs"),
    ErrorSample("geqrf", (rand(3),), match="at least 2 dimensions"),
    ErrorSample("linalg.householder_product", (rand(2, 3), rand(2)), match="input.shape[-2] must be greater than or equal"),
    ErrorSample("linalg.householder_product", (rand(3, 2), rand(3)), match="must be greater than or equal to tau.shape[-1]"),
    ErrorSample("linalg.householder_product", (rand(3, 2), rand(2, dtype="float32")), match="dtype"),
]
