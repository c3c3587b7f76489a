"""Samples of the parts family, and of the indices of triangles."""

from __future__ import annotations

from typing import Any

from tests.samples import D, ErrorSample, Sample, bools, complexes, ints, rand

X = rand(3, 4)
Z = complexes(3, 4)
CUBE = rand(2, 3, 4)


def _each(call: str, op: str, *cases: tuple[Any, ...], **settings: Any) -> list[Sample]:
    """One sample per tuple of positional arguments."""
    return [Sample(call, case, op=op, **settings) for case in cases]


SAMPLES: list[Sample] = [
    # Windows
    *_each("Tensor.unfold", "unfold", (X, 1, 2, 1), (X, 0, 2, 2), (X, -1, 3, 1), (X, 1, 1, 3), (X, 1, 0, 1), (CUBE, 1, 2, 1)),
    *_each("Tensor.unfold", "unfold", (rand(), 0, 1, 1), (rand(), -1, 0, 2), (rand(9), 0, 2, 1), (rand(9), 0, 7, 1)),
    *_each("Tensor.unfold", "unfold", (rand(0, 3), 1, 2, 1), (complexes(5), 0, 3, 2), (ints(4), 0, 2, 1), (bools(3), 0, 3, 1)),
    Sample("Tensor.unfold", (X,), {"dimension": 0, "size": 3, "step": 4}, op="unfold"),
    # Complex parts
    *_each("view_as_complex", "view_as_complex", (rand(3, 2),), (rand(2),), (rand(2, 3, 2),)),
    *_each("view_as_real", "view_as_real", (Z,), (complexes(),)),
    *_each("Tensor.H", "transpose", (X,), (rand(),)),
    *_each("Tensor.H", "conj", (Z,)),
    *_each("Tensor.mH", "transpose", (CUBE,), (ints(2, 3),)),
    *_each("Tensor.mH", "conj", (complexes(2, 2, 3),), (complexes(),)),
    *_each("adjoint", "transpose", (X,)),
    *_each("adjoint", "conj", (Z,)),
    *_each("conj_physical", "conj", (Z,)),
    Sample("resolve_conj", (Z,)),
    Sample("Tensor.resolve_neg", (X,)),
    *_each("Tensor.view", "view.dtype", (X, D("int64")), (X, D("int32")), (rand(2, 4), D("complex128"))),
    Sample("Tensor.view", (rand(), D("int64")), op="view.dtype", float32=False),
    *_each("Tensor.view", "view.dtype", (ints(3, 2, dtype="int32"), D("uint8")), float32=False),
    # Copies with a part replaced
    *_each("select_scatter", "select_scatter", (X, rand(4), 0, 1), (X, rand(3), -1, -4), (rand(3), rand(), 0, 2)),
    *_each(
        "select_scatter",
        "select_scatter",
        (ints(2, 2), ints(2, dtype="int32"), 0, 0),
        (X, ints(4), 0, 0),
        (bools(2, 3), ints(3), 0, 1),
    ),
    Sample("select_scatter", (Z, complexes(4), 0, 1), op="select_scatter", torch=False, note="PyTorch has no complex gradient"),
    *_each("slice_scatter", "slice_scatter", (X, rand(3, 4, seed=1)), (X, rand(1, 4), 0, 1, 2), (X, rand(2, 4), 0, 0, None, 2)),
    *_each("slice_scatter", "slice_scatter", (X, rand(3, 1), 1, -1), (X, rand(0, 4), 0, 2, 1), (ints(4), bools(3), 0, -3, 9)),
    Sample("Tensor.slice_scatter", (X, rand(3, 2)), {"dim": -1, "step": 2, "start": 1}, op="slice_scatter"),
    Sample("slice_scatter", (Z, complexes(1, 4), 0, 1, 2), op="slice_scatter", torch=False, note="PyTorch has no complex gradient"),
    *_each("diagonal_scatter", "diagonal_scatter", (X, rand(3)), (X, rand(2), -1), (X, rand(0), 7), (CUBE, rand(4, 1), 1, 1, 0)),
    *_each(
        "diagonal_scatter", "diagonal_scatter", (X, ints(3)), (ints(2, 2), bools(2)), (CUBE, rand(4, 2), 1, -3, 1), (Z, Z[0, :3])
    ),
    # Blocks, choices
    *_each(
        "block_diag", "block_diag", (X,), (X, rand(2), rand()), (rand(2, 1), rand(0)), (Z, X), (ints(2), bools(1)), (rand(1, 0), X)
    ),
    *_each("cartesian_prod", "stack", (rand(2), rand(3)), (rand(2), rand(1), rand(2, seed=1)), (ints(2), ints(0)), (Z[0], Z[1])),
    Sample("cartesian_prod", (rand(3),)),
    *_each("combinations", "combinations", (rand(4),), (rand(4), 3), (rand(3), 1), (rand(2), 3), (rand(3), 2, True), (Z[0], 2)),
    *_each("combinations", "combinations", (rand(0), 2, True), (ints(3), 3, True), (bools(2),), (rand(2), 4, True)),
    Sample("combinations", (rand(4), 0), op="new_full", gradient=False),
    # Numpy's names of dim and keepdim
    Sample("Tensor.sum", (X,), {"axis": 0}, op="sum", note="axis"),
    Sample("sum", (X,), {"axis": (0, 1), "keepdims": True}, op="sum", note="axis"),
    Sample("max", (X,), {"axis": 1, "keepdims": True}, op="max.dim", note="axis"),
    Sample("Tensor.argmax", (X,), {"axis": -1, "keepdims": True}, op="argmax", note="axis"),
    Sample("softmax", (X,), {"axis": 0}, op="softmax", note="axis"),
    Sample("Tensor.select", (X,), {"axis": 1, "index": 2}, op="select", note="axis"),
    Sample("cat", ([X, X],), {"axis": 1}, op="cat", note="axis"),
    Sample("fft.fft", (X,), {"axis": 0}, op="fft", note="axis"),
    Sample("maximum", (X,), {"x2": X[:, ::-1].copy()}, op="maximum", note="axis"),
    # Other names of the same
    *[
        Sample(name, (ints(2, 3), ints(3, seed=1)), op=op, gradient=False)
        for name, op in (
            ("greater", "gt"),
            ("Tensor.greater_equal", "ge"),
            ("less", "lt"),
            ("less_equal", "le"),
            ("not_equal", "ne"),
        )
    ],
    Sample("row_stack", ([rand(2), rand(2, seed=1)],), op="cat"),
    *[Sample("is_signed", (x,), gradient=False) for x in (X, ints(2, dtype="uint8"), bools(1))],
    *[Sample(f"Tensor.{name}", (ints(1, 1),), gradient=False) for name in ("is_nonzero", "ndimension")],
    # Positions
    *_each(
        "unravel_index", "unravel_index", (ints(3, low=0), (3, 4)), (ints(2, 2, low=0), [2, 1, 3]), (ints(), 7), (ints(0), (2,))
    ),
    *_each("unravel_index", "unravel_index", (ints(4, low=-20, high=30), (2, 3)), (ints(3, low=0, dtype="uint8"), (5, 300))),
    Sample("unravel_index", (ints(2, dtype="int32"),), {"shape": (9, 9)}, op="unravel_index"),
    *[
        sample
        for name in ("tril_indices", "triu_indices")
        for sample in (
            *_each(name, name, (3, 4), (3, 4, 1), (4, 2, -1), (0, 3), (3, 0), (2, 3, 9), (2, 3, -9)),
            Sample(name, (3, 3), {"offset": -2, "dtype": D("int32")}, op=name),
        )
    ],
]

