"""Kernels and derivatives of products, einsum, trace and norms."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract.einsum import parse
from telegrad.contract.errors import AutogradError, NumericalError
from telegrad_service.engine.contraction import contract
from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, joint_derivative, kernel

# Products ----------------------------------------------------------------------------------------------------------------------


def adjoint(x: Any) -> Any:
    """Conjugate transpose of the last two dimensions."""
    return F.conjugate(F.transpose(x, dim0=-2, dim1=-1))


def product(a: Any, b: Any) -> Any:
    """``a @ b`` of two matrices of floats: the call of BLAS that ``np.matmul`` makes, 0.3 µs sooner."""
    # The compiler's stand-ins, which are no arrays, are better off with a call that takes ``out``.
    return np.dot(a, b) if type(a) is np.ndarray else np.matmul(a, b)


def matmul(self: Array, other: Array) -> Any:
    """Matrix product; a batch times one matrix is folded into one product, which BLAS does in one call."""
    if type(self) is np.ndarray and self.ndim == 2 == other.ndim and self.dtype.char in "fd":
        return np.dot(self, other)  # see `product`
    if self.ndim > 2 and other.ndim == 2 and self.flags.c_contiguous and self.size:
        return (self.reshape(-1, self.shape[-1]) @ other).reshape(self.shape[:-1] + other.shape[-1:])
    return np.matmul(self, other)


kernel("matmul", matmul, ufunc=matmul, ufunc_kinds="f")


def times_transposed(left: Any, right: Any, bias: Any = None) -> Any:
    """``left @ right.T + bias`` of matrices of floats, in a new array; ``bias`` is a row, or None.

    For a few rows BLAS takes longer to lay out ``right`` the other way round than to multiply, so that the product is made as
    ``(right @ left.T).T``: 0.55 to 0.85 of the time from 16 rows to 64.
    """
    rows, width = left.shape[0], right.shape[0]
    if _FEWEST <= rows <= _MOST and width >= _WIDE and right.size >= _TURNED * rows * rows and right.flags.c_contiguous:
        made = product(right, left.T).T
        return made.copy() if bias is None else np.add(made, bias, order="C")
    made = product(left, right.T)
    if bias is not None:
        made += bias  # made just now: nobody else holds it
    return made


_FEWEST, _MOST, _WIDE, _TURNED = 8, 64, 128, 16
"""Measured with OpenBLAS: rows of the left matrix, rows of the right one, and its size for each square of the former."""


def real_matrices(g: Any, other: Any) -> bool:
    """Whether these are what most products are of: arrays of what BLAS multiplies, where the general text takes several steps."""
    return g.__class__ is np.ndarray and g.ndim == 2 and other.ndim == 2 and other.dtype.char in "fd"


def matmul_self(g: Any, other: Any, self_shape: tuple[int, ...]) -> Any:
    """Gradient of a product's left operand."""
    if real_matrices(g, other) and len(self_shape) == 2:
        return times_transposed(g, other)
    conjugate = F.conjugate(other)
    if len(self_shape) == 1:
        if other.ndim == 1:
            return g * conjugate
        # A row vector: the product with g's row, summed over the batch by the walk.
        return F.squeeze(F.matmul(conjugate, F.unsqueeze(g, dim=-1)), dim=(-1,))
    if other.ndim == 1:
        return F.unsqueeze(g, dim=-1) * conjugate
    if len(self_shape) == 2 and other.ndim > 2:
        return fold_left(g, conjugate)
    return F.matmul(g, F.transpose(conjugate, dim0=-2, dim1=-1))


def fold_left(g: Any, other: Any) -> Any:
    """Sum over the batch of ``g[b] @ other[b]^T`` as one product: the batch joins the contracted dimension."""
    batch = tuple(range(g.ndim - 2))
    rows, inner = g.shape[-2], other.shape[-2]
    joined = math.prod(g.shape[:-2]) * g.shape[-1]
    left = F.reshape(F.permute(g, dims=(g.ndim - 2, *batch, g.ndim - 1)), shape=(rows, joined))
    right = F.reshape(F.permute(other, dims=(other.ndim - 2, *batch, other.ndim - 1)), shape=(inner, joined))
    return F.matmul(left, F.transpose(right, dim0=0, dim1=1))


