"""Adding rows to a table where rows may repeat: the gradient of every lookup.

numpy's ``add.at`` is fast along one dimension, at 2 ns a number, and up to a hundred times slower along several.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from telegrad_service.engine.table import Array

NARROW: Final = 32
"""Up to this many columns, adding number by number beats sorting rows."""
FEW: Final = 6
"""Up to this many repeats, one assignment per repeat beats a segmented sum."""
WIDE: Final = 128
"""From this many columns on, adding row after row beats a segmented sum: six times at a thousand."""
SPARSE: Final = 64
"""With so many rows in the table for each that is named, or more, sorting those beats a place for each in the table."""
SELDOM: Final = 8
"""Where one in so many names a row again, or fewer do, the others are written first and those alone are sorted."""


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
    if width <= NARROW and table.flags.c_contiguous:
        cells = rows if width == 1 else (rows[:, None] * width + np.arange(width)).reshape(-1)
        np.add.at(table.reshape(-1), cells, values.reshape(-1))
        return
    if empty and table.shape[0] <= SPARSE * rows.size and _write_firsts(table, rows, values):
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


def _write_firsts(table: Array, rows: Array, values: Array) -> bool:
    """``add_rows`` for a table of zeros where few rows repeat, without sorting; False, and nothing done, where many do."""
    index = np.arange(rows.size)
    first = np.empty(table.shape[0], index.dtype)  # read only where it is written
    backwards = rows[::-1]
    first[backwards] = index[::-1]  # of equal ones the last that is written stays
    again = np.flatnonzero(first[rows] != index)
    if again.size * SELDOM > rows.size:
        return False
    table[backwards] = values[::-1]
    add_rows(table, rows[again], values[again])
    return True
