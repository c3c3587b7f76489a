"""``telegrad.scope``: which nodes belong to which part of a graph, in every kind of block, here and on a server."""

from __future__ import annotations

import asyncio
import threading

import pytest

import telegrad
from telegrad.contract.command_fields import decode_command, encode_command
from telegrad.contract.commands import Apply
from telegrad.contract.scope import MAX_PATH_LENGTH, active, current_scope
from tests.places import server_url


def scopes(tensor):
    """From op to scope, for every node of the graph."""
    return {node["op"]: node["scope"] for node in tensor.session.graph(tensor)["nodes"]}


@pytest.fixture(params=["local", "connected"])
def session(request):
    with telegrad.local() if request.param == "local" else telegrad.connect(server_url()) as opened:
        yield opened


def test_nodes_know_the_scopes_they_were_made_in(session):
    x = telegrad.ones(2, 2, requires_grad=True)
    with telegrad.scope("encoder"):
        h = x * 2
        with telegrad.scope("attention"):
            h = h.exp().softmax(-1)
        h = h.tanh()
    y = h.sum()

    assert scopes(y) == {
        "mul": "encoder", "exp": "encoder/attention", "softmax": "encoder/attention", "tanh": "encoder", "sum": None
    }  # fmt: skip


def test_ops_in_place_and_of_several_outputs_belong_too(session):
    x = telegrad.ones(4, requires_grad=True)
    with telegrad.scope("a"):
        y = x * 1
        y.mul_(2)
        parts = y.chunk(2)
    found = scopes(parts[0] + parts[1])

    assert (found["chunk"], found["add"]) == ("a", None)
    assert set(found.values()) == {"a", None}


class Square(telegrad.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_custom_functions_belong_too():
    with telegrad.scope("own"):
        y = Square.apply(telegrad.ones(2, requires_grad=True))

    assert scopes(y.sum()) == {"custom": "own", "sum": None}


def test_values_and_gradients_are_the_same_with_scopes(session):
    grads = []
    for name in (None, "part"):
        x = telegrad.tensor([1.0, 2.0], requires_grad=True)
        if name is None:
            y = (x * x).exp().sum()
        else:
            with telegrad.scope(name):
                y = (x * x).exp().sum()
        y.backward()
        grads.append(x.grad.numpy().tolist())

    assert grads[0] == grads[1]


def test_a_decorator_enters_for_each_call():
    @telegrad.scope("layer")
    def layer(x, deep):
        return layer(x, deep - 1) if deep else x.exp()

    y = layer(telegrad.ones(1, requires_grad=True), 1)

    assert scopes(y) == {"exp": "layer/layer"}
    assert current_scope() is None


def test_nothing_is_left_behind_and_nothing_kept_outside():
    with pytest.raises(RuntimeError, match="stop"), telegrad.scope("a"):
        raise RuntimeError("stop")
    y = telegrad.ones(1, requires_grad=True).exp()

    assert current_scope() is None
    assert active == []
    assert not hasattr(y.grad_fn, "scope")


def test_another_thread_is_in_no_scope():
    made = []
    x = telegrad.ones(1, requires_grad=True)
    with telegrad.scope("mine"):
        thread = threading.Thread(target=lambda: made.append(x.exp()))
        thread.start()
        thread.join()
        made.append(x.exp())

    assert [scopes(y)["exp"] for y in made] == [None, "mine"]


def test_tasks_have_scopes_of_their_own():
    async def one(name):
        with telegrad.scope(name):
            await asyncio.sleep(0)
            return scopes(telegrad.ones(1, requires_grad=True).exp())["exp"]

    async def both():
        return await asyncio.gather(one("a"), one("b"))

    assert asyncio.run(both()) == ["a", "b"]


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "line\nbreak", "\x00", "x" * (MAX_PATH_LENGTH + 1)])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="scope"):
        telegrad.scope(name)
    with pytest.raises(ValueError, match="field 'scope'"):
        decode_command({"command": "apply", "op": "exp", "inputs": ["x"], "scope": name})


def test_a_path_that_grows_too_long_is_refused_on_entering():
    with telegrad.scope("x" * MAX_PATH_LENGTH), pytest.raises(ValueError, match="use shorter names"), telegrad.scope("y"):
        pass
    with pytest.raises(TypeError, match="must be str, not int"):
        telegrad.scope(3)

    assert current_scope() is None
    assert active == []


def test_the_command_carries_the_scope():
    command = Apply("exp", ("x",), outputs=("y",), scope="a/b")

    assert encode_command(command)["scope"] == "a/b"
    assert decode_command(encode_command(command)) == command
    assert "scope" not in encode_command(Apply("exp", ("x",)))