def matmul_other(g: Any, self: Any, other_shape: tuple[int, ...]) -> Any:
    """Gradient of a product's right operand. With one matrix for a whole batch, one product sums over the batch."""
    if real_matrices(g, self) and len(other_shape) == 2:
        return product(self.T, g)
    conjugate = F.conjugate(self)
    if len(other_shape) == 1:
        if self.ndim == 1:
            return g * conjugate
        size = math.prod(self.shape[:-1])
        return F.matmul(F.reshape(g, shape=(size,)), F.reshape(conjugate, shape=(size, self.shape[-1])))
    if self.ndim == 1:
        return F.unsqueeze(conjugate, dim=-1) * F.unsqueeze(g, dim=-2)
    if len(other_shape) == 2 and self.ndim > 2:
        size = math.prod(self.shape[:-1])
        left = F.reshape(conjugate, shape=(size, self.shape[-1]))
        return F.matmul(F.transpose(left, dim0=0, dim1=1), F.reshape(g, shape=(size, g.shape[-1])))
    return F.matmul(F.transpose(conjugate, dim0=-2, dim1=-1), g)


derivative("matmul", self=matmul_self, other=matmul_other)

kernel("mm", np.matmul)
kernel("bmm", np.matmul)

derivative("mm", self=lambda g, mat2: F.matmul(g, adjoint(mat2)), mat2=lambda g, self: F.matmul(adjoint(self), g))
derivative("bmm", self=lambda g, mat2: F.matmul(g, adjoint(mat2)), mat2=lambda g, self: F.matmul(adjoint(self), g))

kernel("mv", np.matmul)
derivative(
    "mv",
    self=lambda g, vec: F.unsqueeze(g, dim=-1) * F.conjugate(vec),
    vec=lambda g, self: F.matmul(g, F.conjugate(self)),
)

kernel("dot", np.dot)
derivative("dot", self=lambda g, tensor: g * F.conjugate(tensor), tensor=lambda g, self: g * F.conjugate(self))

kernel("inner", np.inner)


def _inner_gradient(g: Any, other: Any, own_shape: tuple[int, ...], first: bool) -> Any:
    """Gradient of one operand of ``inner``: ``g`` contracted with the other operand over the other's leading dimensions."""
    conjugate = F.conjugate(other)
    if not own_shape or not other.ndim:
        return g * conjugate
    mine, theirs = math.prod(own_shape[:-1]), math.prod(other.shape[:-1])
    matrix = F.reshape(g, shape=(mine, theirs) if first else (theirs, mine))
    if not first:
        matrix = F.transpose(matrix, dim0=0, dim1=1)
    product = F.matmul(matrix, F.reshape(conjugate, shape=(theirs, other.shape[-1])))
    return F.reshape(product, shape=own_shape)


derivative(
    "inner",
    self=lambda g, other, self_shape: _inner_gradient(g, other, self_shape, True),
    other=lambda g, self, other_shape: _inner_gradient(g, self, other_shape, False),
)


@kernel("outer")
def _outer(self: Array, vec2: Array) -> Any:
    return self[:, None] * vec2


derivative(
    "outer",
    # Types may have been promoted, so a product with conversion: broadcast and sum, not matmul.
    self=lambda g, vec2: F.sum(g * F.conjugate(vec2), dim=(1,)),
    vec2=lambda g, self: F.sum(g * F.unsqueeze(F.conjugate(self), dim=-1), dim=(0,)),
)


def added(self: Array, a: Array, b: Array, beta: Any, alpha: Any) -> Any:
    """``beta * self + alpha * (a @ b)``."""
    product = np.matmul(a, b)  # nobody else holds it, so that it takes the rest without a copy
    if alpha != 1:
        product *= np.asarray(alpha).astype(a.dtype)
    if beta == 0:
        return product  # NaN in self must not spread, as in PyTorch and BLAS
    product += self if beta == 1 else self * np.asarray(beta).astype(a.dtype)
    return product


