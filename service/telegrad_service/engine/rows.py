"""Adding rows to a table where rows may repeat: the gradient of every lookup. ``np.add.at`` is five times slower."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from telegrad_service.engine.table import Array

NARROW: Final = 8
"""Up to this many columns, counting with weights beats sorting."""
FEW: Final = 6
"""Up to this many repeats, one assignment per repeat beats a segmented sum."""
WIDE: Final = 128
"""From this many columns on, adding row after row beats a segmented sum: six times at a thousand."""


def add_rows(table: Array, rows: Array, values: Array, *, empty: bool = False) -> None:
    """``table[rows[i]] += values[i]`` for every i, repeats included, in place.

    Args:
        table: [count, width], or [count].
        rows: [n] integers in [0, count).
        values: [n, width], or [n], of the table's type.
        empty: the table holds zeros only, so that the first value of each row may be written instead of added.
    """
    if not rows.size or not values.size:
        return
    width = 1 if table.ndim == 1 else table.shape[1]
    if rows.size == 1:
        table[rows[0]] += values[0]
        return
    if width <= NARROW and table.dtype.kind in "fc" and rows.size * 8 > table.shape[0]:
        _count(table, rows, values, width)
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if starts.size == rows.size:
        if empty:
            table[rows] = values
        else:
            table[rows] += values
        return
    counts = np.diff(starts, append=rows.size)
    if int(counts.max()) > FEW and width >= WIDE:
        for row, value in zip(rows.tolist(), values, strict=True):
            total = table[row]
            total += value
        return
    if int(counts.max()) > FEW:
        table[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0)
        return
    repeat = 0
    if empty:
        table[ordered[starts]] = values[order[starts]]
        repeat = 1
        left = counts > repeat
        starts, counts = starts[left] + 1, counts[left]
    while starts.size:
        table[ordered[starts]] += values[order[starts]]
        repeat += 1
        left = counts > repeat
        starts, counts = starts[left] + 1, counts[left]


def _count(table: Array, rows: Array, values: Array, width: int) -> None:
    cells = rows if width == 1 else (rows[:, None] * width + np.arange(width)).reshape(-1)
    weights: Any = values.reshape(-1)
    if table.dtype.kind == "c":
        total = np.bincount(cells, weights.real, table.size) + 1j * np.bincount(cells, weights.imag, table.size)
    else:
        total = np.bincount(cells, weights, table.size)
    table += total.reshape(table.shape).astype(table.dtype)
