"""Hooks: where nodes and leaves keep them, and the walk that calls them in PyTorch's order.

A walk looks for hooks only where any is alive in the process (``contract.hooks.any_hooks``), so that those without pay one test
a walk. The walk here counts who still has to bring a gradient, as PyTorch's does: a leaf is served as soon as its last gradient
is there, and nodes run even where nothing but None reached them, because their hooks are called all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np

from telegrad.contract import checks, modes
from telegrad.contract.errors import NumericalError, SessionMismatchError, TelegradError
from telegrad.contract.hooks import Hook, Hooks, HookTable, RemovableHandle, check_nothing, check_replacement, check_replacements
from telegrad.contract.nodes import delivery_order, edge_positions
from telegrad.contract.schedule import LEAF, Schedule, enter_walk, leave_walk
from telegrad.contract.watching import is_anomaly_check_nan_enabled, is_anomaly_enabled, warn_of_anomaly, warn_user
from telegrad_service.engine import quiet
from telegrad_service.engine.graph import AccumulateGrad, CustomNode, Node, tensors_of_saved
from telegrad_service.engine.ownership import may_steal
from telegrad_service.engine.packing import Packed, alive, unpacked, valued
from telegrad_service.engine.walk import Walk

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine, Tensor

T = TypeVar("T")

Target: TypeAlias = "Node | Tensor"
"""What gradients arrive at: a node, or a leaf."""

Gradients: TypeAlias = "list[Any]"
"""One per output; None where there is none."""


Ask: TypeAlias = "Callable[[str | None, tuple[Any, ...]], None]"


class Wait:
    """What a hook returns whose result comes later: the walk waits for it, see ``HookedWalk.advance``."""


WAIT: Final = Wait()


class MustWait(Exception):  # noqa: N818 - no error
    """The function of a custom node, or what unpacks saved values, gave ``WAIT``. Nothing was done: the node is run again when
    the results are there.

    Attributes:
        give: takes them.
    """

    def __init__(self, give: Callable[[Any], None]) -> None:
        super().__init__()
        self.give = give


Step: TypeAlias = "Generator[None, Any, T]"
"""A part of a walk. It yields where a hook returned ``WAIT``, and is sent what that hook gives in the end."""


def any_hooks() -> bool:
    """Whether there are hooks on any node, leaf or saved tensor of the process, or anomaly mode is on: plain walks know neither."""
    return len(alive) > 0 or is_anomaly_enabled()


def hooks_of(target: Target) -> Hooks | None:
    """The hooks of a node or leaf; None where nothing was ever registered."""
    found: Hooks | None = getattr(target, "hooks", None)
    return found


def hooks_for(target: Target) -> Hooks:
    """The hooks of a node or leaf, made if need be."""
    found = hooks_of(target)
    if found is None:
        found = target.hooks = Hooks(alive)
    return found


def register(target: Target, index: int, hook: Hook) -> RemovableHandle:
    """Call ``hook`` with each gradient of output ``index``."""
    return hooks_for(target).of_output(index).add(hook)


class Waiting(Exception):  # noqa: N818 - no error
    """A walk waits for what a hook gives.

    Attributes:
        walk: to go on with.
    """

    def __init__(self, walk: HookedWalk) -> None:
        super().__init__()
        self.walk = walk


class HookedWalk(Walk):
    """A walk that calls hooks. See ``Walk`` for how it is used."""

    def __init__(
        self,
        home: Engine,
        *,
        retain_graph: bool,
        create_graph: bool,
        wanted: Sequence[Tensor] | None,
        hooks: Mapping[int, Hooks] | None = None,
        anomaly: str | None = None,
        ask: Ask | None = None,
    ) -> None:
        """Prepare a walk.

        Args:
            home: see ``Walk``.
            retain_graph: see ``Walk``.
            create_graph: see ``Walk``.
            wanted: see ``Walk``.
            hooks: those to call, by the identity of node or leaf, in place of what is registered there.
            ask: is told of each node whose function nobody has brought, with its label and what arrived; the walk waits there.
            anomaly: ``errors`` names the node where an error came from, in ``extra``; ``nan`` also makes NaN an error.
        """
        super().__init__(home, retain_graph=retain_graph, create_graph=create_graph, wanted=wanted)
        self.accumulate = False
        self.given = hooks
        self.anomaly = anomaly
        self.ask = ask
        self.warns = is_anomaly_enabled() and home.watched
        self.check_nan = anomaly == "nan" or (self.warns and is_anomaly_check_nan_enabled())
        self.seeds: list[tuple[Target, int, Any]] = []
        self.arrived: dict[int, tuple[Gradients, list[bool]]] = {}
        self.running: Node | None = None
        self.brought: dict[Any, Sequence[Tensor]] = {}
        """What was unpacked for this walk, by whoever packed it, see ``session.packs``."""

    def is_seen(self, root: Tensor) -> bool:
        """Its hooks are called."""
        return root.requires_grad

    def seed(self, root: Tensor, gradient: Any) -> None:
        """Start at ``root`` with ``gradient``."""
        self.seeds.append((root.current_node() or root, root.output_index, gradient))

    def carried(self) -> list[Any]:
        """The gradients on their way: arrays, or with ``create_graph`` tensors."""
        arrived = [g for gradients, _ in self.arrived.values() for g in gradients]
        return [g for g in (*arrived, *self.captured.values()) if g is not None]

    def comes_by(self, node: Any) -> bool:
        """Whether this walk comes by the node, or the accumulation of a leaf."""
        return self.schedule.comes_by(node.variable if isinstance(node, AccumulateGrad) else node)

    def run(self, *, accumulate: bool) -> None:
        """See ``Walk.run``. Raises ``Waiting`` where a hook returned ``WAIT``."""
        self.accumulate = accumulate
        self.steps = self._go()
        self.advance()

    def advance(self, given: Any = None) -> None:
        """Go on, with what the hook gives that the walk waited for. Raises ``Waiting`` where the next one is to be waited for."""
        mode = modes.set_mode(self.create_graph)
        token = quiet.enter()
        outer = enter_walk(self)
        try:
            self.steps.send(given)
        except StopIteration:
            return
        finally:
            leave_walk(outer)
            quiet.leave(token)
            modes.reset_mode(mode)
        raise Waiting(self)

    def _go(self) -> Step[None]:
        self.schedule = schedule = Schedule(
            [target for target, _, _ in self.seeds],
            lambda target: target.edges if isinstance(target, Node) and not self.ends_at(target) else (),
            lambda target: target.number if isinstance(target, Node) else LEAF,
            self._goes_to,
        )
        for target, index, gradient in self.seeds:
            if not self._goes_to(target):  # a single root, whose own hooks are called
                yield from self._look_at(target, index, gradient)
            self._arrive(target, index, gradient)
        if self.anomaly is None:
            self.seeds.clear()
        while schedule:
            target = schedule.next()
            gradients, owned = self.arrived.pop(id(target))
            try:
                if isinstance(target, Node):
                    self.running = target
                    yield from self._run_node(target, gradients)
                else:
                    yield from self._serve_leaf(target, gradients[0], owned[0])
            except Exception as error:
                if self.warns:
                    _warn_of(target)
                if self.anomaly is not None and isinstance(error, TelegradError):
                    error.extra.setdefault("node", self._way_to(target))
                raise

    def _way_to(self, end: Target) -> dict[str, Any]:
        """Which root, and which inputs from there, lead to a node or leaf, and what it is called."""
        name = end.name() if isinstance(end, Node) else "AccumulateGrad"
        ways: dict[int, tuple[int, ...]] = {}
        todo: list[Target] = []
        for root, (target, _, _) in enumerate(self.seeds):
            if ways.setdefault(id(target), (root,)) == (root,):
                todo.append(target)
        while todo:
            target = todo.pop()
            if target is end:
                root, *path = ways[id(target)]
                return {"name": name, "root": root, "path": path}
            if isinstance(target, Node):
                for position, follower in zip(target.plan.positions, target.edges, strict=True):
                    if id(follower) not in ways:
                        ways[id(follower)] = (*ways[id(target)], position)
                        todo.append(follower)
        return {"name": name}

    def _hooks_of(self, target: Target) -> Hooks | None:
        return hooks_of(target) if self.given is None else self.given.get(id(target))

    def _goes_to(self, target: Target) -> bool:
        if isinstance(target, Node):
            return self.needed is None or target.number in self.needed
        return not self.restricted or id(target) in self.wanted_leaves

    def _arrive(self, target: Target, index: int, gradient: Any) -> None:
        if not self._goes_to(target):
            return
        entry = self.arrived.get(id(target))
        if entry is None:
            count = len(target.layouts) if isinstance(target, Node) else 1
            entry = self.arrived[id(target)] = ([None] * count, [False] * count)
        if gradient is not None:
            gradient = self._fit(gradient, *_layout(target, index))
            gradients, owned = entry
            if gradients[index] is None:
                gradients[index] = gradient
            else:
                gradients[index], owned[index] = self._add(gradients[index], gradient, owned[index])
        self.schedule.arrived(target)

    # Nodes -------------------------------------------------------------------------------------------------------------------

    def _run_node(self, node: Node, gradients: Gradients) -> Step[None]:
        if self.ends_at(node):
            self._capture(node, gradients)
            return
        hooks = self._hooks_of(node)
        goes_on = self.needed is None or self.accumulate or self._leads_on(node, self.needed)
        if goes_on:
            self._capture(node, gradients)  # PyTorch gives those on the way out as they are before the hooks
        if hooks is not None:
            for index, table in _in_order(hooks):
                gradients[index] = yield from self._through(table, gradients[index])
        self._retain(node, gradients)
        if not goes_on:
            self._capture(node, gradients)
            return
        if hooks is not None and len(hooks.before):
            numbers = _differentiable(node)
            found = yield from self._through_all(hooks.before, tuple([gradients[i] for i in numbers]), ())
            for index, gradient in zip(numbers, found, strict=True):
                gradients[index] = gradient
        values = yield from self._differentiate(node, gradients)
        hooks = self._hooks_of(node)  # the walk may have waited, and more may have been given
        if hooks is not None and len(hooks.after):
            values = yield from self._after(node, hooks.after, values, gradients)
        for edge in delivery_order(node.plan.entry.op, node.plan.positions):
            self._arrive(node.edges[edge], node.indexes[edge], values[edge])

    def _look_at(self, target: Target, index: int, gradient: Any) -> Step[None]:
        """Call the hooks of a root that the walk does not go to."""
        hooks = self._hooks_of(target)
        if hooks is not None:
            for number, table in _in_order(hooks):
                if number == index:
                    gradient = yield from self._through(table, gradient)
                else:
                    yield from self._through(table, None)
        if isinstance(target, Node):
            self._retain(target, [gradient if i == index else None for i in range(len(target.layouts))])

    def _capture(self, node: Node, gradients: Gradients) -> None:
        for index, gradient in enumerate(gradients):
            for position in self.wanted_outputs.get((node.number, index), ()):
                self.captured[position] = gradient

    def _retain(self, node: Node, gradients: Gradients) -> None:
        for index, references in (node.retained or {}).items():
            gradient = gradients[index]
            for reference in references:
                tensor = reference()
                if tensor is not None and gradient is not None:
                    self.made_bytes += tensor.accumulate_grad(gradient, in_place=False)

    def _differentiate(self, node: Node, gradients: Gradients) -> Step[list[Any]]:
        """One gradient per edge, None where there is none or nobody wants it."""
        values: list[Any] = [None] * len(node.edges)
        plan = node.plan
        if any(g is not None for g in gradients) or node.__class__ is CustomNode:
            filled = [self._zeros(node, i) if g is None else g for i, g in enumerate(gradients)]
            filling = filled[0] if len(filled) == 1 else tuple(filled)
            while True:
                try:
                    made = plan.differentiate(filling, self._saved(node))
                    break
                except MustWait as function:  # of a user's function, whose results come later; nothing was done yet
                    function.give((yield))
            for edge, value in zip(plan.targets, made, strict=True):
                target = node.edges[edge]
                if edge >= 0 and value is not None and self._goes_to(target):
                    values[edge] = self._fit(value, *_layout(target, node.indexes[edge]))
            if self.check_nan:
                _refuse_nan(node, values)
        if plan.saves and not self.retain_graph:
            node.saved = None
        return values

    def _saved(self, node: Node) -> tuple[Any, ...]:
        saved = node.saved
        if saved is None or not any(isinstance(v, (Packed, tuple)) for v in saved):
            return super()._saved(node)
        if node.guards:
            self._check_guards(node)
        arrays: tuple[Any, ...] = unpacked(saved)
        if not self.create_graph:
            return arrays
        tensors: tuple[Any, ...] = valued(tensors_of_saved(self.home, node, arrays), arrays)
        return tensors

    def _after(self, node: Node, table: HookTable, values: list[Any], gradients: Gradients) -> Step[list[Any]]:
        """The gradients per edge after the node's hooks, which see one per input."""
        plan = node.plan
        positions = edge_positions(plan.entry.op, plan.positions, plan.count)
        edges = [None if p is None else plan.positions.index(p) for p in positions]
        given = tuple([None if e is None else values[e] for e in edges])
        arrived = tuple([gradients[i] for i in _differentiable(node)])
        found = list(values)
        through = yield from self._through_all(table, given, (arrived,))
        for edge, value in zip(edges, through, strict=True):
            if edge is not None:
                found[edge] = value
        return found

    # Leaves ------------------------------------------------------------------------------------------------------------------

    def _serve_leaf(self, leaf: Tensor, gradient: Any, owned: bool) -> Step[None]:
        hooks = None if self.bounded else self._hooks_of(leaf)
        if hooks is not None:
            for _, table in _in_order(hooks):
                gradient = yield from self._through(table, gradient)
        if gradient is not None:
            for position in self.wanted_leaves.get(id(leaf), ()):
                self.captured[position] = gradient
        if not self.accumulate:
            return
        if hooks is not None and len(hooks.before):
            (gradient,) = yield from self._through_all(hooks.before, (gradient,), ())
        if gradient is not None:
            may_keep = owned or may_steal(gradient)
            self.made_bytes += leaf.accumulate_grad(gradient, may_keep=may_keep and hooks is None)
        if hooks is not None:
            for hook in self._functions(hooks.accumulated):
                result = hook(leaf)
                if result is WAIT:
                    result = yield
                check_nothing(result)
            yield from self._through_all(hooks.after, (), ((gradient,),))

    # Calling hooks -----------------------------------------------------------------------------------------------------------

    def _functions(self, table: HookTable) -> Iterator[Hook]:
        """The hooks to call now. What hooks of users add or remove counts from the next walk on; to a walk that was given its
        hooks, more may be given while it waits.
        """
        functions, at = table.functions(), 0
        while at < len(functions):
            yield functions[at]
            at += 1
            if self.given is not None:
                functions = table.functions()

    def _shown(self, gradient: Any) -> Any:
        """The gradient as hooks see it."""
        return gradient if gradient is None or self.create_graph else self.home.wrap(gradient)

    def _taken(self, tensor: Any) -> Any:
        """What a hook gave, as the walk carries it."""
        if tensor is None:
            return None
        if tensor.home is not self.home:
            raise SessionMismatchError(checks.OTHER_SESSION)
        return tensor if self.create_graph else tensor.array

    def _through(self, table: HookTable, gradient: Any) -> Step[Any]:
        """The gradient after the hooks, each of which may replace it."""
        if not len(table):
            return gradient
        shown = self._shown(gradient)
        for hook in self._functions(table):
            result = hook(shown)
            if result is WAIT:
                result = yield
            if result is not None:
                check_replacement(hook, shown, result, self.tensor_class)
                shown = result
        return self._taken(shown)

    def _through_all(self, table: HookTable, values: tuple[Any, ...], more: tuple[tuple[Any, ...], ...]) -> Step[tuple[Any, ...]]:
        """The same for hooks that see several gradients at once, and perhaps ``more`` that they cannot replace."""
        if not len(table):
            return values
        shown = tuple([self._shown(v) for v in values])
        others = [tuple([self._shown(v) for v in group]) for group in more]
        for hook in self._functions(table):
            result = hook(shown, *others)
            if result is WAIT:
                result = yield
            if result is not None:
                check_replacements(hook, shown, result, self.tensor_class)
                shown = result
        return tuple([self._taken(v) for v in shown])

    @property
    def tensor_class(self) -> type[Any]:
        """What gradients are to hooks."""
        from telegrad_service.engine.tensor import Tensor as EngineTensor  # it needs the graph, and this module

        return EngineTensor


