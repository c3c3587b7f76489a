"""What an element type can hold: ``telegrad.finfo`` and ``telegrad.iinfo``, as numpy knows it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from telegrad.contract.dtypes import DEFAULT_DTYPE, DType, to_real
from telegrad.contract.errors import ArgumentTypeError


def _type(given: Any, name: str) -> DType:
    if not isinstance(given, DType):
        raise ArgumentTypeError(f"{name}(): argument 'type' (position 1) must be telegrad.dtype, not {type(given).__name__}")
    return given


class _Limits:
    """Two are equal if they are of one type."""

    bits: int
    """Bits of an element, or of each part of a complex one."""

    dtype: str
    """The name of the element type, or of each part of a complex one."""

    def __eq__(self, other: object) -> bool:
        return self.dtype == other.dtype if isinstance(other, _Limits) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.dtype)


class FloatLimits(_Limits):
    """``telegrad.finfo(dtype)``, of float32 unless given. Raises ArgumentTypeError for types without fractions."""

    def __init__(self, type: DType = DEFAULT_DTYPE) -> None:
        kind = _type(type, "finfo")
        if kind.category < 2:
            raise ArgumentTypeError("telegrad.finfo() requires a floating point input type. Use telegrad.iinfo for integers")
        real = to_real(kind)
        numpys: Any = real.numpy
        known: Any = np.finfo(numpys)
        self.bits, self.dtype = int(known.bits), real.name
        self.eps: Final = float(known.eps)
        self.max: Final = float(known.max)
        self.min: Final = float(known.min)
        self.tiny: Final = float(known.tiny)
        self.smallest_normal: Final = float(known.smallest_normal)
        self.resolution: Final = float(str(known.resolution))

    def __repr__(self) -> str:
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{name}={getattr(self, name):g}' for name in shown)}, dtype={self.dtype})"


class IntegerLimits(_Limits):
    """``telegrad.iinfo(dtype)``. Raises ArgumentTypeError for types that are no integers."""

    def __init__(self, type: DType) -> None:
        kind = _type(type, "iinfo")
        if kind.category == 0:
            raise ArgumentTypeError("telegrad.bool is not supported by telegrad.iinfo")
        if kind.category != 1:
            raise ArgumentTypeError("telegrad.iinfo() requires an integer input type. Use telegrad.finfo for floating point types")
        numpys: Any = kind.numpy
        known: Any = np.iinfo(numpys)
        self.bits, self.dtype = int(known.bits), kind.name
        self.max: Final = int(known.max)
        self.min: Final = int(known.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
