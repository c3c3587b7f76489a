"""Writes through views: every view sees the value, and the gradient is that of the same thing done out of place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import telegrad
from tests.references.sides import Telegrad

VALUES = np.arange(1.0, 7.0).reshape(2, 3)


def rows(x: Any) -> Any:
    return x.select(0, 0), x.select(0, 1)


def in_place_row(x: Any) -> Any:
    y = x * 1
    y.select(0, 0).mul_(3.0)
    return y * y


def out_of_place_row(x: Any) -> Any:
    first, second = rows(x)
    y = telegrad.stack([first * 3.0, second])
    return y * y


def in_place_column_by_own_sum(x: Any) -> Any:
    y = x * 1
    y.t().select(0, 1).mul_(y.sum())
    return y * y


def out_of_place_column_by_own_sum(x: Any) -> Any:
    y = telegrad.cat([x.narrow(1, 0, 1), x.narrow(1, 1, 1) * x.sum(), x.narrow(1, 2, 1)], 1)
    return y * y


def in_place_seen_by_older_view(x: Any) -> Any:
    y = x * 1
    older = y.view(-1)
    y.mul_(2.0)
    return older * older


def out_of_place_seen_by_older_view(x: Any) -> Any:
    y = (x * 2.0).reshape(-1)
    return y * y


def in_place_view_of_view(x: Any) -> Any:
    y = x * 1
    middle = y.view(-1).narrow(0, 1, 3)
    middle.view(3, 1).squeeze(1).add_(x.select(0, 0))
    return y * y * y + middle.sum()


def out_of_place_view_of_view(x: Any) -> Any:
    flat = x.reshape(-1)
    middle = flat.narrow(0, 1, 3) + x.select(0, 0)
    y = telegrad.cat([flat.narrow(0, 0, 1), middle, flat.narrow(0, 4, 2)]).reshape(2, 3)
    return y * y * y + middle.sum()


def in_place_constant_base(x: Any) -> Any:
    y = telegrad.zeros(2, 3, dtype="float64")
    older = y.select(1, 0)
    y.select(1, 0).add_(x.select(1, 1))
    return older * older + y.sum()


def out_of_place_constant_base(x: Any) -> Any:
    column = x.select(1, 1)
    return column * column + column.sum()


def in_place_diagonal(x: Any) -> Any:
    y = x * 1
    y.diagonal().mul_(x.sum())
    return y * y


def out_of_place_diagonal(x: Any) -> Any:
    square, rest = x.narrow(1, 0, 2), x.narrow(1, 2, 1)
    on = square - square.tril(-1) - square.triu(1)
    y = telegrad.cat([square - on + on * x.sum(), rest], 1)
    return y * y


def in_place_after_expand(x: Any) -> Any:
    y = x * 1
    wide = y.select(0, 0).unsqueeze(0).expand(2, 3)
    y.mul_(2.0)
    return wide * wide


def out_of_place_after_expand(x: Any) -> Any:
    wide = (x * 2.0).select(0, 0).unsqueeze(0).expand(2, 3)
    return wide * wide


def in_place_running_sum(x: Any) -> Any:
    y = x * 1
    y.view(6).cumsum_(0)
    return y * y


def out_of_place_running_sum(x: Any) -> Any:
    y = x.reshape(6).cumsum(0)
    return y * y


PAIRS = [
    (in_place_row, out_of_place_row),
    (in_place_column_by_own_sum, out_of_place_column_by_own_sum),
    (in_place_seen_by_older_view, out_of_place_seen_by_older_view),
    (in_place_view_of_view, out_of_place_view_of_view),
    (in_place_constant_base, out_of_place_constant_base),
    (in_place_diagonal, out_of_place_diagonal),
    (in_place_after_expand, out_of_place_after_expand),
    (in_place_running_sum, out_of_place_running_sum),
]


def derivatives(function: Callable[[Any], Any], x: Any) -> tuple[float, Any, Any]:
    """The sum of what the function makes, its gradient, and the gradient of the gradient's squares."""
    total = function(x).sum()
    (first,) = telegrad.autograd.grad(total, x, create_graph=True)
    (second,) = telegrad.autograd.grad((first * first).sum(), x)
    return total.item(), first.detach().numpy(), second.numpy()


@pytest.mark.parametrize(("in_place", "out_of_place"), PAIRS, ids=[a.__name__ for a, _ in PAIRS])
def test_write_through_a_view_is_the_same_thing_done_out_of_place(
    engine: Telegrad, in_place: Callable[[Any], Any], out_of_place: Callable[[Any], Any]
) -> None:
    x = engine.tensor(VALUES, requires_grad=True)

    value, first, second = derivatives(in_place, x)
    wanted_value, wanted_first, wanted_second = derivatives(out_of_place, x)

    assert value == pytest.approx(wanted_value)
    np.testing.assert_allclose(first, wanted_first)
    np.testing.assert_allclose(second, wanted_second)


