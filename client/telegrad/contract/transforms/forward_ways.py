"""The ways in which tangents go through ops in general; ``forward_rules`` says which op goes which way.

Tangents and primals may be tensors of this process, of a server, or wrappers: all is made of ops and of ``session.grad``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

from telegrad.contract.modes import enable_grad, is_grad_enabled, without_inference
from telegrad.contract.ops import Op
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.wrapper import do


class Call:
    """One op at a point with tangents, as a rule sees it.

    Attributes:
        name: the op.
        row: its row in the table.
        inputs: the primals: tensors, numbers and None.
        tangents: per input, its tangent or None; at least one is a tensor.
        parameters: complete.
        results: the primal results.
    """

    __slots__ = ("inputs", "name", "parameters", "results", "row", "tangents")

    def __init__(
        self, row: Op, inputs: tuple[Any, ...], tangents: tuple[Any, ...], parameters: dict[str, Any], results: tuple[Any, ...]
    ) -> None:
        self.name = row.name
        self.row = row
        self.inputs = inputs
        self.tangents = tangents
        self.parameters = parameters
        self.results = results

    @property
    def result(self) -> Any:
        """The first result."""
        return self.results[0]

    def differentiable(self, position: int) -> bool:
        """Whether gradients flow to this input."""
        slots = self.row.inputs
        return slots[min(position, len(slots) - 1)].name in self.row.differentiable

    @property
    def recorded(self) -> bool:
        """Whether the tangent has a history of its own: where anything that it is made of requires grad."""
        return is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in (*self.inputs, *self.tangents))

    def repeat(self, inputs: tuple[Any, ...]) -> Any:
        """The same op on other inputs."""
        return do(self.name, *inputs, **self.parameters)


Rule: TypeAlias = "Callable[[Call], Any]"
"""Gives the tangent of the result, or a tuple with one for each result; None for a result without."""


def many(made: Any) -> tuple[Any, ...]:
    """What an op or a rule gave, as a tuple."""
    return tuple(cast("Any", made)) if isinstance(made, (tuple, list)) else (made,)


ADDED: Final[dict[str, tuple[str, ...]]] = {
    "addmm": ("self",),
    "addmv": ("self",),
    "baddbmm": ("self",),
    "linear": ("bias",),
    "conv1d": ("bias",),
    "conv2d": ("bias",),
    "conv3d": ("bias",),
    "conv_transpose1d": ("bias",),
    "conv_transpose2d": ("bias",),
    "conv_transpose3d": ("bias",),
}
"""Inputs of multilinear ops that are added to the product."""


def sum_of(terms: list[Any]) -> Any:
    """All terms added up, one at least."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def zero_of(x: Any) -> Any:
    """What stands for the tangent of an input that has none."""
    if isinstance(x, TensorBase):
        return do("zeros_like", x)
    return None if x is None else type(x)(0)


def linear(call: Call) -> Any:
    """The op of the tangents."""
    inputs: list[Any] = []
    for position, (x, t) in enumerate(zip(call.inputs, call.tangents, strict=True)):
        inputs.append(t if t is not None else zero_of(x) if call.differentiable(position) else x)
    return call.repeat(tuple(inputs))


def flat(call: Call) -> Any:
    """Zeros."""
    return tuple([do("zeros_like", y) if y.dtype.is_differentiable else None for y in call.results])


def multilinear(call: Call) -> Any:
    """One product for each tangent. An input that is added to the product, not multiplied, counts once, in the first."""
    slots = call.row.inputs
    added = ADDED.get(call.name, ())
    factors: list[int] = []
    start = list(call.inputs)
    for position, x in enumerate(call.inputs):
        slot = slots[min(position, len(slots) - 1)]
        if slot.name in added:
            t = call.tangents[position]
            start[position] = t if t is not None else None if slot.optional else zero_of(x)
        elif call.tangents[position] is not None:
            factors.append(position)
    total: Any = None
    for position in factors:
        inputs = start.copy()
        inputs[position] = call.tangents[position]
        term = call.repeat(tuple(inputs))
        total = term if total is None else total + term
        for other, x in enumerate(call.inputs):
            slot = slots[min(other, len(slots) - 1)]
            if slot.name in added:
                start[other] = None if slot.optional else zero_of(x)
    if total is None:  # only what is added has a tangent
        first = next(i for i, s in enumerate(slots) if s.name not in added and call.differentiable(i))
        start[first] = zero_of(start[first])
        total = call.repeat(tuple(start))
    return total


