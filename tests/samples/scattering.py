"""Samples of the scattering family."""

from __future__ import annotations

import numpy as np

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

_PLACES = np.array([[0, 2, 1, 0], [2, 2, 0, 0], [0, 1, 1, 0]])
_ROW = np.array([2, 0, 2, 0, 1])
_ZEROS = np.array([2.0, 0.0, 3.0, 1.0, 1.5])
_MORE_ZEROS = np.array([2.0, 0.0, 3.0, 0.0, 1.5])
_TIES = np.array([2.0, 1.0, 2.0, 1.0, 2.0])


def _reduced(reduce: str) -> list[Sample]:
    call, op = "scatter_reduce", "scatter_reduce"
    smooth = reduce in ("sum", "prod", "mean")
    out = Sample(
        "Tensor.scatter_reduce_",
        (rand(3, 4), 0, _PLACES, rand(3, 4, seed=1), reduce),
        {"include_self": False},
        op=op,
        gradient=False,
    )
    samples = [
        Sample(call, (rand(3, 4), 0, _PLACES, rand(3, 4, seed=1), reduce), op=op),
        Sample(call, (rand(3, 4), 0, _PLACES, rand(3, 4, seed=1), reduce), {"include_self": False}, op=op),
        Sample(call, (rand(3, 5), -1, _PLACES, rand(3, 4, seed=1), reduce), op=op),
        Sample(call, (rand(4), 0, _ROW, _TIES, reduce), op=op, differences=smooth, note="ties"),
        Sample(call, (rand(), 0, np.array(0), rand(seed=1), reduce), op=op),
        Sample(call, (rand(3), 0, np.zeros(0, "int64"), np.zeros(0), reduce), op=op, second=False, note="nothing"),
        Sample(call, (ints(3), 0, _ROW, ints(5, seed=1), reduce), op=op, gradient=False, note="integers"),
        out,
    ]
    if reduce != "prod":  # whose gradient of what lies beyond the index is not 0 in PyTorch
        samples.append(Sample(call, (rand(3), 0, np.array([1]), rand(2), reduce), op=op, gradient=False, note="longer source"))
    if reduce != "sum":
        samples += [
            Sample("index_reduce", (rand(3, 2), 0, _ROW, rand(5, 2, seed=1), reduce), op="index_reduce"),
            Sample("index_reduce", (rand(2, 3), 1, _ROW, rand(2, 5, seed=1), reduce), {"include_self": False}, op="index_reduce"),
            Sample("index_reduce", (ints(3), 0, _ROW, ints(5, seed=1), reduce), op="index_reduce", gradient=False),
            Sample("Tensor.index_reduce_", (rand(3), 0, _ROW, rand(5, seed=1), reduce), op="index_reduce", gradient=False),
        ]
    return samples


SAMPLES: list[Sample] = [
    Sample("put", (rand(2, 3), np.array([[0, -1], [3, 2]]), rand(2, 2, seed=1)), op="put"),
    Sample("put", (rand(2, 3), np.array([0, 0, 5]), rand(3, seed=1), True), op="put"),
    Sample("put", (rand(2, 3), np.array([1, 4]), rand(2, 1, seed=1)), {"accumulate": False}, op="put", note="other shape"),
    Sample("put", (rand(), np.array(0), rand(seed=1)), op="put"),
    Sample("put", (complexes(4), np.array([1, 1]), complexes(2, seed=1), True), op="put"),
    Sample("put", (ints(4), np.array([3, 1]), ints(2, seed=1)), op="put", gradient=False),
    Sample("put", (rand(3), np.zeros(0, "int64"), np.zeros(0)), op="put", note="nothing"),
    Sample("Tensor.put_", (rand(4), np.array([1, 1]), rand(2, seed=1), True), op="put", gradient=False),
    *[sample for reduce in ("sum", "prod", "mean", "amax", "amin") for sample in _reduced(reduce)],
    Sample("scatter_reduce", (rand(3), 0, _ROW, _ZEROS, "prod"), op="scatter_reduce", note="zeros"),
    Sample("scatter_reduce", (rand(3), 0, _ROW, _MORE_ZEROS, "prod"), op="scatter_reduce", second=False, note="more zeros"),
    Sample("scatter_reduce", (np.array([0.0, 1.0, 2.0]), 0, _ROW, rand(5), "prod"), op="scatter_reduce", note="zero self"),
    Sample(
        "scatter_reduce",
        (np.array([1.0, 3.0, 2.0]), 0, _ROW, _TIES, "amax"),
        {"include_self": False},
        op="scatter_reduce",
        differences=False,
        note="tie with what is left out",
    ),
    Sample("scatter_reduce", (bools(3), 0, _ROW, bools(5), "sum"), op="scatter_reduce", gradient=False, note="bool"),
    Sample("scatter", (rand(3), 0, _ROW, rand(5)), {"reduce": "add"}, op="scatter_reduce", gradient=False),
    Sample("scatter", (rand(3), 0, _ROW, 2.5), {"reduce": "multiply"}, op="scatter_reduce", gradient=False),
    Sample("Tensor.scatter_", (rand(3), 0, _ROW, rand(5)), {"reduce": "multiply"}, op="scatter_reduce", gradient=False),
    Sample("gather", (rand(3, 4), 0, _PLACES), {"sparse_grad": False}, op="gather"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("put", (rand(3), np.array([3]), rand(1)), error=IndexError, match="out of range"),
    ErrorSample("put", (rand(3), np.array([0]), rand(2)), error=IndexError, match="same number"),
    ErrorSample("put", (rand(3), np.array([0]), ints(1)), error=RuntimeError, match="same dtype"),
    ErrorSample("put", (rand(3), np.array([0], "int32"), rand(1)), error=RuntimeError, match="long"),
    ErrorSample("scatter_reduce", (rand(3), 0, _ROW, rand(5), "median"), error=RuntimeError, match="reduce argument"),
    ErrorSample("scatter_reduce", (rand(2), 0, _ROW, rand(5), "sum"), error=RuntimeError, match="out of bounds"),
    ErrorSample("scatter_reduce", (rand(3), 0, _ROW, rand(4), "sum"), error=RuntimeError, match="src"),
    ErrorSample("scatter_reduce", (rand(3), 0, _ROW, rand(5, dtype="float32"), "sum"), error=RuntimeError, match="dtype"),
    ErrorSample(
        "scatter_reduce", (complexes(3), 0, _ROW, complexes(5), "amax"), error=NotImplementedError, match="amax", torch=False
    ),
    ErrorSample("scatter", (rand(3), 0, _ROW, rand(5)), {"reduce": "mean"}, error=RuntimeError, match="add or multiply"),
    ErrorSample("index_reduce", (rand(3), 0, _ROW, rand(5), "sum"), error=RuntimeError, match="prod, mean"),
    ErrorSample("index_reduce", (rand(2), 0, _ROW, rand(5), "prod"), error=IndexError, match="out of"),
    ErrorSample("index_reduce", (rand(3), 0, _ROW, rand(4), "prod"), error=RuntimeError, match="Number of indices"),
]
