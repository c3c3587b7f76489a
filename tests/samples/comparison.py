"""Samples of comparison, logic, bits, tests of values, and choosing between values."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

TIED = np.array([-1.0, 0.0, 1.0, np.nan, np.inf])
OTHER = np.array([-1.0, 1.0, 0.0, 1.0, np.inf])
ODD = np.array([np.nan, np.inf, -np.inf, 0.0])

SAMPLES: list[Sample] = [
    *[Sample(name, (TIED, OTHER), op=name, gradient=False) for name in ("eq", "ne", "lt", "le", "gt", "ge")],
    *[Sample(name, (ints(2, 3), ints(3, seed=1)), op=name, gradient=False) for name in ("eq", "ne", "lt", "le", "gt", "ge")],
    *[Sample(name, (ints(5), 0.5), op=name, gradient=False) for name in ("eq", "ne", "lt", "le", "gt", "ge")],
    *[
        Sample(f"Tensor.__{name}__", (rand(2, 1), rand(3, seed=1)), op=name, gradient=False)
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ],
    *[
        Sample(f"Tensor.{name}_", (ints(5), ints(5, seed=1)), op=name, gradient=False)
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ],
    Sample("eq", (complexes(3), complexes(3)), op="eq", gradient=False),
    Sample(
        "eq",
        (ints(5, dtype="uint8", low=40, high=48), 300),
        op="eq",
        gradient=False,
        torch=False,
        note="PyTorch wraps the number around",
    ),
    Sample("eq", (rand(0), 1), op="eq", gradient=False),
    *[
        Sample(name, (ints(6, low=0, high=2), rand(6).round()), op=name, gradient=False)
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    Sample("logical_and", (complexes(2), bools(3, 1)), op="logical_and", gradient=False),
    Sample("logical_not", (ints(6, low=0, high=2),), op="logical_not", gradient=False),
    *[
        Sample(f"Tensor.{name}_", (ints(6, low=0, high=2), ints(6, low=0, high=2, seed=1)), op=name, gradient=False)
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    Sample("Tensor.logical_not_", (ints(6, low=0, high=2),), op="logical_not", gradient=False),
    *[
        Sample(name, (ints(2, 3), ints(3, seed=1)), op=name, gradient=False)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ],
    *[
        Sample(f"Tensor.__{name}__", (bools(6), bools(6, seed=1)), op=f"bitwise_{name}", gradient=False)
        for name in ("and", "or", "xor")
    ],
    *[Sample(f"Tensor.__r{name}__", (ints(6), 5), op=f"bitwise_{name}", gradient=False) for name in ("and", "or", "xor")],
    *[Sample(f"Tensor.__i{name}__", (ints(6), 5), op=f"bitwise_{name}", gradient=False) for name in ("and", "or", "xor")],
    *[
        Sample(f"Tensor.bitwise_{name}_", (ints(6), ints(6, seed=1)), op=f"bitwise_{name}", gradient=False)
        for name in ("and", "or", "xor")
    ],
    Sample("bitwise_not", (ints(6),), op="bitwise_not", gradient=False),
    Sample("bitwise_not", (bools(6),), op="bitwise_not", gradient=False),
    Sample("Tensor.__invert__", (bools(6),), op="bitwise_not", gradient=False),
    Sample("Tensor.bitwise_not_", (ints(6),), op="bitwise_not", gradient=False),
    *[Sample(name, (ODD,), op=name, gradient=False) for name in ("isnan", "isinf", "isfinite")],
    *[Sample(name, (ints(3),), op=name, gradient=False) for name in ("isnan", "isinf", "isfinite")],
    *[Sample(name, (ODD + 1j,), op=name, gradient=False) for name in ("isnan", "isinf", "isfinite")],
    Sample("isclose", (rand(2, 3), rand(2, 3) + 1e-7), op="isclose", gradient=False),
    Sample("isclose", (rand(2, 3), rand(3)), {"rtol": 0.5, "atol": 0.3}, op="isclose", gradient=False),
    Sample("isclose", (ODD, ODD), op="isclose", gradient=False),
    Sample("isclose", (ODD, ODD), {"equal_nan": True}, op="isclose", gradient=False),
    Sample("isclose", (ints(3), ints(3, seed=1)), {"rtol": 0.0, "atol": 2.0}, op="isclose", gradient=False),
    Sample("isclose", (complexes(3), complexes(3) + 1e-9), op="isclose", gradient=False),
    Sample("allclose", (rand(3), rand(3) + 1e-9), op="isclose", gradient=False),
    Sample("allclose", (rand(3), rand(3) + 1), op="isclose", gradient=False),
    Sample("equal", (rand(3), rand(3)), op="eq", gradient=False),
    Sample("equal", (rand(3), rand(1, 3)), op="eq", gradient=False),
    *[Sample(name, (rand(2, 3), rand(3, seed=1)), op=name) for name in ("maximum", "minimum")],
    *[
        Sample(name, (TIED, OTHER), op=name, differences=False, second=False, note="ties and nan")
        for name in ("maximum", "minimum")
    ],
    *[Sample(name, (ints(3), rand(3)), op=name, note="promotes") for name in ("maximum", "minimum")],
    Sample("clamp", (rand(2, 3),), {"min": -0.5, "max": 0.7}, op="clamp"),
    Sample("clamp", (rand(2, 3), 0.1), op="clamp"),
    Sample("clamp", (rand(2, 3),), {"max": 0.1}, op="clamp"),
    Sample("clamp", (rand(2, 3), rand(3, low=-1, high=0), rand(2, 1, low=0.2, high=1)), op="clamp"),
    Sample("clamp", (rand(2, 3),), {"min": rand(3, seed=3)}, op="clamp"),
    Sample("clamp", (rand(2, 3),), {"max": rand(3, seed=3)}, op="clamp"),
    Sample("clamp", (rand(4), rand(4, seed=1), rand(4, seed=2)), op="clamp", note="bounds that cross"),
    Sample("clamp", (rand(4), 1.0, -1.0), op="clamp", second=False, note="bounds that cross"),
    Sample("clamp", (np.array([-1.0, 0.0, 1.0, np.nan]), -1.0, 1.0), op="clamp", differences=False, note="at the bounds"),
    Sample("clamp", (ints(5), 0), op="clamp", gradient=False),
    Sample("clamp", (ints(5), 0.5), op="clamp", gradient=False, note="promotes"),
    Sample("clip", (rand(3), -0.5, 0.5), op="clamp"),
    Sample("clamp_min", (rand(3), 0.1), op="clamp_min"),
    Sample("clamp_min", (rand(3), rand(3, seed=1)), op="clamp_min"),
    Sample("clamp_max", (rand(3), 0.1), op="clamp_max"),
    Sample("clamp_max", (rand(2, 3), rand(3, seed=1)), op="clamp_max"),
    Sample("clamp_min", (TIED, 0.0), op="clamp_min", differences=False, note="at the bound"),
    Sample("clamp_max", (TIED, 0.0), op="clamp_max", differences=False, note="at the bound"),
    Sample("clamp_min", (ints(5), 0.5), op="clamp_min", gradient=False, note="promotes"),
    Sample("Tensor.clamp_", (rand(2, 3), -0.5, 0.5), op="clamp"),
    Sample("Tensor.clamp_min_", (rand(3), 0.1), op="clamp_min"),
    Sample("Tensor.clamp_max_", (rand(3), 0.1), op="clamp_max"),
    Sample("where", (bools(2, 3), rand(2, 3), rand(3, seed=1)), op="where"),
    Sample("where", (bools(3), rand(2, 1), rand(seed=1)), op="where", note="all broadcast"),
    Sample("where", (bools(3), rand(3), 0.5), op="where"),
    Sample("where", (bools(3), 0.5, rand(3)), op="where"),
    Sample("where", (bools(3), 1, 2), op="where", gradient=False),
    Sample("where", (bools(3), 1.5, 2), op="where", gradient=False),
    Sample("where", (bools(3), ints(3), rand(3, dtype="float32")), op="where", note="promotes"),
    Sample("where", (bools(3), complexes(3), rand(3)), op="where", torch=False, note="PyTorch's backward fails"),
    Sample("where", (bools(2, 3),), op="nonzero", gradient=False, note="condition alone"),
    Sample("Tensor.where", (rand(3), bools(3), rand(3, seed=1)), op="where"),
    Sample("Tensor.where", (rand(2, 3), bools(3), 0.0), op="where"),
    *[
        Sample(call, args, op=f"bitwise_{side}_shift", gradient=False)
        for side, operator in (("left", "lshift"), ("right", "rshift"))
        for call, args in (
            (f"bitwise_{side}_shift", (ints(2, 3), ints(3, low=0, high=4))),
            (f"bitwise_{side}_shift", (ints(4, dtype="int32"), ints(4, dtype="uint8", low=0, high=40))),
            (f"bitwise_{side}_shift", (ints(3, dtype="int8"), -1)),
            (f"Tensor.bitwise_{side}_shift_", (ints(3), 70)),
            (f"Tensor.__{operator}__", (ints(3), 1)),
            (f"Tensor.__r{operator}__", (ints(3, low=0, high=5), 9)),
            (f"Tensor.__i{operator}__", (ints(2, 2), ints(2, low=0, high=3))),
        )
    ],
    *[Sample(name, (ODD,), op=name, gradient=False) for name in ("isposinf", "isneginf", "isreal")],
    *[Sample(name, (ints(3),), op=name, gradient=False) for name in ("isposinf", "isneginf", "isreal")],
    Sample("isreal", (np.array([1j, 2 + 0j, complex(0, np.nan)]),), op="isreal", gradient=False),
    *[Sample(name, (rand(2, 3), rand(3, seed=1)), op=name) for name in ("fmax", "fmin")],
    *[Sample(name, (TIED, OTHER), op=name, differences=False, second=False, note="ties") for name in ("fmax", "fmin")],
    *[Sample(name, (OTHER, TIED), op=name, differences=False, second=False, note="other is nan") for name in ("fmax", "fmin")],
    *[Sample(name, (ints(3), bools(3)), op=name, gradient=False) for name in ("fmax", "fmin")],
]

ERRORS: list[ErrorSample] = [
    ErrorSample("isposinf", (complexes(2),), match="does not support complex inputs"),
    ErrorSample("isneginf", (complexes(2),), match="does not support complex inputs"),
    ErrorSample("fmax", (complexes(2), rand(2)), match="not implemented for complex tensors"),
    ErrorSample("fmin", (complexes(2), rand(2)), match="not implemented for complex tensors"),
    ErrorSample("bitwise_left_shift", (rand(2), 1), error=NotImplementedError, match="not implemented"),
    ErrorSample("bitwise_right_shift", (bools(2), bools(2)), error=NotImplementedError, match="not implemented"),
    ErrorSample("Tensor.__invert__", (rand(2),), error=TypeError, match="only implemented on integer and Boolean-type tensors"),
    ErrorSample("equal", (rand(2), 1.0), error=TypeError, match="must be Tensor, not float"),
    ErrorSample("eq", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("lt", (complexes(2), 1), error=RuntimeError, match="not implemented"),
    *[ErrorSample(f"bitwise_{name}", (rand(2), 1), error=RuntimeError, match="not implemented") for name in ("and", "or", "xor")],
    ErrorSample("logical_and", (rand(2), 1), error=TypeError, match="must be Tensor"),
    ErrorSample("bitwise_not", (rand(2),), error=RuntimeError, match="not implemented"),
    ErrorSample("isclose", (rand(2), rand(2, dtype="float32")), error=RuntimeError, match="did not match"),
    ErrorSample(
        "isclose", (rand(2), rand(2)), {"rtol": -1.0}, error=RuntimeError, match="rtol must be greater than or equal to zero"
    ),
    ErrorSample("maximum", (complexes(2), complexes(2)), error=RuntimeError, match="not implemented for complex"),
    ErrorSample("clamp", (rand(2),), error=RuntimeError, match="At least one of 'min' or 'max'"),
    ErrorSample("clamp", (complexes(2), 0), error=RuntimeError, match=""),
    ErrorSample("clamp", (ints(2, dtype="uint8", low=0), 300), error=RuntimeError, match="without overflow"),
    ErrorSample("clamp_min", (complexes(2), 0), error=RuntimeError, match="not implemented"),
    ErrorSample("clamp_max", (bools(2), False), error=RuntimeError, match="not implemented"),
    ErrorSample("where", (ints(2), rand(2), rand(2)), error=RuntimeError, match="where expected condition to be a boolean tensor"),
    ErrorSample("where", (bools(2), rand(2)), error=TypeError),
    ErrorSample("where", (bools(2), rand(3), rand(3)), error=RuntimeError, match="must match the size"),
]
