"""What samples do not see of the special functions: refused derivatives, bounded work, points that PyTorch gets wrong."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

import telegrad
from telegrad.contract.errors import DerivativeMissingError
from telegrad_service.engine.optional import library


@pytest.mark.parametrize("function", [telegrad.igamma, telegrad.igammac, telegrad.special.zeta])
def test_a_derivative_that_nobody_has_is_refused_in_backward(function: Callable[..., telegrad.Tensor]) -> None:
    order = telegrad.tensor([1.5], requires_grad=True)

    result = function(order, telegrad.tensor([2.0]))

    with pytest.raises(DerivativeMissingError, match="not implemented") as refused:
        result.backward()
    assert isinstance(refused.value, NotImplementedError)


def test_zeta_far_below_zero_is_the_sum_of_its_terms_and_quick() -> None:
    q, order = -40.25, 3.0
    terms = np.sort(1 / (q + np.arange(2_000_000.0)) ** order)

    started = time.monotonic()
    near, far = telegrad.special.zeta(order, telegrad.tensor([q, -1e9 - 0.5], dtype=telegrad.float64)).tolist()

    assert near == pytest.approx(terms.sum(), rel=1e-10)
    assert abs(far) < 1e-10  # the terms of both sides cancel around -1e9 but for the tail
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", ["bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"])
def test_bessel_functions_satisfy_their_equation(name: str) -> None:
    """x**2 f'' + x f' + (x**2 - n**2) f = 0; PyTorch's own values are wrong by 3e-6 near x = 5.3."""
    step = 1e-3
    x = 5.275588 + step * np.arange(-2.0, 3.0)
    f = getattr(telegrad.special, name)(telegrad.tensor(x, dtype=telegrad.float64)).numpy()
    first = (f[0] - 8 * f[1] + 8 * f[3] - f[4]) / (12 * step)
    second = (-f[0] + 16 * f[1] - 30 * f[2] + 16 * f[3] - f[4]) / (12 * step**2)

    assert abs(x[2] ** 2 * second + x[2] * first + (x[2] ** 2 - int(name[-1]) ** 2) * f[2]) < 1e-7


def test_a_kernel_uses_no_library_that_its_row_is_silent_about() -> None:
    with pytest.raises(LookupError, match="needs nothing"):
        library("exp", "scipy.special")


def test_ldexp_shifts_where_the_power_alone_would_overflow() -> None:
    assert telegrad.ldexp(telegrad.tensor([1e-40]), telegrad.tensor([140])).item() == pytest.approx(1e-40 * 2.0**140, rel=1e-4)
    assert telegrad.ldexp(telegrad.tensor([0.5]), telegrad.tensor([2**40])).item() == float("inf")


def test_multinomial_draws_in_proportion_to_the_weights() -> None:
    telegrad.manual_seed(0)
    weights = np.array([0.0, 1.0, 0.0, 3.0, 0.0])

    drawn = telegrad.multinomial(telegrad.tensor(weights), 20_000, replacement=True).numpy()
    first = telegrad.multinomial(telegrad.tensor(np.tile(weights[[1, 3]], (20_000, 1))), 2).numpy()

    assert set(drawn) == {1, 3}
    assert np.mean(drawn == 3) == pytest.approx(0.75, abs=0.015)  # 5 standard deviations
    assert np.mean(first[:, 0] == 1) == pytest.approx(0.75, abs=0.015)
    assert (np.sort(first, axis=1) == [0, 1]).all()


def test_mvlgamma_of_many_dimensions_takes_its_arithmetic_and_no_loop() -> None:
    special = library("mvlgamma", "scipy.special")
    with telegrad.local():
        assert telegrad.tensor([]).mvlgamma(2**62).tolist() == []
        dimensions = 50_001
        x = telegrad.tensor([3e4, 5e4], dtype=telegrad.float64, requires_grad=True)

        found = x.mvlgamma(dimensions)
        found.sum().backward()

        below = x.detach().numpy()[:, None] - np.arange(dimensions) / 2
        constant = dimensions * (dimensions - 1) / 4 * np.log(np.pi)
        np.testing.assert_allclose(found.detach().numpy(), constant + special.gammaln(below).sum(1), rtol=1e-12)
        np.testing.assert_allclose(x.grad.numpy(), special.digamma(below).sum(1), rtol=1e-10)


def test_histc_refuses_a_range_that_its_type_cannot_hold() -> None:
    with telegrad.local():
        with pytest.raises(telegrad.errors.ShapeError, match="not finite"):
            telegrad.tensor([float("inf"), 1.0]).histc(max=1e308)
        assert telegrad.tensor([1e300, 1.0], dtype=telegrad.float64).histc(2, max=1e308).tolist() == [2.0, 0.0]
