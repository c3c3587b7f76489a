"""Hooks and custom functions in graphs that only a server knows: of gradients with a history, and of what views changed."""

from __future__ import annotations

from typing import Any

from tests.parity.scripts.functions import doubled, doubling_in_place, function, passed
from tests.parity.scripts.hooks import leaf, naming, noting
from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def hooks_of_a_first_gradient_and_of_a_second(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 2.0)
    y = x**3
    y.register_hook(naming(log, "y"))
    x.register_hook(noting(log, "x"))
    (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    log.append("first")
    g.sum().backward()
    return log, x.grad


@script
def hooks_of_a_gradient_penalty(tg: Any) -> Any:
    log: list[Any] = []
    w, b = leaf(tg, 0.5, -1.0, 2.0), leaf(tg, 0.25, 0.5, -0.5)
    for p in (w, b):
        p.register_post_accumulate_grad_hook(lambda p: log.append(p.grad.norm().item()))
    w.register_hook(lambda g: g / 2)
    x = leaf(tg, 1.0, 2.0, 3.0)
    h = (x * w + b).tanh()
    (g,) = tg.autograd.grad(h.sum(), x, create_graph=True)
    penalty = (g.norm() - 1) ** 2 + h.sum()
    penalty.backward()
    return log, w.grad, b.grad, x.grad


@script
def hooks_before_a_write_through_a_view(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0, 3.0)
    y = x * 2
    y.register_hook(noting(log, "y"))
    x.register_hook(noting(log, "x"))
    y[0] = 5.0
    y[1:].mul_(3)
    (y * y).sum().backward()
    return log, x.grad


@script
def hooks_of_nodes_in_hidden_graphs(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    base = x * w
    base[0].mul_(2)
    z = (base * w).exp()
    z.grad_fn.register_prehook(lambda gs: log.append(["before", [g.tolist() for g in gs]]))
    z.grad_fn.register_hook(lambda made, gs: log.append(["after", [g.tolist() for g in made], gs[0].tolist()]))
    z.grad_fn.register_prehook(lambda gs: tuple(g * 2 for g in gs))
    w.register_hook(lambda g: g.clamp(max=g.mean().item()))
    z.sum().backward()
    return log, x.grad, w.grad


@script
def hooks_that_raise_in_hidden_graphs(tg: Any) -> Any:
    x, w = leaf(tg, 2.0), leaf(tg, 3.0)
    (g,) = tg.autograd.grad(x**3 * w, x, create_graph=True)

    def boom(gradient: Any) -> None:
        raise KeyError(f"gradient {gradient.item()}")

    handle = x.register_hook(boom)
    raised = attempt(lambda: g.backward(retain_graph=True))
    handle.remove()
    other = x.register_hook(lambda gradient: gradient.sum().expand(3))
    misfit = attempt(lambda: g.backward(retain_graph=True))
    other.remove()
    x.grad = w.grad = None
    g.backward()
    return raised, misfit, x.grad, w.grad


@script
def multi_hooks_in_hidden_graphs(tg: Any) -> Any:
    log: list[Any] = []
    x, y, z = leaf(tg, 1.0), leaf(tg, 2.0), leaf(tg, 3.0)
    (g,) = tg.autograd.grad((x**2 * y).sum(), x, create_graph=True)
    tg.autograd.graph.register_multi_grad_hook((x, y, z), lambda gs: log.append([None if g is None else g.tolist() for g in gs]))
    (g * y).sum().backward()
    return log, x.grad, y.grad


@script
def custom_functions_in_the_graph_of_a_gradient(tg: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return square.apply(x) * 3 * g

    def squared(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    square = function(tg, squared, lambda ctx, g: g * 2 * ctx.saved_tensors[0])
    cube = function(tg, forward, backward)
    x = leaf(tg, 1.0, 2.0)
    y = cube.apply(x * 1)
    (first,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x, create_graph=True)
    del y, first
    (third,) = tg.autograd.grad((second * x).sum(), x)
    return second, third


@script
def custom_functions_behind_writes_through_views(tg: Any) -> Any:
    made = function(tg, doubled, lambda ctx, g: g * 2 * ctx.saved_tensors[0])
    x = leaf(tg, 1.0, 2.0, 3.0)
    y = made.apply(x)
    h = y * 1
    h[0] = 7.0
    h[1:].mul_(y[1:])
    h.sum().backward()
    base = x * 1
    view = base[:2]
    function(tg, doubling_in_place, lambda _c, g: g * 2).apply(base)
    (view * view).sum().backward()
    return h, x.grad


@script
def custom_functions_of_many_vectors_ours(tg: Any) -> Any:
    made = function(tg, doubled, lambda ctx, g: g * ctx.saved_tensors[0])
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    y = made.apply(x) * w
    eye = tg.eye(2, dtype=tg.float64)
    rows = tg.autograd.grad(y, (x, w), eye, is_grads_batched=True, retain_graph=True)
    unused = tg.autograd.grad(y, (x, leaf(tg, 1.0)), eye, is_grads_batched=True, retain_graph=True, allow_unused=True)
    (first,) = tg.autograd.grad(y, x, eye, is_grads_batched=True, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), w)
    return rows, unused, first.detach(), second


@script
def hooks_of_many_vectors_ours(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = x * x
    y.register_hook(lambda g: log.append(g.sum().item()))
    (jacobian,) = tg.autograd.grad(y, x, tg.eye(2, dtype=tg.float64), is_grads_batched=True)
    return log, jacobian, x.grad is None


@script
def checkpoints_in_the_graph_of_a_gradient(tg: Any) -> Any:
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 0.5, -1.0)
    y = tg.utils.checkpoint.checkpoint(lambda x: (x * w).sin(), x * 1, use_reentrant=False)
    (first,) = tg.autograd.grad(y.sum(), w, create_graph=True)
    (first * first).sum().backward()
    return first, x.grad, w.grad


@script
def once_differentiable_twice(tg: Any) -> Any:
    made = function(tg, doubled, tg.autograd.function.once_differentiable(lambda _c, g: g * 2))
    x = leaf(tg, 1.0, 2.0)
    (h,) = tg.autograd.grad((made.apply(x) ** 2).sum(), x, create_graph=True)
    plain = function(tg, doubled, passed).apply(x)
    return h, h.requires_grad, plain, attempt(lambda: h.sum().backward())


@script
def hooks_of_roots_that_lead_nowhere_wanted(tg: Any) -> Any:
    def made() -> tuple[Any, ...]:
        log: list[Any] = []
        x, u = leaf(tg, 1.0, 2.0), leaf(tg, 1.0, 2.0)
        y = x * 3
        z = y.sum()
        for tensor, name in ((z, "z"), (y, "y"), (x, "x"), (u, "u")):
            tensor.register_hook(naming(log, name))
        z.grad_fn.register_prehook(naming(log, "before z"))
        z.grad_fn.register_hook(naming(log, "after z"))
        y.retain_grad()
        z.retain_grad()
        return x, u, y, z, log

    def seen(run: Any) -> Any:
        x, u, y, z, log = made()
        result = attempt(lambda: run(x, u, y, z))
        return result, log, y.grad, z.grad, x.grad, u.grad

    ones = tg.ones(2, dtype=tg.float64)
    grad, backward = tg.autograd.grad, tg.autograd.backward
    return [
        seen(run)
        for run in (
            lambda _x, u, _y, z: z.backward(inputs=[u]),
            lambda x, u, _y, z: z.backward(inputs=[x, u]),
            lambda _x, u, _y, z: grad(z, [u], allow_unused=True),
            lambda _x, u, y, z: grad([z, y], [u], [None, ones], allow_unused=True),
            lambda _x, u, y, z: backward([z, y], [None, ones], inputs=[u]),
            lambda _x, u, _y, z: backward([z, z], inputs=[u]),
            lambda _x, u, _y, z: grad(z, [z, u], allow_unused=True),
            lambda x, u, _y, _z: x.backward(ones, inputs=[u]),
            lambda x, u, _y, _z: grad(x, [u], ones, allow_unused=True),
        )
    ]


@script
def hooks_on_gradients_with_a_history(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    (g,) = tg.autograd.grad((x**3 * w).sum(), x, create_graph=True)
    g.register_hook(noting(log, "g"))
    g.register_hook(lambda gradient: gradient * 2)
    g.grad_fn.register_prehook(noting(log, "before"))
    g.grad_fn.register_hook(naming(log, "after"))
    g.grad_fn.metadata["mine"] = 1
    x.register_hook(noting(log, "x"))
    (g * g).sum().backward()
    return log, x.grad, w.grad, g.grad_fn.metadata["mine"]


@script
def hooks_on_accumulated_gradients_with_a_history(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.register_hook(noting(log, "first"))
    (h,) = tg.autograd.grad((first * x).sum(), x, create_graph=True)
    handle = h.register_hook(noting(log, "h"))
    h.sum().backward(retain_graph=True)
    handle.remove()
    h.sum().backward()
    return log, x.grad


@script
def hooks_on_what_a_view_has_changed(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0, 3.0)
    y = x * 2
    y[0] = 5.0
    before = y * 3
    y.register_hook(noting(log, "y"))
    after = y * 7
    (before + after).sum().backward(retain_graph=True)
    y[1:].mul_(10)
    y.register_hook(noting(log, "again"))
    (y * y).sum().backward()
    return log, x.grad


@script
def multi_hooks_on_gradients_with_a_history(tg: Any) -> Any:
    log: list[Any] = []
    x, y = leaf(tg, 1.0), leaf(tg, 2.0)
    (g,) = tg.autograd.grad((x**3 * y).sum(), x, create_graph=True)
    tg.autograd.graph.register_multi_grad_hook((g, y), lambda gs: log.append([None if g is None else g.tolist() for g in gs]))
    (g * y).sum().backward()
    return log, x.grad, y.grad


@script
def hooks_of_views_that_are_written_ours(tg: Any) -> Any:  # PyTorch 2.13 crashes at the hook on the second view that is new again
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0, 3.0, 4.0)
    b = x * 1
    v = b[:3]
    w = v[1:]
    for name, tensor in (("v", v), ("w", w)):
        tensor.register_hook(noting(log, name))
    before = (v * 2 + w.sum()).sum()
    w.mul_(v[0].clone())
    v.add_(b[3])
    w.register_hook(noting(log, "w again"))
    b[2] = 7.0
    (before + (b * b).sum() + v.sum() + w.prod()).backward()
    return log, x.grad, b.detach()
