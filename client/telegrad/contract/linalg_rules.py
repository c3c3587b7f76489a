"""Shape, type and cost rules of factorisations, of systems of equations and of what else ``telegrad.linalg`` has of matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from telegrad.contract.dtypes import complex64, complex128, float32, int32, int64, to_real
from telegrad.contract.errors import DimensionError, DTypeError, ShapeError
from telegrad.contract.matrices import check_floating, check_square, has_vectors
from telegrad.contract.ops import Outcome, Shape, Spec, UnknownShape
from telegrad.contract.shapes import broadcast

Parameters = Mapping[str, Any]


def matrices(name: str, x: Spec, what: str = "A") -> None:
    """Refuse what is no batch of matrices of floating or complex numbers."""
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: The input tensor {what} must have at least 2 dimensions, but it has shape {list(x.shape)}")
    check_floating(name, x)


def _same(name: str, a: Spec, b: Spec) -> None:
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {a.dtype.name} and B of type "
            f"{b.dtype.name} instead; convert one of them with .to(...)"
        )


def _system(name: str, a: Spec, b: Spec, left: bool) -> Shape:
    """The shape of the solution of ``A X = B`` or ``X A = B`` where B holds matrices."""
    if b.shape[-2 if left else -1] != a.shape[-1]:
        sizes = "x".join(map(str, a.shape[-2:])), "x".join(map(str, b.shape[-2:]))
        equation = "AX = B" if left else "XA = B"
        raise ShapeError(f"{name}: Incompatible shapes of A and B for the equation {equation} ({sizes[0]} and {sizes[1]})")
    return (*broadcast(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])


# Factorisations ----------------------------------------------------------------------------------------------------------------


def _info(x: Spec) -> Spec:
    return Spec(x.shape[:-2], int32)


def cholesky_ex(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.cholesky_ex``."""
    (x,) = inputs
    check_square("linalg.cholesky_ex", x)
    return Outcome((x, _info(x)), x.size * max(1, x.shape[-1]), None, x.nbytes)


def inv_ex(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.inv_ex``."""
    (x,) = inputs
    check_square("linalg.inv_ex", x)
    return Outcome((x, _info(x)), 2 * x.size * max(1, x.shape[-1]), None, 2 * x.nbytes)


def solve_ex(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.solve_ex``."""
    a, b = inputs
    check_square("linalg.solve", a)
    _same("linalg.solve", a, b)
    left = p["left"]
    vectors = has_vectors(a.shape, b.shape)
    if vectors and not left:
        raise ShapeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False; unsqueeze B to a matrix"
        )
    if not b.shape:
        raise ShapeError("linalg.solve: The input tensor B must have at least 1 dimension, but it has none")
    shape = _system("linalg.solve", a, Spec((*b.shape, 1), b.dtype) if vectors else b, left)
    n = a.shape[-1]
    flops = 2 * math.prod(shape) * n + 2 * math.prod(shape[:-2]) * n**3
    scratch = (math.prod(shape[:-2]) * n * n + 2 * math.prod(shape)) * a.dtype.itemsize
    return Outcome((Spec(shape[:-1] if vectors else shape, a.dtype), Spec(a.shape[:-2], int32)), flops, None, scratch)


def _pivots(name: str, x: Spec, p: Parameters) -> Spec:
    matrices(name, x)
    if not p["pivot"]:
        raise ShapeError(f"{name}: LU without pivoting is not implemented on the CPU; leave pivot=True")
    return Spec((*x.shape[:-2], min(x.shape[-2:])), int32)


