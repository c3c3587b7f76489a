"""A batch that the server refuses whole, because it would not fit, fails as the script would in this process: at the command that
does not fit, and what stands before it stands.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import telegrad
from telegrad.errors import LimitError, QuotaError
from tests.service.test_server import Server

MEBI = 2**20


@pytest.fixture(scope="module", params=[("process", "step"), ("inline", "none")], ids=["process", "inline"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    isolation, durability = request.param
    opened = Server(
        *("--isolation", isolation, "--durability", durability, "--data-dir", str(tmp_path_factory.mktemp("data"))),
        *("--max-session-bytes", str(64 * MEBI), "--tenant-bytes", str(96 * MEBI)),
    )
    yield opened
    assert opened.stop() == 0


def script(session: telegrad.RemoteSession) -> tuple[telegrad.Tensor, telegrad.Tensor, telegrad.Tensor]:
    """Three tensors recorded in one batch, of which the second does not fit."""
    return session.ones(3) * 2, session.zeros(20 * MEBI), session.ones(2) + 1


def test_what_stands_before_and_after_stands(server):
    with telegrad.connect(server.url) as session:
        before, large, after = script(session)
        with pytest.raises(LimitError, match="max_session_bytes") as refused:
            session.flush()

        assert "script" in "".join(refused.value.__notes__)  # the line that recorded it
        assert before.tolist() == [2, 2, 2]
        assert after.tolist() == [2, 2]
        with pytest.raises(telegrad.errors.DependentError):
            (large + 1).sum().item()
        assert (before + 1).tolist() == [3, 3, 3]  # and so does the session go on


def test_a_quota_of_the_tenant_is_met_in_the_same_way_and_room_comes_back(server):
    with telegrad.connect(server.url) as first, telegrad.connect(server.url) as second:
        held = first.zeros(15 * MEBI)  # 60 MiB
        first.flush()
        before = second.ones(3) * 2
        large = second.zeros(10 * MEBI)
        with pytest.raises(QuotaError, match="tenant_bytes") as refused:
            second.flush()
        assert refused.value.extra["used"] >= 60 * MEBI
        with pytest.raises(QuotaError):  # alone in its batch
            second.zeros(10 * MEBI).sum().item()
        assert before.tolist() == [2, 2, 2]
        del held, large
        assert first.ones(()).item() == 1  # releases ride along with what is sent next

        room = second.zeros(10 * MEBI)
        assert float(room.sum()) == 0
