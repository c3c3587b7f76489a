"""What shape and type say of a tensor, in this process and on a server, awaited or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telegrad.contract.errors import DimensionError
from telegrad.contract.shapes import dimension
from telegrad.contract.tensor.base import TensorBase

if TYPE_CHECKING:
    from telegrad.contract.dtypes import DType
    from telegrad.contract.ops import Shape


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
