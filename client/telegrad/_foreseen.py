"""A backward with hooks, walked on the shadow of the graph: which hooks there are, in which order, and what each records.

Where a hook asks for a value, what was foreseen so far is sent and waits on the server, see ``Foreseen.pause``.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from telegrad._capture import abandon, raise_error_of
from telegrad._history import CustomNode, Described, Leaf, Node, made_of
from telegrad._hook_call import Call, Ended, names_of
from telegrad._packs import packs_of
from telegrad._queue import Entry, Recorded, Reply
from telegrad._reach import Reach
from telegrad.contract import modes
from telegrad.contract.callbacks import Callback, Place
from telegrad.contract.checks import GRAPH_FREED
from telegrad.contract.commands import Resume
from telegrad.contract.errors import AutogradError, GraphFreedError, TelegradError
from telegrad.contract.hooks import Hooks, HookTable, check_nothing, check_replacement, check_replacements
from telegrad.contract.nodes import edge_positions, passes_gradient
from telegrad.contract.ops import Spec
from telegrad.contract.schedule import LEAF, Schedule, enter_walk, leave_walk

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad._recorder import Recorder


def hooks_of(target: Node | Leaf | Described) -> Hooks | None:
    """The hooks of a shadow node or leaf; None where nothing was ever registered."""
    found: Hooks | None = getattr(target, "hooks", None)
    return found


def owner_of(target: Node | Leaf | Described) -> Handle | None:
    """The handle of what hooks were registered on, or by which users came to it, if there is still one."""
    hooks = hooks_of(target)
    owner = None if hooks is None else hooks.owner
    found: Handle | None = owner() if isinstance(owner, weakref.ref) else owner
    if found is None and (came_by := getattr(target, "tensor", None)) is not None:
        found = came_by()
    return found


class Foreseen:
    """A backward with hooks, walked on the shadow of the graph.

    Attributes:
        callbacks: what the hooks do, of those that nothing is recorded of yet.
        arrays: what tensors made in these hooks carry, by the name in their ``create``.
        touches: handles and leaves of which nothing is known if that fails.
        captured: positions of the wanted tensors that a gradient arrived at.
        error: what a hook raised; it ended the backward.
    """

    def __init__(
        self,
        home: Recorder,
        roots: Sequence[Handle],
        wanted: Sequence[Handle] | None,
        *,
        retain_graph: bool,
        create_graph: bool,
        accumulated: Callable[[Leaf], None] | None,
        begin: Callable[[Foreseen], None],
        sources: list[Any],
        bounded: bool = False,
    ) -> None:
        """Prepare.

        Args:
            home: the recorder of all tensors.
            roots: where the backward starts.
            wanted: the tensors whose gradients are asked for; None for all leaves.
            retain_graph: whether custom nodes can be walked again.
            create_graph: whether gradients get a history.
            accumulated: is told each leaf that its gradient is added to; None for ``grad``, which adds to none.
            begin: records the command, with what was foreseen so far.
            sources: histories of what gradients may be made of, where they have histories.
            bounded: the backward ends at the wanted tensors, whose hooks are another one's business.
        """
        self.callbacks: list[Callback] = []
        self.arrays: dict[str, Any] = {}
        self.touches: list[Any] = []
        self.captured: set[int] = set()
        self.error: Exception | None = None
        self._home = home
        self._begin = begin
        self.sources = sources
        self._waits: str | None = None
        self._given: tuple[tuple[Any, ...] | None, bool] = None, False
        self._count = 0
        self._retain_graph = retain_graph
        self._create_graph = create_graph
        self._accumulated = accumulated
        self._roots = [(root.history(), 0 if root._extra is None else root._extra.index) for root in roots]
        self._starts: dict[int, str] = {}
        for root, (target, _) in zip(roots, self._roots, strict=True):
            self._starts.setdefault(id(target), root._name)
        self._parents: dict[int, tuple[Node, int]] = {}
        self._numbers: dict[int, int] = {}
        self._arrived: dict[int, dict[int, bool]] = {}
        self._wanted: dict[tuple[int, int], list[int]] = {}
        self._entries: list[Entry] = []
        self._needed: set[int] | None = None
        if wanted is not None:
            for position, tensor in enumerate(wanted):
                index = 0 if tensor._extra is None else tensor._extra.index
                self._wanted.setdefault((id(tensor.history()), index), []).append(position)
            self._needed = self._lead_on({key for key, _ in self._wanted})
        self._ends = {key for key, _ in self._wanted} if bounded else set[int]()

    def _lead_on(self, wanted: set[int]) -> set[int]:
        """The nodes and leaves that are wanted, and all that lead to them."""
        nodes = [n for n in Reach([target for target, _ in self._roots]).nodes.values() if isinstance(n, Node)]
        needed = set(wanted)
        for node in sorted(nodes, key=_rank):
            if any(id(target) in needed for _, target, _ in node.edges):
                needed.add(id(node))
        return needed

    def _goes_to(self, target: Any) -> bool:
        return self._needed is None or id(target) in self._needed

    def _targets(self, target: Any) -> list[Any]:
        if not isinstance(target, Node) or id(target) in self._ends:
            return []
        for position, follower, _ in target.edges:
            self._parents.setdefault(id(follower), (target, position))
        return [follower for _, follower, _ in target.edges]

    def comes_by(self, node: Any) -> bool:
        """Whether the backward comes by the node, or the accumulation of a leaf."""
        return self._schedule.comes_by(self._home.end_of(node))

    def run(self) -> None:
        """Call the hooks. What one of them raises is kept in ``error``, and the backward ends there.

        Raises AutogradError where a hook asked for a value; nothing is recorded then.
        """
        mode = modes.set_mode(self._create_graph)
        outer = enter_walk(self)
        try:
            self._schedule = schedule = Schedule([target for target, _ in self._roots], self._targets, _rank, self._goes_to)
            for target, index in self._roots:
                if len(self._roots) == 1 and not self._goes_to(target):  # a single root, whose own hooks are called
                    self._look_at(target, index)
                self._arrive(target, index, True)
            while schedule and self.error is None:
                target = schedule.next()
                arrived = self._arrived.pop(id(target))
                if isinstance(target, Leaf):
                    self._serve_leaf(target, arrived[0])
                else:
                    self._run_node(target, arrived)
        except Ended:
            pass
        except BaseException as error:
            self._abandon(error)
            raise
        finally:
            leave_walk(outer)
            modes.reset_mode(mode)

    def _arrive(self, target: Any, index: int, present: bool) -> None:
        if self._goes_to(target):
            arrived = self._arrived.setdefault(id(target), {})
            arrived[index] = arrived.get(index, False) or present
            self._schedule.arrived(target)

    def _look_at(self, target: Any, index: int) -> None:
        """Call the hooks of a root that the backward does not go to."""
        hooks = hooks_of(target)
        for number, table in () if hooks is None else hooks.tensor.items():
            spec = target.spec(number) if isinstance(target, Node) else target.spec
            self._through(table, target, number == index, spec, number if isinstance(target, Node) else None)

    # Nodes and leaves --------------------------------------------------------------------------------------------------------

    def _run_node(self, node: Node, arrived: dict[int, bool]) -> None:
        if id(node) in self._ends:
            self._capture(node, arrived)
            return
        hooks = hooks_of(node)
        goes_on = self._needed is None or self._accumulated is not None or any(self._goes_to(t) for _, t, _ in node.edges)
        if goes_on:
            self._capture(node, arrived)
        if hooks is not None:
            for index, table in hooks.tensor.items():
                self._through(table, node, arrived.get(index, False), node.spec(index), index)
        if not goes_on:
            self._capture(node, arrived)
            return
        if hooks and (len(hooks.before) or len(hooks.after)):
            self._run_hooked(node, hooks, arrived)
            return
        if isinstance(node, CustomNode):
            given = self._run_custom(node, [arrived.get(index, False) for index in range(len(node.plan.outputs))])
            for position, target, index in node.edges:
                self._arrive(target, index, given[position])
            return
        self._unpack(node, arrived.values())
        present = any(arrived.values()) and passes_gradient(node.op, node.parameters)
        for edge in node.delivery():
            _, target, index = node.edges[edge]
            self._arrive(target, index, present)

    def _run_custom(self, node: CustomNode, present: list[bool]) -> list[bool]:
        """Call the function of a custom node; which gradients it gives, by input. It is called even where no gradient arrives."""
        backward = node.backward
        if backward is None:
            self._freed(node)
        shown = self._gradients([there or backward.materialize for there in present], node.plan.outputs)
        with self._calling(node, "custom", None, names_of(shown)) as call:
            results = backward.run(shown)
            call.done(results)
        if backward.saves and not self._retain_graph:
            node.backward = None
        return [g is not None for g in results]

    def _freed(self, node: Node) -> NoReturn:
        """The backward ends here, as it does on the server at other nodes that were freed."""
        self.add(Callback(self._place(node), "before", stops=True), node, ())
        self.error = GraphFreedError(GRAPH_FREED)
        raise Ended

    def _unpack(self, node: Node, present: Iterable[bool]) -> None:
        """Call the hooks that unpack what the node saved, if a gradient is there."""
        packs = packs_of(node)
        if packs is None or not any(present):
            return
        if packs.kept is None:
            self._freed(node)
        with self._calling(node, "unpack", None, ()) as call:
            call.done(packs.unpacked(self._home.tensor_class))
        if not self._retain_graph:
            packs.kept = None

    def _run_hooked(self, node: Node, hooks: Hooks, arrived: dict[int, bool]) -> None:
        """With hooks on the node itself, which see all its gradients at once."""
        count = node.outputs
        if count is None:
            raise AutogradError(
                "how many outputs this op has depends on values that only the server has, so hooks on its node cannot be called "
                "here; use telegrad.local(), which calls hooks as it goes"
            )
        numbers = [index for index in range(count) if node.differentiates(index)]
        specs = [node.spec(index) for index in numbers]
        present = [arrived.get(index, False) for index in numbers]
        found = self._through_all(hooks.before, "before", node, present, specs)
        flows = any(found) and passes_gradient(node.op, node.parameters)
        self._unpack(node, found)
        made: list[bool] | None = None
        if isinstance(node, CustomNode):
            there = dict(zip(numbers, found, strict=True))
            made = self._run_custom(node, [there.get(index, False) for index in range(count)])
        edge_at = {position: (target, index) for position, target, index in node.edges}
        positions = edge_positions(node.op, list(edge_at), node.count)
        places = [edge_at.get(p) if p is not None else None for p in positions]
        given = [place is not None and flows and self._goes_to(place[0]) for place in places]
        if made is not None:
            given = [flowing and p is not None and made[p] for flowing, p in zip(given, positions, strict=True)]
        inputs = [None if place is None else _spec_of(*place) for place in places]
        after = self._through_all(hooks.after, "after", node, given, inputs, (found, specs))
        flowing = {id(place): there for place, there in zip(places, after, strict=True) if place is not None}
        for edge in node.delivery():
            place = edge_at[node.edges[edge][0]]
            self._arrive(*place, flowing[id(place)])

    def _capture(self, node: Node, arrived: dict[int, bool]) -> None:
        for index, present in arrived.items():
            if present:
                self.captured.update(self._wanted.get((id(node), index), ()))

    def _serve_leaf(self, leaf: Leaf, present: bool) -> None:
        hooks = None if id(leaf) in self._ends else hooks_of(leaf)
        if hooks is not None:
            for table in hooks.tensor.values():
                self._through(table, leaf, present, leaf.spec, None)
        if present:
            self.captured.update(self._wanted.get((id(leaf), 0), ()))
        if self._accumulated is None:
            return
        if hooks is not None:
            (present,) = self._through_all(hooks.before, "before", leaf, [present], [leaf.spec])
        if present:
            self._accumulated(leaf)
        if hooks is None:
            return
        owner = owner_of(leaf)
        for hook in hooks.accumulated.functions():
            with self._calling(leaf, "accumulated", None, ()) as call:
                check_nothing(hook(owner))
                call.done(None)
        self._through_all(hooks.after, "after", leaf, [], [], ([present], [leaf.spec]))

    # Calling hooks -----------------------------------------------------------------------------------------------------------

    def _gradient(self, spec: Spec | None) -> Any:
        """A handle for a gradient that a callback will name."""
        home = self._home
        return home.tensor_class(home, home.name(), spec, made_of(*self.sources) if self._create_graph else None)

    def _through(self, table: HookTable, target: Node | Leaf, present: bool, spec: Spec | None, index: int | None) -> None:
        functions = table.functions()
        if not functions:
            return
        shown = self._gradient(spec) if present else None
        names: tuple[str | None, ...] = () if shown is None else (shown._name,)
        for hook in functions:
            with self._calling(target, "tensor", index, names) as call:
                result = hook(shown)
                check_replacement(hook, shown, result, self._home.tensor_class)
                call.done(None if result is None else (result,))
            shown, names = shown if result is None else result, ()

    def _through_all(
        self,
        table: HookTable,
        kind: str,
        target: Node | Leaf,
        present: list[bool],
        specs: Sequence[Spec | None],
        arrived: tuple[list[bool], Sequence[Spec | None]] | None = None,
    ) -> list[bool]:
        """Hooks that see several gradients; which of them there are afterwards."""
        functions = table.functions()
        if not functions:
            return present
        shown: tuple[Any, ...] = self._gradients(present, specs)
        others = [] if arrived is None else [self._gradients(*arrived)]
        names, arrived_names = names_of(shown), names_of(others[0]) if others else ()
        for hook in functions:
            with self._calling(target, kind, None, names, arrived_names) as call:
                result = hook(shown, *others)
                if result is not None:
                    check_replacements(hook, shown, result, self._home.tensor_class)
                call.done(result)
            shown, names, arrived_names = shown if result is None else result, (), ()
        return [g is not None for g in shown]

    def _gradients(self, present: Sequence[bool], specs: Sequence[Spec | None]) -> tuple[Any, ...]:
        return tuple([self._gradient(spec) if there else None for there, spec in zip(present, specs, strict=True)])

    def _calling(
        self, target: Node | Leaf, kind: str, index: int | None, names: tuple[str | None, ...], arrived: tuple[str | None, ...] = ()
    ) -> Call:
        packs = packs_of(target) if kind == "unpack" else None
        return Call(self, Callback(self._place(target) if packs is None else packs.name, kind, index, names, arrived), target)

    def add(self, callback: Callback, target: Node | Leaf, entries: Sequence[Entry]) -> None:
        """A hook was called at ``target``."""
        if callback.kind != "unpack":  # that has a name, and is no place for others
            self._numbers.setdefault(id(target), self._count)
        self._count += 1
        self.callbacks.append(callback)
        self._entries.extend(entries)
        for entry in entries:
            if isinstance(entry, Recorded):
                self.touches.extend(entry.touches)

    def _place(self, target: Node | Leaf) -> Place:
        """How the server finds the target: by the name of a leaf, or by the way from what has a name."""
        owner = None if isinstance(target, Node) else owner_of(target)
        if owner is not None and owner._home is self._home and owner._name not in self._home.failed and owner.history() is target:
            return owner._name
        path: list[int] = []
        at: Any = target
        while id(at) not in self._numbers and id(at) not in self._starts:
            at, position = self._parents[id(at)]
            path.append(position)
        number = self._numbers.get(id(at))
        return (self._starts[id(at)] if number is None else number, *reversed(path))

    def present(self, count: int, materialize: bool) -> list[bool | None]:
        """Which of so many wanted tensors get a gradient, with ``materialize`` all; none where a hook raised."""
        if self.error is not None:
            return [False] * count
        return [materialize or position in self.captured for position in range(count)]

    # Waiting -----------------------------------------------------------------------------------------------------------------

    def pause(self, callback: Callback, target: Node | Leaf, entries: Sequence[Entry]) -> None:
        """Record what was foreseen so far, up to the middle of a hook: the server does it, and waits there for what the hook gives.

        What the hook does from now on is recorded like anything else, and values can be asked for.
        """
        name = self._home.name()
        self.add(replace(callback, pauses=name), target, entries)
        self.finish()
        self._waits = name

    def gives(self, results: Sequence[Any] | None, *, stops: bool) -> None:
        """The hook that the server waits for gives these gradients, see ``Callback``."""
        self._given = None if results is None else tuple(results), stops

    def finish(self, gradients: Sequence[str | None] | None = None, reply: Reply | None = None) -> None:
        """Record what was foreseen since the last pause, and that the backward goes on.

        Args:
            gradients: of a ``grad`` that began with a pause: names of its results.
            reply: where the answer goes, then.

        Raises DependentError, or the server's error, where the backward has failed meanwhile.
        """
        home, waits = self._home, self._waits
        if waits is None:
            self._begin(self)
        else:
            self._waits = None
            home.check_name(waits)
            results, stops = self._given
            named = None if results is None else tuple([None if r is None else r._name for r in results])
            command = Resume(waits, named, stops, tuple(self.callbacks), None if gradients is None else tuple(gradients))
            home.record(command, touches=tuple(self.touches), arrays=self.arrays, reply=reply, depth=3)
        home.writes += 1
        self._given = None, False
        self.callbacks, self.arrays, self.touches, self._entries = [], {}, [], []

    def end(self, gradients: Sequence[str | None] | None = None, reply: Reply | None = None) -> None:
        """Record the rest, and raise what a hook raised; see ``finish``."""
        try:
            self.finish(gradients, reply)
        except TelegradError as failure:
            self._abandon(failure)
            if self.error is None:
                raise
        raise_error_of(self)

    def end_grad(
        self, results: Sequence[Any], reply: Reply | None, record: Callable[[Foreseen, Sequence[Any], Reply | None], None]
    ) -> None:
        """The same for a ``grad``, which ``record`` records with its results, unless it has begun."""
        if self._waits is not None:
            self.end([None if r is None else r._name for r in results], reply)
            return
        record(self, results, reply)
        raise_error_of(self)

    def _abandon(self, error: BaseException) -> None:
        """The backward is not recorded: what hooks made does not exist, what they would have changed is to be asked for. Where it
        has begun, it ends where it waits.
        """
        home = self._home
        if self._waits is not None and self._waits not in home.failed:
            home.record(Resume(self._waits, stops=True), depth=3)
        cause = error if isinstance(error, AutogradError) else AutogradError(f"the backward was not recorded: {error}")
        abandon(home, self._entries, [n for c in self.callbacks for n in (*c.grads, *c.arrived) if n is not None], cause)


def _rank(target: Any) -> float:
    return target.number if isinstance(target, Node) else LEAF


def _spec_of(target: Any, index: int) -> Spec | None:
    found: Spec | None = target.spec(index) if isinstance(target, Node) else target.spec
    return found
