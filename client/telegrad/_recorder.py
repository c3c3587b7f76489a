"""The queue of a remote session: what was recorded, what each handle knows, and what a failure means for the rest. No I/O.

Recording costs microseconds: an op becomes a tuple, JSON is made when the batch leaves. Adding to the queue takes no lock (a deque appends
atomically), so threads may record at the same time; a batch takes what is there when it leaves.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sys
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from telegrad import _defaults
from telegrad._history import UNKNOWN, Leaf, Node
from telegrad._queue import Recorded, Reply
from telegrad.contract import checks
from telegrad.contract.commands import Command, Read, Release
from telegrad.contract.errors import DependentError, SessionClosedError, SessionError, TelegradError, UnknownOpError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import OPS, Op, Spec, UnknownShape, find

if TYPE_CHECKING:
    from telegrad._handle import Handle

_OURS: Final = str(Path(__file__).parent) + os.sep
_files: dict[str, bool] = {}
"""Which source files are telegrad's own, so that errors name the line of the user's file that called it."""


def users_frame(frame: FrameType) -> FrameType:
    """The innermost frame outside telegrad, from ``frame`` on."""
    while True:
        filename = frame.f_code.co_filename
        ours = _files.get(filename)
        if ours is None:
            ours = _files[filename] = filename.startswith(_OURS)
        outer = frame.f_back
        if not ours or outer is None:
            return frame
        frame = outer


def users_place(depth: int) -> tuple[CodeType, int]:
    """Code object and instruction of the user's call; the line is worked out only when an error needs it."""
    frame = users_frame(sys._getframe(depth))
    return frame.f_code, frame.f_lasti


def returns_tuple(row: Op) -> bool:
    """Whether the op returns several tensors, or a number of them that depends on shapes."""
    return len(row.outputs) > 1 or str(row.function.__annotations__.get("return", "")).startswith("tuple")


class Foresight:
    """What is known of an op's call from shapes, types and parameters alone; remembered per such call.

    Attributes:
        row: the op.
        outputs: the Spec of each; None where the shape depends on values, or on an input whose shape does.
        types: the element type of each output; None where unknown.
        spec, simple: of the usual kind, one output of known shape and no view, its Spec.
        single: whether the op returns a tensor and not a tuple.
        positions: of tensor inputs that gradients flow to.
    """

    __slots__ = ("outputs", "positions", "row", "simple", "single", "spec", "types")

    def __init__(self, row: Op, outputs: tuple[Spec | None, ...], types: tuple[Any, ...], positions: tuple[int, ...]) -> None:
        self.row = row
        self.outputs = outputs
        self.types = types
        self.single = not returns_tuple(row)
        self.positions = positions
        self.spec = outputs[0] if len(outputs) == 1 else None
        self.simple = self.single and self.spec is not None and not row.view
        if self.simple and self.spec is not None and not self.spec.dtype.is_differentiable:
            self.positions = ()


