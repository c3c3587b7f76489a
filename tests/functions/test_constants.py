"""What a traced function makes of numbers alone has its values in the trace; what anything else went into has none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

import telegrad
import telegrad.nn.functional as F
from telegrad.errors import AutogradError, TraceError


def grid(x: Any) -> Any:
    times = telegrad.linspace(0, 1, 5, dtype=telegrad.float64)
    for before, after in itertools.pairwise(times):
        x = x + float(after - before) * x.sin()
    return x


def mask(x: Any) -> Any:
    below = telegrad.tril(telegrad.ones(3, 3)).bool()
    assert bool(below.any()), "as people make sure"
    rows = [row.tolist().count(True) for row in below]
    return x * sum(rows), rows


def written(x: Any) -> Any:
    table = telegrad.zeros(3)
    view = table[1:]
    view += 2
    table[0] = table.sum() / 8
    return x * float(table.sum()), telegrad.zeros(int(view[0]))


def rooted(x: Any) -> Any:
    with telegrad.no_grad():
        x.mul_(1.0)
    return x * math.sqrt(telegrad.tensor(4.0)), telegrad.arange(3).numpy().max().item()


def sized(x: Any) -> Any:
    return x * telegrad.tensor(x.shape).prod().item()


def aligned(x: Any) -> Any:
    scores = x.repeat(24).reshape(6, 2, 6).log_softmax(-1)
    lengths = telegrad.full(size=(2,), fill_value=6, dtype=telegrad.long)
    return F.ctc_loss(scores, telegrad.tensor([[1, 2, 2], [3, 1, 0]]), lengths, telegrad.tensor([3, 2]))


@pytest.mark.parametrize("function", [grid, mask, written, rooted, sized, aligned])
def test_values_of_constants_are_known_while_tracing(session, function):
    def outcomes(call: Callable[[Any], Any]) -> list[Any]:
        return [repr(call(telegrad.tensor(values))) for values in ([0.5, 1.0, 2.0], [3.0, 1.0, 0.25], [1.0, 1.0, 1.0])]

    traced = telegrad.function(function)

    assert outcomes(traced) == outcomes(function)
    assert len(traced.programs) == 1


def drawn(x: Any) -> float:
    return float(telegrad.rand(()))


def drawn_in_place(x: Any) -> float:
    return float(telegrad.zeros(()).uniform_())


def made_from_an_argument(x: Any) -> float:
    return float(telegrad.zeros_like(x).sum() + x.sum())


def written_through_a_view(x: Any) -> float:
    table = telegrad.zeros(3)
    table.view(3).add_(x)
    return float(table.sum())


def written_to_a_part(x: Any) -> float:
    table = telegrad.zeros(3)
    table[x.argmax()] = 1.0
    return float(table[0])


def given_other_data(x: Any) -> float:
    table = telegrad.zeros(3)
    table.data = x
    return float(table.sum())


def filled_by_out(x: Any) -> float:
    table = telegrad.zeros(3)
    telegrad.mul(x, 2, out=table)
    return float(table.sum())


def copied_into(x: Any) -> float:
    return float(telegrad.zeros(3).copy_(x).sum())


def filled_with_statistics(x: Any) -> float:
    mean, variance = telegrad.zeros(1), telegrad.ones(1)
    F.batch_norm(x[:, None], mean, variance, training=True)
    return float(mean)


def written_by_a_hook(x: Any) -> float:
    table, w = telegrad.zeros(3), telegrad.ones(3, requires_grad=True)
    h = w * x
    h.register_hook(lambda gradient: table.add_(gradient * x) * 0)
    h.sum().backward()
    return float(table.sum())


def gradient(x: Any) -> float:
    w = telegrad.ones(3, requires_grad=True)
    (w * x).sum().backward()
    return float(w.grad.sum())


UNKNOWN = [
    *(drawn, drawn_in_place, made_from_an_argument, written_through_a_view, written_to_a_part, given_other_data, filled_by_out),
    *(copied_into, filled_with_statistics, written_by_a_hook, gradient),
]


@pytest.mark.parametrize("function", UNKNOWN)
def test_values_that_anything_else_went_into_are_refused(session, function):
    with pytest.raises(TraceError, match="no values to look at"):
        telegrad.function(function)(telegrad.tensor([0.5, 1.0, 2.0]))


def test_who_looks_at_a_constant_is_told_what_failed_before(session):
    def step(x: Any) -> Any:
        table = telegrad.zeros(3)
        try:
            (x * table).sum().backward()
            table.tolist()
        except AutogradError as error:
            return "does not require grad" in str(error)
        return x

    assert telegrad.function(step)(telegrad.ones(3)) is True
