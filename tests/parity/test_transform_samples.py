"""Of every op one sample, on all rows and with many vectors, on a server and locally: the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.session import make_current, reset_current
from telegrad.contract.transforms.trees import leaves_of
from tests.places import open_session
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad
from tests.samples import Array, Sample
from tests.samples.table import SAMPLES, parameters

ONE_EACH = list({s.call: s for s in reversed(SAMPLES) if Bound(s).continuous and not s.random}.values())
ROWS = 3


def values(result: Any) -> list[Array | None]:
    return [None if x is None else np.array(x.detach().numpy()) for x in leaves_of(result)]


def on_all_rows(side: Telegrad, sample: Sample) -> list[Array | None]:
    """The sample with copies of each of its arrays as rows."""
    bound = Bound(sample)
    return values(
        telegrad.vmap(lambda *tensors: bound.call(side, tensors))(*[side.tensor(np.stack([a] * ROWS)) for a in bound.arrays])
    )


def with_many_vectors(side: Telegrad, sample: Sample) -> list[Array | None]:
    """The sample's gradients for several vectors, recorded."""
    bound = Bound(sample)
    tensors = [side.tensor(a, requires_grad=a.dtype.kind in "fc") for a in bound.arrays]
    result = bound.call(side, tensors)
    outputs = [y for y in leaves_of(result) if side.is_tensor(y) and y.requires_grad]
    if not outputs:
        return []
    random = np.random.default_rng(0)
    vectors = [side.tensor(random.normal(size=(ROWS, *y.shape)).astype(y.dtype.numpy)) for y in outputs]
    inputs = [x for x in tensors if x.requires_grad]
    settings: Any = {"is_grads_batched": True, "create_graph": True, "allow_unused": True}
    return values(side.session.grad(outputs, inputs, vectors, **settings))


def bits(session: telegrad.Session, sample: Sample) -> list[Any]:
    """What both give, or the complaint."""
    found: list[Any] = []
    make_current(session)
    try:
        for run in (on_all_rows, with_many_vectors):
            try:
                found.append([None if a is None else (a.dtype.str, a.shape, a.tobytes()) for a in run(Telegrad(session), sample)])
            except telegrad.TelegradError as error:
                found.append((type(error), str(error)))
    finally:
        reset_current(session)
    return found


@pytest.fixture(scope="module")
def sessions() -> Iterator[tuple[telegrad.Session, telegrad.Session]]:
    """A local one, and one of a server in this process: others differ from it in the wire only."""
    local, remote = open_session("local"), open_session("asgi")
    yield local, remote
    remote.close()
    local.close()


@pytest.mark.parametrize("sample", parameters(ONE_EACH))
def test_transformed_sample_gives_the_same_as_locally(sessions: tuple[telegrad.Session, telegrad.Session], sample: Sample) -> None:
    local, remote = sessions

    assert bits(remote, sample) == bits(local, sample)
