"""Custom functions and checkpoints over remote tensors: what they may do, what is freed, and what is refused by name."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import telegrad
from telegrad.errors import ArgumentTypeError, AutogradError, TraceError
from tests.client.wire import open_async
from tests.parity.scripts.functions import doubled, function, passed, scaled
from tests.parity.scripts.hooks import leaf
from tests.places import open_session

checkpoint = telegrad.utils.checkpoint.checkpoint


@pytest.fixture
def session() -> Iterator[Any]:
    with open_session("asgi") as opened:
        yield opened


def test_a_step_with_a_custom_function_is_one_request(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    session.flush()
    y = scaled(telegrad).apply(x, 3.0)
    y.sum().backward()

    assert len(session._recorder.queue) == 5  # two products, the node, the sum and the backward
    assert x.grad is not None
    assert x.grad.tolist() == [6.0, 12.0]


def test_a_backward_that_raises_ends_the_walk(session: Any) -> None:
    def backward(_ctx: Any, _g: Any) -> Any:
        raise KeyError("mine")

    x = leaf(telegrad, 2.0)
    with pytest.raises(KeyError, match="mine"):
        function(telegrad, doubled, backward).apply(x).sum().backward()
    assert repr(x.grad) == "None"
    (x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0]


def test_what_was_saved_is_released_after_the_backward(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    product = x * 2
    y = scaled(telegrad).apply(product, 3.0).sum()
    session.flush()
    saved = weakref.ref(product)
    del product
    assert saved() is not None
    y.backward()
    session.flush()

    assert saved() is None
    with pytest.raises(AutogradError, match="backward through the graph a second time"):
        y.backward()


def test_nodes_die_with_what_they_made(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    gc.disable()
    try:
        y = function(telegrad, doubled, passed).apply(x)
        z = checkpoint(lambda x: x.exp(), x, use_reentrant=False)
        assert len(session._recorder.hooked) == 2
        session.flush()
        del y, z
        assert len(session._recorder.hooked) == 0
    finally:
        gc.enable()


def test_graphs_that_only_the_server_knows_need_no_custom_function(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    alive = function(telegrad, doubled, passed).apply(x)
    base = x * 2
    base[0].mul_(3)
    base.sum().backward()

    assert x.grad is not None
    assert x.grad.tolist() == [6.0, 2.0]
    again = x * 2
    again[0].mul_(3)
    (alive * again).sum().backward()
    assert x.grad.tolist() == [24.0, 14.0]


def test_a_block_may_find_tensors_by_name_and_one_of_them_twice(session: Any) -> None:
    x, w = leaf(telegrad, 0.3, 0.5), leaf(telegrad, 1.0, 2.0)
    h = w * 2
    session.name(w, "w")
    session.name(h, "h")
    for block in (
        lambda a: a * w * session.tensor_by_name("w"),
        lambda a: a * session.tensor_by_name("w") * session.tensor_by_name("w"),
        lambda a: a * h * session.tensor_by_name("h"),
        lambda a: (a * session.tensor_by_name("h")).sin() * session.tensor_by_name("h"),
    ):
        within, plain = (
            telegrad.autograd.grad(y.sum(), [x, w], retain_graph=True)
            for y in (checkpoint(block, x, use_reentrant=False), block(x))
        )

        assert [g.tolist() for g in within] == [g.tolist() for g in plain]


def test_an_async_session_refuses_checkpoints() -> None:
    async def main() -> None:
        async with open_async() as (opened, _):
            x = opened.tensor([1.0, 2.0], requires_grad=True)
            with pytest.raises(ArgumentTypeError, match="async sessions cannot record checkpoints"):
                checkpoint(lambda x: x * 2, x, use_reentrant=False)

    asyncio.run(main())


def test_a_traced_function_refuses_a_block_whose_result_was_changed_through_a_view(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)

    @telegrad.function
    def step(x: Any) -> Any:
        def writing(x: Any) -> Any:
            y = x * 2
            y[0].mul_(3)
            return y

        return checkpoint(writing, x, use_reentrant=False)

    with pytest.raises(TraceError, match=r"what made a result of this checkpoint's block .* the function untraced"):
        step(x)
