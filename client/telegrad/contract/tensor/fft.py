"""Discrete Fourier transforms: the methods behind ``telegrad.fft``."""

# The transforms have no public method, as in PyTorch: their names are found in ``telegrad.fft``.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Self, TypeVar

from telegrad.contract import fft_rules as rules
from telegrad.contract.dtypes import DTypeLike, as_dtype
from telegrad.contract.errors import ArgumentTypeError
from telegrad.contract.fft_rules import norm_argument
from telegrad.contract.ops import op
from telegrad.contract.shapes import integer, optional_ints, real_number, same
from telegrad.contract.tensor.base import TensorBase

Made = TypeVar("Made")


class FFTOps(TensorBase):
    """Transforms of one dimension, of two, and of any number.

    Element k of a forward transform along n points is the sum over t of x[t] * exp(-2i pi k t / n); the inverse has +2i. ``norm``
    says where the factor 1/n stands: on the inverse ("backward", the default), on the forward transform ("forward"), or its root on
    both ("ortho"). ``n`` and ``s`` cut the tensor to that many points, or fill up with zeros. float32 gives complex64, float64
    gives complex128, integers and bool count as float32. Raises: ShapeError for less than one point, for another ``norm`` and for
    repeated dimensions; DimensionError; DTypeError for float16.
    """

    __slots__ = ()

    def _one(self, name: str, n: int | None, dim: int, norm: str | None) -> Self:
        points = None if n is None else integer(n, "n")
        return self._apply(name, self, n=points, dim=integer(dim, "dim"), norm=norm_argument(norm))

    def _many(self, name: str, s: Any, dim: Any, norm: str | None) -> Self:
        return self._apply(name, self, s=optional_ints(s, "s"), dim=optional_ints(dim, "dim"), norm=norm_argument(norm))

    # One dimension -------------------------------------------------------------------------------------------------------------
    @op(rules.transform("fft"), name="fft", namespace="fft", node="FftC2C")
    def _fft(self, n: int | None = None, dim: int = -1, norm: str | None = None) -> Self:
        """Fourier transform, along ``dim``.

        Shapes: [..., k, ...] -> [..., n, ...]. Gradient: the inverse transform of g.
        """
        return self._one("fft", n, dim, norm)

    @op(rules.transform("ifft"), name="ifft", namespace="fft", node="FftC2C")
    def _ifft(self, n: int | None = None, dim: int = -1, norm: str | None = None) -> Self:
        """Inverse Fourier transform, along ``dim``.

        Shapes: [..., k, ...] -> [..., n, ...]. Gradient: the forward transform of g.
        """
        return self._one("ifft", n, dim, norm)

    @op(rules.transform("rfft"), name="rfft", namespace="fft", node="FftR2C")
    def _rfft(self, n: int | None = None, dim: int = -1, norm: str | None = None) -> Self:
        """Fourier transform of a real signal: the half of its spectrum that the other half mirrors, along ``dim``.

        Shapes: [..., k, ...] -> [..., n // 2 + 1, ...]. Gradient: the inverse transform of g, its real part.
        """
        return self._one("rfft", n, dim, norm)

    @op(rules.transform("irfft"), name="irfft", namespace="fft", node="FftC2R")
    def _irfft(self, n: int | None = None, dim: int = -1, norm: str | None = None) -> Self:
        """The real signal of half a spectrum: the inverse of ``rfft``, along ``dim``.

        Shapes: [..., k, ...] -> [..., n, ...], n = 2 * (k - 1) unless given. Gradient: ``rfft`` of g, mirrored parts doubled.
        """
        return self._one("irfft", n, dim, norm)

    @op(rules.transform("hfft"), name="hfft", namespace="fft", node="FftC2R")
    def _hfft(self, n: int | None = None, dim: int = -1, norm: str | None = None) -> Self:
        """The real spectrum of a signal given by its half, the other half being its mirrored conjugate, along ``dim``.

        Shapes: [..., k, ...] -> [..., n, ...], n = 2 * (k - 1) unless given. Gradient: ``ihfft`` of g, mirrored parts doubled.
        """
        return self._one("hfft", n, dim, norm)

    @op(rules.transform("ihfft"), name="ihfft", namespace="fft", node="FftR2C")
    def _ihfft(self, n: int | None = None, dim: int = -1, norm: str | None = None) -> Self:
        """Inverse of ``hfft``: of a real spectrum, half the signal, along ``dim``.

        Shapes: [..., k, ...] -> [..., n // 2 + 1, ...]. Gradient: the forward transform of g, its real part.
        """
        return self._one("ihfft", n, dim, norm)

    # Two dimensions ------------------------------------------------------------------------------------------------------------
    @op(rules.transform("fft2"), name="fft2", namespace="fft", node="FftC2C")
    def _fft2(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None) -> Self:
        """``fft`` over two dimensions.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``fft`` has them. Gradient: the inverse transform of g.
        """
        return self._many("fft2", s, dim, norm)

    @op(rules.transform("ifft2"), name="ifft2", namespace="fft", node="FftC2C")
    def _ifft2(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None) -> Self:
        """``ifft`` over two dimensions.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``ifft`` has them. Gradient: the forward transform of g.
        """
        return self._many("ifft2", s, dim, norm)

    @op(rules.transform("rfft2"), name="rfft2", namespace="fft", node="FftR2C")
    def _rfft2(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None) -> Self:
        """``rfft`` over two dimensions; half a spectrum along the last of them.

        Shapes: [...] -> [...], sizes along ``dim`` as ``rfft`` has them. Gradient: the inverse transform of g, its real part.
        """
        return self._many("rfft2", s, dim, norm)

    @op(rules.transform("irfft2"), name="irfft2", namespace="fft", node="FftC2R")
    def _irfft2(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None) -> Self:
        """``irfft`` over two dimensions; the last of them holds half a spectrum.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``irfft`` has them. Gradient: ``rfft`` of g, mirrored parts doubled.
        """
        return self._many("irfft2", s, dim, norm)

    @op(rules.transform("hfft2"), name="hfft2", namespace="fft", node="FftC2R")
    def _hfft2(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None) -> Self:
        """``hfft`` over two dimensions; the last of them holds half a signal.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``hfft`` has them. Gradient: ``ihfft`` of g, mirrored parts doubled.
        """
        return self._many("hfft2", s, dim, norm)

    @op(rules.transform("ihfft2"), name="ihfft2", namespace="fft", node="FftR2C")
    def _ihfft2(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] = (-2, -1), norm: str | None = None) -> Self:
        """``ihfft`` over two dimensions; half a signal along the last of them.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``ihfft`` has them. Gradient: the forward transform of g, its real part.
        """
        return self._many("ihfft2", s, dim, norm)

    # Any number of dimensions --------------------------------------------------------------------------------------------------
    @op(rules.transform("fftn"), name="fftn", namespace="fft", node="FftC2C")
    def _fftn(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None) -> Self:
        """``fft`` over ``dim``: all dimensions, or as many of the last as ``s`` has sizes.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``fft`` has them. Gradient: the inverse transform of g.
        """
        return self._many("fftn", s, dim, norm)

    @op(rules.transform("ifftn"), name="ifftn", namespace="fft", node="FftC2C")
    def _ifftn(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None) -> Self:
        """``ifft`` over ``dim``: all dimensions, or as many of the last as ``s`` has sizes.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``ifft`` has them. Gradient: the forward transform of g.
        """
        return self._many("ifftn", s, dim, norm)

    @op(rules.transform("rfftn"), name="rfftn", namespace="fft", node="FftR2C")
    def _rfftn(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None) -> Self:
        """``rfft`` over ``dim``: all dimensions, or as many of the last as ``s`` has sizes; half a spectrum along the last of them.

        Shapes: [...] -> [...], sizes along ``dim`` as ``rfft`` has them. Gradient: the inverse transform of g, its real part.
        """
        return self._many("rfftn", s, dim, norm)

    @op(rules.transform("irfftn"), name="irfftn", namespace="fft", node="FftC2R")
    def _irfftn(
        self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
    ) -> Self:
        """``irfft`` over ``dim``: all dimensions, or as many of the last as ``s`` has sizes; the last holds half a spectrum.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``irfft`` has them. Gradient: ``rfft`` of g, mirrored parts doubled.
        """
        return self._many("irfftn", s, dim, norm)

    @op(rules.transform("hfftn"), name="hfftn", namespace="fft", node="FftC2R")
    def _hfftn(self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None) -> Self:
        """``hfft`` over ``dim``: all dimensions, or as many of the last as ``s`` has sizes; the last of them holds half a signal.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``hfft`` has them. Gradient: ``ihfft`` of g, mirrored parts doubled.
        """
        return self._many("hfftn", s, dim, norm)

    @op(rules.transform("ihfftn"), name="ihfftn", namespace="fft", node="FftR2C")
    def _ihfftn(
        self, s: int | Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
    ) -> Self:
        """``ihfft`` over ``dim``: all dimensions, or as many of the last as ``s`` has sizes; half a signal along the last of them.

        Shapes: [...] -> [...], the sizes along ``dim`` as ``ihfft`` has them. Gradient: the forward transform of g, its real part.
        """
        return self._many("ihfftn", s, dim, norm)

    # Order of the spectrum ------------------------------------------------------------------------------------------------------

    @op(rules.shift(inverse=False), name="fftshift", namespace="fft", node="Roll")
    def _fftshift(self, dim: int | Sequence[int] | None = None) -> Self:
        """Frequency 0 moved from the front to the middle along ``dim``, by default all dimensions; a copy.

        Shapes: [...] -> [...]. Gradient: ``ifftshift`` of g. Raises: DimensionError.
        """
        return self._apply("fftshift", self, dim=optional_ints(dim, "dim"))

    @op(rules.shift(inverse=True), name="ifftshift", namespace="fft", node="Roll")
    def _ifftshift(self, dim: int | Sequence[int] | None = None) -> Self:
        """Frequency 0 moved from the middle back to the front: the inverse of ``fftshift``; a copy.

        Shapes: [...] -> [...]. Gradient: ``fftshift`` of g. Raises: DimensionError.
        """
        return self._apply("ifftshift", self, dim=optional_ints(dim, "dim"))

    # For the engine: what the public transforms and their gradients are made of --------------------------------------------------

    @op(rules.plain("fftn"), namespace="internal", node="FftC2C")
    def _fft_c2c(self, *, sizes: Sequence[int], dims: Sequence[int], norm: str | None, forward: bool) -> Self:
        """Complex transform over ``dims`` with ``sizes`` points.

        Shapes: [...] -> [...]. Gradient: the inverse transform of g.
        """
        return self._apply("_fft_c2c", self, sizes=sizes, dims=dims, norm=norm, forward=forward)

    @op(rules.plain("rfftn"), namespace="internal", node="FftR2C")
    def _fft_r2c(self, *, sizes: Sequence[int], dims: Sequence[int], norm: str | None) -> Self:
        """Transform of a real tensor over ``dims`` with ``sizes`` points: half a spectrum along the last.

        Shapes: [...] -> [...]. Gradient: the inverse transform of g, its real part.
        """
        return self._apply("_fft_r2c", self, sizes=sizes, dims=dims, norm=norm)

    @op(rules.plain("irfftn"), namespace="internal", node="FftC2R")
    def _fft_c2r(self, *, sizes: Sequence[int], dims: Sequence[int], norm: str | None) -> Self:
        """Inverse of ``_fft_r2c``.

        Shapes: [...] -> [...]. Gradient: the forward transform of g, doubled where a mirrored half counts.
        """
        return self._apply("_fft_c2r", self, sizes=sizes, dims=dims, norm=norm)

    @op(rules.resized, namespace="internal")
    def _fft_resize(self, *, sizes: Sequence[int]) -> Self:
        """The tensor cut at the end of each dimension, or filled up with zeros, to ``sizes``: a transform's first step.

        Shapes: [...] -> [*sizes]. Gradient: g, cut or filled up to the shape before.
        """
        return self._apply("_fft_resize", self, sizes=sizes)

    @op(same(), namespace="internal")
    def _fft_inner(self, *, dim: int, points: int, factor: float) -> Self:
        """Half a spectrum of ``points`` points times ``factor`` where a mirrored half goes with it: all but the ends.

        Shapes: [..., points // 2 + 1, ...] -> the same. Gradient: g, likewise.
        """
        return self._apply("_fft_inner", self, dim=dim, points=points, factor=factor)


