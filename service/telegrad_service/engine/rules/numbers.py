"""Kernels and derivatives of numbers taken apart and put together."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract.dtypes import DEFAULT_DTYPE
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.reduce import _norm_backward
from telegrad_service.engine.table import ENTRIES, Array, derivative, joint_derivative, kernel

LN_2 = math.log(2)
conj = F.conjugate


@kernel("frexp")
def _frexp(self: Array) -> tuple[Any, Any]:
    mantissa, exponent = np.frexp(self)
    return mantissa, np.asarray(exponent, np.int32)


@kernel("ldexp")
def _ldexp(self: Array, other: Array) -> Any:
    if other.dtype.kind in "fc":
        return self * np.exp2(other)  # in the exponent's own precision, as in PyTorch
    x = self if self.dtype.kind in "fc" else self.astype(DEFAULT_DTYPE.numpy)
    if x.dtype.kind == "c":
        return x * np.exp2(other.astype(np.real(x).dtype))
    return np.ldexp(x, other.astype(np.int64))


# Divided by 2**exponent, that is shifted back.
derivative("frexp", self=lambda g, exponent: F.ldexp(g[0], -exponent))
derivative("ldexp", self=lambda g, other: g * conj(F.exp2(other)), other=lambda g, result: g * conj(result) * LN_2)


@kernel("complex")
def _complex(self: Array, imag: Array) -> Any:
    shape = np.broadcast_shapes(self.shape, imag.shape)
    made = np.empty(shape, np.result_type(self.dtype, np.complex64))
    made.real, made.imag = self, imag
    return made


derivative("complex", self=lambda g: F.real(g), imag=lambda g: F.imag(g))


@kernel("polar")
def _polar(self: Array, angle: Array) -> Any:
    return _complex(self * np.cos(angle), self * np.sin(angle))


derivative(
    "polar",
    # PyTorch has the direction of the result in place of the angle's: the same for positive magnitudes, for which polar is made.
    self=lambda g, angle: F.real(g) * F.cos(angle) + F.imag(g) * F.sin(angle),
    angle=lambda g, result: F.imag(g * conj(result)),
)


@kernel("dist")
def _dist(self: Array, other: Array, p: float) -> Any:
    return ENTRIES["norm"].kernel(self - other, p=p, dim=None, keepdim=False, dtype=None)


@joint_derivative("dist", "self", "other")
def _dist_backward(g: Any, self: Any, other: Any, result: Any, p: float, needs: tuple[bool, bool]) -> tuple[Any, Any]:
    difference = self - other
    slope = _norm_backward(g, difference, result, tuple(difference.shape), p, None, False)
    if slope is None:  # p = 0 counts elements
        slope = F.zeros(g, tuple(difference.shape))
    return slope if needs[0] else None, -slope if needs[1] else None
