"""The async twin: the same names, awaited where the server may have to be asked."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import telegrad
from telegrad import _defaults
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.tensor import Tensor
from telegrad.errors import NotFoundError, SessionClosedError, SessionError, ShapeError
from tests.client.wire import Wire, open_async

NOTHING: Any = None
"""Assigned without the checkers narrowing the attribute to None."""

Scenario = Callable[[telegrad.AsyncSession, Wire], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        async with open_async() as (session, wire):
            await scenario(session, wire)

    asyncio.run(main())


def test_a_training_step_is_one_round_trip() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x = telegrad.tensor([[1.0, 2.0], [3.0, 4.0]])
        made: list[Any] = [telegrad.tensor([[0.5], [-0.5]], requires_grad=True)]
        (w,) = made
        for _ in range(3):
            before = wire.trips
            loss: Any = ((x @ w - 1) ** 2).mean()
            loss.backward()
            with telegrad.no_grad():
                w -= 0.1 * await w.grad
            w.grad = NOTHING
            assert isinstance(await loss.item(), float)
            assert wire.trips == before + 1

    run(scenario)


def test_reads_are_awaited() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x: Any = session.tensor([1.0, 2.0], requires_grad=True)
        y = (x * x).sum()
        y.backward()
        assert await y.item() == 5
        assert (await (await x.grad).numpy()).tolist() == [2, 4]
        assert await x.detach().tolist() == [1, 2]
        assert (await x.requires_grad, await x.is_leaf, await y.is_leaf, await x.retains_grad) == (True, True, False, False)
        assert (await x.output_nr, await y.output_nr, await telegrad.unbind(x * 1)[1].output_nr) == (0, 0, 1)
        assert (await y.grad_fn).name() == "SumBackward0"
        assert (x.shape, x.dtype, len(x), x.numel()) == ((2,), telegrad.float32, 2, 2)
        assert (await y.describe())["grad_fn"] == "SumBackward0"
        assert "shape [2]" in repr(x)

    run(scenario)


def test_free_functions_of_autograd_serve_async_tensors() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x: Any = telegrad.ones(2, requires_grad=True)
        y: Any = telegrad.exp(x * 0).sum()

        (gradient,) = telegrad.autograd.grad(y, x, retain_graph=True)
        telegrad.autograd.backward(y * 3)

        assert await gradient.tolist() == [0, 0]
        assert await (await x.grad).tolist() == [0, 0]

    run(scenario)


def test_concurrent_reads_share_batches() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        before = wire.trips
        tensors: list[Any] = [session.full((2,), float(k)) for k in range(10)]

        values = await asyncio.gather(*(t.tolist() for t in tensors))

        assert values == [[k, k] for k in map(float, range(10))]
        assert wire.trips <= before + 2

    run(scenario)


def test_a_read_sees_what_was_recorded_before_it_and_nothing_later() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x: Any = session.zeros(1)
        reads = []
        for _ in range(5):
            reads.append(asyncio.ensure_future(x.item()))
            await asyncio.sleep(0)
            x += 1
        assert await asyncio.gather(*reads) == [0, 1, 2, 3, 4]

    run(scenario)


def test_errors_arrive_where_they_are_awaited() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        bad: Any = session.ones(2, 3).t().view(6)
        good: Any = session.ones(2)

        with pytest.raises(ShapeError, match="view") as raised:
            await bad.tolist()

        assert any("recorded at" in note for note in raised.value.__notes__)
        assert await good.tolist() == [1, 1]

    run(scenario)


def test_what_needs_a_value_at_once_says_how_to_ask() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x: Any = session.tensor([1.0, -1.0])
        positive = x[x > 0]
        for use in (lambda: positive.shape, lambda: bool(x.sum()), lambda: len(positive)):
            with pytest.raises(SessionError, match="await"):
                use()
        await positive.describe()
        assert positive.shape == (1,)

    run(scenario)


def test_names_attach_and_close() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        w: Any = session.ones(2)
        session.name(w, "w")
        assert await (await session.tensor_by_name("w")).tolist() == [1, 1]
        with pytest.raises(NotFoundError):
            await session.tensor_by_name("v")
        await session.close()
        with pytest.raises(SessionClosedError):
            w + 1

    run(scenario)


def test_a_moment_of_silence_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_SILENCE_SECONDS", 0.01)

    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        before = wire.trips
        session.ones(2)
        for _ in range(500):
            if wire.trips > before:
                break
            await asyncio.sleep(0.01)
        assert wire.trips == before + 1

    run(scenario)


def test_a_cancelled_wait_leaves_the_session_usable() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        w: Any = session.ones(2)
        await session.flush()
        task = asyncio.ensure_future((w + 1).tolist())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await w.tolist() == [1, 1]

    run(scenario)


# The two surfaces --------------------------------------------------------------------------------------------------------------

WAITING_PROTOCOLS = {
    *("__array__", "__complex__", "__contains__", "__float__", "__format__", "__index__", "__int__", "_repr_html_"),
    *("__copy__", "__deepcopy__", "__reversed__"),
}
"""Python's own protocols cannot be awaited: what they give must be there at once."""