kernel("addmm", lambda self, mat1, mat2, beta, alpha: added(self, mat1, mat2, beta, alpha))
kernel("addmv", lambda self, mat, vec, beta, alpha: added(self, mat, vec, beta, alpha))
kernel("baddbmm", lambda self, batch1, batch2, beta, alpha: added(self, batch1, batch2, beta, alpha))


def scaled(g: Any, factor: Any) -> Any:
    """``g`` times the conjugate of a number."""
    return g if factor == 1 else g * F.conjugate(factor)


derivative(
    "addmm",
    self=lambda g, beta: scaled(g, beta),
    mat1=lambda g, mat2, alpha: scaled(F.matmul(g, adjoint(mat2)), alpha),
    mat2=lambda g, mat1, alpha: scaled(F.matmul(adjoint(mat1), g), alpha),
)
derivative(
    "addmv",
    self=lambda g, beta: scaled(g, beta),
    mat=lambda g, vec, alpha: scaled(F.unsqueeze(g, dim=-1) * F.conjugate(vec), alpha),
    vec=lambda g, mat, alpha: scaled(F.matmul(g, F.conjugate(mat)), alpha),
)
derivative(
    "baddbmm",
    self=lambda g, beta: scaled(g, beta),
    batch1=lambda g, batch2, alpha: scaled(F.matmul(g, adjoint(batch2)), alpha),
    batch2=lambda g, batch1, alpha: scaled(F.matmul(adjoint(batch1), g), alpha),
)


# Einsum ------------------------------------------------------------------------------------------------------------------------


@kernel("einsum")
def _einsum(*operands: Array, equation: str) -> Array:
    parsed = parse(equation, tuple([o.shape for o in operands]))
    return _own(contract(operands, parsed.inputs, parsed.output, parsed.shape), operands)


@kernel("_contract")
def _contract(*operands: Array, equation: str, shape: tuple[int, ...]) -> Array:
    left, _, output = equation.partition(">")
    return _own(contract(operands, left.split(","), output, tuple(shape)), operands)


def _own(result: Array, operands: tuple[Array, ...]) -> Array:
    """A copy where a single operand was only viewed another way."""
    return result.copy() if len(operands) == 1 and np.may_share_memory(result, operands[0]) else result


def _operand_gradients(
    g: Any, operands: tuple[Any, ...], inputs: tuple[str, ...], output: str, needs: tuple[bool, ...]
) -> tuple[Any, ...]:
    """Each operand's gradient: the contraction of ``g`` with the other operands into the operand's own labels."""
    gradients: list[Any] = []
    for i, needed in enumerate(needs):
        if not needed:
            gradients.append(None)
            continue
        others = [F.conjugate(o) for j, o in enumerate(operands) if j != i]
        labels = ",".join([output, *(own for j, own in enumerate(inputs) if j != i)])
        gradients.append(F._contract(g, *others, equation=f"{labels}>{inputs[i]}", shape=operands[i].shape))
    return tuple(gradients)


@joint_derivative("einsum", "operands")
def _einsum_gradient(g: Any, operands: tuple[Any, ...], equation: str, needs: tuple[bool, ...]) -> Any:
    parsed = parse(equation, tuple([tuple(o.shape) for o in operands]))
    return _operand_gradients(g, operands, parsed.inputs, parsed.output, needs)


@joint_derivative("_contract", "operands")
def _contract_gradient(g: Any, operands: tuple[Any, ...], equation: str, needs: tuple[bool, ...]) -> Any:
    left, _, output = equation.partition(">")
    return _operand_gradients(g, operands, tuple(left.split(",")), output, needs)


@kernel("trace")
def _trace(self: Array) -> Any:
    return np.trace(self)


derivative(
    "trace",
    self=lambda g, self_shape: (
        F._contract(F.reshape(g, shape=()), equation=">aa", shape=self_shape)
        if self_shape[0] == self_shape[1]
        else _rectangular_trace(g, self_shape)
    ),
)


