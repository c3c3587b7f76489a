"""How a tensor prints: in PyTorch's layout, ``tensor([1., 2.], grad_fn=<AddBackward0>)``, and as an HTML card.

Both read the tensor through its public surface only, so a tensor on a server prints like one in this process.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from telegrad.contract import dtypes
from telegrad.contract.errors import AutogradError, LimitError
from telegrad.contract.nodes import STALE_NODE
from telegrad.contract.ops import Shape
from telegrad.contract.tensor.print_options import print_options

if TYPE_CHECKING:
    from telegrad.contract.tensor.tensor import GraphNode, Tensor

NOTEBOOK_BOXES: Final = 40
"""Boxes in the picture of a graph that a notebook shows by itself."""

NOTEBOOK_WALK: Final = 5000
"""Nodes of the largest graph that a notebook draws by itself: in a tenth of a second."""

_SILENT_TYPES: Final = (dtypes.float32, dtypes.complex64, dtypes.int64, dtypes.bool_)
"""Types that literals give by default, so that the printed form need not name them."""

_PREFIX: Final = "tensor("

Style = Callable[[Any], str]


def _node_of(tensor: Tensor) -> GraphNode | str | None:
    """The node that made a tensor; ``STALE_NODE`` for a view whose base was changed in a way that it cannot follow."""
    try:
        return tensor.grad_fn
    except AutogradError:
        return STALE_NODE


def _name_of(node: GraphNode | str) -> str:
    return node if isinstance(node, str) else node.name()


def repr_tensor(tensor: Tensor) -> str:
    """The tensor as PyTorch prints it: values, then size, type and history where values do not show them."""
    suffixes: list[str] = []
    empty = tensor.numel() == 0
    if empty and tensor.ndim != 1:
        suffixes.append(f"size={tensor.shape}")
    if tensor.dtype is not dtypes.DEFAULT_DTYPE and (empty or tensor.dtype not in _SILENT_TYPES):
        suffixes.append(f"dtype={tensor.dtype!r}")
    node = _node_of(tensor)
    if node is not None:
        suffixes.append(f"grad_fn=<{_name_of(node)}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    text = _PREFIX + format_values(_read(tensor), len(_PREFIX))
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > print_options().linewidth:
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
    summarise = array.size > print_options().threshold
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
    kept_items = print_options().edgeitems
    for axis, length in enumerate(array.shape):
        if length > 2 * kept_items:
            kept = np.r_[0:kept_items, length - kept_items : length]
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
        chosen = print_options().sci_mode
        scientific = (high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4) if chosen is None else chosen
    write: Style
    if scientific:
        write = f"{{:.{print_options().precision}e}}".format
    elif whole:
        write = _write_whole
    else:
        write = f"{{:.{print_options().precision}f}}".format
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
            parts.insert(print_options().edgeitems, " ...")
        per_line = max(1, (print_options().linewidth - indent) // (width + 2))
        rows = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    parts = [_nest(part, shape[1:], indent + 1, style, width) for part in shown]
    if cut:
        parts.insert(print_options().edgeitems, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(parts) + "]"


_CARD: Final = (
    "display:inline-block;border:1px solid #8884;border-radius:6px;padding:6px 10px;max-width:100%;max-height:24em;"
    "font:12px/1.5 ui-monospace,monospace;overflow:auto"
)


def html_tensor(tensor: Tensor) -> str:
    """A card with shape, type, history, values and a small picture of the graph, for notebooks; every text is escaped.

    Of a remote tensor, the picture is one request after that for the values.
    """
    facts = [("shape", " × ".join(str(n) for n in tensor.shape) or "scalar"), ("dtype", tensor.dtype.name)]
    if tensor.requires_grad:
        facts.append(("requires_grad", "True"))
    node = _node_of(tensor)
    if node is not None:
        facts.append(("grad_fn", _name_of(node)))
    row = " ".join(f'<span style="opacity:.6">{html.escape(name)}</span> <b>{html.escape(value)}</b>' for name, value in facts)
    values = html.escape(format_values(_read(tensor)))
    from telegrad.contract.transforms.wrapper import Wrapped  # it needs this module

    # What a transform wraps around a tensor has no graph of its own that a session could show.
    picture = "" if node is None or isinstance(node, str) or isinstance(tensor, Wrapped) else _picture(node, lambda: _drawn(tensor))
    return f'<div style="{_CARD}"><div>{row}</div><pre style="margin:4px 0 0">{values}</pre>{picture}</div>'


def html_node(node: GraphNode, drawn: Callable[[], str] | None = None) -> str:
    """A card with a node's name and where gradients go from it, for notebooks.

    ``drawn`` gives its graph as SVG, where that takes no request; without one, the names of the next nodes.
    """
    title = f"<div><b>{html.escape(node.name())}</b></div>"
    if drawn is not None:
        return f'<div style="{_CARD}">{title}{_picture(node, drawn)}</div>'
    names = ", ".join("—" if following is None else following.name() for following, _ in node.next_functions)
    return f'<div style="{_CARD}">{title}<div>next: {html.escape(names or "nothing known here")}</div></div>'


def _drawn(tensor: Tensor) -> str:
    picture: str = tensor.session.graph(tensor, "svg", max_nodes=NOTEBOOK_BOXES)
    return picture


def _picture(node: GraphNode, drawn: Callable[[], str]) -> str:
    """The graph, in a frame of bounded height; where it would take long or a server refuses it, a line that says so."""
    if _leads_to_more_than(node, NOTEBOOK_WALK):
        note = (
            f"a graph of more than {NOTEBOOK_WALK:,} nodes: session.graph(tensor, 'svg') draws it, telegrad.summary(tensor) counts"
        )
        return f'<div style="opacity:.6">{html.escape(note)}</div>'
    try:
        picture = drawn()
    except LimitError as error:
        return f'<div style="opacity:.6">{html.escape(error.detail)}</div>'
    return f'<div style="max-height:360px;overflow:auto;margin-top:4px">{picture}</div>'


def _leads_to_more_than(node: GraphNode, limit: int) -> bool:
    """Whether more than ``limit`` nodes are known below ``node``; looks at no more than that."""
    seen: dict[int, Any] = {id(node): node}
    todo: list[Any] = [node]
    while todo and len(seen) <= limit:
        for following, _ in _next_functions(todo.pop()):
            # Ends of paths are made when asked for, each time anew, and nothing follows them.
            if following is not None and id(following) not in seen and _next_functions(following):
                seen[id(following)] = following
                todo.append(following)
    return len(seen) > limit


def _next_functions(node: Any) -> Sequence[tuple[Any, int]]:
    """Where gradients go from a node; nowhere from what only a server knows."""
    found: Sequence[tuple[Any, int]] = getattr(node, "next_functions", ())
    return found
