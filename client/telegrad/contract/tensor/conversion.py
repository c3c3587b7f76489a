"""Copies, element types, complex parts, and filling: ops that move values without arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, overload

from telegrad.contract import dtypes, notices
from telegrad.contract.dtypes import DType, DTypeLike, Number, as_dtype
from telegrad.contract.errors import ArgumentTypeError, DTypeError, ShapeError
from telegrad.contract.literal import check_fits
from telegrad.contract.ops import Outcome, Spec, op
from telegrad.contract.placement import Device, check_device, check_format
from telegrad.contract.reduce_rules import flag
from telegrad.contract.shapes import broadcast, same
from telegrad.contract.tensor.base import TensorBase


def _converted(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    spec = Spec(inputs[0].shape, as_dtype(p["dtype"]))
    return Outcome((spec,), spec.size)


def _part(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    return Outcome((Spec(x.shape, dtypes.to_real(x.dtype)),), 0)


def _imaginary(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    if not inputs[0].dtype.is_complex:
        raise DTypeError("imag is not implemented for tensors with non-complex dtypes.")
    return _part(inputs, p)


def _angle(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x = inputs[0]
    dtype = dtypes.to_float(x.dtype)
    return Outcome((Spec(x.shape, dtypes.to_real(dtype)),), 10 * x.size, dtype)


def _fill(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x, value = inputs
    if isinstance(value, Spec):
        if value.shape:
            raise ShapeError(f"fill_ only supports 0-dimension value tensor but got tensor with {len(value.shape)} dimensions.")
    else:
        check_fits(value, x.dtype)
    return Outcome((x,), x.size)


def _copy(inputs: Sequence[Any], p: Mapping[str, Any]) -> Outcome:
    x, source = inputs
    reached = broadcast(x.shape, source.shape)
    if reached != x.shape:
        raise ShapeError(f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(reached)}")
    return Outcome((x,), x.size)


_WAYS: Final = {
    "dtype": ("dtype", "non_blocking", "copy"),
    "other": ("other", "non_blocking", "copy"),
    "device": ("device", "dtype", "non_blocking", "copy"),
}
"""What the arguments of ``to`` are, by what the first one is."""


def _is_place(given: Any) -> bool:
    """Whether the first argument of ``to`` names a place: None, a device, or a text that is no type's name."""
    return given is None or isinstance(given, Device) or (isinstance(given, str) and not dtypes.is_name(given))


