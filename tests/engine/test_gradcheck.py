"""``gradcheck`` and ``gradgradcheck``: they pass what is right, and name what is wrong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.autograd import GradcheckError, gradcheck, gradgradcheck
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.dual import Dual
from telegrad_service.engine.fast import rewrite
from telegrad_service.engine.table import ENTRIES


def variable(*shape: int, seed: int = 0, dtype: str = "float64") -> Tensor:
    random = np.random.default_rng([seed, *shape])
    values = random.uniform(0.5, 2, shape)
    if dtype.startswith("complex"):
        values = values + 1j * random.uniform(0.5, 2, shape)
    return telegrad.tensor(values.astype(dtype), requires_grad=True)


def half_wrong(x: Tensor) -> Tensor:
    """Has the value x², and the gradient of x · constant."""
    return x * x.detach()


@pytest.fixture
def wrong_formula(monkeypatch):
    """Gives an op another derivative while a test runs."""

    def replace(name, formula):
        monkeypatch.setattr(ENTRIES[name], "formulas", {("self",): formula})
        monkeypatch.setattr(ENTRIES[name], "plans", {})
        rewrite(name, monkeypatch.setattr)

    return replace


@pytest.mark.parametrize("fast_mode", [False, True])
def test_right_gradients_pass(fast_mode):
    inputs = (variable(2, 3), variable(3, seed=1))

    def function(x, w):
        return (x * w).exp(), (x / w).sum(0)

    assert gradcheck(function, inputs, fast_mode=fast_mode, check_batched_grad=True, check_grad_dtypes=True)
    assert gradgradcheck(function, inputs, fast_mode=fast_mode, check_batched_grad=True)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_complex_gradients_pass(fast_mode):
    z, x = variable(2, dtype="complex128"), variable(2)

    def function(a, b):
        return (a * a.conj()).real, a * b, (a * a).exp()

    assert gradcheck(function, (z, x), fast_mode=fast_mode)
    assert gradgradcheck(function, (z, x), fast_mode=fast_mode)


def test_a_single_input_needs_no_tuple():
    assert gradcheck(lambda x: x.sin(), variable(3))


def test_zero_dimensional_and_empty_tensors_pass():
    assert gradcheck(lambda x: x**3, variable())
    assert gradcheck(lambda x: x * 2, variable(0, 3))


def test_other_arguments_are_passed_on():
    mask = telegrad.tensor([True, False])

    assert gradcheck(lambda x, m, n, c: telegrad.where(m, x * n, x) * c, (variable(2), mask, 3, telegrad.ones(2)))


def test_outputs_that_need_no_gradient_are_left_out():
    assert gradcheck(lambda x: (x * 2, x.argmax(), telegrad.ones(2)), variable(3))


def test_inputs_that_are_no_leaves_pass():
    assert gradcheck(lambda x: x.exp(), variable(3) * 2)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_wrong_gradient_is_named_by_output_input_and_element(fast_mode):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda w, x: (w * 2, half_wrong(x)), (variable(2), variable(2)), fast_mode=fast_mode)

    message = str(caught.value)
    assert "output 1 with respect to input 1" in message
    assert "2 of 4 derivatives disagree" in message
    assert re.search(r"numerical \d\.\d+, analytical \d\.\d+", message)
    assert isinstance(caught.value, RuntimeError)


def test_a_wrong_gradient_can_be_asked_for_quietly():
    assert gradcheck(half_wrong, variable(2), raise_exception=False) is False
    assert gradgradcheck(half_wrong, variable(2), raise_exception=False) is False


def test_a_wrong_complex_gradient_is_named_by_its_part(wrong_formula):
    wrong_formula("exp", lambda g, result: g * result)  # without the conjugate

    assert gradcheck(lambda x: x.exp(), variable(2))
    with pytest.raises(GradcheckError, match=r"d output\[\d\]\.(real|imag) / d input\[\d\]\.(real|imag)"):
        gradcheck(lambda z: z.exp(), variable(2, dtype="complex128"))


def test_a_wrong_second_derivative_is_found(wrong_formula):
    x = variable(2)
    wrong_formula("exp", lambda g, result: g * result.detach() if isinstance(result, Tensor) else g * result)

    assert gradcheck(lambda a: a.exp(), x)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(lambda a: a.exp(), x)


def test_a_missing_gradient_is_found():
    with pytest.raises(GradcheckError, match="Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: x.detach() * 2, variable(2))


def test_a_gradient_that_changes_from_run_to_run_is_found(wrong_formula):
    calls = iter(range(10**6))
    wrong_formula("exp", lambda g, result: g * result * (1 + 1e-7 * (next(calls) % 2)))
    x = variable(1)

    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(lambda a: a.exp(), x)
    assert gradcheck(lambda a: a.exp(), x, nondet_tol=1e-5)


def test_a_gradient_that_ignores_the_vector_is_found(wrong_formula):
    wrong_formula("exp", lambda g, result: result)

    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(lambda a: a.exp(), variable())


def test_tolerances_decide():
    def function(x):
        return x * x.detach() * 1e-4

    assert gradcheck(function, variable(2), atol=1e-2)
    assert gradcheck(lambda x: x * 2 + half_wrong(x) * 1e-4, variable(2), rtol=1e-2)
    assert not gradcheck(function, variable(2), raise_exception=False)


def test_eps_is_the_step():
    steps = set()

    def function(x):
        steps.add(round(abs(float(x.detach().sum()) - 1.0), 9))
        return x * 3

    gradcheck(function, telegrad.tensor([1.0], dtype="float64", requires_grad=True), eps=1e-3)

    assert steps == {0.0, 1e-3}


def test_single_precision_is_warned_of():
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision floating point"):
        gradcheck(lambda x: x * 2, variable(2, dtype="float32"), eps=1e-2, atol=1e-2)


def test_an_output_that_changes_shape_is_refused():
    seen = []

    def function(x):
        seen.append(x)
        return telegrad.cat([x] * len(seen))

    with pytest.raises(AssertionError, match="the same shape when inputs are perturbed"):
        gradcheck(function, variable(2))


def test_an_output_that_changes_type_is_refused():
    seen = []

    def function(x):
        seen.append(x)
        return x * 2 if len(seen) == 1 else (x * 2).to(telegrad.float32)

    with pytest.raises(AssertionError, match="the same dtype when inputs are perturbed"):
        gradcheck(function, variable(2))


def test_a_backward_that_cannot_do_without_gradients_is_found():
    def refuse(gradient):
        if gradient is None:
            raise RuntimeError("nothing arrived")

    def function(x):
        y = x.clone()
        y.register_hook(refuse)
        return y

    with (
        pytest.warns(UserWarning, match="undefined gradient support"),
        pytest.raises(GradcheckError, match=r"handle undefined output grads.*nothing arrived"),
    ):
        gradcheck(function, variable(2))
    assert gradcheck(function, variable(2), check_undefined_grad=False)


def test_a_backward_that_makes_gradients_up_is_found():
    class MakesUp(telegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            return telegrad.ones(2, dtype=telegrad.float64) if gradient is None else gradient

    def function(x):
        return MakesUp.apply(x)

    x = variable(2)
    assert gradcheck(function, x, check_undefined_grad=False)
    with pytest.raises(GradcheckError, match="handle undefined output grads"):
        gradcheck(lambda x: (function(x), x * 2), x)


def test_functions_see_the_level_in_which_tangents_are_checked():
    forward_ad = telegrad.autograd.forward_ad

    def function(x, y):
        primal, tangent = forward_ad.unpack_dual(y)
        return x + (y if tangent is None else forward_ad.make_dual(primal, tangent * 1.1))

    with pytest.raises(GradcheckError, match="computed with forward mode mismatch for output 0 with respect to input 1"):
        gradcheck(function, (variable(2), variable(2, seed=1)), check_forward_ad=True)


def test_some_input_must_require_grad():
    with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
        gradcheck(lambda x: x, telegrad.ones(2))


def test_grad_outputs_can_be_given():
    x, v = variable(2), variable(2, seed=5)

    assert gradgradcheck(lambda a: a.exp(), x, v)
    assert gradgradcheck(lambda a: (a.exp(), a.sin()), x, (v, v.detach()))


def test_several_outputs_may_be_left_out_of_backward():
    assert gradcheck(lambda x: x.unbind(), variable(3, 2))
    assert gradcheck(lambda x: x.unbind(), variable(3, 2), check_undefined_grad=False)


def test_no_grad_is_left_behind():
    x = variable(2)
    gradcheck(lambda a: a.exp(), x)

    assert x.grad is None


# Forward mode ----------------------------------------------------------------------------------------------------------------


def tangent_off(x: Tensor) -> Tensor:
    """``2 x``, with gradients of 2 and tangents of 2.5."""
    return x * 2.5 - x.detach() * 0.5 if isinstance(x, Dual) else x * 2


@pytest.mark.parametrize("fast_mode", [False, True])
def test_forward_mode_is_checked(fast_mode: bool) -> None:
    x = variable(2, 3)
    y = variable(3)
    z = variable(2, dtype="complex128")
    settings: Any = {"check_forward_ad": True, "check_batched_forward_grad": True, "fast_mode": fast_mode}

    assert gradcheck(lambda a, b: ((a * b).sin(), a @ b), (x, y), **settings)
    assert gradcheck(lambda a: (a * a.exp(), a.abs(), a.real * 2), (z,), **settings)
    assert gradcheck(lambda a: a.exp(), (y,), check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_wrong_tangents_are_found(fast_mode: bool) -> None:
    x = variable(3)

    assert gradcheck(tangent_off, (x,), fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="computed with forward mode mismatch for output 0"):
        gradcheck(tangent_off, (x,), check_forward_ad=True, fast_mode=fast_mode)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_tangents_of_gradients_are_checked(fast_mode: bool) -> None:
    x = variable(3)
    settings: Any = {"check_fwd_over_rev": True, "gen_non_contig_grad_outputs": True, "fast_mode": fast_mode}

    assert gradgradcheck(lambda a: (a.cumprod(0) * a).softmax(0), (x,), **settings)
    assert gradgradcheck(lambda a: a.sin() * a, (x,), check_rev_over_rev=False, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"check_backward_ad": False},
        {"check_backward_ad": False, "check_forward_ad": True, "check_batched_grad": True},
        {"check_batched_forward_grad": True},
    ],
)
def test_checks_that_make_no_sense_are_refused_as_in_the_reference(settings: dict[str, bool]) -> None:
    x = telegrad.ones(2, dtype=telegrad.float64, requires_grad=True)

    with pytest.raises(AssertionError, match="True"):
        gradcheck(telegrad.exp, (x,), **settings)
    with pytest.raises(AssertionError, match="check_fwd_over_rev or check_rev_over_rev"):
        gradgradcheck(telegrad.exp, (x,), check_rev_over_rev=False)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_each_input_may_have_a_step_of_its_own(fast_mode):
    x, large = variable(2), (variable(2, seed=1).detach() * 1e6).requires_grad_()

    def function(a, b):
        return (a * (b * 1e-6) ** 3).sum()

    assert gradcheck(function, (x, large), eps=(1e-6, 1.0), fast_mode=fast_mode)
    assert gradgradcheck(function, (x, large), eps=[1e-6, 1.0], fast_mode=fast_mode)
    with pytest.raises(ValueError, match="eps has 1 steps for 2 inputs"):
        gradcheck(function, (x, large), eps=(1e-6,), fast_mode=fast_mode)
