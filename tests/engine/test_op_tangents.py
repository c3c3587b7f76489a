"""Every sample's tangent in forward mode: against finite differences along the same direction, and against PyTorch."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.ops import OPS
from telegrad.contract.transforms import forward_formulas, forward_rules, forward_ways
from telegrad.contract.transforms.dual import Dual, ForwardLevel, make_dual
from telegrad.contract.transforms.wrapper import entered
from tests.references.comparison import difference, precision_of
from tests.references.evaluation import DIRECTION, Bound, is_wide, weights
from tests.references.finite import STEP
from tests.references.sides import HAS_TORCH, Side, Telegrad, flatten, torch_side
from tests.references.stored import variables_of
from tests.samples import Array, Sample
from tests.samples.table import SAMPLES, for_each_sample

VARYING = [sample for sample in SAMPLES if Bound(sample).continuous]
ONCE = {"ctc_loss"}
"""Ops whose gradient is that of the input of the ``log_softmax`` before them, as in PyTorch, which has no tangents of them."""

SMOOTH = [
    sample
    for sample in VARYING
    if sample.gradient and sample.differences and is_wide(sample) and (sample.op not in OPS or OPS[sample.op].differentiable)
    if sample.op not in ONCE
]
COMPARED = [sample for sample in VARYING if sample.torch and not sample.random]

Pair = tuple[Array, "Array | None"]
"""A value and its tangent, None where it has none."""


def directions(sample: Sample) -> dict[int, Array]:
    """Along what each differentiated array of the sample moves."""
    bound, variables = Bound(sample), variables_of(sample)
    return {i: weights(i, bound.arrays[i], DIRECTION) for i in (bound.continuous if variables is None else variables)}


def call(side: Side, sample: Sample, dual: Callable[[Any, Any], Any], along: dict[int, Array]) -> list[Any]:
    """The sample's results, with duals in the place of what moves."""
    bound = Bound(sample)
    if sample.random:
        side.seed()
    tensors = [dual(side.tensor(a), side.tensor(along[i])) if i in along else side.tensor(a) for i, a in enumerate(bound.arrays)]
    return flatten(side, bound.call(side, tensors))


def tangents(engine: Telegrad, sample: Sample) -> list[Pair]:
    """Values and tangents."""
    level = ForwardLevel()
    with entered(level):
        found = call(engine, sample, lambda x, t: make_dual(level, x, t), directions(sample))
        pairs = [(y.primal, y.tangent) if isinstance(y, Dual) else (y, None) for y in found]
        return [(array(engine, y), None if t is None else engine.array(t)) for y, t in pairs]


def array(side: Side, value: Any) -> Array:
    """The values of a tensor, or what is one already."""
    return side.array(value) if side.is_tensor(value) else np.asarray(value)


def torchs(sample: Sample) -> list[Pair] | None:
    """Values and tangents in PyTorch; None where it has no forward mode for what the sample calls."""
    side = torch_side()
    forward = side.torch.autograd.forward_ad
    with warnings.catch_warnings(), forward.dual_level():
        warnings.simplefilter("ignore")
        try:
            found = call(side, sample, forward.make_dual, directions(sample))
        except NotImplementedError:
            return None
        pairs = [tuple(forward.unpack_dual(y)) if side.is_tensor(y) else (y, None) for y in found]
        return [(array(side, y), None if t is None else side.array(t)) for y, t in pairs]


def differences_along(side: Side, sample: Sample) -> list[Array]:
    """Central differences of every result, summed over the arrays that move, one after another."""
    bound = Bound(sample)

    def values(moving: int, step: Array) -> list[Array]:
        if sample.random:
            side.seed()
        tensors = [side.tensor(a + step if i == moving else a) for i, a in enumerate(bound.arrays)]
        return [array(side, y) for y in flatten(side, bound.call(side, tensors))]

    pairs = [(values(i, STEP * d), values(i, -STEP * d)) for i, d in directions(sample).items()]
    changes = [
        [(a - b) / (2 * STEP) if a.dtype.kind in "fc" else a for a, b in zip(ahead, behind, strict=True)] for ahead, behind in pairs
    ]
    return [np.asarray(sum(parts)) if parts[0].dtype.kind in "fc" else parts[0] for parts in zip(*changes, strict=True)]


@for_each_sample(SMOOTH)
def test_tangents_agree_with_finite_differences(engine: Telegrad, sample: Sample) -> None:
    for (value, tangent), measured in zip(tangents(engine, sample), differences_along(engine, sample), strict=True):
        if value.dtype.kind in "fc":
            found = np.zeros_like(measured) if tangent is None else tangent
            scale = 1 + float(np.max(np.abs(value), initial=0, where=np.isfinite(value)))
            assert np.allclose(found, measured, rtol=1e-5, atol=1e-6 * scale, equal_nan=True)


