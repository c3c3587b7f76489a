"""``grad``: every parameter, several derivatives, and refusals with PyTorch's words."""

from __future__ import annotations

from collections import UserDict

import pytest

import telegrad
from telegrad import autograd
from telegrad.contract.errors import ArgumentTypeError, GraphFreedError, UnusedInputError
from telegrad.contract.tensor.tensor import Tensor


def leaf(*values: float) -> Tensor:
    return telegrad.tensor(list(values), dtype="float32", requires_grad=True)


def scalar(value: float) -> Tensor:
    return telegrad.tensor(value, dtype="float64", requires_grad=True)


def test_grad_touches_no_grad():
    x, w = leaf(1, 2), leaf(3, 4)

    found = autograd.grad((x * w).sum(), [x, w])

    assert [g.tolist() for g in found] == [[3, 4], [1, 2]]
    assert (x.grad, w.grad) == (None, None)
    assert not found[0].requires_grad


def test_single_tensors_need_no_sequence():
    x = leaf(1, 2)

    assert autograd.grad((x * 2).sum(), x)[0].tolist() == [2, 2]


def test_a_dict_of_inputs_gives_a_dict():
    x, w = leaf(1, 2), leaf(3, 4)

    found = autograd.grad((x * w).sum(), {"weight": w, "x": x})

    assert {name: g.tolist() for name, g in found.items()} == {"weight": [1, 2], "x": [3, 4]}


def test_another_mapping_is_refused():
    x = leaf(1, 2)

    with pytest.raises(TypeError, match="must be a dict, not UserDict"):
        autograd.grad(x.sum(), UserDict(x=x))


def test_gradients_of_non_leaves_and_leaves_in_one_call():
    x = leaf(1, 2)
    y = x * 2

    gy, gx = autograd.grad((y * y).sum(), (y, x))

    assert gy.tolist() == [4, 8]
    assert gx.tolist() == [8, 16]


def test_the_gradient_of_a_root_with_respect_to_itself_is_the_vector():
    x = leaf(1, 2)
    y = x * 2

    assert autograd.grad(y, y, telegrad.tensor([3.0, 4.0]))[0].tolist() == [3, 4]
    assert autograd.grad(x, x, telegrad.tensor([3.0, 4.0]))[0].tolist() == [3, 4]


def test_several_outputs_add_up():
    x = leaf(1, 2)

    (g,) = autograd.grad([x * 2, (x * x).sum()], x, [telegrad.ones(2), None])

    assert g.tolist() == [4, 6]


def test_repeated_inputs_get_the_same_gradient():
    x = leaf(1, 2)

    a, b = autograd.grad((x * x).sum(), (x, x))

    assert a.tolist() == b.tolist() == [2, 4]
    assert a is not b


def test_only_the_path_to_the_inputs_is_freed():
    x, w = leaf(1, 2), leaf(3, 4)
    other = w * w
    z = (x * other).sum()

    autograd.grad(z, x)

    assert autograd.grad(other.sum(), w)[0].tolist() == [6, 8]


def test_triple_backward():
    x = scalar(2.0)
    (first,) = autograd.grad(x**4, x, create_graph=True)
    (second,) = autograd.grad(first, x, create_graph=True)
    (third,) = autograd.grad(second, x, create_graph=True)
    (fourth,) = autograd.grad(third, x)

    assert [g.item() for g in (first, second, third, fourth)] == [32, 48, 48, 24]


def test_the_graph_of_a_gradient_is_freed_like_any_other():
    x = scalar(2.0)
    (first,) = autograd.grad(x**3, x, create_graph=True)
    autograd.grad(first, x)

    with pytest.raises(GraphFreedError):
        autograd.grad(first, x)


def test_a_gradient_penalty_differentiates_through_the_gradient():
    x, w = leaf(1, 2), leaf(3, 4)
    (g,) = autograd.grad((x * w * w).sum(), x, create_graph=True)

    penalty = (g * g).sum()
    penalty.backward()

    assert w.grad.tolist() == [4 * 27, 4 * 64]
    assert x.grad is None


def test_create_graph_inside_no_grad_still_records():
    x = scalar(3.0)
    y = x**2
    with telegrad.no_grad():
        (g,) = autograd.grad(y, x, create_graph=True)

    assert g.requires_grad
    assert autograd.grad(g, x)[0].item() == 2


def test_a_gradient_that_is_constant_needs_no_gradient():
    x = leaf(1, 2)

    (g,) = autograd.grad((x * 2).sum(), x, create_graph=True)

    assert g.tolist() == [2, 2]
    assert not g.requires_grad


# Unused inputs ----------------------------------------------------------------------------------------------------------


def test_an_unused_input_is_refused_by_its_index():
    x, other = leaf(1, 2), leaf(0)

    with pytest.raises(UnusedInputError, match="The differentiated Tensor at index 1 appears to not have been used"):
        autograd.grad(x.sum(), (x, other))


def test_an_unused_non_leaf_is_refused():
    x = leaf(1, 2)

    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        autograd.grad(x.sum(), x * 2)


def test_allow_unused_gives_none():
    x, other = leaf(1, 2), leaf(0)

    found = autograd.grad(x.sum(), (other, x), allow_unused=True)

    assert found[0] is None
    assert found[1].tolist() == [1, 1]


