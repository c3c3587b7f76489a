"""The graph that leads to a tensor, as plain data and as pictures: DOT, Mermaid and a self-contained SVG.

``describe_graph`` reads the graph; everything else is a pure function of the dict that it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telegrad.contract.dtypes import from_numpy
from telegrad.contract.errors import ArgumentValueError
from telegrad_service.engine.graph import Node
from telegrad_service.engine.layout import place_in_layers

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Tensor

MAX_PICTURE_NODES: Final = 500
"""Nodes and leaves that a picture shows unless told otherwise; a drawing with more is of no use to eyes."""


def describe_graph(root: Tensor, *, max_nodes: int = MAX_PICTURE_NODES, names: Mapping[int, str] | None = None) -> dict[str, Any]:
    """The graph of ``root`` as plain data, the same for the same graph in every place.

    Args:
        root: the tensor whose history to show.
        max_nodes: nodes and leaves listed, those nearest to the root first.
        names: from ``id(tensor)`` to a name, for leaves that have one.

    Returns:
        A dict of ``root`` (an id), ``root_output`` (which output of that node), ``nodes`` (id, op, name, outputs by shape and
        dtype, saved_bytes, freed), ``leaves`` (id, name, shape, dtype, requires_grad, has_grad), ``edges`` (from,
        output, to, input: from what made a value to the node that used it, with the positions on both sides) and ``omitted``,
        how many nodes and leaves are not listed.
    """
    start: Any = root.current_node()
    start = root if start is None else start
    ids: dict[int, str] = {}
    listed: list[Any] = []
    seen = {id(start)}
    layer: list[Any] = [start]
    while layer:
        below: list[Any] = []
        for item in layer:
            if len(listed) < max_nodes:
                ids[id(item)] = f"{'n' if isinstance(item, Node) else 't'}{len(listed)}"
                listed.append(item)
            for target in item.edges if isinstance(item, Node) else ():
                if id(target) not in seen:
                    seen.add(id(target))
                    below.append(target)
        layer = below
    nodes = [item for item in listed if isinstance(item, Node)]
    return {
        "root": ids.get(id(start)),
        "root_output": root.output_index if isinstance(start, Node) else 0,
        "nodes": [_node(ids[id(n)], n) for n in nodes],
        "leaves": [_leaf(ids[id(t)], t, names or {}) for t in listed if not isinstance(t, Node)],
        "edges": [edge for n in nodes for edge in _edges(n, ids)],
        "omitted": len(seen) - len(listed),
    }


def _node(key: str, node: Node) -> dict[str, Any]:
    return {
        "id": key,
        "op": node.plan.entry.op.name,
        "name": node.name(),
        "outputs": [{"shape": list(shape), "dtype": from_numpy(dtype).name} for shape, dtype in node.layouts],
        "saved_bytes": sum({id(a): a.nbytes for a in _arrays(node.saved)}.values()),
        "freed": node.saved is None,
    }


def _arrays(saved: Any) -> Iterator[np.ndarray[Any, Any]]:
    """Every array in nested tuples."""
    if isinstance(saved, np.ndarray):
        yield saved
    elif isinstance(saved, tuple):
        for item in saved:  # pyright: ignore[reportUnknownVariableType]
            yield from _arrays(item)


def _leaf(key: str, leaf: Tensor, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": key,
        "name": names.get(id(leaf)),
        "shape": list(leaf.array.shape),
        "dtype": leaf.dtype.name,
        "requires_grad": leaf.requires_grad,
        "has_grad": leaf.grad is not None,
    }


def _edges(node: Node, ids: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    for position, target, output in zip(node.plan.positions, node.edges, node.indexes, strict=True):
        source = ids.get(id(target))
        if source is not None:
            yield {"from": source, "output": output, "to": ids[id(node)], "input": position}


# Pictures ----------------------------------------------------------------------------------------------------------------


def draw(description: dict[str, Any], format: str) -> Any:
    """A description in one of the formats: itself for ``json``, text for ``dot``, ``mermaid`` and ``svg``.

    Raises ArgumentValueError for any other format.
    """
    drawing = FORMATS.get(format)
    if drawing is None:
        raise ArgumentValueError(f"a graph has no such format; use one of {', '.join(FORMATS)}")
    return drawing(description)


def _labels(description: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str], str]]:
    """(id, two lines of text, kind) of every node and leaf; kinds are ``node``, ``freed``, ``leaf`` and ``leaf_with_grad``."""
    for node in description["nodes"]:
        outputs = ", ".join(_type(o) for o in node["outputs"][:3]) + (", …" if len(node["outputs"]) > 3 else "")
        yield node["id"], (node["name"], outputs), "freed" if node["freed"] else "node"
    for leaf in description["leaves"]:
        title = "leaf" if leaf["name"] is None else leaf["name"]
        yield leaf["id"], (title, _type(leaf)), "leaf_with_grad" if leaf["has_grad"] else "leaf"


def _type(value: Mapping[str, Any]) -> str:
    return f"{value['dtype']} {value['shape']}"


def _notice(description: Mapping[str, Any]) -> str | None:
    """What to say where the picture is not whole."""
    omitted = description["omitted"]
    return f"{omitted} more, farther from the root, are not shown" if omitted else None


def _printable(text: str) -> str:
    """Without what XML forbids and terminals obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def to_dot(description: Mapping[str, Any]) -> str:
    """The graph in Graphviz' language, leaves at the top."""

    def quoted(*lines: str) -> str:
        return '"' + "\\n".join(_printable(s).replace("\\", "\\\\").replace('"', '\\"') for s in lines) + '"'

    out = ["digraph {", "  node [shape=box, style=filled, fontname=monospace, fontsize=10];"]
    for key, lines, kind in _labels(description):
        out.append(f'  {key} [label={quoted(*lines)}, fillcolor="{_FILLS[kind]}"];')
    out.extend(f"  {edge['from']} -> {edge['to']};" for edge in description["edges"])
    notice = _notice(description)
    if notice:
        out.append(f"  label={quoted(notice)};")
    return "\n".join([*out, "}", ""])


