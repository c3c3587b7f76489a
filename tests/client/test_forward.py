"""Forward mode of remote tensors, where it depends on what only the server knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import telegrad
from telegrad.errors import AutogradError
from tests.places import open_session


@pytest.fixture(autouse=True)
def session() -> Iterator[Any]:
    with open_session("asgi") as opened:
        yield opened


def written(z: Any) -> Any:
    """Write to a copy."""
    v = z.contiguous()
    v.mul_(2)
    return z * 1, v


def overtaken(z: Any) -> Any:
    """Write to what was copied."""
    v = z.reshape(4)
    z.mul_(2)
    return v * 1


@pytest.mark.parametrize("function", [written, overtaken])
def test_a_write_at_a_part_of_a_tensor_is_refused(function: Callable[[Any], Any]) -> None:
    x = telegrad.arange(6.0).reshape(2, 3)
    with pytest.raises(AutogradError, match=r"only the server knows whether reshaping a part"):
        telegrad.func.jvp(function, (x[:, :2],), (telegrad.ones(2, 2),))


def test_a_write_at_a_clone_of_a_part_keeps_the_tangents_apart() -> None:
    x = telegrad.arange(6.0).reshape(2, 3)
    _, (kept, doubled) = telegrad.func.jvp(written, (x[:, :2].t().clone(),), (telegrad.ones(2, 2),))
    assert (kept.tolist(), doubled.tolist()) == ([[1.0, 1.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]])
