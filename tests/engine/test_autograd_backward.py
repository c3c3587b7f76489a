"""``backward``: what it adds to which ``grad``, and what it refuses, with PyTorch's words."""

from __future__ import annotations

import numpy as np
import pytest

import telegrad
from telegrad import autograd
from telegrad.contract.errors import ArgumentTypeError, AutogradError, GraphFreedError, SessionMismatchError
from telegrad.contract.tensor.tensor import Tensor


def leaf(*values: float, dtype: str = "float32") -> Tensor:
    return telegrad.tensor(list(values), dtype=dtype, requires_grad=True)


def scalar(value: float) -> Tensor:
    return telegrad.tensor(value, requires_grad=True)


def test_the_worked_example_holds_to_the_digit():
    x1, x2 = scalar(0.3939), scalar(0.7965)
    y = x1**2 + 5 * x2
    assert repr(y) == "tensor(4.1377, grad_fn=<AddBackward0>)"

    g1, g2 = autograd.grad(y, (x1, x2), telegrad.ones_like(y), retain_graph=True)
    assert (repr(g1), repr(g2)) == ("tensor(0.7878)", "tensor(5.)")
    assert x1.grad is None
    assert x2.grad is None

    assert y.backward(telegrad.ones_like(y)) is None
    assert (repr(x1.grad), repr(x2.grad)) == ("tensor(0.7878)", "tensor(5.)")

    with pytest.raises(GraphFreedError, match="Trying to backward through the graph a second time"):
        y.backward(telegrad.ones_like(y))


def test_grad_without_retain_graph_frees_the_graph_too():
    x = scalar(3.0)
    y = x**2
    autograd.grad(y, x)

    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_backward_twice_accumulates():
    x = leaf(1, 2)
    y = (x * x).sum()

    y.backward(retain_graph=True)
    y.backward()

    assert x.grad.tolist() == [4, 8]


def test_accumulation_changes_grad_in_place():
    x = leaf(1, 2)
    (x * 2).sum().backward()
    first = x.grad

    (x * 3).sum().backward()

    assert x.grad is first
    assert first.tolist() == [5, 5]
    assert first._version == 1


def test_accumulation_with_create_graph_makes_a_new_grad():
    x = leaf(1, 2)
    (x * x).sum().backward()
    first = x.grad

    (x * x).sum().backward(create_graph=True)

    assert x.grad is not first
    assert first.tolist() == [2, 4]
    assert x.grad.tolist() == [4, 8]
    assert x.grad.requires_grad


def test_a_grad_with_history_is_still_added_to_in_place_without_create_graph():
    x = leaf(1, 2)
    (x * x).sum().backward(create_graph=True)
    first = x.grad

    (x * x).sum().backward()

    assert x.grad is first
    assert first.tolist() == [4, 8]


def test_zero_in_place_then_backward_starts_again():
    x = leaf(1, 2)
    (x * 2).sum().backward()

    x.grad.zero_()
    (x * 3).sum().backward()

    assert x.grad.tolist() == [3, 3]


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_never_shares_memory_with_the_vector(create_graph):
    x, vector = leaf(1, 2), telegrad.tensor([3.0, 4.0])
    x.backward(vector, create_graph=create_graph)

    vector.mul_(100)

    assert x.grad is not vector
    assert x.grad.tolist() == [3, 4]


@pytest.mark.parametrize("create_graph", [False, True])
def test_two_leaves_never_share_a_grad(create_graph):
    x, y = leaf(1, 2), leaf(3, 4)
    vector = telegrad.tensor([1.0, 1.0])
    (x + y).backward(vector, create_graph=create_graph)

    with telegrad.no_grad():
        x.grad.mul_(100)

    assert y.grad.tolist() == [1, 1]
    assert vector.tolist() == [1, 1]


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_never_share_memory_with_each_other_or_the_vector(create_graph):
    x, y = leaf(1, 2), leaf(3, 4)
    vector = telegrad.tensor([1.0, 1.0])
    found = autograd.grad(x + y, (x, y, x), vector, create_graph=create_graph)

    with telegrad.no_grad():
        found[0].mul_(100)

    assert [g.tolist() for g in found] == [[100, 100], [1, 1], [1, 1]]
    assert vector.tolist() == [1, 1]


