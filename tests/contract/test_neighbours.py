"""Connections within one machine are not paced; others are left to the system."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from telegrad.contract import neighbours

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the choice is Linux's")


class Told:
    """A socket that notes what is set."""

    def __init__(self, ours: str, theirs: str, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.ends = (ours, 1), (theirs, 2)
        self.family = family
        self.chosen: list[Any] = []

    def getsockname(self) -> tuple[str, int]:
        return self.ends[0]

    def getpeername(self) -> tuple[str, int]:
        return self.ends[1]

    def setsockopt(self, *given: Any) -> None:
        self.chosen.append(given)


def test_a_connection_to_this_machine_is_not_paced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as made:
        neighbours.unpace(made)
        found = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert found.rstrip(b"\0") == b"reno"


@pytest.mark.parametrize(
    ("ours", "theirs", "count"), [("10.0.0.1", "10.0.0.2", 0), ("10.0.0.1", "10.0.0.1", 1), ("::1", "::1", 1), ("::1", "::2", 0)]
)
def test_only_connections_of_one_address_are_changed(ours: str, theirs: str, count: int) -> None:
    told = Told(ours, theirs, socket.AF_INET6 if ":" in ours else socket.AF_INET)
    neighbours.unpace(told)
    assert len(told.chosen) == count


def test_what_is_no_tcp_connection_or_has_gone_is_left_alone() -> None:
    neighbours.unpace(None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        neighbours.unpace(ours)
    with socket.socket() as alone:
        neighbours.unpace(alone)
