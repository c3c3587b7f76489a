"""``gradcheck`` and ``gradgradcheck``: gradients and tangents against central differences, with PyTorch's parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from telegrad.autograd.function import Function
from telegrad.autograd.jacobians import Problem, Real, as_tuple, components, from_components, to_components
from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, GradcheckError
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.batched import do


class _Tolerances(NamedTuple):
    """How far results may be apart; see ``gradcheck``."""

    eps: float | Sequence[float]
    atol: float
    rtol: float
    nondet: float
    check_dtypes: bool

    def step(self, problem: Problem, variable: int) -> float:
        """The step of the finite differences in one variable."""
        return self.eps if isinstance(self.eps, (int, float)) else self.eps[problem.places[variable]]


class _Wanted(NamedTuple):
    """What one call checks; see ``gradcheck``."""

    undefined: bool
    batched: bool
    batched_forward: bool
    forward: bool
    backward: bool
    fast: bool


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
    wanted = _Wanted(
        check_undefined_grad, check_batched_grad, check_batched_forward_grad, check_forward_ad, check_backward_ad, fast_mode
    )
    try:
        steps = eps if isinstance(eps, (int, float)) else tuple(eps)
        if isinstance(steps, tuple) and len(steps) != len(as_tuple(inputs)):
            raise ArgumentValueError(
                f"gradcheck(): eps has {len(steps)} steps for {len(as_tuple(inputs))} inputs; give one for each"
            )
        _check(func, as_tuple(inputs), _Tolerances(steps, atol, rtol, nondet_tol, check_grad_dtypes), wanted)
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


def _check(func: Callable[..., Any], inputs: tuple[Any, ...], tolerances: _Tolerances, wanted: _Wanted) -> None:
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
        _check_backward(problem, tolerances, wanted)
    if wanted.forward:
        _check_forward(problem, tolerances, wanted)


def _check_backward(problem: Problem, tolerances: _Tolerances, wanted: _Wanted) -> None:
    _check_constant_outputs(problem, tolerances)
    for output in range(len(problem.differentiable)):
        if wanted.fast and not _agrees_in_a_direction(problem, output, tolerances):
            _compare(problem, output, tolerances)
            raise GradcheckError(
                f"Gradients of output {problem.differentiable[output]} disagree along a random direction, while each "
                "element of the "
                "Jacobian agrees: the difference is spread over many elements, each within atol"
            )
        if not wanted.fast:
            _compare(problem, output, tolerances)
        _check_multiplied(problem, output)
        if wanted.batched:
            _check_batched(problem, output, tolerances)
    if wanted.undefined:
        _check_undefined(problem, tolerances)


def _check_constant_outputs(problem: Problem, tolerances: _Tolerances) -> None:
    """If no output requires grad, none may depend on the inputs: else a gradient is missing."""
    if problem.differentiable:
        return
    constant = [
        i
        for i, y in enumerate(problem.results)
        if isinstance(y, Tensor) and y.dtype.is_differentiable  # integers change in jumps, or not at all
    ]
    for variable, x in enumerate(problem.variables):
        directions = np.eye(components(x))
        for i, derivative in zip(
            constant, problem.numerical(variable, directions, tolerances.step(problem, variable), outputs=constant), strict=True
        ):
            if derivative.size and float(np.max(np.abs(derivative))) > tolerances.atol:
                raise GradcheckError(
                    f"Numerical gradient for function expected to be zero: output {i} does not require grad, and it "
                    "changes with input "
                    f"{problem.places[variable]} (largest derivative {np.max(np.abs(derivative)):.6g})"
                )


def _compare(problem: Problem, output: int, tolerances: _Tolerances) -> None:
    """The full Jacobians of one output, element by element."""
    place = problem.differentiable[output]
    vectors = np.eye(components(problem.outputs[output]))
    analytical = problem.analytical(output, vectors, check_dtypes=tolerances.check_dtypes)
    again = problem.analytical(output, vectors)
    for variable, (first, second) in enumerate(zip(analytical, again, strict=True)):
        x = problem.variables[variable]
        (numerical,) = problem.numerical(variable, np.eye(components(x)), tolerances.step(problem, variable), outputs=[place])
        close = np.isclose(first.T, numerical, rtol=tolerances.rtol, atol=tolerances.atol, equal_nan=True)
        if not close.all():
            raise GradcheckError(_difference(problem, variable, place, numerical, first.T, close))
        _check_repeatable(problem, variable, output, first, second, tolerances)


def _agrees_in_a_direction(problem: Problem, output: int, tolerances: _Tolerances) -> bool:
    """``v · J u`` by differences against ``(v · J) · u``, with random u, v of positive entries and length 1."""
    random = np.random.default_rng(output)
    place = problem.differentiable[output]
    v = _direction(random, components(problem.outputs[output]))
    analytical = problem.analytical(output, v[None], check_dtypes=tolerances.check_dtypes)
    again = problem.analytical(output, v[None])
    for variable, (first, second) in enumerate(zip(analytical, again, strict=True)):
        u = _direction(random, components(problem.variables[variable]))
        (along,) = problem.numerical(variable, u[None], tolerances.step(problem, variable), outputs=[place])
        # Every element of the Jacobian may be off by atol, so the sum over all of them may be off by this much.
        atol = tolerances.atol * float(u.sum()) * float(v.sum())
        if not np.isclose(first[0] @ u, along[0] @ v, rtol=tolerances.rtol, atol=atol, equal_nan=True):
            return False
        _check_repeatable(problem, variable, output, first, second, tolerances)
    return True


def _direction(random: np.random.Generator, count: int) -> Real:
    direction = random.uniform(0.1, 1.0, count)
    return direction / max(float(np.linalg.norm(direction)), 1e-300)


def _difference(problem: Problem, variable: int, place: int, numerical: Real, analytical: Real, close: Any, mode: str = "") -> str:
    """The message of a disagreement: which, how many, how large, and the worst element."""
    gap = np.where(close, 0.0, np.abs(numerical - analytical))
    gap[np.isnan(gap)] = np.inf
    row, column = (int(k) for k in np.unravel_index(int(np.argmax(gap)), gap.shape))
    x, y = problem.variables[variable], problem.results[place]
    part = ""
    if y.is_complex():
        part = f"While considering the {'real' if close[:, 1::2].all() else 'imaginary'} part of complex outputs only, "
    return (
        f"{part}Jacobian {mode}mismatch for output {place} with respect to input "
        f"{problem.places[variable]}: "
        f"{int((~close).sum())} of {close.size} derivatives disagree. Largest: d output{_element(y, column)} / d "
        f"input{_element(x, row)}, "
        f"numerical {numerical[row, column]:.6g}, analytical {analytical[row, column]:.6g}. Maxima of the whole "
        "Jacobian: numerical "
        f"{np.max(np.abs(numerical)):.6g}, analytical {np.max(np.abs(analytical)):.6g}."
    )


def _element(tensor: Tensor, component: int) -> str:
    """Where a component lies: ``[0, 2]``, with the part's name if complex."""
    index = component // 2 if tensor.is_complex() else component
    part = ("", ".imag" if component % 2 else ".real")[tensor.is_complex()]
    return f"{[int(k) for k in np.unravel_index(index, tensor.shape)] if tensor.shape else ''}{part}"


