"""Inference mode: what is made inside never takes part in a graph."""

from __future__ import annotations

from typing import Any

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def what_is_made_in_inference_mode_says_so(tg: Any) -> Any:
    x = tg.ones(3)
    w = tg.ones(3, requires_grad=True)
    with tg.inference_mode():
        made = tg.ones(3)
        product = w * 2
        part, view = made[:2], x.view(3)
        copied = x.clone()
        with tg.inference_mode(False):
            ordinary = tg.ones(2)
            recorded = w * 3
        with tg.enable_grad():
            still = w * 2
    tensors = (made, product, part, view, copied, ordinary, recorded, still, made.clone(), made * 1, made.view(3), made.detach(), x)
    return [(t.is_inference(), t.requires_grad) for t in tensors], tg.is_inference(made)


@script
def inference_tensors_cannot_be_saved(tg: Any) -> Any:
    w = tg.ones(3, requires_grad=True)
    with tg.inference_mode():
        made = tg.tensor([1.0, 2.0, 3.0])
        places = tg.tensor([0, 2])
    total = (w + made).sum()
    total.backward()
    return (
        total,
        w.grad,
        attempt(lambda: [(w * made).tolist()]),
        attempt(lambda: [(w @ made).tolist()]),
        attempt(lambda: [w.gather(0, places).tolist()]),
        attempt(lambda: [(w * made.clone()).tolist()]),
        w * 2,
    )


@script
def inference_tensors_are_changed_in_inference_mode_only(tg: Any) -> Any:
    x = tg.ones(2)
    with tg.inference_mode():
        made = tg.zeros(2)
        made.add_(1)
        x.add_(made)
        other = tg.zeros(2)  # PyTorch refuses after the write, and nobody is to rely on that
    refused = (
        attempt(lambda: other.add_(1)),
        attempt(lambda: other[:1].mul_(2)),
        attempt(other.requires_grad_),
        attempt(lambda: other._version),
    )
    with tg.inference_mode():
        made.mul_(3)
    x.copy_(made)
    return refused, made, x, x._version


@script
def transforms_differentiate_in_inference_mode(tg: Any) -> Any:
    func = tg.func
    outside = tg.tensor([1.0, 2.0, 3.0])

    def cubes(x: Any) -> Any:
        return (x**3).sum()

    found = []
    with tg.inference_mode():
        for x in (outside, tg.tensor([1.0, 2.0, 3.0])):
            gradients = [
                func.grad(cubes)(x),
                func.vjp(tg.sin, x)[1](x)[0],
                func.jvp(tg.sin, (x,), (x,))[1],
                func.jacrev(tg.sin)(x),
                func.jacfwd(tg.sin)(x),
                func.hessian(cubes)(x),
                tg.vmap(func.grad(cubes))(tg.stack([x, x])),
            ]
            found += [(g, g.is_inference(), g.requires_grad) for g in gradients]
        still = tg.is_inference_mode_enabled()
    return found, still


@script
def vjps_keep_a_history_where_they_are_taken(tg: Any) -> Any:
    x = tg.tensor(2.0, requires_grad=True)
    one = tg.tensor(1.0)

    def square(x: Any) -> Any:
        return x**2

    with tg.no_grad():
        silent, pull = tg.func.vjp(square, x)
        (inside,) = pull(one)
    (outside,) = pull(one)
    loud, pull = tg.func.vjp(square, x)
    with tg.no_grad():
        (quiet,) = pull(one)
    history = [y.requires_grad for y in (silent, inside, outside, loud, quiet)]
    return history, outside.detach(), tg.autograd.grad(outside, x), tg.autograd.grad(loud, x)
