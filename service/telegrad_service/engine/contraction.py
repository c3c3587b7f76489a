"""Einstein summation on arrays by matrix products, also with repeated labels in the result, which its derivative needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from telegrad.contract.einsum import plan
from telegrad_service.engine.table import Array


def contract(operands: Sequence[Array], inputs: Sequence[str], output: str, shape: tuple[int, ...]) -> Array:
    """The sum over all labels that ``output`` lacks of the product of the operands.

    Args:
        operands: arrays of one type.
        inputs: a label per dimension; a label repeated within one operand takes its diagonal; a size of 1 broadcasts.
        output: labels of the result; one that is repeated fills a diagonal of zeros, one that no operand has is broadcast.
        shape: shape of the result; a size of 1 sums its label.
    """
    arrays: list[Array] = []
    names: list[str] = []
    for operand, labels in zip(operands, inputs, strict=True):
        array, left = _without_ones(*_diagonal(operand, labels))
        arrays.append(array)
        names.append(left)
    wanted = "".join(dict.fromkeys(label for label, n in zip(output, shape, strict=True) if n != 1))
    present = "".join(label for label in wanted if any(label in labels for labels in names))
    for i, labels in enumerate(names):
        others = present + "".join(names[:i] + names[i + 1 :])
        arrays[i], names[i] = _sum_alone(arrays[i], labels, others)
    sizes = {label: n for array, labels in zip(arrays, names, strict=True) for label, n in zip(labels, array.shape, strict=True)}
    for step in plan(tuple(names), present, tuple(sorted(sizes.items()))).steps:
        a, b = arrays[step.left], arrays[step.right]
        product = _pair(a, names[step.left], b, names[step.right], step.labels)
        del arrays[step.right], arrays[step.left], names[step.right], names[step.left]
        arrays.append(product)
        names.append(step.labels)
    result = arrays[0].transpose([names[0].index(label) for label in present])
    return _spread(result, present, output, shape)


def _diagonal(array: Array, labels: str) -> tuple[Array, str]:
    """The view along repeated labels, and each label once."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            array = np.diagonal(array, axis1=first, axis2=second)
            labels = labels[:first] + labels[first + 1 : second] + labels[second + 1 :] + label
    return array, labels


def _without_ones(array: Array, labels: str) -> tuple[Array, str]:
    """Without dimensions of size 1: they broadcast, which a missing label does too."""
    if 1 not in array.shape:
        return array, labels
    kept = "".join(label for label, n in zip(labels, array.shape, strict=True) if n != 1)
    return array.reshape([n for n in array.shape if n != 1]), kept


def _sum_alone(array: Array, labels: str, needed: str) -> tuple[Array, str]:
    """With the labels summed out that nobody else has."""
    alone = tuple(i for i, label in enumerate(labels) if label not in needed)
    if not alone:
        return array, labels
    # Integers must not widen: the result has the operands' type.
    summed = np.asarray(array.sum(axis=alone, dtype=array.dtype))
    return summed, "".join(label for label in labels if label in needed)


def _pair(a: Array, left: str, b: Array, right: str, kept: str) -> Array:
    """Product of two operands, summed over what both have and ``kept`` lacks; dimensions in the order of ``kept``."""
    batch = [label for label in left if label in right and label in kept]
    summed = [label for label in left if label in right and label not in kept]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    if not summed:
        return _aligned(a, left, kept) * _aligned(b, right, kept)
    size = dict(zip(left, a.shape, strict=True)) | dict(zip(right, b.shape, strict=True))

    def count(labels: list[str]) -> int:
        return math.prod(size[label] for label in labels)

    shapes = [size[label] for label in batch]
    first = a.transpose([left.index(label) for label in batch + rows + summed]).reshape([*shapes, count(rows), count(summed)])
    second = b.transpose([right.index(label) for label in batch + summed + columns])
    product = np.matmul(first, second.reshape([*shapes, count(summed), count(columns)]))
    order = batch + rows + columns
    return np.asarray(product).reshape([size[label] for label in order]).transpose([order.index(label) for label in kept])


def _aligned(array: Array, labels: str, kept: str) -> Array:
    """Dimensions in the order of ``kept``, size 1 where the operand lacks a label."""
    moved = array.transpose([labels.index(label) for label in kept if label in labels])
    sizes = iter(moved.shape)
    return moved.reshape([next(sizes) if label in labels else 1 for label in kept])


def _spread(result: Array, present: str, output: str, shape: tuple[int, ...]) -> Array:
    """The result in its full shape: sizes of 1 put back, missing labels broadcast, repeated labels on a diagonal."""
    once = "".join(dict.fromkeys(output))
    size = dict(zip(output, shape, strict=True))
    if 1 not in size.values() and once == present == output:
        return result
    # Labels of size 1 were dropped; the others of `present` are in the order of `output`.
    small = result.reshape([size[label] if label in present else 1 for label in once])
    full = tuple(size[label] for label in once)
    if len(once) == len(output):
        return small if small.shape == full else np.array(np.broadcast_to(small, full))
    spread = np.zeros(shape, result.dtype)
    view, names = spread, output
    for label in once:
        while names.count(label) > 1:
            first = names.index(label)
            second = names.index(label, first + 1)
            view = _writable_diagonal(view, first, second)
            names = names[:first] + names[first + 1 : second] + names[second + 1 :] + label
    view[...] = small.transpose([once.index(label) for label in names])
    return spread


def _writable_diagonal(array: Array, first: int, second: int) -> Array:
    """``np.diagonal`` as a view that can be written."""
    view = np.diagonal(array, axis1=first, axis2=second)
    view.flags.writeable = True
    return view
