"""Jacobians of a function of tensors, by central differences, by ``grad`` and by forward mode, as real matrices.

A complex element counts as two real components, real part first, on both sides. For a real output ``L`` and a complex
input ``z = a + ib`` PyTorch's gradient is ``dL/da + i dL/db``, so its two components are exactly the two real
derivatives; a complex output is differentiated once for its real part (vector 1) and once for its imaginary part
(vector 1j).
Source: "Autograd mechanics", section "Complex numbers", PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from telegrad.autograd.forward_ad import dual_level, make_dual, unpack_dual
from telegrad.contract.dtypes import DType, to_real
from telegrad.contract.errors import GradcheckError
from telegrad.contract.modes import no_grad
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.wrapper import do

Real = npt.NDArray[np.float64]

POINTS_PER_READ: Final = 64
"""Evaluations recorded before their results are read: on a server, one answer brings them all."""


def components(tensor: Tensor) -> int:
    """How many real numbers the elements are."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def to_components(array: npt.NDArray[Any]) -> Real:
    """The real numbers of an array, flat, in double precision."""
    flat: npt.NDArray[Any] = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind == "c":
        return flat.astype(np.complex128).view(np.float64)
    return flat.astype(np.float64)


def from_components(numbers: Real, shape: tuple[int, ...], dtype: DType) -> npt.NDArray[Any]:
    """The array whose real numbers these are."""
    flat = numbers.astype(to_real(dtype).numpy)
    return (flat.view(dtype.numpy) if dtype.is_complex else flat).reshape(shape)


