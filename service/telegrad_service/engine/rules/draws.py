"""Kernel of random choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.errors import NumericalError
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.creation import draw_normal
from telegrad_service.engine.table import Array, derivative, kernel


@kernel("normal.Tensor")
def _normal_of(self: Any, std: Any, generator: np.random.Generator) -> Any:
    if np.any(np.less(std, 0)):
        raise NumericalError("normal expects all elements of std >= 0.0")
    like = self if isinstance(self, np.ndarray) else std
    drawn = draw_normal(generator, np.broadcast_shapes(np.shape(self), np.shape(std)), like.dtype)
    return np.asarray(drawn * std + self).astype(like.dtype, copy=False)


derivative("normal.Tensor", self=lambda g: F.zeros(g, g.shape), std=lambda g: F.zeros(g, g.shape))


@kernel("multinomial")
def _multinomial(self: Array, num_samples: int, replacement: bool, generator: np.random.Generator) -> Any:
    weights = np.atleast_2d(self).astype(np.float64)
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        raise NumericalError("probability tensor contains either `inf`, `nan` or element < 0")
    if not np.all(weights.max(axis=1, initial=0.0) > 0):
        raise NumericalError("invalid multinomial distribution (sum of probabilities <= 0): each row needs a positive weight")
    if replacement:
        bounds = np.cumsum(weights / weights.max(axis=1, keepdims=True), axis=1)
        points = generator.random((len(weights), num_samples)) * bounds[:, -1:]
        found = np.empty(points.shape, np.int64)
        for row, (bound, point) in enumerate(zip(bounds, points, strict=True)):
            # A product may round up to the last bound, behind which there may be weights of 0.
            found[row] = np.minimum(np.searchsorted(bound, point, side="right"), np.searchsorted(bound, bound[-1]))
    else:
        # The first of exponential clocks with these rates to ring is drawn with probability in proportion to its rate, and so on.
        clocks = generator.standard_exponential(weights.shape) / weights
        found = np.argsort(clocks, axis=1, kind="stable")[:, :num_samples]
    return found.reshape((*self.shape[:-1], num_samples)).astype(np.int64, copy=False)
