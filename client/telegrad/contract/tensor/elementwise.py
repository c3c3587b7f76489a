"""Arithmetic, comparison, logic, powers, exponentials, trigonometry: everything that works element by element."""

from __future__ import annotations

from typing import Self

from telegrad.contract.dtypes import Number
from telegrad.contract.ops import op
from telegrad.contract.shapes import elementwise
from telegrad.contract.tensor.base import TensorBase


class ElementwiseOps(TensorBase):
    """Element-by-element ops. Inputs broadcast; types promote as in PyTorch."""

    __slots__ = ()

    @op(elementwise(refuse="", name="add"), inplace=True)
    def add(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """Sum, ``self + alpha * other``.

        Shapes: [...], [...] -> broadcast. Gradient: g; alpha * g.
        """
        if alpha == 1:
            return self._apply("add", self, other)
        return self._apply("add", self, other, alpha=alpha)

    def __add__(self, other: Self | Number) -> Self:
        return self._apply("add", self, other)

    @op(elementwise(name="mul"), inplace=True)
    def mul(self, other: Self | Number) -> Self:
        """Product.

        Shapes: [...], [...] -> broadcast. Gradient: g * other; g * self.
        """
        return self._apply("mul", self, other)

    def __mul__(self, other: Self | Number) -> Self:
        return self._apply("mul", self, other)

    @op(elementwise(to_float=True, flops=10))
    def exp(self) -> Self:
        """Exponential of each element.

        Shapes: [...] -> [...]. Gradient: g * result.
        """
        return self._apply("exp", self)
