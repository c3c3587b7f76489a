"""What is known of an op's call before anything is computed."""

from __future__ import annotations

from typing import Any

from telegrad.contract.hooks import Alive
from telegrad.contract.ops import Op, Spec, returns_tuple


class Foresight:
    """What is known of an op's call from shapes, types and parameters alone; remembered per such call.

    Attributes:
        row: the op.
        outputs: the Spec of each; None where the shape depends on values, or on an input whose shape does.
        types: the element type of each output; None where unknown.
        positions: of tensor inputs that gradients flow to.
        in_place: whether the result goes into the first input.
        single: whether the op returns a tensor and not a tuple.
        simple: of the usual kind: one new tensor of known shape, no view.
        spec: of the output of a simple op.
        rank: number of dimensions of the first output; -1 where unknown.
        alive: see ``Recorder.hooked``.
    """

    __slots__ = ("alive", "in_place", "outputs", "positions", "rank", "row", "simple", "single", "spec", "types")

    def __init__(
        self,
        row: Op,
        outputs: tuple[Spec | None, ...],
        types: tuple[Any, ...],
        positions: tuple[int, ...],
        in_place: bool,
        alive: Alive,
    ) -> None:
        self.alive = alive
        self.row = row
        self.outputs = outputs
        self.types = types
        self.in_place = in_place
        self.single = not returns_tuple(row)
        self.spec = outputs[0] if outputs else None
        self.rank = -1 if self.spec is None else len(self.spec.shape)
        self.simple = self.single and self.spec is not None and not row.view and not in_place
        # What is written into a tensor takes its type.
        no_gradient = not in_place and bool(types) and all(t is not None and not t.is_differentiable for t in types)
        self.positions = () if no_gradient else positions


def add_parameters(key: list[Any], parameters: dict[str, Any]) -> bool:
    """Add parameters to a rule's key; False where equal keys would not mean equal calls (True == 1) or where none can be made."""
    for name, value in parameters.items():
        if value.__class__ is tuple:
            for item in value:
                if item.__class__ is not int:
                    return False
        key.append(name)
        key.append(value.__class__)
        key.append(value)
    return True
