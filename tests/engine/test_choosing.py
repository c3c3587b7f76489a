"""Which of equal elements are taken: those that PyTorch takes, whose answers are written down here."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad_service.engine import choosing
from tests.references.sides import HAS_TORCH, torch_side


def equal_numbers(count: int, different: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, different, count)


@pytest.mark.parametrize(
    ("values", "k", "positions"),
    [
        ([0.0, 3.0, 2.0, 3.0, 0.0, 0.0, 3.0], 1, [3]),
        ([3, 1, 1, 3], 2, [3, 0]),
        ([2.0, 3.0, 2.0, 2.0, 2.0, 2.0], 6, [1, 5, 0, 4, 3, 2]),
        ([0.0, 3.0, 3.0, float("nan")], 4, [3, 2, 1, 0]),
        ([2.0, 3.0, 3.0, 0.0, 0.0, 3.0, 0.0, 3.0, 3.0, 3.0, 1.0], 2, [8, 5]),
    ],
)
def test_the_largest(values: list[float], k: int, positions: list[int]) -> None:
    assert telegrad.tensor(values).topk(k).indices.tolist() == positions


@pytest.mark.parametrize(
    ("values", "k", "position"), [([0, 1, 1, 1, 1, 0], 1, 5), ([2, 3, 2, 1, 1, 1, 1], 6, 0), ([1, 0, 1, 3, 3, 0, 2, 3], 3, 2)]
)
def test_the_kth(values: list[int], k: int, position: int) -> None:
    assert telegrad.tensor(values).kthvalue(k).indices.item() == position


def test_the_gradient_goes_where_the_index_says() -> None:
    x = telegrad.tensor([3.0, 1.0, 1.0, 3.0], requires_grad=True)

    x.kthvalue(2).values.backward()

    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 16, 17, 40, 65, 130, 500])
def test_all_lengths_and_all_ways_agree_with_the_reference(count: int) -> None:
    torch = torch_side().torch
    for seed, different in enumerate((1, 2, 5, 40)):
        values = equal_numbers(count, different, seed)
        ours, theirs = telegrad.tensor(values), torch.from_numpy(values)
        assert ours.mode(0).indices.item() == theirs.mode(0).indices.item()
        for k in sorted({1, (count + 1) // 2, count}):
            assert ours.kthvalue(k).indices.item() == theirs.kthvalue(k).indices.item()
            for largest in (True, False):
                for in_order in (True, False):
                    found = ours.topk(k, largest=largest, sorted=in_order).indices.tolist()
                    assert found == theirs.topk(k, largest=largest, sorted=in_order).indices.tolist()


def test_rows_are_chosen_from_apart_and_along_any_dimension() -> None:
    values = equal_numbers(60, 3, 7).reshape(3, 4, 5)

    for dim in (0, 1, 2):
        found = telegrad.tensor(values).topk(2, dim).indices.numpy()
        for at in np.ndindex(*np.moveaxis(values, dim, -1).shape[:-1]):
            row = telegrad.tensor(np.moveaxis(values, dim, -1)[at].copy())
            assert np.moveaxis(found, dim, -1)[at].tolist() == row.topk(2).indices.tolist()


def test_of_more_elements_the_first_of_equals_is_taken() -> None:
    many = telegrad.zeros(choosing.MOST_ELEMENTS + 1)

    assert many.topk(3).indices.tolist() == [0, 1, 2]
    assert many.kthvalue(5).indices.item() == 4


class Adversary:
    """An element whose value is settled by comparisons, so that each partition cuts off as little as can be.

    Source: D. McIlroy (1999), A killer adversary for quicksort.
    """

    def __init__(self, values: list[int], at: int, state: dict[str, int]) -> None:
        self.values, self.at, self.state = values, at, state

    def __lt__(self, other: Adversary) -> bool:
        values, state, x, y = self.values, self.state, self.at, other.at
        open_ = len(values)
        if values[x] == values[y] == open_:
            values[x if x == state["candidate"] else y] = state["next"]
            state["next"] += 1
        if values[x] == open_:
            state["candidate"] = x
        elif values[y] == open_:
            state["candidate"] = y
        return values[x] < values[y]


def hardest(length: int) -> list[int]:
    """What takes introsort the most partitions."""
    values, state = [length] * length, {"candidate": 0, "next": 0}
    elements: Any = [Adversary(values, at, state) for at in range(length)]
    found = choosing._Range(elements)
    found._introsort(0, length, length**2)
    found.insertion_sort(0, length)
    return values


def test_ranges_that_partition_badly_are_sorted_by_a_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    values = hardest(300)
    heaps: list[int] = []
    plain = choosing._Range.heap_select
    monkeypatch.setattr(choosing._Range, "heap_select", lambda self, *bounds: (heaps.append(1), plain(self, *bounds))[1])

    found = choosing._Range(values)
    found.sort(300)
    assert [values[at] for at in found.at] == sorted(values)
    assert heaps

    heaps.clear()
    chosen = choosing._Range(values)
    chosen.select(150)
    assert values[chosen.at[150]] == sorted(values)[150]
    assert heaps


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare with")
def test_they_agree_with_the_reference_there_too() -> None:
    twice = np.array(hardest(300)) // 2
    for k in (150, 299, 300):
        found = telegrad.tensor(twice).topk(k, largest=False).indices.tolist()
        assert found == torch_side().torch.from_numpy(twice).topk(k, largest=False).indices.tolist()


def test_a_remainder_of_zero_has_the_sign_of_what_is_divided() -> None:
    found = telegrad.tensor([0.0, -0.0, 4.0, -4.0]) % telegrad.tensor([-2.0, 2.0, -2.0, 2.0])

    assert np.signbit(found.numpy()).tolist() == [False, True, False, True]
    assert np.signbit((telegrad.tensor([-0.0, -6.0]) % 3).numpy()).tolist() == [True, True]