def test_write_through_a_view_names_the_base_copy_slices(engine: Telegrad) -> None:
    y = engine.tensor(VALUES, requires_grad=True) * 1

    y.select(0, 0).mul_(2.0)

    assert y.grad_fn.name() == "CopySlices"


def test_write_through_a_view_of_a_transposed_layout_reaches_the_base(engine: Telegrad) -> None:
    x = engine.tensor(VALUES, requires_grad=True)
    y = x.t() * 1

    y.t().view(6).mul_(2.0)
    (gradient,) = telegrad.autograd.grad(y.sum(), x)

    np.testing.assert_array_equal(gradient.numpy(), np.full((2, 3), 2.0))


def test_write_into_the_real_part_of_a_view_of_a_transposed_layout_spares_the_imaginary_part(engine: Telegrad) -> None:
    x = engine.tensor(np.arange(6).reshape(3, 2) * (1 + 2j), requires_grad=True)
    y = x.t().clone()

    y.t().view(-1).real.mul_(3.0)
    (y * y.conj()).real.sum().backward()

    assert np.array_equal(y.detach().numpy().imag, 2.0 * np.arange(6).reshape(3, 2).T)
    assert np.array_equal(x.grad.numpy(), np.arange(6).reshape(3, 2) * (18 + 4j))


def test_write_through_a_complex_view_of_a_transposed_layout_reaches_the_base(engine: Telegrad) -> None:
    x = engine.tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
    y = x.t().clone()  # [3, 2] in column order

    telegrad.view_as_complex(y.t().view(3, 2)).mul_(1j)
    (y * y * y).sum().backward()

    assert y.tolist() == [[-2.0, 3.0], [1.0, -6.0], [-4.0, 5.0]]
    assert x.grad.tolist() == [[3.0, -12.0, 27.0], [-48.0, 75.0, -108.0]]


def test_write_into_windows_that_overlap_is_refused(engine: Telegrad) -> None:
    x = engine.tensor(np.arange(5.0))

    x.unfold(0, 2, 2).mul_(-1.0)
    with pytest.raises(telegrad.TelegradError, match="single memory location"):
        x.unfold(0, 2, 1).mul_(2.0)

    assert x.tolist() == [0.0, -1.0, -2.0, -3.0, 4.0]


@pytest.mark.parametrize("tracking", [True, False])
def test_write_into_a_part_of_what_is_read_is_refused(engine: Telegrad, tracking: bool) -> None:
    x = engine.tensor(np.arange(5.0))

    with telegrad.set_grad_enabled(tracking), pytest.raises(telegrad.TelegradError, match="single memory location"):
        x[1:].detach().add_(x[:-1])
    with telegrad.set_grad_enabled(tracking):
        x.detach().add_(x)

    assert x.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_write_into_a_detached_tensor_shows_and_is_noticed(engine: Telegrad) -> None:
    y = engine.tensor(VALUES, requires_grad=True) * 1
    z = y * y

    y.detach().mul_(2.0)

    np.testing.assert_array_equal(y.detach().numpy(), 2 * VALUES)
    with pytest.raises(telegrad.errors.VersionError, match="modified by an inplace operation"):
        z.sum().backward()


def test_write_through_a_view_of_a_leaf_is_refused(engine: Telegrad) -> None:
    x = engine.tensor(VALUES, requires_grad=True)

    with pytest.raises(telegrad.errors.LeafError, match="a view of a leaf Variable"):
        x.select(0, 0).mul_(2.0)

    np.testing.assert_array_equal(x.detach().numpy(), VALUES)


@pytest.mark.parametrize("split", [lambda y: y.unbind(0), lambda y: y.split(1), lambda y: y.chunk(2)])
def test_write_into_one_of_several_views_is_refused(engine: Telegrad, split: Callable[[Any], Any]) -> None:
    y = engine.tensor(VALUES, requires_grad=True) * 1

    with pytest.raises(telegrad.errors.LeafError, match="returns multiple views"):
        split(y)[0].mul_(2.0)


def test_write_into_expanded_memory_is_refused(engine: Telegrad) -> None:
    wide = engine.tensor(VALUES[:1]).expand(2, 3)

    with pytest.raises(RuntimeError, match="more than one element"):
        wide.mul_(2.0)


def test_view_refuses_what_only_a_copy_could_have(engine: Telegrad) -> None:
    with pytest.raises(telegrad.errors.ShapeError, match=r"view size is not compatible .* Use \.reshape"):
        engine.tensor(VALUES).t().view(6)
