"""Finite differences of first and second order, in one random direction per array, so that the cost stays flat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.references.evaluation import (
    DIRECTION,
    FIRST,
    SECOND,
    Bound,
    cotangents_of,
    evaluate,
    evaluate_at,
    weights,
)
from tests.references.sides import Side
from tests.samples import Array, Sample

STEP = 1e-5
"""With central differences in double precision: truncation and rounding both near 1e-11 of values around 1."""

RELATIVE = 1e-6
ABSOLUTE = 1e-8

Scalar = Callable[[Sequence[Array]], float]


def first_order(side: Side, sample: Sample, variables: Sequence[int] | None = None) -> list[str]:
    """Where the sample's gradient disagrees with differences of its values; empty where it agrees."""
    bound = Bound(sample)
    result = evaluate(side, sample, 1, variables)
    if not result.gradients:
        return []

    def value(arrays: Sequence[Array]) -> float:
        outputs = evaluate_at(side, bound, arrays, None, 0).outputs
        return sum(
            weighted(weights(i, output, FIRST), output)
            for i, (output, needed) in enumerate(zip(outputs, result.requires, strict=True))
            if needed
        )

    return _compare(value, bound.arrays, result.variables, result.gradients, "gradient")


def second_order(side: Side, sample: Sample, variables: Sequence[int] | None = None) -> list[str]:
    """Where the gradient of the sample's gradient, to its arrays and to its cotangents, disagrees with differences of it."""
    bound = Bound(sample)
    result = evaluate(side, sample, 2, variables)
    if not result.gradients:
        return []
    count = len(bound.arrays)

    def value(arrays: Sequence[Array]) -> float:
        gradients = evaluate_at(side, bound, arrays[:count], arrays[count:], 1, result.variables).gradients
        return sum(weighted(weights(i, g, SECOND), g) for i, g in enumerate(gradients))

    arrays = [*bound.arrays, *cotangents_of(result.outputs, result.requires)]
    positions = [*result.variables, *range(count, len(arrays))]
    return _compare(value, arrays, positions, result.seconds, "second derivative")


def weighted(weight: Array, value: Array) -> float:
    """The real inner product that complex gradients are defined by: Re sum(conj(weight) * value)."""
    return float(np.sum(np.conj(weight) * value).real)


def _compare(value: Scalar, arrays: Sequence[Array], positions: Sequence[int], gradients: Sequence[Array], what: str) -> list[str]:
    wrong: list[str] = []
    magnitude = abs(value(arrays))
    for position, gradient in zip(positions, gradients, strict=True):
        direction = weights(position, arrays[position], DIRECTION)
        predicted = weighted(gradient, direction)
        ahead, behind = (
            value([a + sign * STEP * direction if i == position else a for i, a in enumerate(arrays)]) for sign in (1, -1)
        )
        measured = (ahead - behind) / (2 * STEP)
        if not abs(measured - predicted) <= RELATIVE * max(abs(measured), abs(predicted)) + ABSOLUTE * (1 + magnitude):
            wrong.append(f"{what} to array {position}: {predicted!r} along a direction where differences give {measured!r}")
    return wrong
