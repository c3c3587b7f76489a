"""``F``: ops for derivative formulas, on raw arrays or on Tensors, whichever the formula was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telegrad.contract.tensor.base import TensorBase
from telegrad_service.engine.table import ENTRIES, Entry

_ARRAY: Final = np.ndarray
"""Looked up once: formulas ask for it at every visit."""


def is_complex(x: Any) -> bool:
    """Whether an array, a Tensor or a Python number is complex."""
    if isinstance(x, TensorBase):
        return bool(x.dtype.is_complex)  # type: ignore[attr-defined]
    return np.iscomplexobj(x)


def _caller(name: str, entry: Entry) -> Any:
    kernel, defaults = entry.kernel, entry.op.defaults

    if defaults:

        def call(*inputs: Any, **parameters: Any) -> Any:
            for x in inputs:
                if x.__class__ is not np.ndarray and isinstance(x, TensorBase):
                    return x._apply(name, *inputs, **parameters)
            return kernel(*inputs, **{**defaults, **parameters})

    else:

        def call(*inputs: Any, **parameters: Any) -> Any:
            for x in inputs:
                if x.__class__ is not np.ndarray and isinstance(x, TensorBase):
                    return x._apply(name, *inputs, **parameters)
            return kernel(*inputs, **parameters)

    return call


class _Formulas:
    """``F.exp(x)``, ``F.where(mask, a, b)``, ``F.sum(x, dim=(0,))``: any op by its name, parameters by keyword and canonical.

    On Tensors it is the op itself, recorded. On arrays it is the bare kernel: no promotion, no check, no record.
    """

    if TYPE_CHECKING:  # an object that really had it would look every name up the slow way

        def __getattr__(self, name: str) -> Any: ...

    def fill(self) -> None:
        """Take in every op, once the engine's tables are complete; what stands below by an op's name goes before."""
        for name, entry in ENTRIES.items():
            if name not in _Formulas.__dict__:
                setattr(self, name, _caller(name, entry))

    @staticmethod
    def conjugate(x: Any) -> Any:
        """Complex conjugate; a real array or Tensor itself."""
        if x.__class__ is _ARRAY:
            return np.conjugate(x) if x.dtype.kind == "c" else x
        if isinstance(x, TensorBase):
            return x._apply("conj", x) if x.dtype.is_complex else x  # type: ignore[attr-defined]
        return np.conjugate(x) if isinstance(x, (np.ndarray, np.generic, complex)) and np.iscomplexobj(x) else x

    @staticmethod
    def zeros(g: Any, shape: tuple[int, ...]) -> Any:
        """Zeros of ``shape`` in ``g``'s type and, if ``g`` is a Tensor, in its session."""
        if isinstance(g, TensorBase):
            return g._apply("new_full", g, size=shape, fill_value=0)
        return np.zeros(shape, g.dtype)

    @staticmethod
    def astype(x: Any, like: Any) -> Any:
        """``x`` converted to the element type of ``like`` (masks become zeros and ones)."""
        if isinstance(x, TensorBase):
            return x._apply("to", x, dtype=like.dtype)
        return np.asarray(x).astype(like.dtype, copy=False)


F = _Formulas()
