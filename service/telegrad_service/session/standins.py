"""Stand-ins of tensors and nodes: shapes, types, and who refers to what, without memory."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np

from telegrad.contract.dtypes import DType
from telegrad_service.engine.tensor import Engine, Tensor

_MOST_ARRAYS: Final = 4096
_ARRAYS: Final[dict[Any, Any]] = {}
"""Arrays without memory, by shape and type: making one takes longer than looking at it."""


class Meter(Protocol):
    """What counts them: bytes and nodes that there are now."""

    nbytes: int
    nodes: int


class Memory:
    """Memory that a stand-in will have; counted as long as anything refers to it."""

    __slots__ = ("meter", "nbytes")

    def __init__(self, meter: Meter, nbytes: int) -> None:
        self.meter = meter
        self.nbytes = nbytes
        meter.nbytes += nbytes

    def __del__(self) -> None:
        self.meter.nbytes -= self.nbytes


class Step:
    """A node that will be made: where it leads, what it keeps, the bytes of its results, and the arithmetic behind them."""

    __slots__ = ("count", "edges", "flops", "meter", "result_bytes", "saved")

    def __init__(self, meter: Meter, edges: tuple[Any, ...], result_bytes: int, flops: int, count: int = 1) -> None:
        self.meter = meter
        self.edges = edges
        self.result_bytes = result_bytes
        self.flops = flops
        self.count = count
        self.saved: tuple[Memory, ...] | None = None
        meter.nodes += count

    def __del__(self) -> None:
        self.meter.nodes -= self.count


class StandIn:
    """In the place of a tensor: ``shown`` has its shape and type, or is the tensor itself; None where these are not known."""

    __slots__ = ("gradient", "memory", "shown", "step", "tracks")

    def __init__(self, shown: Tensor | None, memory: Memory | None = None, *, tracks: bool = False) -> None:
        self.shown = shown
        self.memory = memory
        self.step: Step | None = None
        self.tracks = tracks
        self.gradient: StandIn | None = None

    @property
    def nbytes(self) -> int:
        """Of the values."""
        return 0 if self.shown is None else self.shown.array.size * self.shown.array.itemsize


def shown(home: Engine, shape: tuple[int, ...], dtype: DType) -> Tensor | None:
    """A tensor without memory; None where there can be none of that size."""
    key = shape, dtype.name
    array = _ARRAYS.get(key)
    if array is None:
        try:
            array = np.broadcast_to(np.zeros((), dtype.numpy), shape)
        except ValueError:
            return None
        if len(_ARRAYS) >= _MOST_ARRAYS:
            _ARRAYS.clear()
        _ARRAYS[key] = array
    return Tensor(home, array)


def tracks(tensor: Tensor) -> bool:
    """Whether a gradient is computed for it, without looking for a history that a view would get by being asked."""
    base = tensor.base
    return tensor.tracks or tensor.node is not None or (base is not None and (base.tracks or base.node is not None))


def literal(data: Any) -> tuple[tuple[int, ...], str]:
    """Shape and type of nested lists, by the first item of each: whether they are regular is for others to say."""
    shape: list[int] = []
    while type(data) is list:
        items: list[Any] = data
        shape.append(len(items))
        if not items:
            return tuple(shape), "float32"
        data = items[0]
    if type(data) is bool:
        return tuple(shape), "bool"
    if type(data) is int:
        return tuple(shape), "int64"
    return tuple(shape), "complex64" if type(data) is dict and "complex" in data else "float32"
