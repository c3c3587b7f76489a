"""What numpy's linear algebra leaves out, on batches of matrices: triangular systems, LU with pivots, the exponential.

In blocks, so that matrix products do most of the work, and whole batches at a time.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from telegrad_service.engine.table import Array

BLOCK: Final = 16
"""Rows or columns done one by one; larger parts are halved, and met by a product."""


def solve_triangular(a: Array, b: Array, *, upper: bool, unit: bool = False) -> Array:
    """The X of ``a @ X = b``; one triangle of ``a`` is read, and a diagonal of ones supposed with ``unit``.

    A zero on the diagonal gives infinities and NaN, as dividing by it does.

    Args:
        a: [..., n, n].
        b: [..., n, k] of the same type; batches broadcast.
        upper: which triangle is read.
        unit: the diagonal is not read.
    """
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.array(np.broadcast_to(b, (*batch, *b.shape[-2:])))
    if x.size:
        if upper:  # the last row first: a lower one, read backwards
            _substitute(a[..., ::-1, ::-1], x[..., ::-1, :], unit)
        else:
            _substitute(a, x, unit)
    return x


def _substitute(a: Array, x: Array, unit: bool) -> None:
    n = a.shape[-1]
    if n > BLOCK:
        half = n // 2
        _substitute(a[..., :half, :half], x[..., :half, :], unit)
        x[..., half:, :] -= a[..., half:, :half] @ x[..., :half, :]
        _substitute(a[..., half:, half:], x[..., half:, :], unit)
        return
    for i in range(n):
        if i:
            x[..., i, :] -= np.matmul(a[..., i : i + 1, :i], x[..., :i, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]


def lu(x: Array) -> tuple[Array, Array, Array]:
    """``P @ L @ U`` with the largest element of each column as pivot, by magnitude as LAPACK measures it.

    Args:
        x: [..., m, n], k = min(m, n).

    Returns:
        L below the diagonal and U on and above it, [..., m, n]; the row (from 1) that each row was exchanged with, [..., k] of
        int32; the first (from 1) zero of U's diagonal or 0, [...] of int32.
    """
    *batch, m, n = x.shape
    k = min(m, n)
    a = np.array(x).reshape(-1, m, n) if x.size else np.zeros((math.prod(batch), m, n), x.dtype)
    pivots = np.empty((len(a), k), np.int32)
    every = np.arange(len(a))
    for start in range(0, k, BLOCK):
        stop = min(start + BLOCK, k)
        for j in range(start, stop):
            column = a[:, j:, j]
            size: Any = abs(np.real(column)) + abs(np.imag(column)) if x.dtype.kind == "c" else abs(column)
            chosen = size.argmax(-1) + j
            pivots[:, j] = chosen + 1
            if np.any(chosen != j):
                rows = a[every, chosen]
                a[every, chosen] = a[:, j]
                a[:, j] = rows
            pivot = a[:, j, j, None]
            a[:, j + 1 :, j] /= np.where(pivot == 0, 1, pivot)
            a[:, j + 1 :, j + 1 : stop] -= a[:, j + 1 :, j, None] * a[:, j, None, j + 1 : stop]
        if stop < n:
            _substitute(a[:, start:stop, start:stop], a[:, start:stop, stop:], True)
            a[:, stop:, stop:] -= a[:, stop:, start:stop] @ a[:, start:stop, stop:]
    zero = np.diagonal(a, axis1=-2, axis2=-1)[:, :k] == 0
    info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if k else np.zeros(len(a))
    return a.reshape(x.shape), pivots.reshape(*batch, k), info.astype(np.int32).reshape(batch)


def order(pivots: Array, rows: int) -> Array:
    """Where each row of ``L @ U`` stands in the matrix itself: [..., rows] from the pivots, [..., k]."""
    flat = pivots.reshape(-1, pivots.shape[-1]) if pivots.size else np.zeros((math.prod(pivots.shape[:-1]), 0), np.int32)
    result = np.tile(np.arange(rows), (len(flat), 1))
    every = np.arange(len(flat))
    for j in range(flat.shape[-1]):
        other = flat[:, j] - 1
        held = result[every, other]
        result[every, other] = result[:, j]
        result[:, j] = held
    return result.reshape(*pivots.shape[:-1], rows)


def permutation(pivots: Array, rows: int, dtype: Any) -> Array:
    """The matrices P of ``P @ L @ U``, [..., rows, rows]."""
    places = order(pivots, rows)
    return np.asarray(places[..., None, :] == np.arange(rows)[:, None]).astype(dtype)


_PADE: Final = (
    *(64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600),
    *(670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1),
)
"""Numerator of the [13/13] approximant of exp: N. Higham (2005), The scaling and squaring method for the matrix exponential."""

_PADE_BOUND: Final = 5.371920351148152
"""The 1-norm up to which that approximant is exact to double precision; same source, table 2.3."""


def matrix_exponential(x: Array) -> Array:
    """Exp of square matrices, [..., n, n]: halved until small, approximated by a quotient of polynomials, squared back."""
    if not x.size:
        return x.copy()
    wide: Any = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64, copy=False)
    norm = abs(wide).sum(-2).max(-1)
    with np.errstate(all="ignore"):
        halvings = np.ceil(np.log2(norm / _PADE_BOUND))
    halvings = np.where(np.isfinite(halvings), np.maximum(halvings, 0), 0)
    a = wide * np.exp2(-halvings)[..., None, None]
    one = np.eye(x.shape[-1])
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a2 @ a4
    b = _PADE
    odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    result = np.linalg.solve(even - odd, even + odd)
    for done in range(int(halvings.max())):
        again = (halvings > done)[..., None, None]
        result = np.where(again, result @ result, result) if halvings.ndim else result @ result
    return result.astype(x.dtype, copy=False)
