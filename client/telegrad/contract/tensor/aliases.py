"""Further names of what stands elsewhere: PyTorch's longer names in place, draws in place, words of many devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from telegrad.contract.dtypes import DTypeLike, Number
from telegrad.contract.errors import AutogradError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.tensor.base import TensorBase


class OtherNames(TensorBase):
    """Methods that only name other methods."""

    __slots__ = ()

    def absolute_(self) -> Self:
        """``abs_`` under another name."""
        return _any(self).abs_()

    def arccos_(self) -> Self:
        """``acos_`` under another name."""
        return _any(self).acos_()

    def arccosh_(self) -> Self:
        """``acosh_`` under another name."""
        return _any(self).acosh_()

    def arcsin_(self) -> Self:
        """``asin_`` under another name."""
        return _any(self).asin_()

    def arcsinh_(self) -> Self:
        """``asinh_`` under another name."""
        return _any(self).asinh_()

    def arctan_(self) -> Self:
        """``atan_`` under another name."""
        return _any(self).atan_()

    def arctan2_(self, other: Self) -> Self:
        """``atan2_`` under another name."""
        return _any(self).atan2_(other)

    def arctanh_(self) -> Self:
        """``atanh_`` under another name."""
        return _any(self).atanh_()

    def clip_(self, min: Self | Number | None = None, max: Self | Number | None = None) -> Self:
        """``clamp_`` under another name."""
        return _any(self).clamp_(min, max)

    def divide_(self, other: Self | Number, *, rounding_mode: str | None = None) -> Self:
        """``div_`` under another name."""
        return _any(self).div_(other, rounding_mode=rounding_mode)

    def fix_(self) -> Self:
        """``trunc_`` under another name."""
        return _any(self).trunc_()

    def greater_(self, other: Self | Number) -> Self:
        """``gt_`` under another name."""
        return _any(self).gt_(other)

    def greater_equal_(self, other: Self | Number) -> Self:
        """``ge_`` under another name."""
        return _any(self).ge_(other)

    def less_(self, other: Self | Number) -> Self:
        """``lt_`` under another name."""
        return _any(self).lt_(other)

    def less_equal_(self, other: Self | Number) -> Self:
        """``le_`` under another name."""
        return _any(self).le_(other)

    def multiply_(self, other: Self | Number) -> Self:
        """``mul_`` under another name."""
        return _any(self).mul_(other)

    def negative_(self) -> Self:
        """``neg_`` under another name."""
        return _any(self).neg_()

    def not_equal_(self, other: Self | Number) -> Self:
        """``ne_`` under another name."""
        return _any(self).ne_(other)

    def subtract_(self, other: Self | Number, *, alpha: Number = 1) -> Self:
        """``sub_`` under another name."""
        return _any(self).sub_(other, alpha=alpha)

    def true_divide_(self, other: Self | Number, *, rounding_mode: str | None = None) -> Self:
        """``div_`` under another name."""
        return _any(self).div_(other, rounding_mode=rounding_mode)

    def addr_(self, vec1: Self, vec2: Self, *, beta: Number = 1, alpha: Number = 1) -> Self:
        """``addr`` in place, for a matrix of that size."""
        x = _any(self)
        if len(x.shape) != 2:
            raise ShapeError(f"2D tensor expected, got {len(x.shape)}D tensor for input")
        return x.copy_(_fitting("addr_", x, x.addr(vec1, vec2, beta=beta, alpha=alpha)))

    def float_power_(self, exponent: Self | Number) -> Self:
        """``float_power`` in place. Raises DTypeError unless the tensor is float64 or complex128, as the result is."""
        x = _any(self)
        made = x.float_power(exponent)
        if made.dtype is not x.dtype:
            raise DTypeError(
                f"the base given to float_power_ has dtype {x.dtype.name} but the operation's result requires dtype "
                f"{made.dtype.name}; convert it with .to(...)"
            )
        return x.copy_(_fitting("float_power_", x, made))

    def conj_physical_(self) -> Self:
        """``conj`` in place; nothing on real types."""
        x = _any(self)
        return x.copy_(x.conj()) if x.dtype.is_complex else x

    def uniform_(self, from_: float = 0, to: float = 1) -> Self:
        """Fill with draws from the uniform distribution over [from_, to). Raises ShapeError where ``from_`` is above ``to``."""
        x = _drawn("uniform_", self, complexes=True)
        if from_ > to:
            raise ShapeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
        return x.copy_(x.detach().rand_like() * (to - from_) + _both_parts(x, from_))

    def normal_(self, mean: float = 0, std: float = 1) -> Self:
        """Fill with draws from the normal distribution. Raises ShapeError for a negative ``std``."""
        x = _drawn("normal_", self, complexes=True)
        if std < 0:
            raise ShapeError(f"normal expects std >= 0.0, but found std {std}")
        return x.copy_(x.detach().randn_like() * std + _both_parts(x, mean))

    # Shape in place ----------------------------------------------------------------------------------------------------------

    def squeeze_(self, dim: int | Sequence[int] | None = None) -> Self:
        """``squeeze`` in place. Raises AutogradError for a view and for a tensor with history: use ``squeeze`` there."""
        return _turned("squeeze_", self, lambda x: x.squeeze() if dim is None else x.squeeze(dim))

    def unsqueeze_(self, dim: int) -> Self:
        """``unsqueeze`` in place. Raises AutogradError for a view and for a tensor with history: use ``unsqueeze`` there."""
        return _turned("unsqueeze_", self, lambda x: x.unsqueeze(dim))

    def t_(self) -> Self:
        """``t`` in place. Raises AutogradError for a view and for a tensor with history: use ``t`` there."""
        return _turned("t_", self, lambda x: x.t())

    def transpose_(self, dim0: int, dim1: int) -> Self:
        """``transpose`` in place. Raises AutogradError for a view and for a tensor with history: use ``transpose`` there."""
        return _turned("transpose_", self, lambda x: x.transpose(dim0, dim1))

    def swapaxes_(self, axis0: int, axis1: int) -> Self:
        """``transpose_`` under numpy's name."""
        return self.transpose_(axis0, axis1)

    def swapdims_(self, dim0: int, dim1: int) -> Self:
        """``transpose_`` under another name."""
        return self.transpose_(dim0, dim1)

    def _check_turnable(self, name: str) -> None:  # noqa: ARG002 - a subclass uses it
        """Refuse to change the shape in place where history or a base would have to follow."""
        raise AutogradError("the shape of a tensor of a running transform cannot be changed in place")

    def _was_turned(self) -> None:
        """Count a change of the shape in place, where a counter is at hand."""

    def type(self, dtype: DTypeLike) -> Self:
        """``to(dtype)``."""
        return _any(self).to(dtype)

    def unsafe_chunk(self, chunks: int, dim: int = 0) -> tuple[Self, ...]:
        """``chunk``."""
        return _any(self).chunk(chunks, dim)

    def unsafe_split(self, split_size: int, dim: int = 0) -> tuple[Self, ...]:
        """``split``."""
        return _any(self).split(split_size, dim)

    def unsafe_split_with_sizes(self, split_sizes: Sequence[int], dim: int = 0) -> tuple[Self, ...]:
        """``split_with_sizes``."""
        return _any(self).split_with_sizes(split_sizes, dim)

    def cpu(self) -> Self:
        """The tensor itself: what telegrad computes, it computes in main memory."""
        return self

    def is_same_size(self, other: Self) -> bool:
        """Whether the sizes are the same."""
        return bool(_any(self).shape == _any(other).shape)

    def is_conj(self) -> bool:
        """False: a conjugate is computed at once, none waits to be carried out."""
        return False

    def is_neg(self) -> bool:
        """False: a negative is computed at once, none waits to be carried out."""
        return False

    def hardshrink(self, lambd: Number = 0.5) -> Self:
        """Zero within [-lambd, lambd], the element elsewhere. See ``nn.functional.hardshrink``."""
        x = _drawn("hardshrink", self)
        return x.masked_fill((x >= -lambd) & (x <= lambd), 0)


def _turned(name: str, x: Any, turn: Callable[[Any], Any]) -> Any:
    """The tensor with the same memory seen otherwise."""
    x._check_turnable(name)
    x.data = turn(x.data)
    x._was_turned()
    return x


def _any(x: TensorBase) -> Any:
    return x


def _drawn(name: str, x: Any, *, complexes: bool = False) -> Any:
    if not (x.dtype.is_floating_point or (complexes and x.dtype.is_complex)):
        raise UnsupportedDTypeError(
            f'"{name}" not implemented for {x.dtype.name}; convert it first, for example with .to(telegrad.float32)'
        )
    return x


def _both_parts(x: Any, number: float) -> Number:
    """The number; of complex tensors, the one that has it for both parts, as in PyTorch."""
    return complex(number, number) if x.dtype.is_complex else number


def _fitting(name: str, x: Any, made: Any) -> Any:
    if made.shape != x.shape:
        raise ShapeError(f"{name}: output with shape {list(x.shape)} doesn't match the broadcast shape {list(made.shape)}")
    return made
