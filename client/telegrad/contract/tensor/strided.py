"""Views by steps through memory: ``as_strided`` and its forms."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from telegrad.contract import strided_rules as rules
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.ops import op
from telegrad.contract.shapes import integer, ints
from telegrad.contract.tensor.base import TensorBase


def _steps(size: Any, stride: Any, storage_offset: Any) -> dict[str, Any]:
    for name, given in (("size", size), ("stride", stride)):
        if not isinstance(given, (tuple, list)):
            raise ArgumentTypeError(f"as_strided(): argument '{name}' must be tuple of ints, not {type(given).__name__}")
    return {
        "size": ints(size, "size"),
        "stride": ints(stride, "stride"),
        "storage_offset": None if storage_offset is None else integer(storage_offset, "storage_offset"),
    }


class StridedOps(TensorBase):
    """The memory of a tensor, stepped through as the caller says."""

    __slots__ = ()

    @op(rules.as_strided, view=True)
    def as_strided(self, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Self:
        """Elements of the tensor's memory: the one at index i stands ``storage_offset + sum(i * stride)`` elements from its start.

        The memory is that of the tensor itself or, for a view, of the tensor that it is a view of; without ``storage_offset`` the
        view begins where the tensor does. Elements may occur several times. Shapes: [...] -> [*size]. Gradient: g, added up where
        the elements come from, as far as they are the tensor's. Raises: ShapeError for what is not in memory, and for negative
        steps.
        """
        return self._apply("as_strided", self, **_steps(size, stride, storage_offset))

    @op(rules.as_strided_scatter)
    def as_strided_scatter(self, src: Self, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Self:
        """A copy in which the elements that ``as_strided`` shows are those of ``src``, converted to the tensor's type.

        Shapes: [...], [*size] -> [...]. Gradient: g without these elements; these elements of g.
        Raises: ShapeError as ``as_strided``, and unless ``src`` has the shape ``size``.
        """
        return self._apply("as_strided_scatter", self, src, **_steps(size, stride, storage_offset))

    def as_strided_(self, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Self:
        """``as_strided`` in place. Raises AutogradError for a view and for a tensor with history: use ``as_strided`` there."""
        x: Any = self
        steps = _steps(size, stride, storage_offset)
        x._check_turnable("as_strided_")
        x.data = x._apply("as_strided", x.data, **steps)
        x._was_turned()
        return self

    def as_strided_copy(self, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Self:
        """``as_strided`` into memory of its own."""
        return self._apply("clone", self.as_strided(size, stride, storage_offset))

    # For the engine, which knows how the memory is laid out ------------------------------------------------------------------

    @op(rules.strided, namespace="internal", view=True, node="AsStrided")
    def _strided(self, *, size: Sequence[int], stride: Sequence[int], offset: int, layout: Sequence[int]) -> Self:
        """``as_strided`` of a tensor whose elements stand ``layout`` apart, ``offset`` counted from its first one; a view where
        they really do, else ``_strided_part``.

        Shapes: [...] -> [*size]. Gradient: see ``_strided_gradient``.
        """
        return self._apply("_strided", self, size=size, stride=stride, offset=offset, layout=layout)

    @op(rules.strided, namespace="internal", node="AsStrided")
    def _strided_part(self, *, size: Sequence[int], stride: Sequence[int], offset: int, layout: Sequence[int]) -> Self:
        """``_strided`` of elements that may stand otherwise now: those meant are looked up, zeros where they are not the tensor's.

        Shapes: [...] -> [*size]. Gradient: see ``_strided_gradient``.
        """
        return self._apply("_strided_part", self, size=size, stride=stride, offset=offset, layout=layout)

    @op(rules.strided_gradient, namespace="internal", node="AsStridedBackward")
    def _strided_gradient(self, *, shape: Sequence[int], stride: Sequence[int], offset: int, layout: Sequence[int]) -> Self:
        """The transpose of ``_strided_part``: elements added up where they come from, shared out among those of the tensor that
        stand there.

        Shapes: [*size] -> [*shape]. Gradient: see ``_strided_part``.
        """
        return self._apply("_strided_gradient", self, shape=shape, stride=stride, offset=offset, layout=layout)

    @op(rules.as_strided_scatter, namespace="internal", node="AsStridedScatter")
    def _strided_scatter(
        self, src: Self, *, size: Sequence[int], stride: Sequence[int], offset: int, layout: Sequence[int]
    ) -> Self:
        """``as_strided_scatter`` of a tensor laid out as for ``_strided``.

        Shapes: [...], [*size] -> [...]. Gradient: g without these elements; these elements of g.
        """
        return self._apply("_strided_scatter", self, src, size=size, stride=stride, offset=offset, layout=layout)