def _grad(outputs: list[Any], inputs: list[Any], vectors: list[Any] | None, *, create_graph: bool) -> tuple[Any, ...]:
    found: tuple[Any, ...] = outputs[0].session.grad(
        outputs, inputs, vectors, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return found


def _alias(x: Any) -> Any:
    """The same tensor under another name, so that a gradient with respect to it is of what follows only."""
    alias = do("clone", x) if x.is_inference() else do("view", x, shape=tuple(x.shape))
    if not alias.requires_grad:
        alias.requires_grad = True
    return alias


def slope(call: Call) -> Any:
    """The sum of tangent times slope. ``grad`` with a vector of ones gives the conjugate slope of each element."""
    result = call.result
    shape, dtype = tuple(result.shape), result.dtype
    recording = call.recorded
    total: Any = None
    for position, t in enumerate(call.tangents):
        if t is None:
            continue
        with without_inference(), enable_grad():
            x = call.inputs[position]
            if x.dtype is not dtype:
                x = x.to(dtype)
            if tuple(x.shape) != shape:
                x = x.expand(shape)
            x = _alias(x)
            y = call.repeat((*call.inputs[:position], x, *call.inputs[position + 1 :]))
            (steepness,) = _grad([y], [x], [do("ones_like", y)], create_graph=recording)
        if dtype.is_complex:
            steepness = steepness.conj()
        term = t * steepness
        total = term if total is None else total + term
    return total


def aligned(call: Call) -> Any:
    """Of ``ctc_loss``, whose samples do not meet: each loss's gradient, along the tangent of its log-probabilities. That gradient
    is the one of ``log_softmax``'s input, so the tangent must be of log-probabilities too, as it is behind ``log_softmax``.
    """
    with without_inference(), enable_grad():
        x = _alias(call.inputs[0])
        losses = call.repeat((x, *call.inputs[1:]))
        (gradient,) = _grad([losses], [x], [do("ones_like", losses)], create_graph=call.recorded)
    return (gradient * call.tangents[0]).sum((0, 2))


class Transposed:
    """The Jacobian of recorded tensors, as a map of directions: its transpose, twice.

    The product of a vector u with the Jacobian from the left, the gradient of <y, u>, is linear in u. The gradient by u of that
    product's inner product with a direction is the Jacobian times the direction.
    """

    __slots__ = ("_nothing", "_pulled", "_vectors")

    def __init__(self, roots: Sequence[Any], inputs: Sequence[Any]) -> None:
        """Record the product from the left of ``roots``, which require grad, to ``inputs``. To be called while grad is enabled."""
        self._vectors: list[Any] = []
        for y in roots:
            u = do("zeros_like", y)
            u.requires_grad = True
            self._vectors.append(u)
        self._pulled = _grad(list(roots), list(inputs), self._vectors, create_graph=True)
        # A product that is zero has no history of its own: what is added gives it one.
        self._nothing: Any = sum_of([u.sum() * 0 for u in self._vectors])

    def push(self, tangents: Sequence[Any], *, create_graph: bool) -> tuple[Any, ...]:
        """How the roots change along the direction ``tangents``, one for each input."""
        with without_inference(), enable_grad():
            total: Any = self._nothing
            for g, t in zip(self._pulled, tangents, strict=True):
                total = total + (g.conj() * t if g.dtype.is_complex else g * t).sum()
            total = total.real if total.dtype.is_complex else total
            return _grad([total], self._vectors, None, create_graph=create_graph)


def double(call: Call) -> Any:
    """The general way, see ``Transposed``."""
    positions = [i for i, t in enumerate(call.tangents) if t is not None and call.differentiable(i)]
    with without_inference(), enable_grad():
        inputs = list(call.inputs)
        for i in positions:
            inputs[i] = _alias(inputs[i])
        results = many(call.repeat(tuple(inputs)))
        smooth = [i for i, y in enumerate(results) if y.dtype.is_differentiable]
        transposed = Transposed([results[i] for i in smooth], [inputs[i] for i in positions])
    found = transposed.push([call.tangents[i] for i in positions], create_graph=call.recorded)
    tangents: list[Any] = [None] * len(results)
    for i, t in zip(smooth, found, strict=True):
        tangents[i] = t
    return tuple(tangents)
