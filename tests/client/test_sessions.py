"""Opening, attaching, naming, forking and closing."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from telegrad.errors import ArgumentValueError, NotFoundError, SessionError
from tests.client.wire import Wire


def test_a_session_is_deleted_when_it_closes(wire: Wire) -> None:
    with wire.open() as session:
        assert session.id in repr(session)

    assert (wire.requests[-1].method, wire.requests[-1].url.path) == ("DELETE", f"/v1/sessions/{session.id}")
    with pytest.raises(NotFoundError):
        wire.open(session=session.id)


def test_a_session_that_is_gone_closes_without_a_word(wire: Wire) -> None:
    with wire.open() as first:
        second = wire.open(session=first.id)
        first.close()
    with pytest.raises(NotFoundError):
        second.ones(1).tolist()


def test_what_one_client_names_another_finds(wire: Wire) -> None:
    with wire.open() as trainer:
        w = trainer.tensor([1.0, 2.0], requires_grad=True)
        trainer.name(w, "weights")
        trainer.flush()

        with wire.open(session=trainer.id) as watcher:
            found = watcher.tensor_by_name("weights")
            assert (found.tolist(), found.requires_grad, found.is_leaf, found.grad) == ([1, 2], True, True, None)

            (w * w).sum().backward()
            with telegrad.no_grad():
                w += 1
            trainer.flush()

            assert found.tolist() == [2, 3]
            assert found.grad is not None
            assert found.grad.tolist() == [2, 4]
        assert not trainer.closed
        assert w.tolist() == [2, 3]


def test_what_an_attached_client_changed_is_sent_before_it_leaves(wire: Wire) -> None:
    with wire.open() as owner:
        w = owner.zeros(2)
        owner.name(w, "w")
        owner.flush()

        with wire.open(session=owner.id) as guest:
            shared = guest.tensor_by_name("w")
            shared += 5

        assert w.tolist() == [5, 5]


def test_a_lasting_name_outlives_the_handle(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(3)
    session.name(x, "kept")

    del x
    gc.collect()
    session.flush()

    assert session.tensor_by_name("kept").tolist() == [1, 1, 1]


def test_an_unknown_name_is_not_found(session: telegrad.RemoteSession) -> None:
    with pytest.raises(NotFoundError):
        session.tensor_by_name("nobody")


def test_a_bad_name_is_refused_at_the_line(wire: Wire, session: telegrad.RemoteSession) -> None:
    before = wire.trips

    with pytest.raises(ArgumentValueError, match="name"):
        session.name(telegrad.ones(1), "no spaces")

    assert wire.trips == before


def test_unknown_shapes_are_asked_for_when_they_matter(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.tensor([1.0, -2.0, 3.0], requires_grad=True)
    before = wire.trips
    positive = x[x > 0]
    doubled = positive * 2
    doubled.sum().backward()

    assert wire.trips == before
    assert positive.dtype is telegrad.float32
    assert doubled.shape == (2,)
    assert wire.trips == before + 1
    assert x.grad is not None
    assert x.grad.tolist() == [2, 0, 2]


def test_a_number_of_outputs_that_only_the_server_knows_is_asked_for(session: telegrad.RemoteSession) -> None:
    x = telegrad.tensor([1.0, -2.0, 3.0])

    assert [t.item() for t in x[x > 0].unbind(0)] == [1, 3]


def _use_after_fork(session: telegrad.RemoteSession, x: Any, queue: Any) -> None:
    try:
        (x + 1).tolist()
    except SessionError as error:
        queue.put(str(error))
    session.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork: nothing is shared there")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_is_told_to_open_its_own(session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_use_after_fork, args=(session, x, queue))

    child.start()
    said = queue.get(timeout=60)
    child.join(60)

    assert "fork" in said
    assert x.tolist() == [1, 1]


def test_a_session_that_nobody_holds_is_collected(wire: Wire) -> None:
    session = wire.open()
    x = session.ones(2)
    x.tolist()
    reference = weakref.ref(session)

    del session, x
    gc.collect()

    assert reference() is None


def test_sessions_nest(wire: Wire) -> None:
    with wire.open() as outer:
        with wire.open() as inner:
            assert telegrad.ones(1).session is inner
        assert telegrad.ones(1).session is outer
        assert inner.closed


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_is_not_pickled_or_copied(wire: Wire, duplicate: Callable[[Any], Any]) -> None:
    for session in (wire.open(), telegrad.local()):
        with session, pytest.raises(TypeError, match=r"telegrad\.connect\(url, session=id\)"):
            duplicate(session)