def _check_repeatable(problem: Problem, variable: int, output: int, first: Real, second: Real, tolerances: _Tolerances) -> None:
    gap = float(np.max(np.abs(first - second))) if first.size and not np.array_equal(first, second, equal_nan=True) else 0.0
    if gap > tolerances.nondet:
        raise GradcheckError(
            "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
            "different values "
            f"(output {problem.differentiable[output]}, input {problem.places[variable]}: they differ by {gap:.6g}), "
            "although analytical "
            f"gradient matches numerical gradient. The tolerance for nondeterminism was {tolerances.nondet}."
        )


def _check_multiplied(problem: Problem, output: int) -> None:
    """A vector of zeros must give gradients of zeros."""
    zeros = np.zeros((1, components(problem.outputs[output])))
    for place, gradient in zip(problem.places, problem.analytical(output, zeros), strict=True):
        if gradient.any() and not np.isnan(gradient).any():
            raise GradcheckError(
                f"backward not multiplied by grad_output: a vector of zeros for output "
                f"{problem.differentiable[output]} gives a gradient "
                f"of up to {np.max(np.abs(gradient)):.6g} for input {place}"
            )


def _check_batched(problem: Problem, output: int, tolerances: _Tolerances) -> None:
    """Three random vectors at once must give what they give one by one."""
    y = problem.outputs[output]
    rows = np.random.default_rng(output).uniform(-1, 1, (3, components(y)))
    one_by_one = problem.analytical(output, rows)
    import telegrad

    batch = telegrad.stack(problem.vectors(output, rows))
    found = y.session.grad(y, problem.variables, batch, retain_graph=True, allow_unused=True, is_grads_batched=True)
    for variable, (expected, gradient) in enumerate(zip(one_by_one, found, strict=True)):
        together = np.zeros_like(expected) if gradient is None else problem.rows(variable, gradient)
        if not np.allclose(together, expected, rtol=tolerances.rtol, atol=tolerances.atol, equal_nan=True):
            raise GradcheckError(
                f"Batched gradient mismatch for output {problem.differentiable[output]} with respect to input "
                f"{problem.places[variable]}: largest difference {np.max(np.abs(together - expected)):.6g}"
            )


