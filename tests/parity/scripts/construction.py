"""Tensors out of what users hold: lists with tensors and arrays in them, numbers of numpy's; and what goes with making them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.parity.scripts.table import script
from tests.parity.transcripts import attempt


@script
def a_tensor_of_one_element_is_a_number_in_a_list(tg: Any) -> Any:
    one, flat, deep, two = tg.tensor(1.5), tg.tensor([2.5]), tg.tensor([[3]]), tg.tensor([1.0, 2.0])
    made = [[one, 2], [2, flat], [flat, flat], [deep, deep], [[flat], [4]], [[3, 4], two], (tg.tensor(1j), 2), [flat, True]]
    kinds = [tg.tensor(1, dtype=tg.int8), tg.tensor(2, dtype=tg.uint8)]
    refused = [[two, two], [two, [3, 4]], [tg.tensor([])], [[1, 2], one]]
    return [attempt(partial(tg.tensor, data)) for data in [*made, kinds, *refused]]


@script
def arrays_in_lists_are_rows(tg: Any) -> Any:
    rows = [np.array([1, 2]), np.array([3, 4])]
    made = [rows, [np.array([1.0]), np.array([2.0])], [rows[0], [5, 6]], [np.float32(1), 2], [np.int8(1), np.float64(2)]]
    return [attempt(partial(tg.tensor, data)) for data in [*made, [np.array([1, 2]), np.array([3])], [2, np.array([1.0])]]]


@script
def tensors_become_numbers_of_python(tg: Any) -> Any:
    x, two = tg.tensor([2.5]), tg.tensor([1.0, 2.0])
    seen = [float(x), int(x), complex(x), complex(tg.tensor(1j)), bool(x), [4, 5, 6][tg.tensor(1)], range(tg.tensor(3))]
    return seen, [attempt(partial(kind, two)) for kind in (float, int, complex, bool)]


@script
def seeds_fit_64_bits(tg: Any) -> Any:
    def draws(seed: Any) -> Any:
        tg.manual_seed(seed)
        first = tg.rand(3)
        tg.manual_seed(seed)
        return bool((first == tg.rand(3)).all())

    return [attempt(partial(draws, seed)) for seed in (0, -1, 2**63, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, np.int64(7))]


@script
def the_mode_is_a_bool(tg: Any) -> Any:
    def enabled(mode: Any) -> Any:
        tg.set_grad_enabled(mode)
        return tg.is_grad_enabled()

    return [attempt(partial(enabled, mode)) for mode in (True, 1, 0, "off", None)], tg.is_grad_enabled()
