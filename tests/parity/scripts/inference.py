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
