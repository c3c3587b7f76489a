"""The graph that leads to a tensor, as plain data and as pictures: DOT, Mermaid and a self-contained SVG.

``describe_graph`` reads the graph; everything else is a pure function of the dict that it returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from telegrad.contract.dtypes import from_numpy
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.scope import SEPARATOR
from telegrad.contract.summary import readable_bytes
from telegrad.contract.tensor.formatting import NOTEBOOK_BOXES, html_node
from telegrad_service.engine.buffers import arrays_in, owner_of
from telegrad_service.engine.collapse import Box, boxes_of, scope_of, shared_path, without_numbers
from telegrad_service.engine.graph import Node
from telegrad_service.engine.summary import reach

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Tensor

MAX_PICTURE_NODES: Final = 500
"""Boxes that a picture shows unless told otherwise; a drawing with more is of no use to eyes."""

_MOST_OPS: Final = 4
"""Names of ops written into a box that stands for many."""


def describe_graph(
    root: Tensor, *, max_nodes: int = MAX_PICTURE_NODES, collapse: bool = True, names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """The graph of ``root`` as plain data, the same for the same graph in every place.

    Args:
        root: the tensor whose history to show.
        max_nodes: nodes, groups and leaves listed. Of a graph with more, those nearest to the root, once it is collapsed.
        collapse: where there are more nodes and leaves than ``max_nodes``, make groups of repeated sequences of ops, and of scopes.
        names: from ``id(tensor)`` to a name, for leaves that have one.

    Returns:
        A dict of ``root`` (an id), ``root_output`` (which output of that node), ``nodes`` (id, op, name, outputs by shape and
        dtype, saved_bytes, freed, scope), ``groups`` (id, kind, scope, times, ops, nodes, leaves, freed, outputs, saved_bytes),
        ``leaves`` (id, name, shape, dtype, requires_grad, has_grad), ``edges`` (from, output, to, input: from what made a value to
        what used it, with the positions on both sides; none at a group), ``collapsed``, how many nodes and leaves stand in
        groups, and ``omitted``, how many are not listed at all.

    Raises:
        ArgumentTypeError: for a ``max_nodes`` or ``collapse`` that is none.
        ArgumentValueError: for a ``max_nodes`` below 1.
    """
    if type(max_nodes) is not int or type(collapse) is not bool:
        raise ArgumentTypeError("max_nodes must be int and collapse must be bool")
    if max_nodes < 1:
        raise ArgumentValueError(f"max_nodes must be at least 1, not {max_nodes}")
    start: Any = root.current_node() or root
    nodes, leaves = reach(start)
    if collapse and len(nodes) + len(leaves) > max_nodes:
        boxes = boxes_of(nodes, lambda made: len(made) + len(leaves) - len(_hidden(made)), max_nodes)
    else:
        boxes = [Box("node", [[node]], scope_of(node), None) for node in nodes]
    hidden = _hidden(boxes)
    box_of: dict[int, Any] = {node.number: box for box in boxes for node in box.nodes}
    listed, ids = _nearest(box_of[start.number] if isinstance(start, Node) else start, box_of, hidden, max_nodes)
    shown = [item for item in listed if isinstance(item, Box)]
    shown_leaves = [item for item in listed if not isinstance(item, Box)]
    inside = Counter(hidden.values())
    groups = [box for box in shown if box.kind != "node"]
    collapsed = sum(len(box.nodes) + inside[id(box)] for box in groups)
    listed_nodes = len(shown) - len(groups)
    return {
        "root": ids.get(id(box_of[start.number] if isinstance(start, Node) else start)),
        "root_output": root.output_index if isinstance(start, Node) else 0,
        "nodes": [_node(ids[id(box)], box.nodes[0]) for box in shown if box.kind == "node"],
        "groups": [_group(ids[id(box)], box, inside[id(box)]) for box in groups],
        "leaves": [_leaf(ids[id(t)], t, names or {}) for t in shown_leaves],
        "edges": [edge for box in shown for edge in _edges(box, box_of, ids)],
        "collapsed": collapsed,
        "omitted": len(nodes) + len(leaves) - listed_nodes - len(shown_leaves) - collapsed,
    }


def _hidden(boxes: Sequence[Box]) -> dict[int, int]:
    """Leaves that need no box, by id: those used in one group alone, and there in one repetition; with the id of the group."""
    users: dict[int, tuple[int, int] | None] = {}
    for box in boxes:
        for turn, nodes in enumerate(box.rounds):
            user = None if box.kind == "node" else (id(box), turn)
            for node in nodes:
                for target in node.edges:
                    if not isinstance(target, Node) and users.setdefault(id(target), user) != user:
                        users[id(target)] = None
    return {leaf: user[0] for leaf, user in users.items() if user is not None}


def _nearest(start: Any, box_of: Mapping[int, Box], hidden: Mapping[int, int], most: int) -> tuple[list[Any], dict[int, str]]:
    """Boxes and leaves in the order of their distance from ``start``, at most so many, and their ids."""
    ids: dict[int, str] = {}
    listed: list[Any] = []
    seen = {id(start)}
    layer: list[Any] = [start]
    while layer and len(listed) < most:
        below: list[Any] = []
        for item in layer:
            if len(listed) == most:
                break
            kind = "t" if not isinstance(item, Box) else "n" if item.kind == "node" else "g"
            ids[id(item)] = f"{kind}{len(listed)}"
            listed.append(item)
            for node in item.nodes if isinstance(item, Box) else ():
                for target in node.edges:
                    place: Any = box_of[target.number] if isinstance(target, Node) else target
                    if id(place) not in seen and id(place) not in hidden:
                        seen.add(id(place))
                        below.append(place)
        layer = below
    return listed, ids


def _saved(nodes: Iterable[Node]) -> int:
    """Bytes of the buffers that the nodes keep, each once."""
    owners = (owner_of(array) for node in nodes for array in arrays_in(node.saved))
    return sum({id(owner): owner.nbytes for owner in owners}.values())


def _outputs(node: Node) -> list[dict[str, Any]]:
    return [{"shape": list(shape), "dtype": from_numpy(dtype).name} for shape, dtype in node.layouts]


def _node(key: str, node: Node) -> dict[str, Any]:
    return {
        "id": key,
        "op": node.plan.entry.op.name,
        "name": node.name(),
        "outputs": _outputs(node),
        "saved_bytes": _saved([node]),
        "freed": node.saved is None,
        "scope": scope_of(node),
    }


def _group(key: str, box: Box, leaves: int) -> dict[str, Any]:
    nodes = box.nodes
    return {
        "id": key,
        "kind": box.kind,
        "scope": box.scope if box.kind == "scope" else _scope_of_all(nodes),
        "times": len(box.rounds),
        "ops": dict(Counter(node.plan.entry.op.name for node in box.rounds[-1])),
        "nodes": len(nodes),
        "leaves": leaves,
        "freed": sum(node.saved is None for node in nodes),
        "outputs": _outputs(nodes[-1]),
        "saved_bytes": _saved(nodes),
    }


def _scope_of_all(nodes: Sequence[Node]) -> str | None:
    """The scope that the nodes have in common, with ``#`` for numbers if it takes that."""
    paths = {scope_of(node) for node in nodes}
    exact = shared_path(paths)
    if len(paths) == 1:
        return exact
    alike = shared_path({path and without_numbers(path) for path in paths})
    return alike if alike is not None and (exact is None or alike.count(SEPARATOR) > exact.count(SEPARATOR)) else exact


