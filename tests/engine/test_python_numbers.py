"""Tensors among Python's and numpy's numbers, and under Python's own protocols."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.tensor.arrays import OPERATORS
from tests.places import open_session

SCALARS: tuple[Any, ...] = (np.float32(2.5), np.float64(2.5), np.float16(2.5), np.int64(3), np.uint8(3))


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "lt", "ge"])
def test_a_numpy_scalar_counts_as_the_python_number(scalar: Any, name: str) -> None:
    operate = getattr(operator, name)
    x: Any = telegrad.tensor([1.0, 2.0, 3.0])

    for mixed, plain in ((operate(x, scalar), operate(x, scalar.item())), (operate(scalar, x), operate(scalar.item(), x))):
        assert mixed.dtype is plain.dtype is (telegrad.bool if name in ("eq", "lt", "ge") else telegrad.float32)
        assert mixed.tolist() == plain.tolist()


def test_numpy_scalars_are_parameters_and_written_values_too() -> None:
    x: Any = telegrad.tensor([1.0, 2.0, 3.0])

    assert x.add(1, alpha=np.float32(2)).tolist() == [3.0, 4.0, 5.0]
    assert x.clamp(np.float32(1.5), np.int8(2)).tolist() == [1.5, 2.0, 2.0]
    assert x.masked_fill(x > 1, np.float64(9)).tolist() == [1.0, 9.0, 9.0]
    x += np.float32(1)
    x[0] = np.float32(7)
    assert x.tolist() == [7.0, 3.0, 4.0]
    assert np.float32(7) in x


def test_an_array_on_the_left_is_no_operand_and_the_error_says_what_to_do() -> None:
    x: Any = telegrad.tensor([1.0, 2.0])

    for operate in (operator.add, operator.mul):
        with pytest.raises(TypeError, match=r"make the array a tensor first, with telegrad\.tensor\(array\)"):
            operate(np.array([1.0, 2.0]), x)


def test_a_0d_tensor_is_formatted_as_its_number() -> None:
    x = telegrad.tensor(2.5, requires_grad=True)

    assert f"{x}" == "2.5"
    assert f"{x:.2f}" == "2.50"
    assert f"{telegrad.tensor([1.5])}" == "tensor([1.5000])"
    with pytest.raises(TypeError, match="unsupported format string"):
        format(telegrad.ones(2), ".2f")


def test_numbers_come_out_of_one_real_element_only() -> None:
    assert float(telegrad.tensor([2.5])) == 2.5
    assert int(telegrad.tensor(2 + 0j)) == 2
    with pytest.raises(RuntimeError, match="without overflow"):
        float(telegrad.tensor(1 + 2j))
    with pytest.raises(ValueError, match="only one element tensors"):
        float(telegrad.ones(2))


def test_reversed_flips_the_first_dimension() -> None:
    flipped: Any = reversed(telegrad.tensor([[1, 2], [3, 4]]))

    assert flipped.tolist() == [[3, 4], [1, 2]]


def test_contains_takes_tensors_and_numbers_only() -> None:
    x = telegrad.tensor([1.0, 2.0])

    assert 2 in x
    with pytest.raises(RuntimeError, match="only supports Tensor or scalar"):
        operator.contains(x, "a")


def test_deepcopy_of_a_leaf_has_its_own_memory_and_gradient_in_the_same_session() -> None:
    x = telegrad.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()

    twin, again = copy.deepcopy([x, x])

    assert twin is again
    assert twin.is_leaf
    assert twin.requires_grad
    assert x.grad is not None
    assert twin.grad is not None
    assert twin.grad is not x.grad
    assert twin.grad.tolist() == [2.0, 4.0]
    with telegrad.no_grad():
        twin.mul_(10)
    assert x.tolist() == [1.0, 2.0]
    assert (x + twin).tolist() == [11.0, 22.0]


def test_copy_of_a_leaf_shares_its_memory() -> None:
    x = telegrad.tensor([1.0, 2.0], requires_grad=True)

    twin = copy.copy(x)

    assert twin is not x
    assert twin.is_leaf
    assert twin.requires_grad
    with telegrad.no_grad():
        twin[0] = 9.0
    assert x.tolist() == [9.0, 2.0]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_tensor_with_history_is_not_copied(duplicate: Any) -> None:
    y = telegrad.ones(2, requires_grad=True) * 2

    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        duplicate(y)


def test_a_tensor_is_not_pickled() -> None:
    with pytest.raises(TypeError, match=r"pickle tensor\.detach\(\)\.numpy\(\)"):
        pickle.dumps(telegrad.ones(2))


def test_one_value_for_a_whole_mask_is_converted() -> None:
    x = telegrad.tensor([1.0, 2.0])

    x[x > 1] = telegrad.tensor(3)

    assert x.tolist() == [1.0, 3.0]


def test_names_of_types_and_questions_about_them_are_pytorchs() -> None:
    assert telegrad.long is telegrad.int64
    assert telegrad.float is telegrad.float32
    assert telegrad.promote_types(telegrad.int32, telegrad.float32) is telegrad.float32
    assert telegrad.result_type(telegrad.ones(2), 1.5) is telegrad.float32
    assert telegrad.result_type(telegrad.ones(2), telegrad.tensor(1.5, dtype=telegrad.float64)) is telegrad.float32
    assert telegrad.result_type(1, 2) is telegrad.int64
    assert telegrad.can_cast(telegrad.float64, telegrad.float32)
    assert not telegrad.can_cast(telegrad.float32, telegrad.int64)
    assert telegrad.broadcast_shapes((2, 1), (3,), 3) == (2, 3)
    assert telegrad.get_default_dtype() is telegrad.float32
    assert telegrad.is_tensor(telegrad.ones(1))
    assert not telegrad.is_tensor(1)
    assert telegrad.numel(telegrad.ones(2, 3)) == 6
    assert telegrad.is_floating_point(telegrad.ones(1))
    assert telegrad.is_complex(telegrad.tensor(1j))
    assert telegrad.is_nonzero(telegrad.tensor([2]))


def test_sizes_are_given_in_one_way() -> None:
    assert telegrad.zeros(size=(2, 3)).shape == telegrad.ones(2, 3).shape == telegrad.rand([2, 3]).shape == (2, 3)
    for call in (lambda: telegrad.zeros(2, size=(2,)), lambda: telegrad.ones(4).view(2, 2, size=(2, 2)), telegrad.zeros):
        with pytest.raises(TypeError, match="size"):
            call()


@pytest.mark.parametrize("place", ["local", "asgi"])
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("kind", ["int64", "float32", "float64"])
def test_an_array_on_the_right_counts_as_numpy_counts_both(name: str, kind: str, place: str) -> None:
    array = np.array([1, 3], kind)
    with open_session(place) as session:
        x = session.tensor([3, 4])
        if name in ("and_", "or_", "xor", "lshift", "rshift") and kind != "int64":
            with pytest.raises(NotImplementedError):
                OPERATORS[name](x, array)
            return

        found = OPERATORS[name](x, array)

        wanted = OPERATORS[name](np.array([3, 4]), array)
        assert isinstance(found, telegrad.Tensor)
        assert (found.numpy().dtype, found.tolist()) == (wanted.dtype, wanted.tolist())


def test_arrays_meet_no_gradients_and_are_refused_on_the_left() -> None:
    x: Any = telegrad.tensor([3.0, 4.0], requires_grad=True)
    array = np.array([1.0, 3.0])

    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
        operator.add(x, array)
    with pytest.raises(TypeError):
        operator.add(array, x.detach())
    with telegrad.no_grad():
        assert (x + array).tolist() == [4.0, 7.0]
    assert (array / x.detach()).tolist() == pytest.approx([1 / 3, 3 / 4])
    changed = before = x.detach()
    changed += array
    assert changed is not before
    assert changed.dtype is telegrad.float64
