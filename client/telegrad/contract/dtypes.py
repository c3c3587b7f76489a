"""Element types, named as PyTorch names them, and PyTorch's promotion rules."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from telegrad.contract.errors import ArgumentTypeError, DTypeError


class DType:
    """One element type. The instances below are the only ones; compare them with ``is`` or ``==``.

    Attributes:
        name: PyTorch's name, also the spelling on the wire.
        numpy: the numpy dtype that holds it (little-endian on the wire).
        itemsize: bytes an element.
        category: 0 boolean, 1 integer, 2 floating, 3 complex; promotion climbs these.
    """

    __slots__ = ("category", "is_complex", "is_floating_point", "is_signed", "itemsize", "name", "numpy")

    def __init__(self, name: str) -> None:
        self.name: Final[str] = name
        self.numpy: Final[np.dtype[np.generic]] = np.dtype("bool" if name == "bool" else name)
        self.itemsize: Final[int] = self.numpy.itemsize
        self.category: Final[int] = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}[self.numpy.kind]
        self.is_floating_point: Final[bool] = self.category == 2
        self.is_complex: Final[bool] = self.category == 3
        self.is_signed: Final[bool] = self.numpy.kind in "ifc"

    @property
    def is_differentiable(self) -> bool:
        """Whether tensors of this type can require gradients: floating point and complex."""
        return self.category >= 2

    def to_complex(self) -> DType:
        """The complex type whose parts are of this one. Raises DTypeError where there is none."""
        found = self if self.is_complex else DTYPES.get({"float32": "complex64", "float64": "complex128"}.get(self.name, ""))
        if found is None:
            raise DTypeError(f"no complex type has parts of type {self.name}")
        return found

    def to_real(self) -> DType:
        """The type of the parts of a complex one; a real type itself."""
        return to_real(self)

    def __repr__(self) -> str:
        return f"telegrad.{self.name}"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return as_dtype, (self.name,)


bool_ = DType("bool")
uint8 = DType("uint8")
uint16 = DType("uint16")
uint32 = DType("uint32")
uint64 = DType("uint64")
int8 = DType("int8")
int16 = DType("int16")
int32 = DType("int32")
int64 = DType("int64")
float16 = DType("float16")
float32 = DType("float32")
float64 = DType("float64")
complex64 = DType("complex64")
complex128 = DType("complex128")

DTYPES: Final[dict[str, DType]] = {
    d.name: d
    for d in (
        *(bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64),
        *(float16, float32, float64, complex64, complex128),
    )
}
_ALIASES: Final[dict[str, str]] = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
    "cfloat": "complex64",
    "cdouble": "complex128",
}
_BY_NUMPY: Final[dict[np.dtype[np.generic], DType]] = {d.numpy: d for d in DTYPES.values()}
_BY_PYTHON: Final[dict[type, DType]] = {bool: bool_, int: int64, float: float32, complex: complex64}

DTypeLike: TypeAlias = "DType | str | npt.DTypeLike"
Number: TypeAlias = "bool | int | float | complex"

DEFAULT_DTYPE: Final[DType] = float32
"""What Python floats become, and what integers become when an op needs a fraction (PyTorch's default)."""


def from_numpy(dtype: np.dtype[np.generic]) -> DType:
    """The DType that holds ``dtype``'s values; raises DTypeError for kinds telegrad has no tensor for."""
    found = _BY_NUMPY.get(dtype)
    if found is None:
        found = _BY_NUMPY.get(dtype.newbyteorder("="))
    if found is None:
        raise DTypeError(f"no tensor holds elements of numpy type {dtype}; use one of {', '.join(DTYPES)}")
    return found


def is_name(text: str) -> bool:
    """Whether ``text`` names an element type."""
    return text in DTYPES or text in _ALIASES


def as_dtype(value: DTypeLike) -> DType:
    """A DType from a DType, a name (``"float32"``), a numpy dtype or a Python number type.

    Raises:
        ArgumentTypeError: for anything else, naming the types that exist.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        found = DTYPES.get(_ALIASES.get(value, value))
        if found is not None:
            return found
    elif isinstance(value, type) and value in (bool, int, float, complex):
        # PyTorch maps Python's own types to 64 bits here: dtype=float means float64.
        return {bool: bool_, int: int64, float: float64, complex: complex128}[value]
    elif isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return from_numpy(np.dtype(value))
    raise ArgumentTypeError(f"dtype must be one of {', '.join(DTYPES)}; got {type(value).__name__}")


def of_number(value: Number) -> DType:
    """The default DType of a Python number: bool, int64, float32 or complex64."""
    return _BY_PYTHON[type(value)]


_SAFE: Final[dict[tuple[DType, DType], DType]] = {}


def promote_pair(a: DType, b: DType) -> DType:
    """PyTorch's promotion of two tensor types with dimensions: int64 with float32 gives float32."""
    if a is b:
        return a
    found = _SAFE.get((a, b))
    if found is None:
        found = _SAFE[a, b] = _promote_pair(a, b)
    return found


_UNSIGNED_WIDE: Final = frozenset({uint16, uint32, uint64})


def _promote_pair(a: DType, b: DType) -> DType:
    low, high = (a, b) if a.category <= b.category else (b, a)
    wide = low if low in _UNSIGNED_WIDE else high
    other = high if wide is low else low
    if wide in _UNSIGNED_WIDE and not other.is_floating_point:
        # As in PyTorch, which promotes these three to floating types only.
        raise DTypeError(
            f"promotion between {a.name} and {b.name} is not defined for unsigned integers wider than uint8; "
            f"convert one of them first, for example with .to({'int64' if other.category < 3 else other.name})"
        )
    if low.category < high.category:
        if high.category == 3 and low.category == 2:
            return complex128 if (high is complex128 or low is float64) else complex64
        return high
    if low.category == 1 and low.is_signed != high.is_signed:
        signed = low if low.is_signed else high
        return int16 if signed is int8 else signed
    return low if low.itemsize >= high.itemsize else high


def promote(dimensioned: list[DType], zero_dim: list[DType], numbers: list[DType]) -> DType:
    """PyTorch's result type of mixed operands, in three ranks.

    Args:
        dimensioned: types of the tensors with one dimension or more.
        zero_dim: types of the 0-d tensors; they count only by category beside dimensioned ones.
        numbers: default types of the Python numbers; they count only by category beside any tensor.

    Source: torch.result_type, "Type Promotion" in PyTorch's documentation of torch.Tensor attributes.
    """
    result: DType | None = None
    for rank in (dimensioned, zero_dim, numbers):
        if not rank:
            continue
        candidate = rank[0]
        for d in rank[1:]:
            candidate = promote_pair(candidate, d)
        if result is None:
            result = candidate
        elif candidate.category > result.category:
            # A lower rank lifts the category only: float32 with a complex number, or a 0-d complex128, gives complex64.
            if candidate.category == 3:
                result = to_complex(result) if result.category == 2 else candidate
            else:
                result = promote_pair(result, candidate)
    if result is None:  # pyright: ignore[reportUnnecessaryComparison] - it loses track of the loop
        raise ArgumentTypeError("type promotion needs at least one operand")
    return result


def to_float(dtype: DType) -> DType:
    """The type of an op that needs fractions: floating and complex stay, integers and bool become float32."""
    return dtype if dtype.category >= 2 else DEFAULT_DTYPE


def to_real(dtype: DType) -> DType:
    """The type of a complex type's real part; real types stay."""
    if dtype is complex64:
        return float32
    return float64 if dtype is complex128 else dtype


def to_complex(dtype: DType) -> DType:
    """The complex type whose parts hold ``dtype``."""
    if dtype.category == 3:
        return dtype
    return complex128 if dtype is float64 else complex64


def can_cast(source: DType, target: DType) -> bool:
    """Whether an in-place result of type ``source`` may be written into ``target`` (never down a category)."""
    return source.category <= target.category
