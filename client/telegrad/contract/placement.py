"""Where and how tensors lie: on the processors of their session's machine, one element behind the other.

PyTorch's words for that (``device="cpu"``, ``layout=telegrad.strided``) are taken wherever PyTorch takes them and change nothing;
its words for other places are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from telegrad.contract.errors import ArgumentTypeError


def _elsewhere(function: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{function}(): device must be 'cpu', where all tensors are: a session computes on its machine's processors"
    )


def check_device(function: str, device: Any) -> None:
    """Refuse any place but ``"cpu"``, ``telegrad.device("cpu")`` and None."""
    if not (device is None or isinstance(device, Device) or (isinstance(device, str) and device in ("cpu", "cpu:0"))):
        raise _elsewhere(function)


class Device:
    """``telegrad.device("cpu")``, where all tensors are. Raises ArgumentTypeError for any other place."""

    __slots__ = ("index", "type")

    def __init__(self, type: str | Device, index: int | None = None) -> None:
        given: Any = type
        check_device("device", given)
        if given is None or index not in (None, 0) or isinstance(index, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _elsewhere("device")
        numbered = type.index if isinstance(type, Device) else 0 if type == "cpu:0" else None
        self.type: Final[str] = "cpu"
        self.index: Final[int | None] = numbered if index is None else index

    def __eq__(self, other: object) -> bool:
        return (self.type, self.index) == (other.type, other.index) if isinstance(other, Device) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (")" if self.index is None else f", index={self.index})")

    def __reduce__(self) -> tuple[object, tuple[str, int | None]]:
        return Device, (self.type, self.index)


class _Named:
    """One of PyTorch's constants that say how memory is laid out."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: Final[str] = name

    def __repr__(self) -> str:
        return f"telegrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class Layout(_Named):
    """``telegrad.strided``: every element has its place."""

    __slots__ = ()


class MemoryFormat(_Named):
    """``telegrad.contiguous_format`` or ``telegrad.preserve_format``."""

    __slots__ = ()


CPU: Final = Device("cpu")
strided: Final = Layout("strided")
contiguous_format: Final = MemoryFormat("contiguous_format")
preserve_format: Final = MemoryFormat("preserve_format")


def _check_layout(function: str, layout: Any) -> None:
    if layout is not None and layout is not strided:
        raise ArgumentTypeError(f"{function}(): layout must be telegrad.strided: there are no sparse tensors")


def _check_pinned(function: str, pin_memory: Any) -> None:
    if pin_memory is not None and pin_memory is not False:
        raise ArgumentTypeError(f"{function}(): pin_memory must be False: memory is pinned for accelerators, and there is none")


def check_format(function: str, memory_format: Any) -> None:
    """Refuse all but the two formats that mean something here, and None."""
    if memory_format is not None and not isinstance(memory_format, MemoryFormat):
        raise ArgumentTypeError(
            f"{function}(): memory_format must be telegrad.contiguous_format or telegrad.preserve_format: others order channels"
        )


_CHECKS: Final[dict[str, Callable[[str, Any], None]]] = {
    "device": check_device,
    "layout": _check_layout,
    "pin_memory": _check_pinned,
    "memory_format": check_format,
}


def settle(function: str, taken: tuple[str, ...], kwargs: dict[str, Any]) -> bool:
    """Take those of ``taken`` that say where or how a tensor lies out of ``kwargs``, and check them.

    Returns whether the result was asked to lie contiguously. Raises ArgumentTypeError for what no tensor of ours can be.
    """
    contiguous = False
    for name in taken:
        if name in kwargs:
            value = kwargs.pop(name)
            _CHECKS[name](function, value)
            contiguous = contiguous or value is contiguous_format
    return contiguous
