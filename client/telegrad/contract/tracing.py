"""Where calls on tensors and sessions go while a function is traced: to their twins in the trace.

A traced function is called once with twins of its arguments, but it also names tensors that it was not given: parameters, their
gradients. Nothing of theirs may be computed or changed then, so that all their methods are diverted while a trace runs anywhere in
the process: the classes get methods that ask whether the calling thread or task traces, and that go to the twin if it does. When
no trace runs, the classes are what they were, and pay nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Final, NamedTuple

from telegrad.contract.commands import Command
from telegrad.contract.errors import TelegradError
from telegrad.contract.hooks import Hooks
from telegrad.contract.ops import Spec
from telegrad.contract.tensor.creation import CreationOps
from telegrad.contract.tensor.operations import TensorOps


class Trace:
    """What a trace offers to the tensors and sessions that a traced function meets."""

    def twin_of(self, tensor: Any) -> Any:
        """The tensor of the trace that stands for ``tensor``. Raises SessionMismatchError for one of another session."""
        raise NotImplementedError

    def session_for(self, session: Any) -> Any:
        """The session of the trace that stands for ``session``. Raises SessionMismatchError for another one."""
        raise NotImplementedError


_active: ContextVar[Trace | None] = ContextVar("telegrad_trace", default=None)

current_trace: Callable[[], Trace | None] = _active.get
"""The trace that runs in this thread and task, if any."""


class Rehearsal:
    """A session that does what a trace records, on made-up values: it answers what does not depend on values."""

    def enter(self, name: str, spec: Spec, kind: int, had_gradient: bool, base: str | None = None) -> None:
        """Make up a tensor that came into the trace; ``kind`` as in ``Programs.signature``, ``base`` what it is a view of."""
        raise NotImplementedError

    def do(self, command: Command) -> dict[str, Any] | None:
        """Do one command; its result."""
        raise NotImplementedError

    def describe(self, reference: str) -> dict[str, Any] | None:
        """What is known of a tensor without its values; None for ``x.grad`` where there is no gradient."""
        raise NotImplementedError

    def value(self, reference: str) -> Any:
        """The values of a tensor, as an array of its own."""
        raise NotImplementedError


class Programs:
    """What a session does for traced functions; ``session._programs``."""

    @property
    def most_runs(self) -> int:
        """How often one request may run a program, at most."""
        return sys.maxsize

    def signature(self, tensor: Any) -> tuple[Spec, int]:
        """What a trace depends on: the tensor's shape and type, and a sum of ``LEAF``, ``RECORDED``, ``VIEW``, ``INFERENCE``."""
        raise NotImplementedError

    def node_name(self, tensor: Any) -> str:
        """The name of the node that made a tensor with history."""
        raise NotImplementedError

    def base(self, tensor: Any) -> Any:
        """For a view, the tensor whose memory it shares and whose history writes go through; None otherwise."""
        raise NotImplementedError

    def has_gradient(self, tensor: Any) -> bool:
        """Whether there is a gradient accumulated in the tensor."""
        raise NotImplementedError

    def hooks(self, tensor: Any) -> Hooks | None:
        """The hooks of a leaf; None where there are none."""
        raise NotImplementedError

    def forget(self, traced: Any) -> None:
        """A traced program is not kept any more; should it be run again, it is as if it were new."""
        raise NotImplementedError

    def rehearse(self) -> Rehearsal:
        """A session beside this one, for traces to ask. Only local sessions have one."""
        raise NotImplementedError

    def run(self, traced: Any, bound: Sequence[Any]) -> Sequence[Any]:
        """Run a traced program.

        Args:
            traced: with ``id``, ``inputs``, ``commands``, and ``outputs``, the names of what to give out.
            bound: a tensor for each of the inputs.

        Returns a tensor for each of the outputs.
        """
        raise NotImplementedError

    def run_many(self, traced: Any, bound: Sequence[Any], many: Many) -> Runs:
        """Run a traced program many times; it may be done only when the session is flushed."""
        raise NotImplementedError

    def stop(self, run_id: str) -> None:
        """Let the runs under that id end after the one that is under way."""
        raise NotImplementedError


class Many(NamedTuple):
    """How often a program is to run, and what is kept of all runs.

    Attributes:
        times: how often.
        each: from the number of an input to the tensor whose rows it is, one a run.
        collect: references inside the program, whose values of all runs are stacked.
        seconds: stop after the run in which so many are over; None: go on.
        run_id: what the runs are stopped by.
        hear: called with news: ``run``, ``times``, ``latest``.
    """

    times: int
    each: Mapping[int, Any]
    collect: Sequence[str]
    seconds: float | None
    run_id: str
    hear: Callable[[dict[str, Any]], object]


