"""``gradcheck`` and ``gradgradcheck``: gradients and tangents against central differences, with PyTorch's parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from telegrad.autograd.comparisons import Tolerances, Wanted, check_backward, check_forward
from telegrad.autograd.jacobians import Problem, as_tuple
from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, GradcheckError
from telegrad.contract.tensor.tensor import Tensor


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float | Sequence[float] = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of ``func`` with finite differences, for every input that requires grad and every output
    that does; with ``check_forward_ad``, its tangents in forward mode too.

    Complex inputs and outputs are checked component by component, in PyTorch's convention. Each evaluation gets new
    tensors, so ``func`` must use its arguments and not the same tensors from outside.

    Args:
        func: takes ``inputs`` as its arguments and returns a Tensor or a sequence of them; must give the same result
            each time.
        inputs: the arguments; Tensors that require grad are differentiated, in float64 or complex128 for the default
            tolerances to hold.
        eps: step of the finite differences, one for all inputs or one for each.
        atol: absolute tolerance.
        rtol: tolerance relative to the finite difference.
        raise_exception: raise on disagreement; False returns False instead.
        nondet_tol: how much the same gradient may differ when it is computed twice.
        check_undefined_grad: check that an output without a vector counts as one with a vector of zeros.
        check_grad_dtypes: check that each gradient has its input's type.
        check_batched_grad: check that ``grad(..., is_grads_batched=True)`` gives what one vector after another gives.
        check_batched_forward_grad: check that ``vmap`` over directions gives what one direction after another gives.
        check_forward_ad: check the Jacobian that forward mode gives.
        check_backward_ad: check the Jacobian that backward gives.
        fast_mode: compare along one random direction per input and output, instead of the full Jacobians. The full ones
            are computed after a disagreement, to name the elements.
        masked: how PyTorch treats the unspecified elements of sparse tensors; tensors here are dense, so that None, True and
            False come to the same.

    Returns:
        True if all agree.

    Raises:
        GradcheckError: a disagreement; the message names the output, the input and the largest difference.
        ArgumentValueError: no input requires grad.
        AssertionError: nothing to check, or a batched check of a mode that is not checked, as in PyTorch.
    """
    _require(check_forward_ad or check_backward_ad, "Expected at least one of check_forward_ad or check_backward_ad to be True")
    _require(check_backward_ad or not check_batched_grad, "Setting check_batched_grad=True requires check_backward_ad to be True")
    _require(
        check_forward_ad or not check_batched_forward_grad,
        "Setting check_batched_forward_grad=True requires check_forward_ad to be True",
    )
    _check_masked(masked)
    wanted = Wanted(
        check_undefined_grad, check_batched_grad, check_batched_forward_grad, check_forward_ad, check_backward_ad, fast_mode
    )
    try:
        steps = eps if isinstance(eps, (int, float)) else tuple(eps)
        if isinstance(steps, tuple) and len(steps) != len(as_tuple(inputs)):
            raise ArgumentValueError(
                f"gradcheck(): eps has {len(steps)} steps for {len(as_tuple(inputs))} inputs; give one for each"
            )
        _check(func, as_tuple(inputs), Tolerances(steps, atol, rtol, nondet_tol, check_grad_dtypes), wanted)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _require(condition: bool, message: str) -> None:
    if not condition:
        # PyTorch's class for it, which has no place among the errors of calls.
        raise AssertionError(message)


def _check_masked(masked: object) -> None:
    if masked is not None and not isinstance(masked, bool):
        raise ArgumentTypeError(f"masked must be a bool or None, not {type(masked).__name__}")


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float | Sequence[float] = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare the gradients of ``func``'s gradients with finite differences, with respect to ``inputs`` and
    ``grad_outputs``.

    Args:
        func: as in ``gradcheck``.
        inputs: as in ``gradcheck``.
        grad_outputs: the vectors that the first gradient is taken with; drawn from [-1, 1) and requiring grad unless
            given.
        eps: as in ``gradcheck``, which does the work.
        atol: as in ``gradcheck``.
        rtol: as in ``gradcheck``.
        gen_non_contig_grad_outputs: draw vectors whose elements do not lie side by side in memory.
        raise_exception: as in ``gradcheck``.
        nondet_tol: as in ``gradcheck``.
        check_undefined_grad: as in ``gradcheck``.
        check_grad_dtypes: as in ``gradcheck``.
        check_batched_grad: as in ``gradcheck``.
        check_fwd_over_rev: check the gradients' tangents in forward mode.
        check_rev_over_rev: check the gradients' gradients.
        fast_mode: as in ``gradcheck``.
        masked: as in ``gradcheck``.

    Raises:
        GradcheckError: a disagreement.
        ArgumentValueError: no input requires grad, or no output does.
        AssertionError: nothing to check, as in PyTorch.
    """
    _require(
        check_fwd_over_rev or check_rev_over_rev, "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
    )
    _require(check_rev_over_rev or not check_batched_grad, "Setting check_batched_grad=True requires check_rev_over_rev to be True")
    _check_masked(masked)
    arguments = as_tuple(inputs)
    variables = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        outputs = Problem(func, arguments).outputs
        if not outputs:
            raise ArgumentValueError("gradgradcheck expects at least one output that requires gradient")
        vectors = tuple(_random_vectors(outputs, apart=gen_non_contig_grad_outputs))
    else:
        vectors = as_tuple(grad_outputs)
    count = len(arguments)

    def gradients(*args: Any) -> tuple[Any, ...]:
        results = [y for y in as_tuple(func(*args[:count])) if isinstance(y, Tensor) and y.requires_grad]
        wanted = [args[i] for i in variables]
        found = results[0].session.grad(results, wanted, args[count:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients,
        arguments + vectors,
        eps=eps if isinstance(eps, (int, float)) else (*eps, *[1e-6] * len(vectors)),
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _random_vectors(outputs: Sequence[Tensor], *, apart: bool) -> list[Tensor]:
    random = np.random.default_rng(0)
    made: list[Tensor] = []
    for y in outputs:
        shape = (*y.shape, 2) if apart else y.shape
        values = random.uniform(-1, 1, shape)
        if y.is_complex():
            values = values + 1j * random.uniform(-1, 1, shape)
        vector = y.session.tensor(np.asarray(values, y.dtype.numpy), dtype=y.dtype)
        made.append((vector.select(-1, 0) if apart else vector).requires_grad_())
    return made


def _check(func: Callable[..., Any], inputs: tuple[Any, ...], tolerances: Tolerances, wanted: Wanted) -> None:
    variables = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not variables:
        raise ArgumentValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    for i, x in variables:
        if x.dtype not in (dtypes.float64, dtypes.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if "
                "all the inputs are not of double precision floating point or complex.",
                UserWarning,
                stacklevel=4,
            )
    problem = Problem(func, inputs)
    if wanted.backward:
        check_backward(problem, tolerances, wanted)
    if wanted.forward:
        check_forward(problem, tolerances, wanted)