def public(cls: type) -> set[str]:
    return {n for n in dir(cls) if not n.startswith("_") or (n.startswith("__") and n not in dir(object))}


def test_async_tensors_have_every_name_of_plain_ones() -> None:
    missing = public(Tensor) - public(telegrad.AsyncTensor) - WAITING_PROTOCOLS

    assert missing - {"__module__", "__annotations__", "__dict__"} == set()


def test_async_sessions_have_every_name_of_plain_ones() -> None:
    ours = public(telegrad.RemoteSession) - {"__enter__", "__exit__", "resolve_grads", "flush_in_background"}

    assert ours - public(telegrad.AsyncSession) - {"__annotations__", "__dict__", "__module__"} == set()
    assert {n for n in public(BaseSession) if not n.startswith("__")} <= public(telegrad.AsyncSession)


@pytest.mark.parametrize(("plain", "twin"), [(Tensor, telegrad.AsyncTensor), (telegrad.RemoteSession, telegrad.AsyncSession)])
def test_the_twins_take_the_same_arguments(plain: type, twin: type) -> None:
    def parameters(cls: type, name: str) -> list[tuple[str, Any]]:
        found = inspect.signature(getattr(cls, name)).parameters.values()
        return [(p.name, p.default) for p in found]

    for name in sorted(public(plain) & public(twin)):
        if not name.startswith("__") and inspect.isfunction(getattr(plain, name)):
            assert parameters(twin, name) == parameters(plain, name), name


def test_sizes_are_those_of_a_tensor_that_is_not_awaited():
    async def main() -> None:
        async with open_async() as (session, _):
            scalar, matrix = session.tensor(1.0), session.tensor([[1.0, 2.0]])
            assert (matrix.ndim, matrix.size(1), matrix.numel(), matrix.nbytes, matrix.is_floating_point()) == (2, 2, 2, 8, True)
            for dim in (0, -1, 1):
                with pytest.raises(IndexError, match="tensor has no dimensions"):
                    scalar.size(dim)
                with telegrad.local() as local, pytest.raises(IndexError, match="tensor has no dimensions"):
                    local.tensor(1.0).size(dim)

    asyncio.run(main())


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_is_awaited_is_not_pickled_or_copied(duplicate: Callable[[Any], Any]) -> None:
    async def scenario(session: telegrad.AsyncSession, _wire: Wire) -> None:
        x = session.ones(2)
        with pytest.raises(TypeError, match=r"pickle `await tensor\.detach\(\)\.numpy\(\)`"):
            duplicate(x)
        with pytest.raises(TypeError, match=r"telegrad\.connect\(url, session=id\)"):
            duplicate(session)

    run(scenario)


def test_generators_and_places_are_taken_without_waiting() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        generator = telegrad.Generator().manual_seed(3)
        session.manual_seed(3)

        drawn = session.rand(2, generator=generator, device="cpu")
        further = session.zeros(2, device=drawn.device).uniform_(generator=generator)
        again = session.rand(2, generator=generator.manual_seed(3))
        own = session.rand(2)

        assert session.asarray(drawn) is drawn
        first, second, third, fourth = [await x.tolist() for x in (drawn, further, again, own)]
        assert first == third == fourth != second
        with pytest.raises(TypeError, match="device must be 'cpu'"):
            session.zeros(2, device="cuda")

    run(scenario)


def test_functions_of_python_for_every_element_are_awaited() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x, leaf = session.tensor([[1.0, 2.0], [3.0, 4.0]]), session.tensor([1.0], requires_grad=True)

        assert await x.apply_(lambda v: v * 10) is x
        await x.map_(session.tensor([1.0, 2.0]), lambda a, b: a - b)

        assert await x.tolist() == [[9.0, 18.0], [29.0, 38.0]]
        for refused in (leaf.apply_(abs), x.map_(leaf, max)):
            with pytest.raises(RuntimeError, match=r"_\(\) on Variable that requires grad"):
                await refused
        with pytest.raises(TypeError, match="expected float32 for 'other'"):
            await x.map_(session.tensor([1, 2]), max)

    run(scenario)