class ConversionOps(TensorBase):
    """Copies and conversions."""

    __slots__ = ()

    @property
    def dtype(self) -> DType:
        """Element type."""
        raise NotImplementedError

    @op(_converted, node="ToCopy", name="to")
    def _to(self, dtype: DTypeLike, *, copy: bool = False) -> Self:
        """The values as ``dtype``, or in another tensor's type: the tensor itself if it has that type already, unless ``copy``.

        ``"cpu"`` is where all tensors are: it changes nothing.

        Shapes: [...] -> [...]. Gradient: g, as the input's type. Real from complex drops the imaginary part; whole from fractional
        truncates.
        """
        wanted = as_dtype(dtype)
        if wanted is self.dtype and not copy:
            return self
        notices.discards_imaginary(self, wanted)
        return self._apply("to", self, dtype=wanted)

    @overload
    def to(self, dtype: DTypeLike, non_blocking: bool = False, copy: bool = False) -> Self: ...
    @overload
    def to(self, other: TensorBase, non_blocking: bool = False, copy: bool = False) -> Self: ...
    @overload
    def to(
        self, device: str | Device | None = None, dtype: DTypeLike | None = None, non_blocking: bool = False, copy: bool = False
    ) -> Self: ...
    def to(self, *how: Any, **named: Any) -> Self:
        """The values as ``dtype``, or in another tensor's type: the tensor itself if it has that type already, unless ``copy``.

        ``device`` is ``"cpu"``, ``telegrad.device("cpu")`` or None: all tensors are there. So there is nothing to wait for either,
        ``non_blocking`` or not.
        Raises ArgumentTypeError for anything else.
        """
        if len(how) == 1 and not named and how[0].__class__ is DType:
            return self._to(how[0])
        check_format("to", named.pop("memory_format", None))
        way = _WAYS["other" if how and isinstance(how[0], TensorBase) else "device" if not how or _is_place(how[0]) else "dtype"]
        given = dict(zip(way, how, strict=False))
        if len(how) > len(way) or named.keys() & given.keys() or named.keys() - {*_WAYS["device"]}:
            raise ArgumentTypeError(f"to() takes ({', '.join(way)}), each once, got {len(how)} arguments and {sorted(named)}")
        given.update(named)
        self._check_place(given.get("device"), may_be_a_type="device" not in named)
        like = given.get("other")
        dtype = given.get("dtype") if like is None else like.dtype
        for name in ("non_blocking", "copy"):
            flag(given.get(name, False), name)
        return self._to(self.dtype if dtype is None else dtype, copy=given.get("copy", False))

    @staticmethod
    def _check_place(given: Any, *, may_be_a_type: bool) -> None:
        """Refuse all but the one place; of a text that is neither a place nor a type nobody knows which it was to be."""
        try:
            check_device("to", given)
        except ArgumentTypeError as error:
            if may_be_a_type and isinstance(given, str):
                raise ArgumentTypeError(f"{error.detail}; dtype must be one of {', '.join(dtypes.DTYPES)}") from None
            raise

    def type_as(self, other: Self) -> Self:
        """``to(other.dtype)``."""
        return self.to(other.dtype)

    @op(same())
    def clone(self) -> Self:
        """A copy with memory of its own, through which gradients flow.

        Shapes: [...] -> [...]. Gradient: g.
        """
        return self._apply("clone", self)

    @op(same(), node="Conj")
    def conj(self) -> Self:
        """Complex conjugate; a real tensor itself.

        Shapes: [...] -> [...]. Gradient: conj(g).
        """
        return self._apply("conj", self) if self.dtype.is_complex else self

    @op(_part, view=True, name="real")
    def _real(self) -> Self:
        """Real part, sharing memory; a real tensor itself.

        Shapes: [...] -> [...]. Gradient: g.
        """
        return self._apply("real", self)

    @op(_imaginary, view=True, name="imag")
    def _imag(self) -> Self:
        """Imaginary part, sharing memory. Raises DTypeError for real types.

        Shapes: [...] -> [...]. Gradient: i * g.
        """
        return self._apply("imag", self)

    @property
    def real(self) -> Self:
        """Real part, sharing memory; a real tensor itself."""
        return self._real() if self.dtype.is_complex else self

    @property
    def imag(self) -> Self:
        """Imaginary part, sharing memory. Raises DTypeError for real types."""
        return self._imag()

    @op(_angle)
    def angle(self) -> Self:
        """Angle of complex numbers in radians; of real ones, pi if negative, else 0.

        Shapes: [...] -> [...]. Gradient: g * i * self / abs(self)**2, 0 at 0; 0 for real types.
        """
        return self._apply("angle", self)

    @op(_fill, inplace=True)
    def fill(self, value: Self | Number) -> Self:
        """``value``, a number or a 0-d tensor, everywhere. In place: ``fill_``.

        Shapes: [...], [] -> [...]. Gradient: 0; sum(g). Raises: DTypeError for a number that the type cannot hold.
        """
        return self._apply("fill", self, value)

    @op(_copy, node="CopyBackwards", inplace=True)
    def copy(self, src: Self) -> Self:
        """``src`` broadcast and converted to the tensor's shape and type. In place: ``copy_``.

        Shapes: [...], broadcastable -> [...]. Gradient: 0; g.
        """
        return self._apply("copy", self, src)


class CastOps(ConversionOps):
    """Conversions named after their type. Apart from the others: these names hide Python's own in the body of their class."""

    __slots__ = ()

    def float(self) -> Self:
        """``to(telegrad.float32)``."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """``to(telegrad.float64)``."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """``to(telegrad.float16)``."""
        return self.to(dtypes.float16)

    def bool(self) -> Self:
        """``to(telegrad.bool)``."""
        return self.to(dtypes.bool_)

    def byte(self) -> Self:
        """``to(telegrad.uint8)``."""
        return self.to(dtypes.uint8)

    def char(self) -> Self:
        """``to(telegrad.int8)``."""
        return self.to(dtypes.int8)

    def short(self) -> Self:
        """``to(telegrad.int16)``."""
        return self.to(dtypes.int16)

    def int(self) -> Self:
        """``to(telegrad.int32)``."""
        return self.to(dtypes.int32)

    def long(self) -> Self:
        """``to(telegrad.int64)``."""
        return self.to(dtypes.int64)

    def cfloat(self) -> Self:
        """``to(telegrad.complex64)``."""
        return self.to(dtypes.complex64)

    def cdouble(self) -> Self:
        """``to(telegrad.complex128)``."""
        return self.to(dtypes.complex128)
