"""Runs a sample on a side: its values, its gradients, and the gradients of those."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tests.references.sides import Side, flatten
from tests.samples import Array, D, ErrorSample, Sample


class Result(NamedTuple):
    """What a call gave.

    Attributes:
        outputs: the values.
        requires: which outputs require grad.
        gradients: to each variable; zeros where there is none.
        seconds: gradients of the weighted sum of those gradients: to the variables, then to the cotangent of each output.
        variables: which of the sample's arrays required grad.
    """

    outputs: tuple[Array, ...]
    requires: tuple[bool, ...] = ()
    gradients: tuple[Array, ...] = ()
    seconds: tuple[Array, ...] = ()
    variables: tuple[int, ...] = ()


class Bound:
    """A sample whose arrays are taken out, so that others can be put in."""

    def __init__(self, sample: Sample | ErrorSample) -> None:
        self.sample = sample
        self.arrays: list[Array] = []
        collect(self.arrays, sample.args)
        collect(self.arrays, dict(sample.kwargs))
        self.continuous = [i for i, a in enumerate(self.arrays) if a.dtype.kind in "fc"]

    def call(self, side: Side, tensors: Sequence[Any]) -> Any:
        """Call the sample's function on these tensors; a call that changes its first argument gets a copy and gives it back."""
        remaining = iter(tensors)
        args = [_put(side, a, remaining) for a in self.sample.args]
        kwargs = {k: _put(side, v, remaining) for k, v in self.sample.kwargs.items()}
        in_place = is_in_place(self.sample)
        if in_place:
            args[0] = args[0].clone()
        returned = side.call(side.resolve(self.sample.call), *args, **kwargs)
        return args[0] if in_place and returned is None else returned


