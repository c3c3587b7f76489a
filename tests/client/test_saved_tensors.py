"""Hooks on saved tensors over a server: what it keeps, what it costs, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import telegrad
from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import ArgumentValueError, AutogradError, ConflictError
from telegrad_service.session.session import Session
from tests.client.wire import open_async
from tests.histories import do
from tests.parity.scripts.hooks import leaf
from tests.places import open_session

graph = telegrad.autograd.graph

X = {"command": "create", "id": "x", "data": [1.0, 2.0], "requires_grad": True}
PACKED = {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"], "pack": "p"}
SUM = {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["z"]}


def unpack(*results: str) -> dict[str, Any]:
    callback = {"on": "p", "kind": "unpack", "results": list(results)}
    return {"command": "backward", "tensors": ["z"], "callbacks": [callback]}


@pytest.fixture
def session() -> Iterator[Any]:
    with open_session("asgi") as opened:
        yield opened


def test_an_op_within_costs_one_request(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    session.flush()
    sent: list[Any] = []
    send = session._transport.send
    session._transport.send = lambda request: (sent.append(request), send(request))[1]
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = (x * x).exp().sum()
    y.backward()
    assert x.grad is not None
    x.grad.tolist()

    assert len(sent) == 4  # three ops, and the backward with all that was packed


def test_the_server_keeps_nothing_that_is_kept_here(session: Any) -> None:
    x = telegrad.zeros(1000, dtype=telegrad.float64, requires_grad=True)

    def held(context: Any) -> int:
        with context:
            y = x.exp().exp().exp().sum()
        session.flush()
        nbytes: int = session.summary(y).saved_bytes
        return nbytes

    assert held(telegrad.enable_grad()) >= 24_000
    assert held(graph.save_on_cpu()) == 0


def test_what_was_packed_is_forgotten_when_the_graph_is_freed(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    with graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        y = x * x
    packs = y.grad_fn.packs
    assert len(packs.kept) == 2
    y.backward()

    assert packs.kept is None
    assert x.grad is not None
    assert x.grad.tolist() == [2.0]
    with pytest.raises(telegrad.errors.GraphFreedError):
        y.backward()


def test_gradients_with_a_history_are_refused_within(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    y = x * x
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        with pytest.raises(AutogradError, match="create_graph"):
            telegrad.autograd.grad(y, x, create_graph=True)
        with pytest.raises(AutogradError, match="create_graph"):
            y.backward(create_graph=True)
    assert telegrad.autograd.grad(y, x)[0].tolist() == [2.0]


def test_a_tensor_that_was_found_by_name_is_refused_within(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    session.name(x, "shared")
    found = session.tensor_by_name("shared")
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t), pytest.raises(AutogradError, match="another client"):
        found * 2  # pyright: ignore[reportUnusedExpression]


def test_traced_functions_are_refused_by_name(session: Any) -> None:
    x = leaf(telegrad, 1.0)

    @telegrad.function
    def step(x: Any) -> Any:
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            return (x * x).sum()

    with pytest.raises(telegrad.errors.TelegradError, match="saved_tensors_hooks"):
        step(x)


def test_async_sessions_are_refused_by_name() -> None:
    async def main() -> None:
        async with open_async() as (session, _wire):
            x: Any = session.tensor([1.0], requires_grad=True)
            with graph.saved_tensors_hooks(lambda t: t, lambda t: t), pytest.raises(AutogradError, match="AsyncSession"):
                x * x  # pyright: ignore[reportUnusedExpression]

    asyncio.run(main())


def test_many_vectors_unpack_once_each(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    log: list[Any] = []
    with graph.saved_tensors_hooks(lambda t: t, lambda t: (log.append(1), t)[1]):
        y = x * x
    (g,) = telegrad.autograd.grad(y, x, telegrad.eye(2, dtype=telegrad.float64), is_grads_batched=True)

    assert g.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert len(log) == 4


def test_over_http_a_backward_brings_what_it_needs() -> None:
    session = Session("s")
    done = do(session, [X, PACKED, SUM])
    packed = done.results[0]["packed"]
    assert [(one["id"], one["input"], one["same"]) for one in packed] == [("t1", 0, True), ("t2", 0, True)]
    for wrong, kind in (
        ({"command": "backward", "tensors": ["z"]}, AutogradError),
        (unpack("t1"), ArgumentValueError),
        ({**unpack("t1", "t2"), "callbacks": [{"on": "q", "kind": "unpack", "results": ["t1"]}]}, ArgumentValueError),
        ({**PACKED, "outputs": ["w"]}, ConflictError),
    ):
        assert isinstance(do(session, [wrong]).failed, kind)
    assert do(session, [unpack("t1", "t2")]).failed is None
    gradient = session.names["x"].grad
    assert gradient is not None
    assert gradient.array.tolist() == [2.0, 4.0]


def test_a_backward_that_waits_says_whose_tensors_it_waits_for() -> None:
    session = Session("s")
    do(session, [X, PACKED, SUM])
    waiting = do(session, [{"command": "backward", "tensors": ["z"], "waits": "w"}]).results[0]
    assert (waiting["waits"], waiting["label"]) == ("w", "p")
    ended = do(session, [{"command": "resume", "walk": "w", "results": ["t1", "x"]}]).results[0]
    assert ended["waits"] is None
    gradient = session.names["x"].grad
    assert gradient is not None
    assert gradient.array.tolist() == [2.0, 4.0]


def test_programs_and_callbacks_cannot_pack() -> None:
    session = Session("s")
    callback = {"on": "x", "kind": "tensor", "commands": [{**PACKED, "outputs": ["w"]}]}
    do(session, [X, {**PACKED, "pack": None}, SUM])
    with pytest.raises(ArgumentValueError, match="pack"):
        do(session, [{"command": "backward", "tensors": ["z"], "callbacks": [callback]}])
    with pytest.raises(ArgumentValueError, match="pack"):
        session.store_program([decode_command(PACKED)], ["x"])
