"""Rows shifted and scaled to mean 0 and variance 1, and their gradient, a block of rows at a time.

A block stays in the processor's cache through all of its passes, and sums along rows and columns are products with a vector, which
BLAS does at the speed of memory. Statistics are found again in the
gradient, because in the cache that costs less than it would to keep the normalised rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from telegrad_service.engine.table import Array

BLOCK: Final = 65536
"""Elements a block: with its copies, about what the second-level cache holds."""


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices of rows that cover all of them."""
    step = max(1, BLOCK // max(1, size))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _centred(x: Array, ones: Array, eps: float) -> tuple[Array, Array]:
    """The rows of ``x`` less their means, in a new array, and one over the standard deviation of each."""
    size = x.shape[1]
    centred = x - (np.matmul(x, ones) / size)[:, None]
    # Squares of what is centred: the mean of squares less the squared mean would lose all digits far from zero.
    return centred, np.asarray(1 / np.sqrt(np.matmul(centred * centred, ones) / size + eps), x.dtype)


def forward(x: Array, weight: Array | None, bias: Array | None, size: int, eps: float) -> Array:
    """``x`` normalised over its last ``size`` elements, times ``weight``, plus ``bias``."""
    rows = x.size // size if size else 0
    result = np.empty(x.shape, x.dtype)
    matrix, out = x.reshape(rows, size), result.reshape(rows, size)
    ones = np.ones(size, x.dtype)
    w, b = (None if v is None else v.reshape(size) for v in (weight, bias))
    for block in blocks(rows, size):
        centred, inverse = _centred(matrix[block], ones, eps)
        target = np.multiply(centred, inverse[:, None], out=centred if w is not None or b is not None else out[block])
        if w is not None:
            np.multiply(target, w, out=target if b is not None else out[block])
        if b is not None:
            np.add(target, b, out=out[block])
    return result


def backward(
    g: Array, x: Array, weight: Array | None, shape: tuple[int, ...], eps: float, needs: tuple[bool, bool, bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of input, weight and bias, as ``needs`` says; those of weight and bias have the normalised ``shape``."""
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
        centred, inverse = _centred(xs[block], ones, eps)
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
