"""Hooks on saved tensors: what they are given, what becomes of what they keep, and where they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scripts.functions import function
from tests.parity.scripts.hooks import leaf, naming
from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


def same(value: Any) -> Any:
    """Pack or unpack nothing."""
    return value


def logged(log: list[Any], how: Callable[[Any], Any] = same) -> Callable[[Any], Any]:
    """Note what comes, and give what ``how`` makes of it."""

    def hook(value: Any) -> Any:
        log.append(value.tolist())
        return how(value)

    return hook


@script
def packed_and_unpacked(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 2.0), leaf(tg, 3.0)

    def pack(t: Any) -> Any:
        name = None if t.grad_fn is None else t.grad_fn.name()
        log.append(["pack", t.tolist(), t.requires_grad, t is x, name, tg.is_grad_enabled()])
        return t.detach()

    def unpack(t: Any) -> Any:
        log.append(["unpack", t.tolist(), tg.is_grad_enabled()])
        return t

    with tg.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x * w
        z = tg.cat([y.exp(), y.sqrt()])
    z.sum().backward(retain_graph=True)
    z.sum().backward()
    return log, x.grad, w.grad


@script
def packed_otherwise(tg: Any) -> Any:
    x = leaf(tg, 2.0)
    with tg.autograd.graph.saved_tensors_hooks(lambda t: t * 5, same):
        with tg.autograd.graph.saved_tensors_hooks(lambda t: t * 7, same):
            y = x * x
        z = x * x
    (g,) = tg.autograd.grad(y + z, x, create_graph=True)
    return g, tg.autograd.grad(g, x)


@script
def packed_and_changed_since(tg: Any) -> Any:
    x = leaf(tg, 2.0)
    with tg.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), same):
        a = x * 1
        y = a * a
    with tg.no_grad():
        a.mul_(3)
    y.backward()
    return x.grad


@script
def packed_as_numpy_and_as_half_as_much(tg: Any) -> Any:
    graph = tg.autograd.graph
    x, w = leaf(tg, 1.1, 2.3), leaf(tg, 0.7, -3.9)
    with graph.saved_tensors_hooks(lambda t: t.detach().numpy().copy(), tg.from_numpy):
        y = (x @ w) * x
    with graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.double()):
        z = (y * w).sum()
    with graph.save_on_cpu():
        z = z.sin() * z
    z.backward()
    return z, x.grad, w.grad


@script
def packed_in_place_ops(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    a = x * 1
    with tg.autograd.graph.saved_tensors_hooks(logged(log), logged(log)):
        a.mul_(w)
        a[0].mul_(x[1])
        b = a.sigmoid_() * 2
    b.sum().backward()
    return log, x.grad, w.grad


@script
def packed_tensors_are_those_that_went_in(tg: Any) -> Any:
    seen: list[Any] = []
    x, c = leaf(tg, 1.0, 2.0), tg.tensor([3.0, 4.0], dtype=tg.float64)
    a = x * c

    def pack(t: Any) -> Any:
        seen.append([t is x, t is c, t is a])
        return t

    with tg.autograd.graph.saved_tensors_hooks(pack, same):
        (a * c + x * a).sum().backward()
    return seen, x.grad


@script
def packed_among_other_hooks(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)

    def doubled(g: Any) -> Any:
        log.append("y")
        return g * 2

    def unpack(t: Any) -> Any:
        log.append("unpacked")
        return t

    with tg.autograd.graph.saved_tensors_hooks(same, unpack):
        y = x * x
        z = y.exp()
    y.register_hook(doubled)
    y.grad_fn.register_prehook(naming(log, "before"))
    y.grad_fn.register_hook(naming(log, "after"))
    x.register_post_accumulate_grad_hook(naming(log, "accumulated"))
    z.sum().backward()
    return log, x.grad


@script
def unpacked_only_where_gradients_go(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0), leaf(tg, 2.0)
    with tg.autograd.graph.saved_tensors_hooks(same, logged(log)):
        y = x * w
        z = y * x.exp()
    first = tg.autograd.grad(z, y, retain_graph=True)
    log.append("between")
    second = tg.autograd.grad(z, [x, w], retain_graph=True)
    log.append("after")
    return log, first, second, attempt(lambda: [z.backward(), x.grad]), attempt(lambda: [z.backward(), x.grad])


@script
def unpacking_reads_and_decides(tg: Any) -> Any:
    x = leaf(tg, 1.0, -2.0)

    def unpack(t: Any) -> Any:
        return t * 2 if t.sum().item() < 0 else t

    with tg.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), unpack):
        y = (x * x).sin()
    y.sum().backward()
    return x.grad


@script
def packed_behind_a_gradient_and_a_view(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0, 3.0)
    with tg.autograd.graph.saved_tensors_hooks(same, logged(log)):
        y = x * x * x
        b = y.clone()
        b[1:].mul_(x[:2])
    (g,) = tg.autograd.grad(b.sum(), x, create_graph=True)
    (g * g).sum().backward()
    return log, g, x.grad


@script
def packed_saves_of_custom_functions(tg: Any) -> Any:
    log: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        y = x * x * x
        ctx.save_for_backward(x, y)
        return y

    def backward(ctx: Any, gradient: Any) -> Any:
        x, y = ctx.saved_tensors
        return gradient * 3 * y / x

    cube = function(tg, forward, backward)
    x = leaf(tg, 1.0, 2.0)
    with tg.autograd.graph.saved_tensors_hooks(logged(log, lambda t: t.detach().clone()), logged(log)):
        y = cube.apply(x)
    (first,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x, retain_graph=True)
    y.sum().backward()
    return log, first, second, x.grad, attempt(lambda: y.sum().backward())


@script
def hooks_on_saved_tensors_that_do_wrong(tg: Any) -> Any:
    graph = tg.autograd.graph
    x = leaf(tg, 2.0, 3.0)

    def unpack_nothing() -> Any:
        with graph.saved_tensors_hooks(lambda _t: "a", lambda _p: 3):
            y = x * x
        y.sum().backward()
        return x.grad

    def unpack_too_much() -> Any:
        with graph.saved_tensors_hooks(same, lambda t: tg.cat([t, t])):
            y = x * x
        y.sum().backward()
        return x.grad

    def pack_in_place() -> Any:
        with graph.saved_tensors_hooks(lambda t: t.mul_(2), same):
            return (x * 1) * (x * 2)

    def enter_disabled() -> Any:
        with graph.disable_saved_tensors_hooks("not here"), graph.saved_tensors_hooks(repr, repr):
            pass

    def disable_within() -> Any:
        with graph.saved_tensors_hooks(repr, repr), graph.disable_saved_tensors_hooks("not here"):
            pass

    def raising(_value: Any) -> Any:
        raise KeyError("mine")

    def pack_raises() -> Any:
        with graph.saved_tensors_hooks(raising, same):
            return x * x

    def unpack_raises() -> Any:
        with graph.saved_tensors_hooks(same, raising):
            y = x * x
        y.sum().backward()
        return x.grad

    wrongs = unpack_nothing, unpack_too_much, pack_in_place, enter_disabled, disable_within, pack_raises, unpack_raises
    return [attempt(action) for action in wrongs], x.grad
