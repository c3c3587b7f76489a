"""Where PyTorch warns, telegrad warns: the same category, and words that people search for. And what the call gives is the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

import telegrad
from tests.parity.transcripts import disagreements, transcript
from tests.places import PLACES, open_session
from tests.references.sides import HAS_TORCH, torch_side


class Call(NamedTuple):
    """A call, words that stand in the warning of each library, no words where neither may warn, and the warning's class."""

    act: Callable[[Any], Any]
    words: str
    category: type[Warning] = UserWarning


def vector(tg: Any) -> Any:
    return tg.tensor([0.25, 0.5, 0.75])


def matrix(tg: Any) -> Any:
    return tg.tensor([[2.0, 0.5, 0.25], [0.5, 3.0, 0.5], [0.25, 0.5, 4.0]])


def classes(tg: Any) -> Any:
    return tg.tensor([0, 2, 1])


def functional(tg: Any) -> Any:
    return tg.nn.functional


def loss_of_sizes_that_broadcast(loss: str, tg: Any) -> Any:
    return getattr(functional(tg), loss)(vector(tg), vector(tg)[:, None])


SIZES = "that is different to the input size"
OLDER = "size_average and reduce args will be deprecated, please use reduction='{}' instead."
FREEDOM = "degrees of freedom is <= 0"
IMPLICIT = "Implicit dimension choice for {} has been deprecated"

