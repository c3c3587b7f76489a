"""What a walk back from some tensors comes by, as far as the shadow of the graph knows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from telegrad._history import Described, History, Leaf, Node, Unknown
from telegrad.contract.nodes import passes_gradient


class Reach:
    """What a walk back from some tensors meets.

    Attributes:
        leaves: every leaf reached, in the order met.
        nodes: every node met, by identity.
        hidden: what only the server knows of, of what was met.
        certain: whether all of the graph was known; if not, other leaves may be reached too.
    """

    def __init__(self, roots: Iterable[History], ends: Container[int] = ()) -> None:
        """Walk back from ``roots``, and not beyond nodes whose identities are among ``ends``; iterative, so that no depth can
        hurt.
        """
        self.leaves: dict[int, Leaf] = {}
        self.nodes: dict[int, Node | Described] = {}
        self.certain = True
        self.hidden: list[Unknown | Described] = []
        todo: list[History] = list(roots)
        while todo:
            target = todo.pop()
            if isinstance(target, Node):
                if id(target) not in self.nodes:
                    self.nodes[id(target)] = target
                    if passes_gradient(target.op, target.parameters) and id(target) not in ends:
                        todo.extend([edge[1] for edge in target.edges])
            elif isinstance(target, Leaf):
                self.leaves[id(target)] = target
            elif target is not None:
                self.certain = False
                self.hidden.append(target)
                if isinstance(target, Described):
                    self.nodes[id(target)] = target

    def behind(self) -> list[Node | Leaf | Described] | None:
        """Nodes and leaves that what is hidden may lead to; None where nobody here knows."""
        found: dict[int, Any] = {}
        todo: list[Any] = list(self.hidden)
        while todo:
            target = todo.pop()
            if id(target) in found:
                continue
            found[id(target)] = target
            if isinstance(target, Node):
                todo.extend([edge[1] for edge in target.edges])
            elif isinstance(target, (Unknown, Described)):
                if target.sources is None:
                    return None
                todo.extend(target.sources)
                if isinstance(target, Unknown):
                    todo.extend(target.learned or ())
        return [target for target in found.values() if isinstance(target, (Node, Leaf, Described))]

    def retained(self) -> Sequence[Leaf]:
        """The states of tensors on the way whose gradient is retained."""
        return [leaf for node in self.nodes.values() if isinstance(node, Node) and node.retained for leaf in node.retained]
