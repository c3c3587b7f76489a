"""Custom functions: what their backward is given, what it may return, saving, writing, views, higher derivatives."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from tests.parity.scripts.hooks import leaf, noting
from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


def function(tg: Any, forward: Callable[..., Any], backward: Callable[..., Any] | None = None, **more: Any) -> Any:
    """A class with these methods, called ``Custom``."""
    methods = {"forward": forward, **more} if backward is None else {"forward": forward, "backward": backward, **more}
    made = {name: staticmethod(m) if callable(m) else m for name, m in methods.items()}
    return type("Custom", (tg.autograd.Function,), made)


def doubled(ctx: Any, x: Any, *_: Any) -> Any:
    ctx.save_for_backward(x)
    return x * 2


def passed(_ctx: Any, g: Any) -> Any:
    return g


def scaled(tg: Any) -> Any:
    """A function of a tensor and a number whose backward is recorded: ``x ** 2 * factor``."""

    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x * factor

    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * x * 2 * ctx.factor, None

    return function(tg, forward, backward)


@script
def custom_values_and_gradients(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0, 3.0)
    y = scaled(tg).apply(x * 1, 3.0)
    (y * tg.tensor([1.0, 2.0, 4.0], dtype=tg.float64)).sum().backward()
    return y, x.grad, y.grad_fn.name(), len(y.grad_fn.next_functions), y.grad_fn.next_functions[0][0].name()


@script
def custom_nodes_show_their_context(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y = scaled(tg).apply(x, 3.0)
    (saved,) = y.grad_fn.saved_tensors
    seen = [saved.detach(), y.grad_fn.factor, y.grad_fn.needs_input_grad, attempt(lambda: y.grad_fn.nothing)]
    y.sum().backward()
    return seen, attempt(lambda: y.grad_fn.saved_tensors), attempt(lambda: (x * 2).grad_fn.nothing)


@script
def custom_gradients_of_gradients(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y = scaled(tg).apply(x, 3.0).sum()
    (g,) = tg.autograd.grad(y, x, create_graph=True)
    (h,) = tg.autograd.grad((g * g).sum(), x)
    return g.detach(), h


@script
def custom_with_saved_output(tg: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y

    x = leaf(tg, 0.5, 1.0)
    y = function(tg, forward, backward).apply(x)
    (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), x)
    return g.detach(), h.tolist()


@script
def custom_with_several_outputs(tg: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y, x + y

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * y + h, g * x + h

    made = function(tg, forward, backward)
    found = []
    for chosen in (lambda p, _s: p.sum(), lambda _p, s: s.sum(), lambda p, s: (p * s).sum()):
        x, y = leaf(tg, 1.0, 2.0), leaf(tg, 5.0, 7.0)
        chosen(*made.apply(x, y)).backward()
        found.append((x.grad, y.grad))
    return found


@script
def custom_without_materialized_gradients(tg: Any) -> Any:
    seen: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def backward(_ctx: Any, g: Any, h: Any) -> Any:
        seen.append((g is None, h is None))
        return h * 3 if g is None else g * 2

    x = leaf(tg, 1.0, 2.0)
    y, z = function(tg, forward, backward).apply(x)
    z.sum().backward(retain_graph=True)
    y.sum().backward()
    return seen, x.grad


@script
def custom_needs_input_grad(tg: Any) -> Any:
    seen: list[Any] = []

    def forward(ctx: Any, x: Any, y: Any, factor: float) -> Any:
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return x * y * factor

    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        seen.append(ctx.needs_input_grad)
        needs = ctx.needs_input_grad
        return g * y * ctx.factor if needs[0] else None, g * x * ctx.factor if needs[1] else None, None

    made = function(tg, forward, backward)
    x, y = leaf(tg, 1.0, 2.0), tg.tensor([3.0, 4.0], dtype=tg.float64)
    made.apply(x, y, 2.0).sum().backward()
    made.apply(y, x, 2.0).sum().backward()
    return seen, x.grad


@script
def custom_wrong_gradients(tg: Any) -> Any:
    def run(backward: Any, *args: Any) -> Any:
        return attempt(lambda: function(tg, doubled, backward).apply(leaf(tg, 1.0, 2.0, 3.0), *args).sum().backward())

    return [
        run(lambda _c, g: g, leaf(tg, 1.0)),
        run(lambda _c, g: (g, g, g), 3),
        run(lambda _c, g: (g, g), 3),
        run(lambda _c, g: (g, None, None, None), 3),
        run(lambda _c, g: g[:2]),
        run(lambda _c, _g: 2.0),
        run(lambda _c, _g: "g"),
        run(lambda _c, g: [g]),
    ]


@script
def custom_methods_that_are_missing(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    both = function(tg, doubled, passed, vjp=passed)
    return [
        attempt(lambda: type("Empty", (tg.autograd.Function,), {}).apply(x)),
        attempt(lambda: function(tg, doubled).apply(x).sum().backward()),
        attempt(lambda: both.apply(x).sum().backward()),
        attempt(lambda: function(tg, doubled, vjp=lambda _c, g: g * 5).apply(x).sum().backward()),
        x.grad,
    ]


@script
def custom_marks_that_are_wrong(tg: Any) -> Any:
    def marking(mark: Callable[[Any, Any], Any]) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            return mark(ctx, x) or x * 2

        return attempt(lambda: function(tg, forward, passed).apply(leaf(tg, 1.0, 2.0) * 1))

    return [
        marking(lambda ctx, _x: ctx.save_for_backward(3)),
        marking(lambda ctx, _x: ctx.mark_dirty(3)),
        marking(lambda ctx, _x: ctx.mark_non_differentiable(3)),
        marking(lambda ctx, x: ctx.mark_dirty(x)),
    ]


@script
def custom_outputs_that_are_no_tensors(tg: Any) -> Any:
    seen: list[Any] = []

    def forward(_ctx: Any, x: Any) -> Any:
        return x * 2, 3, None, "text"

    def backward(_ctx: Any, *gradients: Any) -> Any:
        seen.append([g is None for g in gradients])
        return gradients[0] * 2

    x = leaf(tg, 1.0, 2.0)
    y, *others = function(tg, forward, backward).apply(x)
    y.sum().backward()
    return y, others, seen, x.grad


@script
def custom_outputs_without_gradients(tg: Any) -> Any:
    seen: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        rounded = x.round()
        ctx.mark_non_differentiable(rounded)
        return x * 2, x > 1, rounded

    def backward(_ctx: Any, *gradients: Any) -> Any:
        seen.append([[tuple(g.shape), str(g.dtype).rpartition(".")[2]] for g in gradients])
        return gradients[0] * 2

    x = leaf(tg, 1.0, 2.5)
    y, mask, rounded = function(tg, forward, backward).apply(x)
    y.sum().backward()
    return y, mask, rounded, seen, x.grad


@script
def custom_split_form_and_defaults(tg: Any) -> Any:
    def forward(x: Any, factor: float = 2.0) -> Any:
        return x * factor

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]
        ctx.shown = output.requires_grad

    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.factor, None

    made = function(tg, forward, backward, setup_context=setup_context)
    x = leaf(tg, 1.0, 2.0)
    made.apply(x).sum().backward()
    made.apply(x, factor=5.0).sum().backward()
    return x.grad, attempt(lambda: made.apply(x, other=3))


@script
def custom_once_differentiable(tg: Any) -> Any:
    made = function(tg, doubled, tg.autograd.function.once_differentiable(lambda _c, g: g * 2))
    x = leaf(tg, 1.0, 2.0)
    (g,) = tg.autograd.grad(made.apply(x).sum(), x, create_graph=True)
    (h,) = tg.autograd.grad((made.apply(x) ** 2).sum(), x, create_graph=True)
    return g, h.detach(), h.requires_grad, attempt(lambda: h.sum().backward())


@script
def custom_freed_graph(tg: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * x

    def forward(_ctx: Any, x: Any) -> Any:
        return x * 2

    x = leaf(tg, 1.0, 2.0)
    y = function(tg, doubled, backward).apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    z = function(tg, forward, passed).apply(x).sum()
    z.backward()
    z.backward()
    return x.grad, attempt(y.backward)


@script
def custom_without_recording(tg: Any) -> Any:
    seen: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        seen.append((ctx.needs_input_grad, tg.is_grad_enabled()))
        return x

    made = function(tg, forward, passed)
    x = leaf(tg, 1.0)
    with tg.no_grad():
        y = made.apply(x)
    z = made.apply(tg.tensor([1, 2]))
    return y, y is x, z, seen


@script
def custom_inputs_returned_as_they_are(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y = function(tg, lambda _c, x: x, lambda _c, g: g * 7).apply(x)
    (y * 3).sum().backward()
    return y is x, y, x.grad


@script
def custom_outputs_in_other_graphs(tg: Any) -> Any:
    made = scaled(tg)
    x = leaf(tg, 1.0, 2.0)
    y = made.apply(made.apply(x, 2.0) + x, 3.0)
    y.retain_grad()
    (y * x).sum().backward()
    return y.grad, x.grad, y.grad_fn.next_functions[0][0].name()


@script
def custom_gradients_of_some_inputs(tg: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y

    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x

    a, b = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    y = function(tg, forward, backward).apply(a * 2, b * 3)
    return [
        tg.autograd.grad(y.sum(), [a], retain_graph=True),
        tg.autograd.grad(y.sum(), [b, a], retain_graph=True),
        tg.autograd.grad(y, [a], tg.ones(2, dtype=tg.float64)),
    ]


@script
def custom_gradients_that_are_broadcast(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    function(tg, doubled, lambda _c, _g: tg.ones((3, 2), dtype=tg.float32)).apply(x).sum().backward()
    return x.grad


@script
def custom_with_hooks(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    y = scaled(tg).apply(x, 3.0)
    y.register_hook(lambda g: g * 10)
    y.grad_fn.register_prehook(lambda gs: log.append([len(gs), gs[0]]))
    y.grad_fn.register_hook(lambda gs, outs: log.append([len(gs), gs[0], outs[0]]))
    y.sum().backward()
    return log, x.grad


def doubling_in_place(ctx: Any, x: Any) -> Any:
    ctx.mark_dirty(x)
    return x.mul_(2)


def doubling_and_more(ctx: Any, x: Any) -> Any:
    ctx.mark_dirty(x)
    return x.mul_(2), x * 3


@script
def custom_writes(tg: Any) -> Any:
    made = function(tg, doubling_in_place, lambda _c, g: g * 2)

    def unreturned(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2) * 1

    x = leaf(tg, 1.0, 2.0, 3.0)
    y = x * 1
    z = made.apply(y)
    name = y.grad_fn.name()
    (z * y).sum().backward()
    first = x.grad.clone()
    base = x * 1
    made.apply(base)
    (base * base).sum().backward()
    a, b = function(tg, doubling_and_more, lambda _c, g, h: g * 2 + h * 6).apply(x * 1)
    (a * b).sum().backward()
    plain = tg.zeros(3, dtype=tg.float64)

    def into(ctx: Any, out: Any, x: Any) -> Any:
        ctx.mark_dirty(out)
        return out.copy_(x * 5)

    filled = function(tg, into, lambda _c, g: (None, g * 5)).apply(plain, x)
    (plain * filled).sum().backward()
    return [
        z is y,
        name,
        z,
        first,
        x.grad,
        filled is plain,
        plain.requires_grad,
        attempt(lambda: made.apply(leaf(tg, 1.0))),
        attempt(lambda: function(tg, unreturned, passed).apply(x * 1)),
    ]


@script
def custom_writes_through_a_view(tg: Any) -> Any:
    made = function(tg, doubling_in_place, lambda _c, g: g * 2)
    x = leaf(tg, 1.0, 2.0, 3.0)
    base = x * 1
    made.apply(base[:2])
    (base * tg.tensor([1.0, 10.0, 100.0], dtype=tg.float64)).sum().backward()

    def unrecorded_view() -> Any:
        y = x * 1
        with tg.no_grad():
            view = y[:2]
        return made.apply(view)

    several = attempt(lambda: function(tg, doubling_and_more, lambda _c, g, h: g).apply((x * 1)[:2]))
    of_leaf = attempt(lambda: made.apply(x[:2]))
    return x.grad, several, of_leaf, attempt(unrecorded_view), attempt(lambda: made.apply((x * 1).split([1, 2])[0]))


@script
def custom_writes_through_views_of_views(tg: Any) -> Any:
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(y)
        ctx.mark_dirty(x)
        return x.mul_(y)

    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0], g

    log: list[Any] = []
    scaled_by, doubled_now = function(tg, forward, backward), function(tg, doubling_in_place, lambda _c, g: g * 2)
    x = leaf(tg, 1.0, 2.0, 3.0)
    base, zeros = x * 1, tg.zeros(3, dtype=tg.float64)
    base.register_hook(noting(log, "before"))
    scaled_by.apply(base[:2][1:], x[:1])
    doubled_now.apply(zeros[1:].mul_(x[1:]))
    part = base[1:]
    doubled_now.apply(part).mul_(3)
    base.register_hook(noting(log, "base"))
    part.register_hook(noting(log, "part"))
    doubled_now.apply(base)
    (base * base + zeros + part.sum()).sum().backward()
    return log, x.grad, base.detach(), part.detach()


@script
def custom_changed_values(tg: Any) -> Any:
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * x

    def saving_output(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.save_for_backward(y)
        return y

    def input_changed() -> Any:
        x = leaf(tg, 1.0, 2.0) * 1
        y = function(tg, doubled, backward).apply(x).sum()
        x.mul_(2)
        y.backward()

    def output_changed() -> Any:
        y = function(tg, saving_output, backward).apply(leaf(tg, 1.0, 2.0))
        z = y.sum()
        y.mul_(2)
        z.backward()

    return [attempt(input_changed), attempt(output_changed)]


@script
def custom_views_cannot_be_written(tg: Any) -> Any:
    def run(forward: Any) -> Any:
        def write() -> Any:
            y = function(tg, forward, passed).apply(leaf(tg, 1.0, 2.0))
            return y.mul_(2)

        return attempt(write)

    x = leaf(tg, 1.0, 2.0)
    y = function(tg, doubled, lambda _c, g: g * 2).apply(x)
    y.mul_(3)
    y.sum().backward()
    return [run(lambda _c, x: x), run(lambda _c, x: x[:1]), x.grad]


def transformable(tg: Any, **more: Any) -> Any:
    """A function of two tensors with two results that goes through transforms."""

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs, output[1])
        ctx.save_for_forward(*inputs, output[1])

    def backward(ctx: Any, g: Any, h: Any) -> Any:
        a, b, e = ctx.saved_tensors
        return g * b + h * e, g * a

    def jvp(ctx: Any, s: Any, t: Any) -> Any:
        a, b, e = ctx.saved_tensors
        return s * b + a * t, s * e

    return function(tg, lambda a, b: (a * b, a.exp()), backward, setup_context=setup_context, jvp=jvp, **more)


@script
def custom_vmap_and_forward_mode(tg: Any) -> Any:
    made = transformable(tg, generate_vmap_rule=True)
    old = function(tg, doubled, passed)
    own = transformable(tg, vmap=lambda _i, _d, a, b: ((a * b, a.exp()), 0))
    both = transformable(tg, vmap=lambda *_: None, generate_vmap_rule=True)

    def total(a: Any, b: Any) -> Any:
        y, z = made.apply(a, b)
        return y * y + z

    a, b = leaf(tg, 1.0, 2.0, 3.0), leaf(tg, 5.0).sum().detach().requires_grad_()
    vmap, fa = tg.func.vmap, tg.autograd.forward_ad
    y = vmap(total, (0, None))(a, b)
    mapped = tg.autograd.grad(y.sum(), [a, b])
    x = a.detach()

    def forward_mode(cls: Any) -> Any:
        with fa.dual_level():
            duals = cls.apply(fa.make_dual(x, x * 2), a)
            return [tuple(fa.unpack_dual(d))[1].detach() for d in duals]

    return [
        y.detach(),
        mapped,
        vmap(lambda x: sum(own.apply(x, x)))(x),
        attempt(lambda: vmap(transformable(tg).apply)(x, x)),
        attempt(lambda: vmap(old.apply)(x)),
        attempt(lambda: vmap(both.apply)(x, x)),
        forward_mode(made),
        attempt(lambda: forward_mode(old)),
    ]


@script
def custom_transforms(tg: Any) -> Any:
    made = transformable(tg, generate_vmap_rule=True)

    def total(a: Any, b: Any) -> Any:
        y, z = made.apply(a, b)
        return y * y + z

    a = leaf(tg, 1.0, 2.0, 3.0)
    x, w = a.detach(), leaf(tg, 5.0).sum().detach()
    return [
        tg.func.vmap(tg.func.grad(total))(x, x),
        tg.func.vmap(tg.func.grad(total), (0, None))(x, w),
        tg.func.hessian(total)(x[0], w),
        tg.func.jacrev(lambda x: made.apply(x, x))(x),
        tg.func.jacfwd(lambda x: made.apply(x, x))(x),
        tg.autograd.grad(made.apply(a, a)[0], a, tg.eye(3, dtype=tg.float64), is_grads_batched=True),
        tg.autograd.gradcheck(made.apply, (a, leaf(tg, 1.0, 2.0, 3.0)), check_forward_ad=True),
        tg.autograd.gradgradcheck(made.apply, (a, leaf(tg, 1.0, 2.0, 3.0))),
    ]


@script
def custom_results_that_are_one_tensor(tg: Any) -> Any:
    def twice(_ctx: Any, x: Any) -> Any:
        y = x * 2
        return y, x * 3, y

    def written(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x.mul_(2))
        return x, x

    found = []
    for forward, prepared in ((twice, False), (written, True), (lambda _ctx, x: (x, x), False)):
        x = leaf(tg, 1.0, 2.0)
        made = function(tg, forward, lambda _ctx, *g: sum(gradient * 10**i for i, gradient in enumerate(g))).apply(
            x * 1 if prepared else x
        )
        sum(y * (i + 1) for i, y in enumerate(made)).sum().backward()
        found.append(([[a is b for a in made] for b in made], [y.output_nr for y in made], x.grad))
    return found


@script
def custom_functions_run_without_gradients_as_well(tg: Any) -> Any:
    nothing = function(tg, lambda _ctx, x: x.clone(), lambda _ctx, _g: None)
    found: list[Any] = []

    def told(name: str, g: Any) -> None:
        found.append((name, g is None))

    def filled(_ctx: Any, g: Any) -> Any:
        told("filled", g)
        return g * 2

    def made_up(_ctx: Any, g: Any) -> Any:
        told("made up", g)
        return tg.ones(2, dtype=tg.float64) if g is None else g

    def unfilled(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(False)
        return x * 1

    zeros, ones = function(tg, lambda _ctx, x: x * 1, filled), function(tg, unfilled, made_up)
    for hooked in (False, True):
        for f in (
            lambda x: nothing.apply(zeros.apply(x)),
            lambda x: nothing.apply(ones.apply(x * 2) * 3),
            lambda x: nothing.apply(zeros.apply(x)) + zeros.apply(x),
            lambda x: nothing.apply(x * 2),
        ):
            x = leaf(tg, 1.0, 2.0)
            if hooked:
                x.register_hook(lambda g: told("hook", g))
            f(x).sum().backward()
            found += [x.grad, tg.autograd.grad(f(x).sum(), x, allow_unused=True)]
            gradients = tg.autograd.grad(f(x).sum(), x, allow_unused=True, create_graph=True)
            found.append([None if g is None else g.detach() for g in gradients])
    return found


@script
def custom_views_made_without_recording(tg: Any) -> Any:
    views = function(tg, lambda _ctx, x: (x[1:], x * 1, x), passed)
    x = leaf(tg, 1.0, 2.0)
    with tg.no_grad():
        made = views.apply(x)
        part = x[1:]
    return [(y.requires_grad, y.grad_fn is None) for y in (*made, part)], attempt(lambda: made[0].zero_().sum().item()).message[:43]


@script
def custom_functions_may_not_write_to_parts_of_leaves(tg: Any) -> Any:
    def written(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x.add_(1))
        return x

    def others(ctx: Any, x: Any) -> Any:
        y = (x * 3).view_as(x)
        ctx.mark_dirty(y)
        return y

    x = leaf(tg, 1.0, 2.0)
    part = attempt(lambda: function(tg, written, passed).apply(x.view_as(x)))
    other = attempt(lambda: function(tg, others, passed).apply(x * 1))
    return part.message, part.builtins, other.message, other.builtins, x.is_leaf


@script
def writing_to_a_view_of_an_unrecorded_view(tg: Any) -> Any:
    with tg.no_grad():
        y = tg.zeros(2).view(2)
    y.requires_grad_()
    return attempt(lambda: y.view(2).div_(2)).message


@script
def custom_functions_that_lead_nowhere_are_left_alone(tg: Any) -> Any:
    runs: list[int] = []

    def backward(_ctx: Any, g: Any) -> Any:
        runs.append(1)
        return g

    x, y = leaf(tg, 1.0), leaf(tg, 2.0)
    out = function(tg, lambda _ctx, x: x, backward).apply(x * 2)
    out.retain_grad()
    (unused,) = tg.autograd.grad(out, y, allow_unused=True, retain_graph=True)
    out.backward(inputs=y, retain_graph=True)
    both = tg.autograd.grad(out + y, (leaf(tg, 1.0), y), allow_unused=True)
    return unused, y.grad, both, out.grad, len(runs)


@script
def custom_functions_in_anomaly_mode(tg: Any) -> Any:
    made = function(tg, lambda _ctx, x: x * 1, lambda _ctx, g: g * float("nan"))
    x = leaf(tg, 1.0, 2.0)

    def walk() -> None:
        made.apply(x).sum().backward()
        x.grad.tolist()

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with tg.autograd.detect_anomaly():
            failed = attempt(walk)
    told = [str(warning.message) for warning in said if "CustomBackward" in str(warning.message)]
    return failed.message[:60], failed.builtins, ["made.apply(x)" in text for text in told]


@script
def custom_results_marked_as_dirty_that_are_no_inputs(tg: Any) -> Any:
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 3
        ctx.mark_dirty(y)
        return y

    x = leaf(tg, 1.0, 2.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        y = function(tg, forward, lambda _ctx, g: g * 3).apply(x * 1)
    y.sum().backward()
    return ["was not an input" in str(warning.message) for warning in said], y, x.grad


@script
def custom_functions_may_not_save_inputs_that_they_return(tg: Any) -> Any:
    refused = []
    for save in ("save_for_backward", "save_for_forward"):

        def set_up(ctx: Any, inputs: Any, _output: Any, save: str = save) -> None:
            getattr(ctx, save)(*inputs)

        same = function(tg, lambda x: x, passed, setup_context=set_up)
        refused.append(attempt(functools.partial(same.apply, leaf(tg, 1.0) * 1)).message[:40])
    return refused


@script
def custom_gradients_are_of_what_was_given(tg: Any) -> Any:
    told: list[Any] = []

    def forward(ctx: Any, x: Any, factor: float = 2.0) -> Any:
        told.append(ctx.needs_input_grad)
        return x * factor

    once = function(tg, forward, passed)
    twice = function(tg, forward, lambda _ctx, g: (g, None))
    calls = [lambda f, x: f.apply(x), lambda f, x: f.apply(x=x), lambda f, x: f.apply(x, 3.0), lambda f, x: f.apply(x, factor=3.0)]

    def run(f: Any, call: Callable[..., Any]) -> Any:
        x = leaf(tg, 1.0, 2.0)
        call(f, x).sum().backward()
        return x.grad

    seen = [attempt(functools.partial(run, f, call)) for f in (once, twice) for call in calls]
    return seen, told
