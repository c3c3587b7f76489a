"""Products of matrices and vectors, einsum, trace and norms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from telegrad.contract.dtypes import Number, float16, int64, to_real
from telegrad.contract.einsum import LETTERS, parse, plan, spell
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Shape, Spec, op
from telegrad.contract.shapes import broadcast, dimensions, elementwise, ints, result_type
from telegrad.contract.tensor.arrays import ARRAY, with_array
from telegrad.contract.tensor.base import TensorBase

T = TypeVar("T", bound=TensorBase)


def same_type(name: str, *tensors: Spec) -> None:
    """Refuse operands of different types: PyTorch promotes nothing in products."""
    first = tensors[0].dtype
    for other in tensors[1:]:
        if other.dtype is not first:
            raise DTypeError(
                f"{name}: expected both operands to have the same dtype, but got: {first.name} != {other.dtype.name}; "
                "convert one of them first, for example with .to(...)"
            )
    if first.category == 0:
        raise UnsupportedDTypeError(f'"{name}" not implemented for bool; convert it first, for example with .to(telegrad.float32)')


def require_expandable(shape: Shape, target: Shape) -> None:
    """Refuse a shape that does not broadcast to ``target``."""
    lead = len(target) - len(shape)
    if lead >= 0 and all(n in (1, m) for n, m in zip(shape, target[lead:], strict=True)):
        return
    raise ShapeError(
        f"The expanded size of the tensor must match the existing size: {list(shape)} does not broadcast to {list(target)}"
    )


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """The shape of ``a @ b`` by numpy's and PyTorch's rule for 1-d operands and broadcast batches; raises ShapeError."""
    if not a or not b:
        raise ShapeError(f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D")
    inner = b[max(-2, -len(b))]
    if a[-1] != inner:
        if len(a) == 1 and len(b) == 1:
            raise ShapeError(
                f"inconsistent tensor size, expected tensor {list(a)} and src {list(b)} to have the same number of elements, "
                "but got "
                f"{a[0]} and {b[0]} elements respectively"
            )
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, a))} and {'x'.join(map(str, b))}): the last size "
            "of the "
            f"first, {a[-1]}, must equal the {'second-last' if len(b) > 1 else 'only'} size of the second, {inner}"
        )
    batch = broadcast(a[:-2], b[:-2])
    return batch + a[-2:-1] + (b[-1:] if len(b) > 1 else ())


def _product(name: str, ranks: tuple[int, int] | None) -> Any:
    """Rule of a product; ``ranks`` are the numbers of dimensions it insists on."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        a, b = inputs
        if ranks is not None and (len(a.shape), len(b.shape)) != ranks:
            raise ShapeError(
                f"{name}: expected tensors of {ranks[0]} and {ranks[1]} dimensions, got shapes {list(a.shape)} and {list(b.shape)}"
            )
        same_type(name, a, b)
        if name == "bmm" and a.shape[0] != b.shape[0]:
            raise ShapeError(
                f"batch1 and batch2 must have same number of batches, got {a.shape[0]} and {b.shape[0]}: "
                "Expected size for first two dimensions of batch2 tensor to be: "
                f"[{a.shape[0]}, {a.shape[2]}] but got: [{b.shape[0]}, {b.shape[1]}]."
            )
        shape = matmul_shape(a.shape, b.shape)
        return Outcome((Spec(shape, a.dtype),), 2 * math.prod(shape) * a.shape[-1])

    return rule


def _outer_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    a, b = inputs
    for i, x in enumerate(inputs):
        if len(x.shape) != 1:
            raise ShapeError(f"outer: Expected 1-D argument {'vec2' if i else 'self'}, but got {len(x.shape)}-D")
    dtype = result_type(inputs)
    shape = (a.shape[0], b.shape[0])
    return Outcome((Spec(shape, dtype),), math.prod(shape), dtype)


def _inner_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    a, b = inputs
    if not a.shape or not b.shape:
        return elementwise()(inputs, parameters)
    same_type("inner", a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(a.shape)} and {list(b.shape)}"
        )
    shape = a.shape[:-1] + b.shape[:-1]
    return Outcome((Spec(shape, a.dtype),), 2 * math.prod(shape) * a.shape[-1])


