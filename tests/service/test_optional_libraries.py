"""A server without an optional library: which ops it refuses, in what words, and that nothing else suffers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import telegrad
from telegrad.contract.errors import LibraryMissingError, from_problem
from telegrad_service.engine import optional


@pytest.fixture
def without_scipy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """scipy cannot be imported, as if it were not installed; the engine forgets what it found."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    optional.installed.cache_clear()
    optional.library.cache_clear()
    yield
    optional.installed.cache_clear()
    optional.library.cache_clear()


def test_an_op_without_its_library_is_501_and_leaves_the_session(client: Any, at: str, without_scipy: None) -> None:
    client.post(f"{at}/tensors", json={"id": "x", "data": [0.5], "requires_grad": True})

    refused = client.post(f"{at}/ops", json={"op": "lgamma", "inputs": ["x"], "outputs": ["y"]})
    done = client.post(f"{at}/ops", json={"op": "erf", "inputs": ["x"], "outputs": ["y"]})

    problem = refused.json()
    assert (refused.status_code, problem["type"]) == (501, "urn:telegrad:problem:library-missing")
    assert problem["library"] == "scipy"
    assert "lgamma()" in problem["detail"]
    assert "pip install 'telegrad[scipy]'" in problem["detail"]
    assert isinstance(from_problem(problem), LibraryMissingError)
    assert done.status_code == 200, done.text


def test_the_catalogue_says_what_an_op_needs(client: Any) -> None:
    needs = {row["name"]: row["needs"] for row in client.get("/v1/ops").json()["ops"]}

    assert (needs["lgamma"], needs["erf"]) == ("scipy", None)
    assert set(needs.values()) == {"scipy", None}


def test_with_the_library_back_the_op_works() -> None:
    pytest.importorskip("scipy")

    assert telegrad.lgamma(telegrad.tensor([3.0])).item() == pytest.approx(0.6931472)
