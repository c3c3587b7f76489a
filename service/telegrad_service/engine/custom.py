"""Nodes that run Python functions of users: their plan, and how results of other ops become theirs."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from telegrad.contract import checks, watching
from telegrad.contract.custom import Backward, check_gradient, custom_op
from telegrad.contract.errors import ArgumentValueError, AutogradError, SessionMismatchError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import Spec
from telegrad.contract.schedule import current_walk
from telegrad.contract.tensor.tensor import Tensor as AbstractTensor
from telegrad_service.engine.calls import apply
from telegrad_service.engine.graph import CustomNode, Node, renewed, sequence
from telegrad_service.engine.hooks import WAIT, HookedWalk, MustWait
from telegrad_service.engine.table import Entry, Plan
from telegrad_service.engine.tensor import Engine, Tensor
from telegrad_service.engine.watch import note_lines
from telegrad_service.engine.writes import replace_history


class CustomPlan(Plan):
    """The plan of custom nodes of one name: the node saves the ``Backward`` to run, and what that needs."""

    __slots__ = ("fills",)

    def __init__(self, name: str, positions: tuple[int, ...], count: int, saves: bool, fills: bool) -> None:
        self.entry = Entry(custom_op(name))
        self.count = count
        self.positions = positions
        edge_of = {position: edge for edge, position in enumerate(positions)}
        self.targets = tuple([edge_of.get(position, -1) for position in range(count)])
        self.zeros = (0,) * len(positions)
        self.sources = ()
        self.saved_inputs = self.saved_outputs = self.restored = ()
        self.saves = saves
        self.fills = fills
        self.only = self.record = None
        self.differentiate = _differentiate


custom_plan = functools.lru_cache(maxsize=4096)(CustomPlan)


def _differentiate(g: Any, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """Run the node. Arrays become tensors for the function, and its results arrays, unless the walk is one of tensors."""
    backward, home = saved[0], saved[1]
    gradients: tuple[Any, ...] = g if isinstance(g, tuple) else (g,)
    tensors = any(isinstance(x, AbstractTensor) for x in gradients)
    if tensors or (is_grad_enabled() and all(x is None for x in gradients)):  # grad mode is the walk's: whether it is recorded
        return tuple(backward.run(gradients))
    shown = tuple([None if x is None else home.wrap(x) for x in gradients])
    made: list[Any] = []
    for tensor in backward.run(shown):
        if tensor is not None and getattr(tensor, "home", None) is not home:
            raise SessionMismatchError(checks.OTHER_SESSION)
        made.append(None if tensor is None else tensor.array)
    return tuple(made)


def attach(
    home: Engine,
    backward: Backward,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor | None],
    flows: Sequence[bool],
    dirty: Sequence[bool],
    saved: Sequence[Tensor],
) -> list[Tensor | None]:
    """Make ``outputs`` the results of one node with edges to ``inputs``. To be called while nothing is recorded.

    Args:
        home: where all belong.
        backward: what the node does.
        inputs: all tensors that it was given; at least one of them requires grad.
        outputs: its results, None where one is no tensor.
        flows: per output, whether gradients come from it.
        dirty: per output, whether it is an input that was written to.
        saved: what ``backward`` holds for its run.

    Returns:
        The outputs with their history; where an output is an input that was not written to, a view in its place.

    Raises SessionMismatchError for tensors of another session, LeafError for a leaf that was written to.
    """
    for tensor in (*inputs, *outputs):
        if tensor is not None and getattr(tensor, "home", None) is not home:
            raise SessionMismatchError(checks.OTHER_SESSION)
    edges: list[Any] = []
    indexes: list[int] = []
    positions = tuple([i for i, x in enumerate(inputs) if x.requires_grad])
    for position in positions:
        x = inputs[position]
        edges.append(x.current_node() or x)
        indexes.append(x.output_index)
    layouts = [((0,), np.dtype(np.float32)) if t is None else (t.array.shape, t.array.dtype) for t in outputs]
    node = CustomNode(
        custom_plan(backward.name, positions, len(inputs), backward.saves, backward.materialize),
        {},
        (backward, home, *[t.array for t in saved]),
        tuple(edges),
        tuple(indexes),
        layouts[0][0],
        layouts[0][1],
        (),
        tuple(layouts[1:]) if len(layouts) > 1 else None,
    )
    if watching.watchers:
        note_lines(node, home)
    taken = {id(x) for x in inputs}
    made = list(outputs)
    given_before: dict[int, Tensor] = {}
    for index, tensor in enumerate(outputs):
        if tensor is None or not flows[index]:
            continue
        again = given_before.get(id(tensor))
        if again is not None:  # one tensor in several places: as in PyTorch, its gradient is that of the last one
            made[index] = again
            again.output_index = index
        elif dirty[index]:
            _rebase(home, tensor, node, index, len(outputs))
            given_before[id(tensor)] = tensor
        else:
            fresh = id(tensor) not in taken
            if not fresh or tensor.tracks:
                tensor = made[index] = apply(home, "view", (tensor,), {"shape": tensor.array.shape}, track=False)
            if tensor.base is not None:
                tensor.unfollow()  # its gradient is the node's
            tensor.node, tensor.output_index, tensor.tracks = node, index, True
            if fresh:
                given_before[id(outputs[index])] = tensor
    return made


class Deferred:
    """The backward of a node whose function somebody else has: each walk must bring what to do. See ``Backward``.

    Attributes:
        specs: shapes and types of the inputs, which are those of their gradients.
        action: what this walk brought.
        label: what a walk that waits here calls the node.
    """

    def __init__(self, name: str, specs: Sequence[Spec], materialize: bool, saves: bool, label: str | None = None) -> None:
        self.name = name
        self.label = label
        self.specs = specs
        self.materialize = materialize
        self.saves = saves
        self.action: Callable[[tuple[Any, ...]], Any] | None = None

    def run(self, gradients: tuple[Any, ...]) -> Sequence[Any]:
        """Do what this walk brought. Raises AutogradError where it brought nothing."""
        if self.action is None:
            walk = current_walk()
            ask = walk.ask if isinstance(walk, HookedWalk) else None
            if ask is not None:
                ask(self.label, gradients)
                raise MustWait(self._give)
            raise AutogradError(
                f"{self.name} runs a function that only the client has which recorded it; this backward brought nothing to do in "
                "its place. Differentiate it from there, as long as the tensors are known there; or use telegrad.local()"
            )
        found = self.action(gradients)
        if found is WAIT:
            raise MustWait(self._give)
        if not isinstance(found, tuple) or len(found) != len(self.specs):  # pyright: ignore[reportUnknownArgumentType]
            raise ArgumentValueError(f"a custom callback has one result for each of the {len(self.specs)} inputs of its node")
        results: tuple[Any, ...] = found
        for index, (gradient, spec) in enumerate(zip(results, self.specs, strict=True)):
            if gradient is not None:
                check_gradient(self.name, index, gradient, spec.shape, spec.dtype)
        return results

    def _give(self, results: Any) -> None:
        """What this walk waited for."""

        def once(_gradients: tuple[Any, ...]) -> Any:
            self.action = None
            return results

        self.action = once


def deferred_of(node: Node) -> Deferred | None:
    """What runs at a node whose function somebody else has; None for other nodes, and for one that was freed."""
    backward = node.saved[0] if node.saved and isinstance(node.plan, CustomPlan) else None
    return backward if isinstance(backward, Deferred) else None


class Block(NamedTuple):
    """The beginning of a block that may become one node.

    Attributes:
        number: no node of the block has a smaller one.
        state: of the random generator; None where it does not matter.
    """

    number: int
    state: Any

    def made(self, node: Node) -> bool:
        """Whether a node is one of the block's, and not one that a view from before it was given while it ran."""
        return node.number >= self.number and renewed.get(node, node.number) >= self.number


