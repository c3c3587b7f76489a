"""Custom functions and checkpoints over remote tensors. Their backward runs here, while a backward is recorded (see ``_hooks``);
the server is told which tensors are the results of one node. No code travels.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import string
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from telegrad._autograd import name_of, rng_state, set_rng_state
from telegrad._foresight import Foresight
from telegrad._history import UNKNOWN, CustomNode, Described, End, Leaf, Node, Unknown, next_number
from telegrad._hooks import pin_before_write
from telegrad._writes import rewrite_history
from telegrad.contract import checks, watching
from telegrad.contract.commands import Attach, Set
from telegrad.contract.custom import Backward, custom_op
from telegrad.contract.errors import AutogradError
from telegrad.contract.scope import current_scope

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad._recorder import Recorder


def attach(
    home: Recorder,
    backward: Backward,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    flows: Sequence[bool],
    dirty: Sequence[bool],
) -> list[Any]:
    """Record that ``outputs`` are the results of one node; see ``BaseSession._attach``.

    Raises LeafError for a leaf that was written to, AutogradError where the history of what was is not known here.
    """
    for y, writes in zip(outputs, dirty, strict=True):
        if writes:
            _check_rewritable(home, backward.name, y, len(outputs))
            if home.hooked and home.waits:
                pin_before_write(y)
            name: str = y._name
            root = home.roots.get(name, name)
            home.written[root] = home.written.get(root, 0) + 1  # marking counts, as in PyTorch
    names = [name_of(home, x, f"argument {i}") for i, x in enumerate(inputs)]
    edges: list[tuple[int, Any, int]] = []
    for position, x in enumerate(inputs):
        history = x.history()
        if history is not None:
            index = 0 if x._extra is None else x._extra.index
            edges.append((position, history, index))
            home.blocks.note(x, history, index)
    specs = tuple([None if y is None else y._spec for y in outputs])
    types = tuple([None if y is None else y.known_dtype() for y in outputs])
    positions = tuple([position for position, _, _ in edges])
    plan = Foresight(custom_op(backward.name), specs, types, positions, in_place=False, alive=home.hooked)
    plan.single = len(specs) == 1
    node = CustomNode(plan, edges, len(inputs), backward)
    if watching.watchers and watching.is_anomaly_enabled():
        node.hooks_here().stack = watching.users_stack()
    label = home.name()
    home.customs[label] = node
    made, sent, flows = _placed(inputs, outputs, flows, dirty)
    for index, y in enumerate(made):
        if y is not None and flows[index]:
            extra = y._extra
            if extra is not None and dirty[index] and extra.base is not None:
                rewrite_history(y, node)
                continue
            if extra is not None:
                extra.base = None  # a view in memory only, see ``roots``; its history is the node's
                extra.generation += dirty[index]
                extra.index = index
            elif index or dirty[index]:
                extra = y.extra()
                extra.generation += dirty[index]  # its views have another history now
                extra.index = index
            y._node = node
    command = Attach(
        backward.name,
        tuple(names),
        tuple([None if y is None else name_of(home, y, "output") for y in sent]),
        tuple([i for i, flow in enumerate(flows) if not flow]),
        backward.materialize,
        backward.saves,
        current_scope(),
        tuple([i for i, (flow, writes) in enumerate(zip(flows, dirty, strict=True)) if flow and writes]),
        label,
    )
    home.record(command, touches=tuple([y for y, flow in zip(made, flows, strict=True) if flow]))
    return made


def _placed(
    inputs: Sequence[Any], outputs: Sequence[Any], flows: Sequence[bool], dirty: Sequence[bool]
) -> tuple[list[Any], list[Any], list[bool]]:
    """The outputs as they are given back, as the server is told them, and from which of these gradients come.

    An input that is given back as it is becomes a view. One tensor in several places gets the gradient of the last one: the server
    is told of copies in the others.
    """
    given = {id(x) for x in inputs}
    made, sent, flowing = list(outputs), list(outputs), list(flows)
    places: dict[int, int] = {}
    for index, y in enumerate(outputs):
        if y is None or not flows[index]:
            continue
        if dirty[index] or id(y) not in given:
            before = places.get(id(y))
            if before is not None:
                sent[before], flowing[before], made[index] = _apart(y), False, made[before]
            places[id(y)] = index
        if not dirty[index] and made[index] is y and (id(y) in given or y.history() is not None):
            made[index] = y._apply("view", y, shape=tuple(y.shape))
        sent[index] = made[index]
    return made, sent, flowing


def _check_rewritable(home: Recorder, name: str, tensor: Any, outputs: int) -> None:
    """Refuse to give a tensor that was written to a new history where that is impossible."""
    history = tensor.history()
    if isinstance(history, Unknown) and home.waits:
        _ = tensor.grad_fn  # which is refused for views that cannot be written
        history = tensor.history()
    if isinstance(history, Unknown):
        raise AutogradError(
            f"{name}: mark_dirty of a tensor whose history only the server knows (one found by its name, say) is not possible for "
            "remote tensors. Return a new tensor, or use telegrad.local()"
        )
    if isinstance(history, Leaf) and not isinstance(history, End):
        raise checks.leaf_written()
    base = None if tensor._extra is None else tensor._extra.base
    if base is not None:
        if history is not None and isinstance(base.history(), Leaf):
            raise checks.leaf_view_written()
        checks.check_dirty_view(outputs)


def _apart(tensor: Handle) -> Any:
    """The same values as another tensor without history; to be called while nothing is recorded."""
    return tensor._apply("detach", tensor)


def keep_output(home: Recorder, tensor: Any) -> Callable[[], Any]:
    """What gives ``tensor`` again, and does not keep its node alive here; see ``BaseSession._keep_output``."""
    index = 0 if tensor._extra is None else tensor._extra.index
    node = tensor.history()
    reference = weakref.ref(node) if isinstance(node, CustomNode) else None
    kept = _second_name(home, tensor)

    def restored() -> Any:
        made = _second_name(home, kept)
        made._node = UNKNOWN if reference is None else reference()
        if index:
            made.extra().index = index
        return made

    return restored


def _second_name(home: Recorder, tensor: Any) -> Any:
    """Another handle of the same tensor, that knows nothing of its history."""
    made = home.tensor_class(home, home.name(), tensor._spec, None)
    if tensor._spec is None:
        made.extra().dtype = tensor.known_dtype()
    name: str = tensor._name
    home.roots[made._name] = home.roots.get(name, name)
    home.record(Set(name, name=made._name))
    return made


def written(home: Recorder, tensor: Handle) -> int:
    """How often the tensor's memory was changed by this client."""
    return home.written.get(home.roots.get(tensor._name, tensor._name), 0)