ERRORS: list[ErrorSample] = [
    ErrorSample("Tensor.unfold", (X, 1, 5, 1), match="maximum size for tensor at dimension 1 is 4"),
    ErrorSample("Tensor.unfold", (X, 1, -1, 1), match="must be >= 0"),
    ErrorSample("Tensor.unfold", (X, 1, 2, 0), match="must be > 0"),
    ErrorSample("Tensor.unfold", (X, 2, 2, 1), error=IndexError, match="Dimension out of range"),
    ErrorSample("view_as_complex", (rand(2, 3),), match="last dimension of size 2"),
    ErrorSample("view_as_complex", (rand(),), match="one or more dimensions"),
    ErrorSample("view_as_complex", (ints(2),), match="only supported for"),
    ErrorSample("view_as_real", (X,), match="only supported for complex"),
    ErrorSample("Tensor.H", (CUBE,), match="only supported on matrices"),
    ErrorSample("Tensor.mH", (rand(2),), match="Got 1-D tensor"),
    ErrorSample("adjoint", (rand(2),), match="Got 1-D tensor"),
    ErrorSample("Tensor.view", (rand(3), D("complex128")), match="must be divisible by 2"),
    ErrorSample("Tensor.view", (rand(), D("int32")), match="cannot be 0"),
    ErrorSample("select_scatter", (X, rand(3), 0, 1), match="expected src to have a size equal"),
    ErrorSample("select_scatter", (X, rand(4), 0, 3), error=IndexError, match="out of range"),
    ErrorSample("select_scatter", (X, 2.0, 0, 3), error=TypeError, match="Tensor"),
    ErrorSample("slice_scatter", (X, rand(1, 4), 0, 0, None, 2), match="expected src to have a size equal"),
    ErrorSample("slice_scatter", (X, X), {"step": 0}, match="slice step must be positive"),
    ErrorSample("slice_scatter", (rand(), rand()), error=IndexError, match="0-dim tensor"),
    ErrorSample("diagonal_scatter", (X, rand(2)), match="expected src to have a size equal"),
    ErrorSample("diagonal_scatter", (X, rand(3), 0, 1, -1), match="cannot be identical"),
    ErrorSample("block_diag", (X, CUBE), match="2 or fewer dimensions"),
    ErrorSample("block_diag", (X, 2.0), error=TypeError, match="expected Tensor"),
    ErrorSample("cartesian_prod", (X,), match="Expect a 1D vector"),
    ErrorSample("cartesian_prod", (rand(2), ints(2)), match="same dtype"),
    ErrorSample("combinations", (X,), match="Expect a 1D vector"),
    ErrorSample("combinations", (rand(3), -1), match="non-negative"),
    ErrorSample("unravel_index", (rand(2), (3, 4)), error=TypeError, match="integer dtype"),
    ErrorSample("unravel_index", (ints(2), (3, -4)), error=ValueError, match="negative"),
    ErrorSample("unravel_index", (ints(2), (3, 0)), match="without elements", torch=True),
    ErrorSample("Tensor.sum", (X,), {"dim": 0, "axis": 1}, error=TypeError, match="axis"),
    ErrorSample("tril_indices", (-1, 2), match="row must be non-negative"),
    ErrorSample("triu_indices", (2, -1), match="col must be non-negative"),
    ErrorSample("tril_indices", (2, 2), {"dtype": D("float32")}, error=NotImplementedError, match="not implemented"),
    ErrorSample("triu_indices", (2, 2.0), error=TypeError, match="col"),
]
