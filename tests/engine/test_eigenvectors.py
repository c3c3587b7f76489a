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


def moments(x: telegrad.Tensor, weights: np.ndarray) -> telegrad.Tensor:
    """A function of any square matrix that its eigenvalues, and magnitudes within eigenvectors, decide in any order."""
    values, vectors = telegrad.linalg.eig(x)
    spread = ((vectors * vectors.conj()).real * telegrad.tensor(weights[:, None])).sum(-2)
    return ((values**3) * spread).sum().abs() + (telegrad.linalg.eigvals(x) ** 2).sum().real


@pytest.mark.parametrize("matrix", [rand(3, 3), rand(2, 3, 3), complexes(3, 3)], ids=["real", "batch", "complex"])
def test_eigenvectors_of_any_matrix_have_derivatives(matrix: np.ndarray) -> None:
    x = telegrad.tensor(matrix, requires_grad=True)
    weights = rand(3, seed=1)

    assert gradcheck(lambda x: moments(x, weights), (x,))
    assert gradgradcheck(lambda x: moments(x, weights), (x,))


@pytest.mark.parametrize("matrix", [rand(4, 4), complexes(2, 3, 3)], ids=["real", "complex"])
def test_eigenvectors_are_only_scaled_by_the_matrix(matrix: np.ndarray) -> None:
    values, vectors = telegrad.linalg.eig(telegrad.tensor(matrix))

    np.testing.assert_allclose(matrix @ vectors.numpy(), vectors.numpy() * values.numpy()[..., None, :], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(vectors.numpy(), axis=-2), 1.0)


@pytest.mark.parametrize("name", ["eig", "eigh", "svd"])
def test_a_loss_that_depends_on_free_phases_is_refused(name: str) -> None:
    x = telegrad.tensor(complexes(3, 3), requires_grad=True)
    vectors = getattr(telegrad.linalg, name)(x)[0 if name == "svd" else 1]

    with pytest.raises(telegrad.errors.AutogradError, match="specified up to multiplication by e"):
        (vectors * telegrad.tensor(complexes(3, 3, seed=5))).sum().abs().backward()


@pytest.mark.parametrize(
    ("mode", "words"), [("r", "depends on Q, which is not computed"), ("complete", "not differentiable when mode='complete'")]
)
def test_the_forms_of_qr_without_a_derivative_say_so(mode: str, words: str) -> None:
    x = telegrad.tensor(rand(4, 2), requires_grad=True)
    _, R = telegrad.linalg.qr(x, mode)

    with pytest.raises(telegrad.errors.AutogradError, match=words):
        R.sum().backward()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_singular_determinants_have_exact_second_derivatives(rank: int) -> None:
    def slope(x: np.ndarray) -> float:
        """Twice the derivative of the determinant along ``towards``, from six determinants: exact for a cubic."""
        return float(np.linalg.det(x + towards) - np.linalg.det(x - towards) - 2 * np.linalg.det(towards))

    rotation = np.linalg.qr(rand(3, 3))[0]
    matrix = rotation @ np.diag([2.0, 3.0, 5.0] * np.array([rank > 0, rank > 1, False])) @ rotation.T
    towards, step = rand(3, 3, seed=1), rand(3, 3, seed=2)
    x = telegrad.tensor(matrix, requires_grad=True)

    (once,) = telegrad.autograd.grad(telegrad.linalg.det(x), x, create_graph=True)
    (twice,) = telegrad.autograd.grad((once * telegrad.tensor(towards)).sum(), x)

    measured = (slope(matrix + step) - slope(matrix - step)) / 4  # a quadratic of the step, so that this too is exact
    assert float((twice * telegrad.tensor(step)).sum().item()) == pytest.approx(measured, abs=1e-12)