def _rectangular_trace(g: Any, shape: tuple[int, ...]) -> Any:
    n = min(shape)
    square = F._contract(F.reshape(g, shape=()), equation=">aa", shape=(n, n))
    return F._getitem_gradient(square, shape=shape, index=(slice(0, n, 1), slice(0, n, 1)))


# Singular values ---------------------------------------------------------------------------------------------------------------


def decompose(x: Array, **settings: bool) -> Any:
    """Numpy's singular value decomposition; raises NumericalError where it does not converge."""
    svd: Any = np.linalg.svd
    try:
        return svd(x, **settings)
    except np.linalg.LinAlgError:
        raise NumericalError(
            "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values."
        ) from None


@kernel("svd")
def _svd(self: Array, full_matrices: bool) -> Any:
    return tuple(decompose(self, full_matrices=full_matrices))


@kernel("svdvals")
def _svdvals(self: Array) -> Any:
    return decompose(self, compute_uv=False)


def on_diagonal(x: Any) -> Any:
    """Vectors in the last dimension as diagonal matrices."""
    batch = "".join(chr(0x100 + i) for i in range(x.ndim - 1))
    return F._contract(x, equation=f"{batch}a>{batch}aa", shape=(*x.shape, x.shape[-1]))


def require_free_phases(name: str, along: Any, what: str) -> None:
    """Refuse a gradient that depends on the phases of complex vectors, which are free: ``along`` would turn them."""
    values = getattr(along, "array", along)
    if isinstance(values, np.ndarray) and values.dtype.kind == "c" and np.any(abs(values.imag) > 1e-2):
        raise AutogradError(
            f"{name}: The {what} in the complex case are specified up to multiplication by e^{{i phi}}. The specified loss "
            "function depends on this quantity, so it is ill-defined."
        )


def first_columns(x: Any, count: int) -> Any:
    """The first ``count`` columns of matrices."""
    return x if x.shape[-1] == count else F.getitem(x, index=(Ellipsis, slice(0, count, 1)))


def first_rows(x: Any, count: int) -> Any:
    """The first ``count`` rows of matrices."""
    return x if x.shape[-2] == count else F.getitem(x, index=(Ellipsis, slice(0, count, 1), slice(None)))


def _svd_gradient(g: Any, U: Any, S: Any, Vh: Any) -> Any:
    """Townsend's formula; for full matrices the columns that the decomposition leaves free get no gradient."""
    k = S.shape[-1]
    m, n = U.shape[-2], Vh.shape[-1]
    u, vh = first_columns(U, k), first_rows(Vh, k)
    gu, gs, gvh = first_columns(g[0], k), g[1], first_rows(g[2], k)
    row, column = F.unsqueeze(S, dim=-2), F.unsqueeze(S, dim=-1)
    from_u = F.matmul(adjoint(u), gu)
    from_u = from_u - adjoint(from_u)
    from_v = F.matmul(vh, adjoint(gvh))
    from_v = from_v - adjoint(from_v)
    require_free_phases("svd_backward", F.diagonal(from_u + from_v, dim1=-2, dim2=-1) * 0.5, "singular vectors")
    gaps = row * row - column * column + on_diagonal(F.zeros(S, S.shape) + 1)
    core = (from_u * row + column * from_v) / gaps + on_diagonal(gs)
    # The diagonal of from_u is imaginary: it is there for complex matrices only.
    core = core + on_diagonal(F.diagonal(from_u, dim1=-2, dim2=-1) / (2 * S))
    left = F.matmul(u, core)
    if m > k:
        scaled = gu / row
        left = left + scaled - F.matmul(u, F.matmul(adjoint(u), scaled))
    result = F.matmul(left, vh)
    if n > k:
        scaled = gvh / column
        result = result + F.matmul(u, scaled - F.matmul(F.matmul(scaled, adjoint(vh)), vh))
    return result


derivative("svd", self=_svd_gradient)


def _svdvals_gradient(g: Any, self: Any) -> Any:
    u, _, vh = F.svd(self, full_matrices=False)
    return F.matmul(u * F.unsqueeze(g, dim=-2), vh)


derivative("svdvals", self=_svdvals_gradient)
