"""The state of a random generator as bytes: that of PCG64, its increment, and what is left of the last 64 bits drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.checks import check_state, not_a_state
from telegrad_service.engine.table import Array


def state_of(generator: np.random.Generator) -> Array:
    """What the generator will draw, as bytes: shape (37,), uint8."""
    state: Any = generator.bit_generator.state
    parts = (state["state"]["state"], 16), (state["state"]["inc"], 16), (state["has_uint32"], 1), (state["uinteger"], 4)
    return np.frombuffer(b"".join([int(value).to_bytes(size, "little") for value, size in parts]), np.uint8).copy()


def generator_of(array: Array) -> np.random.Generator:
    """A generator that draws what was to be drawn when ``state_of`` gave these bytes. Raises ArgumentValueError for others."""
    check_state(array.shape, dtypes.from_numpy(array.dtype))
    data = array.tobytes()
    state, increment, half, rest = [int.from_bytes(data[a:b], "little") for a, b in ((0, 16), (16, 32), (32, 33), (33, 37))]
    if half > 1 or not increment % 2:  # PCG64 has odd increments only
        raise not_a_state()
    made: Any = np.random.PCG64()
    made.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": half,
        "uinteger": rest,
    }
    return np.random.Generator(made)