def _added_product(name: str, rank: int) -> Any:
    """Rule of ``beta * self + alpha * (batch1 @ batch2)``."""

    def rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        x, a, b = inputs
        same_type(name, a, b, x)
        if len(a.shape) != rank or len(b.shape) != (rank if name != "addmv" else 1):
            raise ShapeError(f"{name}: expected {rank}D tensors to multiply, got shapes {list(a.shape)} and {list(b.shape)}")
        if rank == 3 and a.shape[0] != b.shape[0]:
            raise ShapeError(f"{name}: the batches differ: {a.shape[0]} and {b.shape[0]}")
        shape = matmul_shape(a.shape, b.shape)
        require_expandable(x.shape, shape)
        return Outcome((Spec(shape, a.dtype),), 2 * math.prod(shape) * (a.shape[-1] + 1))

    return rule


def _einsum_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    parsed = parse(parameters["equation"], tuple(x.shape for x in inputs))
    same_type("einsum", *inputs)
    return _contraction_outcome(inputs, parsed.inputs, parsed.output, parsed.shape)


def _contract_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    left, _, output = parameters["equation"].partition(">")
    return _contraction_outcome(inputs, tuple(left.split(",")), output, tuple(parameters["shape"]))


def _contraction_outcome(inputs: Sequence[Any], labels: tuple[str, ...], output: str, shape: Shape) -> Outcome:
    """Cost of a contraction: the operations of the path, and its intermediate results beside copies of the operands."""
    sizes: dict[str, int] = {}
    for x, own in zip(inputs, labels, strict=True):
        for label, n in zip(own, x.shape, strict=True):
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
    once = tuple("".join(dict.fromkeys(own)) for own in labels)
    path = plan(once, "".join(label for label in dict.fromkeys(output) if label in sizes), tuple(sorted(sizes.items())))
    dtype = inputs[0].dtype
    compute = None
    if dtype.category < 2 and any("".join(once).count(label) == 1 and label not in output for label in sizes):
        dtype = compute = int64  # a sum over one operand alone is a sum like any other
    scratch = (path.elements + sum(x.size for x in inputs)) * dtype.itemsize
    return Outcome((Spec(shape, dtype),), path.flops + math.prod(shape), compute, scratch)


def _trace_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    (x,) = inputs
    if len(x.shape) != 2:
        raise ShapeError(f"trace: expected a matrix, but got tensor with dim {len(x.shape)}")
    if x.dtype.category == 0:
        raise UnsupportedDTypeError('"trace" not implemented for bool; convert it first, for example with .to(telegrad.int64)')
    dtype = x.dtype if x.dtype.category > 1 else int64
    return Outcome((Spec((), dtype),), min(x.shape))


def _singular(inputs: Sequence[Any], full_matrices: bool) -> tuple[Spec, Spec, Spec, int]:
    """Specs of U, S and Vh, and the flops of a singular value decomposition."""
    (x,) = inputs
    if len(x.shape) < 2:
        raise ShapeError(f"linalg.svd: The input tensor A must have at least 2 dimensions, but it has shape {list(x.shape)}")
    if x.dtype.category < 2 or x.dtype is float16:
        raise DTypeError(f"linalg.svd: Expected a floating point or complex tensor as input. Got {x.dtype.name}")
    *batch, m, n = x.shape
    k = min(m, n)
    u = Spec((*batch, m, m if full_matrices else k), x.dtype)
    vh = Spec((*batch, n if full_matrices else k, n), x.dtype)
    return u, Spec((*batch, k), to_real(x.dtype)), vh, 14 * math.prod(x.shape) * max(1, k)


def _svd_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    u, s, vh, flops = _singular(inputs, parameters["full_matrices"])
    return Outcome((u, s, vh), flops, None, inputs[0].nbytes)


