"""What is over leaves nothing that nobody can reach: what a client keeps, its server keeps, too."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from telegrad._queue import Reply
from telegrad.errors import ShapeError, TelegradError
from telegrad.utils.checkpoint import checkpoint

pytestmark = pytest.mark.usefixtures("uncollected")


class Mine:
    """Something of the user's, in his own frame."""


def fails_on_the_server() -> Any:
    """A view that only a copy could have: shapes alone cannot tell."""
    return telegrad.ones(2, 3).t().view(6)


def read(session: telegrad.RemoteSession) -> None:
    fails_on_the_server().tolist()


def flush(session: telegrad.RemoteSession) -> None:
    kept = fails_on_the_server()
    session.flush()
    kept.tolist()


def record_on(session: telegrad.RemoteSession) -> None:
    kept = fails_on_the_server()
    session.flush_in_background()
    (kept + 1).tolist()


def use_again(session: telegrad.RemoteSession) -> None:
    kept = fails_on_the_server()
    with contextlib.suppress(TelegradError):
        kept.tolist()
    (kept + 1).tolist()


@pytest.mark.parametrize("told", [read, flush, record_on, use_again])
def test_an_error_of_the_server_keeps_no_frame_of_who_was_told(session: telegrad.RemoteSession, told: Callable[..., None]) -> None:
    def ask() -> weakref.ref[Mine]:
        mine = Mine()
        with contextlib.suppress(TelegradError):
            told(session)
        return weakref.ref(mine)

    assert ask()() is None
    telegrad.ones(1).tolist()
    assert session._recorder.failed == {}


def test_an_error_that_is_kept_is_told_as_it_is_each_time() -> None:
    reply = Reply()
    kept = reply.error = ShapeError("they do not fit", extra={"index": 3}, request_id="r1")
    kept.__cause__ = ValueError("for a reason")
    kept.add_note("recorded there")
    for _ in range(2):
        with pytest.raises(ShapeError, match="they do not fit") as caught:
            reply.take()

        assert caught.value.extra == {"index": 3}
        assert caught.value.request_id == "r1"
        assert caught.value.__notes__ == ["recorded there"]
        assert caught.value.__cause__ is kept.__cause__
        caught.value.add_note("not for the next one")
        assert kept.__traceback__ is None


# Hooks, custom functions, checkpoints ------------------------------------------------------------------------------------------


def on_a_tensor(x: Any, watch: Callable[[Any], None]) -> Any:
    y = x * x
    y.register_hook(watch)
    return y


def on_a_node(x: Any, watch: Callable[[Any], None]) -> Any:
    y = x * x
    y.grad_fn.register_hook(lambda _, arrived: watch(arrived[0]))
    return y


def in_a_function(x: Any, watch: Callable[[Any], None]) -> Any:
    class Watched(telegrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            watch(gradients[0])
            return gradients[0] * 2

    return Watched.apply(x)


def in_a_checkpoint(x: Any, watch: Callable[[Any], None]) -> Any:
    def block(x: Any) -> Any:
        y = x.exp()
        watch(y)
        return y

    return checkpoint(block, x, use_reentrant=False)


@pytest.mark.parametrize("watched", [on_a_tensor, on_a_node, in_a_function, in_a_checkpoint])
@pytest.mark.parametrize("raises", [False, True])
def test_a_backward_with_hooks_goes_with_what_they_were_given(
    session: telegrad.RemoteSession, watched: Callable[..., Any], raises: bool
) -> None:
    seen: list[weakref.ref[Any]] = []

    def watch(tensor: Any) -> None:
        seen.append(weakref.ref(tensor))
        if raises and len(seen) > (watched is in_a_checkpoint):
            raise ZeroDivisionError

    x = telegrad.ones(3, requires_grad=True)
    y = watched(x, watch).sum()
    node = weakref.ref(y._node)
    with contextlib.suppress(ZeroDivisionError):
        y.backward()
    del x, y
    with contextlib.suppress(TelegradError):
        session.flush()

    assert seen
    assert node() is None
    assert [reference() for reference in seen] == [None] * len(seen)


# Runs of traced functions ------------------------------------------------------------------------------------------------------


def test_the_history_of_a_run_goes_with_what_it_gave_out(session: telegrad.RemoteSession) -> None:
    w = telegrad.ones(4, requires_grad=True)
    step = telegrad.function(lambda a: (a * w).sum())
    for looked in (False, True):
        y = step(telegrad.ones(4))
        if looked:
            assert [node.name() for node, _ in y.grad_fn.next_functions] == ["MulBackward0"]
        node = weakref.ref(y._node)

        del y
        assert node() is None


def test_a_node_with_hooks_stays_while_another_result_leads_to_it(session: telegrad.RemoteSession) -> None:
    w = telegrad.ones(4, requires_grad=True)

    @telegrad.function
    def step(a: Any) -> Any:
        h = a * w
        return h.exp(), h.sin()

    called: list[str] = []
    first, second = step(telegrad.ones(4))
    first.grad_fn.next_functions[0][0].register_hook(lambda *_: called.append("hook"))

    del first
    second.sum().backward()

    assert called == ["hook"]