def disagrees_with_itself(sample: Sample) -> bool:
    """Where PyTorch's tangent is not the derivative, or has another type than its result."""
    arrays = Bound(sample).arrays
    kinds = {a.dtype.kind for a in arrays}
    if sample.op == "pow" and kinds == {"f", "c"}:
        return True  # a real exponent's part of a complex result is cut to its real part
    if sample.op == "det" and sample.note == "singular":
        return True  # zero instead of the cofactors' product with the change
    if sample.note in ("mean of nothing", "all ignored") or (sample.op == "logsumexp" and 0 in arrays[0].shape):
        return True  # NaN, where its backward says zero
    if sample.op == "binary_cross_entropy_with_logits" and len({a.dtype for a in arrays}) > 1:
        return True
    if sample.op == "cholesky_inverse" or sample.call == "triangular_solve":
        return True  # moved also by the triangle that is not read
    if sample.op == "scatter_reduce" and any(type(a) is str and a == "prod" for a in sample.args):
        return True  # none at all
    if sample.note == "tie with what is left out":
        return True  # shared among those that count, where its backward counts one more
    if sample.op == "logcumsumexp" and 0 in arrays[0].shape:
        return True  # looks for the largest of nothing
    if sample.op == "median" and sample.note == "nan":
        return True  # NaN, where its backward shares evenly among the elements that are
    if sample.call == "nn.functional.gaussian_nll_loss" and sample.note == "below eps":
        return True  # its backward ignores the bound, its tangent does not
    return "dtype" in sample.kwargs and "norm" in sample.op


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare tangents with")
@for_each_sample([s for s in COMPARED if not disagrees_with_itself(s)])
def test_tangents_agree_with_the_reference(engine: Telegrad, sample: Sample) -> None:
    wanted = torchs(sample)
    if wanted is None:
        return
    found = tangents(engine, sample)

    assert compare(found, wanted, precision_of(Bound(sample).arrays)) == []


def compare(found: Sequence[Pair], wanted: Sequence[Pair], precision: str) -> list[str]:
    """Where tangents differ, or exist on one side only and are not zero."""
    wrong: list[str] = []
    for i, ((_, mine), (value, theirs)) in enumerate(zip(found, wanted, strict=True)):
        if mine is None and theirs is None:
            continue
        zeros = np.zeros_like(value)
        said = difference(zeros if mine is None else mine, zeros if theirs is None else theirs, slack=20, precision=precision)
        if said:
            wrong.append(f"tangent {i}: {said}")
    return wrong


@pytest.mark.parametrize("name", OPS)
def test_every_op_has_a_rule_for_its_tangent(name: str) -> None:
    kind = forward_rules.kind_of(name)

    assert (kind == "constant") == (not OPS[name].differentiable)


def test_rules_are_made_of_ops_that_travel() -> None:
    """A rule runs where the tensors are not: it may use no op that only the engine makes, except on such an op itself."""
    source = inspect.getsource(forward_formulas) + inspect.getsource(forward_ways)
    used = set(re.findall(r'do\("([^"]+)"', source))

    assert used
    assert not [name for name in used if OPS[name].namespace == "internal"]


def test_rules_name_ops_only() -> None:
    assert set(forward_rules.RULES) | set(forward_ways.ADDED) | forward_formulas.NEED_RESULT <= set(OPS)


def test_only_ops_without_derivative_have_no_tangent(engine: Telegrad) -> None:
    level = ForwardLevel()
    with entered(level):
        x = make_dual(level, engine.tensor(np.array([0.5, -1.5])), engine.tensor(np.array([1.0, 2.0])))

        assert x.floor().tangent.tolist() == [0.0, 0.0]
        assert x.detach().tangent is None
        assert not isinstance(x > 0, Dual)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_tangent_of_an_alignment_is_right_behind_log_softmax(engine: Telegrad, reduction: str) -> None:
    session = engine.session
    x, along = [session.tensor(np.random.default_rng(seed).normal(size=(5, 2, 4))) for seed in (1, 2)]
    targets = session.tensor([[1, 2], [3, 1]])

    def losses(logits: Any) -> Any:
        logs = logits.log_softmax(2)
        return telegrad.nn.functional.ctc_loss(logs, targets, (5, 4), (2, 1), reduction=reduction)

    value, tangent = telegrad.func.jvp(losses, (x,), (along,))

    ahead, behind = losses(x + along * STEP), losses(x - along * STEP)
    assert np.allclose(value.numpy(), losses(x).numpy())
    assert np.allclose(tangent.numpy(), ((ahead - behind) / (2 * STEP)).numpy(), rtol=1e-6)