class Runs:
    """What many runs leave.

    Attributes:
        made: as ``Programs.run``, of the last run; None where they were not all done.
        stacked: a tensor for each of ``Many.collect``; fewer rows where not all runs were done, and none after no run.
    """

    made: Sequence[Any] | None
    stacked: Sequence[Any]

    def finish(self) -> TelegradError | None:
        """After a flush: why they were not all done, with the number that were as ``run`` in its ``extra``; None if they were."""
        raise NotImplementedError


LEAF: Final = 1
"""The tensor is a leaf that requires grad."""
RECORDED: Final = 2
"""The tensor was made by a recorded op."""
VIEW: Final = 4
"""The tensor is a view whose history goes through its base."""
INFERENCE: Final = 8
"""The tensor was made in inference mode."""


class _Kind:
    """A class whose instances have twins while a trace runs."""

    def __init__(self, cls: type[Any], tower: type[Any], twin: Callable[[Trace, Any], Any]) -> None:
        self.cls = cls
        self.tower = tower
        self.twin = twin


_kinds: Final[list[_Kind]] = []
_twins: Final[set[type[Any]]] = set()
_lock: Final = threading.Lock()
_running = 0
_before: Final[list[tuple[type[Any], str, Any]]] = []

_KEPT: Final = frozenset(
    {"__init__", "__new__", "__del__", "__hash__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__await__"}
)
"""What concerns the object itself and not the tensor or session that it stands for."""

_MISSING: Final = object()


def register(session_class: type[Any], tensor_class: type[Any]) -> None:
    """Note a kind of session and its tensors, so that functions can be traced that use them."""
    _kinds.append(_Kind(tensor_class, TensorOps, lambda trace, tensor: trace.twin_of(tensor)))
    _kinds.append(_Kind(session_class, CreationOps, lambda trace, session: trace.session_for(session)))


def register_twins(session_class: type[Any], tensor_class: type[Any]) -> None:
    """Note the classes of a trace itself, which are never diverted."""
    _twins.update((session_class, tensor_class))


def has_twins(value: Any) -> bool:
    """Whether ``value`` is a tensor of a session, and not of a trace or a transform."""
    return type(value) not in _twins and any(isinstance(value, kind.cls) and kind.tower is TensorOps for kind in _kinds)


@contextlib.contextmanager
def diverted(trace: Trace) -> Generator[None]:
    """Send what this thread or task does with tensors and sessions to their twins in ``trace``."""
    _divert()
    token = _active.set(trace)
    try:
        yield
    finally:
        _active.reset(token)
        _restore()


@contextlib.contextmanager
def undiverted() -> Generator[None]:
    """See tensors as they are, in the middle of a trace."""
    token = _active.set(None)
    try:
        yield
    finally:
        _active.reset(token)


def _divert() -> None:
    global _running  # noqa: PLW0603 - one state of the classes, counted
    with _lock:
        _running += 1
        if _running > 1:
            return
        for kind in _kinds:
            for name, value in _attributes(kind).items():
                changed = _diverted(kind, name, value)
                if changed is not None:
                    _before.append((kind.cls, name, vars(kind.cls).get(name, _MISSING)))
                    setattr(kind.cls, name, changed)


def _restore() -> None:
    global _running  # noqa: PLW0603 - one state of the classes, counted
    with _lock:
        _running -= 1
        if _running:
            return
        while _before:
            cls, name, value = _before.pop()
            if value is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, value)


def _attributes(kind: _Kind) -> dict[str, Any]:
    """What the class and its bases have that is not written once for all tensors in the tower of ops, which leads to `_apply`."""
    found: dict[str, Any] = {}
    shared = set(kind.tower.__mro__)
    for base in kind.cls.__mro__:
        if base not in shared:
            for name, value in vars(base).items():
                found.setdefault(name, value)
    return {name: value for name, value in found.items() if name not in _KEPT}


def _diverted(kind: _Kind, name: str, value: Any) -> Any:
    if isinstance(value, property):
        return _diverted_property(kind, name, value)
    if isinstance(value, FunctionType):
        return _diverted_method(kind, name, value)
    return None


def _diverted_method(kind: _Kind, name: str, original: Any) -> Any:
    twin = kind.twin

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is None or self.__class__ in _twins:
            return original(self, *args, **kwargs)
        other = twin(trace, self)
        result = getattr(other, name)(*args, **kwargs)
        # `self.weight -= step` assigns what it gets: the tensor itself must stay where it was.
        return self if result is other else result

    return method


def _diverted_property(kind: _Kind, name: str, original: property) -> property:
    twin = kind.twin

    def get(self: Any) -> Any:
        trace = current_trace()
        if trace is None or self.__class__ in _twins:
            return original.__get__(self)
        return getattr(twin(trace, self), name)

    def set_(self: Any, value: Any) -> None:
        trace = current_trace()
        if trace is None or self.__class__ in _twins:
            original.__set__(self, value)
        else:
            setattr(twin(trace, self), name, value)

    return property(get, set_)