CALLS = [
    *(Call(partial(loss_of_sizes_that_broadcast, loss), SIZES) for loss in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")),
    Call(lambda tg: functional(tg).mse_loss(vector(tg), vector(tg)), ""),
    Call(lambda tg: functional(tg).kl_div(vector(tg), vector(tg)), "'batchmean' divides only by the batch size"),
    Call(lambda tg: functional(tg).kl_div(vector(tg), vector(tg), reduction="batchmean"), ""),
    Call(lambda tg: functional(tg).softmax(vector(tg)), IMPLICIT.format("softmax")),
    Call(lambda tg: functional(tg).softmax(matrix(tg)), IMPLICIT.format("softmax")),
    Call(lambda tg: functional(tg).log_softmax(matrix(tg)[None]), IMPLICIT.format("log_softmax")),
    Call(lambda tg: functional(tg).softmin(matrix(tg)), IMPLICIT.format("softmin")),
    Call(lambda tg: functional(tg).softmin(matrix(tg), 0, 3, tg.float64), ""),
    Call(lambda tg: functional(tg).mse_loss(vector(tg), vector(tg) * 2, size_average=False), OLDER.format("sum")),
    Call(lambda tg: functional(tg).mse_loss(vector(tg), vector(tg) * 2, None, False), OLDER.format("none")),
    Call(lambda tg: functional(tg).mse_loss(vector(tg), vector(tg) * 2, True, True), OLDER.format("mean")),
    Call(lambda tg: functional(tg).mse_loss(vector(tg), vector(tg) * 2, None, None, "sum"), ""),
    Call(lambda tg: functional(tg).cross_entropy(matrix(tg), classes(tg), None, False), OLDER.format("sum")),
    Call(lambda tg: functional(tg).cross_entropy(matrix(tg), classes(tg), None, None, 2), ""),
    Call(lambda tg: functional(tg).nll_loss(matrix(tg), classes(tg), reduce=False), OLDER.format("none")),
    Call(lambda tg: functional(tg).smooth_l1_loss(vector(tg), vector(tg) * 2, None, None, "none", 0.1), ""),
    Call(lambda tg: functional(tg).triplet_margin_loss(*[matrix(tg)] * 3, size_average=False), OLDER.format("sum")),
    Call(lambda tg: functional(tg).poisson_nll_loss(vector(tg), vector(tg), True, False, None, 1e-8, False), OLDER.format("none")),
    Call(lambda tg: tg.meshgrid(vector(tg), vector(tg)), "indexing argument"),
    Call(lambda tg: tg.meshgrid(vector(tg), vector(tg), indexing="xy"), ""),
    Call(lambda tg: tg.cross(vector(tg), vector(tg) ** 2), "without specifying the dim arg is deprecated"),
    Call(lambda tg: tg.linalg.cross(vector(tg), vector(tg) ** 2), ""),
    Call(lambda tg: vector(tg)[:1].std(), FREEDOM),
    Call(lambda tg: matrix(tg).var(0, correction=3), FREEDOM),
    Call(lambda tg: matrix(tg).var((0, 1), correction=3), ""),
    Call(lambda tg: matrix(tg)[:, :1].var(1, unbiased=False), ""),
    Call(lambda tg: matrix(tg)[:, :1].cov(), FREEDOM),
    Call(lambda tg: vector(tg).T, "on tensors of dimension other than 2 to reverse their shape is deprecated"),
    Call(lambda tg: tg.tensor(1.0).T, "is deprecated on 0-D tensors"),
    Call(lambda tg: tg.tensor(1.0).mT, "is deprecated on 0-D tensors"),
    Call(lambda tg: tg.tensor(1j).mH.resolve_conj(), "is deprecated on 0-D tensors"),
    Call(lambda tg: matrix(tg).T, ""),
    Call(lambda tg: tg.tensor(vector(tg)), "To copy construct from a tensor, it is recommended"),
    Call(lambda tg: tg.as_tensor(vector(tg)), ""),
    Call(lambda tg: tg.tensor([1 + 2j]).float(), "Casting complex values to real discards the imaginary part"),
    Call(lambda tg: tg.zeros(1).copy_(tg.tensor([1 + 2j])), "Casting complex values to real discards the imaginary part"),
    Call(lambda tg: tg.tensor([1 + 2j]).bool(), ""),
    Call(lambda tg: matrix(tg).cholesky(), "is deprecated"),
    Call(lambda tg: matrix(tg).lu(), "is deprecated"),
    Call(lambda tg: tg.triangular_solve(matrix(tg), matrix(tg)), "is deprecated"),
    Call(lambda tg: tg.chain_matmul(matrix(tg), matrix(tg)), "is deprecated"),
    Call(lambda tg: functional(tg).upsample(matrix(tg)[None], 2), "is deprecated"),
    Call(lambda tg: functional(tg).dropout2d(matrix(tg)[None], 0.0), "Received a 3D input to dropout2d"),
    Call(lambda tg: functional(tg).dropout3d(matrix(tg), 0.0), "Received a 2-D input to dropout3d"),
    Call(lambda tg: functional(tg).affine_grid(tg.ones(1, 2, 3), (1, 1, 2, 2)), "align_corners=False"),
    Call(lambda tg: tg.stft(vector(tg), 3, 1, center=False, return_complex=True), "A window was not provided"),
    Call(
        lambda tg: tg.autograd.grad((x := vector(tg).requires_grad_()).sum(), x, only_inputs=False),
        "only_inputs argument is deprecated",
        FutureWarning,
    ),
]


def warned(place: Any, call: Call) -> tuple[list[warnings.WarningMessage], Any]:
    """What was warned of, and what came out."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = transcript(call.act(place))
    return list(seen), found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("index", range(len(CALLS)))
def test_calls_warn_where_they_are_written(place: str, index: int) -> None:
    call = CALLS[index]
    with open_session(place):
        seen, _ = warned(telegrad, call)

    assert [w.category for w in seen] == [call.category] * bool(call.words)
    assert all(call.words in str(w.message) and w.filename == __file__ for w in seen)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare warnings with")
@pytest.mark.parametrize("index", range(len(CALLS)))
def test_the_reference_warns_of_the_same_and_gives_the_same(index: int) -> None:
    call, torch = CALLS[index], torch_side().torch
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        seen, wanted = warned(torch, call)
    finally:
        torch.set_warn_always(before)
    with open_session("local"):
        _, found = warned(telegrad, call)

    assert [w.category for w in seen] == [call.category] * bool(call.words)
    assert all(call.words in str(w.message) for w in seen)
    assert disagreements(found, wanted) == []