class Block:
    """A checkpoint's block, from its beginning on: which tensors its ops are given."""

    def __init__(self, home: Recorder, preserve: bool) -> None:
        self._home = home
        self._state: Handle | None = None
        if preserve:
            home.undrawn.append(self._keep_state)
        self._outer = home.blocks.here()
        self._given: dict[tuple[Any, int], Handle] = {}
        self._number = next_number()
        self._first = home.name()
        home.blocks.enter(self._given)

    def leave(self) -> None:
        """The block is over, or has failed."""
        self._home.blocks.enter(self._outer)
        if self._keep_state in self._home.undrawn:
            self._home.undrawn.remove(self._keep_state)
        if self._outer is not None:
            self._outer.update(self._given)

    def end(self) -> Callable[[Callable[[], Any]], Any]:
        """The block has ended; what runs it again, with the random numbers of the first time."""
        home, state = self._home, self._state

        def again(run: Callable[[], Any]) -> Any:
            if state is None:
                return run()
            before = rng_state(home)
            set_rng_state(home, state)
            try:
                return run()
            finally:
                set_rng_state(home, before)

        return again

    def _keep_state(self) -> None:
        """The block is about to draw for the first time."""
        self._state = rng_state(self._home)

    def enclose(self, outputs: Sequence[Any]) -> tuple[Sequence[Any], list[Any], str]:
        """See ``BaseSession._enclose``. Raises TraceError where a trace cannot know whether an output has a history.

        The places outside come in the order in which the block used them first. Where gradients go to something that only the
        server knows, that may lead to any tensor from before the block that this used: all of those are places outside.
        """
        reached: set[tuple[Any, int]] = set()
        hidden = False
        fresh: list[Any] = []
        name = ""
        seen: set[int] = set()
        todo: list[Node] = []
        for y in outputs:
            if not self._home.is_ours(y) or not self._has_history(y):
                fresh.append(None)
                continue
            history = y.history()
            name = name or history.name()
            if isinstance(history, Node):
                todo.append(history)
            else:
                hidden = True
            fresh.append(_apart(y))
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            for _, target, index in node.edges:
                if isinstance(target, Node) and target.number >= self._number:
                    todo.append(target)
                elif isinstance(target, (Unknown, Described)):
                    hidden = True
                else:
                    reached.add((id(target), index))
        boundary = [x for at, x in self._given.items() if at in reached or (hidden and not self._is_made(x))]
        return boundary, fresh, name

    def _has_history(self, output: Any) -> bool:
        """Whether the block made an output, and not without a history."""
        if isinstance(output.history(), Unknown) and self._is_made(output):
            if not self._home.waits:
                raise self._home.cannot_ask(  # whoever has checkpoints and cannot wait is a trace
                    "what made a result of this checkpoint's block (a tensor changed through a view, or a gradient with a history) "
                    "is not known while it is traced; call the block without a checkpoint there, or the function untraced"
                )
            _ = output.grad_fn  # asks
        history = output.history()
        if isinstance(history, Node):
            return history.number >= self._number
        return isinstance(history, Described) and self._is_made(output)

    def _is_made(self, tensor: Handle) -> bool:
        """Whether a handle was made in the block, and not by a name: from the numbers that this client's names end in."""
        history = tensor.history()
        if isinstance(history, Unknown) and history.sources is None:
            return False
        (stem, number), (ours, first) = _parts(tensor._name), _parts(self._first)
        return stem == ours and number > first


def _parts(name: str) -> tuple[str, int]:
    """A name without the number that it ends in, and that number; 0 for none."""
    stem = name.rstrip(string.digits)
    return stem, int(name[len(stem) :] or 0)
