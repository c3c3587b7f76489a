"""Samples of the strided family."""

from __future__ import annotations

from typing import Any

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

X = rand(12)
M = rand(3, 4)


def _each(call: str, *cases: tuple[Any, ...]) -> list[Sample]:
    """One sample per tuple of positional arguments."""
    return [Sample(call, case, op=call.removeprefix("Tensor.")) for case in cases]


SAMPLES: list[Sample] = [
    *_each("as_strided", (X, (3, 2), (4, 1)), (X, (2, 2), (1, 3), 2), (M, (4, 3), (1, 4)), (M, (), (), 5), (M, (0, 2), (1, 1))),
    # Elements that occur several times, and some that never do
    *_each("as_strided", (X, (3, 3), (1, 1)), (X, (2, 5), (0, 2), 1), (M, (5, 4), (2, 1)), (rand(1), (3,), (0,))),
    *_each(
        "Tensor.as_strided",
        (complexes(6), (2, 3), (1, 2)),
        (ints(6), (2, 2), (3, 2)),
        (bools(4), (4,), (0,), 3),
        (rand(), (2, 1), (0, 7)),
    ),
    Sample("as_strided", (X,), {"size": [2, 3], "stride": [5, 2], "storage_offset": 1}, op="as_strided"),
    Sample("as_strided_copy", (X, (2, 3), (3, 2), 1), op="as_strided"),
    *_each(
        "as_strided_scatter",
        (ints(6), bools(2), (2,), (3,)),
        (ints(2, 3), ints(2, seed=1), (2,), (5,)),
        (ints(3), ints(), (), (), 2),
    ),
    # PyTorch's gradient by the tensor is g where it was replaced, and zero elsewhere; ours is the other way round, as it must be
    *[
        Sample("as_strided_scatter", case, op="as_strided_scatter", torch=False, note="PyTorch's gradient is of the wrong part")
        for case in (
            (X, rand(3, 2), (3, 2), (4, 1)),
            (M, rand(2), (2,), (5,), 1),
            (M, rand(), (), (), 5),
            (X, rand(0, 2), (0, 2), (1, 1)),
            (complexes(6), complexes(2), (2,), (1,), 4),
        )
    ],
]

ERRORS: list[ErrorSample] = [
    ErrorSample("as_strided", (X, (13,), (1,)), match="out of bounds for storage of size"),
    ErrorSample("as_strided", (X, (2,), (1,), 11), match="storage offset 11"),
    ErrorSample("as_strided", (X, (2, 2**62), (1, 2**62)), match=""),
    ErrorSample("as_strided", (X, (2,), (-1,)), match="Negative strides are not supported"),
    ErrorSample("as_strided", (X, (-2,), (1,)), match="Storage size calculation overflowed"),
    ErrorSample("as_strided", (X, (2,), (1, 1)), match="mismatch in length of strides and shape"),
    ErrorSample("as_strided", (X, (2,), (1,), -1), match="invalid storage offset"),
    ErrorSample("as_strided", (X, 2, 1), error=TypeError, match="must be tuple of ints"),
    ErrorSample("as_strided", (X, (2.0,), (1,)), error=TypeError, match="tuple of ints"),
    ErrorSample("as_strided_scatter", (X, rand(3), (2,), (1,)), match="expected src to have a size equal to the slice of self"),
    ErrorSample("as_strided_scatter", (X, rand(2), (2,), (1,), 11), match="out of bounds for storage of size"),
]
