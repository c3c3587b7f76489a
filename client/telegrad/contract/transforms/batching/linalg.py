"""Products and decompositions of matrices."""

from __future__ import annotations

from typing import Any

from telegrad.contract.einsum import LETTERS, parse
from telegrad.contract.matrices import has_vectors
from telegrad.contract.transforms.batched import Call, aligned, by_rows, rule
from telegrad.contract.transforms.batching.reduce import results
from telegrad.contract.transforms.wrapper import do


@rule("matmul", "mm", "bmm", "mv", "dot")
def product(call: Call) -> Any:
    """A product of matrices for every row. Where one side is the same for all rows, the rows are one matrix more."""
    _ = call.outcome
    ranks = [call.rank(0), call.rank(1)]
    a, b = call.values
    first, second = call.batched
    if not second and (ranks[1] <= 2):
        return do("matmul", a, b)
    if not first and ranks == [2, 1]:
        return do("matmul", b, do("transpose", a, dim0=0, dim1=1))
    if not first and ranks == [1, 1]:
        return do("matmul", b, a)
    if ranks[0] == 1:
        a = do("unsqueeze", a, dim=-2)
    if ranks[1] == 1:
        b = do("unsqueeze", b, dim=-1)
    rank = max(2, *ranks)
    return call.shaped(do("matmul", aligned(a, rank) if first else a, aligned(b, rank) if second else b))


@rule("inner")
def inner(call: Call) -> Any:
    """The last dimensions contracted."""
    _ = call.outcome
    a, b = call.inputs
    ranks = call.rank(0), call.rank(1)
    if 0 in ranks:
        return call.level.values_of(do("mul", a, b))
    left, right = LETTERS[: ranks[0] - 1], LETTERS[ranks[0] : ranks[0] + ranks[1] - 1]
    return call.level.values_of(do("einsum", a, b, equation=f"{left}z,{right}z->{left}{right}"))


@rule("outer")
def outer(call: Call) -> Any:
    """All pairs."""
    _ = call.outcome
    a, b = call.inputs
    return call.level.values_of(do("mul", do("unsqueeze", a, dim=1), do("unsqueeze", b, dim=0)))


@rule("addmm", "addmv", "baddbmm")
def added_product(call: Call) -> Any:
    """A product and what is added to it."""
    _ = call.outcome
    x, a, b = call.inputs
    beta, alpha = call.parameters["beta"], call.parameters["alpha"]
    made = do("matmul", a, b)
    if alpha != 1:
        made = do("mul", made, alpha)
    if beta != 0:
        made = do("add", made, x if beta == 1 else do("mul", x, beta))
    elif not call.batched[1] and not call.batched[2]:
        made = call.level.lift(made)
    return call.level.values_of(made)


@rule("trace")
def trace(call: Call) -> Any:
    """The diagonals' sums."""
    _ = call.outcome
    return do("sum", do("diagonal", call.rows(0), offset=0, dim1=1, dim2=2), dim=(1,))


@rule(
    *("svd", "svdvals", "inv", "det", "slogdet", "logdet", "cholesky", "eigh", "eigvalsh", "_cofactors", "cholesky_ex", "inv_ex"),
    *("lu_factor", "lu_factor_ex", "lu", "qr", "geqrf", "eig", "eigvals", "matrix_exp", "cholesky_inverse"),
    *("ldl_factor", "ldl_factor_ex"),
)
def decomposition(call: Call) -> Any:
    """Ops on the last two dimensions."""
    _ = call.outcome
    return results(call, do(call.name, call.rows(0), **call.parameters))


@rule("solve", "solve_ex")
def solve(call: Call) -> Any:
    """Systems; vectors on the right side as columns, so that none is taken for a matrix."""
    _ = call.outcome
    a, b = call.rows(0), call.rows(1)
    ranks = [call.rank(0), call.rank(1)]
    if has_vectors(call.specs[0].shape, call.specs[1].shape):
        b = do("unsqueeze", b, dim=-1)
        ranks[1] += 1
    rank = max(ranks)
    return results(call, do(call.name, aligned(a, rank), aligned(b, rank), **call.parameters))


@rule("lu_solve", "ldl_solve")
def factored(call: Call) -> Any:
    """Systems whose matrix was factorised."""
    _ = call.outcome
    rank = max(call.rank(0), call.rank(1) + 1, call.rank(2))
    lu, pivots, b = (aligned(call.rows(i), r) for i, r in enumerate((rank, rank - 1, rank)))
    return call.shaped(do(call.name, lu, pivots, b, **call.parameters))


@rule("solve_triangular", "cholesky_solve", "cdist")
def pair(call: Call) -> Any:
    """Ops on the last two dimensions of two tensors, whose other dimensions broadcast."""
    _ = call.outcome
    rank = max(call.rank(0), call.rank(1))
    return call.shaped(do(call.name, aligned(call.rows(0), rank), aligned(call.rows(1), rank), **call.parameters))


@rule("lu_unpack")
def unpack(call: Call) -> Any:
    """A factorisation taken apart."""
    _ = call.outcome
    return results(call, do("lu_unpack", call.rows(0), call.rows(1), **call.parameters))


@rule("pinv", "matrix_rank")
def with_tolerances(call: Call) -> Any:
    """Singular values cut at tolerances, which are numbers; tensors of them differ from matrix to matrix."""
    _ = call.outcome
    if any(hasattr(spec, "shape") for spec in call.specs[1:]):
        return by_rows(call)
    return results(call, do(call.name, call.rows(0), *call.values[1:], **call.parameters))


@rule("einsum")
def einsum(call: Call) -> Any:
    """The batch is one letter more."""
    _ = call.outcome
    parsed = parse(call.parameters["equation"], tuple(s.shape for s in call.specs))
    labels = dict.fromkeys("".join((*parsed.inputs, parsed.output)))
    if len(labels) >= len(LETTERS):
        return by_rows(call)
    letters = dict(zip(labels, LETTERS[1:], strict=False))
    rows = LETTERS[0]
    terms = ["".join([rows * b, *[letters[c] for c in term]]) for term, b in zip(parsed.inputs, call.batched, strict=True)]
    equation = f"{','.join(terms)}->{rows}{''.join(letters[c] for c in parsed.output)}"
    return call.shaped(do("einsum", *call.values, equation=equation))
