"""How a tensor prints: in PyTorch's layout, ``tensor([1., 2.], grad_fn=<AddBackward0>)``, and as an HTML card.

Both read the tensor through its public surface only, so a tensor on a server prints like one in this process.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from telegrad.contract import dtypes
from telegrad.contract.ops import Shape

if TYPE_CHECKING:
    from telegrad.contract.tensor.tensor import Tensor

PRECISION_DIGITS: Final = 4
"""Digits after the point."""

EDGE_ITEMS: Final = 3
"""Elements kept at each end of a dimension that is summarised."""

SUMMARY_THRESHOLD_ELEMENTS: Final = 1000
"""Tensors with more elements are summarised."""

LINE_WIDTH: Final = 80
"""Columns after which a row of elements wraps and a suffix goes to a line of its own."""

_SILENT_TYPES: Final = (dtypes.float32, dtypes.complex64, dtypes.int64, dtypes.bool_)
"""Types that literals give by default, so that the printed form need not name them."""

_PREFIX: Final = "tensor("

Style = Callable[[Any], str]


def repr_tensor(tensor: Tensor) -> str:
    """The tensor as PyTorch prints it: values, then size, type and history where values do not show them."""
    suffixes: list[str] = []
    empty = tensor.numel() == 0
    if empty and tensor.ndim != 1:
        suffixes.append(f"size={tensor.shape}")
    if tensor.dtype is not dtypes.DEFAULT_DTYPE and (empty or tensor.dtype not in _SILENT_TYPES):
        suffixes.append(f"dtype={tensor.dtype!r}")
    node = tensor.grad_fn
    if node is not None:
        suffixes.append(f"grad_fn=<{node.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    text = _PREFIX + format_values(_read(tensor), len(_PREFIX))
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > LINE_WIDTH:
            text += ",\n" + " " * len(_PREFIX) + suffix
            column = len(_PREFIX) + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _read(tensor: Tensor) -> npt.NDArray[Any]:
    return tensor._value()  # pyright: ignore[reportPrivateUsage] - the class's own printing


def format_values(array: npt.NDArray[Any], indent: int = 0) -> str:
    """The values alone, in nested brackets; ``indent`` is the column they start at."""
    if array.size == 0:
        return "[]"
    summarise = array.size > SUMMARY_THRESHOLD_ELEMENTS
    shown = _edges(array) if summarise else array
    if array.dtype.kind == "c":
        real, real_width = _style(np.real(shown))
        imaginary, imaginary_width = _style(np.imag(shown))

        def both(value: complex) -> str:
            tail = imaginary(value.imag).lstrip() + "j"
            return real(value.real) + (tail if tail[0] in "+-" else "+" + tail)

        # One column more for the j, none for the sign: PyTorch's reckoning, which decides where rows wrap.
        return _nest(shown, array.shape, indent, both, real_width + imaginary_width + 1)
    style, width = _style(shown)
    return _nest(shown, array.shape, indent, style, width)


def _edges(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array without the middle of its long dimensions."""
    for axis, length in enumerate(array.shape):
        if length > 2 * EDGE_ITEMS:
            kept = np.r_[0:EDGE_ITEMS, length - EDGE_ITEMS : length]
            array = array.take(kept, axis=axis)
    return array


def _style(array: npt.NDArray[Any]) -> tuple[Style, int]:
    """How to write each element, all in one width, and that width in characters."""
    if array.dtype.kind != "f":
        width = max(len(str(value)) for value in array.ravel().tolist())
        return (lambda value: str(value).rjust(width)), width
    counted = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    whole = bool(np.all(counted == np.ceil(counted)))
    scientific = False
    if counted.size:
        magnitude = np.abs(counted)
        low, high = float(magnitude.min()), float(magnitude.max())
        scientific = high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4
    write: Style
    if scientific:
        write = f"{{:.{PRECISION_DIGITS}e}}".format
    elif whole:
        write = _write_whole
    else:
        write = f"{{:.{PRECISION_DIGITS}f}}".format
    # Zeros and non-finite values do not count for the width, so they may stick out; PyTorch's rule as well.
    width = max((len(write(value)) for value in counted.tolist()), default=1)
    return (lambda value: write(value).rjust(width)), width


def _write_whole(value: float) -> str:
    """A whole number with the point that tells it from an integer; ``nan`` and ``inf`` without one."""
    return f"{value:.0f}." if np.isfinite(value) else f"{value:.0f}"


def _nest(shown: npt.NDArray[Any], shape: Shape, indent: int, style: Style, width: int) -> str:
    """Brackets around the elements of ``shown``, all of a tensor of ``shape`` or, where smaller, its edges."""
    if not shape:
        return style(shown.item())
    cut = shown.shape[0] < shape[0]
    if len(shape) == 1:
        parts = [style(value) for value in shown.tolist()]
        if cut:
            parts.insert(EDGE_ITEMS, " ...")
        per_line = max(1, (LINE_WIDTH - indent) // (width + 2))
        rows = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    parts = [_nest(part, shape[1:], indent + 1, style, width) for part in shown]
    if cut:
        parts.insert(EDGE_ITEMS, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(parts) + "]"


_CARD: Final = (
    "display:inline-block;border:1px solid #8884;border-radius:6px;padding:6px 10px;max-width:100%;max-height:24em;"
    "font:12px/1.5 ui-monospace,monospace;overflow:auto"
)


def html_tensor(tensor: Tensor) -> str:
    """A card with shape, type, history and values, for notebooks; every text is escaped."""
    facts = [("shape", " × ".join(str(n) for n in tensor.shape) or "scalar"), ("dtype", tensor.dtype.name)]
    if tensor.requires_grad:
        facts.append(("requires_grad", "True"))
    node = tensor.grad_fn
    if node is not None:
        facts.append(("grad_fn", node.name()))
    row = " ".join(f'<span style="opacity:.6">{html.escape(name)}</span> <b>{html.escape(value)}</b>' for name, value in facts)
    values = html.escape(format_values(_read(tensor)))
    return f'<div style="{_CARD}"><div>{row}</div><pre style="margin:4px 0 0">{values}</pre></div>'
