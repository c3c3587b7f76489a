"""Kernels and derivatives of the discrete Fourier transforms, by numpy's.

All of them are linear, so that a gradient is the adjoint applied to g. With F for the unnormalised transform, the adjoint of F is
the unnormalised inverse: the inverse transform with the factor 1/n on the other side. A transform of a real signal to half a
spectrum (r2c) and back (c2r) are each other's adjoint but for the elements whose mirrored half is left out: those count twice on
the way back.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from telegrad.contract.dtypes import DEFAULT_DTYPE, DType
from telegrad.contract.fft_rules import OPPOSITE, is_hermitian, is_of_real, shifts, spans
from telegrad_service.engine.formulas import F
from telegrad_service.engine.table import Array, derivative, kernel

Ints: TypeAlias = tuple[int, ...]
Norm: TypeAlias = Literal["backward", "ortho", "forward"] | None

# Transforms with everything spelled out --------------------------------------------------------------------------------------


@kernel("_fft_c2c")
def _c2c(self: Array, sizes: Ints, dims: Ints, norm: Norm, forward: bool) -> Any:
    if not dims:
        return self.astype(np.result_type(self.dtype, np.complex64))
    if len(dims) == 1:  # half the price for few points
        return (np.fft.fft if forward else np.fft.ifft)(self, sizes[0], dims[0], norm)
    return (np.fft.fftn if forward else np.fft.ifftn)(self, sizes, dims, norm)


@kernel("_fft_r2c")
def _r2c(self: Array, sizes: Ints, dims: Ints, norm: Norm) -> Any:
    return np.fft.rfftn(self, sizes, dims, norm)


@kernel("_fft_c2r")
def _c2r(self: Array, sizes: Ints, dims: Ints, norm: Norm) -> Any:
    return np.fft.irfftn(self, sizes, dims, norm)


@kernel("_fft_resize")
def _resize(self: Array, sizes: Ints) -> Any:
    common = tuple([slice(0, min(a, b)) for a, b in zip(self.shape, sizes, strict=True)])
    made = np.zeros(sizes, self.dtype)
    made[common] = self[common]
    return made


@kernel("_fft_inner")
def _inner(self: Array, dim: int, points: int, factor: float) -> Any:
    made = self.copy()
    made[(slice(None),) * dim + (slice(1, (points + 1) // 2),)] *= factor
    return made


def _fitted(x: Any, shape: Ints) -> Any:
    """``x`` cut or filled up to ``shape``; itself if it has that shape."""
    return x if tuple(x.shape) == tuple(shape) else F._fft_resize(x, sizes=shape)


def _c2c_adjoint(g: Any, shape: Ints, sizes: Ints, dims: Ints, norm: Norm, forward: bool) -> Any:
    return _fitted(F._fft_c2c(g, sizes=sizes, dims=dims, norm=OPPOSITE[norm], forward=not forward), shape)


def _r2c_adjoint(g: Any, shape: Ints, sizes: Ints, dims: Ints, norm: Norm) -> Any:
    once = F._fft_inner(g, dim=dims[-1], points=sizes[-1], factor=0.5)
    return _fitted(F._fft_c2r(once, sizes=sizes, dims=dims, norm=OPPOSITE[norm]), shape)


def _c2r_adjoint(g: Any, shape: Ints, sizes: Ints, dims: Ints, norm: Norm) -> Any:
    half = F._fft_r2c(g, sizes=sizes, dims=dims, norm=OPPOSITE[norm])
    return _fitted(F._fft_inner(half, dim=dims[-1], points=sizes[-1], factor=2.0), shape)


derivative(
    "_fft_c2c",
    self=lambda g, self_shape, sizes, dims, norm, forward: _c2c_adjoint(g, self_shape, sizes, dims, norm, forward),
)
derivative("_fft_r2c", self=lambda g, self_shape, sizes, dims, norm: _r2c_adjoint(g, self_shape, sizes, dims, norm))
derivative("_fft_c2r", self=lambda g, self_shape, sizes, dims, norm: _c2r_adjoint(g, self_shape, sizes, dims, norm))
derivative("_fft_resize", self=lambda g, self_shape: F._fft_resize(g, sizes=self_shape))
derivative("_fft_inner", self=lambda g, dim, points, factor: F._fft_inner(g, dim=dim, points=points, factor=factor))

# The public ones -------------------------------------------------------------------------------------------------------------


def _transform(name: str) -> Callable[..., Any]:
    """The kernel of a public transform."""

    def compute(self: Array, norm: Norm, **where: Any) -> Any:
        dims, sizes = spans(name, self.shape, where)
        if "hfft" in name:  # the Hermitian ones are those of real signals with the roles of time and frequency swapped
            norm = OPPOSITE[norm]
        if is_hermitian(name):
            return _c2r(np.conjugate(self) if "hfft" in name else self, sizes, dims, norm)
        if is_of_real(name):
            half = _r2c(self, sizes, dims, norm)
            return np.conjugate(half, out=half) if "hfft" in name else half
        return _c2c(self, sizes, dims, norm, not name.startswith("i"))

    return compute


def _adjoint(name: str, g: Any, shape: Ints, norm: Norm, where: dict[str, Any]) -> Any:
    """The gradient of a public transform of a tensor of that shape."""
    dims, sizes = spans(name, tuple(shape), where)
    if "hfft" in name:
        norm = OPPOSITE[norm]
    if is_hermitian(name):
        back = _c2r_adjoint(g, shape, sizes, dims, norm)
        return F.conjugate(back) if "hfft" in name else back
    if is_of_real(name):
        return _r2c_adjoint(F.conjugate(g) if "hfft" in name else g, shape, sizes, dims, norm)
    return _c2c_adjoint(g, shape, sizes, dims, norm, not name.startswith("i"))


def _one(name: str) -> None:
    kernel(name, _transform(name))
    derivative(name, self=lambda g, self_shape, n, dim, norm: _adjoint(name, g, self_shape, norm, {"n": n, "dim": dim}))


def _many(name: str) -> None:
    kernel(name, _transform(name))
    derivative(name, self=lambda g, self_shape, s, dim, norm: _adjoint(name, g, self_shape, norm, {"s": s, "dim": dim}))


for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    _one(_name)
    _many(f"{_name}2")
    _many(f"{_name}n")

# Order of the spectrum -------------------------------------------------------------------------------------------------------


def _shift(name: str, other: str, *, inverse: bool) -> None:
    def compute(self: Array, dim: int | Ints | None) -> Any:
        dims, by = shifts(self.shape, dim, inverse=inverse)
        return np.roll(self, by, dims)

    kernel(name, compute)
    derivative(name, self=lambda g, dim: getattr(F, other)(g, dim=dim))


_shift("fftshift", "ifftshift", inverse=False)
_shift("ifftshift", "fftshift", inverse=True)


@kernel("fftfreq")
def _fftfreq(n: int, d: float, dtype: DType | None) -> Any:
    found = np.arange(n)
    found[(n + 1) // 2 :] -= n
    return _spaced(found, n, d, dtype)


@kernel("rfftfreq")
def _rfftfreq(n: int, d: float, dtype: DType | None) -> Any:
    return _spaced(np.arange(n // 2 + 1), n, d, dtype)


def _spaced(whole: Array, n: int, d: float, dtype: DType | None) -> Any:
    """PyTorch's order of steps: a factor rounded once, so that d = 0 gives infinities and 0 * inf."""
    made: Any = whole.astype((dtype or DEFAULT_DTYPE).numpy)
    return made * made.dtype.type(np.divide(1.0, n * d))
