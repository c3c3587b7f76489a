"""What a failed command means for the rest of what was recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest

import telegrad
from telegrad.errors import DependentError, LeafError, SessionClosedError, SessionMismatchError, ShapeError, TelegradError
from tests.client.wire import Wire


def fails_on_the_server() -> Any:
    """A view that only a copy could have: shapes alone cannot tell."""
    return telegrad.ones(2, 3).t().view(6)


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


def test_what_shapes_foresee_is_raised_at_the_line(wire: Wire, session: telegrad.RemoteSession) -> None:
    a, b = telegrad.ones(2), telegrad.ones(3)
    before = wire.trips

    with pytest.raises(ShapeError, match="must match"):
        a + b

    assert wire.trips == before


def test_an_error_met_later_names_file_line_and_text(session: telegrad.RemoteSession) -> None:
    frame = inspect.currentframe()
    assert frame is not None
    x = telegrad.ones(2, 3).t()
    line = frame.f_lineno + 1
    y = x.view(6)
    z = y + 1

    with pytest.raises(ShapeError) as raised:
        z.tolist()

    assert f"{__file__}:{line}, in test_an_error_met_later" in notes(raised.value)
    assert "y = x.view(6)" in notes(raised.value)


def test_the_message_is_the_local_one(session: telegrad.RemoteSession) -> None:
    with telegrad.local(), pytest.raises(ShapeError) as local:
        fails_on_the_server()

    with session, pytest.raises(ShapeError) as remote:
        fails_on_the_server().tolist()

    assert str(remote.value) == str(local.value)


def test_dependents_fail_and_the_others_live(session: telegrad.RemoteSession) -> None:
    good = telegrad.ones(2)
    bad = fails_on_the_server()
    worse = bad * 2
    other = good + 1

    with pytest.raises(ShapeError):
        other.tolist()

    assert other.tolist() == [2, 2]
    with pytest.raises(DependentError, match="ShapeError") as raised:
        worse.tolist()
    assert "fails_on_the_server" in str(raised.value)
    with pytest.raises(DependentError):
        bad + 1


def test_an_error_is_raised_once(session: telegrad.RemoteSession) -> None:
    bad = fails_on_the_server()

    with pytest.raises(ShapeError):
        session.flush()

    session.flush()
    assert bad.shape == (6,)


def test_two_independent_failures_are_told_together(session: telegrad.RemoteSession) -> None:
    first, second = fails_on_the_server(), fails_on_the_server()

    with pytest.raises(ShapeError) as raised:
        session.flush()

    assert notes(raised.value).count("recorded at") == 2
    for bad in (first, second):
        with pytest.raises(DependentError):
            bad.tolist()


def test_an_in_place_change_that_failed_leaves_the_tensor_as_it_was(session: telegrad.RemoteSession) -> None:
    x = telegrad.zeros(6)
    x += fails_on_the_server()
    seen = x * 2

    with pytest.raises(ShapeError):
        session.flush()

    with pytest.raises(DependentError):
        seen.tolist()
    assert x.tolist() == [0] * 6
    x += 1
    assert x.tolist() == [1] * 6


def test_an_update_from_a_backward_that_failed_is_not_done(session: telegrad.RemoteSession) -> None:
    w = telegrad.tensor([1.0], requires_grad=True)
    (w * 2).sum().backward()
    assert w.grad is not None
    before = w.grad
    session.flush()

    (w.sum() + fails_on_the_server().sum()).backward()
    with telegrad.no_grad():
        w -= w.grad

    with pytest.raises(ShapeError):
        session.flush()
    assert w.tolist() == [1]
    assert w.grad is not None
    assert (w.grad.tolist(), before.tolist()) == ([2], [2])


def test_predictions_after_a_failure_are_asked_anew(session: telegrad.RemoteSession) -> None:
    w = telegrad.tensor([1.0], requires_grad=True)

    (w.sum() + fails_on_the_server().sum()).backward()
    with pytest.raises(ShapeError):
        session.flush()

    assert w.grad is None
    assert w.requires_grad


def test_a_failed_step_inside_with_raises_at_its_end(wire: Wire) -> None:
    with pytest.raises(ShapeError, match="view"), wire.open():
        fails_on_the_server()


def test_an_exception_of_the_script_is_not_hidden(wire: Wire) -> None:
    def script() -> None:
        with wire.open():
            fails_on_the_server()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        script()


def test_a_recorded_change_of_a_leaf_is_refused_at_the_line(session: telegrad.RemoteSession) -> None:
    w = telegrad.tensor([1.0], requires_grad=True)

    with pytest.raises(LeafError):
        w += 1


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: telegrad.ones(2).backward(),
        lambda: telegrad.ones(2, requires_grad=True).backward(),
        lambda: telegrad.ones(2, requires_grad=True).sum().backward(telegrad.ones(3)),
        lambda: telegrad.ones(2, requires_grad=True).sum().backward(inputs=[]),
        lambda: telegrad.autograd.grad(telegrad.ones(2, requires_grad=True).sum(), []),
        lambda: telegrad.autograd.grad(telegrad.ones(2, requires_grad=True).sum(), telegrad.ones(2)),
        lambda: telegrad.tensor([1]).requires_grad_(),
        lambda: (telegrad.ones(2, requires_grad=True) * 2).requires_grad_(False),
        lambda: telegrad.ones(2).retain_grad(),
        lambda: setattr(telegrad.ones(2), "grad", telegrad.ones(3)),
        lambda: setattr(telegrad.ones(2), "grad", telegrad.ones(2, dtype=telegrad.float64)),
        lambda: setattr(telegrad.ones(2), "grad", 1),
    ],
)
def test_what_history_foresees_is_raised_at_the_line_as_locally(
    wire: Wire, session: telegrad.RemoteSession, mistake: Callable[[], Any]
) -> None:
    with telegrad.local(), pytest.raises(TelegradError) as local:
        mistake()
    before = wire.trips

    with pytest.raises(TelegradError) as remote:
        mistake()

    assert (type(remote.value), str(remote.value)) == (type(local.value), str(local.value))
    assert wire.trips == before


def test_an_unused_input_is_found_at_the_call(session: telegrad.RemoteSession) -> None:
    x, y = telegrad.ones(2, requires_grad=True), telegrad.ones(2, requires_grad=True)
    with telegrad.local():
        a, b = telegrad.ones(2, requires_grad=True), telegrad.ones(2, requires_grad=True)
        with pytest.raises(TelegradError) as local:
            telegrad.autograd.grad(a.sum(), [a, b])

    with pytest.raises(TelegradError) as remote:
        telegrad.autograd.grad(x.sum(), [x, y])

    assert (type(remote.value), str(remote.value)) == (type(local.value), str(local.value))
    assert telegrad.autograd.grad(x.sum(), [x, y], allow_unused=True)[1] is None


def test_tensors_of_different_sessions_do_not_meet(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2)
    with telegrad.local():
        local = telegrad.ones(2)
    with wire.open() as other:
        y = other.ones(2)

        for foreign in (local, y):
            with pytest.raises(SessionMismatchError):
                x + foreign


def test_a_closed_session_refuses_everything(wire: Wire) -> None:
    with wire.open() as session:
        x = session.ones(2)
    for use in (lambda: x + 1, x.tolist, session.flush, lambda: session.ones(1), lambda: x.sum().backward()):
        with pytest.raises(SessionClosedError):
            use()
    assert session.closed
    session.close()


def test_failures_of_a_released_name_disturb_nobody(session: telegrad.RemoteSession) -> None:
    bad = fails_on_the_server()
    with pytest.raises(ShapeError):
        session.flush()

    del bad

    assert telegrad.tensor(np.ones(2)).sum().item() == 2


def test_what_failed_is_forgotten_with_its_handles(wire: Wire, session: telegrad.RemoteSession) -> None:
    for refused_whole in (False, True):
        bad = telegrad.ones(2, 3).t().view(6)
        worse = (bad + 1) * 2
        del bad, worse
        if refused_whole:
            document = b'{"type": "urn:telegrad:problem:forbidden", "title": "t", "status": 403, "detail": "said so"}'
            headers = {"content-type": "application/problem+json"}
            wire.fault = lambda _: httpx2.Response(403, headers=headers, content=document)  # noqa: B023 - as they are
        with pytest.raises(telegrad.TelegradError):
            session.flush()
        wire.fault = None
        session.flush()
        x = telegrad.ones(1) + 1

        assert not session._recorder.failed
        assert not session._recorder.attention, "recording is as quick as before"
        assert x.item() == 2