def collect(into: list[Array], value: Any) -> None:
    """Append every numpy array in ``value``, in order."""
    if isinstance(value, np.ndarray):
        into.append(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            collect(into, item)
    elif isinstance(value, dict):
        for item in value.values():
            collect(into, item)


def _put(side: Side, value: Any, tensors: Any) -> Any:
    if isinstance(value, np.ndarray):
        return next(tensors)
    if isinstance(value, (tuple, list)):
        return type(value)([_put(side, item, tensors) for item in value])
    return side.dtype(value.name) if isinstance(value, D) else value


_IN_PLACE_OPERATORS = frozenset(
    f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
) | {"__setitem__", "__imatmul__"}


def is_in_place(sample: Sample | ErrorSample) -> bool:
    """Whether the call changes its first argument."""
    name = sample.call.rpartition(".")[2]
    return bool(sample.kwargs.get("inplace")) or name in _IN_PLACE_OPERATORS or (name.endswith("_") and not name.endswith("__"))


FIRST, SECOND, DIRECTION = 1, 2, 3
"""Salts of ``weights``: cotangents of the first derivative, of the second, and directions to step along."""


def weights(position: int, like: Array, salt: int) -> Array:
    """A fixed random array, as a cotangent or a direction, in the type and shape of ``like``."""
    random = np.random.default_rng([salt, position, *like.shape])
    values: Any = random.uniform(0.5, 1.5, like.shape) * random.choice([-1.0, 1.0], like.shape)
    if like.dtype.kind == "c":
        values = values + 1j * random.uniform(0.5, 1.5, like.shape)
    return np.asarray(values, like.dtype)


def evaluate(side: Side, sample: Sample, order: int = 0, variables: Sequence[int] | None = None) -> Result:
    """The sample's values, and gradients up to ``order`` to its variables: by default every floating or complex array."""
    bound = Bound(sample)
    return evaluate_at(side, bound, bound.arrays, None, order, variables)


def evaluate_at(
    side: Side,
    bound: Bound,
    arrays: Sequence[Array],
    cotangents: Sequence[Array] | None,
    order: int,
    variables: Sequence[int] | None = None,
) -> Result:
    """The values and gradients of the sample's call at other arrays and, if given, other cotangents."""
    wanted = tuple(bound.continuous if variables is None else variables) if order else ()
    leaves = [side.tensor(a, requires_grad=i in wanted) for i, a in enumerate(arrays)]
    if getattr(bound.sample, "random", False):
        side.seed()
    with side.differentiable(order):
        outputs = flatten(side, bound.call(side, leaves))
    values = tuple(side.array(o) if side.is_tensor(o) else o for o in outputs)
    requires = tuple(bool(side.is_tensor(o) and o.requires_grad) for o in outputs)
    if not order or not any(requires):
        return Result(values, requires, variables=wanted)
    inputs = [leaves[i] for i in wanted]
    roots = [o for o, needed in zip(outputs, requires, strict=True) if needed]
    vectors = [
        side.tensor(a, requires_grad=order > 1) for a in (cotangents_of(values, requires) if cotangents is None else cotangents)
    ]
    firsts = side.grad(roots, inputs, vectors, create_graph=order > 1)
    gradients = _arrays(side, firsts, inputs)
    if order == 1:
        return Result(values, requires, gradients, variables=wanted)
    sources = [*inputs, *vectors]
    smooth = [i for i, g in enumerate(firsts) if g is not None and g.requires_grad]
    seconds: Sequence[Any] = [None] * len(sources)
    if smooth:
        directions = [side.tensor(weights(i, gradients[i], SECOND)) for i in smooth]
        seconds = side.grad([firsts[i] for i in smooth], sources, directions, create_graph=False)
    return Result(values, requires, gradients, _arrays(side, seconds, sources), wanted)


def cotangents_of(values: Sequence[Array], requires: Sequence[bool]) -> list[Array]:
    """The cotangents that the first derivative is taken with, one per output that requires grad."""
    return [weights(i, v, FIRST) for i, (v, needed) in enumerate(zip(values, requires, strict=True)) if needed]


def _arrays(side: Side, tensors: Sequence[Any], like: Sequence[Any]) -> tuple[Array, ...]:
    return tuple(np.zeros_like(side.array(x)) if t is None else side.array(t) for t, x in zip(tensors, like, strict=True))


def in_float32(sample: Sample) -> Sample | None:
    """The same call with half the precision in its arrays; None where it has no wide ones or says not to."""
    if not sample.float32:
        return None
    if not any(a.dtype in _NARROWER for a in Bound(sample).arrays):
        return None
    return dataclasses.replace(
        sample,
        args=_narrow(sample.args),
        kwargs={k: _narrow(v) for k, v in sample.kwargs.items()},
        note=f"{sample.note} float32".strip(),
    )


_NARROWER = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}


def _narrow(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(_NARROWER.get(value.dtype, value.dtype))
    if isinstance(value, (tuple, list)):
        return type(value)([_narrow(v) for v in value])
    return value


def order_of(sample: Sample) -> int:
    """Up to which order the sample is compared with the reference."""
    if sample.random or not (sample.gradient or sample.torch):
        return 0  # nobody says what the gradient should be, and there may be none: of eigenvectors with free phases, say
    return 2 if sample.gradient and sample.second and is_wide(sample) else 1


def is_wide(sample: Sample) -> bool:
    """Whether all its floating and complex arrays have double precision, so that small differences can be taken."""
    return all(a.dtype in _NARROWER for a in Bound(sample).arrays if a.dtype.kind in "fc")


def digest(sample: Sample | ErrorSample) -> str:
    """A name of exactly this call: it changes with the function, a value, a type or a keyword."""
    text = repr([sample.call, _canonical(sample.args), _canonical(dict(sample.kwargs))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ["array", value.dtype.str, value.shape, value.tobytes().hex()]
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, [_canonical(v) for v in value]]
    if isinstance(value, dict):
        return [[k, _canonical(v)] for k, v in sorted(value.items())]
    return value
