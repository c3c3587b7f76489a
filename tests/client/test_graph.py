"""Pictures of graphs on the server."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
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


def test_large_graphs_collapse_on_the_server_as_they_do_here(session: telegrad.RemoteSession) -> None:
    def build() -> Any:
        y = x = telegrad.ones(2, requires_grad=True)
        with telegrad.scope("steps"):
            for _ in range(20):
                y = (y * x).exp()
        return y.sum()

    there = build()
    with telegrad.local() as local:
        here = build()

        for settings in ({}, {"max_nodes": 6}, {"max_nodes": 6, "collapse": False}):
            assert session.graph(there, **settings) == local.graph(here, **settings)
        assert local.graph(here, max_nodes=6)["groups"][0]["scope"] == "steps"
    with pytest.raises(ValueError, match="max_nodes must be at least 1"):
        session.graph(there, max_nodes=0)
    with pytest.raises(TypeError, match="collapse must be bool"):
        session.graph(there, collapse=1)
    with pytest.raises(telegrad.errors.LimitError, match=r"permitted are 500 \(max_picture_nodes\)"):
        session.graph(there, max_nodes=501)


def test_a_notebook_card_of_a_remote_tensor_has_its_graph_for_one_request(
    session: telegrad.RemoteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    graph = session._exchange.graph

    def count(*arguments: Any) -> Any:
        asked.append("graph")
        return graph(*arguments)

    monkeypatch.setattr(session._exchange, "graph", count)
    x = telegrad.ones(2, requires_grad=True)
    y = (x * 3).sum()

    card = "".join(ET.fromstring(y._repr_html_()).itertext())

    assert "MulBackward0" in card
    assert asked == ["graph"]
    assert "<svg" not in x._repr_html_()
    node: Any = y.grad_fn
    assert "MulBackward0" in node._repr_html_()
    for _ in range(5001):
        y = y + 1
    assert "more than 5,000 nodes" in y._repr_html_()
    assert asked == ["graph"]
