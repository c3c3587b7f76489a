"""Tracing: a function is called once with twins of its tensors, and what it records becomes a program with holes."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import linecache
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from telegrad._capture import abandon
from telegrad._constants import Constants
from telegrad._current import local
from telegrad._history import PRESENT, UNKNOWN, Leaf, next_number
from telegrad._places import users_frame
from telegrad._queue import Entry, Recorded, Reply, commands_of, place
from telegrad._run_history import Outside
from telegrad._twins import AsyncTraceSession, OutsideLeaf, TraceRecorder, TraceSession
from telegrad.contract import codec, tracing
from telegrad.contract.commands import Apply, Command, Create, Read, Release
from telegrad.contract.errors import ArgumentError, NumericalError, SessionMismatchError, TelegradError, TraceError
from telegrad.contract.ops import Spec
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tracing import INFERENCE, LEAF, RECORDED
from telegrad.contract.transforms.wrapper import untransformed

if TYPE_CHECKING:
    from telegrad._handle import Handle
    from telegrad.contract.hooks import Hooks


class Hole(NamedTuple):
    """A tensor that came into the trace.

    Attributes:
        name: in the program.
        twin: what stood for it.
        history: of the twin, as it came in.
        signature: what the trace knew of it, see ``Programs.signature``.
        had_gradient: whether a gradient was accumulated in it.
        hooks: those that the trace called.
    """

    name: str
    twin: Any
    history: Any
    signature: tuple[Spec, int]
    had_gradient: bool
    hooks: Hooks | None


class Tracing(tracing.Trace):
    """One trace, while it runs.

    Attributes:
        name: of the function.
        real: the session that the function works in.
        session: the one that records.
        holes: the tensors that came in, by the identity of the real one.
        reals: those, in order.
        first: a number below those of the trace's nodes.
        refusal: the error of what cannot be traced, even if the function has swallowed it.
    """

    def __init__(self, name: str, real: Any, *, awaited: bool) -> None:
        self.name = name
        self.real: Any = real
        self.session: Any = AsyncTraceSession(self) if awaited else TraceSession(self)
        self.recorder = cast(TraceRecorder, self.session._recorder)
        self.holes: dict[int, Hole] = {}
        self.reals: list[Any] = []
        self.refusal: TraceError | None = None
        self.first = next_number()
        self._names: set[str] = set()
        self._rehearsal: tracing.Rehearsal | None = None
        self._entered = 0
        self._done = 0
        self._constants = Constants(_rehearsal)
        self._seen = 0
        self._may_fail = False

    # What the diverted classes ask -------------------------------------------------------------------------------------------

    def twin_of(self, tensor: Any) -> Any:
        """See ``Trace.twin_of``: a tensor that the function was not given is captured."""
        hole = self.holes.get(id(tensor))
        return self.enter(tensor).twin if hole is None else hole.twin

    def session_for(self, session: Any) -> Any:
        """See ``Trace.session_for``."""
        if session is not self.real:
            raise self._mismatch()
        return self.session

    def lift(self, value: Any) -> Any:
        """The twin of a real tensor; anything else as it is."""
        return self.twin_of(value) if isinstance(value, TensorBase) and tracing.has_twins(value) else value

    def lifted(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The same for several."""
        cls = self.recorder.tensor_class
        return tuple([x if x.__class__ is cls else self.lift(x) for x in values])

    def lifted_all(self, value: Any) -> Any:
        """The same for one tensor, an iterable of them, or None."""
        if value is None or isinstance(value, TensorBase):
            return self.lift(value)
        return self.lifted(list(value)) if hasattr(value, "__iter__") else value

    # Tensors that come in ----------------------------------------------------------------------------------------------------

    def enter(self, tensor: Any) -> Hole:
        """Make a hole for a real tensor."""
        with tracing.undiverted():
            if tensor.session is not self.real:
                raise self._mismatch()
            programs = self.real._programs
            signature = programs.signature(tensor)
            base = programs.base(tensor)
            had_gradient = programs.has_gradient(tensor)
            hooks = programs.hooks(tensor)
            node_name = programs.node_name(tensor) if signature[1] & RECORDED else ""
        spec, kind = signature
        recorder = self.recorder
        name = f"in{len(self.reals) + 1}"
        reached = recorder.grad_epoch > 0  # perhaps, by a backward of before it came in
        leaf = OutsideLeaf(recorder, spec, PRESENT if had_gradient else UNKNOWN if reached else None)
        history = Outside(name, node_name) if kind & RECORDED else leaf if kind & LEAF else None
        twin = recorder.tensor_class(recorder, name, spec, history)
        hole = Hole(name, twin, history, signature, had_gradient, hooks)
        self.holes[id(tensor)] = hole
        self.reals.append(tensor)
        self._names.add(name)
        twin.extra().leaf = leaf
        twin.extra().inference = bool(kind & INFERENCE)
        if hooks is not None:
            self._call(hooks, leaf, twin)
        if base is not None:
            twin.link_view(self.twin_of(base), keeps_history=True)
        return hole

    def _call(self, hooks: Hooks, leaf: Leaf, twin: Any) -> None:
        """Have the hooks of a real leaf called by the backwards of the trace."""
        mine = leaf.hooks_here()
        mine.owner = twin
        for index, table in hooks.tensor.items():
            for hook in table.functions():
                mine.of_output(index).add(hook)
        for name in ("before", "after", "accumulated"):
            for hook in getattr(hooks, name).functions():
                getattr(mine, name).add(hook)

    def end_of(self, node: Any) -> Any:
        """For the end of a path outside, a leaf that came into the trace: its twin's leaf; None for all else."""
        if self._knows_histories():
            raise self.refuse(
                "a hook for several tensors waits for their gradients, some of which may come by way of a tensor that the function "
                "was given with its history; call backward outside"
            )
        with tracing.undiverted():
            for real, hole in zip(self.reals, self.holes.values(), strict=True):
                if hole.signature[1] & LEAF and real._gradient_edge()[0] == node:
                    return hole.history
        return None

    def refuse_unknown(self) -> None:
        """Refuse to tell that no gradient reached a tensor from outside, if it may have come by a history from outside."""
        if self._knows_histories():
            raise self.refuse(
                "it asks whether a tensor that was made outside got a gradient, by way of a tensor that the function was given "
                "with its history: that may lead there or not. Ask outside, or take telegrad.autograd.grad without allow_unused"
            )

    def _knows_histories(self) -> bool:
        return any(hole.signature[1] & RECORDED for hole in self.holes.values())

    def is_hole(self, twin: Handle) -> bool:
        """Whether the tensor came into the trace."""
        return twin._name in self._names

    def _mismatch(self) -> SessionMismatchError:
        return SessionMismatchError(
            f"the traced function {self.name} met a tensor or session other than the one that it runs in; a traced function works "
            "in one session"
        )

    # What a rehearsal answers ------------------------------------------------------------------------------------------------

    def describe(self, reference: str) -> dict[str, Any] | None:
        """What is known of a tensor of the trace without its values."""
        rehearsal = self._rehearsed()
        with tracing.undiverted():
            found = rehearsal.describe(reference)
        of, _, gradient = reference.rpartition(".")
        if found is None and gradient == "grad" and of in self._names:
            self.refuse_unknown()
        return found

    def constant(self, reference: str) -> Any:
        """The value and the description of a tensor of the trace that is the same in every run; None for all others."""
        entries: list[Entry] = list(self.recorder.queue)[self._seen :]
        self._seen += len(entries)
        for entry in entries:
            (command,), arrays = commands_of([entry])
            self._constants.see(_whole(command, arrays))
            self._may_fail = self._may_fail or not isinstance(command, (Apply, Create, Read, Release))
        with tracing.undiverted(), untransformed():
            found = self._constants.value(reference)
        if found is not None and self._may_fail:  # a backward, say: whoever reads is told what went wrong before
            self._rehearsed()
            self._may_fail = False
        return found

    def answered(self, reply: Reply) -> Reply:
        """The reply with its result, which the trace needs now."""
        if not reply.done:
            self._rehearsed()
        return reply

    def _rehearsed(self) -> tracing.Rehearsal:
        """A session that has done on made-up values what was recorded so far."""
        with tracing.undiverted(), untransformed():
            rehearsal = self._rehearsal
            if rehearsal is None:
                rehearsal = self._rehearsal = _rehearsal()
            fresh = list(self.holes.values())[self._entered :]
            self._entered += len(fresh)
            bases = {hole.name: base._name for hole in fresh if (base := hole.twin.extra().base) is not None}
            for hole in sorted(fresh, key=lambda hole: hole.name in bases):  # views after what they are views of
                rehearsal.enter(hole.name, *hole.signature, hole.had_gradient, bases.get(hole.name))
            entries: list[Entry] = list(self.recorder.queue)[self._done :]
            for entry in entries:
                (command,), arrays = commands_of([entry])
                self._done += 1
                try:
                    result = rehearsal.do(_whole(command, arrays))
                except (NumericalError, ArgumentError) as error:
                    if not isinstance(error, NumericalError) and not isinstance(command, Apply):
                        raise self._failed(entry, error) from None
                    # Whatever shapes, types and parameters tell was checked when the op was recorded: it is the values.
                    raise self.refuse(
                        "what is asked for here (a history, or whether there is a gradient) is found out by doing what was "
                        f"recorded with made-up numbers, and these did not go with an op ({error.detail}); ask outside"
                    ) from error
                except TelegradError as error:
                    raise self._failed(entry, error) from None
                if isinstance(entry, Recorded) and entry.reply is not None:
                    entry.reply.result = result
            return rehearsal

    def _failed(self, entry: Entry, error: TelegradError) -> TelegradError:
        """What would fail at every run, as it does untraced: the function is told, and may go on without."""
        self._done -= 1
        self._seen -= self._seen > self._done
        del self.recorder.queue[self._done]
        abandon(self.recorder, [entry], [], error)
        error.add_note(place(entry))
        return error

    # Refusing ----------------------------------------------------------------------------------------------------------------

    def refuse(self, reason: str) -> TraceError:
        """The error of what cannot be traced, naming the user's line."""
        error = TraceError(f"{self.name} cannot be traced: {reason} ({users_line()})")
        self.refusal = self.refusal or error
        return error

    def escaped(self) -> TraceError:
        """The error of using a traced tensor when the trace is over."""
        return TraceError(
            f"this tensor is one of the trace of {self.name}, which has ended: return it from the function, and do not keep it "
            "anywhere else"
        )

    def forget(self) -> None:
        """The trace is over: let go of the session and of its tensors, which the program may outlive."""
        self.recorder.close()
        self.real = self._rehearsal = self.refusal = None  # an error has the frames that it came through, and they the trace
        self.reals.clear()

    # The end -----------------------------------------------------------------------------------------------------------------

    def end(self) -> tuple[tuple[Command, ...], list[str]]:
        """The commands, and the place of each."""
        recorder = self.recorder
        entries: list[Entry] = list(recorder.queue)
        commands, arrays = commands_of(entries)
        recorder.close()
        return tuple([_whole(c, arrays) for c in commands]), [place(e) for e in entries]


def _rehearsal() -> tracing.Rehearsal:
    return local()._programs.rehearse()


def users_line() -> str:
    """File, line and text of the innermost line outside telegrad."""
    frame = users_frame(sys._getframe(1))
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
    return f"{where}: {text}" if text else where


def _whole(command: Command, arrays: dict[str, Any]) -> Command:
    """The command with its data in it: a program has no body of its own that arrays could travel in."""
    callbacks = getattr(command, "callbacks", ())
    if callbacks:
        from dataclasses import replace

        changed: Any = command
        inner = [replace(c, commands=tuple([_whole(x, arrays) for x in c.commands])) for c in callbacks]
        whole: Command = replace(changed, callbacks=tuple(inner))
        return whole
    if isinstance(command, Create) and command.buffer is not None:
        array = arrays[command.buffer]
        return Create(
            command.id,
            base64=codec.to_base64(array),
            dtype=array.dtype.name,
            shape=array.shape,
            requires_grad=command.requires_grad,
        )
    return command
