"""Which types calls take and give, and what they refuse, in corners that samples do not reach: PyTorch's results and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from tests.parity.transcripts import attempt, disagreements
from tests.references.sides import HAS_TORCH, torch_side


def half(tg: Any) -> Any:
    return tg.tensor([1.0, 2.0], dtype=tg.float16)


def mask(tg: Any) -> Any:
    return tg.tensor([True, False])


def first(tg: Any) -> Any:
    return tg.tensor([0])


def small(tg: Any, dtype: str) -> Any:
    return tg.tensor([1, 0], dtype=getattr(tg, dtype))


def functional(tg: Any) -> Any:
    return tg.nn.functional


CALLS: list[Callable[[Any], Any]] = [
    # numbers that a type cannot hold
    *(lambda tg, v=v: half(tg).masked_fill(mask(tg), v) for v in (-1e9, 65504.0, 65505.0, float("-inf"), float("nan"))),
    lambda tg: tg.full((2,), 1e39),
    lambda tg: tg.full((2,), 1e39, dtype=tg.float64),
    lambda tg: tg.full((2,), 10**6, dtype=tg.float16),
    lambda tg: tg.full((2,), 1e39 + 1j, dtype=tg.complex64),
    lambda tg: half(tg).fill_(1e6),
    lambda tg: half(tg).clamp(max=1e6),
    lambda tg: half(tg).scatter(0, first(tg), 1e6),
    lambda tg: half(tg).add(half(tg), alpha=1e6),
    lambda tg: half(tg) + 1e6,
    lambda tg: tg.tensor(1e6, dtype=tg.float16),
    lambda tg: functional(tg).threshold(half(tg), 1, 1e6),
    # values that are tensors of another type
    *(
        lambda tg, x=x, v=v: small(tg, x).masked_fill(mask(tg), tg.tensor(v))
        for x in ("bool", "uint8", "int8", "int64", "float32")
        for v in (2.5, 300, -1.0, 1 + 2j, 1 + 0j, float("nan"))
    ),
    lambda tg: half(tg).masked_fill(mask(tg), tg.tensor(1e6)),
    lambda tg: small(tg, "int64").index_fill(0, first(tg), tg.tensor(2.5)),
    lambda tg: small(tg, "float32").index_fill(0, first(tg), tg.tensor(1 + 2j)),
    # types that are refused, and types of results
    *(lambda tg, d=d: functional(tg).avg_pool1d(small(tg, d)[None], 2) for d in ("uint8", "int32", "int64")),
    *(lambda tg, d=d: functional(tg).max_pool1d(small(tg, d)[None], 2) for d in ("uint8", "int64", "float32")),
    *(
        lambda tg, x=x, y=y: functional(tg).huber_loss(small(tg, x), small(tg, y))
        for x, y in (("float16", "float64"), ("float64", "float16"), ("int64", "float32"), ("bool", "bool"))
    ),
    *(
        lambda tg, x=x, y=y: functional(tg).kl_div(small(tg, x), small(tg, y), reduction="sum")
        for x, y in (("int64", "float32"), ("float32", "bool"), ("float32", "complex64"), ("float32", "float64"))
    ),
    *(
        lambda tg, x=x, y=y: functional(tg).cosine_similarity(small(tg, x), small(tg, y), 0)
        for x, y in (("int64", "float32"), ("int64", "int64"), ("float16", "float64"))
    ),
    lambda tg: functional(tg).l1_loss(small(tg, "bool"), small(tg, "float32")),
    lambda tg: functional(tg).mse_loss(small(tg, "bool"), small(tg, "bool")),
    lambda tg: functional(tg).threshold(small(tg, "bool"), 1, 1),
    lambda tg: small(tg, "bool").topk(1),
    lambda tg: small(tg, "complex64").sign(),
    lambda tg: tg.logaddexp2(small(tg, "complex64"), small(tg, "complex64")),
    lambda tg: tg.cdist(half(tg)[None], half(tg)[None]),
]


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("index", range(len(CALLS)))
def test_types_are_those_of_the_reference(index: int) -> None:
    call, torch = CALLS[index], torch_side().torch
    wanted = attempt(lambda: call(torch))
    with telegrad.local():
        found = attempt(lambda: call(telegrad))

    assert disagreements(found, wanted) == []
