"""Data sets: the same tensor in every place, sent to a server once."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.errors import AutogradError
from tests.places import REMOTE, open_session, server_url

DATA = np.arange(6000, dtype=np.float32).reshape(1000, 6)


def test_a_data_set_is_a_tensor_that_cannot_be_written_to(session):
    data = session.dataset(DATA)
    row = data[2]

    assert (data.shape, data.dtype, data.requires_grad, data.is_leaf) == ((1000, 6), telegrad.float32, False, True)
    np.testing.assert_array_equal(data.numpy(), DATA)

    def write(tensor: Any) -> None:
        tensor.add_(1)
        tensor.numpy()

    for written in (data, row):
        with pytest.raises(AutogradError, match="data set"):
            write(written)
    assert row.clone().add_(1).tolist() == (DATA[2] + 1).tolist()


def test_data_is_converted_as_it_is_for_any_tensor(session):
    assert session.dataset([[1, 2], [3, 4]]).dtype == telegrad.int64
    assert session.dataset([1, 2], dtype=telegrad.float64).tolist() == [1.0, 2.0]
    assert session.dataset(np.array(7)).shape == ()
    assert session.dataset(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(telegrad.TelegradError):
        session.dataset([[1, 2], [3]])


def test_gradients_reach_one_tensor_of_a_data_set_and_not_the_next(session):
    first, second = session.dataset(DATA), session.dataset(DATA)

    first.requires_grad_()
    (first * 2).sum().backward()

    assert first.grad is not None
    assert not second.requires_grad
    assert second.grad is None


@pytest.mark.parametrize("place", REMOTE)
def test_the_same_data_is_sent_once(place):
    with open_session(place) as session:
        sent: list[int] = []
        send = session._transport.send

        def counted(request: Any) -> Any:
            sent.append(sum(len(piece) for piece in request.body))
            return send(request)

        session._transport.send = counted

        first = session.dataset(DATA)
        before = sum(sent)
        del first
        again = session.dataset(DATA.copy())
        other = session.dataset(DATA + 1)

        assert before > DATA.nbytes
        assert DATA.nbytes < sum(sent) - before < 2 * DATA.nbytes
        assert (other - again).sum().item() == DATA.size


def test_another_client_of_the_session_finds_it():
    with telegrad.connect(server_url()) as first:
        kept = first.dataset(DATA)
        kept.sum().item()

        with telegrad.connect(server_url(), session=first.id) as second:
            np.testing.assert_array_equal(second.dataset(DATA).numpy(), DATA)


def test_an_async_session_awaits_it():
    async def scenario() -> None:
        async with telegrad.connect_async(server_url()) as session:
            data = await session.dataset(DATA)
            again = await session.dataset(DATA)
            assert await (data - again).abs().sum().item() == 0.0

    asyncio.run(scenario())
