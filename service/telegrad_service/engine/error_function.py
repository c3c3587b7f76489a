"""The error function on arrays, with numpy alone.

Rational approximations in three intervals of abs(x), relative error below 6e-19 in exact arithmetic: W. J. Cody, "Rational
Chebyshev approximations for the error function", Mathematics of Computation 23 (1969), 631-637, with the coefficients of his
CALERF (1990).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad_service.engine.table import Array

SMALL = 0.46875
LARGE = 4.0
ROOT_PI_INVERSE = 0.56418958354775628695

# Numerators and denominators, highest power first.
_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
        8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
_FAR = (
    (
        1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)  # fmt: skip


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    total = x * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        total *= x
        total += c
    return total


def _rational(fraction: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Any:
    return _polynomial(fraction[0], x) / _polynomial(fraction[1], x)


def _decay(x: Array) -> Any:
    """``exp(-x * x)`` with the square split in two: its rounding error alone would cost digits for large ``x``."""
    head = np.trunc(x * 16) / 16
    return np.exp(-head * head) * np.exp(-(x - head) * (x + head))


def _complement(x: Array) -> Array:
    """The complement, erfc, of ``x`` above SMALL."""
    made = np.empty_like(x)
    middle = x <= LARGE
    y = x[middle]
    made[middle] = _rational(_MIDDLE, y) * _decay(y)
    far = ~middle
    y = np.minimum(x[far], 1e3)  # erfc is 0 long before; this keeps inf out of the formulas
    z = 1 / (y * y)
    made[far] = (ROOT_PI_INVERSE - z * _rational(_FAR, z)) / y * _decay(y)
    return made


def _erf_and_erfc(x: Array) -> tuple[Array, Array, Array]:
    """``near``: where abs(x) is at most SMALL; erf of those; erfc(abs(x)) of the others."""
    size = np.abs(x)
    near = ~(size > SMALL)  # nan goes this way and stays nan
    y = x[near]
    return near, y * _rational(_NEAR, y * y), _complement(size[~near])


def _compute_type(x: Array) -> np.dtype[Any]:
    # float16 holds neither the coefficients nor the intermediate values.
    return np.dtype(np.float32) if x.dtype == np.float16 else x.dtype


def erf(x: Any) -> Any:
    """Error function of a floating array, in its type."""
    x = np.asarray(x)
    work = x.astype(_compute_type(x), copy=False)
    near, small, complement = _erf_and_erfc(work)
    made: Array = np.empty_like(work)
    made[near] = small
    made[~near] = np.copysign(1 - complement, work[~near])
    return made.astype(x.dtype, copy=False)


def erfc(x: Any) -> Any:
    """Complement of the error function of a floating array, in its type, with full precision where it is tiny."""
    x = np.asarray(x)
    work = x.astype(_compute_type(x), copy=False)
    near, small, complement = _erf_and_erfc(work)
    made: Array = np.empty_like(work)
    made[near] = 1 - small
    made[~near] = np.where(work[~near] < 0, 2 - complement, complement)
    return made.astype(x.dtype, copy=False)
