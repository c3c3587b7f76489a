"""What the client knows of the graph without asking: a light shadow of the server's nodes, exact or marked as unknown.

It answers ``requires_grad``, ``is_leaf``, ``grad_fn`` and ``grad is None`` at no round trip, so that a training step is one
request. Where an outcome depends on what only the server knows, the answer is ``UNKNOWN`` and the property asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from telegrad.contract.nodes import edge_positions, node_name, passes_gradient
from telegrad.contract.ops import Op


class Unknown:
    """Only the server knows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class Present:
    """There is a gradient; it has no handle yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PRESENT"


PRESENT: Final = Present()


class Leaf:
    """A tensor that gradients accumulate in: the end of a path, or any tensor whose ``grad`` was asked for or set.

    Attributes:
        gradient: None where there is none; PRESENT; UNKNOWN; or its handle.
        epoch: the recorder's ``grad_epoch`` that ``gradient`` was known at; an older one means unknown.
        recorded: whether the gradient may carry history itself (``create_graph``).
    """

    __slots__ = ("__weakref__", "epoch", "gradient", "recorded")

    def __init__(self, epoch: int, gradient: Any = None) -> None:
        self.gradient: Any = gradient
        self.epoch = epoch
        self.recorded = False

    def at(self, epoch: int) -> Any:
        """The gradient as known at ``epoch``."""
        return self.gradient if self.epoch == epoch else UNKNOWN

    def settle(self, gradient: Any, epoch: int, *, recorded: bool = False) -> None:
        """Know the gradient from now on."""
        self.gradient, self.epoch, self.recorded = gradient, epoch, recorded


class Node:
    """The shadow of one recorded op; what ``grad_fn`` is on the client.

    Attributes:
        op: the row of the op table.
        edges: per input that needs a gradient: (input position, target, output index of the target).
        parameters: those that were given.
        count: how many inputs the call had.
        rank: number of dimensions of the first output; -1 where unknown.
        retained: the states of outputs that ``retain_grad`` was called on; None while there are none.
    """

    __slots__ = ("count", "edges", "op", "parameters", "rank", "retained")

    def __init__(
        self, op: Op, edges: Sequence[tuple[int, Target, int]], parameters: Mapping[str, Any], count: int, rank: int
    ) -> None:
        self.op = op
        self.edges = edges
        self.parameters = parameters
        self.count = count
        self.rank = rank
        self.retained: list[Leaf] | None = None

    @property
    def exact(self) -> bool:
        """Whether the server's node surely has these edges and this name."""
        return self.rank >= 0 and all(target is not UNKNOWN for _, target, _ in self.edges)

    def name(self) -> str:
        """PyTorch's name of this kind of node, for example ``AddBackward0``."""
        return node_name(self.op, self.parameters, [position for position, _, _ in self.edges], self.rank)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where gradients go from here: (node, output index) per input; (None, 0) for an input that needs none."""
        edge_at = {position: (target, index) for position, target, index in self.edges}
        out: list[tuple[Any, int]] = []
        for position in edge_positions(self.op, list(edge_at), self.count):
            target, index = (None, 0) if position is None else edge_at[position]
            out.append((AccumulateGrad(target) if isinstance(target, Leaf) else target, index))
        return tuple(out)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class Described:
    """A node that only the server has: its name is known, where it leads is not."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """PyTorch's name of this kind of node."""
        return self._name

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Nothing known; ``session.graph(tensor)`` asks the server for the whole graph."""
        return ()

    def __repr__(self) -> str:
        return f"<{self._name} object at {id(self):#x}>"


class AccumulateGrad:
    """The end of a path: adds what arrives to the ``grad`` of a leaf."""

    __slots__ = ("leaf",)

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf

    def name(self) -> str:
        """``AccumulateGrad``, as in PyTorch."""
        return "AccumulateGrad"

    @property
    def next_functions(self) -> tuple[()]:
        """Nothing follows a leaf."""
        return ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.leaf is self.leaf

    def __hash__(self) -> int:
        return id(self.leaf)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


Target: TypeAlias = "Node | Described | Leaf | Unknown"
"""What an edge leads to."""

History: TypeAlias = "Target | None"
"""What a handle knows of how it was made: None is a leaf that needs no gradient, ``Leaf`` one that does."""


class Reach:
    """What a walk back from some tensors meets.

    Attributes:
        leaves: every leaf reached, in the order met.
        nodes: every node met, by identity.
        certain: whether all of the graph was known; if not, other leaves may be reached too.
    """

    def __init__(self, roots: Iterable[History]) -> None:
        """Walk back from ``roots``; iterative, so that no depth can hurt."""
        self.leaves: dict[int, Leaf] = {}
        self.nodes: dict[int, Node | Described] = {}
        self.certain = True
        todo: list[History] = list(roots)
        while todo:
            target = todo.pop()
            if isinstance(target, Node):
                if id(target) not in self.nodes:
                    self.nodes[id(target)] = target
                    if passes_gradient(target.op, target.parameters):
                        todo.extend([edge[1] for edge in target.edges])
            elif isinstance(target, Leaf):
                self.leaves[id(target)] = target
            elif target is not None:
                self.certain = False
                if isinstance(target, Described):
                    self.nodes[id(target)] = target

    def retained(self) -> Sequence[Leaf]:
        """The states of tensors on the way whose gradient is retained."""
        return [leaf for node in self.nodes.values() if isinstance(node, Node) and node.retained for leaf in node.retained]
