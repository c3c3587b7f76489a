"""What is no argument of a call at all is refused with the class that PyTorch raises, by methods made of other ops as by ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from tests.parity.transcripts import Failure, attempt, disagreements
from tests.references.sides import HAS_TORCH, torch_side


def vector(tg: Any) -> Any:
    return tg.tensor([1.0, 2.0, 3.0])


def images(tg: Any) -> Any:
    return tg.ones(1, 4, 4)


def functional(tg: Any) -> Any:
    return tg.nn.functional


CALLS: list[Callable[[Any], Any]] = [
    # no tensor where one is due
    *(lambda tg, f=f: getattr(tg, f)(vector(tg), 1) for f in ("kron", "vdot", "cross")),
    *(lambda tg, f=f: getattr(vector(tg), f)([1.0]) for f in ("kron", "vdot", "expand_as", "reshape_as", "view_as")),
    lambda tg: tg.addr(tg.ones(3, 3), vector(tg), "a"),
    lambda tg: tg.real(3),
    lambda tg: tg.imag(2.5),
    *(lambda tg, f=f: getattr(functional(tg), f)(vector(tg), 1) for f in ("soft_margin_loss", "pairwise_distance")),
    # no number where one is due
    *(lambda tg, v=v: tg.nan_to_num(vector(tg), v) for v in ([1.0], "a", (1, 2))),
    *(lambda tg, v=v: tg.logit(vector(tg), v) for v in ([1.0], "a", (1, 2))),
    *(lambda tg, v=v: tg.isclose(vector(tg), vector(tg), v) for v in ([1.0], "a", (1, 2))),
    lambda tg: tg.nan_to_num(vector(tg), vector(tg)),
    lambda tg: tg.logit(vector(tg), vector(tg)),
    lambda tg: tg.isclose(vector(tg), vector(tg), vector(tg)),
    lambda tg: functional(tg).leaky_relu(vector(tg), vector(tg)),
    lambda tg: functional(tg).leaky_relu(vector(tg), tg.tensor(0.5)),
    lambda tg: functional(tg).smooth_l1_loss(vector(tg), vector(tg), beta="a"),
    lambda tg: functional(tg).softplus(vector(tg), (1,)),
    lambda tg: functional(tg).elu(vector(tg), [1]),
    lambda tg: functional(tg).layer_norm(vector(tg), (3,), eps=[1]),
    lambda tg: tg.linalg.svd(tg.ones(2, 2), 1),
    # modes and sizes
    *(lambda tg, m=m: functional(tg).pad(images(tg), (1, 1), mode=m) for m in ("bad", 3)),
    lambda tg: functional(tg).pad(vector(tg), (1, 1), "reflect"),
    lambda tg: functional(tg).pad(images(tg), (1, 1), "reflect", 3),
    *(lambda tg, n=n: getattr(functional(tg), n)(vector(tg), (2, 2)) for n in ("adaptive_avg_pool2d", "adaptive_max_pool2d")),
    # arguments that have a default
    lambda tg: vector(tg).histogram().hist.sum(),
]


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("index", range(len(CALLS)))
def test_arguments_are_refused_as_by_the_reference(index: int) -> None:
    call, torch = CALLS[index], torch_side().torch
    wanted = attempt(lambda: call(torch))
    with telegrad.local():
        found = attempt(lambda: call(telegrad))

    assert disagreements(found, wanted) == []
    assert not isinstance(found, Failure) or hasattr(telegrad.errors, found.cls)
