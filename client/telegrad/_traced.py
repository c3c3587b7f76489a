"""A traced program, and what running it means for handles of a remote session."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from telegrad._handle import Handle
from telegrad._history import PRESENT, UNKNOWN, CustomNode, Leaf, Node, Unknown
from telegrad._queue import GRAD_SUFFIX, Reply, references_of_command, to_raise
from telegrad._reach import Reach
from telegrad._reading import Ahead, ask_along, keep
from telegrad._run_history import Instance, RunNode
from telegrad.contract.command_fields import decode_command, encode_command
from telegrad.contract.commands import Backward, Command, Grad, Run
from telegrad.contract.errors import TelegradError, TraceError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import Spec
from telegrad.contract.programs import as_message, content_id
from telegrad.contract.tracing import INFERENCE, LEAF, RECORDED, VIEW, Many, Programs, Runs

if TYPE_CHECKING:
    from telegrad._recorder import Recorder
    from telegrad._trace import Hole, Tracing
    from telegrad.contract.hooks import Hooks

_SAME: Final = object()
"""In the place of what a run leaves as it is."""


class Output:
    """A tensor that a run gives out.

    Attributes:
        name: in the program.
        spec, dtype: as known from the trace.
        history: the trace's.
        index: which output of its node it is.
        base: for a view, a hole or output: the number of the hole, or -1 - the number of the output.
        root: whose memory it shares, likewise; None if nobody's that is known outside.
        accumulated: whether it is the accumulated gradient of a leaf.
        inference: whether it was made in inference mode.
    """

    __slots__ = ("accumulated", "base", "dtype", "history", "index", "inference", "name", "root", "spec")

    def __init__(self, twin: Handle) -> None:
        self.name = twin._name
        self.spec = twin._spec
        self.dtype = twin.known_dtype()
        self.history = twin.history()
        self.index = 0 if twin._extra is None else twin._extra.index
        self.accumulated = twin._name in twin._home.gradients
        self.inference = twin.is_inference()
        self.base: int | None = None
        self.root: int | None = None


class Change:
    """What a run does to a tensor that it was given.

    Attributes:
        hole: its number.
        wrote: whether its memory was written to.
        history: its history afterwards; ``_SAME`` where that does not change.
        index: which output of that history it is.
        generations: how often its history was replaced.
        spec: its shape and type afterwards; ``_SAME`` where they do not change.
        gradient: what is known of its gradient: ``_SAME``, None, PRESENT, UNKNOWN, or the number of an output.
        recorded: whether that may carry history.
    """

    __slots__ = ("generations", "gradient", "history", "hole", "index", "recorded", "spec", "wrote")

    def __init__(self, number: int, hole: Hole, tracing: Tracing, outputs: Mapping[str, int]) -> None:
        recorder, twin = tracing.recorder, hole.twin
        extra, leaf = twin.extra(), twin.extra().leaf
        self.hole = number
        self.wrote = recorder.roots.get(twin._name, twin._name) in recorder.written
        now = twin.history()
        self.history: Any = _SAME if now is hole.history else now
        self.index = extra.index
        self.generations = extra.generation
        self.spec: Any = _SAME if twin._spec == hole.signature[0] else twin._spec
        gradient: Any = leaf.gradient if leaf.epoch == recorder.grad_epoch else UNKNOWN
        self.recorded = leaf.recorded
        if leaf.kept and (gradient is not None) == hole.had_gradient and gradient is not UNKNOWN:
            # Unless others may have got gradients, of which nothing is known then.
            gradient = _SAME if recorder.grad_epoch == 0 else PRESENT if hole.had_gradient else None
        elif isinstance(gradient, Handle):
            gradient = outputs.get(gradient._name, PRESENT)
        self.gradient: Any = gradient

    def keeps(self, had_gradient: bool | None) -> bool:
        """Whether a trace that held before the run holds after it, as far as this tensor goes; ``had_gradient``: see ``Source``."""
        if self.history is not _SAME or self.spec is not _SAME:
            return False
        if had_gradient is None or self.gradient is _SAME:
            return True
        return self.gradient is not UNKNOWN and (self.gradient is not None) is had_gradient

    @property
    def anything(self) -> bool:
        """Whether there is a change at all."""
        return self.wrote or self.generations > 0 or any(x is not _SAME for x in (self.history, self.spec, self.gradient))


class Traced:
    """A traced program.

    Attributes:
        id: its content hash.
        commands: what it does.
        holes: what came into the trace: first arguments, then captured tensors, and what any of these is a view of.
        inputs: of those that the program names, the position among the holes. What it only asked for its shape, or for what it is
            a view of, is none.
        outputs: the names of the tensors to give out.
        places: of each command, the line that recorded it.
        walks: whether it has a backward.
        differentiates: whether it has a backward or a grad.
        given: what is known of the outputs.
        changes: what it does to the tensors that it is given.
        leaves: of inputs that are leaves, or become some: the identity of the trace's leaf, and the input's number.
        recorded: whether it gives out, or changes, any history.
    """

    def __init__(self, tracing: Tracing, returned: Sequence[Any]) -> None:
        """Take over what ``tracing`` recorded; ``returned`` are the tensors of the trace that are to be given out."""
        recorder = tracing.recorder
        holes = list(tracing.holes.values())
        number_of = {hole.twin._name: number for number, hole in enumerate(holes)}
        given: list[Output] = []
        numbers: dict[str, int] = {}
        todo = list(returned)
        while todo:  # a base that is given out may have no base of its own, so that this ends
            twin = todo.pop(0)
            if twin._name in number_of or twin._name in numbers:
                continue
            numbers[twin._name] = len(given)
            given.append(Output(twin))
            base = None if twin._extra is None else twin._extra.base
            if base is not None:
                todo.append(base)
        handles = {twin._name: twin for twin in _with_bases(returned)}
        found_at = number_of | {name: -1 - number for name, number in numbers.items()}
        for output in given:
            extra = handles[output.name]._extra
            if extra is not None and extra.base is not None:
                output.base = found_at[extra.base._name]
            root = recorder.roots.get(output.name)
            output.root = None if root is None else found_at.get(root)
        self.given: Final = tuple(given)
        found = [Change(number, hole, tracing, numbers) for number, hole in enumerate(holes)]
        self.changes: Final = tuple([change for change in found if change.anything])
        self.asked: Final = tuple([hole.twin.extra().leaf.asked for hole in holes])
        self.first = tracing.first
        self.epochs: Final = recorder.grad_epoch
        self.leaves: Final = tuple(
            [
                (id(hole.twin._extra.leaf), number)
                for number, hole in enumerate(holes)
                if hole.signature[1] & LEAF or isinstance(hole.twin._node, Leaf)
            ]
        )
        self.recorded: Final = any(o.history is not None for o in given) or any(c.history is not _SAME for c in found)
        self.kept: Final = holes  # what the histories of outputs refer to by identity
        commands, places = tracing.end()
        self.places: Final = tuple(places)
        self.commands: Final[tuple[Command, ...]] = tuple(
            [decode_command(encode_command(command)) for command in commands]
        )  # as the server will have them
        self.holes: Final = tuple(number_of)
        self.outputs: Final = tuple(numbers)
        named = {twin._name for twin in returned} | set(self.outputs)
        named.update([reference for command in self.commands for reference in references_of_command(command)])
        named = {reference.removesuffix(GRAD_SUFFIX) for reference in named}
        self.inputs: Final = {name: number for name, number in number_of.items() if name in named}
        self.message: Final = as_message(self.commands, tuple(self.inputs))
        self.id: Final = content_id(self.message)
        self.walks: Final = any(isinstance(command, Backward) for command in self.commands)
        self.differentiates: Final = any(isinstance(command, (Backward, Grad)) for command in self.commands)

    def explain(self, error: Any) -> None:
        """Note the line of the traced function that an error came from, if it says which command failed."""
        number = error.extra.get("command")
        if type(number) is int and 0 <= number < len(self.places):
            error.add_note(self.places[number])


def _with_bases(twins: Sequence[Any]) -> list[Any]:
    return [*twins, *[t._extra.base for t in twins if t._extra is not None and t._extra.base is not None]]


# Running on a server ---------------------------------------------------------------------------------------------------------


def record_run(home: Recorder, traced: Traced, bound: Sequence[Any], many: Many | None = None) -> RecordedRuns:
    """Record a run, or many: handles for what the last one gives out; and the tensors that it changes are known as they will be."""
    home.admit()
    for x in bound:
        if home.attention:
            home.check((x,))
    if home.hooked and traced.differentiates:
        _refuse_hooks(bound)
    outside: dict[str, tuple[Any, int]] = {}
    leaves: dict[int, Leaf] = {}
    if traced.recorded:
        for hole, x in zip(traced.holes, bound, strict=True):
            history = x.history()
            if history is not None and not isinstance(history, Leaf):
                outside[hole] = (history, 0 if x._extra is None else x._extra.index)
        leaves = {leaf: bound[number].leaf() for leaf, number in traced.leaves}
    run = Instance(home, traced.first, outside, leaves)
    made = [_handle(home, output, run) for output in traced.given]

    def at(place: int) -> Any:
        return bound[place] if place >= 0 else made[-1 - place]

    for output, handle in zip(traced.given, made, strict=True):
        if output.root is not None:
            root: str = at(output.root)._name
            home.roots[handle._name] = home.roots.get(root, root)
        if output.base is not None:
            extra = handle.extra()
            extra.base = at(output.base)
            extra.base_generation = extra.base.extra().generation
    touched = _apply_changes(home, traced, bound, made, run)
    each: Mapping[int, Any] = {} if many is None else many.each
    stacked = [] if many is None else [_stack(home, traced, bound, reference, many.times) for reference in many.collect]
    command = Run(
        traced.id,
        inputs={hole: bound[number]._name for hole, number in traced.inputs.items() if number not in each},
        each={hole: each[number]._name for hole, number in traced.inputs.items() if number in each},
        outputs={output.name: handle._name for output, handle in zip(traced.given, made, strict=True)},
        collect={} if many is None else {r: handle._name for r, handle in zip(many.collect, stacked, strict=True)},
        times=None if many is None else many.times,
        seconds=None if many is None else many.seconds,
        grad_enabled=not each or is_grad_enabled(),
    )
    if traced.id not in home.stored:
        home.unstored[traced.id] = traced
    reply = None if many is None else Reply()
    home.record(command, touches=touched, program=traced, many=many, reply=reply, depth=2)
    graded = [bound[change.hole].leaf() for change in traced.changes if type(change.gradient) is int]
    return RecordedRuns(home, made, stacked, reply, graded, ask_along(home, stacked))


def _stack(home: Recorder, traced: Traced, bound: Sequence[Any], reference: str, times: int) -> Any:
    """A handle for the values of many runs."""
    found: Any = next((o for o in traced.given if o.name == reference), None)
    spec = bound[traced.inputs[reference]]._spec if found is None else found.spec
    handle = home.tensor_class(home, home.name(), None if spec is None else Spec((times, *spec.shape), spec.dtype), None)
    if spec is None and found is not None:
        handle.extra().dtype = found.dtype
    return handle


class RecordedRuns(Runs):
    """Runs that were recorded, and are done when the session is flushed."""

    def __init__(
        self,
        home: Recorder,
        made: Sequence[Any],
        stacked: Sequence[Any],
        reply: Reply | None,
        graded: Sequence[Leaf],
        ahead: Sequence[Ahead],
    ) -> None:
        """Wait.

        Args:
            home: of the session.
            made: see ``Runs``.
            stacked: see ``Runs``.
            reply: what comes of many runs.
            graded: leaves whose gradient the last run is to give out.
            ahead: values that come with the answer.
        """
        self.made: Sequence[Any] | None = made
        self.stacked = stacked
        self._home = home
        self._reply = reply
        self._graded = graded
        self._ahead = ahead
        self._writes = home.writes

    def finish(self) -> TelegradError | None:
        """See ``Runs.finish``."""
        keep(self._ahead, self._writes)
        reply = self._reply
        if reply is None or reply.error is None:
            return None
        error = reply.error
        if not isinstance(error, TelegradError):
            raise error
        self.made = None
        count = error.extra.get("run", 0)
        for leaf in self._graded:
            if isinstance(leaf.at(self._home.grad_epoch), Handle):
                leaf.settle(PRESENT, self._home.grad_epoch)
        for handle in self.stacked if count else ():  # they are there, with fewer rows
            self._home.failed.pop(handle._name, None)
            if handle._spec is not None:
                handle._spec = Spec((count, *handle._spec.shape[1:]), handle._spec.dtype)
        self.stacked = self.stacked if count else ()
        return to_raise(error)


def _refuse_hooks(bound: Sequence[Any]) -> None:
    """Refuse to differentiate through hooks and custom functions that were made outside: the trace has not seen them.

    Hooks of leaves that come in it has: they are called with the trace.
    """
    outside = [x.history() for x in bound if x.history() is not None and not isinstance(x.history(), Leaf)]
    reach = Reach(outside)
    given = {id(x.history()) for x in bound}
    met = [t for t in (*reach.nodes.values(), *reach.leaves.values()) if id(t) not in given or not isinstance(t, Leaf)]
    if any(isinstance(t, CustomNode) or getattr(t, "hooks", None) for t in met):
        raise TraceError(
            "this traced function differentiates through a hook or custom function recorded outside of it, which is called "
            "where it was recorded: call the function untraced, give it detached tensors, or record what has the hook inside"
        )


def _handle(home: Recorder, output: Output, run: Instance) -> Any:
    """A handle for what a run gives out."""
    history, index = output.history, output.index
    if history is not None and not isinstance(history, Unknown):
        history, index = run.target(history, index)
    elif history is not None:
        history = UNKNOWN
    handle = home.tensor_class(home, home.name(), output.spec, history)
    if output.spec is None:
        handle.extra().dtype = output.dtype
    if index:
        handle.extra().index = index
    if isinstance(history, Leaf):
        handle.extra().leaf = history
    if output.inference:
        handle.extra().inference = True
    if output.accumulated:
        home.gradients.add(handle._name)
    if output.spec is not None and not output.spec.shape:
        home.numbers.give(handle)
    return handle


def _apply_changes(home: Recorder, traced: Traced, bound: Sequence[Any], made: Sequence[Any], run: Instance) -> tuple[Any, ...]:
    """Know of the tensors what the run does to them; all that was changed."""
    if traced.epochs:
        home.grad_epoch += 1  # leaves that only the server knows may get gradients
    if traced.walks or traced.changes:
        home.writes += 1
    touched: list[Any] = []
    for change in traced.changes:
        x: Any = bound[change.hole]
        touched.append(x)
        if change.wrote:
            name: str = x._name
            root = home.roots.get(name, name)
            home.written[root] = home.written.get(root, 0) + 1
        if change.spec is not _SAME:
            x._spec = change.spec
        if change.generations:
            x.extra().generation += change.generations
            if x._extra.base is not None:
                x._extra.base_generation = x._extra.base.extra().generation
        if change.history is not _SAME:
            _set_history(home, x, change, run)
        if change.gradient is not _SAME:
            leaf = x.leaf()
            touched.append(leaf)
            gradient = made[change.gradient] if type(change.gradient) is int else change.gradient
            leaf.settle(gradient, home.grad_epoch, recorded=change.recorded)
    return tuple(touched)


def _set_history(home: Recorder, x: Any, change: Change, run: Instance) -> None:
    history, extra = change.history, x.extra()
    if history is None:
        x._node = None
        home.leaves.pop(x._name, None)
    elif isinstance(history, Leaf):
        x.start_requiring()
    elif isinstance(history, (Node, RunNode)):
        x._node, extra.index = run.target(history, change.index)
    else:
        x._node = UNKNOWN


class RecordedPrograms(Programs):
    """What a session on a server does for traced functions."""

    def __init__(self, home: Recorder) -> None:
        self._home = home

    @property
    def most_runs(self) -> int:
        """See ``Programs.most_runs``: what the server permits."""
        return self._home.most_runs

    def signature(self, tensor: Any) -> tuple[Spec, int]:
        """See ``Programs.signature``; asks the server for what is not known here."""
        spec = tensor._spec
        if spec is None:
            tensor.resolve_shape()
            spec = tensor._spec
        history = tensor.history()
        if isinstance(history, Unknown):
            told = tensor.resolve_history()
            kind = 0 if not told["requires_grad"] else LEAF if told["is_leaf"] else RECORDED
        else:
            kind = 0 if history is None else LEAF if isinstance(history, Leaf) else RECORDED
        extra = tensor._extra
        if extra is None:
            return spec, kind
        return spec, kind | (0 if extra.base is None else VIEW) | (INFERENCE if extra.inference else 0)

    def node_name(self, tensor: Any) -> str:
        """See ``Programs.node_name``."""
        history = tensor.history()
        name: str = tensor.resolve_history()["grad_fn"] if isinstance(history, Unknown) else history.name()
        return name

    def base(self, tensor: Any) -> Any:
        """See ``Programs.base``."""
        return None if tensor._extra is None else tensor._extra.base

    def has_gradient(self, tensor: Any) -> bool:
        """See ``Programs.has_gradient``; asks the server if it is not known here."""
        extra = tensor._extra
        others = extra is not None and extra.asks
        if not others and (extra is None or extra.leaf is None):
            return False
        if others or self._gradient(tensor) is UNKNOWN:
            self._home.session.resolve_grads(tensor)
        return self._gradient(tensor) is not None

    def _gradient(self, tensor: Any) -> Any:
        return tensor.leaf().at(self._home.grad_epoch)

    def hooks(self, tensor: Any) -> Hooks | None:
        """See ``Programs.hooks``."""
        extra = tensor._extra
        found = None if extra is None or extra.leaf is None else getattr(extra.leaf, "hooks", None)
        return found or None

    def forget(self, traced: Any) -> None:
        """See ``Programs.forget``: the server forgets it too, when it is next given a program."""
        if traced.id in self._home.stored:
            self._home.stored.discard(traced.id)
            self._home.dropped.append(traced.id)

    def run(self, traced: Any, bound: Sequence[Any]) -> Sequence[Any]:
        """See ``Programs.run``: recorded with the rest, so that the next batch is recorded while this one is computed."""
        return cast("Sequence[Any]", record_run(self._home, traced, bound).made)

    def run_many(self, traced: Any, bound: Sequence[Any], many: Many) -> Runs:
        """See ``Programs.run_many``: recorded like a single run, and followed when it is sent."""
        return record_run(self._home, traced, bound, many)

    def stop(self, run_id: str) -> None:
        """See ``Programs.stop``."""
        self._home.session.stop_run(run_id)
