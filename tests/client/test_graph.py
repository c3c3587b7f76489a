"""Pictures of graphs on the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import telegrad
from tests.client.wire import open_async


def test_a_graph_is_pictured_from_everything_recorded(session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2, requires_grad=True)
    y = (x * 3).sum()

    assert "MulBackward0" in str(session.graph(y))
    assert "MulBackward0" in session.graph(y, format="dot")
    with pytest.raises(telegrad.TelegradError):
        session.graph(y, format="etching")


def test_an_async_session_pictures_graphs_too() -> None:
    async def scenario() -> str:
        async with open_async() as (session, _):
            w: Any = session.ones(2)
            text: str = await session.graph((w.requires_grad_() * 2).sum(), format="dot")
            return text

    assert "digraph" in asyncio.run(scenario())
