"""Rules of ``as_strided`` and its kin. Whether the memory reaches so far is seen by the engine, which has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from telegrad.contract.errors import ShapeError
from telegrad.contract.ops import Outcome, Shape, Spec, check_bytes

Parameters = Mapping[str, Any]


def reach(size: Shape, stride: Shape) -> int:
    """How many elements apart the first and the last one are; -1 where there are none."""
    return -1 if 0 in size else sum((n - 1) * step for n, step in zip(size, stride, strict=True))


def _checked(p: Parameters) -> Shape:
    size, stride = tuple(p["size"]), tuple(p["stride"])
    if len(size) != len(stride):
        raise ShapeError("mismatch in length of strides and shape")
    if any(step < 0 for step in stride):
        raise ShapeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if any(n < 0 for n in size):
        raise ShapeError(f"Storage size calculation overflowed with sizes={list(size)} and strides={list(stride)}")
    offset = p.get("storage_offset")
    if offset is not None and offset < 0:
        raise ShapeError(f"Tensor: invalid storage offset {offset}")
    return size


def as_strided(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``as_strided``."""
    size = _checked(p)
    check_bytes(size, inputs[0].dtype)
    return Outcome((Spec(size, inputs[0].dtype),), 0)


def as_strided_scatter(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``as_strided_scatter``."""
    x, src = inputs
    size = _checked(p)
    if src.shape != size:
        raise ShapeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(size)}"
        )
    return Outcome((x,), x.size + src.size)


def strided(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``_strided`` and ``_strided_part``."""
    return Outcome((Spec(tuple(p["size"]), inputs[0].dtype),), 0)


def strided_gradient(inputs: Sequence[Any], p: Parameters) -> Outcome:
    """Rule of ``_strided_gradient``."""
    return Outcome((Spec(tuple(p["shape"]), inputs[0].dtype),), inputs[0].size)
