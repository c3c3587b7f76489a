"""Samples of roots, exponentials, logarithms, trigonometry, hyperbolic functions and their relatives."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, complexes, ints, rand

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 700.0, -700.0])
POSITIVE = rand(2, 3, low=0.3)
INSIDE = rand(2, 3, low=-0.9, high=0.9)
ABOVE_ONE = rand(2, 3, low=1.2, high=3.0)

DOMAINS = {
    "sqrt": POSITIVE,
    "rsqrt": POSITIVE,
    "log": POSITIVE,
    "log2": POSITIVE,
    "log10": POSITIVE,
    "log1p": INSIDE,
    "asin": INSIDE,
    "acos": INSIDE,
    "atanh": INSIDE,
    "acosh": ABOVE_ONE,
} | {
    name: rand(2, 3)
    for name in (
        *("reciprocal", "exp", "exp2", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh"),
        *("sigmoid", "erf", "erfc", "deg2rad", "rad2deg"),
    )
}
IN_PLACE_WITHOUT_DERIVATIVE = ("asinh", "acosh", "atanh")
REAL_ONLY = frozenset({"erf", "erfc", "deg2rad", "rad2deg"})

SAMPLES: list[Sample] = [
    Sample("logit", (rand(5, low=0.1, high=0.9), 0.7), op="logit", gradient=False, note="bounds that cross"),
    *[Sample(name, (x,), op=name) for name, x in DOMAINS.items()],
    *[Sample(name, (np.asarray(x[0, 0]),), op=name, note="0-d") for name, x in DOMAINS.items()],
    *[Sample(name, (ints(4, low=1, high=3),), op=name, gradient=False) for name in DOMAINS],
    *[Sample(name, (SPECIAL,), op=name, gradient=False, note="special values") for name in DOMAINS],
    *[Sample(f"Tensor.{name}_", (x,), op=name) for name, x in DOMAINS.items() if name not in IN_PLACE_WITHOUT_DERIVATIVE],
    *[
        Sample(f"Tensor.{name}_", (DOMAINS[name],), op=name, torch=False, note="PyTorch has no derivative")
        for name in IN_PLACE_WITHOUT_DERIVATIVE
    ],
    *[Sample(name, (complexes(4) * 0.6,), op=name) for name in DOMAINS if name not in REAL_ONLY],
    Sample("exp", (np.zeros((0, 3)),), op="exp"),
    Sample("erf", (np.array([-6.0, -3.0, -0.6, -0.2, 1e-9, 0.4, 0.5, 3.9, 4.1, 8.0]),), op="erf", note="every interval"),
    Sample("erfc", (np.array([-6.0, -3.0, -0.6, -0.2, 1e-9, 0.4, 0.5, 3.9, 4.1, 8.0]),), op="erfc", note="every interval"),
    Sample("arcsin", (INSIDE,), op="asin"),
    Sample("arccos", (INSIDE,), op="acos"),
    Sample("arctan", (INSIDE,), op="atan"),
    Sample("arcsinh", (INSIDE,), op="asinh"),
    Sample("arccosh", (ABOVE_ONE,), op="acosh"),
    Sample("arctanh", (INSIDE,), op="atanh"),
    Sample("atan2", (rand(2, 3), rand(3, seed=1)), op="atan2"),
    Sample("atan2", (ints(3), ints(3, seed=1)), op="atan2", gradient=False),
    Sample("atan2", (np.zeros(2), np.array([0.0, -1.0])), op="atan2", differences=False, second=False, note="at the origin"),
    Sample("arctan2", (rand(2, 1), rand(3, seed=1)), op="atan2"),
    Sample("Tensor.atan2_", (rand(2, 3), rand(3, seed=1)), op="atan2"),
    Sample("logaddexp", (rand(2, 3), rand(3, seed=1)), op="logaddexp"),
    Sample(
        "logaddexp", (1000 * rand(4), 1000 * rand(4, seed=1)), op="logaddexp", note="far apart", differences=False, second=False
    ),
    Sample("logaddexp", (complexes(3), complexes(3, seed=2)), op="logaddexp"),
    Sample("nan_to_num", (rand(2, 3),), op="nan_to_num"),
    Sample("nan_to_num", (SPECIAL,), op="nan_to_num", differences=False),
    Sample("nan_to_num", (SPECIAL,), {"nan": 2.0, "posinf": 3.0, "neginf": -1.0}, op="nan_to_num", differences=False),
    Sample("nan_to_num", (ints(3),), op="nan_to_num", gradient=False),
    Sample("Tensor.nan_to_num_", (SPECIAL,), {"nan": 1.0}, op="nan_to_num", differences=False),
    Sample("logaddexp2", (rand(2, 3), rand(3, seed=1)), op="logaddexp2"),
    Sample("logaddexp2", (1000 * rand(4), 1000 * rand(4, seed=1)), op="logaddexp2", differences=False, second=False, note="far"),
    Sample("hypot", (rand(2, 3), rand(3, seed=1)), op="hypot"),
    Sample("hypot", (np.array([1e200, 3.0]), np.array([1e200, np.inf])), op="hypot", gradient=False, float32=False),
    Sample("Tensor.hypot_", (rand(3), rand(3, seed=1)), op="hypot"),
    Sample("xlogy", (rand(2, 3), rand(3, low=0.3, seed=1)), op="xlogy"),
    Sample("xlogy", (np.zeros(4), np.array([-1.0, 0.0, 2.0, np.nan])), op="xlogy", differences=False, second=False, note="0"),
    Sample("xlogy", (2.5, POSITIVE), op="xlogy"),
    Sample("xlogy", (rand(3), 2), op="xlogy"),
    Sample("xlogy", (ints(3), ints(3, low=1)), op="xlogy", gradient=False),
    Sample("Tensor.xlogy_", (rand(3), rand(3, low=0.3, seed=1)), op="xlogy"),
    Sample("sinc", (rand(2, 3),), op="sinc"),
    Sample("sinc", (complexes(3),), op="sinc"),
    Sample("sinc", (np.array([0.0, 0.5]),), op="sinc", second=False, note="at 0"),
    Sample("sinc", (ints(3),), op="sinc", gradient=False),
    Sample("Tensor.sinc_", (rand(3),), op="sinc"),
    Sample("logit", (rand(2, 3, low=0.1, high=0.9),), op="logit"),
    Sample("logit", (rand(2, 3, low=0.1, high=0.9),), {"eps": 0.3}, op="logit"),
    Sample("logit", (np.array([-0.5, 0.0, 1.0, 1.5]),), op="logit", differences=False, second=False, note="outside"),
    Sample("logit", (ints(2, low=0, high=2),), op="logit", gradient=False),
    Sample("Tensor.logit_", (rand(3, low=0.1, high=0.9),), {"eps": 0.2}, op="logit"),
    Sample("float_power", (rand(3, low=0.3), 2), op="pow"),
    Sample("float_power", (rand(3, low=0.3, dtype="float32"), rand(3)), op="pow"),
    Sample("float_power", (2, rand(3)), op="pow"),
    Sample("Tensor.float_power", (ints(3, low=1), 0.5), op="pow", gradient=False),
    Sample("float_power", (complexes(2, dtype="complex64"), 2), op="pow", gradient=False),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("logaddexp2", (ints(2), ints(2)), error=RuntimeError, match="not implemented"),
    ErrorSample("hypot", (ints(2), ints(2)), error=NotImplementedError, match="hypot"),
    ErrorSample("xlogy", (complexes(2), rand(2)), error=NotImplementedError, match="xlogy"),
    ErrorSample("logit", (complexes(2),), error=NotImplementedError, match="logit"),
    ErrorSample("float_power", (2.0, 3.0), error=TypeError, match="Tensor"),
    ErrorSample("exp", (2.0,), error=TypeError, match="must be Tensor"),
    ErrorSample("erf", (complexes(2),), error=RuntimeError, match="not implemented"),
    ErrorSample("atan2", (complexes(2), complexes(2)), error=RuntimeError, match="not implemented"),
    ErrorSample("atan2", (rand(2), rand(3)), error=RuntimeError, match="must match the size"),
    ErrorSample("logaddexp", (ints(2), ints(2)), error=RuntimeError, match="not implemented"),
    ErrorSample("deg2rad", (complexes(2),), error=RuntimeError, match="complex tensors"),
    ErrorSample("Tensor.exp_", (ints(2),), error=RuntimeError, match="can't be cast"),
    ErrorSample("Tensor.sqrt_", (ints(2),), error=RuntimeError, match="can't be cast"),
]
