"""Memory of arrays that travel: used again once nobody needs it, and never before."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import telegrad
from telegrad import _buffers, _defaults
from tests.client.wire import Wire

LARGE = _defaults.SMALLEST_BLOCK_BYTES // 8
DOUBLE = np.dtype(np.float64)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Begin and end with nothing kept."""
    gc.collect()
    _buffers.forget()
    yield
    _buffers.forget()


def place(array: np.ndarray) -> int:
    """Where its memory is."""
    return int(array.__array_interface__["data"][0])


def test_memory_of_an_array_is_used_again_once_no_view_needs_it():
    first = _buffers.allocate((LARGE,), DOUBLE)
    where, view = place(first), first[10:].reshape(-1, 2)[:, 1]
    del first
    assert place(_buffers.allocate((LARGE,), DOUBLE)) != where
    view[:] = 7.0
    other = _buffers.allocate((LARGE,), DOUBLE)
    other.fill(1.0)
    assert (view == 7.0).all()
    del view, other
    assert where in {place(_buffers.allocate((LARGE,), DOUBLE)), *[place(block) for block in _buffers._kept]}


def test_a_block_serves_other_shapes_and_types_of_about_its_size():
    first = _buffers.allocate((LARGE + 8,), DOUBLE)
    where = place(first)
    del first

    second = _buffers.allocate((2, LARGE), np.dtype(np.float32))
    assert place(second) == where
    assert second.shape == (2, LARGE)
    assert second.flags.c_contiguous
    assert second.flags.aligned
    assert _buffers.allocate((LARGE // 2,), DOUBLE).size == LARGE // 2


def test_of_several_blocks_the_one_used_last_comes_first():
    first, second = (_buffers.allocate((LARGE,), DOUBLE) for _ in range(2))
    where = place(first)
    del second, first

    assert [place(_buffers.allocate((LARGE,), DOUBLE)) for _ in range(3)] == [where] * 3


def test_no_more_than_some_blocks_of_some_size_are_kept():
    many = [_buffers.allocate((LARGE,), DOUBLE) for _ in range(3 * _defaults.KEPT_BLOCKS)]
    del many
    assert len(_buffers._kept) == _defaults.KEPT_BLOCKS
    _buffers.forget()

    small, large = _buffers.allocate((8,), DOUBLE), _buffers.allocate((_defaults.LARGEST_BLOCK_BYTES + 1,), np.dtype(np.uint8))
    del small, large
    assert not _buffers._kept


def test_threads_never_share_a_block():
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            array = _buffers.allocate((LARGE,), DOUBLE)
            array[::4096] = number
            if not (array[::4096] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_values_that_were_read_stay_while_others_come_and_go(session, wire: Wire):
    given = np.arange(float(LARGE))
    kept = telegrad.tensor(given).numpy()
    for i in range(6):
        assert (telegrad.tensor(np.full(LARGE, float(i))) + 1).numpy()[-1] == i + 1.0

    assert np.array_equal(kept, given)
    assert not kept.flags.writeable


def test_what_is_given_may_change_at_once(session):
    given = np.zeros(LARGE)
    made = telegrad.tensor(given)
    half = telegrad.tensor(given, dtype=telegrad.float32)
    given += 1

    assert not made.numpy().any()
    assert half.dtype is telegrad.float32
    assert half.numpy().dtype == np.float32


def test_a_closed_session_gives_the_memory_back(wire: Wire):
    with wire.open():
        telegrad.tensor(np.zeros(LARGE)).numpy()
    assert not _buffers._kept
