"""Kernels of comparison, logic and bits; kernels and derivatives of maximum, minimum, clamp and where."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, kernel

for _name, _ufunc in (
    ("eq", np.equal),
    ("ne", np.not_equal),
    ("lt", np.less),
    ("le", np.less_equal),
    ("gt", np.greater),
    ("ge", np.greater_equal),
):
    kernel(_name, _ufunc, ufunc=_ufunc, ufunc_kinds="fc" if _name in ("eq", "ne") else "f")

kernel("_compared_in_place", lambda self, other, mask, node: mask.astype(self.dtype))  # noqa: ARG005 - the op's signature
derivative(
    "_compared_in_place",
    self=lambda g, self_shape: F.zeros(g, self_shape),
    other=lambda g, other_shape: F.zeros(g, other_shape),
)

for _name in ("logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite"):
    kernel(_name, getattr(np, _name), ufunc=getattr(np, _name))

kernel("isposinf", lambda self: np.equal(self, np.inf))
kernel("isneginf", lambda self: np.equal(self, -np.inf))
kernel("isreal", lambda self: np.equal(self.imag, 0))

for _name, _bits in (
    ("bitwise_and", np.bitwise_and),
    ("bitwise_or", np.bitwise_or),
    ("bitwise_xor", np.bitwise_xor),
    ("bitwise_not", np.invert),
    # numpy's shifts are defined for every count: what is moved past the end is gone, and a negative count moves all.
    ("bitwise_left_shift", np.left_shift),
    ("bitwise_right_shift", np.right_shift),
):
    kernel(_name, _bits)


@kernel("isclose")
def _isclose(self: Array, other: Array, rtol: float, atol: float, equal_nan: bool) -> Any:
    if self.dtype.kind in "biu":
        # Differences of whole numbers would wrap around in their own type.
        self, other = self.astype(np.float64), other.astype(np.float64)
    close = self == other
    if equal_nan:
        close = close | (np.isnan(self) & np.isnan(other))
    if rtol == 0 and atol == 0:
        return close
    distance = np.abs(self - other)
    return close | (np.isfinite(distance) & (distance <= atol + np.abs(rtol * other)))


def _where_greatest(g: Any, mine: Any, theirs: Any) -> Any:
    # `not less` rather than `greater`, so that a gradient passes where either is not a number, as in PyTorch.
    return F.where(F.eq(mine, theirs), g / 2, F.where(F.lt(mine, theirs), 0, g))


def _where_least(g: Any, mine: Any, theirs: Any) -> Any:
    return F.where(F.eq(mine, theirs), g / 2, F.where(F.gt(mine, theirs), 0, g))


kernel("maximum", np.maximum, ufunc=np.maximum, ufunc_kinds="f")
derivative(
    "maximum",
    self=lambda g, self, other: _where_greatest(g, self, other),
    other=lambda g, self, other: _where_greatest(g, other, self),
)

kernel("minimum", np.minimum, ufunc=np.minimum, ufunc_kinds="f")
derivative(
    "minimum",
    self=lambda g, self, other: _where_least(g, self, other),
    other=lambda g, self, other: _where_least(g, other, self),
)


def _first_is_taken(compare: Any, self: Any, other: Any) -> Any:
    return F.logical_or(compare(self, other), F.isnan(other))


kernel("fmax", np.fmax, ufunc=np.fmax, ufunc_kinds="f")
derivative(
    "fmax",
    self=lambda g, self, other: F.where(_first_is_taken(F.ge, self, other), g, 0),
    other=lambda g, self, other: F.where(_first_is_taken(F.ge, self, other), 0, g),
)

kernel("fmin", np.fmin, ufunc=np.fmin, ufunc_kinds="f")
derivative(
    "fmin",
    self=lambda g, self, other: F.where(_first_is_taken(F.le, self, other), g, 0),
    other=lambda g, self, other: F.where(_first_is_taken(F.le, self, other), 0, g),
)


@kernel("clamp")
def _clamp(self: Array, min: Any, max: Any) -> Any:
    # The bounds come first: of two zeros numpy takes the second operand, and the element is to keep its sign, as in PyTorch.
    raised = self if min is None else np.maximum(min, self)
    return raised if max is None else np.minimum(max, raised)


def _clamp_self(g: Any, self: Any, min: Any, max: Any) -> Any:
    if min is None:
        return F.where(F.le(self, max), g, 0)
    if max is None:
        return F.where(F.ge(self, min), g, 0)
    return F.where(F.logical_and(F.ge(self, min), F.le(self, max)), g, 0)


def _clamp_min(g: Any, self: Any, min: Any, max: Any) -> Any:
    taken = F.lt(self, min)
    if max is not None:
        taken = F.logical_and(taken, F.lt(min, max))
    return F.where(taken, g, 0)


def _clamp_max(g: Any, self: Any, min: Any, max: Any) -> Any:
    taken = F.gt(self, max)
    if min is not None:
        taken = F.logical_or(taken, F.lt(max, min))
    return F.where(taken, g, 0)


derivative("clamp", self=_clamp_self, min=_clamp_min, max=_clamp_max)

kernel("clamp_min", np.maximum, ufunc=np.maximum, ufunc_kinds="f")
kernel("clamp_max", np.minimum, ufunc=np.minimum, ufunc_kinds="f")


def _not_below(g: Any, self: Any, min: Any) -> Any:
    return F.where(F.ge(self, min), g, 0)


def _below(g: Any, self: Any, min: Any) -> Any:
    return F.where(F.lt(self, min), g, 0)


def _not_above(g: Any, self: Any, max: Any) -> Any:
    return F.where(F.le(self, max), g, 0)


def _above(g: Any, self: Any, max: Any) -> Any:
    return F.where(F.gt(self, max), g, 0)


derivative("clamp_min", self=_not_below, min=_below)
derivative("clamp_max", self=_not_above, max=_above)

_BITS: Final[dict[int, np.dtype[Any]]] = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}
_EXACT: Final = 2**24
"""Up to here, float32 holds every whole number."""
_MANY: Final = 8192
"""From about so many elements on, a choice by bits beats one by branches, up to ten times where the choice is hard to foresee."""


def _is_zero(value: Any) -> bool:
    return (value.__class__ is int or value.__class__ is float) and value == 0 and math.copysign(1, value) > 0


def _bits_of(value: Any, like: Array) -> Array | None:
    """The bits of one side of a choice, an array like ``like`` or a number that fits its type; None for any other."""
    if value.__class__ is np.ndarray:
        return value.view(_BITS[like.dtype.itemsize]) if value.shape == like.shape and value.dtype == like.dtype else None
    if value.__class__ is float or (value.__class__ is int and abs(value) < _EXACT):
        return np.asarray(value, like.dtype).view(_BITS[like.dtype.itemsize])
    return None


@kernel("where")
def where(condition: Array, input: Any, other: Any) -> Any:
    """A choice for each element; of many floats by their bits, all at once."""
    like = input if input.__class__ is np.ndarray else other
    if (
        like.__class__ is not np.ndarray
        or like.size < _MANY
        or like.dtype.kind != "f"
        or like.dtype.itemsize not in _BITS
        or condition.__class__ is not np.ndarray
        or condition.shape != like.shape
        or condition.dtype.kind != "b"
    ):
        return np.where(condition, input, other)
    mask = condition.astype(_BITS[like.dtype.itemsize])
    # All bits set, or none. Where one side is nothing, the other's are cut out, or left.
    if _is_zero(other) and input is like:
        return np.bitwise_and(np.negative(mask, out=mask), input.view(mask.dtype), out=mask).view(like.dtype)
    if _is_zero(input):
        return np.bitwise_and(np.subtract(mask, 1, out=mask), other.view(mask.dtype), out=mask).view(like.dtype)
    yes, no = _bits_of(input, like), _bits_of(other, like)
    if yes is None or no is None:
        return np.where(condition, input, other)
    # What differs is carried over from one side to the other.
    np.negative(mask, out=mask)
    mask &= yes ^ no
    mask ^= no
    return mask.view(like.dtype)


derivative(
    "where",
    input=lambda g, condition: F.where(condition, g, 0),
    other=lambda g, condition: F.where(condition, 0, g),
)
