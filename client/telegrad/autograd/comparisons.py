"""The single checks of ``gradcheck``: what each compares, and how it says what it found."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from telegrad.autograd.function import Function
from telegrad.autograd.jacobians import Problem, Real, components, from_components, to_components
from telegrad.contract.errors import GradcheckError
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.wrapper import do


class Tolerances(NamedTuple):
    """How far results may be apart; see ``gradcheck``."""

    eps: float | Sequence[float]
    atol: float
    rtol: float
    nondet: float
    check_dtypes: bool

    def step(self, problem: Problem, variable: int) -> float:
        """The step of the finite differences in one variable."""
        return self.eps if isinstance(self.eps, (int, float)) else self.eps[problem.places[variable]]


class Wanted(NamedTuple):
    """What one call checks; see ``gradcheck``."""

    undefined: bool
    batched: bool
    batched_forward: bool
    forward: bool
    backward: bool
    fast: bool


def check_backward(problem: Problem, tolerances: Tolerances, wanted: Wanted) -> None:
    """Everything that is asked of gradients. Raises GradcheckError where something disagrees, and says what and where."""
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


def _check_constant_outputs(problem: Problem, tolerances: Tolerances) -> None:
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


def _compare(problem: Problem, output: int, tolerances: Tolerances) -> None:
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


def _agrees_in_a_direction(problem: Problem, output: int, tolerances: Tolerances) -> bool:
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


def _check_repeatable(problem: Problem, variable: int, output: int, first: Real, second: Real, tolerances: Tolerances) -> None:
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


def _check_batched(problem: Problem, output: int, tolerances: Tolerances) -> None:
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


def check_forward(problem: Problem, tolerances: Tolerances, wanted: Wanted) -> None:
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
    problem: Problem, variable: int, directions: Real, places: Sequence[int], tolerances: Tolerances, *, raises: bool
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


def _check_batched_forward(problem: Problem, variable: int, places: Sequence[int], tolerances: Tolerances) -> None:
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


def _check_undefined(problem: Problem, tolerances: Tolerances) -> None:
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
