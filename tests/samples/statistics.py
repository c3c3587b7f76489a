"""Samples of the statistics family, and of the ops made of others that integrate and differentiate samples."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

_HOLES = np.array([[1.0, np.nan, -2.0, 0.5, 4.0], [3.0, 2.5, 0.0, np.nan, np.nan], [5.0, 1.5, 2.0, -1.0, 0.25]])
_TIES = np.array([[2.0, 1.0, 1.0, 2.0, 1.0], [3.0, 3.0, 0.0, 0.0, 7.0]])


def _along(call: str, *first: int) -> list[Sample]:
    """Calls that choose a value along a dimension."""
    op = call if first or call == "mode" else f"{call}.dim"
    return [
        Sample(call, (rand(4, 5), *first, 0), op=op),
        Sample(call, (rand(2, 3, 4), *first, -2, True), op=op),
        Sample(call, (rand(), *first, 0), op=op),
        Sample(call, (rand(5, dtype="float32"), *first, 0), op=op, note="single"),
        Sample(call, (np.array([3, 1, 2]), *first, 0), op=op, gradient=False, note="integers"),
        Sample(call, (np.zeros((0, 2)), *first, 1), op=op, gradient=False, note="nothing to choose for"),
    ]


def _quantiles(call: str) -> list[Sample]:
    return [
        *[
            Sample(call, (rand(4, 5), 0.3, 1), {"interpolation": how}, op=call)
            for how in ("linear", "lower", "higher", "midpoint", "nearest")
        ],
        Sample(call, (rand(4, 5), 0.6), op=call),
        Sample(call, (rand(4, 5), np.array([0.1, 0.9, 0.35]), 0, True), op=call),
        Sample(call, (rand(4, 5), np.array([0.1, 0.9])), {"keepdim": True}, op=call),
        Sample(call, (rand(2, 3, 4), np.array(0.4), -1), op=call),
        Sample(call, (rand(), 0.4), op=call),
        Sample(call, (rand(3), 1), op=call, note="last"),
        Sample(call, (_HOLES, np.array([0.2, 0.7]), 1), op=call, gradient=call == "nanquantile", note="nan"),
    ]


SAMPLES: list[Sample] = [
    Sample("gradient", (rand(4),), {"spacing": None}),
    Sample(
        "cov",
        (rand(3, 4),),
        {"fweights": ints(4, low=1), "aweights": rand(4, low=0.5, seed=1, dtype="float32")},
        op="cov",
        second=False,
    ),
    *[sample for call in ("median", "nanmedian", "mode") for sample in _along(call)],
    *_along("kthvalue", 1),
    Sample("median", (rand(3, 4),), op="median"),
    Sample("median", (_TIES,), op="median", differences=False, note="ties"),
    Sample("median", (ints(6),), op="median", gradient=False),
    Sample("median", (_HOLES,), op="median", gradient=False, note="nan"),
    Sample("median", (_HOLES, 1), op="median.dim", gradient=False, note="nan"),
    Sample("nanmedian", (rand(3, 4),), op="nanmedian"),
    Sample("nanmedian", (_HOLES,), op="nanmedian", differences=False, note="nan"),
    Sample("nanmedian", (_HOLES, 1), op="nanmedian.dim", differences=False, note="nan"),
    Sample("mode", (_TIES,), op="mode", differences=False, note="ties"),
    Sample("mode", (bools(7),), op="mode", gradient=False, note="bool"),
    Sample("kthvalue", (rand(3, 4), 3), op="kthvalue"),
    *_quantiles("quantile"),
    *_quantiles("nanquantile"),
    Sample("logcumsumexp", (rand(3, 4), 1), op="logcumsumexp"),
    Sample("logcumsumexp", (rand(4, 2), -2), op="logcumsumexp"),
    Sample("logcumsumexp", (rand(), 0), op="logcumsumexp"),
    Sample("logcumsumexp", (np.array([800.0, -900.0, 801.0, 3.0]), 0), op="logcumsumexp", float32=False, note="large"),
    Sample("logcumsumexp", (complexes(4), 0), op="logcumsumexp", second=False),
    Sample("logcumsumexp", (np.zeros((0, 2)), 0), op="logcumsumexp", gradient=False, note="nothing"),
    Sample("cov", (rand(3, 5),), op="cov"),
    Sample("cov", (rand(5),), {"correction": 0}, op="cov"),
    Sample("cov", (rand(1, 5),), op="cov", note="one variable"),
    Sample("cov", (complexes(2, 4),), op="cov"),
    Sample("cov", (ints(2, 4),), op="cov", gradient=False),
    Sample("cov", (rand(3, 4),), {"fweights": np.array([1, 3, 2, 1])}, op="cov"),
    Sample("cov", (rand(3, 4),), {"aweights": rand(4, low=0.2)}, op="cov"),
    Sample("cov", (rand(3, 4),), {"aweights": rand(4, low=0.2), "fweights": np.array([1, 3, 2, 1]), "correction": 2}, op="cov"),
    Sample("corrcoef", (rand(3, 5),), op="corrcoef"),
    Sample("corrcoef", (rand(5),), op="corrcoef", second=False),
    Sample("corrcoef", (complexes(2, 4),), op="corrcoef", second=False),
    Sample("corrcoef", (ints(3, 4),), op="corrcoef", gradient=False),
    Sample("trapezoid", (rand(3, 4),)),
    Sample("trapezoid", (rand(3, 4), rand(3, seed=1)), {"dim": 0}),
    Sample("trapezoid", (rand(2, 3, 4), rand(3, 4, seed=1)), {"dim": 1}),
    Sample("trapezoid", (ints(2, 4),), {"dx": 0.5}, gradient=False),
    Sample("trapezoid", (np.zeros((2, 0)),), gradient=False, note="nothing"),
    Sample("trapz", (rand(3, 4),), {"dx": 2, "dim": 0}),
    Sample("cumulative_trapezoid", (rand(3, 4),)),
    Sample("cumulative_trapezoid", (rand(3, 4), rand(4, seed=1))),
    Sample("cumulative_trapezoid", (complexes(3),), {"dx": 2.5, "dim": 0}),
    Sample("gradient", (rand(4, 5),)),
    Sample("gradient", (rand(4, 5),), {"spacing": 2.0, "dim": 1, "edge_order": 2}),
    Sample("gradient", (rand(4, 5),), {"spacing": [2.0, 0.5]}),
    Sample("gradient", (rand(4, 3),), {"spacing": [np.array([0.0, 1.0, 3.0, 3.5]), np.array([0.0, 2.0, 3.0])]}),
    Sample("gradient", (rand(4),), {"spacing": (np.array([0.0, 1.0, 3.0, 3.5]),), "edge_order": 2}),
    Sample("gradient", (ints(4),), gradient=False),
    Sample("gradient", (complexes(4),)),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("median", (complexes(3),), error=NotImplementedError, match="median"),
    ErrorSample("median", (bools(3),), error=NotImplementedError, match="median"),
    ErrorSample("median", (np.zeros((2, 0)), 1), error=IndexError, match="non-zero size"),
    ErrorSample("nanmedian", (rand(3), 2), error=IndexError, match="out of range"),
    ErrorSample("mode", (np.zeros(0),), error=IndexError, match="non-zero size"),
    ErrorSample("kthvalue", (rand(3), 0), error=RuntimeError, match="out of range"),
    ErrorSample("kthvalue", (rand(3), 4), error=RuntimeError, match="out of range"),
    ErrorSample("quantile", (rand(3), 1.5), error=RuntimeError, match="range"),
    ErrorSample("quantile", (rand(3), np.array([0.5, -0.1])), error=RuntimeError, match="range"),
    ErrorSample("quantile", (rand(3), np.array([[0.5]])), error=RuntimeError, match="1D"),
    ErrorSample("quantile", (rand(3), np.array([0.5], "float32")), error=RuntimeError, match="same dtype"),
    ErrorSample("quantile", (ints(3), 0.5), error=RuntimeError, match="float or double"),
    ErrorSample("quantile", (np.zeros(0), 0.5), error=RuntimeError, match="non-empty"),
    ErrorSample("quantile", (rand(3), 0.5), {"interpolation": "cubic"}, error=RuntimeError, match="interpolation"),
    ErrorSample("nanquantile", (rand(3), [0.5]), error=TypeError, match="nanquantile"),
    ErrorSample("logcumsumexp", (ints(3), 0), error=NotImplementedError, match="logcumsumexp"),
    ErrorSample("logcumsumexp", (rand(3), 1), error=IndexError, match="out of range"),
    ErrorSample("cov", (rand(2, 2, 2),), error=RuntimeError, match="two or fewer"),
    ErrorSample("cov", (bools(3),), error=RuntimeError, match="bool"),
    ErrorSample("cov", (rand(3),), {"fweights": rand(3)}, error=RuntimeError, match="integral"),
    ErrorSample("cov", (rand(3),), {"aweights": rand(2, low=0.1)}, error=RuntimeError, match="numel"),
    ErrorSample("cov", (rand(3),), {"fweights": np.array([1, -1, 1])}, error=RuntimeError, match="negative"),
    ErrorSample("cov", (rand(3),), {"aweights": np.zeros(3)}, error=RuntimeError, match="zero"),
    ErrorSample("corrcoef", (rand(2, 2, 2),), error=RuntimeError, match="two or fewer"),
    ErrorSample("trapezoid", (rand(3), rand(2)), error=RuntimeError, match="one `x` value"),
    ErrorSample("trapezoid", (bools(3),), error=RuntimeError, match="bool"),
    ErrorSample("trapezoid", (rand(),), error=IndexError, match="no dimensions"),
    ErrorSample("gradient", (rand(4),), {"edge_order": 3}, error=RuntimeError, match="edge_order"),
    ErrorSample("gradient", (rand(1),), error=RuntimeError, match="at least"),
    ErrorSample("gradient", (rand(3, 3),), {"spacing": [1.0]}, error=RuntimeError, match="spacing"),
]
