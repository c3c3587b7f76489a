"""When two arrays count as equal: types and shapes exactly, values within what their type can hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.samples import Array

RELATIVE = {"float16": 2e-3, "float32": 2e-5, "complex64": 2e-5, "float64": 1e-9, "complex128": 1e-9}
ABSOLUTE = {"float16": 2e-4, "float32": 2e-6, "complex64": 2e-6, "float64": 1e-11, "complex128": 1e-11}


def difference(found: Array, wanted: Array, *, slack: float = 1.0, precision: str = "") -> str:
    """What differs, in words; empty where nothing does.

    ``slack`` widens the tolerances; ``precision`` names a type that limits them, where some input had less than the result.
    """
    if found.dtype != wanted.dtype:
        return f"dtype is {found.dtype}, the reference has {wanted.dtype}"
    if found.shape != wanted.shape:
        return f"shape is {found.shape}, the reference has {wanted.shape}"
    if found.dtype.kind not in "fc":
        return "" if np.array_equal(found, wanted) else f"values are\n{found}\nthe reference has\n{wanted}"
    name = max(found.dtype.name, precision or found.dtype.name, key=lambda n: RELATIVE[n])
    with np.errstate(all="ignore"):
        scale = float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted)))
        close = np.isclose(
            found,
            wanted,
            rtol=slack * RELATIVE[name],
            atol=slack * (ABSOLUTE[name] + 1e-2 * RELATIVE[name] * scale),
            equal_nan=True,
        )
    if close.all():
        return ""
    return f"{np.count_nonzero(~close)} of {close.size} values differ:\n{found}\nthe reference has\n{wanted}"


def precision_of(arrays: Sequence[Array]) -> str:
    """The name of the least precise floating or complex type among arrays; empty where there is none."""
    return max((a.dtype.name for a in arrays if a.dtype.kind in "fc"), key=lambda n: RELATIVE[n], default="")


def differences(
    found: Sequence[Array], wanted: Sequence[Array], what: str, *, slack: float = 1.0, precision: str = ""
) -> list[str]:
    """What differs in two lists of arrays, a line each."""
    if len(found) != len(wanted):
        return [f"{len(found)} {what}s, the reference has {len(wanted)}"]
    pairs = enumerate(zip(found, wanted, strict=True))
    return [f"{what} {i}: {text}" for i, (a, b) in pairs if (text := difference(a, b, slack=slack, precision=precision))]