def test_grad_does_not_share_memory_with_what_the_graph_saved():
    x, w = leaf(1, 2), leaf(3, 4)
    y = (x * w).sum()
    y.backward(retain_graph=True)

    x.grad.zero_()
    y.backward()

    assert w.tolist() == [3, 4]
    assert x.grad.tolist() == [3, 4]


def test_several_roots_add_up():
    x = scalar(3.0)

    autograd.backward([x * 2, x * 3, x])

    assert x.grad.item() == 6


def test_the_same_root_twice_counts_twice():
    x = leaf(1, 2)
    y = x * 2

    autograd.backward([y, y], [telegrad.ones(2), telegrad.tensor([10.0, 20.0])])

    assert x.grad.tolist() == [22, 42]


def test_roots_that_hang_on_one_another_each_count():
    x = scalar(2.0)
    y = x * 3
    z = y * y

    autograd.backward([z, y])

    assert x.grad.item() == 2 * 6 * 3 + 3


def test_a_leaf_can_be_a_root():
    x = leaf(1, 2)

    x.backward(telegrad.tensor([3.0, 4.0]))

    assert x.grad.tolist() == [3, 4]


def test_no_roots_do_nothing():
    assert autograd.backward([]) is None


def test_none_is_a_vector_for_a_scalar_among_others():
    x = leaf(1, 2)

    autograd.backward([(x * 2).sum(), x * 3], [None, telegrad.ones(2)])

    assert x.grad.tolist() == [5, 5]


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "bool"])
def test_a_vector_of_another_real_type_is_converted(dtype):
    x = leaf(1, 2)

    (x * 2).backward(telegrad.tensor([1, 1], dtype=dtype))

    assert x.grad.dtype is telegrad.float32
    assert x.grad.tolist() == [2, 2]


def test_inputs_that_are_leaves_get_gradients_and_others_do_not():
    x, w = leaf(1, 2), leaf(3, 4)

    (x * w).sum().backward(inputs=x)

    assert x.grad.tolist() == [3, 4]
    assert w.grad is None


def test_inputs_that_are_no_leaves_get_gradients_and_leaves_below_do_not():
    x = leaf(1, 2)
    y = x * 2
    z = (y * y).sum()

    z.backward(inputs=[y], retain_graph=True)
    first = y.grad
    z.backward(inputs=[y])

    assert first.tolist() == [4, 8]
    assert y.grad.tolist() == [8, 16]
    assert y.retains_grad
    assert x.grad is None


def test_inputs_with_leaves_and_non_leaves_and_repeats_count_once_each():
    x = leaf(1, 2)
    y = x * 2

    (y * y).sum().backward(inputs=[y, x, y, x])

    assert y.grad.tolist() == [4, 8]
    assert x.grad.tolist() == [8, 16]


def test_inputs_may_be_a_dict():
    x, w = leaf(1, 2), leaf(3, 4)

    autograd.backward((x * w).sum(), inputs={"x": x})

    assert x.grad.tolist() == [3, 4]
    assert w.grad is None


def test_an_input_that_is_not_reached_keeps_its_grad():
    x, other = leaf(1, 2), leaf(0, 0)

    (x * 2).sum().backward(inputs=[x, other])

    assert other.grad is None


def test_nodes_that_do_not_lead_to_inputs_keep_their_graph():
    x, w = leaf(1, 2), leaf(3, 4)
    deep = w * w
    z = (x * deep).sum()

    z.backward(inputs=[x])
    deep.sum().backward()

    assert w.grad.tolist() == [6, 8]


def test_a_graph_that_saved_nothing_can_be_walked_again():
    x = leaf(1, 2)
    y = (x + 1).sum()

    y.backward()
    y.backward()

    assert x.grad.tolist() == [2, 2]


def test_retain_graph_false_with_create_graph_frees():
    x = scalar(2.0)
    y = x**3
    y.backward(create_graph=True, retain_graph=False)

    with pytest.raises(GraphFreedError):
        y.backward()