@pytest.mark.parametrize("allow_unused", [None, True])
def test_materialize_grads_gives_zeros(allow_unused):
    x, other = leaf(1, 2), telegrad.zeros(2, 3, dtype="float64", requires_grad=True)

    _, zeros = autograd.grad(x.sum(), (x, other), allow_unused=allow_unused, materialize_grads=True)

    assert zeros.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert zeros.dtype is telegrad.float64


def test_materialize_grads_contradicts_allow_unused_false():
    x = leaf(1, 2)

    with pytest.raises(ValueError, match="Expected allow_unused to be True or not passed when materialize_grads=True"):
        autograd.grad(x.sum(), x, allow_unused=False, materialize_grads=True)


def test_an_op_without_a_derivative_cuts_the_path():
    x = leaf(1, 2)

    assert not (x > 1).requires_grad
    assert not x.argmax().requires_grad
    assert not x.to("int64").requires_grad
    assert x.argmax().is_leaf


# Batches of vectors -----------------------------------------------------------------------------------------------------


def test_batched_vectors_give_batched_gradients():
    x = leaf(1, 2)

    (jacobian,) = autograd.grad(x * x, x, telegrad.eye(2), is_grads_batched=True)

    assert jacobian.tolist() == [[2, 0], [0, 4]]


def test_batched_vectors_with_create_graph_give_the_hessian():
    x = leaf(1, 2)
    (g,) = autograd.grad((x * x * x).sum(), x, create_graph=True)

    (hessian,) = autograd.grad(g, x, telegrad.eye(2), is_grads_batched=True)

    assert hessian.tolist() == [[6, 0], [0, 12]]


def test_batched_gradients_can_carry_a_graph():
    x = leaf(1, 2)

    (jacobian,) = autograd.grad(x * x, x, telegrad.eye(2), is_grads_batched=True, create_graph=True)

    assert autograd.grad(jacobian.sum(), x)[0].tolist() == [2, 2]


def test_batched_gradients_free_the_graph_at_the_end_only():
    x = leaf(1, 2)
    y = x * x
    autograd.grad(y, x, telegrad.ones(3, 2), is_grads_batched=True)

    with pytest.raises(GraphFreedError):
        autograd.grad(y, x, telegrad.ones(3, 2), is_grads_batched=True)


def test_batched_gradients_of_unused_inputs_are_as_in_pytorch():
    x, other = leaf(1, 2), leaf(0)

    kept = autograd.grad(x * 2, (x, other), telegrad.ones(3, 2), is_grads_batched=True, allow_unused=True)
    made = autograd.grad(x * 2, (x, other), telegrad.ones(3, 2), is_grads_batched=True, materialize_grads=True)

    assert kept[1] is None
    assert made[1].tolist() == [0]


@pytest.mark.parametrize(
    ("vectors", "error", "match"),
    [
        (lambda: telegrad.ones(3, 3), RuntimeError, "If `is_grads_batched=True`, we interpret the first dimension"),
        (lambda: telegrad.ones(0, 2), IndexError, "index 0 is out of bounds for dimension 0 with size 0"),
        (lambda: telegrad.tensor(1.0), IndexError, "0-dim"),
        (lambda: None, ValueError, "batch dimension"),
    ],
)
def test_batches_that_do_not_fit_are_refused(vectors, error, match):
    x = leaf(1, 2)
    given = vectors()

    with pytest.raises(error, match=match):
        autograd.grad(x * 2, x, [given], is_grads_batched=True)


def test_batches_of_different_sizes_are_refused():
    x = leaf(1, 2)

    with pytest.raises(ValueError, match="same size in the mapped dimension"):
        autograd.grad((x.sum(), x.sum()), x, (telegrad.ones(2), telegrad.ones(3)), is_grads_batched=True)


# Refusals ---------------------------------------------------------------------------------------------------------------


def test_empty_inputs_are_refused():
    with pytest.raises(RuntimeError, match=r"`inputs` argument to `grad\(\)` cannot be empty"):
        autograd.grad(leaf(1).sum(), [])


def test_without_outputs_no_input_is_used():
    x = leaf(1, 2)

    with pytest.raises(RuntimeError, match="not have been used"):
        autograd.grad([], x)
    assert autograd.grad([], x, allow_unused=True) == (None,)


def test_inputs_that_need_no_gradient_are_refused():
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        autograd.grad(leaf(1).sum(), telegrad.ones(1))


def test_outputs_without_a_graph_are_refused():
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        autograd.grad(telegrad.ones(1).sum(), leaf(1))


@pytest.mark.parametrize("arguments", [(3, 3), ([3], [3])])
def test_what_is_no_tensor_is_refused(arguments):
    with pytest.raises(ArgumentTypeError):
        autograd.grad(*arguments)
    with pytest.raises(ArgumentTypeError):
        autograd.grad(leaf(1).sum(), arguments[1])
    with pytest.raises(ArgumentTypeError):
        autograd.grad(arguments[0], leaf(1))


# Complex numbers --------------------------------------------------------------------------------------------------------


def test_complex_gradients_follow_pytorchs_convention():
    z = telegrad.tensor(1 + 2j, requires_grad=True)

    (real_loss,) = autograd.grad((z * z.conj()).real, z)
    (holomorphic,) = autograd.grad(z * z, z, telegrad.tensor(1 + 0j))

    assert real_loss.item() == 2 + 4j
    assert holomorphic.item() == 2 - 4j
