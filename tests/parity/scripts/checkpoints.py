"""Checkpoints: the same gradients as without, whatever the block uses and gives."""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import Any

from tests.parity.scripts.hooks import leaf
from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


def checkpoint(tg: Any, *args: Any, **more: Any) -> Any:
    """A checkpoint of the recommended kind."""
    return tg.utils.checkpoint.checkpoint(*args, **{"use_reentrant": False, **more})


@script
def checkpoint_of_arguments_and_captured(tg: Any) -> Any:
    runs: list[int] = []
    w = leaf(tg, 0.5, -1.0)
    found = []
    for reentrant in (False, True):
        x = leaf(tg, 1.0, 2.0)

        def block(x: Any, scale: float) -> Any:
            runs.append(1)
            return (x * w).sin() * scale

        y = checkpoint(tg, block, x * 2, 3.0, use_reentrant=reentrant)
        (y * y).sum().backward()
        found += [y, x.grad]
    return found, w.grad, len(runs)


@script
def checkpoint_of_nested_results(tg: Any) -> Any:
    def block(x: Any, *, factor: Any) -> Any:
        return {"a": x * factor, "b": (x.exp(), 3, x.detach()), "same": factor}

    x, f = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    out = checkpoint(tg, block, x, factor=f)
    (out["a"] * out["b"][0]).sum().backward()
    return out["a"].detach(), out["b"][0].detach(), out["b"][1], out["b"][2], out["same"] is f, x.grad, f.grad


@script
def checkpoint_of_a_tensor_and_what_it_was_made_of(tg: Any) -> Any:
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    h = (x * w).exp()
    h.retain_grad()
    y = checkpoint(tg, lambda h: (h * x).sin() + w * h, h)
    y.sum().backward()
    return h.grad, x.grad, w.grad