def to_mermaid(description: Mapping[str, Any]) -> str:
    """The graph as a Mermaid flowchart, leaves at the top."""

    def quoted(*lines: str) -> str:
        safe = ("".join(c if c.isalnum() or c in " .,_-" else f"#{ord(c)};" for c in _printable(s)) for s in lines)
        return '"' + "<br/>".join(safe) + '"'

    out = ["flowchart TB"]
    for key, lines, kind in _labels(description):
        out.append(f"  {key}[{quoted(*lines)}]:::{kind}")
    out.extend(f"  {edge['from']} --> {edge['to']}" for edge in description["edges"])
    notice = _notice(description)
    if notice:
        out.append(f"  omitted[{quoted(notice)}]")
    out.extend(f"  classDef {kind} fill:{fill},stroke:#555,color:#111" for kind, fill in _FILLS.items())
    return "\n".join([*out, ""])


_FILLS: Final = {"node": "#eeeeee", "freed": "#ffffff", "leaf": "#cfe3ff", "leaf_with_grad": "#c9efcf"}

_BOX_HEIGHT, _LAYER_STEP, _GAP, _MARGIN = 36, 72, 16, 20
_CHARACTER_WIDTH: Final = 6.7
"""Pixels of a character of the 11 pixel monospace text, a little generously."""


def to_svg(description: Mapping[str, Any]) -> str:
    """The graph as an SVG document without scripts, links or outside fonts: leaves above what uses them, the root at the bottom."""
    boxes = {key: (lines, kind) for key, lines, kind in _labels(description)}
    widths = {key: max(len(_printable(s)) for s in lines) * _CHARACTER_WIDTH + 16 for key, (lines, _) in boxes.items()}
    edges = [(edge["from"], edge["to"]) for edge in description["edges"]]
    layers = place_in_layers(list(boxes), edges)
    span = max((sum(widths[k] for k in layer) + _GAP * (len(layer) - 1) for layer in layers), default=0)
    notice = _notice(description)
    span = max(span, len(notice or "") * _CHARACTER_WIDTH)
    top = _MARGIN + (24 if notice else 0)
    spots: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        x = _MARGIN + (span - sum(widths[k] for k in layer) - _GAP * (len(layer) - 1)) / 2
        for key in layer:
            spots[key] = x, top + row * _LAYER_STEP
            x += widths[key] + _GAP
    width, height = span + 2 * _MARGIN, top + max(len(layers) - 1, 0) * _LAYER_STEP + _BOX_HEIGHT + _MARGIN
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="ui-monospace, monospace" font-size="11">',
        "<title>autograd graph</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    if notice:
        out.append(f'<text x="{_MARGIN}" y="{_MARGIN + 4}" fill="#b00000">{escape(notice)}</text>')
    for source, target in edges:
        (x1, y1), (x2, y2) = spots[source], spots[target]
        x1, y1, x2 = x1 + widths[source] / 2, y1 + _BOX_HEIGHT, x2 + widths[target] / 2
        bend = (y2 - y1) / 2
        out.append(
            f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}" fill="none" '
            'stroke="#777777"/>'
        )
    for key, (lines, kind) in boxes.items():
        x, y = spots[key]
        dash = ' stroke-dasharray="4 3"' if kind == "freed" else ""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{widths[key]:.1f}" height="{_BOX_HEIGHT}"'
        out.append(f'<g id="{key}"><rect {place} rx="5" fill="{_FILLS[kind]}" stroke="#555555"{dash}/>')
        for row, line in enumerate(lines):
            out.append(
                f'<text x="{x + widths[key] / 2:.1f}" y="{y + 15 + 14 * row:.1f}" text-anchor="middle" fill="#111111">'
                f"{escape(_printable(line))}</text>"
            )
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


FORMATS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "json": lambda description: description,
    "dot": to_dot,
    "mermaid": to_mermaid,
    "svg": to_svg,
}
"""How to draw a description, by format."""
