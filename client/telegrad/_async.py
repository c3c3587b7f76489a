"""Sessions and tensors on a server, for ``async`` code: what ``telegrad.connect_async(url)`` gives.

Ops are plain calls, as in a ``RemoteSession``; the same names are awaited where the server may have to be asked:
``await x.item()``, ``await x.grad``, ``await session.flush()``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import weakref
from collections.abc import Awaitable, Generator, Sequence
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy.typing as npt

from telegrad import _autograd, _defaults
from telegrad._exchange import Exchange
from telegrad._handle import Handle
from telegrad._history import UNKNOWN, Leaf, Node
from telegrad._queue import Reply
from telegrad._recorder import Recorder
from telegrad._retries import Retries
from telegrad._transport import AsyncTransport, NotSent, Procedure, run_async
from telegrad.contract import tracing
from telegrad.contract.datasets import content_name
from telegrad.contract.dtypes import DType, DTypeLike, as_dtype
from telegrad.contract.errors import ArgumentTypeError, AutogradError, NotFoundError, SessionError, ShapeError, TelegradError
from telegrad.contract.literal import array_of
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import Shape
from telegrad.contract.session import BaseSession, make_current, one_or_many, reset_current
from telegrad.contract.summary import Summary
from telegrad.contract.tensor.creation import CreationOps
from telegrad.contract.tensor.tensor import GraphNode

if TYPE_CHECKING:
    from telegrad.contract.codec import Array
    from telegrad.contract.tracing import Programs

R = TypeVar("R")


class AsyncTensor(Handle):
    """A tensor on a server. Ops are plain calls that record; reads are awaited. Otherwise as ``Tensor``."""

    __slots__ = ()

    @property
    def session(self) -> AsyncSession:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The session that the tensor lives in."""
        return cast(AsyncSession, self._home.session)

    # Known without asking, or an error that says how to ask -------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions. Raises SessionError where they depend on values that were not asked for yet."""
        if self._spec is None:
            self.resolve_shape()
        return cast(Any, self._spec).shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        """Element type. Raises SessionError where it depends on a shape that was not asked for yet."""
        found = self.known_dtype()
        if found is None:
            self.resolve_shape()
        return cast(DType, found)

    def resolve_shape(self) -> None:
        """Refuse: a plain call cannot ask the server."""
        raise SessionError("this tensor's shape depends on values that only the server has; `await tensor.describe()` asks for it")

    def resolve_history(self) -> dict[str, Any]:
        """Refuse: a plain call cannot ask the server."""
        raise SessionError("how this tensor was made is known to the server only; `await tensor.describe()` asks for it")

    def _value(self) -> npt.NDArray[Any]:
        """Refuse: what needs values at once, as ``allclose`` does, cannot be a plain call here."""
        raise SessionError("a plain call cannot ask the server for values; await them first, for example with `await x.numpy()`")

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.dtype.itemsize

    def element_size(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    def nelement(self) -> int:
        """Number of elements."""
        return self.numel()

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    def size(self, dim: int | None = None) -> Any:
        """All sizes as a tuple, or the size of one dimension."""
        if dim is None:
            return self.shape
        from telegrad.contract.shapes import dimension

        return self.shape[dimension(dim, self.ndim)]

    def ndimension(self) -> int:
        """``dim()`` under its older name."""
        return len(self.shape)

    def is_signed(self) -> bool:
        """Whether the element type has negative numbers."""
        return self.dtype.is_signed

    def is_floating_point(self) -> bool:
        """Whether the element type is a real floating-point type."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the element type is complex."""
        return self.dtype.is_complex

    # Awaited -----------------------------------------------------------------------------------------------------------------

    async def describe(self) -> dict[str, Any]:
        """What the server says of the tensor, without its values: shape, dtype, requires_grad, is_leaf, grad_fn, version, ..."""
        description: dict[str, Any] = (await self.session.ask(self._name, "description"))["tensor"]
        self.learn(description)
        return description

    async def _requires_grad(self) -> bool:
        known = self.history()
        return bool((await self.describe())["requires_grad"]) if known is UNKNOWN else known is not None

    @property
    def requires_grad(self) -> Awaitable[bool]:
        """``await x.requires_grad``: whether gradients are computed for this tensor. Assigned as it is: ``x.requires_grad =
        True``.
        """
        return self._requires_grad()

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        _autograd.set_requires_grad(self, value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of a leaf in place, and return the tensor."""
        _autograd.set_requires_grad(self, requires_grad, may_have_history=True)
        return self

    async def _is_leaf(self) -> bool:
        known = self.history()
        if known is UNKNOWN:
            return bool((await self.describe())["is_leaf"])
        return known is None or isinstance(known, Leaf)

    @property
    def is_leaf(self) -> Awaitable[bool]:
        """``await x.is_leaf``: whether no recorded op made this tensor."""
        return self._is_leaf()

    async def _grad_fn(self) -> GraphNode | None:
        known = self.history()
        if known is UNKNOWN or (isinstance(known, Node) and not known.exact):
            return _autograd.described_node(self, await self.describe())
        return None if isinstance(known, Leaf) else known

    @property
    def grad_fn(self) -> Awaitable[GraphNode | None]:
        """``await x.grad_fn``: the node that made this tensor."""
        return self._grad_fn()

    async def _grad(self) -> AsyncTensor | None:
        found = _autograd.known_grad(self)
        if found is UNKNOWN:
            questions = _autograd.ask_grads(self._home, self)
            for _, reply in questions:
                await self.session.wait_for(reply)
            _autograd.learn_grads(self._home, questions)
            found = _autograd.known_grad(self, resolved=True)
        _autograd.warn_if_never_there(self, found)
        return cast("AsyncTensor | None", found)

    @property
    def grad(self) -> Awaitable[AsyncTensor | None]:
        """``await x.grad``: the gradient accumulated so far, or None. Assigned as it is: ``x.grad = None``."""
        return self._grad()

    @grad.setter
    def grad(self, value: AsyncTensor | None) -> None:
        _autograd.set_grad(self, value)

    async def _retains_grad(self) -> bool:
        return self.history() is not None and bool((await self.describe())["retains_grad"])

    @property
    def retains_grad(self) -> Awaitable[bool]:
        """``await x.retains_grad``: whether ``retain_grad()`` was called on this non-leaf."""
        return self._retains_grad()

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``grad`` when backward passes it."""
        _autograd.retain_grad(self)

    def backward(
        self,
        gradient: AsyncTensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: AsyncTensor | Sequence[AsyncTensor] | None = None,
    ) -> None:
        """Accumulate the gradients of this tensor into the ``grad`` of the leaves that it depends on; see ``Tensor.backward``."""
        self.session.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph, inputs=inputs)

    async def _read(self) -> npt.NDArray[Any]:
        home, extra = self._home, self.extra()
        if extra.value is None or extra.writes != home.writes or home.shared:
            writes = home.writes
            reply = await self.session.wait_for(home.read(self._name, "value"))
            array = cast("Array", reply.array)
            self.learn(reply.take()["tensor"])
            extra.value, extra.writes = array, writes
        return cast("npt.NDArray[Any]", extra.value)

    async def numpy(self) -> npt.NDArray[Any]:
        """The values as a read-only numpy array: a copy of what the server has."""
        if is_grad_enabled() and await self._requires_grad():
            raise AutogradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return await self._read()

    async def is_nonzero(self) -> bool:
        """Whether the one element is not zero. Raises ShapeError for none or several."""
        value = await self._read()
        if value.size != 1:
            what = "no values" if value.size == 0 else "more than one value"
            raise ShapeError(f"Boolean value of Tensor with {what} is ambiguous; use any() or all()")
        return bool(value.item())

    async def item(self) -> Any:
        """The value of a one-element tensor as a Python number. Raises ShapeError for any other number of elements."""
        value = await self._read()
        if value.size != 1:
            raise ShapeError(f"a Tensor with {value.size} elements cannot be converted to Scalar")
        return value.item()

    async def tolist(self) -> Any:
        """The values as nested lists of Python numbers (a plain number for a 0-d tensor)."""
        return (await self._read()).tolist()

    # Python's protocols ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Any:
        if not self.shape:
            raise ArgumentTypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        raise SessionError("a plain call cannot ask the server for the value; write `if await tensor.item():`")

    def __hash__(self) -> int:
        return id(self)

    # numpy must leave `array + tensor` to our reflected operators instead of looping over elements.
    __array_ufunc__ = None

    def __repr__(self) -> str:
        shape = "unknown" if self._spec is None else list(self._spec.shape)
        dtype = self.known_dtype()
        return f"<AsyncTensor {self._name}, shape {shape}, dtype {'unknown' if dtype is None else dtype.name}>"


class AsyncSession(CreationOps[AsyncTensor]):
    """A session on a server for ``async`` code. Ops are recorded and leave together; see ``telegrad.connect_async``."""

    def __init__(self, transport: AsyncTransport, *, session: str | None, retries: Retries) -> None:
        """Prepare; the session is opened when it is entered or awaited, or with the first request. Made by ``connect_async``."""
        reference = weakref.ref(self)

        def wake(count: int) -> None:
            found = reference()
            if found is not None:
                found._wake(count)

        self._recorder = Recorder(AsyncTensor, self, wake, _defaults.FLUSH_COMMANDS)
        self._recorder.shared = session is not None
        self._exchange = Exchange(self._recorder, retries, session)
        self._transport = transport
        self._sending = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None
        self._stopping: asyncio.Future[Any] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._tokens: list[Token[BaseSession | None]] = []

    async def _run(self, procedure: Procedure[R]) -> R:
        return await run_async(procedure, self._transport)

    @property
    def id(self) -> str:
        """The session's id on the server; others attach with ``telegrad.connect(url, session=id)``."""
        if self._exchange.id is None:
            raise SessionError("the session is not open yet: enter it with `async with`, or await it")
        return self._exchange.id

    def __repr__(self) -> str:
        state = "closed" if self._recorder.closed else f"{len(self._recorder.queue)} recorded"
        return f"<AsyncSession {self._exchange.id or 'not open yet'}, {state}>"

    # Recording ---------------------------------------------------------------------------------------------------------------

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        return self._recorder.apply(op, inputs, parameters)

    def _create(self, array: Any, requires_grad: bool) -> AsyncTensor:
        return cast(AsyncTensor, _autograd.create(self._recorder, array, requires_grad))

    def manual_seed(self, seed: int) -> Self:
        """Restart the session's random generator."""
        _autograd.seed(self._recorder, seed)
        return self

    def backward(
        self,
        tensors: AsyncTensor | Sequence[AsyncTensor],
        grad_tensors: AsyncTensor | Sequence[AsyncTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: AsyncTensor | Sequence[AsyncTensor] | None = None,
    ) -> None:
        """Accumulate gradients; see ``telegrad.autograd.backward``."""
        _autograd.backward(
            self._recorder,
            one_or_many(tensors, "tensors"),
            None if grad_tensors is None else one_or_many(grad_tensors, "grad_tensors"),
            retain_graph,
            create_graph,
            None if inputs is None else one_or_many(inputs, "inputs"),
        )

    def grad(
        self,
        outputs: AsyncTensor | Sequence[AsyncTensor],
        inputs: AsyncTensor | Sequence[AsyncTensor],
        grad_outputs: AsyncTensor | Sequence[AsyncTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        allow_unused: bool | None = None,
        is_grads_batched: bool = False,
        materialize_grads: bool = False,
    ) -> tuple[Any, ...]:
        """Gradients as new tensors; see ``telegrad.autograd.grad``.

        Raises SessionError where ``allow_unused`` is given and only the server knows which inputs are used.
        """
        results, _ = _autograd.grad(
            self._recorder,
            one_or_many(outputs, "outputs"),
            one_or_many(inputs, "inputs"),
            None if grad_outputs is None else one_or_many(grad_outputs, "grad_outputs"),
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
            is_grads_batched=is_grads_batched,
            materialize_grads=materialize_grads,
            may_wait=False,
        )
        return results

    def name(self, tensor: AsyncTensor, name: str) -> None:
        """Give a tensor a lasting name, by which other clients find it. The tensor keeps it when the handle is gone."""
        _autograd.give_name(self._recorder, tensor, name)

    @functools.cached_property
    def _programs(self) -> Programs:
        from telegrad._traced import RecordedPrograms  # only where functions are traced

        return RecordedPrograms(self._recorder)

    def stop_run(self, run_id: str) -> None:
        """Let runs of a program that are under way end after the one that they are in; nothing if they have ended."""
        self._stopping = asyncio.ensure_future(self._send_stop(run_id))

    async def _send_stop(self, run_id: str) -> None:
        with contextlib.suppress(NotSent, TelegradError):  # a server that cannot be reached stops it when nobody comes back
            await self._transport.send(self._exchange.stop_run(run_id))

    def resolve_grads(self, tensor: AsyncTensor) -> None:  # noqa: ARG002 - refused whatever it is
        """Refuse: a plain call cannot ask the server."""
        raise SessionError("whether this tensor has a gradient is known to the server only; `await tensor.grad` asks for it")

    # Asking ------------------------------------------------------------------------------------------------------------------

    async def dataset(self, data: Any, dtype: DTypeLike | None = None) -> AsyncTensor:
        """A tensor with ``data`` that stays as it is; uploaded only if the session lacks it. See ``BaseSession.dataset``."""
        array = array_of(data, None if dtype is None else as_dtype(dtype))
        name = content_name(array)
        reply = await self.wait_for(self._recorder.read(name, "description"))
        if isinstance(reply.error, NotFoundError):
            _autograd.upload_data(self._recorder, name, array)
            await self.flush()
        else:
            reply.take()
        return cast(AsyncTensor, _autograd.data_set(self._recorder, name, array))

    async def tensor_by_name(self, name: str) -> AsyncTensor:
        """A handle to the tensor that has this name on the server. Raises NotFoundError if there is none."""
        handle, reply = _autograd.find_name(self._recorder, name)
        handle.learn((await self.wait_for(reply)).take()["tensor"])
        return cast(AsyncTensor, handle)

    async def ask(self, reference: str, what: str) -> dict[str, Any]:
        """The server's answer to a read."""
        return (await self.wait_for(self._recorder.read(reference, what))).take()

    async def wait_for(self, reply: Reply) -> Reply:
        """Send what is recorded until the reply is there; a batch that another task sends may bring it."""
        async with self._sending:
            if not reply.done:
                await self._run(self._exchange.flush())
        return reply

    async def graph(self, root: AsyncTensor, format: str = "json", *, max_nodes: int | None = None, collapse: bool = True) -> Any:
        """The autograd graph that leads to ``root``; see ``BaseSession.graph``."""
        name = _autograd.name_of(self._recorder, root, "root")
        async with self._sending:
            await self._run(self._exchange.flush())
            return await self._run(self._exchange.graph(name, format, max_nodes, collapse))

    async def summary(self, root: AsyncTensor) -> Summary:
        """What the graph that leads to ``root`` holds; see ``telegrad.summary``."""
        name = _autograd.name_of(self._recorder, root, "root")
        async with self._sending:
            await self._run(self._exchange.flush())
            return await self._run(self._exchange.summary(name))

    async def flush(self) -> None:
        """Send what is recorded and wait until it is applied. Raises the first error of the recorded commands."""
        self._recorder.check(())
        async with self._sending:
            await self._run(self._exchange.flush())

    # Sending without being asked ---------------------------------------------------------------------------------------------

    def _wake(self, count: int) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # recorded outside of the loop: the next await sends it
        if count >= _defaults.FLUSH_COMMANDS:
            self._exchange.raise_trouble()
            self._begin_background(loop)
        elif self._silence is None:
            self._silence = loop.call_later(_defaults.FLUSH_SILENCE_SECONDS, self._heard_nothing, loop, 0)

    def _heard_nothing(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        self._silence = None
        count = len(self._recorder.queue)
        if self._recorder.closed or count == 0:
            return
        if count == before:
            self._begin_background(loop)
        else:
            self._silence = loop.call_later(_defaults.FLUSH_SILENCE_SECONDS, self._heard_nothing, loop, count)

    def _begin_background(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._background is None or self._background.done():
            self._background = loop.create_task(self._flush_in_background())

    async def _flush_in_background(self) -> None:
        async with self._sending:
            if self._recorder.closed or os.getpid() != self._recorder.process:
                return
            try:
                await self._run(self._exchange.flush(background=True))
            except TelegradError as error:
                self._exchange.remember(error)

    # Being current, and closing ----------------------------------------------------------------------------------------------

    async def _open(self) -> Self:
        async with self._sending:
            await self._run(self._exchange.open())
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._transport.close()
            raise
        self._tokens.append(make_current(self))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        reset_current(self._tokens.pop())
        if not self._tokens:
            if kind is not None:
                # The script failed: what it had recorded is not wanted any more, and a second error would hide the first.
                self._exchange.discard()
            await self.close()

    async def close(self) -> None:
        """Send what is recorded, then free everything the session holds on the server.

        A session that was attached to goes on.
        """
        recorder = self._recorder
        if recorder.closed:
            return
        if self._silence is not None:
            self._silence.cancel()
        if os.getpid() != recorder.process:
            recorder.close()
            return
        async with self._sending:
            try:
                if self._exchange.has_work():
                    await self._run(self._exchange.flush())
            finally:
                recorder.close()
                try:
                    await self._run(self._exchange.close())
                finally:
                    await self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._recorder.closed


tracing.register(AsyncSession, AsyncTensor)

__all__ = ["AsyncSession", "AsyncTensor"]
