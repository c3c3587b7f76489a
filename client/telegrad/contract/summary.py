"""What a graph holds, in numbers: ``telegrad.summary(y)``, the same in this process and on a server."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from telegrad.contract.errors import ArgumentTypeError

if TYPE_CHECKING:
    from telegrad.contract.tensor.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Use:
    """What some of a graph's nodes hold.

    Attributes:
        nodes: how many there are.
        freed: those whose saved values are gone.
        saved_bytes: what the others keep for backward. A buffer that several nodes keep counts for the one made first.
    """

    nodes: int
    freed: int
    saved_bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The graph of one tensor. Prints as a table; a notebook shows it as one.

    Bytes are those of whole buffers: a saved slice keeps all of its array alive, and counts so.

    Attributes:
        shape: of the tensor.
        dtype: its element type's name.
        nodes: recorded ops.
        freed: nodes whose saved values are gone, after ``backward`` without ``retain_graph``.
        leaves: tensors at the ends of the graph.
        leaves_with_grad: those that have a gradient now.
        depth: nodes on the longest path.
        saved_bytes: kept for backward, each buffer once.
        leaf_bytes: values of the leaves, each buffer once.
        grad_bytes: gradients of the leaves.
        bytes: all three together, each buffer once: a leaf's values may be saved too.
        by_op: per op name, most bytes first.
        by_scope: per path of ``telegrad.scope``, in order of making; nodes outside of any are not in it.
    """

    shape: tuple[int, ...]
    dtype: str
    nodes: int
    freed: int
    leaves: int
    leaves_with_grad: int
    depth: int
    saved_bytes: int
    leaf_bytes: int
    grad_bytes: int
    bytes: int
    by_op: Mapping[str, Use]
    by_scope: Mapping[str, Use]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``GET .../graph/summary`` answers."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Summary:
        """What ``as_dict`` was made from."""
        given: dict[str, Any] = {**value, "shape": tuple(value["shape"])}
        for table in ("by_op", "by_scope"):
            given[table] = {name: Use(**use) for name, use in value[table].items()}
        return cls(**given)

    def _facts(self) -> list[tuple[str, str]]:
        freed = f", {self.freed:,} freed" if self.freed else ""
        return [
            ("tensor", f"{self.dtype} {list(self.shape)}"),
            ("nodes", f"{self.nodes:,}{freed}"),
            ("depth", f"{self.depth:,}"),
            ("leaves", f"{self.leaves:,}, {self.leaves_with_grad:,} with a gradient"),
            ("saved for backward", readable_bytes(self.saved_bytes)),
            ("leaves' values", readable_bytes(self.leaf_bytes)),
            ("gradients", readable_bytes(self.grad_bytes)),
            ("together", readable_bytes(self.bytes)),
        ]

    def _tables(self) -> list[list[tuple[str, str, str, str]]]:
        """Head and rows of each table."""
        named = (("op", self.by_op), ("scope", self.by_scope))
        return [
            [(title, "nodes", "freed", "saved")]
            + [(name, f"{u.nodes:,}", f"{u.freed:,}", readable_bytes(u.saved_bytes)) for name, u in uses.items()]
            for title, uses in named
            if uses
        ]

    def __str__(self) -> str:
        facts = self._facts()
        wide = max(len(name) for name, _ in facts)
        blocks = ["\n".join(f"{name:<{wide}}  {value}" for name, value in facts)]
        blocks.extend(_aligned(rows) for rows in self._tables())
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        out = ["<table>", *(f"<tr><th>{html.escape(n)}</th><td>{html.escape(v)}</td></tr>" for n, v in self._facts()), "</table>"]
        for head, *rows in self._tables():
            out.append("<table><tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>")
            out.extend("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            out.append("</table>")
        return f"<div>{''.join(out)}</div>"


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([f"{row[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def readable_bytes(count: int) -> str:
    """The count in the unit that gives it one to four digits before the point: ``24 B``, ``1.5 KiB``."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def summary(tensor: Tensor) -> Summary:
    """What the graph that leads to ``tensor`` holds: nodes, leaves, depth, bytes, by op and by scope.

    Walks the graph once, where the tensor lives; for a remote one that is one request after what was recorded. An
    async session has ``await session.summary(tensor)``.

    Raises ArgumentTypeError for anything but a tensor of a session, and for one that a transform maps over.
    """
    session = getattr(tensor, "session", None)
    if session is None:
        raise ArgumentTypeError(f"root must be a Tensor, not {type(tensor).__name__}")
    found: Summary = session.summary(tensor)
    return found