class FrequencyOps(TensorBase, Generic[Made]):
    """The frequencies that a transform's elements stand for, as methods of a session."""

    @op(rules.frequencies("fftfreq"), name="fftfreq", namespace="fft", differentiable=(), reason="it has no tensor input")
    def _fftfreq(self: Any, n: int, d: float = 1.0, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """Frequencies of ``fft``'s elements for ``n`` points ``d`` apart: 0, 1, ..., then the negative ones, over ``n * d``.

        Shapes: -> [n]. dtype: float32 unless given. Raises: ShapeError for a negative n; DTypeError for other than floating types.
        """
        return _frequencies(self, "fftfreq", n, d, dtype, requires_grad)

    @op(rules.frequencies("rfftfreq"), name="rfftfreq", namespace="fft", differentiable=(), reason="it has no tensor input")
    def _rfftfreq(self: Any, n: int, d: float = 1.0, *, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Made:
        """Frequencies of ``rfft``'s elements for ``n`` points ``d`` apart: 0, 1, ..., n // 2, over ``n * d``.

        Shapes: -> [n // 2 + 1]. dtype: float32 unless given. Raises: ShapeError for a negative n; DTypeError for other than
        floating types.
        """
        return _frequencies(self, "rfftfreq", n, d, dtype, requires_grad)


def _frequencies(home: Any, name: str, n: Any, d: Any, dtype: DTypeLike | None, requires_grad: bool) -> Any:
    if isinstance(d, bool) or not isinstance(d, (int, float)):
        raise ArgumentTypeError(f"{name}(): argument 'd' must be float, not {type(d).__name__}")
    made = home._apply(name, n=integer(n, "n"), d=real_number(d, "d"), dtype=None if dtype is None else as_dtype(dtype))
    if requires_grad:
        made.requires_grad = requires_grad
    return made
