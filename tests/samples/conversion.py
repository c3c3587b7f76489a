"""Samples of copies, element types, complex parts and filling."""

from __future__ import annotations

import numpy as np

from tests.samples import D, ErrorSample, Sample, bools, complexes, ints, rand

CASTS = ("float", "double", "half", "bool", "byte", "char", "short", "int", "long", "cfloat", "cdouble")

SAMPLES: list[Sample] = [
    Sample("Tensor.to", (rand(2, 3), D("float32")), op="to", differences=False),
    Sample("Tensor.to", (rand(2, 3), D("float64")), op="to", note="same type"),
    Sample("Tensor.to", (rand(2, 3), D("float64")), {"copy": True}, op="to"),
    Sample("Tensor.to", (rand(3), D("complex128")), op="to", float32=False),
    Sample("Tensor.to", (complexes(3), D("complex64")), op="to", differences=False),
    Sample("Tensor.to", (rand(), D("int64")), op="to", gradient=False),
    Sample("Tensor.to", (ints(3), D("bool")), op="to", gradient=False),
    Sample("Tensor.type_as", (rand(3), rand(2, dtype="float32")), op="to", differences=False),
    *[Sample(f"Tensor.{name}", (3 * rand(3, low=0.1),), op="to", differences=False) for name in CASTS],
    *[Sample(f"Tensor.{name}", (ints(3, low=0),), op="to", gradient=False) for name in CASTS],
    Sample("clone", (rand(2, 3),), op="clone"),
    Sample("Tensor.clone", (bools(3),), op="clone", gradient=False),
    Sample("conj", (complexes(2, 3),), op="conj"),
    Sample("conj", (rand(3),), op="conj"),
    Sample("real", (complexes(2, 3),), op="real"),
    Sample("real", (rand(3),), op="real"),
    Sample("imag", (complexes(2, 3),), op="imag"),
    Sample("Tensor.real", (complexes(3),), op="real"),
    Sample("Tensor.imag", (complexes(3),), op="imag"),
    Sample("angle", (complexes(2, 3),), op="angle"),
    Sample("angle", (rand(3),), op="angle", second=False),
    Sample("angle", (np.array([0.0, -1.0, np.nan]),), op="angle", gradient=False),
    Sample("angle", (ints(3),), op="angle", gradient=False),
    Sample("fill", (rand(2, 3), 2.5), op="fill", second=False),
    Sample("fill", (rand(2, 3), rand()), op="fill", second=False),
    Sample("Tensor.fill_", (rand(2, 3), 2.5), op="fill", second=False),
    Sample("Tensor.fill_", (ints(3), 2.5), op="fill", gradient=False, note="truncates"),
    Sample("Tensor.fill_", (ints(3, dtype="uint8", low=0), -1), op="fill", gradient=False, note="wraps around"),
    Sample("Tensor.zero_", (rand(2, 3),), op="fill", second=False),
    Sample("Tensor.copy_", (rand(2, 3), rand(3, seed=1)), op="copy", second=False),
    Sample("Tensor.copy_", (rand(2, dtype="float32"), rand(2)), op="copy", second=False, differences=False),
    Sample("Tensor.copy_", (ints(2), rand(2)), op="copy", gradient=False),
]

ERRORS: list[ErrorSample] = [
    ErrorSample(
        "Tensor.to", (rand(2), "float33"), error=TypeError, match="dtype must be one of", torch=False, note="a device there"
    ),
    ErrorSample("imag", (rand(2),), error=RuntimeError, match="imag is not implemented for tensors with non-complex dtypes"),
    ErrorSample("Tensor.fill_", (rand(2), 1j), error=RuntimeError, match="without overflow"),
    ErrorSample("Tensor.fill_", (ints(2, dtype="uint8", low=0), 300), error=RuntimeError, match="without overflow"),
    ErrorSample("Tensor.fill_", (rand(2), rand(2)), error=RuntimeError, match="0-dimension value tensor"),
    ErrorSample("Tensor.copy_", (rand(2), rand(3, 2)), error=RuntimeError, match="doesn't match the broadcast shape"),
    ErrorSample("Tensor.copy_", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
]