def _leaf(key: str, leaf: Tensor, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": key,
        "name": names.get(id(leaf)),
        "shape": list(leaf.array.shape),
        "dtype": leaf.dtype.name,
        "requires_grad": leaf.requires_grad,
        "has_grad": leaf.grad is not None,
    }


def _edges(box: Box, box_of: Mapping[int, Box], ids: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """Edges that lead to a box from others; between two groups, or a group and a leaf, one is enough."""
    key, whole = ids[id(box)], box.kind == "node"
    seen: set[tuple[Any, ...]] = set()
    for node in box.nodes:
        for position, target, output in zip(node.plan.positions, node.edges, node.indexes, strict=True):
            place: Any = box_of[target.number] if isinstance(target, Node) else target
            source = ids.get(id(place))
            if source is None or place is box:
                continue
            from_group = isinstance(place, Box) and place.kind != "node"
            edge = (source, None if from_group else output, key, position if whole else None)
            if (whole and not from_group) or edge not in seen:
                seen.add(edge)
                yield {"from": edge[0], "output": edge[1], "to": edge[2], "input": edge[3]}


# Pictures ----------------------------------------------------------------------------------------------------------------


def draw(description: dict[str, Any], format: str) -> Any:
    """A description in one of the formats: itself for ``json``, text for ``dot``, ``mermaid`` and ``svg``.

    Raises ArgumentValueError for any other format.
    """
    drawing = FORMATS.get(format)
    if drawing is None:
        raise ArgumentValueError(f"a graph has no such format; use one of {', '.join(FORMATS)}")
    return drawing(description)


def labels(description: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], str, str | None]]:
    """(id, lines of text, kind, scope) of every box; kinds are those of ``FILLS``."""
    for node in description["nodes"]:
        lines = [node["name"], _types(node["outputs"])]
        if node["freed"]:
            lines.append("freed")
        elif node["saved_bytes"]:
            lines.append(f"saves {readable_bytes(node['saved_bytes'])}")
        yield node["id"], tuple(lines), "freed" if node["freed"] else "node", node["scope"]
    for group in description["groups"]:
        repeated = group["kind"] == "repeat"
        title = f"× {group['times']:,}" if repeated else group["scope"]
        if repeated and group["scope"] is not None:
            title = f"{group['scope']} {title}"
        ops = [f"{name} ×{count}" if count > 1 else name for name, count in group["ops"].items()]
        more = [f"{len(ops) - _MOST_OPS} more"] if len(ops) > _MOST_OPS else []
        held = f"{group['nodes']:,} nodes" + (f", {group['leaves']:,} leaves" if group["leaves"] else "")
        state = f"{group['freed']:,} freed" if group["freed"] else f"saves {readable_bytes(group['saved_bytes'])}"
        yield group["id"], (title, ", ".join(ops[:_MOST_OPS] + more), _types(group["outputs"]), f"{held}, {state}"), "group", None
    for leaf in description["leaves"]:
        title = "leaf" if leaf["name"] is None else leaf["name"]
        lines = [title, _type(leaf)]
        if leaf["requires_grad"]:
            lines.append(f"grad {leaf['shape']}" if leaf["has_grad"] else "no grad yet")
        yield leaf["id"], tuple(lines), "leaf_with_grad" if leaf["has_grad"] else "leaf", None


