"""The queue of a remote session: what was recorded, what each handle knows, and what a failure means for the rest. No I/O.

Recording costs microseconds: an op becomes a tuple, JSON is made when the batch leaves. Adding to the queue takes no lock (a deque
appends atomically), so threads may record at the same time; a batch takes what is there when it leaves.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from telegrad import _defaults
from telegrad._capture import Capture, Diverted, dependent
from telegrad._foresight import Foresight, add_parameters
from telegrad._handle import inference_extra, new_names
from telegrad._history import AccumulateGrad, made_of
from telegrad._linking import Blocks, link
from telegrad._packs import packing_of
from telegrad._places import known_files, users_frame, users_place
from telegrad._queue import Recorded, Reply, collected, to_raise
from telegrad._reading import Numbers
from telegrad._writes import apply_in_place
from telegrad.contract import checks, watching
from telegrad.contract.commands import Command, Read, Release
from telegrad.contract.errors import (
    AutogradError,
    SessionClosedError,
    SessionError,
    TelegradError,
    UnknownOpError,
)
from telegrad.contract.hooks import Alive
from telegrad.contract.modes import inferring, is_grad_enabled, is_inference_mode_enabled
from telegrad.contract.ops import OPS, Op, UnknownShape, find
from telegrad.contract.scope import active, current_scope
from telegrad.contract.transforms.wrapper import NOT_REDIRECTED, redirected, running

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad._history import CustomNode
    from telegrad._packs import Packs
    from telegrad._traced import Traced
    from telegrad.contract.ops import Spec
    from telegrad.contract.tracing import Many


class Recorder:
    """What the tensors of one remote session share.

    Attributes:
        session: the session they answer to.
        queue: what was recorded and not sent.
        sink: where to record: ``queue``, or while a hook runs what becomes its callback.
        captures: the hooks that run, by thread: what others record meanwhile is none of theirs.
        waits: whether who asks for a value waits for it, so that hooks may ask.
        hooked: the tables of hooks, of all tensors and nodes of the session, that are not empty.
        released: names of collected handles.
        failed: names that no tensor has, because the command that would have made it failed; with the first failure.
        roots: from a view's name to the name of the tensor whose memory it shares.
        gradients: names given to accumulated gradients.
        unmade: names of handles that turned out to name nothing.
        leaves: handles that require grad, by name.
        writes: counts recorded in-place changes and backwards; a value read before the last one is not shown again.
        retaining: whether any tensor was ever told to retain its gradient.
        grad_epoch: counts events after which no gradient is known to be absent or the same.
        name: makes a new name.
        most_runs: how often one request may run a program, by what the server says.
        shared: other clients may change this session's tensors, so that no value is kept.
        blocks: those of checkpoints that run.
        customs: nodes of custom functions and checkpoints, by label.
        packs: what hooks on saved tensors have packed, by name.
        undrawn: who wants to be called before the next random op is recorded.
        written: how often the memory of a tensor was changed in place, by the name of the one that the others are views of.
        stored: the ids of programs that the server has, for all we know.
        unstored: programs that recorded runs need and the server has not, by id.
        dropped: the ids of programs that the server has and nobody here keeps.
        pending: errors that flushes met and nobody has been told of; the next flush that somebody waits for raises them.
        attention: closed, with failed handles, or crowded: the next record looks closer.
        crowded: whether more is recorded than may be before some of it is sent.
        numbers: what programs gave out and nobody has read.
        gathers: whether commands leave together.
        depart: called when some runs of programs are recorded, to be sent while others are recorded; None where that cannot be.
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
        self.sink: deque[Any] = self.queue
        self.captures: dict[int, Capture] = {}
        self._capturing = threading.Lock()
        self.waits = False
        self.hooked: Alive = weakref.WeakSet()
        self.released: deque[str] = deque()
        self.failed: dict[str, TelegradError] = {}
        self.roots: dict[str, str] = {}
        self.gradients: set[str] = set()
        self.unmade: set[str] = set()
        self.leaves: dict[str, weakref.ref[Handle]] = {}
        self.writes = 0
        self.grad_epoch = 0
        self.retaining = False
        self.shared = False
        self.most_runs = _defaults.RUN_TIMES
        self.blocks = Blocks()
        self.customs: weakref.WeakValueDictionary[str, CustomNode] = weakref.WeakValueDictionary()
        self.packs: weakref.WeakValueDictionary[str, Packs] = weakref.WeakValueDictionary()
        self.undrawn: list[Callable[[], None]] = []
        self.written: dict[str, int] = {}
        self.stored: set[str] = set()
        self.unstored: dict[str, Traced] = {}
        self.dropped: list[str] = []
        self.closed = False
        self.pending: list[TelegradError] = []
        self.attention = False
        self.crowded = False
        self.queued_bytes = 0
        self.queued_runs = 0
        self.numbers = Numbers()
        self.gathers = limit > 1
        self.process = os.getpid()
        self.name = new_names()
        self._blank: Callable[[Any], Any] = object.__new__
        self._wake = wake
        self.depart: Callable[[], None] | None = None
        self._limit = limit
        self._rules: dict[Any, Foresight] = {}

    # Recording ---------------------------------------------------------------------------------------------------------------

    def apply(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """Record one op; see ``TensorBase._apply``. The hot path: every attribute access counts."""
        if self.attention:
            self.check(inputs)
            self.admit()
        cls = self.tensor_class
        plan: Foresight | None = None
        names: Sequence[Any] = ()
        plain = False
        if len(inputs) == 2 and not parameters:
            a, b = inputs
            if a.__class__ is cls and b.__class__ is cls and a._home is self and b._home is self:
                plan = self._rules.get((op, a._spec, b._spec))
                names = (a._name, b._name)
                plain = a._node is None and b._node is None and a._extra is None and b._extra is None
        if plan is None:
            if running():
                made = redirected(self.session, op, inputs, parameters)
                if made is not NOT_REDIRECTED:
                    return made
            plan, names = self._plan(op, inputs, parameters)
        if plan.in_place:
            return apply_in_place(self, plan, op, inputs, names, parameters)
        grad = None if inferring and is_inference_mode_enabled() else is_grad_enabled()
        node: Any = None
        if grad and not plain:
            for position in plan.positions:
                x = inputs[position]
                if x._node is not None or x._extra is not None:
                    node = link(self, plan, inputs, parameters)
                    break
        if not plan.simple or watching.watchers:
            return self._several(plan, op, inputs, names, parameters, grad, node)
        # What `cls(self, name, spec, node)` does, at half its price.
        made = self._blank(cls)
        made._home, made._spec, made._node = self, plan.spec, node
        name = made._name = self.name()
        made._extra = None if grad is not None else inference_extra()
        frame = sys._getframe(3)  # apply, _apply, the op's method, its caller
        code = frame.f_code
        if known_files.get(code.co_filename, True):
            frame = users_frame(frame)
            code = frame.f_code
        queue = self.sink
        queue.append((op, names, parameters, (name,), grad, current_scope() if active else None, code, frame.f_lasti))
        count = len(queue)
        if count % _defaults.RELEASE_COMMANDS < 2:
            self._tick(count)
        return made

    def _tick(self, count: int) -> None:
        """What need not be looked at for every op."""
        if self.capturing is not None:
            return
        if self.released:
            self.release()
        if count == 1 or count >= self._limit:
            self._wake(count)

    def _plan(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> tuple[Foresight, Sequence[Any]]:
        """What is known of this call, and its inputs as on the wire."""
        inputs = checks.plain_inputs(inputs)
        checks.plain_parameters(parameters)
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
            known = known and add_parameters(key, parameters)
        signature: Any = tuple(key)
        if known:
            try:
                plan = self._rules.get(signature)
            except TypeError:  # a list, say; a slice is not remembered, other things are refused below
                known = False
            else:
                if plan is not None:
                    return plan, names
        in_place = op.endswith("_") and op not in OPS
        row = find(op[:-1] if in_place else op)
        if in_place and not row.inplace:
            raise UnknownOpError(f"there is no op {op}")
        plan = self.foresee(row, inputs, parameters, in_place=in_place)
        if known and not row.random:  # a running transform may have to draw otherwise, and is asked only where no rule is known
            self._remember(signature, plan)
        return plan, names

    def _remember(self, key: Any, plan: Foresight) -> None:
        if len(self._rules) >= _defaults.REMEMBERED_RULES:
            self._rules.clear()
        self._rules[key] = plan

    def foresee(self, row: Op, inputs: tuple[Any, ...], parameters: dict[str, Any], *, in_place: bool = False) -> Foresight:
        """Check the call and run the op's rule. Raises what the computation would raise for these shapes, types and parameters."""
        checks.check_inputs(row, inputs, self.is_ours)
        full = row.complete(parameters)
        if row.random:
            for about_to_draw in self.undrawn:
                about_to_draw()
            self.undrawn.clear()
        cls = self.tensor_class
        specs = [x._spec if isinstance(x, cls) else x for x in inputs]
        last = len(row.inputs) - 1
        positions = tuple(
            [
                i
                for i, x in enumerate(inputs)
                if isinstance(x, cls) and (row.inputs[min(i, last)].name in row.differentiable or (in_place and row.flat_in_place))
            ]
        )
        if any(isinstance(x, cls) and x._spec is None for x in inputs):
            count = len(row.outputs)
            return Foresight(row, (None,) * count, (None,) * count, positions, in_place, self.hooked)
        try:
            outcome = row.rule(specs, full)
        except UnknownShape as signal:
            return Foresight(row, (None,) * len(signal.dtypes), signal.dtypes, positions, in_place, self.hooked)
        types = tuple([o.dtype for o in outcome.outputs])
        return Foresight(row, outcome.outputs, types, positions, in_place, self.hooked)

    def is_ours(self, tensor: Any) -> bool:
        """Whether a tensor lives in this session."""
        return isinstance(tensor, self.tensor_class) and tensor._home is self

    def _several(
        self,
        plan: Foresight,
        op: str,
        inputs: tuple[Any, ...],
        names: Sequence[Any],
        parameters: dict[str, Any],
        grad: bool | None,
        node: Any,
    ) -> Any:
        """Outputs in a number, of a shape, or with a memory that the hot path does not serve."""
        row = plan.row
        if not plan.single and len(row.outputs) == 1 and plan.outputs == (None,):
            # How many outputs there are depends on a shape that only the server knows.
            inputs[0].resolve_shape()
            plan = self.foresee(row, inputs, parameters)
        packing = packing_of(self, node, inputs) if watching.watchers else None
        made: list[Any] = []
        for index, (spec, dtype) in enumerate(zip(plan.outputs, plan.types, strict=True)):
            history = node
            if dtype is None:
                history = None if node is None else made_of(node)
            elif not dtype.is_differentiable:
                history = None
            output = self.tensor_class(self, self.name(), spec, history)
            if spec is None:
                output.extra().dtype = dtype
            if index:
                output.extra().index = index
            if grad is None and not row.view:
                output.mark_inference()
            if row.view:
                output.link_view(
                    inputs[0], keeps_history=row.name not in ("detach", "data", "view.dtype"), follows=plan.single and bool(grad)
                )
            made.append(output)
        outputs = tuple([m._name for m in made])
        if packing is None:
            self.put((op, names, parameters, outputs, grad, current_scope(), *users_place(2)))
        else:
            packing.record(op, names, parameters, outputs)
            packing.end(made)
        return made[0] if plan.single else tuple(made)

    # Commands other than ops -------------------------------------------------------------------------------------------------

    def record(
        self,
        command: Command,
        *,
        touches: tuple[Any, ...] = (),
        array: Any = None,
        arrays: Mapping[str, Any] | None = None,
        roots: Sequence[Any] = (),
        reply: Reply | None = None,
        program: Traced | None = None,
        many: Many | None = None,
        depth: int = 2,
    ) -> None:
        """Record a command.

        Args:
            command: the command.
            touches: handles and leaves of which nothing is known any more if it fails.
            array: what a create carries.
            arrays: what creates in callbacks carry.
            roots: of a backward in anomaly mode, the histories that it starts at.
            reply: where its result goes.
            program: what a run runs.
            many: of a run that is followed.
            depth: frames between the caller and this function, at least.
        """
        if array is not None:
            self.queued_bytes += array.nbytes
        place = users_place(depth)
        self.put(
            Recorded(
                command, *place, touches=touches, array=array, arrays=arrays, roots=roots, reply=reply, program=program, many=many
            )
        )
        if program is not None and many is None and self.depart is not None:
            self.queued_runs += 1
            if not self.queued_runs % _defaults.DEPART_RUNS and self.capturing is None:
                self.depart()

    def put(self, entry: Any) -> None:
        """Add to the queue."""
        self.sink.append(entry)
        if self.capturing is not None:
            return
        count = len(self.queue)
        if count == 1 or count >= self._limit or self.queued_bytes >= _defaults.FLUSH_BYTES:
            self._wake(max(count, self._limit) if self.queued_bytes >= _defaults.FLUSH_BYTES else count)

    def release(self) -> None:
        """Record the release of collected handles."""
        names = collected(self)
        if names:
            # Not through `put`: releases alone wake nobody.
            self.queue.append(Recorded(Release(tuple(names)), *users_place(1)))

    def read(self, reference: str, what: str, spec: Spec | None = None) -> Reply:
        """Record a read; the reply holds what comes. ``spec`` of a value, where it is known."""
        self.ask_in_hook()
        self.check(())
        reply = Reply()
        nbytes = 0 if spec is None or self.shared else spec.nbytes
        encoding = "json" if what != "value" else "buffer"
        if encoding == "buffer" and spec is not None and spec.nbytes <= _defaults.TEXT_READ_BYTES:
            encoding = "base64"
        command = Read(reference, what, encoding)
        self.put(Recorded(command, *users_place(2), reply=reply, nbytes=nbytes))
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
        self.attention = bool(self.failed) or self.crowded

    @property
    def can_send(self) -> bool:
        """Whether locks and connections can be used: not after a fork, nor at Python's exit, where threads have stopped."""
        return os.getpid() == self.process and not sys.is_finalizing()

    @property
    def is_full(self) -> bool:
        """Whether so much is recorded that it is to be sent without being asked for."""
        return len(self.queue) >= self._limit or self.queued_bytes >= _defaults.FLUSH_BYTES

    def admit(self) -> None:
        """Refuse to record more where nobody can wait until some of it is sent. Raises SessionError, and nothing is recorded."""
        if self.crowded and self.capturing is None:
            raise SessionError(
                f"{len(self.queue):,} commands with {self.queued_bytes:,} bytes of new tensors are recorded and wait to be sent, "
                "which an async session does while something is awaited: `await session.flush()` now and then, or await a value"
            )

    def end_of(self, node: Any) -> Any:
        """What a walk comes by that comes by the node, or by the accumulation of a leaf."""
        return node.leaf if isinstance(node, AccumulateGrad) else node

    def cannot_ask(self, why: str) -> AutogradError:
        """The error of what only the server could tell, where nobody can wait for it."""
        return AutogradError(why)

    def ask_in_hook(self) -> None:
        """See to it that the server can be asked while a hook runs. Raises AutogradError where nobody can wait for the answer."""
        capture = self.capturing
        if capture is not None:
            capture.interrupt()

    @property
    def capturing(self) -> Capture | None:
        """The hook that runs in this thread, if any."""
        return self.captures.get(threading.get_ident()) if self.captures else None

    def capture(self, capture: Capture | None) -> None:
        """Record what this thread records there, or in the queue."""
        with self._capturing:
            thread = threading.get_ident()
            if capture is not None:
                self.captures[thread] = capture
            else:
                self.captures.pop(thread, None)
            self.sink = Diverted(self.captures, self.queue) if self.captures else self.queue

    def close(self) -> None:
        """Refuse everything from now on."""
        self.closed = self.attention = True
        self.queue.clear()

    def check_name(self, name: str) -> None:
        """Refuse a handle whose command failed."""
        cause = self.failed.get(name)
        if cause is None:
            return
        if cause in self.pending:  # nobody has been told yet
            self.pending.remove(cause)
            raise to_raise(cause)
        raise dependent(cause)

    def waiting(self, held: Sequence[Any]) -> list[Any]:
        """All that is recorded, releases last, apart from what is ``held`` already: an interruption may have left it in both."""
        self.release()
        queue = self.queue
        known = {id(entry) for entry in held}
        while known and queue and id(queue[0]) in known:
            queue.popleft()
        return list(queue)

    def drop(self, count: int) -> None:
        """So many of what is recorded first are held elsewhere now."""
        for _ in range(count):
            self.queue.popleft()
        self.queued_bytes = self.queued_runs = 0
        self.crowded = False

    def put_back(self, entries: Sequence[Any]) -> None:
        """Return what was taken and not sent, in front of what was recorded since."""
        self.queue.extendleft(reversed(entries))
        self.queued_bytes += sum(e.array.nbytes for e in entries if isinstance(e, Recorded) and e.array is not None)
