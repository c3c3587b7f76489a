"""The sessions and tensors of a trace: they record as remote ones do, and nobody can answer them."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from telegrad import _autograd
from telegrad._async import AsyncSession, AsyncTensor
from telegrad._handle import Handle
from telegrad._history import Leaf, Unknown
from telegrad._queue import Recorded, Reply
from telegrad._reach import Reach
from telegrad._recorder import Recorder
from telegrad._remote import RemoteSession, Tensor
from telegrad.contract import tracing
from telegrad.contract.custom import Backward

if TYPE_CHECKING:
    from telegrad._trace import Tracing
    from telegrad.contract.errors import AutogradError
    from telegrad.contract.ops import Spec

_VALUES: Final = (
    "a traced function has no values to look at. For a choice between tensors use telegrad.where(condition, a, b), clamp, minimum "
    "or maximum; make a number that decides a static argument (a Python number); or take this out of the function"
)

_MOST_CONSTANT_BYTES: Final = 2**20
"""Of one tensor made of data in a traced function: the data are text in its program."""

_SHAPE: Final = (
    "this shape depends on values (it is that of a selection, say), which a traced function does not have; take what needs it out "
    "of the function"
)


class OutsideLeaf(Leaf):
    """The leaf of a tensor that came into the trace.

    Attributes:
        asked: whether the trace depends on whether there was a gradient.
        kept: whether its gradient, if there was one, still is the same tensor.
    """

    __slots__ = ("asked", "kept")

    def __init__(self, home: Recorder, spec: Any, gradient: Any) -> None:
        super().__init__(home, spec, gradient)
        self.asked = False
        self.kept = True

    def at(self, epoch: int) -> Any:
        """See ``Leaf.at``."""
        self.asked = True
        return super().at(epoch)

    def settle(self, gradient: Any, epoch: int, *, recorded: Unknown | None = None) -> None:
        """See ``Leaf.settle``."""
        assigned = isinstance(gradient, Handle) and gradient._name not in gradient._home.gradients
        self.kept = self.kept and self.gradient is not None and gradient is not None and not assigned and not recorded
        super().settle(gradient, epoch, recorded=recorded)


class TraceRecorder(Recorder):
    """The recorder of a trace: names that every trace of the same function gives alike, and twins in the place of real tensors."""

    def __init__(self, tracing: Tracing, tensor_class: Any, session: Any) -> None:
        super().__init__(tensor_class, session, lambda _count: None, limit=1 << 62)
        self.tracing = tracing
        self.name: Callable[[], str] = map("v".__add__, map(str, itertools.count(1))).__next__

    def apply(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """Record one op; real tensors among the inputs are captured."""
        if self.closed:
            raise self.tracing.escaped()
        return super().apply(op, self.tracing.lifted(inputs), parameters)

    def put(self, entry: Any) -> None:
        """Add to the queue. Nobody is woken. Refuses data that would make the program large."""
        array = entry.array if isinstance(entry, Recorded) else None
        if array is not None and array.nbytes > _MOST_CONSTANT_BYTES:
            raise self.tracing.refuse(
                f"it makes a tensor of {array.nbytes:,} bytes of data, which would be sent with the program; make it outside, give "
                "the array as an argument, or make it with telegrad.zeros, arange and the like"
            )
        self.sink.append(entry)

    def end_of(self, node: Any) -> Any:
        """See ``Recorder.end_of``; for a leaf from outside of the trace it is the twin's."""
        return super().end_of(node) if (found := self.tracing.end_of(node)) is None else found

    def cannot_ask(self, why: str) -> AutogradError:
        """See ``Recorder.cannot_ask``."""
        return self.tracing.refuse(why)

    def release(self) -> None:
        """Keep the names: what can go before the end of a run, whoever compiles the program sees."""
        self.released.clear()

    def check(self, inputs: Sequence[Any]) -> None:
        """Refuse what a remote session refuses, and to go on when the trace has ended."""
        if self.closed:
            raise self.tracing.escaped()
        super().check(inputs)

    def read(self, reference: str, what: str, spec: Spec | None = None) -> Reply:  # noqa: ARG002 - for values only
        """Refuse to read values other than constants: while a function is traced, nothing is computed.

        What else is asked, a rehearsal answers.
        """
        self.ask_in_hook()
        self.check(())
        reply = Reply()
        if what == "value":
            known = self.tracing.constant(reference)
            if known is None:
                raise self.tracing.refuse(_VALUES)
            reply.array, description = known
        else:
            description = self.tracing.describe(reference)
        reply.result = {"tensor": description}
        return reply


