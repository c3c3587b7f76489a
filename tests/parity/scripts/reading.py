"""Hooks, custom functions and checkpoints that look at values while gradients are computed, and decide by them."""

from __future__ import annotations

from typing import Any

from tests.parity.scripts.functions import function
from tests.parity.scripts.hooks import leaf
from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def reading_in_hooks_of_all_kinds(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    y = x * w
    z = y.exp() * y
    y.retain_grad()
    y.register_hook(lambda g: log.append(["y", g.tolist()]))
    y.register_hook(lambda g: g / 2 if g.max().item() > 100 else None)
    y.register_hook(lambda g: log.append(["y again", g.sum().item()]))
    y.grad_fn.register_prehook(lambda gs: log.append(["before", [g.tolist() for g in gs]]))
    y.grad_fn.register_prehook(lambda gs: tuple(g * gs[0].numel() for g in gs))
    y.grad_fn.register_hook(lambda made, gs: log.append(["after", [g.tolist() for g in made], gs[0].tolist()]))
    x.register_hook(lambda g: log.append(["x", repr(g.tolist())]))
    x.register_post_accumulate_grad_hook(lambda p: log.append(["accumulated", p.grad.tolist()]))
    w.register_hook(lambda g: g.clamp(max=g.mean().item()))
    z.sum().backward()
    return log, y.grad, x.grad, w.grad


@script
def reading_decides_what_is_computed(tg: Any) -> Any:
    found = []
    for start in (0.5, 5.0):
        x = leaf(tg, start)
        y = x * x

        def clipped(g: Any) -> Any:
            norm = g.norm().item()
            return g / norm if norm > 1 else None

        y.register_hook(clipped)
        (y * y).sum().backward()
        found.append(x.grad)
    return found


@script
def reading_in_hooks_that_step(tg: Any) -> Any:
    weights = [leaf(tg, 0.5, -0.5), leaf(tg, 2.0, 1.0), leaf(tg, -1.0, 3.0)]
    log: list[float] = []

    def step(p: Any) -> None:
        norm = p.grad.norm().item()
        log.append(norm)
        with tg.no_grad():
            p.sub_(p.grad * (0.1 / max(norm, 1.0)))
        p.grad = None

    for w in weights:
        w.register_post_accumulate_grad_hook(step)
    h = tg.ones(2, dtype=tg.float64)
    for w in weights:
        h = (h * w).tanh()
    h.sum().backward()
    h = tg.ones(2, dtype=tg.float64)
    for w in weights:
        h = (h * w).tanh()
    h.sum().backward()
    return log, [w.detach() for w in weights], [w.grad is None for w in weights]


@script
def reading_and_then_raising(tg: Any) -> Any:
    x, w = leaf(tg, 2.0), leaf(tg, 3.0)
    y = x * w

    def boom(g: Any) -> None:
        raise KeyError(f"gradient {g.item()}")

    handle = x.register_hook(boom)
    raised = attempt(lambda: (y * 2).backward(retain_graph=True))
    handle.remove()
    (y * 2).backward()
    return raised, tg.is_grad_enabled(), x.grad, w.grad


@script
def reading_in_hooks_of_grad(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y = x * x
    z = y * y
    log: list[Any] = []
    y.register_hook(lambda g: g * g.sum().item())
    x.register_hook(lambda g: log.append(g.tolist()))
    first = tg.autograd.grad(z.sum(), (x, y), retain_graph=True)
    unused = tg.autograd.grad(z.sum(), (x, leaf(tg, 1.0)), retain_graph=True, allow_unused=True)
    zeros = tg.autograd.grad(z.sum(), (leaf(tg, 1.0), x), retain_graph=True, materialize_grads=True)
    failed = attempt(lambda: tg.autograd.grad(z.sum(), (leaf(tg, 1.0), x), retain_graph=True))
    return log, first, unused, zeros, failed, x.grad is None


@script
def reading_in_a_backward_within_a_hook(tg: Any) -> Any:
    log: list[Any] = []
    x, u = leaf(tg, 2.0), leaf(tg, 5.0)
    u.register_hook(lambda g: log.append(["u", g.item()]))

    def hook(g: Any) -> Any:
        with tg.enable_grad():
            v = u * g.detach()
            v.register_hook(lambda inner: log.append(["v", inner.item()]))
            (v * v).backward()
        log.append(["x", g.item(), u.grad.item()])
        return g + u.grad

    (x * x).register_hook(hook)
    y = x * x
    y.register_hook(hook)
    (y * 3).backward()
    return log, x.grad, u.grad


@script
def reading_under_create_graph(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = x * x * x
    handle = x.register_hook(lambda g: log.append([g.requires_grad, g.tolist()]))
    (first,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    handle.remove()
    (second,) = tg.autograd.grad(first.sum(), x)
    return log, first, second


@script
def hooks_under_create_graph_of_ops_that_keep_more(tg: Any) -> Any:
    functional = tg.nn.functional
    found = []
    for op in (
        lambda x: functional.layer_norm(x, (3,)),
        functional.gelu,
        lambda x: functional.group_norm(x, 1),
        lambda x: x.std(-1),
        lambda x: tg.linalg.norm(x, dim=-1),
        lambda x: tg.hypot(x, x + 3),
        lambda x: tg.cat([x, x * 2], -1),
        lambda x: functional.scaled_dot_product_attention(x, x + 1, x * 2),
    ):
        x = tg.tensor([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]], dtype=tg.float64, requires_grad=True)
        handle = x.register_hook(lambda g: g * 2)
        (first,) = tg.autograd.grad(op(x).sin().sum(), x, create_graph=True)
        handle.remove()
        (second,) = tg.autograd.grad((first * first).sum(), x)
        found += [first, second]
    return found


@script
def reading_of_several_outputs(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 5.0, 3.0)
    a, b, c = x.split(1)
    b.register_hook(lambda g: log.append(["b", g.item()]))
    a.register_hook(lambda g: log.append(["a", g.item()]))
    a.grad_fn.register_prehook(lambda gs: log.append([None if g is None else g.tolist() for g in gs]))
    (a * b * 2).sum().backward()
    return log, x.grad, c.detach()


@script
def reading_in_a_multi_hook(tg: Any) -> Any:
    log: list[Any] = []
    x, y, z = leaf(tg, 1.0), leaf(tg, 2.0), leaf(tg, 3.0)
    graph = tg.autograd.graph
    graph.register_multi_grad_hook((x, y, z), lambda gs: log.append([None if g is None else g.item() for g in gs]))
    graph.register_multi_grad_hook((x, y), lambda g: log.append(g.item()), mode="any")
    (x * y).sum().backward()
    return log


@script
def reading_in_a_custom_function(tg: Any) -> Any:
    log: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        log.append([x.tolist(), g.tolist()])
        made = 2 * x * g
        return made.clamp(-1, 1) if made.abs().max().item() > 4 else made

    square = function(tg, forward, backward)
    x = leaf(tg, 1.0, -3.0)
    y = square.apply(x)
    y.grad_fn.register_hook(lambda made, gs: log.append([made[0].tolist(), gs[0].tolist()]))
    (square.apply(y) / 10).sum().backward()
    return log, x.grad


@script
def reading_in_a_checkpoint(tg: Any) -> Any:
    runs: list[float] = []
    w = leaf(tg, 0.5, -1.0)
    x = leaf(tg, 1.0, 2.0)

    def block(x: Any) -> Any:
        runs.append(x.sum().item())
        h = x * w
        return h.exp() if h.sum().item() > 0 else h.sin()

    found = []
    for scale in (1.0, 3.0, -2.0):
        y = tg.utils.checkpoint.checkpoint(block, x * scale, use_reentrant=False)
        y.sum().backward()
        found += [y.detach(), x.grad.clone()]
    return found, runs, w.grad
