"""What is refused, where it shows, and that the session goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def shape_errors_at_the_line(tg: Any) -> Any:
    a, b = tg.ones(2), tg.ones(3)
    return (
        attempt(lambda: a + b),
        attempt(lambda: tg.ones(2, 3) @ tg.ones(2, 3)),
        attempt(lambda: a.reshape(5)),
        attempt(lambda: tg.cat([tg.ones(2, 2), tg.ones(3, 3)])),
        attempt(lambda: a.sum(dim=4)),
        attempt(lambda: a[5]),
        attempt(lambda: a.expand(3, 3)),
    )


@script
def the_session_survives_an_error(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    failed = attempt(lambda: x + tg.ones(3))
    y.sum().backward()
    return failed, y, x.grad


@script
def type_and_argument_errors(tg: Any) -> Any:
    x = tg.ones(2, 2)
    return (
        attempt(lambda: tg.arange(3).requires_grad_()),
        attempt(lambda: x.sum(dims=1)),
        attempt(lambda: tg.exp([1.0, 2.0])),
        attempt(lambda: x.softmax(dim=9)),
        attempt(lambda: bool(x)),
        attempt(x.item),
        attempt(lambda: len(x.sum())),
    )


@script
def autograd_errors(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    plain = tg.ones(2)

    def read_after(action: Callable[[], Any]) -> Any:
        action()
        return x.grad

    return (
        attempt(lambda: read_after((x * 2).backward)),
        attempt(lambda: read_after(lambda: plain.sum().backward())),
        attempt(lambda: tg.autograd.grad(x.sum(), plain)),
        attempt(lambda: read_after(lambda: (x * 2).backward(tg.ones(3)))),
        attempt(x.numpy),
        attempt(lambda: x.add_(1)),
        attempt(lambda: (x * 2).requires_grad_(False)),
    )


@script
def modified_saved_value(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    y.add_(1)

    def back() -> Any:
        y.sum().backward()
        return x.grad

    return attempt(back)


@script
def values_that_only_the_computation_can_refuse(tg: Any) -> Any:
    x = tg.arange(4.0)
    return attempt(lambda: x[tg.tensor([0, 9])]), attempt(lambda: x.gather(0, tg.tensor([7]))), x