def _check_forward(problem: Problem, tolerances: _Tolerances, wanted: _Wanted) -> None:
    """Forward mode against differences: every element, or along one random direction."""
    places = [i for i, y in enumerate(problem.results) if isinstance(y, Tensor) and y.dtype.is_differentiable]
    for variable, x in enumerate(problem.variables):
        count = components(x)
        every = np.eye(count)
        directions = _direction(np.random.default_rng(variable), count)[None] if wanted.fast else every
        if not _agrees_forward(problem, variable, directions, places, tolerances, raises=not wanted.fast):
            _agrees_forward(problem, variable, every, places, tolerances, raises=True)
            raise GradcheckError(
                f"Tangents for input {problem.places[variable]} disagree along a random direction, while each element of the "
                "Jacobian computed with forward mode agrees: the difference is spread over many elements, each within atol"
            )
        if wanted.undefined and len(problem.variables) > 1:
            row = _direction(np.random.default_rng(variable), count)[None]
            alone = problem.forward(variable, row, outputs=places)
            beside_zeros = problem.forward(variable, row, outputs=places, zeros=True)
            for place, a, b in zip(places, alone, beside_zeros, strict=True):
                if not np.allclose(a, b, rtol=tolerances.rtol, atol=tolerances.atol, equal_nan=True):
                    raise GradcheckError(
                        f"Expected forward mode to handle inputs without tangents: output {place} changes otherwise with input "
                        f"{problem.places[variable]} alone than beside tangents of zeros for the other inputs"
                    )
        if wanted.batched_forward:
            _check_batched_forward(problem, variable, places, tolerances)


def _agrees_forward(
    problem: Problem, variable: int, directions: Real, places: Sequence[int], tolerances: _Tolerances, *, raises: bool
) -> bool:
    """Whether forward mode gives what differences give along ``directions``, for all outputs."""
    measured = problem.numerical(variable, directions, tolerances.step(problem, variable), outputs=places)
    found = problem.forward(variable, directions, outputs=places, zeros=True)
    # Along a direction every element of the Jacobian may be off by atol, and so their sum by this much.
    atol = tolerances.atol * float(np.abs(directions).sum(axis=1).max(initial=0.0))
    for place, numerical, analytical in zip(places, measured, found, strict=True):
        close = np.isclose(analytical, numerical, rtol=tolerances.rtol, atol=atol, equal_nan=True)
        if not close.all():
            if raises:
                raise GradcheckError(
                    _difference(problem, variable, place, numerical, analytical, close, "computed with forward mode ")
                )
            return False
    return True


