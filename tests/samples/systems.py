"""Samples of triangular and least squares systems, pseudoinverses, ranks, the matrix exponential, and what is made of them."""

from __future__ import annotations

import math

import numpy as np

from tests.samples import Array, ErrorSample, Sample, bools, complexes, ints, rand


def _regular(*batch: int, seed: int = 0) -> Array:
    return np.asarray(rand(*batch, 3, 3, seed=seed) + 5 * np.eye(3))


def _complex(*batch: int, seed: int = 0) -> Array:
    return np.asarray(complexes(*batch, 3, 3, seed=seed) + 5 * np.eye(3))


def _symmetric(x: Array) -> Array:
    return np.asarray((x + x.swapaxes(-1, -2).conj()) / 2)


def _real_diagonal(x: Array) -> Array:
    """As Cholesky factors have it."""
    return np.asarray(np.where(np.eye(x.shape[-1], dtype=bool), np.real(x), x))


_SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
_RANK_ONE = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])

SAMPLES: list[Sample] = [
    *[
        Sample("linalg.solve_triangular", (a, b), {"upper": upper, "left": left, "unitriangular": unit}, op="solve_triangular")
        for a, b in ((_regular(), rand(3, 3, seed=1)), (_complex(2), complexes(3, 3)))
        for upper in (False, True)
        for left in (False, True)
        for unit in (False, True)
    ],
    Sample("linalg.solve_triangular", (_regular(2, 1), rand(4, 3, 2)), {"upper": True}, op="solve_triangular"),
    Sample("linalg.solve_triangular", (rand(2, 0, 0), rand(0, 3)), {"upper": True}, op="solve_triangular"),
    Sample(
        "linalg.solve_triangular", (np.eye(2)[::-1].copy(), np.ones((2, 1))), {"upper": True}, op="solve_triangular", gradient=False
    ),
    Sample(
        "linalg.solve_triangular",
        (rand(40, 40) + 40 * np.eye(40), rand(40, 2)),
        {"upper": False},
        op="solve_triangular",
        gradient=False,
        note="more than a block",
    ),
    *[
        Sample("triangular_solve", (rand(3, 2), _regular()), {"upper": upper, "transpose": transpose})
        for upper in (False, True)
        for transpose in (False, True)
    ],
    *[
        # PyTorch gives the singular values no slope, which differences see.
        Sample("linalg.lstsq", (a, b), {"driver": driver}, op="lstsq", differences=driver != "gelsd")
        for a, b in (
            (rand(4, 2), rand(4, 3)),
            (rand(2, 4), rand(2, 3)),
            (_regular(), rand(3, 2)),
            (rand(2, 4, 2), rand(2, 4, 1)),
            (complexes(2, 4, 2), complexes(2, 4, 1)),
        )
        for driver in (None, "gels", "gelsd")
    ],
    *[Sample("linalg.lstsq", (rand(4, 2), rand(4)), {"driver": driver}, op="lstsq") for driver in ("gelsy", "gels")],
    Sample("linalg.lstsq", (rand(4, 2), rand(4)), {"driver": "gelss"}, op="lstsq", differences=False),
    Sample("linalg.lstsq", (rand(2, 4, 3), rand(2, 4)), op="lstsq", note="vectors"),
    Sample("linalg.lstsq", (_RANK_ONE, rand(3, 2)), {"driver": "gelsd"}, op="lstsq", gradient=False, note="rank 1"),
    Sample("linalg.lstsq", (np.diag([1.0, 0.1]), rand(2, 2), 0.5), op="lstsq", gradient=False, note="rcond"),
    *[Sample("linalg.lstsq", (a, b), op="lstsq") for a, b in ((rand(4, 0), rand(4, 2)), (rand(0, 3), rand(0, 2)))],
    Sample("linalg.lstsq", (rand(0, 4, 2), rand(0, 4, 3)), {"driver": "gelsd"}, op="lstsq"),
    *[
        Sample("linalg.matrix_rank", (x,), kwargs, op="matrix_rank", gradient=False)
        for x, kwargs in (
            (_SINGULAR, {}),
            (_RANK_ONE, {"atol": 0.1}),
            (np.diag([1.0, 0.1, 0.01]), {"rtol": 0.05}),
            (np.diag([1.0, 0.1, 0.01]), {"atol": 0.5, "rtol": 0.05}),
            (np.stack([np.eye(2), _SINGULAR, np.diag([1.0, 0.3])]), {"atol": np.array([0.1, 2.0, 0.5])}),
            (np.stack([np.eye(2), np.diag([1.0, 0.3])]), {"rtol": np.array([0.1, 0.5])}),
            (_symmetric(complexes(3, 3)), {"hermitian": True}),
            (rand(3, 3), {"hermitian": True}),
            (rand(3, 0, 2), {}),
            (complexes(2, 3), {}),
        )
    ],
    Sample("linalg.matrix_rank", (np.diag([1.0, 0.1]), 0.5), op="matrix_rank", gradient=False, note="tol"),
    *[Sample("linalg.pinv", (x,), op="pinv") for x in (rand(3, 3), rand(2, 4, 2), rand(2, 4), complexes(3, 2), rand(0, 3))],
    Sample("linalg.pinv", (_RANK_ONE,), op="pinv", differences=False, note="rank 1"),
    Sample("linalg.pinv", (np.diag([1.0, 0.1]),), {"rtol": 0.5}, op="pinv", differences=False),
    Sample("linalg.pinv", (np.diag([1.0, 0.1]),), {"atol": 0.5}, op="pinv", differences=False),
    Sample("linalg.pinv", (np.diag([1.0, 0.1]), 0.01), op="pinv", note="rcond"),
    *[
        Sample("linalg.pinv", (_symmetric(x),), {"hermitian": True}, op="pinv", differences=False)
        for x in (rand(3, 3), complexes(2, 3, 3))
    ],
    Sample("linalg.pinv", (rand(2, 1, 1),), {"hermitian": True}, op="pinv", note="one triangle is the whole"),
    Sample("linalg.pinv", (rand(3, 3),), {"hermitian": True}, op="pinv", differences=False, note="not symmetric"),
    Sample("pinverse", (rand(4, 2),)),
    Sample("Tensor.pinverse", (_SINGULAR, 1e-3), differences=False),
    *[
        Sample("cholesky_inverse", (x, upper), op="cholesky_inverse", differences=False)
        for x in (_regular(), _real_diagonal(_complex(2)))
        for upper in (False, True)
    ],
    *[
        Sample("cholesky_solve", (b, x, upper), op="cholesky_solve", differences=False)
        for x, b in ((_regular(), rand(3, 2)), (_complex(2), complexes(3, 1)))
        for upper in (False, True)
    ],
    Sample("cholesky_inverse", (rand(2, 1, 1, low=1.0),), op="cholesky_inverse", note="one triangle is the whole"),
    Sample("cholesky_solve", (rand(1, 2), rand(2, 1, 1, low=1.0)), op="cholesky_solve", note="one triangle is the whole"),
    *[Sample("matrix_exp", (x,), op="matrix_exp") for x in (rand(3, 3), rand(2, 2, 2), complexes(2, 2), rand(2, 0, 0), rand(1, 1))],
    Sample("linalg.matrix_exp", (20 * rand(3, 3),), op="matrix_exp", differences=False, float32=False, note="large"),
    Sample(
        "linalg.matrix_exp", (np.stack([np.zeros((2, 2)), 9 * rand(2, 2)]),), op="matrix_exp", float32=False, note="zero beside"
    ),
    *[
        Sample("addbmm", (m, a, b), kwargs, op="addbmm")
        for m, a, b, kwargs in (
            (rand(2, 3), rand(4, 2, 5), rand(4, 5, 3), {}),
            (rand(3), rand(2, 2, 1), rand(2, 1, 3), {"beta": 2, "alpha": 0.5}),
            (complexes(2, 2), complexes(3, 2, 2), complexes(3, 2, 2, seed=2), {"beta": 0.5j, "alpha": 1 + 2j}),
            (rand(2, 3), rand(0, 2, 5), rand(0, 5, 3), {}),
            (rand(2, 3), rand(2, 2, 0), rand(2, 0, 3), {}),
        )
    ],
    Sample("addbmm", (np.full((2, 2), np.nan), rand(2, 2, 2), rand(2, 2, 2)), {"beta": 0}, op="addbmm", differences=False),
    Sample("addbmm", (ints(2, 2), ints(3, 2, 2), ints(3, 2, 2, seed=1)), {"beta": 2}, op="addbmm"),
    Sample("Tensor.addbmm_", (rand(2, 2), rand(3, 2, 2), rand(3, 2, 2, seed=1)), {"alpha": 2}),
    *[Sample("linalg.cond", (x, p)) for x in (_regular(), _regular(2)) for p in (None, 2, -2)],
    *[
        Sample("linalg.cond", (x, p), torch=False, note="PyTorch overwrites what its gradient needs")
        for x in (_regular(), _complex(2))
        for p in ("fro", "nuc", 1, -1, math.inf, -math.inf)
    ],
    Sample("linalg.cond", (rand(2, 3),)),
    Sample("linalg.cond", (np.stack([np.eye(2), _SINGULAR]), 1), gradient=False, torch=False, note="singular"),
    Sample("linalg.cond", (rand(3, 0, 0), "nuc"), gradient=False),
    Sample("linalg.cond", (complexes(0, 0),), gradient=False),
    *[
        Sample("linalg.cross", (a, b), kwargs)
        for a, b, kwargs in (
            (rand(3), rand(3, seed=1), {}),
            (rand(2, 3), rand(1, 3, seed=1), {}),
            (complexes(3, 2), complexes(3, 2, seed=2), {"dim": 0}),
            (ints(3), ints(3, seed=1), {}),
        )
    ],
    Sample("linalg.diagonal", (rand(2, 3, 4),), {"offset": 1}),
    Sample("linalg.diagonal", (rand(2, 3, 4),), {"dim1": 0}),
    *[
        Sample("linalg.vecdot", (a, b), kwargs)
        for a, b, kwargs in (
            (rand(3), rand(3, seed=1), {}),
            (rand(3), rand(2, 3, seed=1), {}),
            (complexes(3, 2), complexes(3, 2, seed=2), {"dim": 0}),
            (complexes(3), complexes(3, seed=2), {}),
            (rand(2, 0), rand(2, 0), {}),
        )
    ],
    *[
        Sample("linalg.vander", (x,), kwargs)
        for x, kwargs in (
            (rand(3), {}),
            (rand(2, 3), {"N": 5}),
            (complexes(3), {"N": 2}),
            (ints(4), {}),
            (np.array([0.0, 1.0, 2.0]), {"N": 4}),
            (rand(), {"N": 3}),
            (ints(3, dtype="int16"), {}),
        )
    ],
    *[
        Sample(
            "vander", (x, *args), torch=len(args) > 0 or x.dtype.kind not in "fc", note="PyTorch overwrites what its gradient needs"
        )
        for x, args in (
            (rand(3), ()),
            (rand(3), (1,)),
            (rand(3), (0,)),
            (ints(3), (4,)),
            (ints(3, dtype="int16"), ()),
            (bools(3), ()),
            (complexes(3), ()),
            (rand(0), ()),
        )
    ],
    *[
        Sample("linalg.multi_dot", ([*tensors],))
        for tensors in (
            (rand(3), rand(3, seed=1)),
            (rand(3), rand(3, 2)),
            (rand(2, 3), rand(3, 4), rand(4)),
            (rand(2, 5), rand(5, 1), rand(1, 4), rand(4, 3)),
            (complexes(2, 3), complexes(3, 4), complexes(4, 2)),
            (rand(0, 3), rand(3, 2)),
        )
    ],
    Sample("vander", (rand(3), 5, True), torch=False, note="PyTorch overwrites what its gradient needs"),
    Sample("chain_matmul", (rand(2, 3), rand(3, 4), rand(4, 1))),
    Sample("linalg.tensorinv", (rand(2, 3, 6),)),
    Sample("linalg.tensorinv", (rand(4, 2, 2),), {"ind": 1}),
    Sample("linalg.tensorsolve", (rand(2, 3, 6), rand(2, 3))),
    Sample("linalg.tensorsolve", (rand(2, 3, 2, 3), rand(2, 3, seed=1)), {"dims": (0, 1)}),
    Sample("linalg.tensorsolve", (complexes(2, 2, 2, 2), complexes(2, 2, seed=3))),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("linalg.solve_triangular", (_regular(), rand(3)), {"upper": True}, match="B must have at least 2 dimensions"),
    ErrorSample("linalg.solve_triangular", (_regular(), rand(2, 1)), {"upper": True}, match="Incompatible shapes of A and B"),
    ErrorSample("linalg.solve_triangular", (rand(2, 3), rand(2, 1)), {"upper": True}, match="square matrices"),
    ErrorSample(
        "linalg.solve_triangular", (_regular(), rand(3, 1, dtype="float32")), {"upper": True}, match="same dtype", torch=False
    ),
    ErrorSample("linalg.lstsq", (rand(4, 2), rand(5, 2)), match="input.size(-2) should match other.size(-2)"),
    ErrorSample("linalg.lstsq", (rand(4, 2), rand(4, 2)), {"driver": "other"}, match="parameter `driver` should be one of"),
    ErrorSample("linalg.lstsq", (rand(4, 2), rand(3, 4, 2)), match="must be greater or equal to other.dim()"),
    ErrorSample("linalg.lstsq", (rand(4), rand(4)), match="at least 2 dimensions"),
    ErrorSample("linalg.lstsq", (rand(4, 2), rand(4, 1, dtype="float32")), match="same dtype"),
    ErrorSample("linalg.lstsq", (_RANK_ONE, rand(3, 1)), {"driver": "gels"}, match="full rank", torch=False),
    ErrorSample("linalg.matrix_rank", (rand(3),), match="at least 2 dimensions"),
    ErrorSample("linalg.matrix_rank", (rand(2, 3),), {"hermitian": True}, match="square matrices"),
    ErrorSample("linalg.matrix_rank", (ints(2, 2),), match="float"),
    ErrorSample("linalg.pinv", (rand(3),), match="expected a tensor with 2 or more dimensions"),
    ErrorSample("linalg.pinv", (ints(2, 2),), match="expected a tensor with 2 or more dimensions", note="integers"),
    ErrorSample("cholesky_inverse", (rand(2, 3),), match="square matrices"),
    ErrorSample("cholesky_inverse", (np.zeros((2, 2)),), match="The diagonal element 1 is zero"),
    ErrorSample("cholesky_solve", (rand(3), _regular()), match="b should have at least 2 dimensions"),
    ErrorSample("cholesky_solve", (rand(2, 2), _regular()), match="Incompatible"),
    ErrorSample("matrix_exp", (rand(2, 3),), match="square matrices"),
    ErrorSample("matrix_exp", (ints(2, 2),), match="Expected a floating point or complex tensor as input"),
    ErrorSample("addbmm", (rand(2), rand(2, 2, 4), rand(3, 4, 2)), match="must have same number of batches"),
    ErrorSample("addbmm", (rand(2, 2, 2), rand(3, 2, 4), rand(3, 4, 2)), match="expand"),
    ErrorSample("addbmm", (rand(2, 2), rand(2, 4), rand(3, 4, 2)), match="3D"),
    ErrorSample("addbmm", (rand(2, 2), rand(3, 2, 5), rand(3, 4, 2)), match="Incompatible matrix sizes"),
    ErrorSample("linalg.cond", (rand(2, 3), "fro"), match="square matrices"),
    ErrorSample("linalg.cond", (rand(2, 2), 3), match="invalid norm type"),
    ErrorSample("linalg.cond", (rand(2),), match="at least 2 dimensions"),
    ErrorSample("linalg.cross", (ints(3), rand(3)), match="expected scalar type"),
    ErrorSample("linalg.cross", (bools(3), bools(3)), error=NotImplementedError, match="not implemented for"),
    ErrorSample("linalg.svd", (rand(2, 2),), {"driver": "gesvd"}, match="only supported on CUDA inputs"),
    ErrorSample("linalg.svdvals", (rand(2, 2),), {"driver": "gesvd"}, match="only supported on CUDA inputs"),
    ErrorSample("linalg.vecdot", (ints(3), ints(3)), match="Expected a floating point or complex tensor"),
    ErrorSample("linalg.vecdot", (rand(3), rand(3, dtype="float32")), match="same dtype"),
    ErrorSample("linalg.vander", (rand(3),), {"N": 1}, match="N must be greater than 1."),
    ErrorSample("linalg.vander", (bools(3),), match="floating point, complex, and integer"),
    ErrorSample("vander", (rand(2, 2),), match="one-dimensional"),
    ErrorSample("vander", (rand(2), -1), match="non-negative"),
    ErrorSample("linalg.multi_dot", ([rand(3)],), match="expected at least 2 tensors but got 1"),
    ErrorSample("linalg.multi_dot", ([rand(2, 3), rand(2, 2)],), match="tensors 0 and 1 with shapes [2, 3] and [2, 2] cannot"),
    ErrorSample("linalg.multi_dot", ([rand(1, 2, 3), rand(3, 2)],), match="the first tensor must be 1D or 2D but got 3D"),
    ErrorSample("linalg.multi_dot", ([rand(2, 3), rand(3), rand(3, 2)],), match="tensor 1 must be 2D but got 1D"),
    ErrorSample("chain_matmul", (rand(2, 3), rand(3)), match="Tensor dimension is 1, expected 2 instead."),
    ErrorSample("linalg.tensorinv", (rand(2, 3),), match="Expected self to satisfy the requirement"),
    ErrorSample("linalg.tensorinv", (rand(4, 2, 2),), {"ind": 0}, match="strictly positive integer for 'ind'"),
    ErrorSample("linalg.tensorsolve", (rand(2, 3, 5), rand(2, 3)), match="Expected self to satisfy the requirement"),
]
