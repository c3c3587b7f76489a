"""``as_strided``: a view like any other, of the memory that the tensor is a view of. Expected numbers are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.autograd import forward_ad
from telegrad.errors import AutogradError


def leaf(count: int) -> Any:
    return telegrad.arange(float(count), requires_grad=True)


def test_a_view_of_a_view_reaches_all_of_the_memory() -> None:
    x = telegrad.arange(6.0)

    assert x[2:].as_strided((2,), (1,), 0).tolist() == [0.0, 1.0]
    assert x[2:].as_strided((2,), (2,)).tolist() == [2.0, 4.0]


def test_writes_show_in_the_tensor_and_count_as_its_changes() -> None:
    x = telegrad.zeros(6)

    x[2:].as_strided((3,), (2,), 0).add_(telegrad.tensor([1.0, 2.0, 3.0]))

    assert x.tolist() == [1.0, 0.0, 2.0, 0.0, 3.0, 0.0]
    assert x._version == 1


def test_a_write_beside_the_view_that_it_was_made_from_has_its_gradient() -> None:
    a = leaf(6)
    y = a * 1
    part = y[2:]
    steps = part.as_strided((3,), (2,), 0)
    steps.mul_(telegrad.tensor([2.0, 3.0, 4.0]))
    part.mul_(10)

    ((y * telegrad.arange(6.0)).sum() + (steps * steps).sum()).backward()

    assert y.tolist() == [0.0, 1.0, 60.0, 30.0, 160.0, 50.0]
    assert a.grad.tolist() == [0.0, 1.0, 3660.0, 30.0, 12960.0, 50.0]
    assert steps.grad_fn.name() == "AsStridedBackward0"


def test_a_write_to_one_of_windows_that_overlap() -> None:
    a = leaf(6)
    y = a * 1
    windows = y.as_strided((2, 2), (1, 1), 1)
    windows[0].mul_(telegrad.tensor([2.0, 3.0]))

    ((y * telegrad.arange(6.0)).sum() + (windows * windows).sum()).backward()

    assert y.tolist() == [0.0, 2.0, 6.0, 3.0, 4.0, 5.0]
    assert a.grad.tolist() == [0.0, 10.0, 78.0, 9.0, 4.0, 5.0]


def test_what_is_not_the_tensors_own_has_no_gradient_there() -> None:
    a = leaf(6)

    (gradient,) = telegrad.autograd.grad((a[2:].as_strided((4,), (1,), 0) * telegrad.arange(1.0, 5.0)).sum(), a)

    assert gradient.tolist() == [0.0, 0.0, 3.0, 4.0, 0.0, 0.0]


def test_steps_count_in_memory_whatever_order_the_dimensions_have() -> None:
    a = leaf(6)
    turned = (a * 1).view(2, 3).t()
    seen = turned.as_strided((2, 2), (1, 2), 1)

    (first,) = telegrad.autograd.grad((seen * seen * seen).sum(), a, create_graph=True)
    (second,) = telegrad.autograd.grad((first * first).sum(), a)

    assert seen.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert first.tolist() == [0.0, 3.0, 12.0, 27.0, 48.0, 0.0]
    assert second.tolist() == [0.0, 36.0, 288.0, 972.0, 2304.0, 0.0]


def test_a_tangent_is_stepped_through_as_its_primal() -> None:
    with forward_ad.dual_level():
        x = forward_ad.make_dual(telegrad.arange(6.0).view(2, 3).t(), telegrad.arange(10.0, 16.0).view(3, 2))
        seen: Any = forward_ad.unpack_dual(x.as_strided((3,), (1,), 0))
        x.as_strided((1,), (1,), 1).mul_(2)
        whole: Any = forward_ad.unpack_dual(x)

    assert seen.tangent.tolist() == [10.0, 12.0, 14.0]
    assert whole.tangent.tolist() == [[10.0, 11.0], [24.0, 13.0], [14.0, 15.0]]


@pytest.mark.parametrize("offset", [None, 0, 1])
def test_under_vmap_each_row_begins_where_it_lies(offset: int | None) -> None:
    x = telegrad.arange(6.0).view(2, 3)
    first = offset or 0

    rows = telegrad.vmap(lambda row: row.as_strided((2,), (1,), offset))(x)

    assert rows.tolist() == [[first, first + 1.0], [3.0 + first, 4.0 + first]]


def test_memory_is_not_written_to_where_one_element_stands_in_many_places() -> None:
    with pytest.raises(AutogradError, match="more than one element of the written-to tensor"):
        telegrad.zeros(4).as_strided((2, 2), (0, 1)).add_(1)


def test_the_memory_of_a_detached_part_is_not_guessed() -> None:
    part = telegrad.arange(6.0)[2:].detach()

    assert part.as_strided((2,), (1,)).tolist() == [2.0, 3.0]
    with pytest.raises(AutogradError, match="detached view"):
        part.as_strided((2,), (1,), 0)


def test_in_place_it_is_the_tensor_that_changes() -> None:
    x = telegrad.arange(6.0)

    same = x.as_strided_((2, 3), (1, 2))

    assert same is x
    assert x.tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    with pytest.raises(AutogradError):
        (leaf(6) * 1).as_strided_((2,), (1,))


def test_expanded_memory_shares_a_gradient_among_its_elements() -> None:
    a = leaf(3)

    (gradient,) = telegrad.autograd.grad(
        (a.expand(2, 3).as_strided((2, 2), (1, 1)) * telegrad.tensor([[1.0, 2.0], [3.0, 4.0]])).sum(), a
    )

    np.testing.assert_allclose(gradient.numpy(), [1.0, 5.0, 4.0])
