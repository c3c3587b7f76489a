"""``out=``: the result in a tensor that is there already."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest

import telegrad
from telegrad.errors import ArgumentTypeError, AutogradError, DTypeError
from tests.references.evaluation import Bound, is_in_place
from tests.references.sides import HAS_TORCH, Side, Telegrad, torch_side
from tests.samples import Sample
from tests.samples.table import SAMPLES

FUNCTIONS = {
    s.call: s for s in reversed(SAMPLES) if s.torch and not s.random and not s.call.startswith("Tensor.") and not is_in_place(s)
}
"""The first sample of each function."""


def with_out(side: Side, sample: Sample, shape: tuple[int, ...] | None) -> tuple[Any, Any]:
    """What the sample's function returns, and what it returns given tensors of that shape, or of its own, to write to."""
    bound = Bound(sample)
    plain = bound.call(side, [side.tensor(a) for a in bound.arrays])
    several = isinstance(plain, tuple)
    targets = [r.new_zeros(tuple(r.shape) if shape is None else shape) for r in (plain if several else (plain,))]
    more = dataclasses.replace(sample, kwargs={**sample.kwargs, "out": tuple(targets) if several else targets[0]})
    made = Bound(more).call(side, [side.tensor(a) for a in bound.arrays])
    assert [id(r) for r in (made if several else (made,))] == [id(t) for t in targets]
    return plain, made


@pytest.mark.parametrize("shape", [(0,), None], ids=["empty", "of that shape"])
@pytest.mark.parametrize("call", sorted(FUNCTIONS))
def test_a_function_takes_out_where_the_reference_does(engine: Telegrad, call: str, shape: tuple[int, ...] | None) -> None:
    sample = FUNCTIONS[call]
    taken = takes_out(engine, sample, shape)
    if taken:
        plain, made = with_out(engine, sample, shape)
        assert repr(made) == repr(plain)
    if HAS_TORCH and call not in KINDER:
        assert taken == takes_out(torch_side(), sample, shape)


KINDER = {
    *("median", "nanmedian", "sum", "prod", "std", "var", "nonzero", "argsort"),  # in the reference only with other arguments
    *("special.softmax", "special.log_softmax", "nn.functional.softmax", "nn.functional.log_softmax"),  # one function here
}


def takes_out(side: Side, sample: Sample, shape: tuple[int, ...] | None) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with_out(side, sample, shape)
        except (TypeError, AttributeError):  # no such argument; no tensors
            return False
    return True


def test_the_write_is_one_in_place() -> None:
    x, out = telegrad.tensor([1.0, 2.0]), telegrad.zeros(4)

    returned = telegrad.mul(x, 3, out=out[1:3])

    assert out.tolist() == [0.0, 3.0, 6.0, 0.0]
    assert returned.tolist() == [3.0, 6.0]
    assert out._version == 1
    assert telegrad.add(x, x, out=x) is x
    assert x.tolist() == [2.0, 4.0]


def test_a_result_is_converted_as_in_place() -> None:
    x = telegrad.tensor([1, 2])

    assert telegrad.add(x, x, out=telegrad.zeros(2, dtype=telegrad.float64)).tolist() == [2.0, 4.0]
    with pytest.raises(DTypeError, match="result type float32 can't be cast to the desired output type int64"):
        telegrad.exp(x, out=x)
    with pytest.raises(DTypeError, match="Expected out tensor to have dtype int64, but got float32"):
        telegrad.argmax(x, out=telegrad.zeros(()))
    with pytest.raises(ArgumentTypeError, match="input types can't be cast"):
        telegrad.cat([telegrad.ones(2)], out=x)
    assert x.tolist() == [1, 2]


def test_what_makes_tensors_makes_them_in_the_type_of_out() -> None:
    out = telegrad.zeros(2, dtype=telegrad.float64)

    assert telegrad.ones(2, out=out) is out
    assert (out.dtype, out.tolist()) == (telegrad.float64, [1.0, 1.0])
    assert telegrad.sum(telegrad.tensor([1.5, 2.5]), 0, out=telegrad.zeros((), dtype=telegrad.int64)).item() == 3
    with pytest.raises(DTypeError, match="Expected out tensor"):
        telegrad.ones(2, dtype=telegrad.float32, out=out)


def test_a_tensor_of_another_shape_is_given_the_results_and_that_is_said() -> None:
    x, empty, full = telegrad.tensor([1.0, 2.0]), telegrad.empty(0), telegrad.zeros(3)

    telegrad.neg(x, out=empty)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        telegrad.neg(x, out=full)

    assert empty.tolist() == full.tolist() == [-1.0, -2.0]


def test_what_is_given_back_as_it_is_shares_no_memory_with_out() -> None:
    x, out = telegrad.tensor([1.0, 2.0]), telegrad.empty(0)

    telegrad.conj_physical(x, out=out)
    out.add_(1)

    assert x.tolist() == [1.0, 2.0]


def test_gradients_do_not_go_through_it() -> None:
    x = telegrad.tensor([1.0], requires_grad=True)

    with pytest.raises(AutogradError, match=r"mul\(\): functions with out=... arguments don't support automatic differentiation"):
        telegrad.mul(x, 2, out=telegrad.empty(0))
    with pytest.raises(AutogradError, match="one of the arguments requires grad"):
        telegrad.cat([telegrad.ones(1), x], out=telegrad.empty(0))
    with pytest.raises(AutogradError, match="one of the arguments requires grad"):
        telegrad.exp(x.detach(), out=x)
    with telegrad.no_grad():
        assert not telegrad.mul(x, 2, out=telegrad.empty(0)).requires_grad
        assert telegrad.mul(x.detach(), 2, out=x).requires_grad


def test_what_is_no_tensor_is_refused() -> None:
    x = telegrad.ones(2)

    with pytest.raises(ArgumentTypeError, match=r"exp\(\): argument 'out' must be Tensor, not float"):
        telegrad.exp(x, out=1.0)
    with pytest.raises(ArgumentTypeError, match="must be tuple of 2 Tensors"):
        telegrad.sort(x, out=x)
    with pytest.raises(ArgumentTypeError, match="must be Tensor, not 1 in a tuple"):
        telegrad.exp(x, out=(x,))
    with pytest.raises(TypeError, match="unexpected keyword argument 'out'"):
        telegrad.flip(x, (0,), out=x)  # it takes none, as in PyTorch
    assert telegrad.exp(x, out=None) is not x