def _svdvals_rule(inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    _, s, _, flops = _singular(inputs, False)
    return Outcome((s,), flops, None, inputs[0].nbytes)


class Decomposition(NamedTuple):
    """What ``linalg.svd`` returns."""

    U: Any
    S: Any
    Vh: Any


class LinalgOps(TensorBase):
    """Products and norms."""

    __slots__ = ()

    @op(_product("matmul", None))
    def matmul(self, other: Self) -> Self:
        """Matrix product; vectors and batches as in numpy.

        Shapes: [..., n, m], [..., m, p] -> [..., n, p], batches broadcast; a 1-d operand stands for a row (left) or a column
        (right)
        whose dimension is dropped from the result. Gradient: g @ other^H; self^H @ g. Raises: ShapeError, DTypeError.
        """
        return self._apply("matmul", self, other)

    def __matmul__(self, other: Self) -> Self:
        if other.__class__ is ARRAY:
            return with_array("matmul", self, other)
        if not isinstance(other, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return self._apply("matmul", self, other)

    def __rmatmul__(self, other: Self) -> Self:
        if not isinstance(other, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return self._apply("matmul", other, self)

    @op(_product("mm", (2, 2)))
    def mm(self, mat2: Self) -> Self:
        """Product of two matrices.

        Shapes: [n, m], [m, p] -> [n, p]. Gradient: g @ mat2^H; self^H @ g. Raises: ShapeError, DTypeError.
        """
        return self._apply("mm", self, mat2)

    @op(_product("bmm", (3, 3)))
    def bmm(self, mat2: Self) -> Self:
        """Products of two batches of matrices, one by one.

        Shapes: [b, n, m], [b, m, p] -> [b, n, p]. Gradient: g @ mat2^H; self^H @ g. Raises: ShapeError, DTypeError.
        """
        return self._apply("bmm", self, mat2)

    @op(_product("mv", (2, 1)))
    def mv(self, vec: Self) -> Self:
        """Product of a matrix and a vector.

        Shapes: [n, m], [m] -> [n]. Gradient: outer(g, vec*); self^H @ g. Raises: ShapeError, DTypeError.
        """
        return self._apply("mv", self, vec)

    @op(_product("dot", (1, 1)))
    def dot(self, tensor: Self) -> Self:
        """Sum of products of two vectors, without conjugation.

        Shapes: [n], [n] -> []. Gradient: g * tensor*; g * self*. Raises: ShapeError, DTypeError.
        """
        return self._apply("dot", self, tensor)

    @op(_inner_rule)
    def inner(self, other: Self) -> Self:
        """Sum of products over the last dimension of both; a 0-d operand multiplies.

        Shapes: [*a, n], [*b, n] -> [*a, *b]. Gradient: g with the other contracted. Raises: ShapeError, DTypeError.
        """
        return self._apply("inner", self, other)

    @op(_outer_rule, node="Mul")
    def outer(self, vec2: Self) -> Self:
        """Products of all pairs of two vectors' elements; types promote.

        Shapes: [n], [m] -> [n, m]. Gradient: g @ vec2*; g^T @ self*. Raises: ShapeError.
        """
        return self._apply("outer", self, vec2)

    def ger(self, vec2: Self) -> Self:
        """``outer`` by its older name."""
        return self._apply("outer", self, vec2)

    @op(_added_product("addmm", 2), inplace=True)
    def addmm(self, mat1: Self, mat2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``beta * self + alpha * (mat1 @ mat2)``; with ``beta=0``, ``self`` is not read.

        Shapes: broadcasts to [n, p], [n, m], [m, p] -> [n, p]. Gradient: beta * g; alpha * g @ mat2^H; alpha * mat1^H @ g.
        """
        return self._apply("addmm", self, mat1, mat2, beta=beta, alpha=alpha)

    @op(_added_product("addmv", 2), inplace=True)
    def addmv(self, mat: Self, vec: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``beta * self + alpha * (mat @ vec)``; with ``beta=0``, ``self`` is not read.

        Shapes: broadcasts to [n], [n, m], [m] -> [n]. Gradient: beta * g; alpha * outer(g, vec*); alpha * mat^H @ g.
        """
        return self._apply("addmv", self, mat, vec, beta=beta, alpha=alpha)

    @op(_added_product("baddbmm", 3), inplace=True)
    def baddbmm(self, batch1: Self, batch2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``beta * self + alpha * (batch1 @ batch2)`` for a batch of matrices; with ``beta=0``, ``self`` is not read.

        Shapes: broadcasts to [b, n, p], [b, n, m], [b, m, p] -> [b, n, p]. Gradient: as ``addmm``.
        """
        return self._apply("baddbmm", self, batch1, batch2, beta=beta, alpha=alpha)

    @op(_trace_rule)
    def trace(self) -> Self:
        """Sum of the diagonal of a matrix; integers sum in int64.

        Shapes: [n, m] -> []. Gradient: g on the diagonal. Raises: ShapeError.
        """
        return self._apply("trace", self)

    @op(_svd_rule, name="svd", namespace="linalg", outputs=("U", "S", "Vh"), node="LinalgSvd")
    def _svd(self, full_matrices: bool = True) -> Any:
        """Singular value decomposition ``U @ diag(S) @ Vh``, singular values descending.

        Shapes: [..., m, n] -> [..., m, k], [..., k], [..., k, n], k = min(m, n); or [..., m, m] and [..., n, n] with
        ``full_matrices``.
        Gradient: undefined where singular values repeat, unless it comes through S alone. Raises: NumericalError.
        Source: Townsend (2016), Differentiating the Singular Value Decomposition.
        """
        return Decomposition(*self._apply("svd", self, full_matrices=full_matrices))

    @op(_svdvals_rule, name="svdvals", namespace="linalg", node="LinalgSvd")
    def _svdvals(self) -> Self:
        """Singular values, descending.

        Shapes: [..., m, n] -> [..., min(m, n)]. Gradient: U @ diag(g) @ Vh. Raises: NumericalError.
        """
        return self._apply("svdvals", self)


@op(_einsum_rule, node="Einsum")
def einsum(equation: str, *operands: T) -> T:
    """Sum of products after Einstein's convention: ``einsum("bij,bjk->bik", a, b)``.

    Letters name dimensions, ``...`` those that broadcast, a letter repeated within one operand its diagonal. Letters that the part
    after ``->`` lacks are summed; without ``->`` the result has those that appear once, in alphabetical order. More than two
    operands are
    contracted pair by pair, cheapest first.

    Shapes: by the equation. Gradient: einsum of g and the other operands, conjugated. Raises: ShapeError, DTypeError.
    """
    found: list[Any] = list(operands)
    first: Any = equation
    if not isinstance(first, str):
        equation, found = spell([first, *operands])
    elif len(found) == 1 and isinstance(found[0], (list, tuple)):
        found = [*found[0]]
    for position, operand in enumerate(found):
        if not isinstance(operand, TensorBase):
            raise ArgumentTypeError(f"einsum(): operand {position} must be Tensor, not {type(operand).__name__}")
    if not found:
        parse(equation, ())
    return found[0]._apply("einsum", *found, equation=equation)


def tensordot(a: T, b: T, dims: int | Sequence[Sequence[int]] = 2) -> T:
    """Sum of products over the last ``dims`` dimensions of ``a`` and the first of ``b``, or over two lists of dimensions.

    Shapes: [*kept_a, *summed], [*summed, *kept_b] -> [*kept_a, *kept_b]. Raises: ShapeError.
    """
    for position, operand in enumerate((a, b)):
        if not isinstance(operand, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"tensordot(): argument {position} must be Tensor, not {type(operand).__name__}")
    left: Any = a
    right: Any = b
    if isinstance(dims, int):
        if not 0 <= dims <= min(len(left.shape), len(right.shape)):
            raise ShapeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        of_a: Sequence[int] = range(len(left.shape) - dims, len(left.shape))
        of_b: Sequence[int] = range(dims)
    elif len(dims) != 2:
        raise ShapeError(f"tensordot expects dims to be int or two lists of dimensions, but got {len(dims)}")
    else:
        of_a, of_b = (dimensions(ints(d, "dims"), len(x.shape)) if d else () for d, x in zip(dims, (left, right), strict=True))
    if len(of_a) != len(of_b):
        raise ShapeError(f"both dimension lists should have same length, got {len(of_a)} and {len(of_b)}")
    names_a = LETTERS[: len(left.shape)]
    names_b = list(LETTERS[len(left.shape) : len(left.shape) + len(right.shape)])
    for i, j in zip(of_a, of_b, strict=True):
        if left.shape[i] != right.shape[j] and 1 not in (left.shape[i], right.shape[j]):
            raise ShapeError(
                f"contracted dimensions need to match, but first has size {left.shape[i]} in dim {i} and second has size "
                f"{right.shape[j]} in dim {j}"
            )
        names_b[j] = names_a[i]
    kept = [n for i, n in enumerate(names_a) if i not in of_a] + [n for j, n in enumerate(names_b) if j not in of_b]
    return left._apply("einsum", left, right, equation=f"{names_a},{''.join(names_b)}->{''.join(kept)}")


@op(_contract_rule, namespace="internal", name="_contract")
def _contract(operands: Sequence[T], *, equation: str, shape: Sequence[int]) -> T:
    """``einsum`` with labels spelled out (``ab,bc>ac``); the result may repeat labels and have new ones, as derivatives need.

    Shapes: by the equation -> [*shape]. Gradient: the same with g in the operand's place.
    """
    first: Any = operands[0]
    return first._apply("_contract", *operands, equation=equation, shape=shape)