def _in_order(hooks: Hooks) -> Iterator[tuple[int, HookTable]]:
    """The tables of outputs, in order of first registration, those included that come while the walk waits."""
    at = 0
    while at < len(hooks.tensor):
        yield list(hooks.tensor.items())[at]
        at += 1


def _differentiable(node: Node) -> list[int]:
    """The outputs whose gradients the node's hooks see: not the positions that ``max`` gives beside its values, say."""
    return [index for index, (_, dtype) in enumerate(node.layouts) if dtype.kind in "fc"]


def _layout(target: Target, index: int) -> tuple[Any, Any]:
    """Shape and type of what arrives there."""
    return target.layouts[index] if isinstance(target, Node) else (target.array.shape, target.array.dtype)


def _refuse_nan(node: Node, values: Sequence[Any]) -> None:
    plan = node.plan
    for number, position in enumerate(edge_positions(plan.entry.op, plan.positions, plan.count)):
        value = None if position is None else values[plan.positions.index(position)]
        if value is not None and np.isnan(value if isinstance(value, np.ndarray) else value.array).any():
            raise NumericalError(f"Function '{node.name()}' returned nan values in its {number}th output.")


def _warn_of(target: Target) -> None:
    """Say where the node was recorded whose gradient could not be computed, and what that computed if it was a gradient itself."""
    if not isinstance(target, Node):
        warn_of_anomaly("AccumulateGrad", None)
        return
    hooks = hooks_of(target)
    warn_of_anomaly(target.name(), None if hooks is None else hooks.stack)
    while hooks is not None and hooks.parent is not None:
        parent = hooks.parent
        hooks = hooks_of(parent)
        stack = None if hooks is None else hooks.stack
        warn_user(
            f"Previous calculation was induced by {parent.name()}. "
            + (
                f"Traceback of forward call that induced the previous calculation:\n{stack}"
                if stack
                else "No forward pass information available. Enable detect anomaly during forward pass for more information."
            )
        )
