"""Sessions on a server, for ``async`` code: what ``telegrad.connect_async(url)`` gives.

Ops are plain calls, as in a ``RemoteSession``; the same names are awaited where the server may have to be asked:
``await x.item()``, ``await x.grad``, ``await session.flush()``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import weakref
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from telegrad import _autograd, _buffers, _defaults, _walks
from telegrad._async_tensor import AsyncTensor
from telegrad._exchange import Exchange
from telegrad._queue import Reply
from telegrad._recorder import Recorder
from telegrad._retries import Retries
from telegrad._transport import AsyncTransport, NotSent, Procedure, run_async
from telegrad.contract import tracing
from telegrad.contract.datasets import content_name
from telegrad.contract.dtypes import DTypeLike, as_dtype
from telegrad.contract.errors import NotFoundError, SessionError, TelegradError
from telegrad.contract.literal import array_of
from telegrad.contract.session import BaseSession, make_current, one_or_many, reset_current
from telegrad.contract.summary import Summary
from telegrad.contract.tensor.creation import CreationOps

if TYPE_CHECKING:
    from telegrad.contract.tracing import Programs

R = TypeVar("R")


class AsyncSession(CreationOps[AsyncTensor]):
    """A session on a server for ``async`` code. Ops are recorded and leave together; see ``telegrad.connect_async``."""

    __reduce_ex__ = BaseSession.__reduce_ex__  # which refuses

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
        self._blocks: list[None] = []

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

    _allocate = staticmethod(_buffers.allocate)

    def _create(self, array: Any, requires_grad: bool) -> AsyncTensor:
        return cast(AsyncTensor, _autograd.create(self._recorder, array, requires_grad))

    def manual_seed(self, seed: int) -> Self:
        """Restart the session's random generator."""
        _autograd.seed(self._recorder, seed)
        return self

    def get_rng_state(self) -> AsyncTensor:
        """See ``BaseSession.get_rng_state``."""
        return cast(AsyncTensor, _autograd.rng_state(self._recorder))

    def set_rng_state(self, new_state: AsyncTensor) -> None:
        """See ``BaseSession.set_rng_state``."""
        _autograd.set_rng_state(self._recorder, new_state)

    def backward(
        self,
        tensors: AsyncTensor | Sequence[AsyncTensor],
        grad_tensors: AsyncTensor | Sequence[AsyncTensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: AsyncTensor | Sequence[AsyncTensor] | None = None,
    ) -> None:
        """Accumulate gradients; see ``telegrad.autograd.backward``."""
        _walks.backward(
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
        results, _ = _walks.grad(
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
        recorder = self._recorder
        if count >= _defaults.AWAIT_COMMANDS or recorder.queued_bytes >= _defaults.AWAIT_BYTES:
            recorder.crowded = recorder.attention = True
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
        recorder, is_first = self._recorder, True
        while is_first or recorder.is_full:  # it may have been filled meanwhile
            is_first = False
            async with self._sending:
                if recorder.closed or os.getpid() != recorder.process:
                    return
                try:
                    await self._run(self._exchange.flush(background=True))
                except TelegradError as error:
                    self._exchange.remember(error)
                    return

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
        self._blocks.append(None)
        make_current(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        reset_current(self)
        self._blocks.pop()
        if not self._blocks:
            if kind is not None:
                # The script failed: what it had recorded is not wanted any more, and a second error would hide the first.
                self._exchange.discard()
            await self.close()

    async def close(self) -> None:
        """Send what is recorded, then free everything the session holds on the server.

        A session that was attached to goes on.
        """
        recorder = self._recorder
        if self.closed:
            return
        if self._silence is not None:
            self._silence.cancel()
        if os.getpid() != recorder.process:
            recorder.close()
            return
        async with self._sending:
            if recorder.closed:
                return
            try:
                if self._exchange.has_work():
                    await self._run(self._exchange.flush())
            finally:
                recorder.close()
                try:
                    await self._run(self._exchange.close())
                finally:
                    await self._transport.close()
                    _buffers.forget()

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._recorder.closed


tracing.register(AsyncSession, AsyncTensor)

__all__ = ["AsyncSession", "AsyncTensor"]