def test_create_graph_keeps_the_graph_by_default():
    x = scalar(2.0)
    y = x**3

    y.backward(create_graph=True)
    y.backward()

    assert x.grad.item() == 24


def test_second_derivatives_by_backward_of_grad():
    x = scalar(2.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    x.grad = None

    first.backward()

    assert first.item() == 12
    assert x.grad.item() == 12


def test_gradients_reach_the_vector_with_create_graph():
    x, v = leaf(1, 2), leaf(3, 4)
    (g,) = autograd.grad(x * x, x, v, create_graph=True)

    g.sum().backward()

    assert v.grad.tolist() == [2, 4]
    assert x.grad.tolist() == [6, 8]


def test_retained_gradients_of_non_leaves_add_up_in_new_tensors():
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    z = (y * y).sum()

    z.backward(retain_graph=True)
    first = y.grad
    z.backward()

    assert first.tolist() == [4, 8]
    assert y.grad.tolist() == [8, 16]


def test_non_leaves_keep_no_gradient_unless_asked():
    x = leaf(1, 2)
    y = x * 2

    y.sum().backward()

    assert y.grad is None
    assert not y.retains_grad


def test_retain_grad_on_a_leaf_changes_nothing():
    x = leaf(1, 2)

    x.retain_grad()

    assert not x.retains_grad


def test_retain_grad_needs_a_gradient():
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        telegrad.ones(2).retain_grad()


def test_a_zero_size_tensor_has_a_zero_size_gradient():
    x = telegrad.zeros(0, 3, requires_grad=True)

    (x * 2).sum().backward()

    assert x.grad.shape == (0, 3)


def test_broadcast_dimensions_are_summed_away():
    a, b = telegrad.ones(3, 1, requires_grad=True), telegrad.ones(4, requires_grad=True)

    (a * b).sum().backward()

    assert a.grad.tolist() == [[4], [4], [4]]
    assert b.grad.tolist() == [3, 3, 3, 3]


def test_a_float32_leaf_in_a_float64_graph_gets_a_float32_gradient():
    x = leaf(1, 2)

    (x * telegrad.tensor([1.0, 2.0], dtype="float64")).sum().backward()

    assert x.grad.dtype is telegrad.float32
    assert x.grad.tolist() == [1, 2]


def test_a_real_leaf_in_a_complex_graph_gets_a_real_gradient():
    x = leaf(1, 2)

    (x * (2 + 3j)).backward(telegrad.tensor([1 + 0j, 1j]))

    assert x.grad.dtype is telegrad.float32
    assert x.grad.tolist() == [2, 3]


# Refusals ---------------------------------------------------------------------------------------------------------------


def refused(match, call, error=RuntimeError):
    with pytest.raises(error, match=match):
        call()


def test_backward_of_what_is_no_scalar_needs_a_vector():
    refused("grad can be implicitly created only for scalar outputs", leaf(1, 2).backward)


def test_backward_of_a_complex_scalar_needs_a_vector():
    y = (leaf(1, 2) * 1j).sum()

    refused("grad can be implicitly created only for real scalar outputs but got telegrad.complex64", y.backward)


def test_backward_needs_a_graph():
    refused("element 0 of tensors does not require grad and does not have a grad_fn", telegrad.ones(2).sum().backward)


def test_the_root_without_a_graph_is_named():
    x = scalar(1.0)

    refused("element 1 of tensors does not require grad", lambda: autograd.backward([x * 2, telegrad.tensor(1.0)]))


def test_vectors_are_checked_before_roots():
    x = leaf(1, 2)

    refused(
        r"Mismatch in shape: grad_output\[1\] has a shape of \[3\] and output\[1\] has a shape of \[2\]\.",
        lambda: autograd.backward([telegrad.tensor(1.0), x * 2], [None, telegrad.ones(3)]),
    )


def test_a_vector_that_would_broadcast_is_refused():
    refused("Mismatch in shape", lambda: (leaf(1, 2) * 2).backward(telegrad.ones(1)))


def test_a_complex_vector_for_a_real_root_is_refused():
    refused(
        "Mismatch in dtype: grad_output",
        lambda: (leaf(1, 2) * 2).backward(telegrad.ones(2, dtype="complex64")),
    )


def test_fewer_vectors_than_roots_are_refused():
    x = scalar(1.0)

    refused("got 2 tensors and 1 gradients", lambda: autograd.backward([x * 2, x * 3], [None]))


def test_a_vector_that_is_no_tensor_is_refused():
    refused("gradients", lambda: autograd.backward([leaf(1)], [3]), TypeError)
    refused("grad_tensors must be", lambda: leaf(1).backward(3), TypeError)


def test_roots_that_are_no_tensors_are_refused():
    refused("must be", lambda: autograd.backward(3), TypeError)
    refused("must be", lambda: autograd.backward([3]), TypeError)
    refused("must be", lambda: autograd.backward([scalar(1.0), 3]), TypeError)


def test_empty_inputs_are_refused():
    refused("`inputs` argument to `backward\\(\\)` cannot be empty", lambda: scalar(1.0).backward(inputs=[]))


def test_inputs_that_need_no_gradient_are_refused():
    refused(
        "One of the differentiated Tensors does not require grad",
        lambda: scalar(1.0).backward(inputs=[telegrad.ones(2)]),
    )


def test_inputs_that_are_no_tensors_are_refused():
    refused("must be a Tensor", lambda: scalar(1.0).backward(inputs=[3]), ArgumentTypeError)


def test_tensors_of_two_sessions_are_refused():
    x = scalar(1.0)
    with telegrad.local() as other:
        y = other.tensor(1.0, requires_grad=True)

        refused("different sessions", lambda: autograd.backward([x, y]), SessionMismatchError)
        refused("different sessions", lambda: (x * 2).backward(other.tensor(1.0)), SessionMismatchError)
        refused("different sessions", lambda: (x * 2).backward(inputs=[y]), SessionMismatchError)


def test_a_failed_backward_leaves_grad_as_it_was():
    x = leaf(1, 2)
    y = x * 2
    z = y * y
    y.retain_grad()
    y.retain_grad()
    w = z.exp()
    w.add_(1)

    with pytest.raises(AutogradError):
        w.sum().backward()

    assert x.grad is None
    assert y.grad is None


# Assigning grad ---------------------------------------------------------------------------------------------------------


def test_an_assigned_grad_is_the_very_tensor_and_is_added_to():
    x, given = leaf(1, 2), telegrad.tensor([10.0, 20.0])
    x.grad = given

    (x * 2).sum().backward()

    assert x.grad is given
    assert given.tolist() == [12, 22]


def test_a_grad_that_cannot_be_written_is_replaced():
    x = leaf(1, 2)
    x.grad = telegrad.ones(1).expand(2)

    (x * 2).sum().backward()

    assert x.grad.tolist() == [3, 3]


def test_assigning_none_forgets_the_grad():
    x = leaf(1, 2)
    (x * 2).sum().backward()

    x.grad = None

    assert x.grad is None


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda x: telegrad.ones(3), RuntimeError, "assign a gradient of size '\\[3\\]' to a tensor of size '\\[2\\]'"),
        (lambda x: telegrad.ones(2, dtype="float64"), RuntimeError, "assign a gradient with dtype 'float64'"),
        (lambda x: np.ones(2), TypeError, "expected to be a Tensor or None but got grad of type ndarray"),
        (lambda x: x, RuntimeError, "can't assign Variable as its own grad"),
    ],
)
def test_a_grad_that_does_not_fit_is_refused(make, error, match):
    x = leaf(1, 2)

    with pytest.raises(error, match=match):
        x.grad = make(x)


def test_a_square_of_what_has_other_users_adds_up_in_one_order():
    """Walks that go straight on and walks that note every step (compiled programs) must give the same bits."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=50) for _ in range(3)]

    def gradient(*, create_graph: bool) -> bytes:
        x = telegrad.tensor(weights[0], requires_grad=True)
        y = x.sin()
        total = (y * y * telegrad.tensor(weights[1])).sum() + (y * telegrad.tensor(weights[2])).sum() * 1.1
        (found,) = telegrad.autograd.grad(total, x, create_graph=create_graph)
        return found.detach().numpy().tobytes()

    with telegrad.local():
        assert gradient(create_graph=False) == gradient(create_graph=True)
