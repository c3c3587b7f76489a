"""Rules of the discrete Fourier transforms: which dimensions, how many points, which types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType, as_dtype, float16
from telegrad.contract.errors import ArgumentTypeError, DimensionError, DTypeError, ShapeError, UnsupportedDTypeError
from telegrad.contract.ops import Outcome, Rule, Shape, Spec, check_bytes
from telegrad.contract.shapes import dimension

Parameters = Mapping[str, Any]
Spans = tuple[tuple[int, ...], tuple[int, ...]]
"""Dimensions counted from the front, and the number of points of the transform along each."""

OPPOSITE: Final[dict[Any, Any]] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The norm with which the inverse transform is the adjoint: the same factor on the other side."""


def norm_argument(norm: Any) -> str | None:
    """``norm`` if it is None or a string; raises ArgumentTypeError. Which strings there are is for the rule."""
    if norm is not None and not isinstance(norm, str):
        raise ArgumentTypeError(f"argument 'norm' must be str, not {type(norm).__name__}")
    return norm


def is_hermitian(name: str) -> bool:
    """Whether the transform reads the half of a spectrum that a real signal has: irfft, hfft and their kin."""
    return name.startswith(("irfft", "hfft"))


def is_of_real(name: str) -> bool:
    """Whether the transform gives half a spectrum and takes real signals only: rfft, ihfft and their kin."""
    return name.startswith(("rfft", "ihfft"))


def spans(name: str, shape: Shape, p: Parameters) -> Spans:
    """What the transform ``name`` runs over, for a tensor of that shape.

    Raises DimensionError and ShapeError as PyTorch does.
    """
    ndim = len(shape)
    dims: tuple[int, ...]
    given: tuple[int, ...]
    if "n" in p:
        dims, given = (_along(p["dim"], ndim),), (-1,)
        if p["n"] is not None:
            _check_points(p["n"])
            given = (p["n"],)
    else:
        dims, given = _several(p["s"], p["dim"], ndim)
        if not dims and (is_hermitian(name) or is_of_real(name)):
            raise ShapeError(f"{name} must transform at least one axis")
    sizes = [shape[d] if n == -1 else n for d, n in zip(dims, given, strict=True)]
    if is_hermitian(name) and given[-1] == -1:
        sizes[-1] = 2 * (shape[dims[-1]] - 1)
    for n in sizes:
        _check_points(n)
    return dims, tuple(sizes)


def _along(dim: int, ndim: int) -> int:
    if not ndim:
        raise DimensionError(f"Dimension specified as {dim} but tensor has no dimensions")
    return dimension(dim, ndim)


def _several(s: Any, dim: Any, ndim: int) -> Spans:
    sizes = None if s is None else (s,) if isinstance(s, int) else tuple(s)
    if dim is None:
        if sizes is None:
            return tuple(range(ndim)), (-1,) * ndim
        if len(sizes) > ndim:
            raise ShapeError(f"Got shape with {len(sizes)} values but input tensor only has {ndim} dimensions.")
        return tuple(range(ndim - len(sizes), ndim)), sizes
    dims = tuple(_along(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    if len(set(dims)) != len(dims):
        raise ShapeError("FFT dims must be unique")
    if sizes is None:
        return dims, (-1,) * len(dims)
    if len(sizes) != len(dims):
        raise ShapeError("When given, dim and shape arguments must have the same length")
    return dims, sizes


def _check_points(n: int) -> None:
    if n < 1:
        raise ShapeError(f"Invalid number of data points ({n}) specified")


def _check_norm(norm: str | None) -> None:
    if norm not in OPPOSITE:
        raise ShapeError(f'Invalid normalization mode: "{norm}"; use "backward", "ortho" or "forward"')


def spectrum_shape(name: str, shape: Shape, over: Spans) -> Shape:
    """The result's shape: the points along each dimension, of a real signal's spectrum only half along the last."""
    result = list(shape)
    for d, n in zip(*over, strict=True):
        result[d] = n
    if is_of_real(name):
        result[over[0][-1]] = over[1][-1] // 2 + 1
    return tuple(result)


def transformed(x: Spec, name: str, over: Spans) -> Outcome:
    """Type, shape and cost of a transform: 5 n log2 n operations, as usual for the fast algorithm."""
    shape = spectrum_shape(name, x.shape, over)
    real = dtypes.to_float(x.dtype)
    compute = dtypes.to_complex(real) if is_hermitian(name) else real
    result = dtypes.to_real(compute) if is_hermitian(name) else dtypes.to_complex(real)
    check_bytes(shape, result)
    points = max(1, math.prod(over[1]))
    batch = math.prod(shape) // max(1, math.prod(shape[d] for d in over[0]))
    flops = int(5 * batch * points * math.log2(points + 1))
    return Outcome((Spec(shape, result),), flops, compute, 2 * batch * points * dtypes.to_complex(real).itemsize)


def transform(name: str) -> Rule:
    """Rule of a public transform."""

    def rule(inputs: Sequence[Any], p: Parameters) -> Outcome:
        (x,) = inputs
        # PyTorch's order: what it composes of one-dimensional transforms looks at the dimensions first.
        over = spans(name, x.shape, p) if "s" in p and not name.startswith("rfft") else None
        if x.dtype is float16:
            raise DTypeError(f"{name}: Unsupported dtype Half; convert the tensor first, for example with .to(telegrad.float32)")
        if is_of_real(name) and x.dtype.is_complex:
            raise DTypeError(f"{name} expects a real input tensor, but got {x.dtype.name}; its real part is .real")
        over = over or spans(name, x.shape, p)
        _check_norm(p["norm"])
        return transformed(x, name, over)

    return rule


def plain(name: str) -> Rule:
    """Rule of the engine's own transforms, whose sizes and dimensions are given in full."""

    def rule(inputs: Sequence[Any], p: Parameters) -> Outcome:
        return transformed(inputs[0], name, (p["dims"], p["sizes"]))

    return rule


def resized(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``_fft_resize``."""
    spec = Spec(tuple(p["sizes"]), inputs[0].dtype)
    return Outcome((spec,), spec.size)


def shifts(shape: Shape, dim: Any, *, inverse: bool) -> Spans:
    """By how much ``fftshift`` rolls which dimensions: half their size, rounded down, or up for the inverse."""
    ndim = len(shape)
    dims = tuple(range(ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        raise ShapeError("`shifts` required")
    found = tuple(_along(d, ndim) for d in dims)
    return found, tuple((shape[d] + inverse) // 2 for d in found)


def shift(*, inverse: bool) -> Rule:
    """Rule of ``fftshift`` and ``ifftshift``."""

    def rule(inputs: Sequence[Any], p: Parameters) -> Outcome:
        (x,) = inputs
        shifts(x.shape, p["dim"], inverse=inverse)
        return Outcome((x,), x.size)

    return rule


def frequencies(name: str) -> Rule:
    """Rule of ``fftfreq`` and ``rfftfreq``."""

    def rule(_inputs: Sequence[Any], p: Parameters) -> Outcome:
        dtype: DType = dtypes.DEFAULT_DTYPE if p["dtype"] is None else as_dtype(p["dtype"])
        if dtype.category < 2:
            raise DTypeError(f"{name} requires a floating point or complex dtype")
        if dtype.is_complex:
            raise UnsupportedDTypeError(f'"{name}" not implemented for {dtype.name}')
        n = p["n"]
        if n < 0:
            raise ShapeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
        count = n // 2 + 1 if name == "rfftfreq" else n
        check_bytes((count,), dtype)
        return Outcome((Spec((count,), dtype),), 2 * count)

    return rule
