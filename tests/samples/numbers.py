"""Samples of the numbers family."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

X, Y = rand(2, 3), rand(3, seed=1)
SIZES = rand(2, 3, low=0.2, high=3.0)

SAMPLES: list[Sample] = [
    Sample("ldexp", (rand(3), rand(3, seed=1, dtype="float32")), op="ldexp", float32=False, differences=False, second=False),
    Sample("ldexp", (complexes(3), complexes(3, seed=2)), op="ldexp", note="complex exponents"),
    Sample("ldexp", (X, complexes(3)), op="ldexp", torch=False, note="real times complex power, of which PyTorch has no gradient"),
    # frexp
    Sample("frexp", (X,), op="frexp"),
    Sample("frexp", (np.asarray(5.25),), op="frexp"),
    Sample("frexp", (np.array([0.0, -0.0, 1e-310, -3.7e200]),), op="frexp", gradient=False, float32=False),
    Sample("Tensor.frexp", (rand(0, 2),), op="frexp"),
    # ldexp
    Sample("ldexp", (X, ints(3)), op="ldexp"),
    Sample("ldexp", (X, Y), op="ldexp"),
    Sample("ldexp", (X, ints(2, 1, dtype="int8")), op="ldexp"),
    Sample("ldexp", (X, np.asarray(3)), op="ldexp"),
    Sample("ldexp", (ints(3), ints(3, seed=1)), op="ldexp", gradient=False),
    Sample("ldexp", (bools(3), bools(3, seed=1)), op="ldexp", gradient=False),
    Sample("ldexp", (rand(3, dtype="float16"), ints(3)), op="ldexp", gradient=False),
    Sample("ldexp", (complexes(3), ints(3)), op="ldexp"),
    Sample(
        "ldexp",
        (np.array([3.0, 1e-40, -1.0]), ints(3, low=130, high=150)),
        op="ldexp",
        gradient=False,
        torch=False,
        note="PyTorch's gradient overflows",
    ),
    Sample("Tensor.ldexp_", (X, ints(3)), op="ldexp"),
    # complex
    Sample("complex", (X, Y), op="complex"),
    Sample("complex", (np.asarray(1.5), np.asarray(-0.5)), op="complex"),
    Sample("complex", (), {"real": X, "imag": X[:, :1]}, op="complex"),
    Sample("complex", (np.array([1.0, np.inf, 0.0]), np.array([np.nan, -0.0, np.inf])), op="complex", gradient=False),
    # polar
    Sample("polar", (SIZES, Y), op="polar"),
    Sample("polar", (), {"abs": np.asarray(2.0), "angle": X}, op="polar"),
    Sample("polar", (np.array([0.0, -1.0, -0.3]), Y), op="polar", torch=False, note="PyTorch's gradient is wrong where abs <= 0"),
    # dist
    Sample("dist", (X, Y), op="dist"),
    *[Sample("dist", (X, Y, p), op="dist") for p in (1, 1.5, 3, 0.5)],
    Sample("dist", (X, Y), {"p": float("inf")}, op="dist"),
    Sample("dist", (X, Y), {"p": -float("inf")}, op="dist"),
    Sample("dist", (X, Y, 0), op="dist", second=False, torch=False, note="PyTorch fails in backward"),
    Sample("dist", (X, X[:1], 2), op="dist", note="equal parts"),
    Sample("dist", (complexes(2, 2), complexes(2, seed=2)), op="dist"),
    Sample("dist", (np.zeros(2), np.zeros(2)), op="dist", differences=False, second=False, note="at 0"),
    Sample("dist", (rand(0), rand(0)), op="dist", gradient=False),
    Sample("dist", (rand(2, dtype="float32"), rand(2, seed=1)), op="dist", gradient=False),
    Sample("Tensor.dist", (X, X + 1, 3.0), op="dist"),
    # rsub
    Sample("rsub", (X, Y), op="rsub"),
    Sample("rsub", (X, 2), {"alpha": 2.5}, op="rsub"),
    Sample("rsub", (ints(3), 2), {"alpha": 3}, op="rsub", gradient=False),
    Sample("rsub", (X, complexes(3)), op="rsub"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("frexp", (ints(2),), error=RuntimeError, match="floating-point"),
    ErrorSample("ldexp", (rand(2), 2), error=TypeError, match="Tensor"),
    ErrorSample("ldexp", (rand(2), bools(2)), error=NotImplementedError, match="not implemented"),
    ErrorSample("ldexp", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("Tensor.ldexp_", (ints(2), ints(2)), error=RuntimeError, match="can't be cast"),
    ErrorSample("complex", (rand(2), rand(2, dtype="float32")), error=RuntimeError, match="for second argument"),
    ErrorSample("complex", (ints(2), ints(2)), error=RuntimeError, match="Expected both inputs"),
    ErrorSample("complex", (rand(2), 1.0), error=TypeError, match="Tensor"),
    ErrorSample("polar", (complexes(2), rand(2)), error=RuntimeError, match="Expected both inputs"),
    ErrorSample("polar", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("polar", (rand(2, dtype="float16"), rand(2, dtype="float16")), error=NotImplementedError, match="not implemented"),
    ErrorSample("dist", (ints(2), ints(2)), error=RuntimeError, match="floating point or complex"),
    ErrorSample("dist", (rand(2), bools(2)), error=RuntimeError, match="bool tensor is not supported"),
    ErrorSample("dist", (rand(0), rand(0), float("inf")), error=RuntimeError, match="empty"),
    ErrorSample("dist", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("dist", (rand(2), 1.0), error=TypeError, match="Tensor"),
    ErrorSample("rsub", (1, rand(2)), error=TypeError, match="Tensor"),
    ErrorSample("rsub", (bools(2), bools(2)), error=RuntimeError, match="bool"),
    ErrorSample("rsub", (ints(2), 2), {"alpha": 2.5}, error=RuntimeError, match="alpha"),
]
