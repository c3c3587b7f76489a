"""Samples of the index family."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import Array, ErrorSample, Sample, bools, complexes, ints, rand


def at(*index: int | list[Any]) -> Array:
    """An integer index tensor."""
    return np.array(index[0] if len(index) == 1 and isinstance(index[0], list) else index, "int64")


_MASK = np.array([[True, False, True, True], [False, False, True, False], [True, True, False, False]])
_ROW_MASK = np.array([True, False, True])
_NOTHING = np.zeros((0,), "int64")
_TIES = np.array([[2.0, 1.0, 2.0, 1.0], [0.0, 0.0, 5.0, 0.0]])
_ODD = np.array([1.0, np.nan, -np.inf, np.inf, 0.0])


def _get(shape: tuple[int, ...], index: Any, op: str, note: str) -> Sample:
    return Sample("Tensor.__getitem__", (rand(*shape), index), op=op, note=note)


_VIEWS: list[tuple[tuple[int, ...], Any, str]] = [
    ((3, 4), -1, "last row"),
    ((3, 4), (1, 2), "one element"),
    ((3, 4), (slice(None), 1), "column"),
    ((5, 4), slice(1, None, 2), "step"),
    ((5, 4), (slice(-3, 100), slice(3, 1)), "empty slice"),
    ((3, 4), (None, slice(None), None, 0), "None"),
    ((3, 4, 2), (..., 0), "Ellipsis"),
    ((3, 4, 2), (0, ..., slice(0, 1)), "around Ellipsis"),
    ((3, 4), (), "empty tuple"),
    ((3, 4), ..., "only Ellipsis"),
    ((), None, "0-d None"),
    ((), (), "0-d"),
    ((0, 3), slice(None), "of nothing"),
]

_COPIES: list[tuple[tuple[int, ...], Any, str]] = [
    ((3, 4), at(2, 0, 2), "repeated rows"),
    ((3, 4), at(2, 0), "distinct rows"),
    ((3, 4), at(-1, 0), "negative"),
    ((3, 4), at([[0, 1], [2, 2]]), "matrix of rows"),
    ((3, 4), [0, 2], "list"),
    ((3, 4), (slice(None), at(1, 1, 3)), "columns"),
    ((3, 4), (at(0, 2), at(1, 3)), "pairs"),
    ((3, 4), (at([[0], [2]]), at(1, 3)), "broadcast pairs"),
    ((3, 4, 2), (at(0, 2), slice(None), at(1, 0)), "apart"),
    ((2, 3, 4, 2), (slice(None), at(0, 2), at(1, 3)), "adjacent inside"),
    ((2, 3, 4, 2), (0, slice(None), at(1, 3), at(0, 0)), "after an integer"),
    ((2, 3, 4), (at(0, 1), 1, at(2, 2)), "integer between"),
    ((2, 3, 4), (at(0, 1), None, at(2, 2)), "None between"),
    ((2, 3, 4), (None, at(0, 1), ..., at(2, 2)), "None and Ellipsis"),
    ((2, 3, 4), (slice(0, 1), at(0, 2), slice(1, None, 2)), "between slices"),
    ((3, 4), _MASK, "mask"),
    ((3, 4), _ROW_MASK, "row mask"),
    ((3, 4), (_ROW_MASK, at(1, 2)), "row mask and columns"),
    ((3, 4), (slice(None), np.array([True, False, False, True])), "column mask"),
    ((2, 3, 4), (slice(None), _MASK), "inner mask"),
    ((3, 4), np.zeros((3, 4), bool), "empty mask"),
    ((3, 4), [True, False, True], "list mask"),
    ((3, 4), True, "True"),
    ((3, 4), False, "False"),
    ((3, 4), (True, at(1, 2)), "True and rows"),
    ((3, 4), np.array(True), "0-d mask"),
    ((2, 3, 4), (np.array(1), slice(None), at(2, 0)), "0-d row is an integer"),
    ((3, 4), _NOTHING, "no rows"),
    ((3, 4), [], "empty list"),
    ((0, 3), _NOTHING, "no rows of nothing"),
    ((3, 40), at(0, 1, 1, 1, 1, 1, 1, 1, 1, 2), "many repeats"),
    ((3, 40), at(0, 1, 1, 2), "few repeats"),
]


def _along(call: str, op: str) -> list[Sample]:
    """gather-like calls of every rank."""
    return [
        Sample(call, (rand(3, 4), 0, at([[0, 2, 1], [2, 2, 0]])), op=op),
        Sample(call, (rand(3, 4), -1, at([[0, 3], [1, 1], [2, 0]])), op=op),
        Sample(call, (rand(2, 3, 2), 1, ints(2, 5, 1, low=0, high=3)), op=op),
        Sample(call, (rand(4), 0, at(3, 0, 0)), op=op),
        Sample(call, (rand(), 0, np.array(0)), op=op),
        Sample(call, (rand(3, 4), 1, np.zeros((3, 0), "int64")), op=op),
        Sample(call, (complexes(3, 2), 0, at([[0, 2]])), op=op),
        Sample(call, (ints(3, 2), 0, at([[0, 2]])), op=op, gradient=False),
    ]


def _scattered(call: str, op: str) -> list[Sample]:
    distinct = at([[0, 2, 1], [2, 0, 0]])
    return [
        Sample(call, (rand(3, 4), 0, distinct, rand(2, 3, seed=1)), op=op),
        Sample(call, (rand(3, 4), 1, at([[3, 0], [1, 2], [2, 0]]), rand(3, 2, seed=1)), op=op),
        Sample(
            call,
            (rand(3, 4), 0, at([[0, 2]]), rand(2, 3, seed=1)),
            op=op,
            torch=False,
            note="PyTorch has no gradient of a longer source",
        ),
        Sample(call, (rand(3, 4), 0, at([[0, 2]]), rand(2, 3, seed=1)), op=op, gradient=False, note="longer source"),
        Sample(call, (rand(4), 0, at(3, 0), rand(2, seed=1)), op=op),
        Sample(call, (rand(), 0, np.array(0), rand(seed=1)), op=op),
        Sample(call, (rand(3), 0, _NOTHING, rand(0)), op=op),
        Sample(call, (complexes(3, 2), 0, at([[0, 2]]), complexes(1, 2, seed=5)), op=op),
        Sample(call, (ints(3, 2), 0, at([[0, 2]]), ints(1, 2, seed=5)), op=op, gradient=False),
        Sample(f"Tensor.{call}_", (rand(3, 4), 0, distinct, rand(2, 3, seed=1)), op=op, gradient=False),
    ]


SAMPLES: list[Sample] = [
    Sample("index_fill", (rand(3, 4), 1, at(-1, 0), 2.0), op="index_fill", note="from the end"),
    Sample("index_fill", (rand(3, 4), -1, at(2, 0, 2, 2), rand(seed=1)), op="index_fill", note="a place named twice"),
    Sample("take_along_dim", (rand(3, 4), at([[-1, 0], [1, -4], [2, 0]]), 1), op="take_along_dim", note="from the end"),
    Sample("gather", (rand(3), 0, np.zeros(0, "uint8")), op="gather", note="an index of nothing"),
    _get((3, 4), np.array(1), "getitem.tensor", "0-d row"),
    _get((3, 4), (slice(None), np.array(-1)), "getitem.tensor", "0-d column"),
    _get((2, 3, 4), (np.array(1), ..., np.array(2), None), "getitem.tensor", "0-d row and column"),
    _get((3, 4), (np.array(0, "int8"), slice(1, None, 2)), "getitem.tensor", "0-d of eight bits"),
    Sample("Tensor.__getitem__", (ints(3, 2), np.array(2)), op="getitem.tensor", gradient=False, note="integers"),
    _get((3, 4), 1, "getitem.int", "row"),
    _get((4,), 2, "getitem.int", "element"),
    *[_get(shape, index, "getitem", note) for shape, index, note in _VIEWS],
    *[_get(shape, index, "index", note) for shape, index, note in _COPIES],
    Sample("Tensor.__getitem__", (complexes(3, 2), at(2, 0, 2)), op="index", note="complex"),
    Sample("Tensor.__getitem__", (complexes(3, 20), at(2, 0, 2)), op="index", note="wide complex"),
    Sample("Tensor.__getitem__", (ints(3, 2), _ROW_MASK), op="index", gradient=False, note="integers"),
    Sample("index_put", (rand(3, 4), (at(0, 2),), rand(2, 4, seed=1)), op="index_put"),
    Sample("index_put", (rand(3, 4), (at(0, 2),), rand(4, seed=1)), op="index_put"),
    Sample("index_put", (rand(3, 4), (at(0, 2),), rand(seed=1)), op="index_put"),
    Sample("index_put", (rand(3, 4), (at(0, 2), at(1, 1)), rand(2, seed=1)), op="index_put"),
    Sample("index_put", (rand(3, 4), (at(0, 0), at(1, 1)), rand(2, seed=1), True), op="index_put"),
    Sample("index_put", (rand(3, 4), (at(0, 0, 2),), rand(4, seed=1)), {"accumulate": True}, op="index_put"),
    Sample("index_put", (rand(3, 4), (_MASK,), rand(seed=1)), op="index_put"),
    Sample("index_put", (rand(3, 4), (_MASK,), rand(6, seed=1)), op="index_put"),
    Sample("index_put", (rand(2, 3, 4), (at(0, 1), at(2, 0), at(1, 1)), rand(2, seed=1), True), op="index_put"),
    Sample("Tensor.index_put_", (ints(3, 4), (at(0, 0),), ints(2, 4, seed=1), True), op="index_put", gradient=False),
    # Along one dimension
    *_along("gather", "gather"),
    *_along("Tensor.gather", "gather")[:1],
    *_scattered("scatter", "scatter"),
    Sample("scatter", (rand(3, 4), 0, at([[0, 2]]), 1.5), op="scatter", note="number"),
    Sample("Tensor.scatter", (rand(3, 4), 0, at([[0, 2]])), {"value": 2}, op="scatter"),
    *_scattered("scatter_add", "scatter_add"),
    Sample("scatter_add", (rand(4), 0, at(1, 1, 1, 3), rand(4, seed=1)), op="scatter_add", note="repeats"),
    Sample("scatter_add", (ints(4), 0, at(1, 1, 1, 3), ints(4, seed=1)), op="scatter_add", gradient=False, note="repeats"),
    Sample("scatter_add", (rand(4, dtype="float16"), 0, at(1, 1), rand(2, dtype="float16")), op="scatter_add", gradient=False),
    Sample("index_select", (rand(3, 4), 0, at(2, 0, 2)), op="index_select"),
    Sample("index_select", (rand(3, 4), -1, at(1)), op="index_select"),
    Sample("index_select", (rand(3, 4), 1, np.array(1)), op="index_select"),
    Sample("index_select", (rand(3, 4), 1, _NOTHING), op="index_select"),
    Sample("index_select", (rand(2, 3, 2), 1, at(2, 2, 0, 1)), op="index_select"),
    Sample("index_select", (rand(3, 4), 0, np.array([1, 1], "int32")), op="index_select"),
    Sample("index_select", (rand(), 0, at(0)), op="index_select"),
    Sample("index_add", (rand(3, 4), 0, at(2, 0, 2), rand(3, 4, seed=1)), op="index_add"),
    Sample("index_add", (rand(3, 4), 1, at(2, 2), rand(3, 2, seed=1)), {"alpha": -0.5}, op="index_add"),
    Sample("index_add", (rand(2, 3, 2), 1, at(2, 2), rand(2, 2, 2, seed=1)), op="index_add"),
    Sample("index_add", (rand(3, 4), 0, _NOTHING, rand(0, 4)), op="index_add"),
    Sample("index_add", (complexes(3, 2), 0, at(2, 2), complexes(2, 2, seed=4)), {"alpha": 2}, op="index_add"),
    Sample("Tensor.index_add_", (ints(3, 4), 0, at(2, 2), ints(2, 4, seed=1)), op="index_add", gradient=False),
    Sample("index_fill", (rand(3, 4), 0, at(2, 0), 1.5), op="index_fill"),
    Sample("index_fill", (rand(3, 4), 1, at(2), rand(seed=1)), op="index_fill"),
    Sample("Tensor.index_fill_", (rand(3, 4), 1, at(2), 3), op="index_fill", gradient=False),
    Sample("index_copy", (rand(3, 4), 0, at(2, 0), rand(2, 4, seed=1)), op="index_copy"),
    Sample("index_copy", (rand(3, 4), 1, at(2), rand(3, 1, seed=1)), op="index_copy"),
    Sample("Tensor.index_copy_", (rand(3, 4), 1, at(2), rand(3, 1)), op="index_copy", gradient=False),
    Sample("take_along_dim", (rand(3, 4), at([[0, 2, 1, 2]]), 0), op="take_along_dim"),
    Sample("take_along_dim", (rand(3, 4), at([[0, 3], [1, 1], [2, 0]]), -1), op="take_along_dim"),
    Sample("take_along_dim", (rand(1, 4), at([[0, 3], [1, 1], [2, 0]]), 1), op="take_along_dim", note="broadcast"),
    Sample("take_along_dim", (rand(3, 4), at([[0, 5], [1, 11]])), op="take_along_dim", note="flat"),
    Sample("Tensor.take_along_dim", (rand(2, 3), at([[2], [0]])), {"dim": 1}, op="take_along_dim"),
    Sample("take", (rand(3, 4), at([[0, 5], [5, -1]])), op="take"),
    Sample("take", (rand(3, 4), np.array(3)), op="take"),
    Sample("take", (rand(3, 4), _NOTHING), op="take"),
    # Masks
    Sample("masked_fill", (rand(3, 4), _MASK, 1.5), op="masked_fill"),
    Sample("masked_fill", (rand(3, 4), _MASK, rand(seed=1)), op="masked_fill"),
    Sample("masked_fill", (rand(3, 4), _MASK[:, :1], 0), op="masked_fill"),
    Sample("masked_fill", (rand(4), _MASK, -np.inf), op="masked_fill", differences=False),
    Sample("masked_fill", (ints(3, 4), _MASK, 7), op="masked_fill", gradient=False),
    Sample("masked_fill", (rand(), np.array(True), 2.0), op="masked_fill"),
    Sample("masked_fill", (complexes(3, 4), _MASK, 1j), op="masked_fill"),
    Sample("Tensor.masked_fill_", (rand(3, 4), _MASK, 1.5), op="masked_fill", gradient=False),
    Sample("masked_select", (rand(3, 4), _MASK), op="masked_select"),
    Sample("masked_select", (rand(4), _MASK), op="masked_select"),
    Sample("masked_select", (rand(3, 4), _MASK[:, :1]), op="masked_select"),
    Sample("masked_select", (rand(3, 4), np.zeros((3, 4), bool)), op="masked_select"),
    Sample("masked_select", (rand(), np.array(True)), op="masked_select"),
    Sample("masked_scatter", (rand(3, 4), _MASK, rand(6, seed=1)), op="masked_scatter"),
    Sample("masked_scatter", (rand(3, 4), _MASK, rand(3, 4, seed=1)), op="masked_scatter"),
    Sample("masked_scatter", (rand(4), _MASK, rand(3, 4, seed=1)), op="masked_scatter"),
    Sample("Tensor.masked_scatter_", (rand(3, 4), _MASK, rand(6, seed=1)), op="masked_scatter", gradient=False),
    Sample("nonzero", (ints(3, 4, low=-1, high=2),), op="nonzero", gradient=False),
    Sample("nonzero", (_MASK,), op="nonzero", gradient=False),
    Sample("nonzero", (_MASK,), {"as_tuple": True}, op="nonzero", gradient=False),
    Sample("nonzero", (np.array(3.0),), op="nonzero", gradient=False),
    Sample("nonzero", (np.array(3.0),), {"as_tuple": True}, op="nonzero", gradient=False),
    Sample("nonzero", (rand(0, 3),), op="nonzero", gradient=False),
    Sample("argwhere", (_MASK,), op="nonzero", gradient=False),
    # Order
    *[
        sample
        for call in ("sort", "argsort")
        for sample in (
            Sample(call, (rand(3, 4),), op=call, gradient=call == "sort"),
            Sample(call, (rand(3, 4), 0), {"descending": True}, op=call, gradient=call == "sort"),
            Sample(call, (_TIES,), {"stable": True}, op=call, gradient=False),
            Sample(call, (_TIES,), {"stable": True, "descending": True}, op=call, gradient=False),
            Sample(call, (_ODD,), {"stable": True}, op=call, gradient=False),
            Sample(call, (_ODD,), {"stable": True, "descending": True}, op=call, gradient=False),
            Sample(call, (rand(),), op=call, gradient=call == "sort"),
            Sample(call, (rand(0, 3),), op=call, gradient=False),
            Sample(call, (bools(5),), {"stable": True}, op=call, gradient=False),
        )
    ],
    Sample("topk", (rand(3, 4), 2), op="topk"),
    Sample("topk", (rand(3, 4), 2, 0), {"largest": False}, op="topk"),
    Sample("topk", (rand(3, 4), 0), op="topk"),
    Sample("topk", (rand(5), 5), op="topk"),
    Sample("topk", (rand(), 1), op="topk"),
    # Repeats
    Sample("repeat_interleave", (rand(2, 3), 2), op="flatten"),
    Sample("repeat_interleave", (rand(2, 3), 2, -1), {"output_size": 6}, op="flatten"),
    Sample("repeat_interleave", (rand(2, 3), 0, 0), op="flatten"),
    Sample("repeat_interleave", (rand(), 2), op="flatten"),
    Sample("Tensor.repeat_interleave", (rand(2, 3), np.array([2, 0, 1])), {"dim": 1}, op="index_select"),
    Sample("Tensor.repeat_interleave", (rand(2, 3), np.array(2), 0), {"output_size": 4}, op="index_select"),
    Sample("repeat_interleave", (rand(2), np.array([3])), op="index_select"),
    Sample("repeat_interleave", (np.array([2, 0, 1]),), op="repeat_interleave.Tensor", gradient=False),
    Sample("repeat_interleave", (np.array([1, 2], "int32"),), {"output_size": 3}, op="repeat_interleave.Tensor", gradient=False),
]

_GET = "Tensor.__getitem__"

ERRORS: list[ErrorSample] = [
    ErrorSample("gather", (rand(3), 0, np.zeros(2, "uint8")), error=RuntimeError, match="Expected dtype int32/int64"),
    ErrorSample("repeat_interleave", (rand(2, 3), -1), match="must be non-negative"),
    ErrorSample("repeat_interleave", (rand(2, 3), 2.5), error=TypeError, match="repeats"),
    ErrorSample("repeat_interleave", (rand(2, 3), 2, 2), error=IndexError, match="Dimension out of range"),
    ErrorSample("repeat_interleave", (rand(), 2, 0), error=IndexError, match="Dimension out of range"),
    ErrorSample("repeat_interleave", (rand(2, 3), 2, 0), {"output_size": 5}, match="expected 4 but got 5"),
    ErrorSample("repeat_interleave", (rand(2, 3), np.array([1, 2]), 0), {"output_size": 4}, match="does not match required size"),
    ErrorSample("repeat_interleave", (rand(2, 3), np.array([1, 2]), 1), match="must have the same size as input along dim"),
    ErrorSample("repeat_interleave", (rand(2, 3), np.array([[1, 2]]), 0), match="0-dim or 1-dim"),
    ErrorSample("repeat_interleave", (rand(2, 3), np.array([1, -2]), 0), match="can not be negative"),
    ErrorSample("repeat_interleave", (rand(2),), error=NotImplementedError, match="not implemented"),
    ErrorSample("repeat_interleave", (np.array([[1]]),), match="1D vector"),
    ErrorSample("index_fill", (rand(3, 4), 5, at(0), 1.0), error=IndexError, match="Dimension out of range"),
    ErrorSample("index_fill", (rand(3, 4), 0, at(7), 1.0), error=IndexError, match="out of bounds for dimension 0 with size 3"),
    ErrorSample("index_copy", (rand(3, 4), 0, at(0), rand(1, 4, dtype="float32")), match="expected to have the same dtype"),
    ErrorSample(_GET, (rand(2, 3), 5), error=IndexError, match="index 5 is out of bounds for dimension 0 with size 2"),
    ErrorSample(_GET, (rand(2, 3), (0, -4)), error=IndexError, match="index -4 is out of bounds for dimension 1 with size 3"),
    ErrorSample(_GET, (rand(2, 3), (0, 0, 0)), error=IndexError, match="too many indices for tensor of dimension 2"),
    ErrorSample(_GET, (rand(), 0), error=IndexError, match="invalid index of a 0-dim tensor"),
    ErrorSample(_GET, (rand(3), slice(None, None, -1)), error=ValueError, match="step must be greater than zero"),
    ErrorSample(_GET, (rand(3), slice(None, None, 0)), error=ValueError, match="slice step cannot be zero"),
    ErrorSample(_GET, (rand(3), slice("a", None)), error=TypeError, match="slice indices must be integers"),
    ErrorSample(_GET, (rand(3), 1.5), error=IndexError, match="only integers, slices"),
    ErrorSample(_GET, (rand(3), "a"), error=TypeError, match="", note="a string"),
    ErrorSample(
        _GET, (rand(3), rand(2)), error=IndexError, match="tensors used as indices must be long, int, byte or bool tensors"
    ),
    ErrorSample(_GET, (rand(3), at(3)), error=IndexError, match="out of bounds for dimension 0 with size 3"),
    ErrorSample(_GET, (rand(3, 2), (at(0, 1), at(0, -3))), error=IndexError, match="out of bounds for dimension 1 with size 2"),
    ErrorSample(_GET, (rand(3), np.array(3)), error=IndexError, match="out of bounds for dimension 0 with size 3"),
    ErrorSample(_GET, (rand(2, 3), _ROW_MASK), error=IndexError, match="The shape of the mask [3] at index 0 does not match"),
    ErrorSample(_GET, (rand(3, 3), (at(0, 1), at(0, 1, 2))), error=IndexError, match="shape mismatch: indexing tensors could not"),
    ErrorSample("Tensor.__setitem__", (rand(2, 3), 0, [1, 2, 3]), error=TypeError, match="can't assign a list"),
    ErrorSample("Tensor.__setitem__", (rand(2, 3), 5, 1.0), error=IndexError, match="out of bounds for dimension 0"),
    ErrorSample(
        "Tensor.__setitem__", (rand(2, 3), [0, 1], rand(2, 4)), match="shape mismatch: value tensor of shape [2, 4] cannot be"
    ),
    ErrorSample("Tensor.__setitem__", (rand(3, 4), _MASK, rand(3)), match="shape mismatch: value tensor of shape [3] cannot be"),
    ErrorSample(
        "Tensor.__setitem__", (rand(3, 4), at(0), rand(4, dtype="float32")), match="Index put requires the source and destination"
    ),
    ErrorSample("Tensor.__setitem__", (rand(3, 4), _MASK, 1j), match="cannot be converted to type"),
    ErrorSample("index_put", (rand(3), at(0), rand()), error=TypeError, match="must be tuple of Tensors"),
    ErrorSample("gather", (rand(3, 4), 0, at(0, 1)), match="Index tensor must have the same number of dimensions as input tensor"),
    ErrorSample("gather", (rand(3, 4), 0, ints(2, 5, low=0, high=3)), match="Size does not match at dimension 1"),
    ErrorSample("gather", (rand(3, 4), 0, rand(2, 2)), match="for index"),
    ErrorSample("gather", (rand(3), 0, at(3)), match="out of bounds for dimension 0 with size 3"),
    ErrorSample("gather", (rand(3), 0, at(-1)), match="out of bounds for dimension 0 with size 3"),
    ErrorSample("gather", (rand(3), 1, at(0)), error=IndexError, match="Dimension out of range"),
    ErrorSample("scatter_add", (rand(3), 0, at(0), rand(1, dtype="float32")), match="Expected self.dtype to be equal to src.dtype"),
    ErrorSample("scatter_add", (rand(3), 0, at(5), rand(1)), match="out of bounds for dimension 0 with size 3"),
    ErrorSample("scatter", (rand(3), 0, at(0, 1), rand(1)), match="to be no larger than src"),
    ErrorSample("index_select", (rand(3, 4), 0, at([[0]])), error=IndexError, match="Index is supposed to be a vector"),
    ErrorSample("index_select", (rand(3, 4), 0, at(3)), error=IndexError, match="index"),
    ErrorSample("index_select", (rand(3, 4), 0, rand(2)), match="Expected dtype int32/int64 for index"),
    ErrorSample("index_add", (rand(3, 4), 0, at(0, 1), rand(3, 4)), match="Number of indices (2) should be equal"),
    ErrorSample("index_add", (rand(3, 4), 0, at(0), rand(1, 5)), match="source tensor shape must match self tensor shape"),
    ErrorSample("index_add", (rand(3, 4), 0, at(0), rand(1, 4, dtype="float32")), match="to have the same dtype"),
    ErrorSample("masked_fill", (rand(3), ints(3), 1.0), match="boolean masks"),
    ErrorSample("masked_fill", (rand(3), bools(3), rand(2)), match="only supports a 0-dimensional value tensor"),
    ErrorSample("masked_select", (rand(3), bools(4)), match="must match the size of tensor b"),
    ErrorSample("masked_scatter", (rand(3, 4), _MASK, rand(2)), match="masked_scatter"),
    ErrorSample("take_along_dim", (rand(3, 4), at(0), 0), match="should have the same number of dimensions"),
    ErrorSample("take_along_dim", (rand(3), rand(3), 0), match="dtype of indices should be Long"),
    ErrorSample("take", (rand(3), at(5)), error=IndexError, match="out of range"),
    ErrorSample("take", (rand(3), rand(3)), match="Expected a long tensor for index"),
    ErrorSample("sort", (rand(3), 1), error=IndexError, match="Dimension out of range"),
    ErrorSample("sort", (complexes(3),), match="not implemented for"),
    ErrorSample("topk", (rand(3), 4), match="selected index k out of range"),
]
