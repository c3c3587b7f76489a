"""Hooks of remote tensors: called while the backward is recorded, sent as commands, refused where nothing is known."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import pytest

import telegrad
from telegrad.contract.commands import Backward
from telegrad.errors import AutogradError, DependentError
from tests.parity.scripts.hooks import LOCAL_SCRIPTS, leaf
from tests.places import open_session

Session = telegrad.RemoteSession


@pytest.fixture
def session() -> Iterator[Any]:
    with open_session("asgi") as opened:
        yield opened


def test_hooks_are_called_before_anything_is_sent(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    seen: list[Any] = []
    x.register_hook(seen.append)
    session.flush()
    (x * x).sum().backward()

    assert len(seen) == 1
    assert (seen[0].shape, seen[0].dtype) == ((2,), telegrad.float64)
    assert len(session._recorder.queue) == 3  # two ops and the backward, with what the hook did in it
    assert seen[0].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("ask", [lambda g: g.item(), repr, lambda g: bool(g > 0), lambda g: g.numpy(), lambda g: g._version])
def test_asking_for_a_value_in_a_hook_lets_the_backward_wait(session: Any, ask: Any) -> None:
    x = leaf(telegrad, 2.0)
    y = x * 3
    found: list[Any] = []
    y.register_hook(lambda g: found.append(ask(g)))
    x.register_hook(lambda g: g * 10)
    y.backward()

    assert len(found) == 1
    assert x.grad is not None
    assert x.grad.tolist() == [30.0]


def test_a_hook_that_asks_costs_one_request_for_each_question(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    y = x * x
    session.flush()
    sent: list[Any] = []
    send = session._transport.send
    session._transport.send = lambda request: (sent.append(request), send(request))[1]
    for tensor in (x, y):
        tensor.register_hook(lambda g: g * g.sum().item())
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [48.0, 96.0]

    assert len(sent) == 3  # the two sums, and the gradient


def test_no_value_in_a_hook_of_a_traced_function(session: Any) -> None:
    x = leaf(telegrad, 2.0)
    x.register_hook(lambda g: g * g.item())

    @telegrad.function
    def step(x: Any) -> Any:
        (x * 3).sum().backward()

    with pytest.raises(telegrad.errors.TelegradError):
        step(x)
    assert x.grad is None


def test_an_interrupted_hook_ends_the_backward(session: Any) -> None:
    x = leaf(telegrad, 2.0)

    def hook(g: Any) -> None:
        g.item()
        raise KeyboardInterrupt

    handle = x.register_hook(hook)
    with pytest.raises(KeyboardInterrupt):
        (x * 3).backward()
    handle.remove()
    assert repr(x.grad) == "None"
    (x * 5).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [5.0]


def test_an_error_of_the_server_is_raised_where_a_hook_asks(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    y = x * 3
    y.register_hook(lambda g: telegrad.linalg.inv(g.new_zeros(2, 2)).sum() + g)
    asked: list[Any] = []

    def hook(g: Any) -> None:
        asked.append(g)
        g.item()

    handle = x.register_hook(hook)
    with pytest.raises(telegrad.errors.NumericalError):
        y.backward()
    handle.remove()
    assert len(asked) == 1
    (x * 5).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [5.0]


def test_a_hook_may_swallow_the_error_of_the_server_and_the_backward_has_failed_all_the_same(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    y = x * 3
    y.register_hook(lambda g: telegrad.linalg.inv(g.new_zeros(2, 2)).sum() + g)

    def hook(g: Any) -> None:
        with contextlib.suppress(telegrad.errors.NumericalError):
            g.item()

    x.register_hook(hook)
    with pytest.raises(DependentError, match="singular"):
        y.backward()
    assert x.grad is None


@pytest.mark.parametrize("name", LOCAL_SCRIPTS)
def test_what_only_the_server_knows_is_refused(session: Any, name: str) -> None:
    def run() -> None:
        LOCAL_SCRIPTS[name](telegrad)
        session.flush()

    with pytest.raises((AutogradError, AttributeError), match=r"telegrad\.local\(\)"):
        run()


def test_hooks_on_a_node_that_no_tensor_leads_to_are_refused(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    (g,) = telegrad.autograd.grad((x * x).sum(), x, create_graph=True)
    node = g.grad_fn
    del g
    with pytest.raises(AutogradError, match="only the server has this node"):
        node.register_hook(print)


def test_a_graph_that_leads_to_no_hook_is_walked_without_asking(session: Any) -> None:
    x, other = leaf(telegrad, 1.0, 2.0), leaf(telegrad, 1.0)
    other.register_hook(lambda g: g * 10)
    base = x * 2
    base[0].mul_(3)
    session.flush()
    base.sum().backward()
    assert any(getattr(entry, "command", None).__class__ is Backward for entry in session._recorder.queue)
    assert x.grad is not None
    assert x.grad.tolist() == [6.0, 2.0]


def test_hooks_are_called_in_a_graph_of_others(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    session.name(x * 3, "shared")
    found = session.tensor_by_name("shared")
    x.register_hook(lambda g: g * 10)
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [30.0, 30.0]


def test_a_hook_of_a_tensor_that_is_gone_refuses_a_graph_of_others(session: Any) -> None:
    x = leaf(telegrad, 1.0, 2.0)
    session.name(x * 3, "shared")
    found = session.tensor_by_name("shared")
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    z = y.sum()
    del y
    with pytest.raises(AutogradError, match=r"handle\.remove\(\)"):
        found.sum().backward()
    handle.remove()
    (found.sum() + z).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [5.0, 5.0]


def test_hooks_on_tensors_that_were_found_by_their_names(session: Any) -> None:
    log: list[Any] = []
    session.name(leaf(telegrad, 1.0, 2.0), "w")
    w = session.tensor_by_name("w")
    session.name(w * 3, "y")
    y = session.tensor_by_name("y")
    w.register_hook(lambda g: log.append(["w", g.tolist()]))
    w.register_post_accumulate_grad_hook(lambda p: log.append(["accumulated", p.grad.tolist()]))
    y.register_hook(lambda g: g * 2)
    y.grad_fn.register_prehook(lambda gs: log.append(["before", gs[0].tolist()]))
    (w * y).sum().backward()

    assert log == [["before", [2.0, 4.0]], ["w", [9.0, 18.0]], ["accumulated", [9.0, 18.0]]]
    with pytest.raises(AutogradError, match="non-leaf"):
        y.register_post_accumulate_grad_hook(print)
    session.name(telegrad.tensor([1.0]), "c")
    with pytest.raises(AutogradError, match="doesn't require gradient"):
        session.tensor_by_name("c").register_hook(print)


def test_a_hook_that_walks_a_hidden_graph_asks_from_within(session: Any) -> None:
    log: list[Any] = []
    x, w = leaf(telegrad, 2.0), leaf(telegrad, 3.0)
    w.register_hook(lambda g: log.append(g.item()))
    (g,) = telegrad.autograd.grad(w**3, w, create_graph=True)

    def hook(gradient: Any) -> Any:
        g.backward(retain_graph=True)
        return gradient * w.grad

    (x * 2).register_hook(hook)
    y = x * 2
    y.register_hook(hook)
    (y * 5).backward()
    assert x.grad is not None
    assert (log, x.grad.tolist()) == ([27.0, 18.0], [180.0])


def test_an_interrupt_in_a_hidden_graph_ends_the_backward(session: Any) -> None:
    x = leaf(telegrad, 2.0)

    def hook(_g: Any) -> None:
        raise KeyboardInterrupt

    handle = x.register_hook(hook)
    g = hidden(x)
    with pytest.raises(KeyboardInterrupt):
        g.backward(retain_graph=True)
    handle.remove()
    assert repr(x.grad) == "None"
    g.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6.0]


def hidden(x: Any) -> Any:
    """Six times x, in a graph that only the server knows."""
    y = (x * 1).reshape(1)
    y[0:1].mul_(6)
    return y.sum()


def test_hooks_die_with_what_they_are_on(session: Any) -> None:
    x = leaf(telegrad, 1.0)
    y = x * 2
    y.register_hook(print)
    y.grad_fn.register_prehook(print)
    assert len(session._recorder.hooked) == 2
    del y
    gc.collect()
    assert not session._recorder.hooked


def test_an_error_of_the_server_in_a_callback_leaves_no_names(session: Any) -> None:
    x = leaf(telegrad, 1.0, -1.0)
    made: list[Any] = []

    def hook(g: Any) -> None:
        made.append(telegrad.linalg.inv(telegrad.zeros(2, 2)) + g.sum())

    handle = x.register_hook(hook)
    (x * 3).sum().backward()
    with pytest.raises(telegrad.errors.NumericalError):
        session.flush()
    handle.remove()
    with pytest.raises(DependentError):
        made[0].tolist()
    (x * 5).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [5.0, 5.0]


def test_a_callback_reaches_a_leaf_whose_handle_is_gone(session: Any) -> None:
    seen: list[Any] = []

    def make() -> Any:
        x = leaf(telegrad, 1.0, 2.0)
        x.register_hook(seen.append)
        return (x * 3).exp().sum()

    root = make()
    gc.collect()
    root.backward()

    assert seen[0].tolist() == pytest.approx([60.25661, 1210.28638])


def test_eager_sessions_call_hooks_too() -> None:
    from tests.places import InProcess, application

    with telegrad.connect("http://telegrad.test", transport=InProcess(*application()), eager=True):
        x = leaf(telegrad, 1.0, 2.0)
        x.register_hook(lambda g: g * 10)
        (x * x).sum().backward()

        assert x.grad is not None
        assert x.grad.tolist() == [20.0, 40.0]