def lu_factor(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.lu_factor``."""
    (x,) = inputs
    return Outcome((x, _pivots("linalg.lu_factor", x, p)), x.size * max(1, x.shape[-1]), None, x.nbytes)


def lu_factor_ex(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.lu_factor_ex``."""
    (x,) = inputs
    pivots = _pivots("linalg.lu_factor", x, p)
    return Outcome((x, pivots, _info(x)), x.size * max(1, x.shape[-1]), None, x.nbytes)


def _parts(x: Spec) -> tuple[Spec, Spec, Spec]:
    """P, L and U."""
    *batch, m, n = x.shape
    k = min(m, n)
    return Spec((*batch, m, m), x.dtype), Spec((*batch, m, k), x.dtype), Spec((*batch, k, n), x.dtype)


def lu(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.lu``."""
    (x,) = inputs
    _pivots("linalg.lu", x, p)
    return Outcome(_parts(x), x.size * max(1, x.shape[-1]), None, 2 * x.nbytes)


def lu_unpack(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``lu_unpack``."""
    x, pivots = inputs
    if len(x.shape) < 2:
        raise ShapeError(f"torch.lu_unpack: The input tensor LU_data must have at least 2 dimensions, not shape {list(x.shape)}")
    if p["unpack_pivots"] and pivots.dtype is not int32:
        raise DTypeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype. "
            f"It is of {pivots.dtype.name}; give it as lu_factor returns it"
        )
    permutation, lower, upper = _parts(x)
    if p["unpack_pivots"] and pivots.shape != (*x.shape[:-2], min(x.shape[-2:])):
        raise ShapeError(f"torch.lu_unpack: LU_data {list(x.shape)} and LU_pivots {list(pivots.shape)} do not go together")
    nothing = Spec((0,), x.dtype)
    data = (lower, upper) if p["unpack_data"] else (nothing, nothing)
    return Outcome((permutation if p["unpack_pivots"] else nothing, *data), x.size)


def lu_solve(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.lu_solve``."""
    x, pivots, b = inputs
    check_square("linalg.lu_solve", x)
    if pivots.dtype is not int32:
        raise DTypeError(f"linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32. Got {pivots.dtype.name}")
    if x.dtype is not b.dtype:
        raise DTypeError(
            f"linalg.lu_solve: Expected LU and B to have the same dtype, but found LU of type {x.dtype.name} and B of type "
            f"{b.dtype.name} instead"
        )
    if len(b.shape) < 2:
        raise ShapeError(f"linalg.lu_solve: The input tensor B must have at least 2 dimensions, but it has shape {list(b.shape)}")
    if pivots.shape != x.shape[:-1]:
        raise ShapeError(
            "linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix: "
            f"pivots of shape {list(pivots.shape)}, LU of {list(x.shape)}"
        )
    shape = _system("linalg.lu_solve", x, b, p["left"])
    return Outcome((Spec(shape, x.dtype),), 2 * math.prod(shape) * x.shape[-1], None, 2 * math.prod(shape) * x.dtype.itemsize)


def qr(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.qr``."""
    (x,) = inputs
    matrices("linalg.qr", x)
    mode = p["mode"]
    if mode not in ("reduced", "complete", "r"):
        raise ShapeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    q = Spec((0,) if mode == "r" else (*batch, m, k), x.dtype)
    return Outcome((q, Spec((*batch, k, n), x.dtype)), 4 * x.size * max(1, min(m, n)), None, x.nbytes)


def geqrf(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``geqrf``."""
    (x,) = inputs
    if len(x.shape) < 2:
        raise ShapeError(f"torch.geqrf: input must have at least 2 dimensions, but it has shape {list(x.shape)}")
    check_floating("torch.geqrf", x)
    tau = Spec((*x.shape[:-2], min(x.shape[-2:])), x.dtype)
    return Outcome((x, tau), 2 * x.size * max(1, tau.shape[-1]), None, x.nbytes)


def _complex(x: Spec) -> Any:
    return complex64 if x.dtype in (float32, complex64) else complex128


def eig(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.eig``."""
    (x,) = inputs
    check_square("linalg.eig", x)
    return Outcome((Spec(x.shape[:-1], _complex(x)), Spec(x.shape, _complex(x))), 25 * x.size * max(1, x.shape[-1]), None, x.nbytes)


def eigvals(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.eigvals``."""
    (x,) = inputs
    check_square("linalg.eigvals", x)
    return Outcome((Spec(x.shape[:-1], _complex(x)),), 10 * x.size * max(1, x.shape[-1]), None, x.nbytes)


# Systems and inverses ------------------------------------------------------------------------------------------------------------


def solve_triangular(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.solve_triangular``."""
    a, b = inputs
    if len(b.shape) < 2:
        raise ShapeError(
            f"linalg.solve_triangular: The input tensor B must have at least 2 dimensions, but it has shape {list(b.shape)}"
        )
    check_square("linalg.solve_triangular", a)
    _same("linalg.solve_triangular", a, b)
    shape = _system("linalg.solve_triangular", a, b, p["left"])
    return Outcome((Spec(shape, a.dtype),), math.prod(shape) * a.shape[-1], None, math.prod(shape) * a.dtype.itemsize)


def lstsq(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.lstsq``."""
    a, b = inputs
    name = "torch.linalg.lstsq"
    if len(a.shape) < 2:
        raise ShapeError(f"{name}: input must have at least 2 dimensions, but it has shape {list(a.shape)}")
    if not b.shape:
        raise ShapeError(f"{name}: other must have at least 1 dimension, but it has none")
    if not 0 <= len(a.shape) - len(b.shape) <= 1:
        raise ShapeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1, but they are "
            f"{len(a.shape)} and {len(b.shape)}"
        )
    check_floating(name, a)
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype {a.dtype.name} and other's "
            f"dtype {b.dtype.name}"
        )
    driver = p["driver"] or "gelsy"
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise ShapeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vectors = has_vectors(a.shape, b.shape)
    right = (*b.shape, 1) if vectors else b.shape
    *batch, m, n = a.shape
    if right[-2] != m:
        raise ShapeError(
            f"{name}: input.size(-2) should match other.size(-{1 if vectors else 2}), not {list(a.shape)} and {list(b.shape)}"
        )
    lead = broadcast(tuple(batch), right[:-2])
    solution = Spec((*lead, n) if vectors else (*lead, n, right[-1]), a.dtype)
    real = to_real(a.dtype)
    if driver in ("gelsd", "gelss") and m > n:
        raise UnknownShape(a.dtype, real, int64, real)  # residuals are left out unless every rank is full
    k = min(m, n)
    residuals = Spec((*lead, right[-1]) if driver == "gels" and m > n else (0,), real)
    rank = Spec((0,) if driver == "gels" else tuple(batch), int64)
    values = Spec((*batch, k) if driver in ("gelsd", "gelss") else (0,), real)
    return Outcome((solution, residuals, rank, values), 16 * a.size * max(1, k), None, 4 * a.nbytes + 2 * b.nbytes)


def matrix_rank(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.matrix_rank``."""
    x = inputs[0]
    if len(x.shape) < 2:
        raise ShapeError(
            f"torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions, but it has shape {list(x.shape)}"
        )
    if x.dtype.category < 2:
        raise DTypeError(f"torch.linalg.matrix_rank: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    if p["hermitian"]:
        check_square("linalg.eigh", x)
    check_floating("torch.linalg.matrix_rank", x)
    tolerances = _tolerances("torch.linalg.matrix_rank", inputs)
    return Outcome((Spec(broadcast(x.shape[:-2], *tolerances), int64),), 6 * x.size * max(1, min(x.shape[-2:])), None, x.nbytes)


def _tolerances(name: str, inputs: Sequence[Any]) -> list[Shape]:
    """Shapes of the tolerances given as tensors."""
    found = [x for x in inputs[1:] if isinstance(x, Spec)]
    for x in found:
        if x.dtype.is_complex:
            raise DTypeError(f"{name}: atol and rtol must be real, but one of them is {x.dtype.name}")
    return [x.shape for x in found]


def pinv(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.pinv``."""
    x = inputs[0]
    if len(x.shape) < 2 or x.dtype.category < 2:
        raise DTypeError(
            f"linalg.pinv({x.dtype.name}{list(x.shape)}): expected a tensor with 2 or more dimensions of float32, float64, "
            "complex64 or complex128"
        )
    if p["hermitian"]:
        check_square("linalg.eigh", x)
    check_floating("linalg.pinv", x)
    *batch, m, n = x.shape
    lead = broadcast(tuple(batch), *_tolerances("linalg.pinv", inputs))
    return Outcome((Spec((*lead, n, m), x.dtype),), 20 * x.size * max(1, min(m, n)), None, 4 * x.nbytes)


def cholesky_inverse(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``cholesky_inverse``."""
    (x,) = inputs
    check_square("cholesky_inverse", x)
    return Outcome((x,), x.size * max(1, x.shape[-1]), None, 2 * x.nbytes)


def cholesky_solve(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``cholesky_solve``."""
    b, a = inputs
    for name, x in (("b", b), ("u", a)):
        if len(x.shape) < 2:
            raise ShapeError(f"{name} should have at least 2 dimensions, but has {len(x.shape)} dimensions instead")
    check_square("cholesky_solve", a)
    _same("cholesky_solve", a, b)
    shape = _system("cholesky_solve", a, b, True)
    return Outcome((Spec(shape, a.dtype),), 2 * math.prod(shape) * a.shape[-1], None, 2 * math.prod(shape) * a.dtype.itemsize)


def matrix_exp(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.matrix_exp``."""
    (x,) = inputs
    check_square("linalg.matrix_exp", x)
    return Outcome((x,), 30 * x.size * max(1, x.shape[-1]), None, 10 * x.nbytes)


def addbmm(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``addbmm``."""
    from telegrad.contract.tensor.linalg import require_expandable, same_type

    x, a, b = inputs
    same_type("addbmm", a, b, x)
    for name, batch in (("batch1", a), ("batch2", b)):
        if len(batch.shape) != 3:
            raise ShapeError(f"{name} must be a 3D tensor, got shape {list(batch.shape)}")
    if a.shape[0] != b.shape[0]:
        raise ShapeError(f"batch1 and batch2 must have same number of batches, got {a.shape[0]} and {b.shape[0]}")
    if a.shape[2] != b.shape[1]:
        raise ShapeError(
            f"Incompatible matrix sizes for bmm ({a.shape[1]}x{a.shape[2]} and {b.shape[1]}x{b.shape[2]}): "
            "columns of the first must be rows of the second"
        )
    shape = (a.shape[1], b.shape[2])
    require_expandable(x.shape, shape)
    return Outcome((Spec(shape, a.dtype),), 2 * a.size * b.shape[2], None, a.nbytes + b.nbytes)


# Indefinite matrices -----------------------------------------------------------------------------------------------------------


def ldl_factor(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.ldl_factor``."""
    (x,) = inputs
    check_square("torch.linalg.ldl_factor_ex", x)
    return Outcome((x, Spec(x.shape[:-1], int32)), x.size * max(1, x.shape[-1]), None, x.nbytes)


def ldl_factor_ex(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``linalg.ldl_factor_ex``."""
    made = ldl_factor(inputs, p)
    return made._replace(outputs=(*made.outputs, _info(inputs[0])))


def ldl_solve(inputs: Sequence[Any], _p: Parameters) -> Outcome:
    """Rule of ``linalg.ldl_solve``."""
    x, pivots, b = inputs
    name = "torch.linalg.ldl_solve"
    check_square(name, x)
    if len(b.shape) < 2:
        raise DimensionError(f"{name}: The input tensor B must have at least 2 dimensions, but it has shape {list(b.shape)}")
    if b.shape[-2] != x.shape[-1]:
        raise ShapeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {x.shape[-1]} by {x.shape[-1]} but each b matrix is "
            f"{b.shape[-2]} by {b.shape[-1]}"
        )
    if pivots.shape != x.shape[:-1]:
        raise ShapeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape {list(pivots.shape)} "
            "instead"
        )
    if pivots.dtype.category != 1:
        raise DTypeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype.name}")
    if x.dtype is not b.dtype:
        raise DTypeError(
            f"Expected b and A to have the same dtype, but found b of type {b.dtype.name} and A of type {x.dtype.name} instead."
        )
    shape = (*broadcast(x.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    return Outcome((Spec(shape, x.dtype),), 2 * math.prod(shape) * x.shape[-1], None, 2 * math.prod(shape) * x.dtype.itemsize)
