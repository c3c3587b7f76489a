"""Views by steps through memory. The public ops look at the memory once and become others, which say how it is laid out.

What those say stays true of gradients and tangents, whose memory is another: element k of the view is element i of the tensor where
both stand in the same place.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any, cast

import numpy as np

from telegrad.contract.errors import AutogradError, ShapeError
from telegrad.contract.strided_rules import reach
from telegrad_service.engine.buffers import owner_of
from telegrad_service.engine.calls import apply
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.conversion import fits
from telegrad_service.engine.table import Array, derivative, instead, kernel
from telegrad_service.engine.tensor import Engine, Tensor

Ints = tuple[int, ...]


# Where things stand ----------------------------------------------------------------------------------------------------------


def _places(size: Ints, stride: Ints, offset: int) -> Array:
    """Where the elements stand, counted in elements."""
    found: Array = np.full(size, offset, np.int64)
    for d, (n, step) in enumerate(zip(size, stride, strict=True)):
        found += (np.arange(n) * step).reshape((n,) + (1,) * (len(size) - d - 1))
    return found


def _meet(size: Ints, stride: Ints) -> bool:
    """Whether two elements may stand in one place; False only where it is certain that none do."""
    end = 0
    for step, n in sorted((step, n) for step, n in zip(stride, size, strict=True) if n > 1):
        if step <= end:
            return True
        end += (n - 1) * step
    return False


def _layout(array: Array) -> Ints:
    return tuple([step // array.itemsize for step in array.strides])


def _both(shape: Ints, layout: Ints, size: Ints, stride: Ints, offset: int) -> tuple[Array, Array, int]:
    """The places of the tensor's elements and of the view's, counted from the first of all, and how many places there are."""
    own, seen = _places(shape, layout, 0), _places(size, stride, offset)
    low = min(0, offset)
    return own - low, seen - low, max(reach(shape, layout), offset + reach(size, stride)) + 1 - low


def _shared_out(memory: Array, own: Array, shape: Ints, layout: Ints) -> Array:
    """The memory, divided by how many elements of the tensor stand in each place."""
    if memory.dtype.kind not in "fc" or not _meet(shape, layout):
        return memory
    return cast(Array, memory / np.maximum(np.bincount(own.reshape(-1), minlength=len(memory)), 1).astype(np.real(memory).dtype))


# Kernels ---------------------------------------------------------------------------------------------------------------------


@kernel("_strided_part")
def _strided_part(self: Array, size: Ints, stride: Ints, offset: int, layout: Ints) -> Any:
    if not self.size or 0 in size:
        return np.zeros(size, self.dtype)
    own, seen, count = _both(self.shape, layout, size, stride, offset)
    memory = np.zeros(count, self.dtype)
    if _meet(self.shape, layout) and self.dtype.kind in "fc":
        np.add.at(memory, own.reshape(-1), self.reshape(-1))
        memory = _shared_out(memory, own, self.shape, layout)
    else:
        memory[own] = self
    return memory[seen]


@kernel("_strided_gradient")
def _strided_gradient(self: Array, shape: Ints, stride: Ints, offset: int, layout: Ints) -> Any:
    if not self.size or 0 in shape:
        return np.zeros(shape, self.dtype)
    own, seen, count = _both(shape, layout, self.shape, stride, offset)
    memory = np.zeros(count, self.dtype)
    if _meet(self.shape, stride):
        np.add.at(memory, seen.reshape(-1), self.reshape(-1))
    else:
        memory[seen] = self
    return _shared_out(memory, own, shape, layout)[own]


@kernel("_strided")
def _strided(self: Array, size: Ints, stride: Ints, offset: int, layout: Ints) -> Any:
    same = all(n <= 1 or step == given for n, step, given in zip(self.shape, _layout(self), layout, strict=True))
    if not same or not self.size or 0 in size:
        return _strided_part(self, size, stride, offset, layout)
    owner, item = owner_of(self), self.itemsize
    low, high = np.lib.array_utils.byte_bounds(owner)
    first = self.ctypes.data + offset * item - low
    if first < 0 or first + (reach(size, stride) + 1) * item > high - low:
        return _strided_part(self, size, stride, offset, layout)
    made: Array = np.ndarray(size, self.dtype, owner.ravel(order="K"), first, tuple([step * item for step in stride]))
    # What a write to one element in many places should do is not defined: it is refused as one to expanded memory is.
    if made.flags.writeable and any(n > 1 and not step for n, step in zip(size, stride, strict=True)):
        made.flags.writeable = False
    return made


@kernel("_strided_scatter")
def _strided_scatter(self: Array, src: Array, size: Ints, stride: Ints, offset: int, layout: Ints) -> Any:
    if not self.size or 0 in size:
        return self.copy()
    own, seen, count = _both(self.shape, layout, size, stride, offset)
    memory = np.zeros(count, self.dtype)
    memory[own] = self
    memory[seen] = fits(src, self.dtype)
    return memory[own]


def _back(g: Any, self_shape: Ints, stride: Ints, offset: int, layout: Ints) -> Any:
    return F._strided_gradient(g, shape=self_shape, stride=stride, offset=offset, layout=layout)


derivative("_strided", self=_back)
derivative("_strided_part", self=_back)
derivative(
    "_strided_gradient",
    self=lambda g, self_shape, stride, offset, layout: F._strided_part(
        g, size=self_shape, stride=stride, offset=offset, layout=layout
    ),
)
derivative(
    "_strided_scatter",
    self=lambda g, src_shape, size, stride, offset, layout: F._strided_scatter(
        g, F.zeros(g, src_shape), size=size, stride=stride, offset=offset, layout=layout
    ),
    src=lambda g, size, stride, offset, layout: F._strided_part(g, size=size, stride=stride, offset=offset, layout=layout),
)


# The public ops --------------------------------------------------------------------------------------------------------------


def _laid_out(x: Tensor, size: Ints, stride: Ints, storage_offset: int | None) -> dict[str, Any]:
    """The parameters of ``_strided``. Raises ShapeError where the memory does not reach so far."""
    array, item = x.array, x.array.itemsize
    memory = array if x.base is None else x.base.array
    if x.base is None and x.version is not None and storage_offset is not None and owner_of(array).nbytes > array.nbytes:
        raise AutogradError(
            "as_strided(): where the memory of a detached view begins is not known here; call as_strided() before detach(), or "
            "leave storage_offset out"
        )
    low, high = np.lib.array_utils.byte_bounds(memory) if memory.size else (array.ctypes.data, array.ctypes.data)
    own = (array.ctypes.data - low) // item if array.size else 0
    first = own if storage_offset is None else storage_offset
    needed = (first + reach(size, stride) + 1) * item
    if 0 not in size and needed > high - low:
        raise ShapeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {first}, and itemsize {item} requiring a "
            f"storage size of {needed} are out of bounds for storage of size {high - low}"
        )
    return {"size": size, "stride": stride, "offset": first - own, "layout": _layout(array)}


@instead("as_strided")
def _as_strided(home: Engine, inputs: tuple[Any, ...], track: bool | None, **parameters: Any) -> Any:
    return apply(home, "_strided", inputs, _laid_out(inputs[0], **parameters), track=track)


@instead("as_strided_scatter")
def _as_strided_scatter(home: Engine, inputs: tuple[Any, ...], track: bool | None, **parameters: Any) -> Any:
    return apply(home, "_strided_scatter", inputs, _laid_out(inputs[0], **parameters), track=track)
