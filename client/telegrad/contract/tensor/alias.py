"""``x.data`` and ``x.detach_()``: a tensor beside its history, and a tensor that leaves it."""

from __future__ import annotations

from typing import Self

from telegrad.contract.errors import ArgumentTypeError, AutogradError
from telegrad.contract.ops import op
from telegrad.contract.shapes import same
from telegrad.contract.tensor.base import TensorBase


class AliasOps(TensorBase):
    """The same memory under another history, or under none."""

    __slots__ = ()

    @op(same(flops=0), view=True, name="data", differentiable=(), reason="it stands beside the graph on purpose")
    def _data(self) -> Self:
        """The same memory without history, whose changes no graph notices: unlike ``detach()`` it counts its own versions.

        Shapes: [...] -> [...]. Gradient: none, on purpose.
        """
        return self._apply("data", self)

    @property
    def data(self) -> Self:
        """The same memory without history. Changes of it show in the tensor, and no graph notices them: a gradient computed from
        what was saved before is that of the new values. ``detach()`` is the alias whose changes raise there.

        Assigned another tensor, this one gets its memory, its shape and its dtype, and keeps ``requires_grad``, ``grad`` and
        history. Raises ArgumentTypeError for anything but a tensor, DTypeError where gradients need a differentiable dtype.
        """
        return self._data()

    @data.setter
    def data(self, value: TensorBase) -> None:
        if not isinstance(value, TensorBase):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self._take_data(value)

    def detach_(self) -> Self:
        """Leave the graph: from now on a leaf that does not require grad. What was computed before keeps its history.

        Raises AutogradError for a view, whose history is its base's.
        """
        self._cut_history()
        return self

    def _take_data(self, value: TensorBase) -> None:  # noqa: ARG002 - a subclass uses it
        """See the setter of ``data``."""
        raise AutogradError("the data of a tensor of a running transform cannot be replaced; use copy_()")

    def _cut_history(self) -> None:
        """See ``detach_``."""
        raise AutogradError("a tensor of a running transform cannot leave its history in place; use detach()")
