"""In-place ops and views: what history becomes, what saved values notice, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
from telegrad import autograd
from telegrad.contract.errors import LeafError, VersionError
from telegrad.contract.tensor.tensor import Tensor


def leaf(*values: float) -> Tensor:
    return telegrad.tensor(list(values or (1, 2, 3)), dtype="float32", requires_grad=True)


def grads(loss: Tensor, *inputs: Tensor):
    return [None if g is None else g.tolist() for g in autograd.grad(loss, inputs, allow_unused=True)]


# History ----------------------------------------------------------------------------------------------------------------


def test_a_write_replaces_the_history():
    x = leaf()
    y = x * 2

    assert y.mul_(3) is y

    assert y.grad_fn.name() == "MulBackward0"
    assert grads(y.sum(), x) == [[6, 6, 6]]


def test_a_leaf_without_gradient_joins_the_graph_by_a_write():
    x, y = leaf(), telegrad.ones(3)

    y.add_(x)

    assert y.requires_grad
    assert not y.is_leaf
    assert grads((y * y).sum(), x) == [[4, 6, 8]]


def test_multiplying_in_place_needs_the_value_before():
    x, w = leaf(), leaf(4, 5, 6)
    y = x * 1

    y.mul_(w)

    assert grads(y.sum(), x, w) == [[4, 5, 6], [1, 2, 3]]


def test_multiplying_by_itself_in_place():
    x = leaf()
    y = x * 1

    y.mul_(y)

    assert grads(y.sum(), x) == [[2, 4, 6]]


def test_zeroing_in_place_cuts_the_gradient():
    x = leaf()
    y = x * 2

    y.zero_()

    assert y.requires_grad
    assert grads(y.sum(), x) == [[0, 0, 0]]


def test_copying_in_place_carries_the_gradient_of_the_source():
    x, y = leaf(), telegrad.zeros(2, 3)

    y.copy_(x)

    assert grads((y * 2).sum(), x) == [[4, 4, 4]]


def test_second_derivatives_go_through_writes():
    x = telegrad.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    y = x * x
    y.mul_(x)

    (g,) = autograd.grad(y.sum(), x, create_graph=True)

    assert g.tolist() == [3, 12]
    assert grads(g.sum(), x) == [[6, 12]]


def test_a_write_under_no_grad_keeps_the_history():
    x = leaf()
    y = x * 2
    with telegrad.no_grad():
        y.add_(10)

    assert y.tolist() == [12, 14, 16]
    assert y._version == 1
    assert grads(y.sum(), x) == [[2, 2, 2]]


def test_an_optimiser_step_under_no_grad_changes_the_leaf():
    x = leaf()
    (x * x).sum().backward()
    with telegrad.no_grad():
        x.sub_(x.grad, alpha=0.5)

    assert x.tolist() == [0, 0, 0]
    assert x.is_leaf
    assert x.requires_grad


@pytest.mark.parametrize("shape", [(3, 2**18), (2**18 + 7,), (5,)])
def test_a_scaled_write_has_the_bits_of_its_two_halves(shape):
    rng = np.random.default_rng(0)
    x, y = (telegrad.tensor(rng.normal(size=shape).astype(np.float32)) for _ in range(2))
    expected = x.numpy() - y.numpy() * 0.3

    x.sub_(y, alpha=0.3)

    assert np.array_equal(x.numpy(), expected)
    assert x._version == 1


def test_a_scaled_write_of_a_large_tensor_into_itself():
    x = telegrad.ones(2**19)

    x.add_(x, alpha=2)

    assert (x == 3).all()


def test_the_retained_gradient_is_the_one_after_the_write():
    x = leaf()
    y = x * 2
    y.retain_grad()

    y.mul_(3)
    y.sum().backward()

    assert y.retains_grad
    assert y.grad.tolist() == [1, 1, 1]
    assert x.grad.tolist() == [6, 6, 6]


# Views ------------------------------------------------------------------------------------------------------------------


def test_a_write_through_a_view_reaches_the_base():
    x = leaf()
    y = x * 1
    y.select(0, 1).mul_(10)

    assert y.tolist() == [1, 20, 3]
    assert y.grad_fn.name() == "CopySlices"
    assert grads(y.sum(), x) == [[1, 10, 1]]


def test_a_write_of_another_history_through_a_view():
    x, w = leaf(), leaf(7)
    y = x * 1

    y.narrow(0, 1, 1).copy_(w)

    assert grads((y * y).sum(), x, w) == [[2, 0, 6], [14]]


def test_a_plain_base_joins_the_graph_through_its_view():
    x, y = leaf(), telegrad.zeros(3)
    v = y.select(0, 1)

    v.add_(x.select(0, 2))

    assert y.requires_grad
    assert v.requires_grad
    assert grads((y * 5).sum(), x) == [[0, 0, 5]]
    assert grads(v * 7, x) == [[0, 0, 7]]


def test_a_write_to_the_base_changes_its_views_history():
    x = leaf()
    y = x * 1
    v = y.view(3, 1)

    y.mul_(2)

    assert v.tolist() == [[2], [4], [6]]
    assert v.grad_fn.name() == "ViewBackward0"
    assert grads(v.sum(), x) == [[2, 2, 2]]


def test_a_write_to_one_view_changes_another_view():
    x = leaf()
    y = x * 1
    a, b = y.narrow(0, 0, 2), y.narrow(0, 1, 2)

    a.mul_(10)

    assert b.tolist() == [20, 3]
    assert grads(b.sum(), x) == [[0, 10, 1]]


def test_views_of_views_lead_to_the_same_base():
    x = leaf(1, 2, 3, 4)
    y = x * 1
    inner = y.view(2, 2).transpose(0, 1).select(0, 1)

    inner.mul_(10)

    assert y.tolist() == [1, 20, 3, 40]
    assert grads(y.sum(), x) == [[1, 10, 1, 10]]


def test_a_view_made_before_the_base_joined_the_graph():
    x, y = leaf(), telegrad.zeros(3)
    v = y.narrow(0, 1, 2)

    y.copy_(x)

    assert v.requires_grad
    assert grads((v * v).sum(), x) == [[0, 4, 6]]


def test_a_retained_gradient_of_a_view_follows_a_write_to_it():
    x = leaf()
    y = x * 1
    v = y.narrow(0, 0, 2)
    v.retain_grad()

    v.mul_(2)
    (v * 5).sum().backward()

    assert v.retains_grad
    assert v.grad.tolist() == [5, 5]
    assert x.grad.tolist() == [10, 10, 0]


def test_gradients_of_a_view_of_a_leaf_reach_the_leaf():
    x = leaf()

    x.narrow(0, 0, 2).sum().backward()

    assert x.grad.tolist() == [1, 1, 0]


def test_writes_through_views_have_second_derivatives():
    x = telegrad.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)

    def function(a):
        y = a * a
        y.narrow(0, 1, 2).mul_(a.narrow(0, 0, 2))
        return y

    assert autograd.gradcheck(function, (x,))
    assert autograd.gradgradcheck(function, (x,))


def test_an_item_assignment_is_a_write_through_a_view():
    x = leaf()
    y = x * 2

    y[0] = 5.0
    y[1:] = x[:2] * 10

    assert y.tolist() == [5, 10, 20]
    assert grads(y.sum(), x) == [[10, 10, 0]]


def test_a_write_through_an_empty_view_still_passes_history_on():
    x, v = leaf(), telegrad.zeros(0, requires_grad=True)
    y = x * 2

    y.narrow(0, 1, 0).copy_(v)
    y.sum().backward()

    assert v.grad.shape == (0,)
    assert x.grad.tolist() == [2, 2, 2]


# What saved values notice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [lambda y: y * y, lambda y: y.exp(), lambda y: y.sin(), lambda y: y.view(3, 1) ** 3],
    ids=["product", "result", "input", "view"],
)
def test_changing_a_value_that_backward_needs_is_noticed(make):
    x = leaf()
    y = x * 1
    z = make(y)
    z.add_(1)
    y.add_(1)

    with pytest.raises(VersionError, match="has been modified by an inplace operation"):
        z.sum().backward()


def test_changing_a_value_that_backward_does_not_need_is_harmless():
    x = leaf()
    y = x * 1
    z = y + 1
    y.add_(1)

    z.sum().backward()

    assert x.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "write",
    [lambda y: y.view(3, 1).add_(1), lambda y: y.detach().add_(1), lambda y: y.select(0, 0).zero_()],
    ids=["view", "detached", "select"],
)
def test_a_change_through_any_alias_is_noticed(write):
    x = leaf()
    y = x * 1
    z = y.exp()
    z = z * z
    w = y * y
    write(y)

    with pytest.raises(VersionError, match="at version 1; expected version 0 instead"):
        (w + z).sum().backward()


def test_a_change_of_a_leaf_under_no_grad_is_noticed():
    x = leaf()
    y = x * x
    with telegrad.no_grad():
        x.add_(1)

    with pytest.raises(VersionError):
        y.sum().backward()


def test_a_written_result_that_was_saved_is_noticed_when_written_again():
    x = leaf()
    y = x * 1
    y.exp_()
    assert grads(y.sum(), x) != [None]
    y = x * 1
    y.exp_()
    y.add_(1)

    with pytest.raises(VersionError):
        y.sum().backward()


def test_versions_count_writes_of_the_storage():
    x = telegrad.ones(3)
    v = x.view(3, 1)
    assert (x._version, v._version) == (0, 0)

    x.add_(1)
    v.mul_(2)

    assert (x._version, v._version, x.clone()._version) == (2, 2, 0)


# Refusals ---------------------------------------------------------------------------------------------------------------


def test_a_leaf_that_requires_grad_cannot_be_written():
    with pytest.raises(LeafError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        leaf().add_(1)


def test_nor_can_a_view_of_it():
    with pytest.raises(LeafError, match="a view of a leaf Variable that requires grad is being used in an in-place"):
        leaf().select(0, 0).add_(1)


def test_nor_can_a_view_that_is_such_a_leaf_itself():
    v = telegrad.zeros(3).narrow(0, 1, 2).requires_grad_()

    with pytest.raises(LeafError, match="a view of a leaf"):
        v.add_(1)


def test_one_of_several_views_cannot_be_written():
    y = leaf() * 1

    with pytest.raises(LeafError, match="Output 1 of Unbind is a view and is being modified inplace"):
        y.unbind()[1].add_(1)


def test_one_of_several_views_of_a_plain_tensor_can_be_written_with_plain_values_only():
    x, y = leaf(), telegrad.zeros(3)
    first = y.split(1)[0]

    first.add_(1)

    assert y.tolist() == [1, 0, 0]
    with pytest.raises(LeafError, match="multiple views"):
        first.add_(x.narrow(0, 0, 1))


def test_a_view_made_without_recording_cannot_be_written_while_recording():
    y = leaf() * 1
    with telegrad.no_grad():
        v = y.select(0, 0)

    with pytest.raises(LeafError, match="A view was created in no_grad mode and is being modified inplace"):
        v.add_(1)
    with telegrad.no_grad():
        v.add_(1)
    assert y.tolist() == [2, 2, 3]


def test_an_expanded_tensor_cannot_be_written():
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        telegrad.ones(1).expand(3).add_(1)


def test_a_result_that_does_not_fit_is_refused_and_nothing_changes():
    y = telegrad.ones(3)

    with pytest.raises(RuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"):
        y.add_(telegrad.ones(2, 3))
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type int64"):
        telegrad.ones(3, dtype="int64").add_(1.5)
    assert (y.tolist(), y._version) == ([1, 1, 1], 0)


def test_a_program_that_changes_a_saved_value_is_noticed():
    w, g = leaf(), telegrad.ones(3)
    update = telegrad.function(lambda w, g: w.sub_(g))
    with telegrad.no_grad():
        for _ in range(4):  # it is compiled by then
            update(w, g)
    y = (w * w).sum()

    with telegrad.no_grad():
        update(w, g)

    with pytest.raises(VersionError, match="is at version 5; expected version 4"):
        y.backward()


def test_a_graph_made_after_a_write_saves_what_the_write_left():
    x = leaf()
    with telegrad.no_grad():
        x.mul_(2)
    y = (x * x).sum()

    with telegrad.no_grad():
        telegrad.ones(3).add_(1)  # somebody else's

    y.backward()

    assert x.grad.tolist() == [4, 8, 12]