def _types(outputs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(_type(o) for o in outputs[:3]) + (", …" if len(outputs) > 3 else "")


def _type(value: Mapping[str, Any]) -> str:
    return f"{value['dtype']} {value['shape']}"


def notice_of(description: Mapping[str, Any]) -> str | None:
    """What to say where the picture does not show every node by itself."""
    parts: list[str] = []
    if description["collapsed"]:
        groups = len(description["groups"])
        into = f"{groups:,} groups" if groups > 1 else "one group"
        parts.append(f"{description['collapsed']:,} nodes and leaves are collapsed into {into}")
    if description["omitted"]:
        parts.append(f"{description['omitted']:,} more, farther from the root, are not shown")
    return "; ".join(parts) or None


def printable(text: str) -> str:
    """Without what XML forbids and terminals obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _clusters(
    boxes: Mapping[str, tuple[tuple[str, ...], str, str | None]], opening: Callable[[int, str], str], closing: str
) -> Iterator[tuple[str, str]]:
    """Boxes by scope: ("open", text), ("box", id) and ("close", text), nested as the paths are."""
    tree: dict[str, Any] = {}
    for key, (_, _, scope) in boxes.items():
        place = tree
        for name in () if scope is None else scope.split(SEPARATOR):
            place = place.setdefault(f"{SEPARATOR}{name}", {})
        place[key] = None
    count = 0
    todo: list[tuple[str, Any]] = list(reversed(tree.items()))
    while todo:
        key, inner = todo.pop()
        if inner is None:
            yield ("close", closing) if key == closing else ("box", key)
        else:
            yield "open", opening(count, key[1:])
            count += 1
            todo.append((closing, None))
            todo.extend(reversed(inner.items()))


def to_dot(description: Mapping[str, Any]) -> str:
    """The graph in Graphviz' language, leaves at the top; scopes are clusters."""

    def quoted(*lines: str) -> str:
        return '"' + "\\n".join(printable(s).replace("\\", "\\\\").replace('"', '\\"') for s in lines) + '"'

    out = ["digraph {", "  node [shape=box, style=filled, fontname=monospace, fontsize=10];"]
    boxes = {key: (lines, kind, scope) for key, lines, kind, scope in labels(description)}
    for what, text in _clusters(boxes, lambda n, name: f"  subgraph cluster_{n} {{ label={quoted(name)};", "  }"):
        if what == "box":
            lines, kind, _ = boxes[text]
            text = f'  {text} [label={quoted(*lines)}, fillcolor="{FILLS[kind]}"];'
        out.append(text)
    out.extend(f"  {source} -> {target};" for source, target in lines_of(description))
    notice = notice_of(description)
    if notice:
        out.append(f"  label={quoted(notice)};")
    return "\n".join([*out, "}", ""])


def to_mermaid(description: Mapping[str, Any]) -> str:
    """The graph as a Mermaid flowchart, leaves at the top; scopes are subgraphs."""

    def quoted(*lines: str) -> str:
        safe = ("".join(c if c.isalnum() or c in " .,_-" else f"#{ord(c)};" for c in printable(s)) for s in lines)
        return '"' + "<br/>".join(safe) + '"'

    out = ["flowchart TB"]
    boxes = {key: (lines, kind, scope) for key, lines, kind, scope in labels(description)}
    for what, text in _clusters(boxes, lambda n, name: f"  subgraph scope{n}[{quoted(name)}]", "  end"):
        if what == "box":
            lines, kind, _ = boxes[text]
            text = f"  {text}[{quoted(*lines)}]:::{kind}"
        out.append(text)
    out.extend(f"  {source} --> {target}" for source, target in lines_of(description))
    notice = notice_of(description)
    if notice:
        out.append(f"  omitted[{quoted(notice)}]")
    out.extend(f"  classDef {kind} fill:{fill},stroke:#555,color:#111" for kind, fill in FILLS.items())
    return "\n".join([*out, ""])


def lines_of(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(from, to) of every edge, as drawn."""
    return [(edge["from"], edge["to"]) for edge in description["edges"]]


def to_svg(description: Mapping[str, Any]) -> str:
    """The graph as an SVG document; see ``engine/svg.py``."""
    from telegrad_service.engine.svg import svg  # it needs this module

    return svg(description)


def html_of_node(node: Node) -> str:
    """A card with a node's name and the graph that leads to it, for notebooks."""
    return html_node(node, lambda: to_svg(describe_graph(node.stand_in(0), max_nodes=NOTEBOOK_BOXES)))


FILLS: Final = {"node": "#eeeeee", "freed": "#ffffff", "leaf": "#cfe3ff", "leaf_with_grad": "#c9efcf", "group": "#ffe9bf"}
"""The colour of each kind of box."""

FORMATS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "json": lambda description: description,
    "dot": to_dot,
    "mermaid": to_mermaid,
    "svg": to_svg,
}
"""How to draw a description, by format."""
