"""The shadow of the graph that the run of a traced program leaves: the trace's nodes, with what the run was given.

Most runs' histories nobody looks at, so their edges are made when somebody does.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from telegrad._history import UNKNOWN, CustomNode, Described, History, Leaf, Node, Target, Unknown, next_number
from telegrad.contract.hooks import Hooks

if TYPE_CHECKING:
    from telegrad._recorder import Recorder


class Outside(Described):
    """In a trace, the history of a tensor that came in with one: where it leads is known when the program runs.

    Attributes:
        hole: the name of the tensor in the program.
    """

    __slots__ = ("hole",)

    def __init__(self, hole: str, name: str) -> None:
        super().__init__(name)
        self.hole = hole


class RunNode(Node):
    """The shadow of a node that the run of a traced program made: as the trace's node, with what the run was given.

    Attributes:
        run: which run.
        traced: the trace's node.
    """

    __slots__ = ("_edges", "run", "traced")

    def __init__(self, run: Instance, traced: Node) -> None:
        self.run = run
        self.traced = traced
        self.plan = traced.plan
        self.parameters = traced.parameters
        self.count = traced.count
        self.number = run.number(traced)
        self.retained = None
        self._edges: list[tuple[int, Target, int]] | None = None

    @property
    def edges(self) -> Sequence[tuple[int, Target, int]]:  # type: ignore[override]
        """See ``Node``; made when somebody looks, which for most runs nobody does."""
        found = self._edges
        if found is None:
            found = self._edges = [(position, *self.run.target(target, index)) for position, target, index in self.traced.edges]
        return found

    def hooks_here(self) -> Hooks:
        """The hooks, made if need be."""
        if getattr(self, "hooks", None) is None:
            self.hooks = Hooks(self.run.alive, weakref.ref(self))
            self.run.keep(self)
        return self.hooks


_MOST_NODES: Final = 2.0**20
"""More than one trace records; a power of two, so that fractions of it are exact."""


class Instance:
    """One run of a traced program, as far as histories are concerned.

    Attributes:
        alive: see ``Recorder.hooked``.
    """

    def __init__(
        self, home: Recorder, first: float, outside: Mapping[str, tuple[History, int]], leaves: Mapping[int, Leaf]
    ) -> None:
        """Begin.

        Args:
            home: the recorder of the run.
            first: a number below those of the trace's nodes, but not far.
            outside: by the name of a hole, the history that the tensor had before the run, and which output of it that was.
            leaves: by the identity of the trace's leaf, the real one; of leaves that came in.
        """
        self.alive = home.hooked
        self._home = home
        self._outside = outside
        self._leaves = leaves
        # Nodes have their run, and each the next ones: they go when nobody has the first.
        self._made: dict[int, Target | weakref.ref[RunNode]] = {}
        self._first = first
        self._number = next_number()

    def number(self, traced: Node) -> float:
        """Where the node stands in the order of making: after what was made before the run, before what is made after it."""
        return self._number + (traced.number - self._first) / _MOST_NODES

    def target(self, target: Any, index: int) -> tuple[Any, int]:
        """What the trace's target is in this run, and the number of the output."""
        if isinstance(target, Outside):
            return self._outside[target.hole]
        if isinstance(target, Unknown):
            return UNKNOWN, index  # what it was made of is the trace's
        if isinstance(target, Described):
            return Described(target.name()), index
        if not isinstance(target, (Node, Leaf)):
            return target, index
        found = self._made.get(id(target))
        if isinstance(found, weakref.ref):
            found = found()
        if found is None:
            if isinstance(target, Leaf):
                found = self._leaves.get(id(target)) or Leaf(self._home, target.spec, UNKNOWN)
            elif isinstance(target, CustomNode):
                found = Described(target.name())  # its function saw tensors of the trace: the server says that nobody has it
            else:
                found = RunNode(self, target)
                self._made[id(target)] = weakref.ref(found)
                return found, index
            self._made[id(target)] = found
        return found, index

    def keep(self, node: RunNode) -> None:
        """A node that has hooks lives as long as any other of the run, which may lead to it."""
        self._made[id(node.traced)] = node
