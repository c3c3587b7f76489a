"""``x.data``, ``x.detach_()`` and the loops that people write with them."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def data_is_the_same_memory_beside_the_graph(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    z = y * y
    before = x.data.requires_grad, x.data.is_leaf, x.data._version
    y.data.add_(1)
    versions = y._version, y.data._version
    z.sum().backward()
    return before, versions, y, x.grad


@script
def a_detached_alias_raises_where_data_does_not(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    z = y * y
    y.detach().add_(1)

    def late() -> Any:
        z.sum().backward()
        return x.grad

    return type(attempt(late)).__name__, y._version


@script
def gradient_descent_by_data(tg: Any) -> Any:
    w: Any = tg.tensor([1.0, -2.0], dtype=tg.float64, requires_grad=True)

    def differentiate(*, detach: bool) -> Any:
        if w.grad is not None:
            if detach:
                w.grad.detach_()
            w.grad.zero_()
        (w * w).sum().backward()
        return w.grad

    for _ in range(3):
        gradient = differentiate(detach=False)
        w.data -= 0.1 * gradient.data
    for _ in range(2):
        gradient = differentiate(detach=True)
        w.data = w.data - 0.1 * gradient
    return w, w.grad, w._version


@script
def assigned_data_shares_memory(tg: Any) -> Any:
    x = tg.ones(2)
    y = tg.zeros(3, dtype=tg.float64)
    x.data = y
    y.add_(1)
    x.mul_(2)
    return x, y, x.shape, x.dtype, x._version, y._version


@script
def assigned_data_keeps_gradients_flowing(tg: Any) -> Any:
    x = tg.ones(2, requires_grad=True)
    y = x * 3
    y.data = tg.zeros(2)
    (y * y).sum().backward()
    part = x.detach().clone()[:1]
    part.data = tg.zeros(1)
    part.add_(1)
    return y, x.grad, part


@script
def data_that_cannot_be_assigned(tg: Any) -> Any:
    x = tg.ones(2, requires_grad=True)

    def set_data(value: Any) -> Any:
        x.data = value
        return x

    found = [attempt(partial(set_data, v)) for v in (3, None, tg.zeros(2, dtype=tg.int64))]
    return [f.builtins for f in found], x


@script
def detaching_in_place(tg: Any) -> Any:
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    z = y * 3
    kept = y.detach_()
    z.sum().backward()
    leaf = tg.ones(2, requires_grad=True)
    leaf.detach_()
    return kept is y, y, y._version, x.grad, leaf, y.requires_grad_()


@script
def detaching_a_view_in_place(tg: Any) -> Any:
    x = tg.ones(2, requires_grad=True)
    y = x * 2

    def cut(t: Any) -> Any:
        return t.detach_()

    return [type(attempt(partial(cut, t))).__name__ for t in (x[:1], y[:1], tg.ones(2)[:1])]


@script
def shapes_change_in_place(tg: Any) -> Any:
    x = tg.arange(6).reshape(2, 3).clone()
    same = x
    shapes = [x.unsqueeze_(0).shape, x.squeeze_().shape, x.t_().shape, x.transpose_(0, 1).shape, x.swapaxes_(0, -1).shape]
    x.add_(1)
    leaf = tg.ones(2, 3, requires_grad=True)
    with tg.no_grad():
        leaf.t_()
    (leaf * tg.arange(6.0).reshape(3, 2)).sum().backward()
    refused = attempt(lambda: tg.ones(2, 3, requires_grad=True).t_())
    return [list(s) for s in shapes], same is x, x, leaf, leaf.grad, type(refused).__name__
