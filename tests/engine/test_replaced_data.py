"""Data of another shape or type, put into a tensor that a graph was recorded with: each use of that graph says so."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
from telegrad.errors import AutogradError
from tests.references.sides import Telegrad

pytestmark = pytest.mark.usefixtures("engine")


def of(*shape: int, dtype: str = "float64") -> telegrad.Tensor:
    return telegrad.tensor(np.ones(shape, dtype))


def test_a_root_that_got_another_shape_cannot_be_walked_from():
    y = of(2, 3).requires_grad_() * 2
    y.data = of(3, 2)
    with pytest.raises(AutogradError, match=r"gradient of \[3, 2\] arrived where the graph expects \[2, 3\]"):
        y.backward(of(3, 2))


def test_a_leaf_that_got_another_shape_takes_no_gradient_of_the_old_one():
    x = of(2, 3).requires_grad_()
    y = x * 2
    x.data = of(3, 2)
    with pytest.raises(AutogradError, match="replaced by data of another"):
        y.backward(of(2, 3))


def test_a_gradient_of_the_old_shape_is_not_added_to():
    x = of(2, 3).requires_grad_()
    (x * 2).sum().backward()
    x.data = of(3, 2)
    with pytest.raises(AutogradError, match="replaced by data of another"):
        (x * 2).sum().backward()


def test_a_complex_gradient_is_not_added_to_a_real_one():
    x = of(3).requires_grad_()
    (x * 2).sum().backward()
    x.data = of(3, dtype="complex128")
    with pytest.raises(AutogradError, match="replaced by data of another"):
        (x * 2).abs().sum().backward()


def test_gradients_of_slices_find_the_leaf_changed():
    x = of(3).requires_grad_()
    first, second = x[0], x[1]
    total = first + second
    x.data = of(3, 3)
    with pytest.raises(AutogradError, match="replaced by data of another"):
        (total + x.sum()).backward()


def test_a_view_that_has_no_place_in_its_base_any_more_says_so(engine: Telegrad):
    base = of(2, 3).requires_grad_() * 1
    row = base[1]
    base.data = of(1, 3)
    base.mul_(2)
    with pytest.raises(AutogradError, match="no place in its base"):
        _ = row.grad_fn
