"""Backward and grad in all their ways, grad modes, graphs and their names."""

from __future__ import annotations

import json
from typing import Any

from tests.parity.scripts.hooks import local_script
from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def backward_twice_accumulates_with_retained_graph(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    once = x.grad.clone()
    y.backward()
    return once, x.grad


@script
def backward_twice_without_retained_graph(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward()

    def again() -> Any:
        y.backward()
        return x.grad

    return attempt(again), x.grad


@script
def double_backward(tg: Any) -> Any:
    x = tg.tensor([0.5, -1.5], dtype=tg.float64, requires_grad=True)
    y = (x.exp() * x.sin()).sum()
    (first,) = tg.autograd.grad(y, x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = tg.autograd.grad(second.sum(), x)
    return first, second, third


@script
def gradient_penalty_backward(tg: Any) -> Any:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=tg.float64, requires_grad=True)
    w = tg.tensor([[0.1], [0.2]], dtype=tg.float64, requires_grad=True)
    out = (x @ w).tanh().sum()
    (g,) = tg.autograd.grad(out, x, create_graph=True)
    penalty = ((g.norm(dim=1) - 1) ** 2).mean()
    penalty.backward()
    return penalty, w.grad, x.grad


@script
def several_roots_and_unused_inputs(tg: Any) -> Any:
    x = tg.tensor(2.0, requires_grad=True)
    z = tg.tensor(3.0, requires_grad=True)
    y = x * x
    both = tg.autograd.grad([y, y * 2], [x, z], allow_unused=True)
    strict = attempt(lambda: tg.autograd.grad(x * x, [z]))
    zeros = tg.autograd.grad(x * x, [x, z], materialize_grads=True)
    return both, strict, zeros


@script
def backward_into_chosen_inputs(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = tg.tensor([3.0, 4.0], requires_grad=True)
    (x * z).sum().backward(inputs=[x])
    return x.grad, z.grad


@script
def retained_gradient_of_an_intermediate(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    h.retain_grad()
    (h * h).sum().backward()
    return h.grad, x.grad, h.retains_grad, x.retains_grad


@script
def node_used_twice(tg: Any) -> Any:
    x = tg.tensor(1.5, requires_grad=True)
    h = x * x
    y = h + h * h
    y.backward()
    return y, x.grad


@script
def graph_names(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x.exp() + 1).sum()
    node = y.grad_fn
    below = node.next_functions[0][0]
    return node.name(), below.name(), below.next_functions[1:], x.grad_fn, x.is_leaf, y.is_leaf


@script
def deep_chain(tg: Any) -> Any:
    x = tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    y = x
    for _ in range(300):
        y = y * 1.01 + 0.001
    y.backward()
    return y, x.grad


@script
def batched_cotangents(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], dtype=tg.float64, requires_grad=True)
    y = x**3
    return tg.autograd.grad(y, x, tg.eye(3, dtype=tg.float64), is_grads_batched=True)


@script
def modes(tg: Any) -> Any:
    x = tg.tensor([1.0], requires_grad=True)
    with tg.no_grad():
        silent = x * 2
        with tg.enable_grad():
            loud = x * 2

    @tg.no_grad()
    def predict(value: Any) -> Any:
        return value * 3

    with tg.set_grad_enabled(False):
        off = x * 2
    return silent, loud, predict(x), off, x.detach().requires_grad, tg.is_grad_enabled()


@script
def assigned_gradient(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.grad = tg.tensor([10.0, 20.0])
    (x * x).sum().backward()
    wrong = attempt(lambda: setattr(x, "grad", tg.tensor([1.0, 2.0, 3.0])))
    return x.grad, wrong


@script
def summaries_and_pictures_of_graphs_ours(tg: Any) -> Any:
    h = tg.randn(2, 4)
    for step in range(6):
        with tg.scope(f"layers/{step}"):
            h = (h @ tg.randn(4, 4, requires_grad=True)).tanh()
    with tg.scope("head"):
        parts = h.softmax(-1).chunk(2, 1)
        y = (parts[0] * parts[1]).sum()
    before = tg.summary(y)
    seen = [json.dumps(y.session.graph(y, max_nodes=most, collapse=collapse)) for most in (3, 9, 100) for collapse in (True, False)]
    y.backward()
    drawn = [y.session.graph(y, form, max_nodes=9) for form in ("dot", "mermaid", "svg")]
    return json.dumps(before.as_dict()), str(tg.summary(y)), seen, drawn


@script
def which_output_of_its_node_a_tensor_is(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    parts = x.unbind()
    edge = tg.autograd.graph.get_gradient_edge(parts[1])
    (gradient,) = tg.autograd.grad(edge, x, tg.tensor(5.0))
    plain = (x.output_nr, (x * 2).output_nr, x.detach().output_nr)
    return [p.output_nr for p in parts], plain, edge.output_nr, gradient


@script
def edges_without_gradients_are_not_made_up(tg: Any) -> Any:
    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    out, other = (x * 2).sum(), y * 1
    edge_of = tg.autograd.graph.get_gradient_edge
    found = tg.autograd.grad(out, (edge_of(x), y, edge_of(other)), retain_graph=True, allow_unused=True)
    made = tg.autograd.grad(out, (edge_of(x), other), retain_graph=True, materialize_grads=True, create_graph=True)
    refused = attempt(lambda: tg.autograd.grad(out, (x, edge_of(other)), retain_graph=True, materialize_grads=True))
    return found, [(g.detach(), g.requires_grad) for g in made[1:]], refused.builtins


@script
def forgotten_gradient(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.sum().backward()
    del x.grad
    gone = x.grad is None
    (x * 3).sum().backward()
    return gone, x.grad


@local_script
def what_nodes_saved(tg: Any) -> Any:
    a = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    b = a * a
    c = a * b
    d = c.tanh()
    f = tg.stack([a, b], dim=1)
    nodes = [b.grad_fn, c.grad_fn, d.grad_fn]
    same = [b.grad_fn._saved_self is a, c.grad_fn._saved_self is a, c.grad_fn._saved_other.grad_fn is b.grad_fn]
    values = [c.grad_fn._saved_other.detach(), d.grad_fn._saved_result.detach(), d.grad_fn._saved_result.grad_fn is d.grad_fn]
    plain = [f.grad_fn._saved_dim, list(a.sum(0).grad_fn._saved_self_sym_sizes), a.pow(3).grad_fn._saved_exponent]
    absent = [hasattr(n, name) for n in nodes for name in ("_saved_self", "_saved_other", "_saved_result", "_saved_dim")]
    d.sum().backward()
    return same, values, plain, absent, attempt(lambda: c.grad_fn._saved_self).builtins, f.grad_fn._saved_dim
