"""Windows, complex tensors seen as real ones and the other way round, and copies with a part replaced."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from telegrad.contract import notices
from telegrad.contract import shape_parts_rules as rules
from telegrad.contract.dtypes import DType, DTypeLike, as_dtype
from telegrad.contract.errors import ArgumentTypeError, ShapeError
from telegrad.contract.ops import Shape, op
from telegrad.contract.shapes import integer, ints
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.shape import meshgrid, sequence_of_tensors, stack

T = TypeVar("T", bound=TensorBase)


class PartOps(TensorBase):
    """Views of windows and of complex parts; copies with a part replaced; choices of elements."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    # Views -------------------------------------------------------------------------------------------------------------------

    @op(rules.unfold, view=True)
    def unfold(self, dimension: int, size: int, step: int) -> Self:
        """All windows of ``size`` elements, ``step`` apart, along ``dimension``: as a last dimension, without copying.

        Shapes: [..., n, ...] -> [..., (n - size) // step + 1, ..., size]; 0-d counts as one element. Gradient: g, added up where
        windows overlap. Raises: ShapeError for windows longer than the dimension.
        """
        return self._apply(
            "unfold", self, dimension=integer(dimension, "dimension"), size=integer(size, "size"), step=integer(step, "step")
        )

    @op(rules.view_as_complex, view=True, name="view_as_complex")
    def _view_as_complex(self) -> Self:
        """The same memory as complex numbers: pairs in the last dimension are real and imaginary part.

        Shapes: [..., 2] -> [...]. Gradient: g seen as real. Raises: ShapeError unless the last dimension has size 2 and its
        elements lie side by side; DTypeError for other than float32 and float64.
        """
        return self._apply("view_as_complex", self)

    @op(rules.view_as_real, view=True, name="view_as_real")
    def _view_as_real(self) -> Self:
        """The same memory as real numbers: real and imaginary part in a new last dimension.

        Shapes: [...] -> [..., 2]. Gradient: g seen as complex. Raises: DTypeError for real types.
        """
        return self._apply("view_as_real", self)

    @op(rules.view_dtype, view=True, name="view.dtype", differentiable=(), reason="the bits have another meaning in another type")
    def _view_dtype(self, dtype: DTypeLike) -> Self:
        """The same memory as elements of another type, bit by bit: ``x.view(dtype)``.

        Shapes: [..., n] -> [..., n * size of an element / size of an element of ``dtype``]. Raises: ShapeError where the last
        dimension cannot be cut or joined so, or is not contiguous.
        """
        return self._apply("view.dtype", self, dtype=as_dtype(dtype))

    def adjoint(self) -> Self:
        """Matrices transposed and conjugated: the last two dimensions swapped. A real tensor's is a view."""
        return self._adjoint("tensor.adjoint()")

    @property
    def mH(self) -> Self:  # noqa: N802 - PyTorch's name
        """``adjoint()``."""
        return self._adjoint("tensor.mH")

    @property
    def H(self) -> Self:  # noqa: N802 - PyTorch's name
        """``adjoint()`` of a single matrix; raises ShapeError for more dimensions."""
        if len(self.shape) not in (0, 2):
            raise ShapeError(
                f"tensor.H is only supported on matrices (2-D tensors). Got {len(self.shape)}-D tensor. For batches of matrices, "
                "consider using tensor.mH"
            )
        return self._adjoint("tensor.H")

    def _adjoint(self, name: str) -> Self:
        if len(self.shape) == 1:
            raise ShapeError(f"{name} is only supported on matrices or batches of matrices. Got 1-D tensor.")
        if not self.shape:
            notices.scalar_transposed(name)
        turned = self._apply("transpose", self, dim0=-2, dim1=-1) if self.shape else self
        return self._apply("conj", turned) if self.dtype.is_complex else turned

    def conj_physical(self) -> Self:
        """``conj``, which never waits."""
        return self._apply("conj", self) if self.dtype.is_complex else self

    def resolve_conj(self) -> Self:
        """The tensor itself: a conjugate is computed at once, there is none to be carried out."""
        return self

    def resolve_neg(self) -> Self:
        """The tensor itself: a negative is computed at once, there is none to be carried out."""
        return self

    # Copies with a part replaced ---------------------------------------------------------------------------------------------

    @op(rules.select_scatter)
    def select_scatter(self, src: Self, dim: int, index: int) -> Self:
        """A copy whose slice number ``index`` along ``dim`` is ``src``, converted to the tensor's type.

        Shapes: [..., n, ...], [...] -> [..., n, ...]. Gradient: g without that slice; that slice of g.
        Raises: IndexBoundsError; ShapeError unless ``src`` has the slice's shape.
        """
        return self._apply("select_scatter", self, src, dim=integer(dim, "dim"), index=integer(index, "index"))

    @op(rules.slice_scatter)
    def slice_scatter(self, src: Self, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Self:
        """A copy in which ``x[start:end:step]`` along ``dim`` is ``src``, converted to the tensor's type.

        Shapes: [..., n, ...], [..., k, ...] -> [..., n, ...]. Gradient: g without that part; that part of g.
        Raises: ShapeError unless ``src`` has the part's shape, and for a step below 1.
        """
        return self._apply(
            "slice_scatter",
            self,
            src,
            dim=integer(dim, "dim"),
            start=None if start is None else integer(start, "start"),
            end=None if end is None else integer(end, "end"),
            step=integer(step, "step"),
        )

    @op(rules.diagonal_scatter)
    def diagonal_scatter(self, src: Self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Self:
        """A copy in which ``diagonal(offset, dim1, dim2)`` is ``src``, converted to the tensor's type.

        Shapes: [n, m, ...], [..., k] -> [n, m, ...]. Gradient: g without the diagonal; the diagonal of g.
        Raises: ShapeError unless ``src`` has the diagonal's shape.
        """
        return self._apply(
            "diagonal_scatter", self, src, offset=integer(offset, "offset"), dim1=integer(dim1, "dim1"), dim2=integer(dim2, "dim2")
        )

    # Choices, positions ------------------------------------------------------------------------------------------------------

    @op(rules.combinations, name="combinations")
    def _combinations(self, r: int = 2, with_replacement: bool = False) -> Self:
        """All ways to choose ``r`` elements of a vector in their order; ``with_replacement``, the same one several times as well.

        Shapes: [n] -> [ways, r]. Gradient: g, added up for each element. Raises: ShapeError for other than a vector.
        """
        if type(with_replacement) is not bool:
            raise ArgumentTypeError(
                f"combinations(): argument 'with_replacement' must be bool, not {type(with_replacement).__name__}"
            )
        if type(r) is int and r == 0 and len(self.shape) == 1:
            return self._apply("new_full", self, size=(0,), fill_value=0)  # nothing of the tensor is in it, nor its history
        return self._apply("combinations", self, r=integer(r, "r"), with_replacement=with_replacement)

    @op(rules.unravel_index, name="unravel_index", differentiable=(), reason="it takes and gives whole numbers")
    def _unravel_index(self, shape: int | Sequence[int]) -> tuple[Self, ...]:
        """Where in a tensor of ``shape`` the elements stand that have these numbers in row-major order, a tensor a dimension.

        Shapes: [...] -> one [...] a dimension, int64. Numbers beyond the shape start over. Raises: ArgumentTypeError for other than
        integers; ArgumentValueError for negative sizes.
        """
        return self._apply("unravel_index", self, shape=ints(shape, "shape"))

    # For the engine ----------------------------------------------------------------------------------------------------------

    @op(rules.folded, namespace="internal", node="UnfoldBackward")
    def _unfold_gradient(self, *, shape: Sequence[int], dimension: int, step: int) -> Self:
        """Windows added up where they come from: the transpose of ``unfold``.

        Shapes: [..., k, ..., size] -> [*shape]. Gradient: g, unfolded.
        """
        return self._apply("_unfold_gradient", self, shape=shape, dimension=dimension, step=step)

    @op(rules.view_as_complex, namespace="internal", node="ViewAsComplex")
    def _as_complex(self) -> Self:
        """``view_as_complex`` of memory in any order, by a copy where needed.

        Shapes: [..., 2] -> [...]. Gradient: g seen as real.
        """
        return self._apply("_as_complex", self)

    @op(rules.uncombined, namespace="internal")
    def _combinations_gradient(self, *, n: int, r: int, with_replacement: bool) -> Self:
        """Choices added up where they come from: the transpose of ``combinations``.

        Shapes: [ways, r] -> [n]. Gradient: the combinations of g.
        """
        return self._apply("_combinations_gradient", self, n=n, r=r, with_replacement=with_replacement)


# Functions of several tensors ------------------------------------------------------------------------------------------------


@op(rules.block_diag)
def block_diag(*tensors: T) -> T:
    """A matrix of zeros but for the tensors along its diagonal; a vector counts as a row, a number as one element.

    Shapes: [n1, m1], [n2, m2], ... -> [n1 + n2 + ..., m1 + m2 + ...]. Types promote. Gradient: each tensor's block of g.
    Raises: ShapeError for more than two dimensions.
    """
    return sequence_of_tensors(tensors, "block_diag")[0]._apply("block_diag", *tensors)


def cartesian_prod(*tensors: T) -> T:
    """All combinations of one element from each vector, a row each, the last vector's changing fastest; one vector itself."""
    found: list[Any] = list(sequence_of_tensors(tensors, "cartesian_prod"))
    for tensor in found:
        if len(tensor.shape) != 1:
            raise ShapeError(f"Expect a 1D vector, but got shape {list(tensor.shape)}")
    if len(found) == 1:
        return found[0]
    grids: Any = stack(meshgrid(found), dim=-1)
    return grids.reshape(-1, len(found))