@script
def checkpoint_between_hooks(tg: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(tg, 1.0, 2.0), leaf(tg, 3.0, 4.0)
    w.register_hook(lambda g: (log.append(g * 1), g * 2)[1])
    w.register_post_accumulate_grad_hook(lambda w: log.append(w.grad * 1))
    h = x * w
    h.retain_grad()
    h.register_hook(lambda g: (log.append(g * 1), g * 10)[1])
    h.grad_fn.register_prehook(lambda g: log.append(g[0] * 1))
    y = checkpoint(tg, lambda h: checkpoint(tg, lambda h: h * w * h, h) + w, h)
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    return log, h.grad, x.grad, w.grad


@script
def checkpoint_and_hooks_within(tg: Any) -> Any:
    log: list[Any] = []
    x = leaf(tg, 1.0, 2.0)
    x.register_hook(lambda g: log.append(g * 1))

    def block(x: Any) -> Any:
        inside = x * 3
        inside.register_hook(lambda g: g * 5)
        return inside.exp()

    (gradient,) = tg.autograd.grad(checkpoint(tg, block, x).sum(), x)
    return log, gradient


@script
def checkpoint_of_one_result_of_two(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    y, _z = checkpoint(tg, lambda x: (x.exp(), x.sin()), x)
    y.sum().backward()
    return x.grad


@script
def checkpoint_in_checkpoint(tg: Any) -> Any:
    w = leaf(tg, 2.0, 3.0)

    def inner(x: Any) -> Any:
        return (x * w).cos()

    def outer(x: Any) -> Any:
        return checkpoint(tg, inner, x.exp()) * w

    x = leaf(tg, 0.5, 1.0)
    y = checkpoint(tg, outer, x)
    y.sum().backward()
    return y, x.grad, w.grad


@script
def checkpoint_gradients_of_gradients(tg: Any) -> Any:
    x, w = leaf(tg, 0.5, 1.0), leaf(tg, 2.0, 3.0)
    y = checkpoint(tg, lambda x: (x * w).sin() * x, x * 2)
    (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    return g.detach(), tg.autograd.grad((g * g).sum(), [x, w])


@script
def checkpoint_of_some_inputs(tg: Any) -> Any:
    x, w = leaf(tg, 0.5, 1.0), leaf(tg, 2.0, 3.0)
    y = checkpoint(tg, lambda x: (x * w).sin(), x * 2)
    return [tg.autograd.grad(y.sum(), chosen, retain_graph=True) for chosen in ([x], [w], [w, x])]


@script
def checkpoint_runs_once_unless_retained(tg: Any) -> Any:
    x = leaf(tg, 0.5, 1.0)
    y = checkpoint(tg, lambda x: x.exp(), x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad, attempt(y.backward)


@script
def checkpoint_of_functions_in_sequence(tg: Any) -> Any:
    w = leaf(tg, 2.0, 3.0)
    functions = [lambda x: x * w, lambda x: x.sin(), lambda x: x.exp(), lambda x: x / w]
    found = []
    for segments in (1, 2, 3, 4):
        x = leaf(tg, 0.5, 1.0)
        y = tg.utils.checkpoint.checkpoint_sequential(functions, segments, x, use_reentrant=False)
        y.sum().backward()
        found += [y, x.grad]
    return found, w.grad, attempt(lambda: tg.utils.checkpoint.checkpoint_sequential(functions, 5, x, use_reentrant=False))


@script
def checkpoint_without_gradients(tg: Any) -> Any:
    x = tg.tensor([1.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reentrant = checkpoint(tg, lambda x: x * leaf(tg, 1.0), x, use_reentrant=True)
    with tg.no_grad():
        quiet = checkpoint(tg, lambda x: x * 2, leaf(tg, 1.0))
    return checkpoint(tg, lambda x: x * 2, x), reentrant, quiet


@script
def checkpoint_wrong_calls(tg: Any) -> Any:
    x = leaf(tg, 1.0, 2.0)
    runs: list[int] = []

    def changing(x: Any) -> Any:
        runs.append(1)
        return x.exp() if len(runs) == 1 else x[:1].exp()

    def changed() -> Any:
        z = x * 1
        y = checkpoint(tg, lambda x: x * x, z)
        z.mul_(2)
        y.sum().backward()

    return [
        attempt(lambda: checkpoint(tg, lambda x: x.exp(), x, use_reentrant=True, factor=3)),
        attempt(lambda: checkpoint(tg, lambda x: x.exp(), x, determinism_check="other")),
        attempt(lambda: checkpoint(tg, changing, x).sum().backward()),
        attempt(changed),
    ]


def drawing_again(tg: Any) -> Any:
    """What a checkpoint that draws sees, with the same random numbers in backward and with others."""
    x: Any = leaf(tg, *[1.0] * 8)
    seen = []
    for preserve in (True, False):
        tg.manual_seed(3)
        masks: list[Any] = []

        def block(x: Any, masks: list[Any] = masks) -> Any:
            masks.append(tg.rand(8) > 0.5)
            return x * masks[-1]

        y = checkpoint(tg, block, x, preserve_rng_state=preserve)
        between = tg.rand(2)
        (gradient,) = tg.autograd.grad(y.sum(), x)
        seen.append([masks, y.detach(), between, tg.rand(2), gradient])
    return seen


@script
def checkpoint_that_draws_again_ours(tg: Any) -> Any:
    tg.manual_seed(5)
    x, w = leaf(tg, *[1.0] * 8), leaf(tg, *[0.5] * 8)

    def inner(h: Any) -> Any:
        return tg.nn.functional.dropout(h * w, 0.5) + tg.randn(8)

    def block(x: Any) -> Any:
        h = tg.nn.functional.dropout(x.sin(), 0.25)
        return checkpoint(tg, inner, h) * tg.rand(8)

    y = checkpoint(tg, block, x)
    between = tg.randn(3)
    z = checkpoint(tg, lambda y: y * tg.bernoulli(tg.full((8,), 0.5)), y * 2)
    (gx,) = tg.autograd.grad(z.sum(), x, retain_graph=True)
    z.sum().backward()
    return y.detach(), between, z.detach(), gx, x.grad, w.grad, tg.rand(2)


@script
def states_of_random_numbers_ours(tg: Any) -> Any:
    tg.manual_seed(7)
    first = tg.rand(3)
    state = tg.get_rng_state()
    drawn = tg.randn(4), tg.randperm(5), tg.randint(9, (3,))
    tg.set_rng_state(state)
    again = tg.randn(4), tg.randperm(5), tg.randint(9, (3,))
    wrong = [tg.zeros(37), tg.zeros(5, dtype=tg.uint8), tg.zeros(37, dtype=tg.uint8)]
    return first, drawn, again, state.shape, state.dtype, [attempt(functools.partial(set_and_draw, tg, s)) for s in wrong]


def set_and_draw(tg: Any, state: Any) -> Any:
    tg.set_rng_state(state)
    return tg.rand(1).item()


@script
def checkpoint_within_contexts(tg: Any) -> Any:
    log: list[str] = []

    @contextlib.contextmanager
    def noted(name: str) -> Any:
        log.append(name)
        yield

    x = leaf(tg, 1.0, 2.0)
    y = checkpoint(tg, lambda x: x.exp() * x, x, context_fn=lambda: (noted("first"), noted("again")))
    before = list(log)
    y.sum().backward()
    gradient = x.grad.detach()
    with tg.no_grad():
        checkpoint(tg, lambda x: x * 2, x, context_fn=lambda: (noted("unrecorded"), noted("never")))
    refused = attempt(lambda: checkpoint(tg, lambda x: x * 2, x, context_fn=lambda: (noted("a"), noted("b")), use_reentrant=True))
    return before, log, gradient, refused.builtins


@script
def checkpoint_of_what_is_written_afterwards(tg: Any) -> Any:
    found = []
    for write in (
        lambda w, v: w.mul_(3),
        lambda w, v: v.mul_(3),
        lambda w, v: w.copy_(v.sum() * tg.tensor([1.0, 2.0])),
        lambda w, v: (w.add_(1), v.mul_(2), w.mul_(2)),
    ):
        for takes in (lambda w, v: w, lambda w, v: v * 3, lambda w, v: w[1:] + v, lambda w, v: v + w + v):
            x = leaf(tg, 0.3, 0.5)
            w = x * 2
            v = w[:1]
            y = checkpoint(tg, lambda a, w=w, v=v, takes=takes: (a * takes(w, v)).sin() + v.exp(), x)
            write(w, v)
            z = (y * w + v).sum()
            z.backward()
            found.append(x.grad)
    return found


@script
def checkpoint_of_a_view_whose_base_was_written_before(tg: Any) -> Any:
    found = []
    for later in (False, True):
        x = leaf(tg, 0.3, 0.5)
        w = x * 2
        v, u = w[:1], w.view(2, 1)
        w.mul_(3)
        y = checkpoint(tg, lambda a, w=w, v=v, u=u: (a * v).sin() * u + w.exp(), x)
        if later:
            u.add_(1)
        (y.sum() + (w * v).sum()).backward()
        found.append(x.grad)
    return found


@script
def checkpoint_of_a_name_that_means_another_tensor_later(tg: Any) -> Any:
    x = leaf(tg, 0.3, 0.5)
    held = {"w": x * 2}
    y = checkpoint(tg, lambda a: (a * held["w"]).sin(), x)
    held["w"] = x.exp()
    y.sum().backward()
    return x.grad


@script
def checkpoint_of_what_no_longer_requires_grad(tg: Any) -> Any:
    x, w = leaf(tg, 0.3, 0.5), leaf(tg, 3.0, 4.0)
    y = checkpoint(tg, lambda a: (a * w).sin(), x)
    w.requires_grad_(False)
    return attempt(lambda: y.sum().backward())


@script
def checkpoint_that_writes_through_views_of_what_it_makes(tg: Any) -> Any:
    x, w = leaf(tg, 0.3, 0.5), leaf(tg, 3.0, 4.0)

    def block(a: Any) -> Any:
        y = a * 2
        y[0].mul_(3)
        z = y * w
        z[1:].add_(a[0])
        return y, z.exp(), a * 3

    for y in (checkpoint(tg, block, x), checkpoint(tg, block, x * w)):
        (y[0] * y[1] + y[2]).sum().backward()
    return x.grad, w.grad
