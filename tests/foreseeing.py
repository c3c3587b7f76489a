"""Runs a sample without values: every op answers what its rule foresees, as the recording client does."""

from __future__ import annotations

from typing import Any

import numpy as np

import telegrad
from telegrad.contract.dtypes import DType, from_numpy
from telegrad.contract.ops import OPS, Spec, UnknownShape
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad, flatten
from tests.samples import Array, Sample


class Foreseen(telegrad.Tensor):
    """A tensor of which only shape and type are known."""

    __slots__ = ("home", "spec")

    def __init__(self, home: ForeseeingSession, spec: Spec) -> None:
        self.home = home
        self.spec = spec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        return self.spec.dtype

    @property
    def session(self) -> telegrad.Session:
        return self.home

    @property
    def requires_grad(self) -> bool:
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        raise AssertionError("a sample sets no flags")

    def _value(self) -> Array:
        raise ValueIsNeededError

    def numpy(self, *, force: bool = False) -> Array:
        raise ValueIsNeededError

    def _apply(self, op: str, /, *inputs: Any, **given: Any) -> Any:
        return self.home._apply(op, *inputs, **given)


class ValueIsNeededError(Exception):
    """The call looks at values, so nothing can be foreseen."""


class ForeseeingSession(telegrad.Session):
    """Applies ops by their rules alone."""

    def _apply(self, op: str, /, *inputs: Any, **given: Any) -> Any:
        in_place = op not in OPS and op.endswith("_")
        row = OPS[op[:-1] if in_place else op]
        specs = [x.spec if isinstance(x, Foreseen) else x for x in inputs]
        if in_place:
            assert row.inplace
            row.infer(specs, given)
            return inputs[0]
        foreseen = [Foreseen(self, spec) for spec in row.infer(specs, given).outputs]
        return foreseen[0] if len(foreseen) == 1 else tuple(foreseen)

    def _create(self, array: Array, requires_grad: bool) -> Foreseen:
        return Foreseen(self, Spec(array.shape, from_numpy(array.dtype)))

    def close(self) -> None:
        """Nothing is held."""


def foresee(sample: Sample) -> list[tuple[tuple[int, ...], str]] | None:
    """Shape and type of each output that the rules foresee; None where they depend on values."""
    session = ForeseeingSession()
    side = Telegrad(session)
    bound = Bound(sample)
    with session:
        tensors = [session._create(np.asarray(a), requires_grad=False) for a in bound.arrays]
        try:
            outputs = flatten(side, bound.call(side, tensors))
        except (UnknownShape, ValueIsNeededError):
            return None
    return [(o.shape, o.dtype.name) for o in outputs]
