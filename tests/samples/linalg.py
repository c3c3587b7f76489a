"""Samples of the linalg family."""

from __future__ import annotations

from tests.samples import ErrorSample, Sample, bools, complexes, ints, rand

_A, _B = rand(3, 3, seed=5), rand(3, 3, seed=6)


def _product(call: str, a: tuple[int, ...], b: tuple[int, ...], note: str = "") -> Sample:
    return Sample(call, (rand(*a), rand(*b, seed=1)), op=call.rsplit(".", 1)[-1].strip("_"), note=note)


SAMPLES: list[Sample] = [
    *[
        _product("matmul", a, b)
        for a, b in (
            ((3,), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3,)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3,)),
            ((3,), (5, 3, 2)),
            ((5, 2, 3), (3, 4)),
            ((2, 3), (5, 3, 4)),
            ((2, 3), (2, 5, 3, 4)),
            ((5, 2, 3), (5, 3, 4)),
            ((1, 2, 3), (5, 3, 4)),
            ((2, 1, 2, 3), (5, 3, 4)),
            ((2, 5, 2, 3), (3, 4)),
            ((2, 0), (0, 4)),
            ((0, 3), (3, 4)),
            ((0, 2, 3), (3, 4)),
            ((4, 0, 3), (3, 4)),
            ((2, 3), (0, 3, 4)),
            ((4, 2, 0), (0, 5)),
        )
    ],
    Sample("matmul", (complexes(2, 3), complexes(3, 2, seed=3)), op="matmul"),
    Sample("matmul", (complexes(4, 2, 3), complexes(3, 2, seed=3)), op="matmul"),
    Sample("matmul", (complexes(2, 3), complexes(4, 3, 2, seed=3)), op="matmul"),
    Sample("matmul", (complexes(3), complexes(3, seed=3)), op="matmul"),
    Sample("matmul", (ints(2, 3), ints(3, 2, seed=1)), op="matmul", gradient=False),
    Sample("matmul", (rand(2, 3, dtype="float16"), rand(3, 2, seed=1, dtype="float16")), op="matmul", gradient=False),
    Sample("Tensor.__matmul__", (rand(2, 3), rand(3, 2, seed=1)), op="matmul"),
    Sample("matmul", (_A, _A), op="matmul", note="equal values"),
    _product("mm", (2, 3), (3, 4)),
    _product("Tensor.mm", (2, 3), (3, 4)),
    Sample("mm", (complexes(2, 3), complexes(3, 2, seed=3)), op="mm"),
    _product("mm", (2, 0), (0, 3)),
    _product("bmm", (4, 2, 3), (4, 3, 5)),
    _product("bmm", (0, 2, 3), (0, 3, 5)),
    Sample("bmm", (complexes(2, 2, 3), complexes(2, 3, 2, seed=3)), op="bmm"),
    _product("mv", (2, 3), (3,)),
    Sample("mv", (complexes(2, 3), complexes(3, seed=3)), op="mv"),
    _product("dot", (4,), (4,)),
    _product("dot", (0,), (0,)),
    Sample("dot", (complexes(4), complexes(4, seed=3)), op="dot"),
    Sample("dot", (ints(4), ints(4, seed=1)), op="dot", gradient=False),
    _product("outer", (3,), (4,)),
    _product("ger", (3,), (4,)),
    Sample("outer", (rand(3), ints(4)), op="outer"),
    Sample("outer", (complexes(3), rand(2, seed=3)), op="outer"),
    Sample("outer", (complexes(3), complexes(2, seed=3)), op="outer"),
    _product("inner", (3,), (3,)),
    _product("inner", (2, 3), (3,)),
    _product("inner", (3,), (2, 3)),
    _product("inner", (2, 3), (4, 5, 3)),
    _product("inner", (2, 3), ()),
    _product("inner", (), (2, 3)),
    _product("inner", (), ()),
    Sample("inner", (complexes(2, 3), complexes(4, 3, seed=3)), op="inner"),
    Sample("addmm", (rand(2, 4), rand(2, 3), rand(3, 4, seed=1)), op="addmm"),
    Sample("addmm", (rand(4), rand(2, 3), rand(3, 4, seed=1)), {"beta": 0.5, "alpha": 2}, op="addmm"),
    Sample("addmm", (rand(2, 1), rand(2, 3), rand(3, 4, seed=1)), {"beta": 0}, op="addmm"),
    Sample("addmm", (complexes(4), complexes(2, 3), complexes(3, 4, seed=2)), {"beta": 2, "alpha": 0.5}, op="addmm"),
    Sample("addmm", (ints(2, 2), ints(2, 2, seed=1), ints(2, 2, seed=2)), {"beta": 2}, op="addmm", gradient=False),
    Sample("Tensor.addmm_", (rand(2, 4), rand(2, 3), rand(3, 4, seed=1)), op="addmm", gradient=False),
    Sample("addmv", (rand(2), rand(2, 3), rand(3, seed=1)), {"beta": 0.5, "alpha": 2}, op="addmv"),
    Sample("addmv", (complexes(2), complexes(2, 3), complexes(3, seed=2)), op="addmv"),
    Sample("baddbmm", (rand(2, 2, 4), rand(2, 2, 3), rand(2, 3, 4, seed=1)), {"beta": 0.5, "alpha": 2}, op="baddbmm"),
    Sample("baddbmm", (rand(4), rand(2, 2, 3), rand(2, 3, 4, seed=1)), op="baddbmm"),
]

ERRORS: list[ErrorSample] = [
    ErrorSample("matmul", (rand(), rand(3)), match="at least 1D"),
    ErrorSample("matmul", (rand(2, 3), rand(2, 3)), match="mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    ErrorSample("matmul", (rand(2), rand(3)), match="inconsistent tensor size"),
    ErrorSample("matmul", (rand(2, 2, 3), rand(3, 3, 4)), match="must match the size of tensor b (3) at non-singleton"),
    ErrorSample("matmul", (rand(2, 3), rand(3, 2, dtype="float32")), match="same dtype"),
    ErrorSample("matmul", (bools(2, 3), bools(3, 2)), match="not implemented for"),
    ErrorSample("mm", (rand(2, 3), rand(3)), match="mm"),
    ErrorSample("mm", (rand(2, 3), rand(2, 3)), match="cannot be multiplied"),
    ErrorSample("bmm", (rand(2, 3, 4), rand(3, 4, 5)), match="Expected size for first two dimensions of batch2"),
    ErrorSample("bmm", (rand(3, 4), rand(4, 5)), match="bmm"),
    ErrorSample("mv", (rand(2, 3), rand(2)), match="cannot be multiplied", note="sizes"),
    ErrorSample("dot", (rand(3), rand(4)), match="inconsistent tensor size"),
    ErrorSample("dot", (rand(2, 3), rand(2, 3)), match="dot"),
    ErrorSample("outer", (rand(2, 3), rand(3)), match="Expected 1-D argument self"),
    ErrorSample("inner", (rand(2, 3), rand(2, 4)), match="the last dimension must match"),
    ErrorSample("addmm", (rand(5), rand(2, 3), rand(3, 4)), match="The expanded size of the tensor"),
]
