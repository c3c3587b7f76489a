"""Every sample under ``vmap`` gives what a loop over the rows gives, with each of its tensors batched alone and all together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest

import telegrad
from telegrad.contract.transforms.trees import leaves_of
from telegrad.func import vmap
from tests.references.evaluation import Bound, is_in_place
from tests.references.sides import Telegrad
from tests.references.stored import variables_of
from tests.samples import Array, Sample
from tests.samples.table import SAMPLES, for_each_sample

ROWS: Final = 3

REFUSED: Final = {
    "dynamic shape": "a mask that differs from row to row, or positions",
    "vmap over `mask`": "masked_select",
    "provide an explicit positive num_classes": "one_hot without a number of classes",
    "randomness error mode": "dropout of everything draws nothing, and is a random op all the same",
    "data-dependent control flow": "losses that look whether a variance is negative, or a class exists",
}
"""What ``vmap`` refuses though a loop would do it, as PyTorch does."""

TOLERANCES: Final = {"float16": 1e-2, "float32": 1e-5, "complex64": 1e-5}


def batch_of(array: Array) -> Array:
    """Rows with the same values in other places, so that they stay in every op's domain."""
    return np.stack([np.roll(array.reshape(-1), k).reshape(array.shape) for k in range(ROWS)])


def choices(count: int) -> list[tuple[bool, ...]]:
    """Which arrays are batched: each alone, and all together."""
    alone = [tuple(i == j for i in range(count)) for j in range(count)]
    return [*alone, (True,) * count] if count > 1 else alone


def values(result: Any) -> list[Array]:
    """The tensors of a result."""
    return [np.array(x.detach().numpy()) for x in leaves_of(result)]


def loop(side: Telegrad, bound: Bound, batches: Sequence[Array], batched: tuple[bool, ...]) -> list[Array] | None:
    """One row after another; None where a row cannot be done, or gives no tensors."""
    rows: list[list[Array]] = []
    try:
        for row in range(ROWS):
            tensors = [side.tensor(b[row] if own else b[0]) for b, own in zip(batches, batched, strict=True)]
            result = bound.call(side, tensors)
            if not all(map(side.is_tensor, leaves_of(result))):
                return None
            rows.append(values(result))
        return [np.stack(column) for column in zip(*rows, strict=True)]
    except (telegrad.TelegradError, ValueError):  # other values in other places may fit the op less
        return None


@for_each_sample([s for s in SAMPLES if not s.random])
def test_vmap_gives_what_a_loop_gives(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    batches = [batch_of(a) for a in bound.arrays]
    for batched in choices(len(batches)):
        wanted = loop(engine, bound, batches, batched)
        if wanted is None:
            continue
        function = vmap(lambda *tensors: bound.call(engine, tensors), in_dims=tuple(0 if own else None for own in batched))
        given = [engine.tensor(b if own else b[0]) for b, own in zip(batches, batched, strict=True)]
        if is_in_place(sample) and not batched[0]:
            with pytest.raises(telegrad.TelegradError, match="is not possible"):
                function(*given)
            continue
        try:
            found = values(function(*given))
        except telegrad.TelegradError as error:
            if any(words in str(error) for words in REFUSED):
                continue
            raise

        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            tolerance = TOLERANCES.get(a.dtype.name, 1e-9)
            assert (a.dtype, a.shape) == (b.dtype, b.shape), batched
            assert np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True), batched


@for_each_sample([s for s in SAMPLES if s.gradient and Bound(s).continuous])
def test_many_vectors_at_once_give_what_one_after_another_gives(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    may = variables_of(sample)
    tensors = [
        engine.tensor(a, requires_grad=a.dtype.kind in "fc" and (may is None or i in may)) for i, a in enumerate(bound.arrays)
    ]
    result = bound.call(engine, tensors)
    outputs = [y for y in leaves_of(result) if engine.is_tensor(y) and y.requires_grad]
    inputs = [x for x in tensors if x.requires_grad]
    if not outputs:
        pytest.skip("no gradient in this sample")
    vectors = [vectors_like(engine, y) for y in outputs]
    settings: Any = {"retain_graph": True, "allow_unused": True}
    tolerance = 10 * max(TOLERANCES.get(x.dtype.name, 1e-9) for x in (*outputs, *inputs))
    rows = [engine.session.grad(outputs, inputs, [v[i] for v in vectors], **settings) for i in range(ROWS)]
    wanted = [None if column[0] is None else np.stack([values(g)[0] for g in column]) for column in zip(*rows, strict=True)]

    for create_graph in (False, True):
        found = engine.session.grad(outputs, inputs, vectors, is_grads_batched=True, create_graph=create_graph, **settings)

        for g, w in zip(found, wanted, strict=True):
            if g is None or w is None:
                assert g is w
                continue
            (value,) = values(g)
            assert create_graph or not g.requires_grad
            assert (value.dtype, value.shape) == (w.dtype, w.shape)
            assert np.allclose(value, w, rtol=tolerance, atol=tolerance, equal_nan=True)


def vectors_like(engine: Telegrad, y: Any) -> Any:
    """Several vectors for one output."""
    random = np.random.default_rng(0)
    found: Any = random.normal(size=(ROWS, *y.shape))
    return engine.tensor((found + 1j * random.normal(size=found.shape) if y.is_complex() else found).astype(y.dtype.numpy))
