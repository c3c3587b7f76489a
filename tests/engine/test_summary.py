"""``telegrad.summary``: nodes, depth and bytes, counted by hand and the same in every place."""

from __future__ import annotations

import asyncio
import json
import time
import xml.etree.ElementTree as ET

import pytest

import telegrad
from telegrad.contract.summary import Summary, Use, readable_bytes
from tests.client.wire import open_async
from tests.places import server_url


def build():
    """A graph whose every number is known; x is saved twice, the result of exp once, and w not at all."""
    x = telegrad.ones(10, requires_grad=True)  # 40 bytes
    w = telegrad.ones(10, dtype="float64", requires_grad=True)  # 80 bytes
    with telegrad.scope("body"):
        h = (x * x).exp()
    return x, w, (h + w).sum()


EXPECTED = {
    "shape": [],
    "dtype": "float64",
    "nodes": 4,
    "freed": 0,
    "leaves": 2,
    "leaves_with_grad": 0,
    "depth": 4,
    "saved_bytes": 80,
    "leaf_bytes": 120,
    "grad_bytes": 0,
    "bytes": 160,
    "by_op": {
        "exp": {"nodes": 1, "freed": 0, "saved_bytes": 40},
        "mul": {"nodes": 1, "freed": 0, "saved_bytes": 40},
        "add": {"nodes": 1, "freed": 0, "saved_bytes": 0},
        "sum": {"nodes": 1, "freed": 0, "saved_bytes": 0},
    },
    "by_scope": {"body": {"nodes": 2, "freed": 0, "saved_bytes": 80}},
}


@pytest.mark.parametrize("place", ["local", "connected"])
def test_the_numbers_are_right_in_every_place(place):
    with telegrad.local() if place == "local" else telegrad.connect(server_url()):
        x, w, y = build()

        found = telegrad.summary(y)

        assert found.as_dict() == EXPECTED
        assert list(found.by_op) == list(EXPECTED["by_op"])
        y.backward()
        after = telegrad.summary(y)
        assert (after.saved_bytes, after.freed, after.grad_bytes, after.leaves_with_grad) == (0, 2, 120, 2)
        assert after.by_op["exp"] == Use(1, 1, 0)
        assert after.bytes == 240
        assert telegrad.summary(x).nodes == 0
        assert (telegrad.summary(w).leaf_bytes, telegrad.summary(w).depth) == (80, 0)


def test_an_async_session_summarises_too():
    async def scenario():
        async with open_async() as (session, _):
            y = (session.ones(2).requires_grad_() * 2).sum()
            return await session.summary(y)

    assert asyncio.run(scenario()).nodes == 2


def test_a_buffer_that_several_nodes_keep_counts_once_for_the_first():
    x = telegrad.ones(100, requires_grad=True)
    h = x.exp()  # saves h
    y = (h * h).sin()  # mul saves h again, sin saves its input

    found = telegrad.summary(y)

    assert found.saved_bytes == 800
    assert {name: use.saved_bytes for name, use in found.by_op.items()} == {"exp": 400, "sin": 400, "mul": 0}


def test_a_saved_slice_counts_for_the_whole_buffer():
    big = telegrad.ones(1000)

    assert telegrad.summary(telegrad.ones(1, requires_grad=True) * big[:1]).saved_bytes == 4000


def test_depth_is_that_of_the_longest_path():
    x = telegrad.ones(2, requires_grad=True)
    long = x
    for _ in range(7):
        long = long.exp()

    assert telegrad.summary(x.exp() + long).depth == 8
    diamond = x
    for _ in range(60):
        diamond = diamond + diamond
    assert (telegrad.summary(diamond).nodes, telegrad.summary(diamond).depth) == (60, 60)


def test_100000_nodes_take_well_under_a_second():
    y = x = telegrad.ones(2, requires_grad=True)
    for _ in range(50_000):
        y = y * x + 1
    begun = time.process_time()

    found = telegrad.summary(y)

    assert time.process_time() - begun < 1.0
    assert (found.nodes, found.depth, found.leaves) == (100_000, 100_000, 1)
    assert found.by_op["add"] == Use(50_000, 0, 0)


def test_it_prints_as_a_table_and_as_html():
    _, _, y = build()
    found = telegrad.summary(y)

    lines = str(found).splitlines()

    assert repr(found) == str(found)
    assert "nodes               4" in lines
    assert "together            160 B" in lines
    (row,) = [line.split() for line in lines if line.startswith("exp")]
    assert row == ["exp", "1", "0", "40", "B"]
    assert any(line.startswith("body") for line in lines)
    text = "".join(ET.fromstring(found._repr_html_()).itertext())
    assert all(word in text for word in ("body", "exp", "160 B", "float64 []"))
    y.backward()
    assert "4, 2 freed" in str(telegrad.summary(y))


def test_plain_data_gives_it_back():
    found = telegrad.summary(build()[2])

    assert Summary.from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (2**52, "4096.0 TiB")]
)
def test_bytes_are_readable(count, text):
    assert readable_bytes(count) == text


def test_what_has_no_graph_is_refused():
    with pytest.raises(TypeError, match="root must be a Tensor, not int"):
        telegrad.summary(3)
    with pytest.raises(TypeError, match="root must be a Tensor"):
        telegrad.vmap(telegrad.summary)(telegrad.ones(2, 2))
    with telegrad.local() as other, pytest.raises(RuntimeError, match="another session"):
        other.summary(build_elsewhere())


def build_elsewhere():
    with telegrad.local():
        return telegrad.ones(1, requires_grad=True).exp()
