"""Rows shifted and scaled to mean 0 and variance 1, exponentials over their sum, and their gradients: a block of rows at a time.

A block stays in the processor's cache through all of its passes, and threads share the blocks where there are several. Of
what the forward pass finds, two numbers a row are kept: the rest is quickly found again in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from telegrad_service.engine import sums, threads
from telegrad_service.engine.table import Array

BLOCK: Final = 65536
"""Elements a block: with its copies, about what the second-level cache holds."""


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices of rows that cover all of them."""
    step = max(1, BLOCK // max(1, size))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def each_block(function: Callable[[slice], None], rows: int, size: int, *, worth: int = 4) -> None:
    """Call ``function`` with slices of rows that cover all of them, on several threads from ``worth`` slices on."""
    parts = list(blocks(rows, size))
    if len(parts) >= worth:
        threads.share(function, parts)
    else:
        for part in parts:
            function(part)


def _centred(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """The rows of ``x`` less their means, in a new array, the means, and one over the standard deviation of each."""
    size = x.shape[1]
    mean = sums.of_rows(x) / size
    centred = x - mean[:, None]
    # Squares of what is centred: the mean of squares less the squared mean would lose all digits far from zero.
    return centred, mean, np.asarray(1 / np.sqrt(sums.of_rows(centred * centred) / size + eps), x.dtype)


def forward(x: Array, weight: Array | None, bias: Array | None, size: int, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """``x`` normalised over its last ``size`` elements, times ``weight``, plus ``bias``; each row's mean and inverse deviation."""
    rows = x.size // size if size else 0
    result = np.empty(x.shape, x.dtype)
    matrix, out = x.reshape(rows, size), result.reshape(rows, size)
    means, inverses = np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    w, b = (None if v is None else v.reshape(size) for v in (weight, bias))
    for block in blocks(rows, size):
        centred, means[block], inverse = _centred(matrix[block], eps)
        inverses[block] = inverse
        target = np.multiply(centred, inverse[:, None], out=centred if w is not None or b is not None else out[block])
        if w is not None:
            np.multiply(target, w, out=target if b is not None else out[block])
        if b is not None:
            np.add(target, b, out=out[block])
    return result, (means, inverses)


def backward(
    g: Array,
    x: Array,
    weight: Array | None,
    shape: tuple[int, ...],
    eps: float,
    needs: tuple[bool, bool, bool],
    statistics: tuple[Array, Array] | None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of input, weight and bias, as ``needs`` says; those of weight and bias have the normalised ``shape``.

    ``statistics`` are those that ``forward`` gave, or None.
    """
    size = math.prod(shape)
    rows = x.size // size if size else 0
    gs, xs = g.reshape(rows, size), x.reshape(rows, size)
    # What is given out must own its memory, so that it can become `.grad` without a copy: reshaped views of it are written.
    of_x = np.empty(x.shape, x.dtype) if needs[0] else None
    of_weight = np.zeros(shape, x.dtype) if needs[1] else None
    of_bias = np.zeros(shape, x.dtype) if needs[2] else None
    out = None if of_x is None else of_x.reshape(rows, size)
    ones = np.ones(size, x.dtype)
    w = ones if weight is None else weight.reshape(size)
    for block in blocks(rows, size):
        h = gs[block]
        if of_bias is not None:
            of_bias += np.matmul(np.ones(h.shape[0], h.dtype), h).reshape(shape)
        if out is None and of_weight is None:
            continue
        if statistics is None:
            centred, _, inverse = _centred(xs[block], eps)
        else:
            centred, inverse = xs[block] - statistics[0][block, None], statistics[1][block]
        product = h * centred
        if of_weight is not None:
            of_weight += np.matmul(inverse, product).reshape(shape)
        if out is None:
            continue
        # With h = g * weight and z the normalised row, the gradient is h less its mean and its part along z, over the deviation.
        centred *= (np.matmul(product, w) * (inverse * inverse) / size)[:, None]
        centred += (np.matmul(h, w) / size)[:, None]
        np.subtract(h if weight is None else np.multiply(h, w, out=product), centred, out=centred)
        np.multiply(centred, inverse[:, None], out=out[block])
    return of_x, of_weight, of_bias


# Exponentials over their sum ---------------------------------------------------------------------------------------------------


def _below_top(x: Array, out: Array) -> Array:
    """Into ``out`` the rows of ``x`` less their maximum, so that exp cannot overflow."""
    np.subtract(x, x.max(axis=1)[:, None], out=out)
    return out


def softmax(x: Array, *, out: Array | None = None) -> Array:
    """The exponentials of ``x`` over their sum along the last dimension; into ``out``, a contiguous array: ``x`` itself, say."""
    size = x.shape[-1]
    result = np.empty(x.shape, x.dtype) if out is None else out
    rows = x.size // size
    matrix, target = x.reshape(rows, size), result.reshape(rows, size)

    def place(block: slice) -> None:
        part = _below_top(matrix[block], target[block])
        np.exp(part, out=part)
        np.divide(part, sums.of_rows(part)[:, None], out=part)

    each_block(place, rows, size)
    return result


def log_softmax(x: Array) -> Array:
    """``x`` less the logarithm of the sum of its exponentials along the last dimension."""
    size = x.shape[-1]
    result = np.empty(x.shape, x.dtype)
    rows = x.size // size
    matrix, out = x.reshape(rows, size), result.reshape(rows, size)

    def place(block: slice) -> None:
        part = _below_top(matrix[block], out[block])
        np.subtract(part, np.log(sums.of_rows(np.exp(part)))[:, None], out=part)

    each_block(place, rows, size)
    return result


def softmax_gradient(g: Array, result: Array) -> Array:
    """The gradient of ``softmax`` along the last dimension: ``h - result * sum(h)`` with ``h = g * result``."""
    size = g.shape[-1]
    found = np.empty(g.shape, g.dtype)
    rows = g.size // size
    gs, values, out = g.reshape(rows, size), result.reshape(rows, size), found.reshape(rows, size)

    def place(block: slice) -> None:
        part = np.multiply(gs[block], values[block], out=out[block])
        part -= values[block] * sums.of_rows(part)[:, None]

    each_block(place, rows, size, worth=8)
    return found


def log_softmax_gradient(g: Array, result: Array) -> Array:
    """The gradient of ``log_softmax`` along the last dimension: ``g - exp(result) * sum(g)``."""
    size = g.shape[-1]
    found = np.empty(g.shape, g.dtype)
    rows = g.size // size
    gs, values, out = g.reshape(rows, size), result.reshape(rows, size), found.reshape(rows, size)

    def place(block: slice) -> None:
        part = np.exp(values[block], out=out[block])
        part *= sums.of_rows(gs[block])[:, None]
        np.subtract(gs[block], part, out=part)

    each_block(place, rows, size)
    return found
