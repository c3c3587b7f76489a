"""Samples of the reduce family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.samples import D, ErrorSample, Sample, bools, complexes, ints, rand


def _each(call: str, op: str, *cases: tuple[Any, ...], **settings: Any) -> list[Sample]:
    """One sample per tuple of positional arguments."""
    return [Sample(call, case, op=op, **settings) for case in cases]


def _with(call: str, op: str, x: Any, *cases: dict[str, Any], **settings: Any) -> list[Sample]:
    """One sample of ``x`` per set of keywords."""
    return [Sample(call, (x,), case, op=op, **settings) for case in cases]


X = rand(2, 3)
CUBE = rand(2, 3, 4)
NARROW = rand(2, 3, dtype="float32")
TIES = np.array([[1.0, 2.0, 2.0], [2.0, 1.0, 1.0]])
NAN = np.array([1.0, math.nan, 3.0, math.nan])
INFINITE = np.array([[math.inf, 1.0], [-math.inf, -math.inf]])
ZEROS = np.array([[0.0, 2.0, 3.0, -1.0], [0.0, 0.5, 0.0, 4.0]])
"""Products over it have no, one and two zeros among the other elements."""

SUMS = [
    *_each(
        "sum", "sum", (X,), (X, 0), (X, -1), (CUBE, (0, 2)), (X, ()), (X, None), (rand(),), (rand(), 0), (rand(0),), (rand(0, 2), 0)
    ),
    *_each("sum", "sum", (ints(2, 3),), (bools(2, 3), 1), (complexes(2, 2), 0), (ints(3, dtype="uint8"),), (X, 0, True)),
    *_with("sum", "sum", X, {"dim": (0, 1), "keepdim": True}),
    *_with("sum", "sum", NARROW, {"dtype": D("float64")}),
    *_with("sum", "sum", ints(2, 2), {"dtype": D("float64")}, {"dtype": D("bool")}, {"dim": 0, "dtype": D("int8")}),
    Sample("Tensor.sum", (CUBE, -2), {"keepdim": True}, op="sum"),
    Sample("sum", (rand(4000, dtype="float16"),), op="sum", differences=False),
    *_each("nansum", "nansum", (X,), (X, 0), (X, (0, 1), True), (ints(3),)),
    *_each("nansum", "nansum", (NAN,), (NAN, 0, True), differences=False),
    *_each("mean", "mean", (X,), (X, 0), (X, -1, True), (CUBE, (0, 2)), (rand(),), (complexes(2, 2),), (rand(3, 0), 0), (X, ())),
    *_each("mean", "mean", (rand(0),), (rand(0, 3), 0), differences=False),
    *_with("mean", "mean", ints(2, 2), {"dtype": D("float32")}, {"dim": 0, "dtype": D("float64")}),
    Sample("Tensor.mean", (X,), op="mean"),
    *_each(
        "prod",
        "prod",
        (X,),
        (X, 0),
        (X, 1, True),
        (rand(),),
        (rand(), 0),
        (rand(0),),
        (rand(0, 2), 0),
        (rand(2, 0), 0),
        (rand(3, 1), 1),
    ),
    *_each("prod", "prod", (ints(2, 3),), (bools(2, 2), 0), (complexes(2, 3), 1), (complexes(3),)),
    *_each("prod", "prod", (ZEROS,), (ZEROS, 0), (ZEROS, 1), (ZEROS[0],), note="zeros"),
    Sample("prod", (NARROW,), {"dtype": D("float64")}, op="prod"),
    Sample("prod", (ints(3, dtype="int8"),), {"dtype": D("int64")}, op="prod"),
    Sample("prod", (ints(3),), {"dtype": D("bool")}, op="prod"),
]

MOMENTS = [
    *[
        sample
        for name in ("var", "std")
        for sample in (
            *_each(
                name, name, (X,), (X, 0), (X, 1, False), (X, 0, True, True), (X, (0, 1)), (CUBE, (0, 2), False, True), (X, False)
            ),
            *_each(name, name, (X, None), (complexes(2, 3), 1), (rand(2, 0), 0), (rand(5, dtype="float16"),)),
            *_with(name, name, X, {"correction": 0}, {"dim": 0, "correction": 1}, {"dim": 1, "correction": 0.5, "keepdim": True}),
            *_with(name, name, X, {"unbiased": True}, {"dim": None, "keepdim": True}),
            *_each(name, name, (rand(1),), (rand(0),), (rand(),), differences=False, second=False),
            Sample(name, (X, 0), {"correction": 2}, op=name, differences=False, second=False, note="no degree of freedom"),
        )
    ],
    Sample("std", (np.ones(3),), op="std", differences=False, second=False, note="constant"),
    Sample("var", (np.ones(3),), op="var", note="constant"),
]

NORMS = [
    *_each(
        "norm",
        "norm",
        (X, 1),
        (X, math.inf),
        (X, -math.inf),
        (X, math.inf, 1),
        (X, -math.inf, 0, True),
        (rand(2, 0), 1, 1),
        second=False,
    ),
    *_each(
        "norm",
        "norm",
        (X,),
        (X, 2),
        (X, "fro", 0),
        (X, None, 1),
        (X, 3, (0, 1)),
        (X, 2.5, 0, True),
        (X, 0.5),
        (X, -1, 1),
        (rand(),),
    ),
    *_each("norm", "norm", (X, 1.5, 0), (CUBE, 2, (0, 1, 2))),
    *_each(
        "norm",
        "norm",
        (complexes(2, 2),),
        (complexes(2, 2), 1),
        (complexes(3), 3, 0),
        (complexes(3), 1.5),
        (complexes(3), math.inf),
        (complexes(3), 0.5),
    ),
    *_each("norm", "norm", (X, 0), (X, 0, 1), gradient=False),
    *_each(
        "norm", "norm", (np.array([[3.0, -4.0], [0.0, 0.0]]), 2, 1), (np.zeros(2),), differences=False, second=False, note="zeros"
    ),
    *_each(
        "norm",
        "norm",
        *[(np.array([[3.0, -4.0], [0.0, 0.0]]), p, 1) for p in (1, 3, 2.5, 0.5, 1.5, -1, math.inf)],
        differences=False,
        second=False,
        note="zero row",
    ),
    *_each("norm", "norm", (TIES, math.inf), (TIES, -math.inf, 0), differences=False, second=False, note="ties"),
    *_each("norm", "norm", (rand(0),), (rand(2, 0), 2, 0)),
    *_with("norm", "norm", rand(3, dtype="float32"), {"dtype": D("float64")}, {"keepdim": True}),
    Sample("norm", (rand(3, dtype="float16"),), {"p": 3}, op="norm", differences=False),
    Sample("Tensor.norm", (X, "fro"), {"dim": (0, 1)}, op="norm"),
    *_each(
        "logsumexp",
        "logsumexp",
        (X, 0),
        (X, 1, True),
        (CUBE, (0, 2)),
        (rand(), 0),
        (rand(3, 0), 0),
        (ints(3), 0),
        (bools(3), 0),
    ),
    Sample("logsumexp", (rand(0, 3), 0), op="logsumexp", differences=False),
    *_each("logsumexp", "logsumexp", (X * 1e4, 1), (complexes(3), 0)),
    *_each("logsumexp", "logsumexp", (INFINITE, 1), (INFINITE, 0), differences=False, second=False, note="infinite"),
]

EXTREMES = [
    *[
        sample
        for name in ("max", "min")
        for sample in (
            *_each(name, name, (X,), (rand(),), (ints(2, 3),), (bools(3),)),
            *_each(
                name,
                f"{name}.dim",
                (X, 0),
                (X, -1),
                (CUBE, 1, True),
                (rand(), 0),
                (rand(0, 3), 1),
                (ints(2, 3), 1),
                (bools(3, 2), 0),
            ),
            *_each(name, name, (TIES,), (NAN,), differences=False, second=False),
            *_each(name, f"{name}.dim", (TIES, 0), (TIES, 1), (NAN, 0), differences=False, second=False),
            *_each(name, f"{name}imum", (X, rand(2, 3, seed=1))),
            Sample(f"Tensor.{name}", (X,), {"other": rand(3, seed=1)}, op=f"{name}imum"),
            *_each(
                f"a{name}",
                f"a{name}",
                (X,),
                (X, 0),
                (X, (0, 1), True),
                (CUBE, (0, -1)),
                (rand(),),
                (rand(0, 3), 1),
                (ints(2, 3), 1),
                (bools(3),),
            ),
            *_each(f"a{name}", f"a{name}", (TIES,), (TIES, 1), (NAN,), (TIES, (0, 1)), differences=False, second=False),
            *_each(
                f"arg{name}",
                f"arg{name}",
                (X,),
                (X, 0),
                (X, 1, True),
                (X, None, True),
                (rand(),),
                (TIES, 1),
                (NAN,),
                (ints(2, 3), -1),
                (rand(0, 3), 1),
            ),
        )
    ],
    *_with("aminmax", "aminmax", X, {}, {"dim": 0}, {"dim": -1, "keepdim": True}, {"keepdim": True}),
    *_with("aminmax", "aminmax", TIES, {}, {"dim": 1}, differences=False, second=False, note="ties"),
    Sample("aminmax", (rand(),), {"dim": 0}, op="aminmax"),
    Sample("aminmax", (ints(2, 3),), op="aminmax"),
]

TESTS = [
    *[
        sample
        for name in ("all", "any")
        for sample in (
            *_each(
                name,
                name,
                (bools(2, 3),),
                (bools(2, 3), 0),
                (bools(2, 3), (0, 1), True),
                (X, 1),
                (ints(3),),
                (complexes(2),),
                (rand(0),),
            ),
            *_each(name, name, (rand(0, 2), 0), (rand(), 0), (ints(3, low=0, high=2, dtype="uint8"),), (bools(2, 3), ()), (NAN,)),
        )
    ],
    *_each(
        "count_nonzero",
        "count_nonzero",
        (ZEROS,),
        (ZEROS, 1),
        (ZEROS, (0, 1)),
        (bools(2, 3), 0),
        (complexes(2),),
        (rand(0),),
        (rand(), 0),
    ),
]

RUNNING = [
    *_each("cumsum", "cumsum", (X, 0), (X, -1), (rand(), 0), (rand(0, 2), 0), (ints(2, 3), 1), (bools(3), 0), (complexes(3), 0)),
    Sample("cumsum", (NARROW, 1), {"dtype": D("float64")}, op="cumsum"),
    Sample("cumsum", (ints(2, 3), 1), {"dtype": D("int16")}, op="cumsum"),
    Sample("Tensor.cumsum_", (X, 1), op="cumsum"),
    Sample("Tensor.cumsum_", (ints(3, dtype="int32"), 0), op="cumsum"),
    *_each(
        "cumprod",
        "cumprod",
        (X, 0),
        (X, -1),
        (CUBE, 1),
        (rand(), 0),
        (rand(0, 2), 0),
        (ints(2, 3), 1),
        (bools(3), 0),
        (complexes(2, 4), 1),
    ),
    *_each("cumprod", "cumprod", (ZEROS, 0), (ZEROS, 1), (np.zeros(4), 0), note="zeros"),
    Sample("cumprod", (NARROW, 1), {"dtype": D("float64")}, op="cumprod"),
    Sample("Tensor.cumprod_", (X, 1), op="cumprod"),
    *[
        sample
        for name in ("cummax", "cummin")
        for sample in (
            *_each(name, name, (X, 0), (X, -1), (CUBE, 1), (rand(), 0), (rand(0, 2), 0), (ints(2, 5), 1), (bools(4), 0)),
            *_each(name, name, (TIES, 1), (NAN, 0), differences=False, second=False),
        )
    ],
    # Differences and means that are made of the above
    Sample("diff", (rand(2, 4),), op="narrow"),
    Sample("diff", (rand(4, 2), 2, 0), op="narrow"),
    Sample("diff", (rand(2, 3),), {"prepend": rand(2, 1), "append": rand(2, 2)}, op="cat"),
    Sample("diff", (rand(2, 3), 5), op="narrow", second=False),
    Sample("diff", (rand(3), 0), op="clone"),
    Sample("diff", (bools(5),), op="logical_xor", gradient=False),
    Sample("nanmean", (rand(2, 3), 1, True), op="nansum"),
    Sample("nanmean", (np.array([[1.0, np.nan], [2.0, 3.0]]), 0), op="nansum", differences=False),
    *[
        Sample(call, (rand(2, 3), *dims), settings, op=call[:3])
        for call in ("var_mean", "std_mean")
        for dims, settings in (((), {}), ((1,), {"correction": 0, "keepdim": True}), ((False,), {}), (((0, 1),), {}))
    ],
]

SAMPLES: list[Sample] = [*SUMS, *MOMENTS, *NORMS, *EXTREMES, *TESTS, *RUNNING]

_NO_ORDER = "not implemented"
ERRORS: list[ErrorSample] = [
    ErrorSample("diff", (rand(),), match="at least one-dimensional"),
    ErrorSample("diff", (rand(3), -1), match="order must be non-negative"),
    ErrorSample("diff", (rand(2, 3),), {"prepend": rand(3)}, match="same dimension as input"),
    ErrorSample("nanmean", (ints(3),), match="expected input to have floating point or complex dtype"),
    ErrorSample("var_mean", (ints(3),), match="only support floating point"),
    ErrorSample("std_mean", (ints(3),), match="only support floating point"),
    *[
        ErrorSample(name, (X, 2), error=IndexError, match="Dimension out of range")
        for name in (
            "sum",
            "mean",
            "prod",
            "var",
            "std",
            "max",
            "amin",
            "argmax",
            "all",
            "count_nonzero",
            "logsumexp",
            "cumsum",
            "cumprod",
        )
    ],
    *[
        ErrorSample(name, (X, (0, 0)), match="appears multiple times")
        for name in ("sum", "mean", "var", "amax", "any", "logsumexp", "nansum", "count_nonzero")
    ],
    *[
        ErrorSample(name, (X, 1.5), error=TypeError, match="must be")
        for name in ("sum", "mean", "prod", "std", "min", "amax", "argmin", "logsumexp", "cumsum")
    ],
    ErrorSample("norm", (X, 2, 2), error=IndexError, match="Dimension out of range"),
    ErrorSample("sum", (X, 0, 1), error=TypeError, match="must be bool"),
    ErrorSample("mean", (ints(2),), match="could not infer output dtype. Input dtype must be"),
    ErrorSample("mean", (X,), {"dtype": D("int32")}, match="could not infer output dtype. Optional dtype must be"),
    ErrorSample("var", (ints(2),), match="only support floating point and complex"),
    ErrorSample("std", (bools(2),), match="only support floating point and complex"),
    ErrorSample("var", (X, 0), {"unbiased": True, "correction": 1}, error=TypeError, match="not both"),
    ErrorSample("nansum", (complexes(2),), match="does not support complex"),
    ErrorSample("norm", (ints(2),), match="Expected a floating point or complex tensor"),
    ErrorSample("norm", (X,), {"dtype": D("int32")}, match="should be floating point or complex"),
    ErrorSample("norm", (rand(0), math.inf), match="does not have an identity"),
    ErrorSample("norm", (rand(0, 3), math.inf, 0), match="does not have an identity"),
    ErrorSample("norm", (X, "x"), match="Order x not supported"),
    ErrorSample("norm", (CUBE, "nuc"), match="dim must be a 2-tuple"),
    ErrorSample("norm", (X, "nuc", 1), match="dim must be a 2-tuple"),
    ErrorSample("norm", (rand(2), "nuc"), match="must have at least 2 dimensions"),
    ErrorSample("max", (rand(0, 3),), match="to be specified for input.numel() == 0"),
    ErrorSample("min", (rand(0, 3), 0), error=IndexError, match="to have non-zero size"),
    ErrorSample("max", (complexes(2),), match=_NO_ORDER, torch=False),
    ErrorSample("amax", (rand(0, 3),), match="to be specified for input.numel() == 0"),
    ErrorSample("amin", (rand(0, 3), 0), error=IndexError, match="to have non-zero size"),
    ErrorSample("aminmax", (rand(0, 3),), {"dim": 0}, error=IndexError, match="to have non-zero size"),
    ErrorSample("argmax", (rand(0, 3),), error=IndexError, match="to be specified for input.numel() == 0"),
    ErrorSample("argmin", (rand(0, 3), 0), error=IndexError, match="to have non-zero size"),
    ErrorSample("argmax", (bools(2),), match="does not support bool input"),
    ErrorSample("argmax", (complexes(2),), match="does not support complex input"),
    ErrorSample("cumprod", (ints(3), 0), {"dtype": D("bool")}, match=_NO_ORDER, torch=False),
]
