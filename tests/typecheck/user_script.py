"""A user's script as the strict type checkers must see it. Never run; each ignored error is one that must be found.

`make types` reads it: an ignore that hides nothing is an error too.
"""

# mypy: disallow-untyped-calls, disallow-untyped-defs, disallow-any-generics, warn-return-any
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_type

import numpy.typing as npt

import telegrad
import telegrad.nn.functional as F


def train(url: str) -> float:
    with telegrad.connect(url, timeout_seconds=10, retry_seconds=2) as session:
        assert_type(session, telegrad.RemoteSession)
        x = telegrad.tensor([[1.0, 2.0]])
        w = telegrad.zeros(2, 1, requires_grad=True)
        assert_type(x, telegrad.Tensor)
        assert_type(session.ones(2), telegrad.Tensor)
        for _ in range(3):
            loss = F.mse_loss(x @ w, telegrad.ones(1, 1))
            assert_type(loss, telegrad.Tensor)
            loss.backward()
            with telegrad.no_grad():
                assert_type(w.grad, telegrad.Tensor | None)
                if w.grad is not None:
                    w -= 0.1 * w.grad
            w.grad = None
        assert_type(w.shape, tuple[int, ...])
        assert_type(w.requires_grad, bool)
        assert_type(w.detach().numpy(), npt.NDArray[Any])
        assert_type(telegrad.exp(x).sum(dim=1, keepdim=True), telegrad.Tensor)
        return float(w.sum())


@telegrad.scope("model")
def look_at(y: telegrad.Tensor) -> int:
    with telegrad.scope("head"):
        y = y * 2
    found = telegrad.summary(y)
    assert_type(found, telegrad.Summary)
    assert_type(y.session.summary(y).by_op["mul"].nodes, int)
    y.session.graph(y, "svg", max_nodes=50, collapse=False)
    return found.nodes


@telegrad.function
def traced(x: telegrad.Tensor, scale: float = 1.0) -> tuple[telegrad.Tensor, float]:
    return x * scale, scale


def use_traced(x: telegrad.Tensor) -> None:
    assert_type(traced(x), tuple[telegrad.Tensor, float])
    traced(x, scale=2.0)
    traced.clear()
    traced(x, factor=2.0)  # type: ignore[call-arg]


def either(url: str | None) -> telegrad.Session:
    return telegrad.local() if url is None else telegrad.connect(url)


async def train_async(url: str) -> float:
    async with telegrad.connect_async(url) as session:
        assert_type(session, telegrad.AsyncSession)
        w = session.zeros(2, requires_grad=True)
        assert_type(w, telegrad.AsyncTensor)
        y = (w * 2).sum()
        assert_type(y, telegrad.AsyncTensor)
        y.backward()
        assert_type(await w.requires_grad, bool)
        assert_type(await w.grad, telegrad.AsyncTensor | None)
        assert_type(await y.detach().numpy(), npt.NDArray[Any])
        w.grad = None
        assert_type(await session.summary(y), telegrad.Summary)
        await session.flush()
        return float(await y.item())


def mistakes(x: telegrad.Tensor) -> None:
    x.sum(dims=1)  # type: ignore[call-arg]
    x.reshape("2")  # type: ignore[arg-type]
    x.grad = 1  # type: ignore[assignment]
    telegrad.connect(8000)  # type: ignore[arg-type]
    telegrad.connect("http://127.0.0.1:8000", eagerly=True)  # type: ignore[call-arg]
    telegrad.connect_async("http://127.0.0.1:8000", eager=True)  # type: ignore[call-arg]
    x.no_such_op()  # type: ignore[attr-defined]
