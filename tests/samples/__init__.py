"""The suite's shared table: sample calls and invalid calls per op, one module per family, as in ``telegrad.contract.tensor``.

Every cross-cutting test (values against references, gradients of first and second order, parity of the three places, shape
rules, wire round trips) loops over ``SAMPLES``; every test of errors over ``ERRORS``. A sample names a public callable by its path
under ``telegrad``, which is also its path under ``torch``: ``"exp"``, ``"nn.functional.softmax"``, ``"Tensor.masked_fill"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One valid call.

    Attributes:
        call: path of the callable under ``telegrad`` and ``torch``.
        args: positional arguments; numpy arrays become tensors, also inside lists and tuples; ``D("float64")`` that dtype.
        kwargs: keyword arguments, likewise.
        op: the op-table row that it exercises, for the completeness test.
        gradient: False where no gradient exists (integers, comparisons) or the values leave none to speak of.
        differences: False where finite differences cannot see the gradient (a kink or a tie at the sample); PyTorch still decides.
        second: False where the second derivative is zero or absent everywhere by definition (then only the first is checked).
        random: True if the result is drawn: compared by shape, dtype and distribution only.
        torch: False if PyTorch has no such callable; the reason stands in ``note``.
        float32: whether to repeat the call with float arrays in float32.
        note: what the sample is for, if not obvious; part of the test id.
    """

    call: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    op: str = ""
    gradient: bool = True
    differences: bool = True
    second: bool = True
    random: bool = False
    torch: bool = True
    float32: bool = True
    note: str = ""

    @property
    def id(self) -> str:
        """Test id."""
        shapes = ",".join("x".join(map(str, a.shape)) or "0d" if isinstance(a, np.ndarray) else "_" for a in self.args)
        extra = ",".join(f"{k}={_short(v)}" for k, v in self.kwargs.items())
        return "-".join(part for part in (self.call, shapes, extra, self.note) if part)


@dataclass(frozen=True)
class ErrorSample:
    """One invalid call: the builtin class that PyTorch raises for it, and words that the message must contain."""

    call: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    error: type[Exception] = RuntimeError
    match: str = ""
    torch: bool = True
    note: str = ""

    @property
    def id(self) -> str:
        """Test id."""
        return f"{self.call}-{self.error.__name__}-{self.match or self.note}"


@dataclass(frozen=True)
class D:
    """A dtype by name, converted to telegrad's or torch's."""

    name: str


def _short(value: Any) -> str:
    return value.name if isinstance(value, D) else "x".join(map(str, value.shape)) if isinstance(value, np.ndarray) else repr(value)


def rand(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0, dtype: str = "float64") -> Array:
    """Reproducible values in [low, high), distinct, so that no sample sits on a tie by accident."""
    values = np.random.default_rng([seed, *shape]).uniform(low, high, shape)
    return np.asarray(values, dtype)


def ints(*shape: int, low: int = -5, high: int = 6, seed: int = 0, dtype: str = "int64") -> Array:
    """Reproducible integers in [low, high)."""
    return np.asarray(np.random.default_rng([seed, *shape]).integers(low, high, shape), dtype)


def bools(*shape: int, seed: int = 0) -> Array:
    """Reproducible booleans."""
    return np.asarray(np.random.default_rng([seed, *shape]).random(shape) < 0.5)


def complexes(*shape: int, seed: int = 0, dtype: str = "complex128") -> Array:
    """Reproducible complex values."""
    return np.asarray(rand(*shape, seed=seed) + 1j * rand(*shape, seed=seed + 1), dtype)
