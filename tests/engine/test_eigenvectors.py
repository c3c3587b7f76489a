"""Derivatives of eigenvectors, whose signs and phases are free: seen through their magnitudes, which are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import telegrad
from telegrad.autograd import gradcheck, gradgradcheck
from tests.samples import complexes, rand


def weighted_magnitudes(UPLO: str, weights: np.ndarray) -> Callable[[telegrad.Tensor], telegrad.Tensor]:
    """A function of a square matrix's symmetric part that eigenvalues and eigenvectors' magnitudes decide."""

    def function(x: telegrad.Tensor) -> telegrad.Tensor:
        values, vectors = telegrad.linalg.eigh(x + x.mT.conj(), UPLO)
        magnitudes = (vectors * vectors.conj()).abs()
        return (values**3).sum() + (magnitudes * telegrad.tensor(weights)).sum()

    return function


@pytest.mark.parametrize("UPLO", ["L", "U"])
@pytest.mark.parametrize("matrix", [rand(3, 3), rand(2, 3, 3), complexes(3, 3)], ids=["real", "batch", "complex"])
def test_eigenvectors_have_derivatives(matrix: np.ndarray, UPLO: str) -> None:
    x = telegrad.tensor(matrix, requires_grad=True)
    function = weighted_magnitudes(UPLO, rand(3, 3, seed=1))

    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("noise", [rand(3, 3), complexes(3, 3)], ids=["real", "complex"])
def test_cholesky_has_derivatives_along_symmetric_matrices(noise: np.ndarray, upper: bool) -> None:
    x = telegrad.tensor(noise, requires_grad=True)
    shift = telegrad.tensor(10 * np.eye(3, dtype=noise.dtype))

    def function(x: telegrad.Tensor) -> telegrad.Tensor:
        return telegrad.linalg.cholesky(x + x.mT.conj() + shift, upper=upper)

    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_singular_determinant_has_cofactors_as_gradient() -> None:
    x = telegrad.tensor([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]], requires_grad=True)

    telegrad.linalg.det(x).sum().backward()

    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[[4.0, -2.0], [-2.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]], atol=1e-6)