class _TracesSession:
    """What both kinds of trace sessions do otherwise than the sessions whose place they take."""

    _recorder: Recorder
    tracing: Tracing

    def __repr__(self) -> str:
        return f"<session of the trace of {self.tracing.name}>"

    def backward(
        self,
        tensors: Any,
        grad_tensors: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """See ``RemoteSession.backward``."""
        lift = self.tracing.lifted_all
        self._session().backward(self, lift(tensors), lift(grad_tensors), retain_graph, create_graph, lift(inputs))

    def grad(self, outputs: Any, inputs: Any, grad_outputs: Any = None, *settings: Any, **more: Any) -> tuple[Any, ...]:
        """See ``RemoteSession.grad``."""
        lift = self.tracing.lifted_all
        outputs, inputs = lift(outputs), lift(inputs)
        found: tuple[Any, ...] = self._session().grad(self, outputs, inputs, lift(grad_outputs), *settings, **more)
        unused = [x for x, gradient in zip(_several(inputs), found, strict=True) if gradient is None]
        if any(map(self.tracing.is_hole, unused)) and not Reach([x.history() for x in _several(outputs)]).certain:
            self.tracing.refuse_unknown()
        return found

    def _session(self) -> Any:
        """The class whose methods do the work."""
        return RemoteSession if isinstance(self, RemoteSession) else AsyncSession

    def _refuse(self, what: str) -> NoReturn:
        raise self.tracing.refuse(f"{what} is not possible in a traced function; do it outside")

    @property
    def id(self) -> str:
        """Refused: a program does not depend on where it runs."""
        self._refuse("session.id")

    def name(self, *arguments: Any) -> NoReturn:  # noqa: ARG002 - refused whatever they are
        """Refused: the name would last beyond the run."""
        self._refuse("session.name()")

    def tensor_by_name(self, *arguments: Any) -> NoReturn:  # noqa: ARG002 - refused whatever they are
        """Refused: what the name means is known when the program runs."""
        self._refuse("session.tensor_by_name()")

    def graph(self, *arguments: Any, **settings: Any) -> NoReturn:  # noqa: ARG002 - refused whatever they are
        """Refused: there is no graph yet."""
        self._refuse("session.graph()")

    def summary(self, *arguments: Any) -> NoReturn:  # noqa: ARG002 - refused whatever they are
        """Refused: there is no graph yet."""
        self._refuse("telegrad.summary()")

    def flush(self) -> NoReturn:
        """Refused: a run is done as a whole."""
        self._refuse("session.flush()")

    def close(self) -> NoReturn:
        """Refused: the program runs in the session."""
        self._refuse("session.close()")

    @property
    def closed(self) -> bool:
        """Whether the trace is over."""
        return self._recorder.closed


class TraceSession(_TracesSession, RemoteSession):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Where a function is traced that will run in this process or in a session of ``connect``."""

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self._recorder = TraceRecorder(tracing, TracedTensor, self)

    def wait_for(self, reply: Reply) -> Reply:
        """Have the rehearsal answer."""
        return self.tracing.answered(reply)

    def resolve_grads(self, tensor: Any) -> None:
        """Ask the rehearsal about every gradient that is not known."""
        _autograd.learn_grads(self._recorder, _autograd.ask_grads(self._recorder, tensor))

    def _reaches_others(self, roots: Sequence[Any], leaves: Sequence[Any]) -> bool:
        return super()._reaches_others(self.tracing.lifted(roots), self.tracing.lifted(leaves))

    def _attach(
        self,
        backward: Backward,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        flows: Sequence[bool],
        dirty: Sequence[bool],
        saved: Sequence[Any],
    ) -> list[Any]:
        lift = self.tracing.lifted
        return super()._attach(backward, lift(inputs), lift(outputs), flows, dirty, saved)

    def _keep_output(self, tensor: Any) -> Callable[[], Any]:
        return super()._keep_output(self.tracing.lift(tensor))

    def _written(self, tensor: Any) -> int:
        return super()._written(self.tracing.lift(tensor))

    def _grad_at(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], create_graph: bool) -> Sequence[Any]:
        lift = self.tracing.lifted
        return super()._grad_at(lift(outputs), lift(inputs), lift(vectors), create_graph)


class AsyncTraceSession(_TracesSession, AsyncSession):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Where a function is traced that will run in a session of ``connect_async``."""

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self._recorder = TraceRecorder(tracing, AsyncTracedTensor, self)

    async def wait_for(self, reply: Reply) -> Reply:
        """Have the rehearsal answer."""
        return self.tracing.answered(reply)


class _TracesTensor:
    """What both kinds of traced tensors do otherwise than the tensors whose place they take."""

    __slots__ = ()

    def register_hook(self, hook: Callable[[Any], Any]) -> Any:
        """See ``Tensor.register_hook``. Refused on what was not made in the traced function."""
        _refuse_hook(cast(Handle, self), "register_hook")
        return super().register_hook(hook)  # type: ignore[misc]

    def register_post_accumulate_grad_hook(self, hook: Callable[[Any], None]) -> Any:
        """See ``Tensor.register_post_accumulate_grad_hook``. Refused on what was not made in the traced function."""
        _refuse_hook(cast(Handle, self), "register_post_accumulate_grad_hook")
        return super().register_post_accumulate_grad_hook(hook)  # type: ignore[misc]

    def resolve_shape(self) -> NoReturn:
        """Refused: a rehearsal's values are made up."""
        raise _tracing(cast(Handle, self)).refuse(_SHAPE)

    def learn(self, description: dict[str, Any]) -> None:
        """Take over what a rehearsal says, but for the shape where that depends on values."""
        me = cast(Handle, self)
        spec = me._spec
        super().learn(description)  # type: ignore[misc]
        me._spec = spec

    def _take_data(self, value: Any) -> None:
        super()._take_data(_tracing(cast(Handle, self)).lift(value))  # type: ignore[misc]


def _several(x: Any) -> Sequence[Any]:
    return (x,) if isinstance(x, Handle) else x


def _tracing(tensor: Handle) -> Tracing:
    return cast(TraceRecorder, tensor._home).tracing


def _refuse_hook(tensor: Handle, what: str) -> None:
    tracing = _tracing(tensor)
    if tracing.is_hole(tensor):
        raise tracing.refuse(
            f"{what}() on a tensor that the traced function did not make would register one more hook at every call; register it "
            "outside, once: the trace calls it"
        )


class TracedTensor(_TracesTensor, Tensor):
    """A tensor of a trace, for functions that run in this process or in a session of ``connect``."""

    __slots__ = ()

    @property
    def grad(self) -> Any:
        """See ``Tensor.grad``."""
        return Tensor.grad.fget(self)  # type: ignore[attr-defined]

    @grad.setter
    def grad(self, value: Any) -> None:
        Tensor.grad.fset(self, _tracing(self).lift(value))  # type: ignore[attr-defined]

    @grad.deleter
    def grad(self) -> None:
        self.grad = None


class AsyncTracedTensor(_TracesTensor, AsyncTensor):
    """A tensor of a trace, for functions that run in a session of ``connect_async``."""

    __slots__ = ()

    @property
    def grad(self) -> Any:
        """See ``AsyncTensor.grad``."""
        return AsyncTensor.grad.fget(self)  # type: ignore[attr-defined]

    @grad.setter
    def grad(self, value: Any) -> None:
        AsyncTensor.grad.fset(self, _tracing(self).lift(value))  # type: ignore[attr-defined]


tracing.register_twins(TraceSession, TracedTensor)
tracing.register_twins(AsyncTraceSession, AsyncTracedTensor)
