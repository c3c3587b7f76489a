"""Samples of the counting family."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import Array, ErrorSample, Sample, bools, complexes, ints, rand


def _sorted(*shape: int, seed: int = 0) -> Array:
    return np.sort(rand(*shape, seed=seed), -1)


def _plain(call: str, *args: Any, op: str = "", note: str = "", **kwargs: Any) -> Sample:
    """A call whose result no gradient reaches."""
    return Sample(call, args, kwargs, op=op or call, gradient=False, note=note)


_REPEATED = ints(9, low=0, high=4)
_ROWS = ints(5, 2, low=0, high=2)
_ODD = np.array([np.nan, 1.0, np.nan])
_POINTS = rand(12, 2)

SAMPLES: list[Sample] = [
    *[Sample("nonzero_static", (np.array([[1.0, 0.0], [0.0, 2.0]]),), {"size": n}, gradient=False) for n in (0, 1, 3)],
    Sample("nonzero_static", (np.array([1, 0, 2]),), {"size": 4, "fill_value": 7}, gradient=False),
    _plain("bincount", _REPEATED),
    _plain("bincount", _REPEATED, minlength=7),
    _plain("bincount", _REPEATED, weights=rand(9)),
    _plain("bincount", _REPEATED, weights=rand(9, dtype="float32"), note="single weights"),
    _plain("bincount", _REPEATED.astype("uint8"), weights=ints(9), note="whole weights"),
    _plain("bincount", np.zeros(0, "int64"), minlength=2, note="nothing"),
    _plain("bucketize", rand(2, 3), _sorted(4)),
    _plain("bucketize", ints(5), np.array([-1, 0, 2]), right=True),
    _plain("bucketize", 1.5, np.array([1, 2, 3]), out_int32=True, note="number"),
    _plain("bucketize", rand(), _sorted(3)),
    _plain("searchsorted", _sorted(5), rand(2, 3)),
    _plain("searchsorted", _sorted(2, 5), rand(2, 3), right=True),
    _plain("searchsorted", np.array([1.0, 2.0, 2.0, 3.0]), np.array([2.0, np.nan]), side="right"),
    _plain("searchsorted", np.array([1, 2, 2, 3]), 2, out_int32=True, note="number"),
    _plain("searchsorted", rand(2, 5), rand(2, 3), sorter=np.argsort(rand(2, 5), -1), note="sorter"),
    _plain("histc", rand(20), bins=5),
    _plain("histc", rand(4, 5), bins=4, min=-1, max=1.5),
    _plain("histc", np.array([2.0, 2.0]), bins=4, note="one value"),
    _plain("histc", np.zeros(0), bins=3, note="nothing"),
    _plain("histogram", rand(20), 5, op="histogramdd"),
    _plain("histogram", rand(4, 5), 4, range=(-1.0, 1.5), density=True, op="histogramdd.edges"),
    _plain("histogram", rand(4, 5), np.array([-2.0, -0.5, 0.0, 2.0]), weight=rand(4, 5, low=0.0), op="histogramdd"),
    _plain("histogramdd", _POINTS, [2, 3]),
    _plain("histogramdd", _POINTS, 3, [-1.0, 1.0, -2.0, 2.0], density=True),
    _plain("histogramdd", rand(2, 6, 2), [np.array([-2.0, 0.0, 2.0]), np.array([-2.0, 2.0])], weight=rand(2, 6, low=0.0)),
    _plain("isin", ints(3, 4), ints(3)),
    _plain("isin", rand(3), np.array([np.nan, 1.0]), invert=True),
    _plain("isin", ints(5), 2, note="number among"),
    _plain("isin", 2, ints(5), assume_unique=False, note="number"),
    _plain("isin", ints(4), np.array([0.5, 1.0]), note="whole and fractional"),
    _plain("unique", _REPEATED),
    _plain("unique", _REPEATED.reshape(3, 3), return_inverse=True, return_counts=True),
    _plain("unique", _ROWS, dim=0, return_inverse=True, return_counts=True),
    _plain("unique", _ROWS, dim=-1, return_counts=True),
    _plain("unique", _ODD, return_counts=True, note="nan"),
    _plain("unique", bools(6), sorted=False, note="bool"),
    _plain("unique", ints(), return_inverse=True),
    _plain("unique", np.zeros(0), return_inverse=True, note="nothing"),
    _plain("unique_consecutive", _REPEATED),
    _plain("unique_consecutive", _REPEATED.reshape(3, 3), return_inverse=True, return_counts=True),
    _plain("unique_consecutive", _ROWS, dim=0, return_inverse=True, return_counts=True),
    _plain("unique_consecutive", _ODD, return_counts=True, note="nan"),
    Sample("msort", (rand(4, 3),), op="sort"),
    Sample("msort", (rand(),), op="sort"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("nonzero_static", (rand(2),), {"size": -1}, error=RuntimeError, match="non-negative"),
    ErrorSample("bincount", (rand(3),), error=NotImplementedError, match="bincount"),
    ErrorSample("bincount", (ints(2, 2),), error=RuntimeError, match="1-d"),
    ErrorSample("bincount", (np.array([-1, 2]),), error=RuntimeError, match="non-negative"),
    ErrorSample("bincount", (np.array([1, 2]),), {"minlength": -1}, error=RuntimeError, match="minlength"),
    ErrorSample("bincount", (np.array([1, 2]), rand(3)), error=RuntimeError, match="same length"),
    ErrorSample("bucketize", (rand(3), rand(2, 2)), error=RuntimeError, match="1 dimension"),
    ErrorSample("bucketize", (complexes(3), rand(2)), error=NotImplementedError, match="searchsorted"),
    ErrorSample("searchsorted", (rand(2, 3), rand(3)), error=RuntimeError, match="must match"),
    ErrorSample("searchsorted", (rand(2, 3), 1.0), error=RuntimeError, match="scalar"),
    ErrorSample("searchsorted", (rand(3), rand(2)), {"side": "middle"}, error=RuntimeError, match="side"),
    ErrorSample("searchsorted", (rand(3), rand(2)), {"side": "left", "right": True}, error=RuntimeError, match="opposites"),
    ErrorSample("searchsorted", (rand(3), rand(2)), {"sorter": ints(2, low=0, high=2)}, error=RuntimeError, match="same size"),
    ErrorSample("searchsorted", (rand(3), rand(2)), {"sorter": np.array([0, 1, 3])}, error=RuntimeError, match="out of range"),
    ErrorSample("histc", (ints(3),), error=NotImplementedError, match="histogram"),
    ErrorSample("histc", (rand(3),), {"bins": 0}, error=RuntimeError, match="bins"),
    ErrorSample("histc", (rand(3),), {"min": 2, "max": 1}, error=RuntimeError, match="larger"),
    ErrorSample("histc", (np.array([1.0, np.inf]),), error=RuntimeError, match="not finite"),
    ErrorSample("histogram", (rand(3), 2), {"range": (2.0, 1.0)}, error=RuntimeError, match="exceed"),
    ErrorSample("histogram", (rand(3), rand(2, dtype="float32")), error=RuntimeError, match="same dtype"),
    ErrorSample("histogramdd", (rand(3, 2), [2]), error=RuntimeError, match="innermost"),
    ErrorSample("histogramdd", (rand(3, 2), [2, 2], [0.0, 1.0]), error=RuntimeError, match="4 elements"),
    ErrorSample("histogramdd", (rand(3, 2), [2, 2]), {"weight": rand(2)}, error=RuntimeError, match="same shape"),
    ErrorSample("isin", (complexes(2), rand(2)), error=RuntimeError, match="isin"),
    ErrorSample("isin", (1, 2), error=TypeError, match="Tensor", torch=False, note="two numbers"),
    ErrorSample("unique", (complexes(2),), error=NotImplementedError, match="unique"),
    ErrorSample("unique", (rand(2),), {"dim": 3}, error=IndexError, match="out of range"),
    ErrorSample("unique", (np.zeros((2, 0)),), {"dim": 0}, error=RuntimeError, match="0 sized"),
    ErrorSample("unique_consecutive", (rand(),), {"dim": 0}, error=IndexError, match="no dimensions"),
]
