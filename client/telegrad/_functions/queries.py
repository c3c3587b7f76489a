"""Questions about tensors and element types, which compute nothing, and constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from telegrad.contract import dtypes, shapes
from telegrad.contract.dtypes import DType, DTypeLike, Number
from telegrad.contract.functions.free import require_tensor
from telegrad.contract.ops import Shape, Spec
from telegrad.contract.tensor.tensor import Tensor

__all__ = [
    "broadcast_shapes",
    "can_cast",
    "e",
    "get_default_dtype",
    "inf",
    "is_complex",
    "is_conj",
    "is_floating_point",
    "is_inference",
    "is_neg",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_tensor",
    "nan",
    "newaxis",
    "numel",
    "pi",
    "promote_types",
    "result_type",
]

e: Final = math.e
inf: Final = math.inf
nan: Final = math.nan
newaxis: Final = None
pi: Final = math.pi


def is_tensor(obj: object) -> bool:
    """Whether ``obj`` is a tensor, of whatever session."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """Number of elements."""
    return require_tensor(input, "numel").numel()


def is_floating_point(input: Tensor) -> bool:
    """Whether the element type is a real floating-point type."""
    return require_tensor(input, "is_floating_point").is_floating_point()


def is_signed(input: Tensor) -> bool:
    """Whether the element type has negative numbers."""
    return require_tensor(input, "is_signed").is_signed()


def is_complex(input: Tensor) -> bool:
    """Whether the element type is complex."""
    return require_tensor(input, "is_complex").is_complex()


def is_conj(input: Tensor) -> bool:
    """False: see ``Tensor.is_conj``."""
    return require_tensor(input, "is_conj").is_conj()


def is_neg(input: Tensor) -> bool:
    """False: see ``Tensor.is_neg``."""
    return require_tensor(input, "is_neg").is_neg()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the sizes are the same."""
    return require_tensor(input, "is_same_size").is_same_size(other)


def is_inference(input: Tensor) -> bool:
    """Whether a tensor was made in ``inference_mode``, or is a view of one that was."""
    return require_tensor(input, "is_inference").is_inference()


def is_nonzero(input: Tensor) -> bool:
    """Whether the tensor's only element is not zero. Raises ShapeError for any other number of elements."""
    return bool(require_tensor(input, "is_nonzero"))


def get_default_dtype() -> DType:
    """The type of tensors made of Python floats: float32."""
    return dtypes.DEFAULT_DTYPE


def promote_types(type1: DTypeLike, type2: DTypeLike) -> DType:
    """The smallest type that tensors of both types are converted to when they meet."""
    return dtypes.promote_pair(dtypes.as_dtype(type1), dtypes.as_dtype(type2))


def result_type(tensor: Tensor | Number, other: Tensor | Number) -> DType:
    """The type of arithmetic on the two; tensors without dimensions, and numbers even more, give way to other tensors."""
    return shapes.result_type([_operand(tensor), _operand(other)])


def can_cast(from_: DTypeLike, to: DTypeLike) -> bool:
    """Whether an in-place result of type ``from_`` may be written into a tensor of type ``to``."""
    return dtypes.can_cast(dtypes.as_dtype(from_), dtypes.as_dtype(to))


def broadcast_shapes(*shapes_: int | Sequence[int]) -> Shape:
    """The shape that all broadcast to. Raises ShapeError where they do not."""
    return shapes.broadcast(*[shapes.nonnegative(shapes.ints(s, "shapes")) for s in shapes_]) if shapes_ else ()


def _operand(value: Any) -> Any:
    return Spec(value.shape, value.dtype) if isinstance(value, Tensor) else value
