"""Kernels of the windows; computed in float64, then rounded."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from telegrad.contract.dtypes import DEFAULT_DTYPE, DType
from telegrad_service.engine.table import Array, kernel


def _window(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a window given as a function of the points 0, 1, ..., M - 1 and their number in a period, less one if symmetric."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def compute(M: int, sym: bool, dtype: DType | None, **shape: Any) -> Any:
            chosen = (dtype or DEFAULT_DTYPE).numpy
            if M <= 1:
                return np.ones(M, chosen)
            return function(np.arange(M, dtype=np.float64), M - 1 if sym else M, **shape).astype(chosen)

        kernel(name, compute)
        return function

    return register


@_window("bartlett")
def _bartlett(n: Array, period: int) -> Any:
    return 1 - np.abs(2 * n / period - 1)


@_window("cosine")
def _cosine(n: Array, period: int) -> Any:
    return np.sin(math.pi * (n + 0.5) / (period + 1))


@_window("exponential")
def _exponential(n: Array, period: int, center: float | None, tau: float) -> Any:
    return np.exp(-np.abs(n - (period / 2 if center is None else center)) / tau)


@_window("gaussian")
def _gaussian(n: Array, period: int, std: float) -> Any:
    return np.exp(-0.5 * ((n - period / 2) / std) ** 2)


@_window("kaiser")
def _kaiser(n: Array, period: int, beta: float) -> Any:
    x = 2 * n / period - 1
    return np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta)


@_window("general_cosine")
def _general_cosine(n: Array, period: int, a: Sequence[float]) -> Any:
    angle = 2 * math.pi / period * n
    total = np.full_like(n, a[0])
    for i, weight in enumerate(a[1:], start=1):
        total += (-1) ** i * weight * np.cos(i * angle)
    return total


@_window("general_hamming")
def _general_hamming(n: Array, period: int, alpha: float) -> Any:
    return _general_cosine(n, period, (alpha, 1 - alpha))


for _name, _weights in (
    ("hann", (0.5, 0.5)),
    ("hamming", (0.54, 0.46)),
    ("blackman", (0.42, 0.5, 0.08)),
    ("nuttall", (0.3635819, 0.4891775, 0.1365995, 0.0106411)),
):
    _window(_name)(functools.partial(_general_cosine, a=_weights))