def begin_block(home: Engine, preserve: bool) -> Block:
    """Note where a block begins; with ``preserve``, also which random numbers it will draw."""
    return Block(sequence(), home.generator.bit_generator.state if preserve else None)


def again(home: Engine, block: Block, run: Callable[[], Any]) -> Any:
    """Run a block again, with the random numbers of the first time; later draws are what they would have been."""
    if block.state is None:
        return run()
    generator = home.generator.bit_generator
    before = generator.state
    generator.state = block.state
    try:
        return run()
    finally:
        generator.state = before


def enclose(home: Engine, block: Block, outputs: Sequence[Tensor | None]) -> tuple[list[Tensor], list[Tensor | None], str]:
    """The block between its beginning and ``outputs`` as one node would have it.

    Returns tensors for all places outside of the block that gradients go to, and the outputs without a history, None for those
    that the block did not make; and the name of the node that made the first.
    """
    boundary: dict[tuple[int, int], Tensor] = {}
    fresh: list[Tensor | None] = []
    seen: set[int] = set()
    name = ""
    todo: list[Node] = []
    for tensor in outputs:
        node = None if tensor is None or getattr(tensor, "home", None) is not home else tensor.current_node()
        if tensor is None or node is None or not block.made(node):
            fresh.append(None)
            continue
        name = name or node.name()
        todo.append(node)
        made = Tensor(home, tensor.array)
        made.version = tensor.shared_version()
        base = tensor.base
        if base is not None and (base.node is None or not block.made(base.node)):
            made.tie(base, tensor.path, recorded=False)
        fresh.append(made)
    while todo:
        node = todo.pop()
        if node.number in seen:
            continue
        seen.add(node.number)
        for target, index in zip(node.edges, node.indexes, strict=True):
            if isinstance(target, Node) and block.made(target):
                todo.append(target)
            elif (id(target), index) not in boundary:
                boundary[id(target), index] = target.stand_in(index) if isinstance(target, Node) else target
    return list(boundary.values()), fresh, name


def _rebase(home: Engine, tensor: Tensor, node: Node, index: int, count: int) -> None:
    """Give an input that was written to its new history, and its base with it."""
    if tensor.requires_grad and tensor.is_leaf:
        raise checks.leaf_written()
    if tensor.base is not None:
        if tensor.requires_grad and tensor.base.is_leaf:
            raise checks.leaf_view_written()
        checks.check_dirty_view(count)
    tensor.was_written()  # marking counts, as in PyTorch
    replace_history(home, tensor, Tensor(home, tensor.array, node, index))


def keep_output(tensor: Tensor) -> Callable[[], Tensor]:
    """What gives a tensor with the values and the history of ``tensor``, an output of a node that holds it: no reference cycle."""
    home, array, version, index = tensor.home, tensor.array, tensor.shared_version(), tensor.output_index
    node = tensor.current_node()
    reference = None if node is None else weakref.ref(node)

    def restored() -> Tensor:
        made = Tensor(home, array, None if reference is None else reference(), index)
        made.version = version
        return made

    return restored
