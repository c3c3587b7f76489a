"""The error function against the C library's, over every interval that it is pieced together from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from telegrad_service.engine import error_function
from telegrad_service.engine.error_function import LARGE, SMALL, erf, erfc
from telegrad_service.engine.rules import load, transcendental

load()

# Dense near the seams, and out to where erfc leaves double precision's normal numbers.
POINTS = np.concatenate(
    [np.linspace(-27, 27, 4001), *(s * np.nextafter(seam, [0, 9]) for seam in (SMALL, LARGE) for s in (-1, 1)), [SMALL, LARGE]]
)


def test_erf_is_accurate_to_the_last_bits() -> None:
    wanted = np.array([math.erf(x) for x in POINTS])

    np.testing.assert_allclose(erf(POINTS), wanted, rtol=1e-15, atol=0)


def test_erfc_keeps_its_digits_where_it_is_tiny() -> None:
    points = POINTS[POINTS < 26]
    wanted = np.array([math.erfc(x) for x in points])

    np.testing.assert_allclose(erfc(points), wanted, rtol=2e-15, atol=0)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_special_values(kind: str) -> None:
    x = np.array([0.0, np.inf, -np.inf, np.nan], kind)

    assert erf(x).dtype == kind
    np.testing.assert_array_equal(erf(x), np.array([0, 1, -1, np.nan], kind))
    np.testing.assert_array_equal(erfc(x), np.array([1, 0, 2, np.nan], kind))


@pytest.mark.parametrize("name", ["erf", "erfc"])
@pytest.mark.parametrize(("kind", "precision"), [("float64", 4e-15), ("float32", 2e-6), ("float16", 1e-3)])
def test_ours_and_scipys_agree(name: str, kind: str, precision: float) -> None:
    pytest.importorskip("scipy")
    points = POINTS[np.abs(POINTS) < 4].astype(kind)

    made = getattr(transcendental, name)(points)

    assert made.dtype == kind
    np.testing.assert_allclose(made, getattr(error_function, name)(points), rtol=precision, atol=0)
