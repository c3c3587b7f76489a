"""What the workloads are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Step = Callable[[], Any]
"""One forward and backward pass; returns what the correctness check compares."""

Makers = dict[str, Callable[..., Step]]
"""From the name of a kind of engine to a function that gives the step."""


def generator() -> np.random.Generator:
    """The same numbers for every engine."""
    return np.random.default_rng(0)
