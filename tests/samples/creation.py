"""Samples of ops that make tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import D, ErrorSample, Sample, bools, ints, rand

LITERALS: list[Any] = [
    *(1.5, 3, True, 1j),
    *([1, 2], [True, False], [True, 2], [1, 2.5], [1, 2j]),
    *([], [[], []], [[1, 2], [3, 4]], ((1.0,), (2.0,)), range(3)),
]

SAMPLES: list[Sample] = [
    Sample("linspace", (4.7, -3.2, 6), {"dtype": D("int64")}, op="linspace", gradient=False),
    Sample("linspace", (4.7, -3.2, 6), {"dtype": D("int8")}, op="linspace", gradient=False),
    Sample("logspace", (0.5, 2.9, 3), {"dtype": D("int64")}, op="logspace", gradient=False),
    Sample("logspace", (0.5, 2.9, 3), {"dtype": D("int8")}, op="logspace", gradient=False),
    Sample("arange", (-0.9, 2.1, 2.0), {"dtype": D("int64")}, op="arange", gradient=False),
    Sample("arange", (-0.9, 2.1, 2.0), {"dtype": D("int8")}, op="arange", gradient=False),
    Sample("arange", (0.9, 5.9, 1.9), {"dtype": D("int64")}, op="arange", gradient=False),
    Sample("arange", (0.9, 5.9, 1.9), {"dtype": D("int8")}, op="arange", gradient=False),
    # Literal data
    *[Sample("tensor", (data,), gradient=False) for data in LITERALS],
    Sample("tensor", ([1, 2],), {"dtype": D("float16")}, gradient=False),
    Sample("tensor", ([1.7, -2.7],), {"dtype": D("int32")}, gradient=False, note="truncates"),
    Sample("tensor", ([-1, 255],), {"dtype": D("uint8")}, gradient=False, note="wraps around"),
    Sample("tensor", ([1e300],), {"dtype": D("float32")}, gradient=False, note="overflows to inf"),
    Sample("tensor", ([0, 1.5, float("nan")],), {"dtype": D("bool")}, gradient=False),
    Sample("as_tensor", ([1, 2.5],), gradient=False),
    Sample("as_tensor", (rand(3),), {"dtype": D("float32")}, differences=False),
    # Constants
    *[
        Sample(name, args, kwargs, op=op, gradient=False)
        for name, op in (("zeros", "zeros"), ("ones", "ones"))
        for args, kwargs in (
            ((2, 3), {}),
            (((2, 0),), {}),
            (([3],), {"dtype": D("int64")}),
            (((),), {}),
            ((2,), {"dtype": D("bool")}),
        )
    ],
    Sample("full", ((2, 3), 1.5), op="full", gradient=False),
    Sample("full", ((2,), 3), op="full", gradient=False),
    Sample("full", ((2,), True), op="full", gradient=False),
    Sample("full", ((2,), 1j), op="full", gradient=False),
    Sample("full", ((2,), 2.7), {"dtype": D("int64")}, op="full", gradient=False),
    Sample("full", ((2,), -1), {"dtype": D("uint8")}, op="full", gradient=False, note="wraps around"),
    Sample("eye", (3,), op="eye", gradient=False),
    Sample("eye", (2, 3), {"dtype": D("int64")}, op="eye", gradient=False),
    Sample("eye", (0,), op="eye", gradient=False),
    # Ranges
    *[
        Sample("arange", args, op="arange", gradient=False)
        for args in ((5,), (2, 7), (1, 8, 3), (0, 1, 0.3), (2.5,), (5, 0, -2), (0,), (True, 4), (2**62, 2**62 + 2), (1, 2, 0.1))
    ],
    Sample("arange", (5,), {"dtype": D("float64")}, op="arange", gradient=False),
    Sample("arange", (0.5, 3), {"dtype": D("int64")}, op="arange", gradient=False),
    Sample("arange", (300,), {"dtype": D("uint8")}, op="arange", gradient=False, note="wraps around"),
    *[
        Sample("linspace", args, op="linspace", gradient=False)
        for args in ((0, 1, 5), (3, -2, 4), (0, 1, 1), (0, 1, 0), (0, 1j, 3))
    ],
    Sample("linspace", (0, 10, 4), {"dtype": D("int64")}, op="linspace", gradient=False),
    Sample("linspace", (0, 1, 7), {"dtype": D("float64")}, op="linspace", gradient=False),
    Sample("logspace", (0, 3, 4), op="logspace", gradient=False),
    Sample("logspace", (0, 3, 4), {"base": 2.0, "dtype": D("float64")}, op="logspace", gradient=False),
    # Random numbers
    Sample("rand", (20, 30), op="rand", random=True, gradient=False),
    *[
        Sample("rand", ((500,),), {"dtype": D(t)}, op="rand", random=True, gradient=False)
        for t in ("float64", "float16", "complex64")
    ],
    Sample("randn", (20, 30), op="randn", random=True, gradient=False),
    *[
        Sample("randn", ((500,),), {"dtype": D(t)}, op="randn", random=True, gradient=False)
        for t in ("float64", "float16", "complex64")
    ],
    Sample("randint", (10, (500,)), op="randint", random=True, gradient=False),
    Sample("randint", (-3, 3, (20, 30)), {"dtype": D("int8")}, op="randint", random=True, gradient=False),
    Sample("randperm", (500,), op="randperm", random=True, gradient=False),
    Sample("normal", (2.0, 0.5, (500,)), op="normal", random=True, gradient=False),
    # Like another tensor
    *[
        Sample(name, args, kwargs, op=op, gradient=False)
        for name, op in (("zeros_like", "zeros_like"), ("ones_like", "ones_like"))
        for args, kwargs in (((rand(2, 3),), {}), ((ints(2),), {"dtype": D("float32")}), ((rand(),), {}), ((bools(0),), {}))
    ],
    Sample("full_like", (rand(2, 3), 2), op="full_like", gradient=False),
    Sample("full_like", (ints(2), 2.7), op="full_like", gradient=False),
    Sample("full_like", (ints(2), 2.7), {"dtype": D("float64")}, op="full_like", gradient=False),
    Sample("rand_like", (rand(20, 30),), op="rand_like", random=True, gradient=False),
    Sample("randn_like", (rand(20, 30),), op="randn_like", random=True, gradient=False),
    Sample("randint_like", (rand(20, 30), 5), op="randint_like", random=True, gradient=False),
    Sample("randint_like", (rand(20, 30), -2, 5), {"dtype": D("int64")}, op="randint_like", random=True, gradient=False),
    Sample("bernoulli", (np.full((20, 30), 0.3),), op="bernoulli", random=True),
    Sample("bernoulli", (rand(20, 30), 0.7), op="bernoulli", random=True),
    Sample("Tensor.new_full", (rand(2), (2, 3), 1.5), op="new_full", gradient=False),
    Sample("Tensor.new_full", (ints(2), (2,), 1.5), op="new_full", gradient=False),
    Sample("Tensor.new_zeros", (rand(2), 2, 3), op="new_full", gradient=False),
    Sample("Tensor.new_ones", (rand(2), (2, 3)), {"dtype": D("int64")}, op="new_full", gradient=False),
    Sample("Tensor.new_tensor", (rand(2), [1, 2]), gradient=False),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("linspace", (rand(2), 1, 3), error=RuntimeError, match="only supports 0-dimensional"),
    ErrorSample("tensor", ([[1, 2], [3]],), error=ValueError, match="expected sequence of length 2 at dim 1"),
    ErrorSample("tensor", ([[1, 2], 3],), error=TypeError, match="not a sequence"),
    ErrorSample("tensor", ([1, [2]],), error=TypeError, match="cannot be interpreted"),
    ErrorSample("tensor", ("abc",), error=TypeError, match="invalid data type 'str'"),
    ErrorSample("tensor", ([1, "a"],), error=TypeError, match="invalid data type 'str'"),
    ErrorSample("tensor", (None,), error=RuntimeError, match="Could not infer dtype of NoneType"),
    ErrorSample("tensor", ([1, None],), error=RuntimeError, match="Could not infer dtype of NoneType"),
    ErrorSample("tensor", ([2**63],), error=ValueError, match="Overflow when unpacking long"),
    ErrorSample("tensor", ([300],), {"dtype": D("uint8")}, error=RuntimeError, match="without overflow"),
    ErrorSample("tensor", ([-256],), {"dtype": D("uint8")}, error=RuntimeError, match="without overflow"),
    ErrorSample("tensor", ([-0.5],), {"dtype": D("uint8")}, error=RuntimeError, match="without overflow"),
    ErrorSample("tensor", ([float("nan")],), {"dtype": D("int64")}, error=RuntimeError, match="without overflow"),
    ErrorSample("tensor", ([1j],), {"dtype": D("float32")}, error=TypeError, match="must be real number, not complex"),
    ErrorSample(
        "tensor", ([1],), {"requires_grad": True}, error=RuntimeError, match="floating point and complex dtype can require"
    ),
    ErrorSample("tensor", ([1.0],), {"requires_grad": 1}, error=TypeError, match="must be bool"),
    ErrorSample("from_numpy", ([1],), error=TypeError, match="expected np.ndarray"),
    ErrorSample("zeros", (-1,), error=RuntimeError, match="negative"),
    ErrorSample("zeros", (), error=TypeError, match="size"),
    ErrorSample("zeros", (2.5,), error=TypeError, match="must be tuple of ints"),
    ErrorSample("zeros", (2**40, 2**40), error=RuntimeError),
    ErrorSample("zeros", (2,), {"dtype": D("int64"), "requires_grad": True}, error=RuntimeError, match="can require gradients"),
    ErrorSample("ones", (2, -1), error=RuntimeError, match="negative"),
    ErrorSample("full", ((2,), 300), {"dtype": D("uint8")}, error=RuntimeError, match="without overflow"),
    ErrorSample("full", ((2,), "a"), error=TypeError, match="must be Number"),
    ErrorSample("full", (2, 1.0), error=TypeError, match="must be tuple of ints"),
    ErrorSample("eye", (-1,), error=RuntimeError, match="n must be greater or equal to 0"),
    ErrorSample("eye", (2.0,), error=TypeError, match="must be int"),
    ErrorSample("arange", (0, 1, 0), error=RuntimeError, match="step must be nonzero"),
    ErrorSample("arange", (5, 2), error=RuntimeError, match="inconsistent with step sign"),
    ErrorSample("arange", (0, float("inf")), error=RuntimeError, match="unsupported range"),
    ErrorSample("arange", (0, 1e30), error=RuntimeError, match="invalid size"),
    ErrorSample("arange", (3,), {"dtype": D("bool")}, error=RuntimeError, match="not implemented"),
    ErrorSample("linspace", (0, 1, -1), error=RuntimeError, match="number of steps must be non-negative"),
    ErrorSample("linspace", (0, 1j, 3), {"dtype": D("float32")}, error=RuntimeError, match="can't be safely cast"),
    ErrorSample("linspace", (float("nan"), 5, 3), {"dtype": D("uint8")}, error=RuntimeError, match="without overflow"),
    ErrorSample("linspace", (0, 1e308, 3), error=RuntimeError, match="without overflow"),
    ErrorSample("logspace", (1e308, 2, 5), {"dtype": D("int64")}, error=RuntimeError, match="without overflow"),
    ErrorSample("logspace", (0, 1, -1), error=RuntimeError, match="number of steps must be non-negative"),
    ErrorSample("rand", (2,), {"dtype": D("int64")}, error=RuntimeError, match="not implemented"),
    ErrorSample("randn", (2,), {"dtype": D("int32")}, error=RuntimeError, match="not implemented"),
    ErrorSample("randint", (3, 3, (1,)), error=RuntimeError, match="to be less than"),
    ErrorSample("randint", (300, (1,)), {"dtype": D("uint8")}, error=RuntimeError, match="out of bounds"),
    ErrorSample("randint", (0, 5), error=TypeError, match="size"),
    ErrorSample("randperm", (-1,), error=RuntimeError, match="negative"),
    ErrorSample("randperm", (300,), {"dtype": D("uint8")}, error=RuntimeError, match="without overflow"),
    ErrorSample("normal", (0.0, -1.0, (2,)), error=RuntimeError, match="std >= 0"),
    ErrorSample("randint_like", (rand(2), 0), error=RuntimeError, match="to be less than"),
    ErrorSample("Tensor.new_full", (rand(2), (-1,), 0), error=RuntimeError, match="negative"),
    ErrorSample("rand_like", (ints(2),), error=RuntimeError, match="not implemented"),
    ErrorSample("bernoulli", (np.array([2.0]),), error=RuntimeError, match="Expected p_in >= 0"),
    ErrorSample("bernoulli", (ints(2),), error=RuntimeError, match="not implemented"),
    ErrorSample("zeros_like", (2,), error=TypeError, match="must be Tensor"),
]