def _check_batched_forward(problem: Problem, variable: int, places: Sequence[int], tolerances: _Tolerances) -> None:
    """Three random directions at once must give what they give one by one."""
    import telegrad

    x = problem.variables[variable]
    rows = np.random.default_rng(variable).uniform(-1, 1, (3, components(x)))
    one_by_one = problem.forward(variable, rows, outputs=places)
    batch = telegrad.stack([x.session.tensor(from_components(row, x.shape, x.dtype), dtype=x.dtype) for row in rows])
    together = telegrad.vmap(lambda t: tuple(problem.pushed(variable, t, places)))(batch)
    for place, expected, found in zip(places, one_by_one, together, strict=True):
        values = to_components(found.detach().numpy()).reshape(expected.shape)
        if not np.allclose(values, expected, rtol=tolerances.rtol, atol=tolerances.atol, equal_nan=True):
            raise GradcheckError(
                f"Batched tangent mismatch for output {place} with respect to input {problem.places[variable]}: largest "
                f"difference {np.max(np.abs(values - expected)):.6g}"
            )


class _Undefined(Function):
    """Passes a value on, and no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - nothing is kept
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:  # noqa: ARG004 - whatever it is
        return None


def _check_none(problem: Problem, outputs: Sequence[Tensor]) -> None:
    """Where no gradient arrives, backward must neither fail nor make one up."""
    if not outputs:
        return
    vectors = [do("zeros_like", y.detach()) for y in outputs]
    try:
        found = outputs[0].session.grad(outputs, problem.variables, vectors, retain_graph=True, allow_unused=True)
        made_up = any(g is not None and to_components(g.detach().numpy()).any() for g in found)
    except RuntimeError as error:
        warnings.warn(
            "Backwards compatibility: New undefined gradient support checking feature is enabled by default, but it may break "
            "existing callers of this function. If this is true for you, you can call this function with "
            "check_undefined_grad=False to disable the feature",
            UserWarning,
            stacklevel=6,
        )
        raise GradcheckError(f"{_UNDEFINED} Error: {error}") from error
    if made_up:
        raise GradcheckError(_UNDEFINED)


_UNDEFINED: Final = (
    "Expected backward function to handle undefined output grads: where no gradient arrives, hooks get None, and custom functions "
    "None or zeros, see set_materialize_grads; what they give must be None or zeros."
)


def _check_undefined(problem: Problem, tolerances: _Tolerances) -> None:
    """Leaving outputs out must give what vectors of zeros for them give."""
    outputs = problem.outputs
    _check_none(problem, [_Undefined.apply(y) for y in outputs])
    if len(outputs) < 2:
        return
    zeros = [problem.vectors(i, np.zeros((1, components(y))))[0] for i, y in enumerate(outputs)]
    for output, y in enumerate(outputs):
        row = _direction(np.random.default_rng(output), components(y))[None]
        alone = problem.analytical(output, row)
        vectors = [*zeros[:output], *problem.vectors(output, row), *zeros[output + 1 :]]
        beside_zeros = y.session.grad(outputs, problem.variables, vectors, retain_graph=True, allow_unused=True)
        for variable, (expected, gradient) in enumerate(zip(alone, beside_zeros, strict=True)):
            found = np.zeros_like(expected) if gradient is None else problem.rows(variable, gradient, count=1)
            if not np.allclose(found, expected, rtol=tolerances.rtol, atol=tolerances.atol, equal_nan=True):
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads: for input "
                    f"{problem.places[variable]}, output {problem.differentiable[output]} alone gives another gradient "
                    "than beside "
                    "vectors of zeros for the other outputs"
                )
