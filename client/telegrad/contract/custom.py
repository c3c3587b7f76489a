"""Nodes that users define: what custom functions and checkpoints ask of a session, and how such nodes are named."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, Protocol

from telegrad.contract.ops import InputSlot, Op, Outcome

NAME: Final = "custom"
"""What pictures call the op of such a node; it is in no table, since nobody can ask for it by name."""


class Backward(Protocol):
    """What a custom node does when gradients arrive.

    Attributes:
        name: of the node.
        materialize: zeros take the place of gradients that are missing.
        saves: it is freed when it has run, unless the graph is retained.
    """

    name: str
    materialize: bool
    saves: bool

    def run(self, gradients: tuple[Any, ...]) -> Sequence[Any]:
        """From the gradients of all outputs (tensors, or None) to those of the tensors among the inputs, likewise.

        Gradients get a history if the grad mode says so.
        """
        ...


def _no_rule(_inputs: Any, _parameters: Any) -> Outcome:
    raise LookupError("a custom node has no rule")


@functools.lru_cache(maxsize=1024)
def custom_op(name: str) -> Op:
    """The row that a node of that name has in place of one of the op table: any number of tensors in, gradients for all."""
    return Op(
        name=NAME,
        family=NAME,
        namespace="",
        doc="",
        inputs=(InputSlot("inputs", variadic=True),),
        parameters={},
        defaults={},
        outputs=("result",),
        rule=_no_rule,
        differentiable=("inputs",),
        nondifferentiable_reason="",
        view=False,
        inplace=False,
        random=False,
        reflected=False,
        needs="",
        node=name,
        function=_no_rule,
    )
