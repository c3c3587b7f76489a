"""Hooks on tensors, on accumulations and on nodes: when they are called, with what, in which order, and what they may return."""

from __future__ import annotations

from typing import Any

from tests.parity.scripts.table import Script, script
from tests.parity.transcripts import attempt

LOCAL_SCRIPTS: dict[str, Script] = {}
"""What a server must refuse, because it depends on what is known only when the backward runs."""


def local_script(function: Script) -> Script:
    """Put a script into the table of those that run in this process only."""
    LOCAL_SCRIPTS[function.__name__] = function
    return function


def leaf(tg: Any, *values: float) -> Any:
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


def noting(log: list[Any], name: str) -> Any:
    """A hook that notes its name and what it was given."""

    def hook(*groups: Any) -> None:
        log.append([name, *[list(g) if isinstance(g, tuple) else g for g in groups]])

    return hook


def naming(log: list[Any], name: str) -> Any:
    """A hook that notes its name alone."""

    def hook(*_groups: Any) -> None:
        log.append(name)

    return hook


@script
def hooks_of_all_kinds_in_order(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = x * 3
    z = y.exp()
    y.retain_grad()

    def doubled(g: Any) -> Any:
        log.append(["y", g])
        return g * 2

    y.register_hook(doubled)
    y.grad_fn.register_prehook(noting(log, "before y"))
    y.grad_fn.register_hook(noting(log, "after y"))
    x.register_hook(noting(log, "x"))
    x.register_post_accumulate_grad_hook(lambda p: log.append(["accumulated", p.grad.clone()]))
    z.sum().backward()
    return log, y.grad, x.grad


@script
def hooks_and_what_grad_captures(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y = x * 3
    s = (y * 5).sum()
    y.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g * 10)
    return [tg.autograd.grad(s, inputs, retain_graph=True) for inputs in ([y, x], [y], [x])]


@script
def hooks_called_by_restricted_walks(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = x * 3
    s = (y * 5).sum()
    y.retain_grad()
    y.register_hook(naming(log, "y"))
    y.grad_fn.register_prehook(naming(log, "before"))
    y.grad_fn.register_hook(naming(log, "after"))
    x.register_post_accumulate_grad_hook(naming(log, "accumulated"))
    tg.autograd.grad(s, [y], retain_graph=True)
    log.append("grad of x")
    tg.autograd.grad(s, [x], retain_graph=True)
    log.append("backward into y")
    s.backward(inputs=[y], retain_graph=True)
    log.append("backward into x")
    s.backward(inputs=[x], retain_graph=True)
    return log, y.grad, x.grad


@script
def hooks_that_return_what_does_not_fit(tg: Any) -> Any:
    def returning(make: Any) -> Any:
        def run() -> Any:
            x = leaf(tg, 1.0, 2.0)
            y = x * 3
            y.register_hook(make)
            y.sum().backward()
            return x.grad

        return attempt(run)

    return [
        returning(make)
        for make in (
            lambda _g: 3,
            lambda g: g.sum(),
            lambda g: g.to(tg.float32),
            lambda g: (g,),
            lambda g: g.to(tg.complex128),
            lambda g: g > 0,
            lambda _g: tg.ones(3),
        )
    ]


@script
def hooks_that_cannot_be_registered(tg: Any) -> Any:
    plain = tg.tensor([1.0])
    x = leaf(tg, 1.0)
    return [
        attempt(lambda: plain.register_hook(print)),
        attempt(lambda: plain.register_post_accumulate_grad_hook(print)),
        attempt(lambda: (x * 2).register_post_accumulate_grad_hook(print)),
    ]


@script
def hooks_of_nodes_that_return_what_does_not_fit(tg: Any) -> Any:
    def run(before: Any, after: Any) -> Any:
        def action() -> Any:
            x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
            y = x * w
            if before is not None:
                y.grad_fn.register_prehook(before)
            if after is not None:
                y.grad_fn.register_hook(after)
            y.sum().backward()
            return x.grad, w.grad

        return attempt(action)

    befores: list[Any] = [
        lambda go: go[0],
        lambda go: [go[0]],
        lambda _go: 3,
        lambda go: (go[0], go[0]),
        lambda _go: (3,),
        lambda _go: (None,),
        lambda go: (go[0] * 2,),
    ]
    afters: list[Any] = [
        lambda gi, _go: gi[0],
        lambda gi, _go: (gi[0],),
        lambda _gi, _go: (3, 3),
        lambda gi, _go: (None, gi[1]),
        lambda gi, _go: (gi[0].to(tg.float32), gi[1]),
        lambda gi, go: (gi[0] * 10 + go[0], gi[1]),
    ]
    return [run(b, None) for b in befores], [run(None, a) for a in afters]


@script
def hooks_may_not_make_a_gradient_of_none(tg: Any) -> Any:
    def of_number() -> Any:
        x = leaf(tg, 1.0, 2.0)
        y = x * 3
        y.grad_fn.register_hook(lambda gi, _go: (gi[0], gi[0]))
        y.sum().backward()
        return x.grad

    def of_output() -> Any:
        x = leaf(tg, 1.0, 2.0, 3.0, 4.0)
        a, b = x.split(2)
        b.register_hook(lambda _g: tg.ones(2, dtype=tg.float64))
        (a * 2).sum().backward()
        return x.grad

    return attempt(of_number), attempt(of_output)


@script
def hooks_around_an_in_place_change(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = x * 3
    y.register_hook(noting(log, "old"))
    y.retain_grad()
    y.mul_(2)
    y.register_hook(noting(log, "new"))
    (y * 7).sum().backward()
    return log, y.grad


@script
def hooks_of_several_outputs(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0, 3.0, 4.0)
    a, b = x.split(2)
    b.register_hook(noting(log, "b"))
    a.register_hook(noting(log, "a"))
    b.register_hook(noting(log, "b again"))
    a.grad_fn.register_prehook(noting(log, "before"))
    a.grad_fn.register_hook(noting(log, "after"))
    (a * 2).sum().backward(retain_graph=True)
    log.append("both")
    (a * 2 + b).sum().backward()
    return log, x.grad


@script
def hooks_of_leaves_come_as_soon_as_their_gradient_is_there(tg: Any) -> Any:
    log: list[Any] = []
    a, b, c = leaf(tg, 1.0), leaf(tg, 2.0), leaf(tg, 3.0)
    u = a * b
    v = u * c
    w = v * a
    for name, t in zip("abc", (a, b, c), strict=True):
        t.register_hook(naming(log, name))
        t.register_post_accumulate_grad_hook(naming(log, name + " accumulated"))
    for name, t in zip("uvw", (u, v, w), strict=True):
        t.register_hook(naming(log, name))
    w.backward()
    return log


@script
def hooks_of_leaves_that_are_ready_together(tg: Any) -> Any:
    log: list[Any] = []
    leaves = [leaf(tg, float(i)) for i in range(11)]
    for number, t in enumerate(leaves):
        t.register_hook(naming(log, str(number)))
    tg.cat(leaves).sum().backward()
    return log


@script
def hooks_of_the_accumulation_itself(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0)
    y = x * 2
    accumulation = y.grad_fn.next_functions[0][0]
    accumulation.register_prehook(noting(log, "before"))
    accumulation.register_hook(noting(log, "after"))
    x.register_hook(noting(log, "x"))
    x.register_post_accumulate_grad_hook(naming(log, "accumulated"))
    y.backward()
    y.grad_fn.metadata["kept"] = 1
    return log, dict(y.grad_fn.metadata), accumulation == y.grad_fn.next_functions[0][0]


@script
def hooks_under_create_graph(tg: Any) -> Any:
    x = tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    u = tg.tensor(3.0, dtype=tg.float64, requires_grad=True)
    handle = x.register_hook(lambda g: g * g * u)
    (g,) = tg.autograd.grad(x * x * x, x, create_graph=True)
    handle.remove()
    return g, tg.autograd.grad(g, [x, u])


@script
def hooks_run_in_the_mode_of_the_backward(tg: Any) -> Any:
    log: list[Any] = []
    x = tg.tensor(2.0, requires_grad=True)
    y = x * x
    y.register_hook(lambda g: log.append([tg.is_grad_enabled(), g.requires_grad]))
    y.backward(retain_graph=True)
    tg.autograd.grad(y, x, create_graph=True)
    return log


@script
def hooks_that_raise(tg: Any) -> Any:
    x, w = leaf(tg, 2.0), leaf(tg, 3.0)
    y = x * w
    z = y * 2

    def boom(_g: Any) -> None:
        raise KeyError("boom")

    handle = y.register_hook(boom)
    raised = attempt(lambda: z.backward(retain_graph=True))
    handle.remove()
    z.backward()
    return raised, tg.is_grad_enabled(), x.grad, w.grad


@script
def hooks_that_walk_other_graphs(tg: Any) -> Any:
    x, u = leaf(tg, 2.0), leaf(tg, 5.0)
    y = x * x

    def hook(g: Any) -> Any:
        with tg.enable_grad():
            (u * u * g.detach()).backward()
            v = u * g.detach()
            (inner,) = tg.autograd.grad(v * v, u)
        return g + inner

    y.register_hook(hook)
    y.backward()
    return x.grad, u.grad


@script
def hooks_removed_and_added_while_they_run(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 2.0)
    handles: list[Any] = []

    def first(_g: Any) -> None:
        log.append("first")
        handles[1].remove()
        x.register_hook(naming(log, "added"))

    handles.append(x.register_hook(first))
    handles.append(x.register_hook(naming(log, "second")))
    (x * 2).backward()
    (x * 2).backward()
    handles[0].remove()
    handles[0].remove()
    (x * 2).backward()
    with x.register_hook(naming(log, "within")):
        (x * 2).backward()
    (x * 2).backward()
    return log


@script
def hooks_where_no_gradient_flows(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    u = x.exp()
    y = u * w
    y.grad_fn.register_hook(lambda gi, _go: (None, gi[1]))
    u.register_hook(noting(log, "u"))
    u.grad_fn.register_prehook(noting(log, "before u"))
    u.grad_fn.register_hook(noting(log, "after u"))
    x.register_hook(noting(log, "x"))
    x.register_post_accumulate_grad_hook(lambda p: log.append(p.grad))
    y.sum().backward()
    return log, x.grad, w.grad


@script
def hooks_of_a_leaf_that_is_the_root(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    x.register_hook(noting(log, "x"))
    x.register_post_accumulate_grad_hook(naming(log, "accumulated"))
    x.backward(tg.ones(2, dtype=tg.float64))
    return log, x.grad


@script
def hooks_keep_what_they_saw_while_gradients_accumulate(tg: Any) -> Any:
    seen: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    x.register_hook(seen.append)
    (x * x).sum().backward()
    (x * x + x).sum().backward()
    (x * 3).sum().backward()
    return seen, x.grad


@script
def hooks_that_step_while_the_backward_runs(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)

    def step(p: Any) -> None:
        with tg.no_grad():
            p.sub_(p.grad * 0.1)
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (x * x).sum().backward()
    return x, x.grad


@script
def hooks_see_sums_over_all_uses(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = x * 2
    a, b = y + 1, y * 3
    y.register_hook(noting(log, "y"))
    a.register_hook(lambda g: g * 100)
    b.register_hook(noting(log, "b"))
    (a + b).sum().backward()
    return log, x.grad


@script
def hooks_of_nodes_see_what_is_wanted_only(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    y = x * w
    y.grad_fn.register_hook(noting(log, "after"))
    found = tg.autograd.grad(y.sum(), [x], retain_graph=True)
    y.exp().sum().backward(inputs=[y])
    return log, found, y.grad, x.grad


@script
def hooks_that_make_tensors_and_name_nothing(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: g + tg.tensor([10.0, 20.0], dtype=tg.float64))
    y.register_hook(lambda g: g.clamp(max=15.0))
    x.register_hook(lambda g: g / g.norm())
    y.sum().backward()
    return x.grad


@script
def hooks_that_change_other_tensors(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    total = tg.zeros(2, dtype=tg.float64)
    x.register_hook(lambda g: total.add_(g).mul_(1.0)[:0].sum() * 0 + g)
    for _ in range(3):
        (x * x).sum().backward()
    return total, x.grad


@script
def hooks_on_a_network(tg: Any) -> Any:
    log: list[Any] = []
    weights = [(tg.arange(12, dtype=tg.float64).reshape(3, 4) - 5) / 7 + i for i in range(3)]
    biases = [tg.full((3,), 0.1 * i, dtype=tg.float64) for i in range(3)]
    for number, tensor in enumerate([*weights, *biases]):
        tensor.requires_grad_(True)
        tensor.register_post_accumulate_grad_hook(naming(log, f"parameter {number}"))
    hidden = tg.ones(2, 4, dtype=tg.float64)
    for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
        hidden = tg.cat([tg.nn.functional.linear(hidden, w, b).tanh(), tg.ones(2, 1, dtype=tg.float64)], dim=1)
        hidden.register_hook(noting(log, f"layer {number}"))
        hidden.grad_fn.register_prehook(naming(log, f"before {number}"))
    hidden.pow(2).mean().backward()
    return log, [t.grad for t in (*weights, *biases)]


@script
def hooks_that_leave_nothing_for_an_input(tg: Any) -> Any:
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    y = x * w
    y.grad_fn.register_hook(lambda gi, _go: (None, gi[1]))
    s = y.sum()
    refused = attempt(lambda: tg.autograd.grad(s, [x, w], retain_graph=True))
    return refused, tg.autograd.grad(s, [x, w], allow_unused=True)


@script
def multi_hooks_of_all_and_of_any(tg: Any) -> Any:
    log: list[Any] = []
    a, b, c, d = (leaf(tg, float(i)) for i in range(1, 5))
    y = a * b
    handle = tg.autograd.graph.register_multi_grad_hook([y, a, b, c, d], lambda gradients: log.append(list(gradients)))
    b.register_hook(naming(log, "b"))
    (y + c).backward(retain_graph=True)
    log.append("some")
    (y + c * d).backward(inputs=[a, b], retain_graph=True)
    handle.remove()
    y.backward(retain_graph=True)
    log.append("any")
    with tg.autograd.graph.register_multi_grad_hook([a, b, c, d], noting(log, "first"), mode="any"):
        (y + c).backward()
        (d * 2).backward()
    (d * 2).backward()
    refused = attempt(lambda: tg.autograd.graph.register_multi_grad_hook([a], print, mode="first"))
    return log, refused


@script
def edges_stand_for_tensors(tg: Any) -> Any:
    graph = tg.autograd.graph
    x = leaf(tg, 2.0)
    y = x * 3
    z = y * y
    of_x, of_y, of_z = (graph.get_gradient_edge(t) for t in (x, y, z))
    two = tg.tensor([2.0], dtype=tg.float64)
    found = [
        tg.autograd.grad(z, [of_y, of_x], grad_outputs=two, retain_graph=True),
        tg.autograd.grad(of_z, x, grad_outputs=two, retain_graph=True),
        tg.autograd.grad((of_z,), (of_x, of_y), grad_outputs=[two], retain_graph=True),
    ]
    tg.autograd.backward(of_z, grad_tensors=two, inputs=[of_x])
    refused = attempt(lambda: graph.get_gradient_edge(two))
    nodes = [isinstance(n, graph.Node) for n in (of_x.node, of_y.node, x, None)]
    return found, x.grad, refused, nodes, of_y.node is y.grad_fn, of_x.node == y.grad_fn.next_functions[0][0], of_y.output_nr


@script
def hooks_of_nodes_do_not_see_what_has_no_gradient(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 3.0, 2.0)
    values = x.max(0).values
    values.grad_fn.register_prehook(noting(log, "before"))
    values.grad_fn.register_prehook(lambda go: (go[0] * 2,))
    values.grad_fn.register_hook(noting(log, "after"))
    values.backward()
    return log, x.grad


@script
def a_hook_on_an_accumulation_gives_nothing(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    x.register_post_accumulate_grad_hook(lambda x: x.grad)

    def walk() -> None:
        x.sum().backward()
        x.grad.tolist()

    refused = attempt(walk)
    return refused.builtins, "hooks should return None" in refused.message


@script
def saved_tensors_may_be_changed(tg: Any) -> Any:
    graph = tg.autograd.graph
    x = leaf(tg, 1.0, 2.0)

    def changed() -> Any:
        y = x * 2
        z = (y * y).sum()
        y.mul_(10)
        return z

    def nested() -> Any:
        with graph.allow_mutation_on_saved_tensors():
            return graph.allow_mutation_on_saved_tensors().__enter__()

    with graph.allow_mutation_on_saved_tensors():
        z = changed()
        z.backward()
        first = x.grad.detach()
        left = changed()

    def later() -> Any:
        return tg.autograd.grad(left, x)[0].tolist()

    return (
        first,
        attempt(later).builtins,
        attempt(nested).builtins,
        attempt(lambda: changed().backward() or x.grad.tolist()).builtins,
    )
