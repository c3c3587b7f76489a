"""Nodes that users define: what custom functions and checkpoints ask of a session, and how such nodes are named."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, Protocol

from telegrad.contract.checks import GRAPH_FREED
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import DTypeError, GraphFreedError, ShapeError
from telegrad.contract.hooks import known_dtype, known_shape
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


def check_gradient(name: str, index: int, gradient: Any, shape: Sequence[int] | None, dtype: DType | None) -> None:
    """Refuse a gradient that does not fit its input, in PyTorch's words; what is not known is not compared.

    Args:
        name: of the node.
        index: which of the tensors among the inputs.
        gradient: a tensor; it may be larger along dimensions that the input can be broadcast to.
        shape: of the input.
        dtype: of the input.

    Raises ShapeError; DTypeError for a complex gradient of a real input.
    """
    got, kind = known_shape(gradient), known_dtype(gradient)
    if shape is not None and got is not None and not _expands(shape, got):
        raise ShapeError(
            f"Function {name} returned an invalid gradient at index {index} - got {list(got)} but expected shape compatible with "
            f"{list(shape)}"
        )
    if dtype is not None and kind is not None and kind.is_complex and not dtype.is_complex:
        raise DTypeError(
            f"Function {name} returned an invalid gradient at index {index} - got {kind} for an input of {dtype}; "
            "take its real part"
        )


def of_context(backward: Any, name: str) -> Any:
    """What a custom function set on its context, whose place its node takes in PyTorch: ``y.grad_fn.saved_tensors``, say.

    Args:
        backward: the node's ``Backward``; None where it was freed.
        name: of the attribute.

    Raises GraphFreedError for the saved tensors of a node that was freed, AttributeError for what is not there.
    """
    if backward is None and name == "saved_tensors":
        raise GraphFreedError(GRAPH_FREED)
    context = getattr(backward, "context", None)
    if context is None:
        raise AttributeError(f"this node has no attribute '{name}'")
    return getattr(context, name)


def _expands(shape: Sequence[int], full: Sequence[int]) -> bool:
    """Whether a tensor of ``shape`` can be broadcast to ``full``."""
    if len(shape) > len(full):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(full), strict=False))


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
        refuses=False,
        view=False,
        inplace=False,
        flat_in_place=False,
        random=False,
        reflected=False,
        needs="",
        node=name,
        function=_no_rule,
    )
