"""Ops that make tensors from nothing, as methods of a session, and their ``_like`` forms, as methods of a tensor (in ``shape``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from telegrad.contract.dtypes import DEFAULT_DTYPE, DTypeLike, as_dtype
from telegrad.contract.ops import Outcome, Spec, check_bytes, op
from telegrad.contract.shapes import nonnegative, size_argument
from telegrad.contract.tensor.base import TensorBase

if TYPE_CHECKING:
    from telegrad.contract.tensor.tensor import Tensor

NOT_A_FUNCTION = "it has no tensor input"


def filled(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    """Rule of ops with ``size`` and ``dtype``."""
    shape = nonnegative(p["size"])
    dtype = p["dtype"] or DEFAULT_DTYPE
    check_bytes(shape, dtype)
    spec = Spec(shape, dtype)
    return Outcome((spec,), spec.size)


class CreationOps(TensorBase):
    """Ops without tensor inputs. A session inherits them; free functions call the current session's."""

    def _leaf(self, made: Any, requires_grad: bool) -> Tensor:
        """The new tensor, requiring grad if asked."""
        if requires_grad:
            made.requires_grad_()
        return made  # type: ignore[no-any-return]

    @op(filled, differentiable=(), reason=NOT_A_FUNCTION)
    def zeros(
        self: Any, *size: int | Sequence[int], dtype: DTypeLike | None = None, requires_grad: bool = False
    ) -> Tensor:
        """Zeros.

        Shapes: -> [*size]. dtype: float32 unless given.
        """
        made = self._apply("zeros", size=size_argument(size), dtype=None if dtype is None else as_dtype(dtype))
        return self._leaf(made, requires_grad)  # type: ignore[no-any-return]