class Problem:
    """A function at a point, and its differentiable inputs and outputs there.

    Attributes:
        inputs: the arguments; those that are no Tensors, or do not require grad, stay as they are.
        places: which arguments are differentiated.
        results: the function's outputs as a tuple.
        differentiable: which of them require grad.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        """Evaluate ``function`` at ``inputs``."""
        self.function = function
        self.inputs = tuple(inputs)
        self.places = [i for i, x in enumerate(self.inputs) if isinstance(x, Tensor) and x.requires_grad]
        self.results = as_tuple(function(*self.inputs))
        self.differentiable = [i for i, y in enumerate(self.results) if isinstance(y, Tensor) and y.requires_grad]

    @property
    def outputs(self) -> list[Tensor]:
        """The differentiable outputs."""
        return [self.results[i] for i in self.differentiable]

    @property
    def variables(self) -> list[Tensor]:
        """The differentiated inputs."""
        return [self.inputs[i] for i in self.places]

    def numerical(self, variable: int, directions: Real, eps: float, *, outputs: Sequence[int]) -> list[Real]:
        """Derivatives along ``directions`` ([n, components of the variable]), by central differences of step ``eps``.

        Args:
            variable: position among ``variables``.
            directions: one direction a row.
            eps: step along a direction.
            outputs: positions among ``results``.

        Returns:
            Per output, [n, components of the output].
        """
        x = self.variables[variable]
        start = to_components(x.detach().numpy())
        rows: list[list[Real]] = [[] for _ in outputs]
        for begin in range(0, len(directions), POINTS_PER_READ):
            chunk = directions[begin : begin + POINTS_PER_READ]
            steps = np.concatenate([chunk, -chunk]) * eps
            found = [self._outputs_at(variable, start + step, outputs) for step in steps]
            for row, values in zip(rows, zip(*found, strict=True), strict=True):
                read = _read(values)
                row.append((read[: len(chunk)] - read[len(chunk) :]) / (2 * eps))
        return [
            np.concatenate(row) if row else np.zeros((0, components(self.results[i]))) for row, i in zip(rows, outputs, strict=True)
        ]

    def forward(self, variable: int, directions: Real, *, outputs: Sequence[int], zeros: bool = False) -> list[Real]:
        """Derivatives along ``directions``, as ``numerical`` gives them, by forward mode.

        Args:
            variable: position among ``variables``.
            directions: one direction a row.
            outputs: positions among ``results``.
            zeros: give the other variables tangents of zeros instead of none.
        """
        x = self.variables[variable]
        rows: list[list[Real]] = [[] for _ in outputs]
        for begin in range(0, len(directions), POINTS_PER_READ):
            chunk = directions[begin : begin + POINTS_PER_READ]
            tangents = [x.session.tensor(from_components(row, x.shape, x.dtype), dtype=x.dtype) for row in chunk]
            found = [self.pushed(variable, t, outputs, zeros=zeros) for t in tangents]
            for row, values in zip(rows, zip(*found, strict=True), strict=True):
                row.append(_read(values))
        return [
            np.concatenate(row) if row else np.zeros((0, components(self.results[i]))) for row, i in zip(rows, outputs, strict=True)
        ]

    def pushed(self, variable: int, tangent: Tensor, outputs: Sequence[int], *, zeros: bool = False) -> list[Tensor]:
        """How ``outputs`` change along the direction ``tangent`` of one variable."""
        with dual_level():
            moved = self._fresh()
            for i in self.places:
                if i == self.places[variable]:
                    moved[i] = make_dual(moved[i], tangent)
                elif zeros:
                    moved[i] = make_dual(moved[i], do("zeros_like", moved[i].detach()))
            results = as_tuple(self.function(*moved))
            found: list[Tensor] = []
            for i in outputs:
                t = unpack_dual(results[i]).tangent
                found.append(do("zeros_like", self.results[i].detach()) if t is None else t.detach())
            return found

    def _fresh(self) -> list[Any]:
        """The inputs, with new leaves in the place of the variables: a function may change its arguments in place."""
        moved: list[Any] = list(self.inputs)
        for i in self.places:
            x = self.inputs[i]
            moved[i] = x.session.tensor(x.detach().numpy(), dtype=x.dtype, requires_grad=True)
        return moved

    def _outputs_at(self, variable: int, numbers: Real, outputs: Sequence[int]) -> list[Tensor]:
        place = self.places[variable]
        moved = self._fresh()
        x = self.inputs[place]
        moved[place] = x.session.tensor(from_components(numbers, x.shape, x.dtype), dtype=x.dtype, requires_grad=True)
        results = as_tuple(self.function(*moved))
        for i in outputs:
            before = self.results[i]
            after = results[i] if i < len(results) else None
            if not isinstance(after, Tensor):
                raise _moved(i, "the same number", "a tensor", "missing", place)
            if after.shape != before.shape:
                raise _moved(i, "the same shape", list(before.shape), list(after.shape), place)
            if after.dtype != before.dtype:
                raise _moved(i, "the same dtype", before.dtype.name, after.dtype.name, place)
        return [results[i] for i in outputs]

    def analytical(self, output: int, vectors: Real, *, check_dtypes: bool = False) -> list[Real]:
        """Vector-Jacobian products of one output with each row of ``vectors`` ([n, components of the output]).

        Args:
            output: position among ``outputs``.
            vectors: one vector a row.
            check_dtypes: also complain of a gradient that has another type than its input.

        Returns:
            Per variable, [n, components of the variable]; zeros where the output does not depend on it.
        """
        y = self.outputs[output]
        rows = [
            y.session.grad(y, self.variables, vector, retain_graph=True, allow_unused=True)
            for vector in self.vectors(output, vectors)
        ]
        return [
            self._read_gradients(variable, [row[variable] for row in rows], check_dtypes) for variable in range(len(self.places))
        ]

    def vectors(self, output: int, rows: Real) -> list[Tensor]:
        """Tensors like one of ``outputs`` with the given components."""
        y = self.outputs[output]
        return [y.session.tensor(from_components(row, y.shape, y.dtype), dtype=y.dtype) for row in rows]

    def rows(self, variable: int, gradients: Tensor, count: int | None = None) -> Real:
        """[n, components of the variable]: a batch of gradients, or one (``count=1``)."""
        x = self.variables[variable]
        return to_components(gradients.detach().numpy()).reshape(gradients.shape[0] if count is None else count, components(x))

    def _read_gradients(self, variable: int, gradients: Sequence[Tensor | None], check_dtypes: bool) -> Real:
        x = self.variables[variable]
        found = [g for g in gradients if g is not None]
        place = self.places[variable]
        for g in found:
            if g.shape != x.shape:
                raise GradcheckError(
                    f"Analytical gradient has incorrect size: {list(g.shape)} for input {place} of size {list(x.shape)}"
                )
            if check_dtypes and g.dtype is not x.dtype:
                raise GradcheckError(f"Gradient has dtype mismatch: {g.dtype.name} for input {place} of type {x.dtype.name}")
        values = np.zeros((len(gradients), components(x)))
        if found:
            values[[g is not None for g in gradients]] = _read(found)
        return values


def _moved(output: int, what: str, before: object, after: object, place: int) -> AssertionError:
    """The error, of PyTorch's class, for an output that is another one elsewhere."""
    return AssertionError(
        f"Expected `func` to return outputs with {what} when inputs are perturbed by eps: output {output} is {before}, and {after} "
        f"with input {place} perturbed"
    )


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Outputs as a tuple: one thing, or the items of a tuple or list."""
    return tuple(cast("Sequence[Any]", value)) if isinstance(value, (tuple, list)) else (value,)


def _read(tensors: Sequence[Tensor]) -> Real:
    """[n, components]: all values in one read."""
    import telegrad

    with no_grad():
        stacked = telegrad.stack(list(tensors))
    flat = to_components(stacked.detach().numpy())
    return flat.reshape(len(tensors), -1)
