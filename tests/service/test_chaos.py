"""A proxy that cuts, delays and repeats, between the SDK and its server: every step is done once, bit for bit as in peace.

The figures are printed at the end; the long form is run by ``make soak``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad import _batch, _defaults
from tests.chaos import CUTS, FAULTS, Chaos
from tests.service.serving import Server
from tests.training import Training, uncut


@pytest.fixture(scope="module", params=["process", "inline"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("data"), "--isolation", request.param)
    yield made
    made.stop()


@pytest.fixture
def chaos(server: Server) -> Iterator[Chaos]:
    made = Chaos(server.port, seed=5)
    yield made
    made.close()


def train(chaos: Chaos, steps: int) -> Training:
    """So many acknowledged steps, or a few more, and the same in peace."""
    with telegrad.connect(chaos.url) as session:
        training = Training(session)
        rounds = 0
        while training.done < steps:
            training.step()
            rounds += 1
        found = training.seen, training.state()
    assert found == uncut(rounds)
    return training


def test_steps_over_a_bad_network_give_the_bits_of_a_good_one(chaos):
    chaos.share = 0.2

    train(chaos, 100)

    assert chaos.cuts > 5


@pytest.mark.soak
def test_a_thousand_steps_with_every_twentieth_answer_cut_give_the_same_bits(chaos, tell):
    chaos.share = 0.05 * len(FAULTS) / len(CUTS)

    training = train(chaos, 1000)

    requests = chaos.counts["requests"]
    tell(f"{training.done:,} steps in {requests:,} requests, {chaos.cuts} cut ({100 * chaos.cuts / requests:.1f} %): bits equal")
    tell(", ".join(f"{fault} {chaos.counts[fault]}" for fault in FAULTS))
    assert chaos.cuts > 0.03 * requests


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_is_survived_by_every_kind_of_request(chaos, fault):
    chaos.next.extend([fault])  # of the opening
    with telegrad.connect(chaos.url) as session:
        training = Training(session)
        for _ in range(8):
            chaos.next.extend([fault, fault])
            training.step()
        assert not chaos.next
        found = training.seen, training.state()
        chaos.next.extend([fault])  # of the closing
    assert found == uncut(8)


def test_without_numbers_the_proof_fails(chaos, monkeypatch):
    monkeypatch.setattr(_batch.Numbers, "next", lambda self: {})
    with telegrad.connect(chaos.url) as session:
        x = session.zeros(1)
        session.flush()
        x += 1
        chaos.next.extend(["lose answer"])
        assert x.item() == 2.0


def test_batches_that_are_sent_ahead_are_made_once(chaos, monkeypatch):
    rows = np.arange(240.0).reshape(60, 4)
    monkeypatch.setattr(_defaults, "UPLOAD_BYTES", 3 * rows[0].nbytes)
    chaos.share = 0.3
    with telegrad.connect(chaos.url) as session:
        total = session.zeros(4, dtype=telegrad.float64)

        @telegrad.function
        def add(row: Any) -> Any:
            return total.add_(row).clone()

        found = add.map(rows)

        assert found.tolist() == np.cumsum(rows, 0).tolist()
        assert total.tolist() == rows.sum(0).tolist()
    assert chaos.cuts


def test_awaited_sessions_are_as_exact(chaos):
    async def scenario() -> list[float]:
        async with telegrad.connect_async(chaos.url) as session:
            w = session.ones(3, requires_grad=True)
            seen: list[float] = []
            for step in range(40):
                (w * step).sum().backward()
                gradient = await w.grad
                assert gradient is not None
                seen.append(float(await gradient.sum().item()))
            return seen

    chaos.share = 0.3
    found = asyncio.run(scenario())

    assert found == [3.0 * sum(range(step + 1)) for step in range(40)]
    assert chaos.cuts


def test_awaited_requests_that_are_cancelled_are_kept_and_done_once(chaos):
    async def scenario() -> float:
        async with telegrad.connect_async(chaos.url) as session:
            x = session.zeros(1)
            for step in range(30):
                x += 1
                try:
                    async with asyncio.timeout(0.0005 * (step % 5)):
                        await x.item()
                except TimeoutError:
                    pass
            return float(await x.item())

    chaos.share = 0.2
    assert asyncio.run(scenario()) == 30.0


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_one_serial_order_explains_the_answers_to_64_writers(server, chaos, share):
    """Each writer reads, changes by ``x -> 31 x + own number`` modulo 2**64, and reads: the pairs form one chain."""
    rounds = 6
    chaos.share = share
    answers: list[list[tuple[int, int]]] = [[] for _ in range(64)]
    errors: list[Exception] = []

    def write(writer: int) -> None:
        try:
            with telegrad.connect(chaos.url, session=owner.id, retry_seconds=120) as session:
                shared = session.tensor_by_name("shared")
                for turn in range(rounds):
                    before = shared.clone()
                    shared.mul_(31).add_(1 + writer + 64 * turn)
                    after = shared.clone()
                    answers[writer].append((int(before.item()), int(after.item())))
        except Exception as error:  # noqa: BLE001 - shown by the test's own thread
            errors.append(error)

    with telegrad.connect(server.url) as owner:
        owner.name(owner.tensor(1), "shared")
        owner.flush()
        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        last = int(owner.tensor_by_name("shared").item())

    assert errors == []
    following = {before: (after, writer, turn) for writer, told in enumerate(answers) for turn, (before, after) in enumerate(told)}
    assert len(following) == 64 * rounds
    at, turns = 1, [0] * 64
    for _ in range(64 * rounds):
        after, writer, turn = following[at]
        assert turn == turns[writer], "a writer's own order"
        turns[writer] += 1
        assert after == _wrapped(31 * at + 1 + writer + 64 * turn)
        at = after
    assert at == last


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63