class Recorder:
    """What the tensors of one remote session share.

    Attributes:
        session: the session they answer to.
        queue: what was recorded and not sent.
        released: names of collected handles.
        failed: names that no tensor has, because the command that would have made it failed; with the first failure.
        roots: from a view's name to the name of the tensor whose memory it shares.
        gradients: names given to accumulated gradients.
        unmade: names of handles that turned out to name nothing.
        leaves: handles that require grad, by name.
        writes: counts recorded in-place changes and backwards; a value read before the last one is not shown again.
        grad_epoch: counts events after which no gradient is known to be absent or the same.
        shared: other clients may change this session's tensors, so that no value is kept.
        attention: closed, forked or with failed handles: the next record looks closer.
    """

    def __init__(self, tensor_class: type[Handle], session: Any, wake: Callable[[int], None], limit: int) -> None:
        """Start empty.

        Args:
            tensor_class: what handles are.
            session: the session.
            wake: called with the queue's length when it was empty before and when it has reached ``limit``.
            limit: see ``wake``.
        """
        self.tensor_class = tensor_class
        self.session = session
        self.queue: deque[Any] = deque()
        self.released: deque[str] = deque()
        self.failed: dict[str, TelegradError] = {}
        self.roots: dict[str, str] = {}
        self.gradients: set[str] = set()
        self.unmade: set[str] = set()
        self.leaves: dict[str, weakref.ref[Handle]] = {}
        self.writes = 0
        self.grad_epoch = 0
        self.shared = False
        self.closed = False
        self.attention = False
        self.queued_bytes = 0
        self.process = os.getpid()
        self._prefix = f"c{secrets.token_hex(4)}."
        self._next = itertools.count(1).__next__
        self._wake = wake
        self._limit = limit
        self._rules: dict[Any, Foresight] = {}

    # Recording ---------------------------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A name that no other tensor of the session has."""
        return f"{self._prefix}{self._next()}"

    def apply(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """Record one op; see ``TensorBase._apply``. The hot path: every attribute access counts."""
        if self.attention:
            self.check(inputs)
        cls = self.tensor_class
        key: list[Any] = [op]
        names: list[Any] = []
        known = True
        for x in inputs:
            if x.__class__ is cls and x._home is self:
                names.append(x._name)
                spec = x._spec
                key.append(spec)
                if spec is None:
                    known = False
            else:
                names.append(x)
                key.append(x.__class__)
                key.append(x)
        if parameters:
            known = known and _add_parameters(key, parameters)
        plan: Foresight | None = None
        if known:
            signature = tuple(key)
            try:
                plan = self._rules.get(signature)
            except TypeError:  # an input that cannot be hashed is refused below, a slice is not remembered
                known = False
        if plan is None:
            if op.endswith("_") and op not in OPS:
                return self._apply_in_place(op[:-1], inputs, names, parameters)
            plan = self.foresee(find(op), inputs, parameters)
            if known:
                self._remember(signature, plan)  # pyright: ignore[reportPossiblyUnboundVariable]
        grad = is_grad_enabled()
        node: Any = None
        if grad:
            for position in plan.positions:
                x = inputs[position]
                if x._node is not None or x._extra is not None:
                    node = self.link(plan.row, plan.positions, inputs)
                    break
        if not plan.simple:
            return self._several(plan, op, inputs, names, parameters, grad, node)
        name = f"{self._prefix}{self._next()}"
        made = cls(self, name, plan.spec, node)
        frame = sys._getframe(3)  # apply, _apply, the op's method, its caller
        if _files.get(frame.f_code.co_filename, True):
            frame = users_frame(frame)
        queue = self.queue
        queue.append((op, names, parameters, (name,), grad, frame.f_code, frame.f_lasti))
        count = len(queue)
        if count == 1 or count >= self._limit:
            self._wake(count)
        if len(self.released) > _defaults.RELEASE_NAMES:
            self.release()
        return made

    def _remember(self, key: Any, plan: Foresight) -> None:
        if len(self._rules) >= _defaults.REMEMBERED_RULES:
            self._rules.clear()
        self._rules[key] = plan

    def foresee(self, row: Op, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Foresight:
        """Check the call and run the op's rule. Raises what the computation would raise for these shapes, types and parameters."""
        checks.check_inputs(row, inputs, self.is_ours)
        full = row.complete(parameters)
        cls = self.tensor_class
        specs = [x._spec if isinstance(x, cls) else x for x in inputs]
        last = len(row.inputs) - 1
        positions = tuple(
            [i for i, x in enumerate(inputs) if isinstance(x, cls) and row.inputs[min(i, last)].name in row.differentiable]
        )
        if any(isinstance(x, cls) and x._spec is None for x in inputs):
            count = len(row.outputs)
            return Foresight(row, (None,) * count, (None,) * count, positions)
        try:
            outcome = row.rule(specs, full)
        except UnknownShape as signal:
            return Foresight(row, (None,) * len(signal.dtypes), signal.dtypes, positions)
        return Foresight(row, outcome.outputs, tuple([o.dtype for o in outcome.outputs]), positions)

    def is_ours(self, tensor: Any) -> bool:
        """Whether a tensor lives in this session."""
        return isinstance(tensor, self.tensor_class) and tensor._home is self

    def link(self, row: Op, positions: Sequence[int], inputs: Sequence[Any]) -> Any:
        """The history that a recorded op gives its outputs."""
        edges: list[tuple[int, Any, int]] = []
        certain = False
        for position in positions:
            x = inputs[position]
            history = x._node if x._extra is None else x.history()
            if history is not None:
                if history is not UNKNOWN:
                    certain = True
                edges.append((position, history, 0 if x._extra is None else x._extra.index))
        if not edges:
            return None
        # An input that may or may not require grad decides only where no other one surely does.
        return Node(row, tuple(edges)) if certain else UNKNOWN

    def _several(
        self,
        plan: Foresight,
        op: str,
        inputs: tuple[Any, ...],
        names: list[Any],
        parameters: dict[str, Any],
        grad: bool,
        node: Any,
    ) -> Any:
        """Outputs in a number, of a shape, or with a memory that the hot path does not serve."""
        row = plan.row
        if not plan.single and len(row.outputs) == 1 and plan.outputs == (None,):
            # How many outputs there are depends on a shape that only the server knows.
            inputs[0].resolve_shape()
            plan = self.foresee(row, inputs, parameters)
        made: list[Any] = []
        for index, (spec, dtype) in enumerate(zip(plan.outputs, plan.types, strict=True)):
            history = node
            if dtype is None:
                history = None if node is None else UNKNOWN
            elif not dtype.is_differentiable:
                history = None
            output = self.tensor_class(self, self.name(), spec, history)
            if spec is None:
                output.extra().dtype = dtype
            if index:
                output.extra().index = index
            if row.view:
                output.link_view(inputs[0], keeps_history=row.name != "detach")
            made.append(output)
        self.put((op, names, parameters, tuple([m._name for m in made]), grad, *users_place(2)))
        return made[0] if plan.single else tuple(made)

    def _apply_in_place(self, name: str, inputs: tuple[Any, ...], names: list[Any], parameters: dict[str, Any]) -> Any:
        row = find(name)
        if not row.inplace:
            raise UnknownOpError(f"there is no op {name}_")
        plan = self.foresee(row, inputs, parameters)
        target = inputs[0]
        if not isinstance(target, self.tensor_class):
            raise checks.in_place_target(name, target)
        grad = is_grad_enabled()
        history = target.history()
        view = target._extra is not None and target._extra.base is not None
        if grad and isinstance(history, Leaf) and not view:
            raise checks.leaf_in_place()
        spec = plan.outputs[0]
        if spec is not None and target._spec is not None:
            checks.check_in_place_result(spec, target._spec)
        place = users_place(2)
        if grad and (history is not None or view or self.link(row, plan.positions, inputs) is not None):
            self._rewrite_history(target, row, plan, inputs, view)
        self.writes += 1
        self.put(Recorded(None, *place, touches=(target,), applied=(name + "_", names, parameters, (), grad)))
        return target

    def _rewrite_history(self, target: Any, row: Op, plan: Foresight, inputs: tuple[Any, ...], view: bool) -> None:
        """What an in-place change does to the history of the target, of its base and of its other views."""
        surely_recorded = (
            not view
            and "self" in row.differentiable
            and plan.types[0] is not None
            and plan.types[0] is target.known_dtype()
            and target._node is not UNKNOWN
        )
        node = self.link(row, plan.positions, inputs) if surely_recorded else UNKNOWN
        target._node = node
        extra = target.extra()
        extra.generation += 1
        extra.index = 0
        if view:
            base = extra.base
            base._node = UNKNOWN
            base.extra().generation += 1
            extra.base_generation = -1

    # Commands other than ops -------------------------------------------------------------------------------------------------

    def record(
        self,
        command: Command,
        *,
        touches: tuple[Any, ...] = (),
        array: Any = None,
        reply: Reply | None = None,
        depth: int = 2,
    ) -> None:
        """Record a command.

        Args:
            command: the command.
            touches: handles and leaves of which nothing is known any more if it fails.
            array: what a create carries.
            reply: where its result goes.
            depth: frames between the caller and this function, at least.
        """
        if array is not None:
            self.queued_bytes += array.nbytes
        self.put(Recorded(command, *users_place(depth), touches=touches, array=array, reply=reply))

    def put(self, entry: Any) -> None:
        """Add to the queue."""
        self.queue.append(entry)
        count = len(self.queue)
        if count == 1 or count >= self._limit or self.queued_bytes >= _defaults.FLUSH_BYTES:
            self._wake(max(count, self._limit) if self.queued_bytes >= _defaults.FLUSH_BYTES else count)

    def release(self) -> None:
        """Record the release of collected handles."""
        names: list[str] = []
        while self.released:
            name = self.released.popleft()
            self.roots.pop(name, None)
            self.gradients.discard(name)
            self.leaves.pop(name, None)
            if self.failed.pop(name, None) is None and name not in self.unmade:
                names.append(name)
            self.unmade.discard(name)
        if names:
            # Not through `put`: releases alone wake nobody.
            self.queue.append(Recorded(Release(tuple(names)), *users_place(1)))

    def read(self, reference: str, what: str) -> Reply:
        """Record a read; the reply holds what comes."""
        self.check(())
        reply = Reply()
        self.record(Read(reference, what, "buffer" if what == "value" else "json"), reply=reply, depth=3)
        return reply

    # Being usable ------------------------------------------------------------------------------------------------------------

    def check(self, inputs: Sequence[Any]) -> None:
        """Refuse to record on a closed session, in a forked process, and with handles that no command made."""
        if self.closed:
            raise SessionClosedError("the session was closed; open another with telegrad.connect(url)")
        if os.getpid() != self.process:
            raise SessionError(
                "this session was opened in another process and cannot be used after a fork; open one here with "
                "telegrad.connect(url), or attach to the same one with telegrad.connect(url, session=id)"
            )
        for x in inputs:
            if self.is_ours(x):
                self.check_name(x._name)

    def close(self) -> None:
        """Refuse everything from now on."""
        self.closed = self.attention = True
        self.queue.clear()

    def check_name(self, name: str) -> None:
        """Refuse a handle whose command failed."""
        cause = self.failed.get(name)
        if cause is not None:
            raise dependent(cause)

    def take(self) -> list[Any]:
        """All that is recorded, releases last, and the queue is empty."""
        self.release()
        entries = [self.queue.popleft() for _ in range(len(self.queue))]
        self.queued_bytes = 0
        return entries

    def put_back(self, entries: Sequence[Any]) -> None:
        """Return what was taken and not sent, in front of what was recorded since."""
        self.queue.extendleft(reversed(entries))


def dependent(cause: TelegradError) -> DependentError:
    """The error of using what depends on a failed command."""
    notes = getattr(cause, "__notes__", ())
    where = f" ({notes[0]})" if notes else ""
    error = DependentError(f"this needs the result of a command that failed earlier: {type(cause).__name__}: {cause.detail}{where}")
    error.__cause__ = cause
    return error


def _add_parameters(key: list[Any], parameters: dict[str, Any]) -> bool:
    """Add parameters to a rule's key; False where equal keys would not mean equal calls (True == 1) or where none can be made."""
    for name, value in parameters.items():
        if value.__class__ is tuple:
            for item in value:
                if item.__class__ is not int:
                    return False
        key.append(name)
        key.append(value.__class__)
        key.append(value)
    return True
