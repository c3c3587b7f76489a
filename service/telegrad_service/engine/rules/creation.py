"""Kernels of ops that make tensors from nothing or like another."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# A lambda's parameters cannot be annotated; the plan checks their names.

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.creation_rules import arange_bounds, arange_type, spaced_type
from telegrad.contract.dtypes import DEFAULT_DTYPE, DType, Number
from telegrad.contract.errors import NumericalError
from telegrad.contract.shapes import number_type
from telegrad_service.engine.formulas import F
from telegrad_service.engine.rules.conversion import fits
from telegrad_service.engine.table import Array, derivative, kernel

Size = tuple[int, ...]
Generator = np.random.Generator

# Constants -------------------------------------------------------------------------------------------------------------------


def _full(size: Size, value: Number, dtype: np.dtype[Any]) -> Any:
    return np.full(size, fits(value, dtype), dtype) if value else np.zeros(size, dtype)


@kernel("zeros")
def _zeros(size: Size, dtype: DType | None) -> Any:
    return np.zeros(size, (dtype or DEFAULT_DTYPE).numpy)


@kernel("ones")
def _ones(size: Size, dtype: DType | None) -> Any:
    return np.ones(size, (dtype or DEFAULT_DTYPE).numpy)


@kernel("full")
def _full_of(size: Size, fill_value: Number, dtype: DType | None) -> Any:
    return _full(size, fill_value, (dtype or number_type(fill_value)).numpy)


@kernel("eye")
def _eye(n: int, m: int | None, dtype: DType | None) -> Any:
    return np.eye(n, m, dtype=(dtype or DEFAULT_DTYPE).numpy)


def _triangle(indices: Any, row: int, col: int, offset: int, dtype: DType | None) -> Any:
    """Positions in rows and columns, as numpy finds them; of a matrix without elements there are none to look for."""
    chosen = (dtype or dtypes.int64).numpy
    return np.array(indices(row, max(-row, min(offset, col)), col), chosen) if row and col else np.empty((2, 0), chosen)


kernel("tril_indices", lambda row, col, offset, dtype: _triangle(np.tril_indices, row, col, offset, dtype))
kernel("triu_indices", lambda row, col, offset, dtype: _triangle(np.triu_indices, row, col, offset, dtype))


@kernel("zeros_like")
def _zeros_like(self: Array, dtype: DType | None) -> Any:
    return np.zeros(self.shape, _type_like(self, dtype))


@kernel("ones_like")
def _ones_like(self: Array, dtype: DType | None) -> Any:
    return np.ones(self.shape, _type_like(self, dtype))


@kernel("full_like")
def _full_like(self: Array, fill_value: Number, dtype: DType | None) -> Any:
    return _full(self.shape, fill_value, _type_like(self, dtype))


@kernel("new_full")
def _new_full(self: Array, size: Size, fill_value: Number, dtype: DType | None) -> Any:
    return _full(size, fill_value, _type_like(self, dtype))


def _type_like(self: Array, dtype: DType | None) -> np.dtype[Any]:
    return self.dtype if dtype is None else dtype.numpy


# Ranges ----------------------------------------------------------------------------------------------------------------------


@kernel("arange")
def _arange(start: Number, end: Number | None, step: Number, dtype: DType | None) -> Any:
    target = dtype or arange_type(start, end, step)
    first, step, count = arange_bounds(start, end, step, target)
    if isinstance(first, int) and isinstance(step, int):
        if -(2**62) < first < 2**62 and abs(step) < 2**62:
            return (first + step * np.arange(count)).astype(target.numpy)
        return np.array([first + step * i for i in range(count)], target.numpy)
    return (first + step * np.arange(count, dtype=np.float64)).astype(target.numpy)


def _spaced(start: Any, end: Any, steps: int, dtype: DType | None) -> Any:
    """Each half is reckoned from its own end, so that both ends are exact and the spacing symmetric, as in PyTorch."""
    if dtype is not None and dtype.category == 1:
        start, end = int(np.array(int(start)).astype(dtype.numpy)), int(np.array(int(end)).astype(dtype.numpy))
    wide = np.complex128 if spaced_type(start, end).is_complex else np.float64
    if steps < 2:
        return np.full(steps, start, wide)
    step = (end - start) / (steps - 1)
    index = np.arange(steps)
    return np.asarray(np.where(index < steps // 2, start + step * index, end - step * (steps - 1 - index)), wide)


@kernel("linspace")
def _linspace(start: Number, end: Number, steps: int, dtype: DType | None) -> Any:
    return _spaced(start, end, steps, dtype).astype((dtype or spaced_type(start, end)).numpy)


@kernel("logspace")
def _logspace(start: Number, end: Number, steps: int, base: float, dtype: DType | None) -> Any:
    return np.power(base, _spaced(start, end, steps, dtype)).astype((dtype or spaced_type(start, end)).numpy)


# Random numbers --------------------------------------------------------------------------------------------------------------


def _draw_uniform(generator: Generator, size: Size, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "c":
        part = np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)
        return _draw_uniform(generator, (*size, 2), part).view(dtype)[..., 0]
    if dtype.itemsize == 2:
        # Rounding a float32 could give 1; 11 bits are what float16 holds.
        return (np.floor(generator.random(size, np.float32) * 2048) / 2048).astype(dtype)
    drawn: Any = generator.random(size, np.float32) if dtype.itemsize == 4 else generator.random(size)
    return np.asarray(drawn)


def draw_normal(generator: Generator, size: Size, dtype: np.dtype[Any]) -> Any:
    """Standard normal draws; of complex numbers, each half with half of the variance."""
    if dtype.kind == "c":
        part = np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)
        return (draw_normal(generator, (*size, 2), part) * part.type(0.5**0.5)).view(dtype)[..., 0]
    if dtype.itemsize == 8:
        return np.asarray(generator.standard_normal(size))
    return np.asarray(generator.standard_normal(size, np.float32)).astype(dtype, copy=False)


def _draw_integers(generator: Generator, low: int, high: int, size: Size, dtype: np.dtype[Any]) -> Any:
    wide: Any = np.uint64 if high > 2**63 else np.int64
    return np.asarray(generator.integers(low, high, size, wide)).astype(dtype)


@kernel("rand")
def _rand(size: Size, dtype: DType | None, generator: Generator) -> Any:
    return _draw_uniform(generator, size, (dtype or DEFAULT_DTYPE).numpy)


@kernel("rand_like")
def _rand_like(self: Array, dtype: DType | None, generator: Generator) -> Any:
    return _draw_uniform(generator, self.shape, _type_like(self, dtype))


@kernel("randn")
def _randn(size: Size, dtype: DType | None, generator: Generator) -> Any:
    return draw_normal(generator, size, (dtype or DEFAULT_DTYPE).numpy)


@kernel("randn_like")
def _randn_like(self: Array, dtype: DType | None, generator: Generator) -> Any:
    return draw_normal(generator, self.shape, _type_like(self, dtype))


@kernel("normal")
def _normal(mean: float, std: float, size: Size, dtype: DType | None, generator: Generator) -> Any:
    return np.asarray(draw_normal(generator, size, (dtype or DEFAULT_DTYPE).numpy) * std + mean)


@kernel("randint")
def _randint(low: int, high: int, size: Size, dtype: DType | None, generator: Generator) -> Any:
    return _draw_integers(generator, low, high, size, (dtype or dtypes.int64).numpy)


@kernel("randint_like")
def _randint_like(self: Array, low: int, high: int, dtype: DType | None, generator: Generator) -> Any:
    return _draw_integers(generator, low, high, self.shape, _type_like(self, dtype))


@kernel("randperm")
def _randperm(n: int, dtype: DType | None, generator: Generator) -> Any:
    return generator.permutation(n).astype((dtype or dtypes.int64).numpy)


@kernel("bernoulli")
def _bernoulli(self: Array, p: float | None, generator: Generator) -> Any:
    chance: Any = self if p is None else p
    if p is None and not np.all((self >= 0) & (self <= 1)):
        raise NumericalError("Expected p_in >= 0 && p_in <= 1 to be true, but got false: a probability lies outside [0, 1]")
    return (generator.random(self.shape) < chance).astype(self.dtype)


derivative("bernoulli", self=lambda g: F.zeros(g, g.shape))
