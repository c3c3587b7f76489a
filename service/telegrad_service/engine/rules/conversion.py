"""Kernels and derivatives of copies, element types, complex parts and filling."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad_service.engine.formulas import F, is_complex
from telegrad_service.engine.table import Array, derivative, kernel


@kernel("to")
def _to(self: Any, dtype: DType, copy: bool) -> Any:
    if self.dtype.kind == "c" and dtype.category in (1, 2):
        return np.array(self.real, dtype.numpy)
    return self.astype(dtype.numpy)


# The walk converts every gradient to its tensor's type.
derivative("to", self=lambda g: g)

kernel("clone", np.array)
derivative("clone", self=lambda g: g)


@kernel("conj")
def _conj(self: Array) -> Any:
    # numpy has no conjugate of bool.
    return np.conjugate(self) if self.dtype.kind == "c" else self.copy()


derivative("conj", self=lambda g: F.conjugate(g))

kernel("real", np.real)
derivative("real", self=lambda g: g)

kernel("imag", np.imag)
derivative("imag", self=lambda g: g * 1j)


@kernel("angle")
def _angle(self: Array) -> Any:
    angle = np.angle(self)
    # numpy's angle of a real nan is pi or 0.
    return angle if self.dtype.kind == "c" else np.where(np.isnan(self), self, np.where(self < 0, np.pi, 0.0))


def _angle_self(g: Any, self: Any) -> Any:
    if not is_complex(self):
        return F.zeros(g, g.shape)
    square = F.square(F.real(self)) + F.square(F.imag(self))
    at_zero = F.eq(square, 0)
    return F.where(at_zero, 0, g * 1j * self / F.where(at_zero, 1, square))


derivative("angle", self=_angle_self)


def _fill_in_place(target: Array, value: Any) -> None:
    np.copyto(target, fits(value, target.dtype), casting="unsafe")


def fits(value: Any, dtype: np.dtype[Any]) -> Any:
    """``value`` as numpy may convert it to ``dtype``: real for real types, wrapped around for unsigned ones, as in PyTorch."""
    if isinstance(value, complex) and dtype.kind in "iuf":
        return value.real
    if isinstance(value, int) and dtype.kind == "u" and value < 0:
        return value % 2 ** (8 * dtype.itemsize)
    is_complex_array = getattr(value, "dtype", dtype).kind == "c"
    return np.real(value) if is_complex_array and dtype.kind in "iuf" else value


@kernel("fill", in_place=_fill_in_place)
def _fill(self: Array, value: Any) -> Array:
    made = np.empty(self.shape, self.dtype)
    _fill_in_place(made, value)
    return made


derivative("fill", self=lambda g: F.zeros(g, g.shape), value=lambda g: g)


def _copy_in_place(target: Array, src: Any) -> None:
    np.copyto(target, src.real if src.dtype.kind == "c" and target.dtype.kind in "iuf" else src, casting="unsafe")


@kernel("copy", in_place=_copy_in_place)
def _copy(self: Array, src: Array) -> Array:
    made = np.empty(self.shape, self.dtype)
    _copy_in_place(made, src)
    return made


derivative("copy", self=lambda g: F.zeros(g, g.shape), src=lambda g: g)
