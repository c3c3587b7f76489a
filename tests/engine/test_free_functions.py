"""Free functions at the top level that PyTorch has there too: what they do is what the method, or nn.functional, does."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

import telegrad
import telegrad.nn.functional
from tests.references.sides import HAS_TORCH, torch_side

IN_PLACE = importlib.import_module("telegrad._functions.inplace").__all__
LAYERS = importlib.import_module("telegrad._functions.nn").__all__

TWO = {"addmv_", "gcd_", "index_put_", "lcm_", "ldexp_", "xlogy_", "fill_", "clamp_", "clip_", "clamp_max_", "clamp_min_"}
"""Those that take more than the tensor."""


@pytest.mark.parametrize("name", sorted(set(IN_PLACE) - TWO))
def test_a_function_in_place_changes_its_tensor(name: str) -> None:
    x, y = telegrad.tensor([0.25, 1.0]), telegrad.tensor([0.25, 1.0])

    returned = getattr(telegrad, name)(x)
    getattr(y, name)()

    assert returned is x
    assert repr(x) == repr(y)


def test_functions_in_place_take_what_the_methods_take() -> None:
    x = telegrad.tensor([1.0, 4.0])

    assert telegrad.clamp_(x, max=3).tolist() == [1.0, 3.0]
    assert telegrad.fill_(x, 2).tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match=r"exp_\(\): argument 'input'"):
        telegrad.exp_([1.0])  # type: ignore[type-var]  # what is wrong here


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to have the names from")
@pytest.mark.parametrize("name", [*IN_PLACE, *LAYERS])
def test_the_name_is_at_the_top_of_the_reference_too(name: str) -> None:
    assert hasattr(torch_side().torch, name)


@pytest.mark.parametrize(
    ("name", "shapes", "more"),
    [
        ("conv2d", ((1, 2, 4, 4), (3, 2, 2, 2)), ()),
        ("layer_norm", ((2, 3),), ((3,),)),
        ("max_pool1d", ((1, 1, 6),), (2,)),
        ("pairwise_distance", ((2, 3), (2, 3)), ()),
        ("threshold", ((4,),), (0.1, 20.0)),
        ("prelu", ((2, 3), (3,)), ()),
    ],
)
def test_a_layer_is_what_it_is_in_nn_functional(name: str, shapes: Any, more: Any) -> None:
    telegrad.manual_seed(0)
    tensors = [telegrad.randn(*shape) for shape in shapes]

    found = getattr(telegrad, name)(*tensors, *more)

    assert found.tolist() == getattr(telegrad.nn.functional, name)(*tensors, *more).tolist()


@pytest.mark.parametrize(
    ("name", "more"), [("elu_", (0.5,)), ("celu_", (0.5,)), ("selu_", ()), ("hardtanh_", (-0.5, 0.5)), ("threshold_", (0.1, 20.0))]
)
def test_an_activation_in_place_is_the_activation(name: str, more: Any) -> None:
    functional: Any = telegrad.nn.functional
    x = telegrad.tensor([-2.0, 0.25, 3.0])

    wanted = getattr(functional, name[:-1])(x, *more)

    assert getattr(functional, name)(x, *more) is x
    assert x.tolist() == wanted.tolist()
