"""What shape and type say of a tensor, in this process and on a server, awaited or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from telegrad.contract.errors import AutogradError, DimensionError
from telegrad.contract.placement import CPU, Device, Layout, strided
from telegrad.contract.shapes import dimension, integer
from telegrad.contract.tensor.base import TensorBase

if TYPE_CHECKING:
    from telegrad.contract.dtypes import DType
    from telegrad.contract.ops import Shape


def steps_of(shape: Sequence[int]) -> tuple[int, ...]:
    """How far apart neighbours are where the elements lie one behind the other; an empty dimension counts as one, as in PyTorch."""
    steps = [1]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * max(n, 1))
    return tuple(reversed(steps)) if shape else ()


class Extent(TensorBase):
    """Sizes, and kinds of element types."""

    __slots__ = ()

    if TYPE_CHECKING:  # every kind of tensor has these in its own way

        @property
        def shape(self) -> Shape:
            """Sizes of the dimensions."""
            ...

        @property
        def dtype(self) -> DType:
            """Element type."""
            ...

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.dtype.itemsize

    @property
    def device(self) -> Device:
        """``telegrad.device("cpu")``: a session, here or on a server, computes on its machine's processors."""
        return CPU

    @property
    def layout(self) -> Layout:
        """``telegrad.strided``: there are no sparse tensors."""
        return strided

    @property
    def is_cpu(self) -> bool:
        """True."""
        return True

    @property
    def is_cuda(self) -> bool:
        """False."""
        return False

    @property
    def is_sparse(self) -> bool:
        """False."""
        return False

    @property
    def is_quantized(self) -> bool:
        """False."""
        return False

    def get_device(self) -> int:
        """-1, PyTorch's number for the CPU."""
        return -1

    def element_size(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    def nelement(self) -> int:
        """Number of elements."""
        return self.numel()

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    def size(self, dim: int | None = None) -> Any:
        """All sizes as a tuple, or the size of one dimension. Raises DimensionError for one that there is not."""
        if dim is None:
            return self.shape
        if not self.ndim:
            raise DimensionError(f"Dimension specified as {dim} but tensor has no dimensions")
        return self.shape[dimension(dim, self.ndim)]

    def _memory(self) -> tuple[tuple[int, ...], int | None, int]:
        """How many elements lie between neighbours along each dimension; how many before the first, None where nobody knows; its
        address.
        """
        raise AutogradError("how a tensor lies in memory is known in this process only, and outside of transforms")

    def stride(self, dim: int | None = None) -> Any:
        """How many elements lie between neighbours in memory, along each dimension or one. Of tensors of this process.

        Raises AutogradError for a remote tensor, DimensionError for a dimension that there is not.
        """
        steps = self._memory()[0]
        return steps if dim is None else steps[dimension(integer(dim, "dim"), len(steps))]

    def storage_offset(self) -> int:
        """How many elements of its base lie in memory before a view; 0 of what is no view.

        Raises AutogradError for a remote tensor, and for a detached view of memory that others see too.
        """
        before = self._memory()[1]
        if before is None:
            raise AutogradError("storage_offset(): where the memory of a detached view begins is not known here")
        return before

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory one behind the other. Raises AutogradError for a remote tensor."""
        steps, shape = self._memory()[0], self.shape
        return 0 in shape or all(n == 1 or own == wanted for n, own, wanted in zip(shape, steps, steps_of(shape), strict=True))

    def data_ptr(self) -> int:
        """The address of the first element; two tensors that have the same see the same memory. Raises as ``stride``."""
        return self._memory()[2]

    def ndimension(self) -> int:
        """``dim()`` under its older name."""
        return len(self.shape)

    def is_signed(self) -> bool:
        """Whether the element type has negative numbers."""
        return self.dtype.is_signed

    def is_floating_point(self) -> bool:
        """Whether the element type is a real floating-point type."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the element type is complex."""
        return self.dtype.is_complex
