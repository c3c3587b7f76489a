"""Sessions and tensors on a server, with plain calls: what ``telegrad.connect(url)`` gives."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy.typing as npt

from telegrad import _autograd, _buffers, _custom, _defaults, _walks
from telegrad._exchange import Exchange
from telegrad._flight import Traffic
from telegrad._handle import Handle
from telegrad._history import UNKNOWN, Leaf, Node, Unknown
from telegrad._queue import Reply
from telegrad._reading import ask, take
from telegrad._recorder import Recorder
from telegrad._retries import Retries
from telegrad._sender import Sender
from telegrad._transport import NotSent, Transport, run
from telegrad.contract import checks, tracing
from telegrad.contract.custom import Backward
from telegrad.contract.datasets import content_name
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import AutogradError, NotFoundError, SessionError, TelegradError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import Shape, Spec
from telegrad.contract.session import BaseSession, one_or_many
from telegrad.contract.summary import Summary
from telegrad.contract.tensor.tensor import GraphNode
from telegrad.contract.tensor.tensor import Tensor as AbstractTensor
from telegrad.contract.transforms.wrapper import adopted, running, settled

if TYPE_CHECKING:
    from telegrad.contract.codec import Array
    from telegrad.contract.tracing import Programs


class Tensor(Handle, AbstractTensor):
    """A tensor on a server. Ops are recorded; reads send what was recorded and wait. See ``Tensor``."""

    __slots__ = ()

    @property
    def session(self) -> RemoteSession:
        """The session that the tensor lives in."""
        return cast(RemoteSession, self._home.session)

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions; asks the server only where they depend on values."""
        if self._spec is None:
            self.resolve_shape()
        return cast(Spec, self._spec).shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        found = self.known_dtype()
        if found is None:
            self.resolve_shape()
            found = cast(Spec, self._spec).dtype
        return found

    def resolve_shape(self) -> None:
        """Ask the server for shape and element type."""
        self._describe()

    def resolve_history(self) -> dict[str, Any]:
        """Ask the server how the tensor was made; its description."""
        return self._describe()

    def _describe(self) -> dict[str, Any]:
        description: dict[str, Any] = self.session.ask(self._name, "description")["tensor"]
        self.learn(description)
        return description

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        known = self.history()
        return bool(self._describe()["requires_grad"]) if isinstance(known, Unknown) else known is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        _autograd.set_requires_grad(self, value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of a leaf in place, and return the tensor. Nothing where a non-leaf is to require grad: it does."""
        _autograd.set_requires_grad(self, requires_grad, may_have_history=True)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        known = self.history()
        return (
            bool(_autograd.with_history(self._describe())["is_leaf"])
            if isinstance(known, Unknown)
            else known is None or isinstance(known, Leaf)
        )

    @property
    def grad_fn(self) -> GraphNode | None:
        """The node that made this tensor."""
        known = self.history()
        if isinstance(known, Unknown) or (isinstance(known, Node) and not known.exact):
            return _autograd.described_node(self, self._describe())
        if isinstance(known, Node):
            known.tensor = weakref.ref(self)
        return None if isinstance(known, Leaf) else known

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated so far, or None."""
        found = _autograd.known_grad(self)
        if found is UNKNOWN:
            self.session.resolve_grads(self)
            found = _autograd.known_grad(self, resolved=True)
        _autograd.warn_if_never_there(self, found)
        return cast("Tensor | None", found)

    @grad.setter
    def grad(self, value: AbstractTensor | None) -> None:
        _autograd.set_grad(self, value)

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on this non-leaf."""
        return self.history() is not None and bool(_autograd.with_history(self._describe())["retains_grad"])

    @property
    def _version(self) -> int:
        if self.is_inference():
            raise AutogradError(checks.INFERENCE_VERSION)
        return int(self._describe()["version"])

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``grad`` when backward passes it."""
        _autograd.retain_grad(self)

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:
        """The values as a read-only numpy array: writing into this copy would change nothing on the server."""
        if not force and is_grad_enabled() and self.requires_grad:
            raise AutogradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._value()

    def _value(self) -> npt.NDArray[Any]:
        writes, asked = self._home.writes, ask(self)
        if asked is not None:
            self.session.wait_for(asked.reply)
            take(asked, writes)
        return cast("npt.NDArray[Any]", self.extra().value)


class RemoteSession(BaseSession):
    """A session on a server. Ops are recorded and leave together; see ``telegrad.connect``."""

    def __init__(self, transport: Transport, *, session: str | None, eager: bool, retries: Retries) -> None:
        """Open a session on the server, or attach to ``session``. Made by ``telegrad.connect``."""
        limit = 1 if eager else _defaults.FLUSH_COMMANDS
        reference = weakref.ref(self)

        def wake(count: int) -> None:
            found = reference()
            if found is not None:
                found._wake(count)

        self._recorder = Recorder(Tensor, self, wake, limit)
        self._recorder.shared = session is not None
        self._recorder.waits = True
        self._exchange = Exchange(self._recorder, retries, session)
        self._transport = transport
        self._traffic = Traffic(self._exchange, transport)
        if self._traffic.departs and not eager:
            self._recorder.depart = self._traffic.depart
        self._eager = eager
        self._limit = limit
        self._full = False
        self._sender: Sender | None = None
        try:
            self._traffic.run(self._exchange.open())
        except BaseException:
            self._transport.close()
            raise

    @property
    def id(self) -> str:
        """The session's id on the server; others attach with ``telegrad.connect(url, session=id)``."""
        if self._exchange.id is None:
            raise SessionError("the session is not open")
        return self._exchange.id

    def __repr__(self) -> str:
        state = "closed" if self._recorder.closed else f"{len(self._recorder.queue)} recorded"
        return f"<RemoteSession {self.id}, {state}>"

    # Recording ---------------------------------------------------------------------------------------------------------------

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        return self._recorder.apply(op, inputs, parameters)

    _allocate = staticmethod(_buffers.allocate)

    def _create(self, array: Any, requires_grad: bool) -> Tensor:
        made: Tensor = _autograd.create(self._recorder, array, requires_grad)
        return adopted(made) if running() else made

    def _wake(self, count: int) -> None:
        if self._eager:
            self.flush()
            return
        if self._sender is None:
            self._sender = Sender(self)
        if count >= self._limit:
            self._recorder.check(())
            self._sender.hand_over()
        else:
            self._sender.begin()

    def manual_seed(self, seed: int) -> Self:
        """Restart the session's random generator."""
        _autograd.seed(self._recorder, seed)
        return self

    def get_rng_state(self) -> Tensor:
        """See ``BaseSession.get_rng_state``."""
        return cast(Tensor, _autograd.rng_state(self._recorder))

    def set_rng_state(self, new_state: AbstractTensor) -> None:
        """See ``BaseSession.set_rng_state``."""
        _autograd.set_rng_state(self._recorder, new_state)

    def backward(
        self,
        tensors: AbstractTensor | Sequence[AbstractTensor],
        grad_tensors: AbstractTensor | Sequence[AbstractTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: AbstractTensor | Sequence[AbstractTensor] | None = None,
    ) -> None:
        """Accumulate gradients; see ``telegrad.autograd.backward``."""
        _walks.backward(
            self._recorder,
            settled(one_or_many(tensors, "tensors"), all_of_them=True),
            None if grad_tensors is None else settled(one_or_many(grad_tensors, "grad_tensors"), all_of_them=True),
            retain_graph,
            create_graph,
            None if inputs is None else settled(one_or_many(inputs, "inputs"), all_of_them=True),
        )

    def grad(
        self,
        outputs: AbstractTensor | Sequence[AbstractTensor],
        inputs: AbstractTensor | Sequence[AbstractTensor],
        grad_outputs: AbstractTensor | Sequence[AbstractTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        allow_unused: bool | None = None,
        is_grads_batched: bool = False,
        materialize_grads: bool = False,
    ) -> tuple[Any, ...]:
        """Gradients as new tensors; see ``telegrad.autograd.grad``. Waits only where which of them exist is not known here."""
        results, reply = _walks.grad(
            self._recorder,
            settled(one_or_many(outputs, "outputs")),
            settled(one_or_many(inputs, "inputs")),
            None if grad_outputs is None else settled(one_or_many(grad_outputs, "grad_outputs")),
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
            is_grads_batched=is_grads_batched,
            materialize_grads=materialize_grads,
        )
        if reply is None:
            return results
        present = self.wait_for(reply).take()["present"]
        return _walks.keep_present(results, present)

    def _reaches_others(self, roots: Sequence[Any], leaves: Sequence[Any]) -> bool:
        return _walks.reaches_others(roots, leaves)

    def _attach(
        self,
        backward: Backward,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        flows: Sequence[bool],
        dirty: Sequence[bool],
        saved: Sequence[Any],  # noqa: ARG002 - the server counts what has names
    ) -> list[Any]:
        return _custom.attach(self._recorder, backward, inputs, outputs, flows, dirty)

    def _keep_output(self, tensor: Any) -> Callable[[], Any]:
        return _custom.keep_output(self._recorder, tensor)

    def _written(self, tensor: Any) -> int:
        return _custom.written(self._recorder, tensor)

    def _begin_block(self, preserve: bool) -> Any:
        return _custom.Block(self._recorder, preserve)

    def _leave_block(self, block: Any) -> None:
        cast("_custom.Block", block).leave()

    def _end_block(self, block: Any) -> Callable[[Callable[[], Any]], Any]:
        return cast("_custom.Block", block).end()

    def _grad_at(self, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], create_graph: bool) -> Sequence[Any]:
        results, reply = _walks.grad(
            self._recorder,
            settled(outputs),
            settled(inputs),
            settled(vectors),
            retain_graph=None,
            create_graph=create_graph,
            allow_unused=True,
            is_grads_batched=False,
            materialize_grads=False,
            bounded=True,
        )
        return results if reply is None else _walks.keep_present(results, self.wait_for(reply).take()["present"])

    def _enclose(self, block: Any, outputs: Sequence[Any]) -> tuple[Sequence[Any], list[Any], str]:
        return cast("_custom.Block", block).enclose(outputs)

    def name(self, tensor: AbstractTensor, name: str) -> None:
        """Give a tensor a lasting name, by which other clients find it. The tensor keeps it when the handle is gone."""
        _autograd.give_name(self._recorder, tensor, name)

    def _dataset(self, array: Any) -> Tensor:
        name = content_name(array)
        reply = self.wait_for(self._recorder.read(name, "description"))
        if isinstance(reply.error, NotFoundError):
            _autograd.upload_data(self._recorder, name, array)
            self.flush()
        else:
            reply.take()
        return cast(Tensor, _autograd.data_set(self._recorder, name, array))

    def tensor_by_name(self, name: str) -> Tensor:
        """A handle to the tensor that has this name on the server. Raises NotFoundError if there is none."""
        handle, reply = _autograd.find_name(self._recorder, name)
        handle.learn(self.wait_for(reply).take()["tensor"])
        return cast(Tensor, handle)

    @functools.cached_property
    def _programs(self) -> Programs:
        from telegrad._traced import RecordedPrograms  # only where functions are traced

        return RecordedPrograms(self._recorder)

    def _upload(self, arrays: Sequence[Array]) -> list[Tensor]:
        """New tensors of these arrays, sent at once and past what is recorded: in another thread, while the server computes."""
        made = [_autograd.unsent(self._recorder, array) for array in arrays]
        try:
            run(self._exchange.upload({x._name: array for x, array in zip(made, arrays, strict=True)}), self._transport)
        except BaseException:
            self._recorder.unmade.update(x._name for x in made)
            raise
        return cast("list[Tensor]", made)

    def stop_run(self, run_id: str) -> None:
        """Let runs of a program that are under way end after the one that they are in; nothing if they have ended."""
        with contextlib.suppress(NotSent, TelegradError):  # a server that cannot be reached stops it when nobody comes back
            self._transport.send(self._exchange.stop_run(run_id))

    # Asking ------------------------------------------------------------------------------------------------------------------

    def ask(self, reference: str, what: str) -> dict[str, Any]:
        """The server's answer to a read."""
        return self.wait_for(self._recorder.read(reference, what)).take()

    def wait_for(self, reply: Reply) -> Reply:
        """Send what is recorded until the reply is there."""
        if not reply.done:
            self.flush()
        return reply

    def resolve_grads(self, tensor: Tensor) -> None:
        """Ask the server about every gradient that is not known, of this tensor and of all leaves, in one request."""
        questions = _autograd.ask_grads(self._recorder, tensor)
        self.flush()
        _autograd.learn_grads(self._recorder, questions)

    def graph(self, root: AbstractTensor, format: str = "json", *, max_nodes: int | None = None, collapse: bool = True) -> Any:
        """The autograd graph that leads to ``root``; see ``BaseSession.graph``."""
        name = _autograd.name_of(self._recorder, root, "root")
        self.flush()
        return self._traffic.run(self._exchange.graph(name, format, max_nodes, collapse))

    def summary(self, root: AbstractTensor) -> Summary:
        """What the graph that leads to ``root`` holds; see ``telegrad.summary``."""
        name = _autograd.name_of(self._recorder, root, "root")
        self.flush()
        return self._traffic.run(self._exchange.summary(name))

    def flush(self) -> None:
        """Send what is recorded and wait until it is applied. Raises the first error of the recorded commands."""
        self._recorder.check(())
        self._traffic.run(self._exchange.flush())

    def flush_in_background(self, taken: Callable[[], None] | None = None) -> None:
        """Send what is recorded; an error is raised at the next flush that somebody waits for.

        ``taken`` is called when the queue is empty again, so that others can record while this is computed.
        """
        with self._traffic.lock:
            if self._recorder.closed or not self._recorder.can_send:
                return
            try:
                self._traffic.run(self._exchange.flush(taken, background=True))
            except TelegradError as error:
                self._exchange.remember(error)

    # Closing -----------------------------------------------------------------------------------------------------------------

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and len(self._blocks) == 1 and self._recorder.can_send:
            # The script failed: what it had recorded is not wanted any more, and a second error would hide the first.
            self._traffic.abandon()
        super().__exit__(kind, value, trace)

    def close(self) -> None:
        """Send what is recorded, then free everything the session holds on the server.

        A session that was attached to goes on.
        """
        recorder = self._recorder
        if self.closed:
            return
        if not recorder.can_send:
            recorder.close()
            return
        with self._traffic.lock:
            if recorder.closed:
                return
            try:
                self._traffic.land()
                if self._exchange.has_work():
                    self._traffic.run(self._exchange.flush())
            finally:
                recorder.close()
                try:
                    self._traffic.run(self._exchange.close())
                finally:
                    self._transport.close()
                    _buffers.forget()

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._recorder.closed


tracing.register(RemoteSession, Tensor)

__all__ = ["RemoteSession", "Tensor"]
