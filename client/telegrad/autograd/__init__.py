"""Gradients with ``torch.autograd``'s names: ``backward``, ``grad``, ``gradcheck``, ``gradgradcheck`` and the grad
mode.

Tensors of this process and of a server are treated alike: each call goes to the session that the tensors live in.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from telegrad.autograd import forward_ad as forward_ad
from telegrad.autograd import function as function
from telegrad.autograd import functional as functional
from telegrad.autograd import graph
from telegrad.autograd.checks import gradcheck, gradgradcheck
from telegrad.autograd.function import Function
from telegrad.autograd.graph import GradientEdge, as_tensors
from telegrad.contract.checks import check_materialize
from telegrad.contract.errors import ArgumentTypeError, AutogradError, GradcheckError
from telegrad.contract.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from telegrad.contract.session import one_or_many
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import detect_anomaly, set_detect_anomaly

if TYPE_CHECKING:
    from telegrad.contract.session import BaseSession

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def backward(
    tensors: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge] | dict[str, Tensor] | None = None,
) -> None:
    """Add the gradients of ``tensors`` to the ``grad`` of the leaves that they depend on.

    Args:
        tensors: what to differentiate: tensors, or places in the graph (``graph.GradientEdge``), which may stand for tensors
            here and in ``inputs``.
        grad_tensors: the vector of the vector-Jacobian product for each of ``tensors``, of its shape; None for one that
            is a real scalar, which starts with 1.
        retain_graph: keep what the graph saved, so that it can be walked again; as ``create_graph`` unless given.
        create_graph: record a graph of the gradients themselves, for higher derivatives.
        inputs: accumulate into these tensors only, leaves or not; None for all leaves.

    Raises:
        AutogradError: a tensor that does not require grad, a missing vector, empty ``inputs``.
        ShapeError, DTypeError: a vector that does not fit its tensor.
        GraphFreedError: the graph was freed by an earlier walk.
        VersionError: a saved value was changed in place since.
    """
    roots = as_tensors(tensors, "tensors")
    vectors = None if grad_tensors is None else one_or_many(grad_tensors, "grad_tensors")
    wanted = None if inputs is None else _wanted(inputs, "backward")
    if wanted is not None and not wanted:
        raise AutogradError("`inputs` argument to `backward()` cannot be empty.")
    if roots:
        _session(roots, "tensors").backward(roots, vectors, retain_graph, create_graph, wanted)


@overload
def grad(
    outputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    inputs: dict[str, Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> dict[str, Any]: ...


@overload
def grad(
    outputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]: ...


def grad(
    outputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge],
    inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge] | dict[str, Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...] | dict[str, Any]:
    """The gradients of ``outputs`` with respect to ``inputs``, summed over the outputs; no ``grad`` is touched.

    Args:
        outputs: what to differentiate: tensors, or places in the graph (``graph.GradientEdge``), which may stand for tensors
            here and in ``inputs``.
        inputs: with respect to these, leaves or not. A dict of tensors gives a dict of gradients under the same keys.
        grad_outputs: the vector of the vector-Jacobian product for each output; None for one that is a real scalar.
        retain_graph: keep what the graph saved, so that it can be walked again; as ``create_graph`` unless given.
        create_graph: record a graph of the gradients themselves, for higher derivatives.
        only_inputs: changes nothing; False warns, as in PyTorch, which has it for old code.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error; as
            ``materialize_grads`` unless given.
        is_grads_batched: the first dimension of every vector counts vectors; the gradients get that dimension too.
        materialize_grads: give zeros in place of None.

    Returns:
        One tensor (or None) per input, in the order of ``inputs``.

    Raises:
        UnusedInputError: an input that the outputs do not depend on, without ``allow_unused``.
        Otherwise as ``backward``.
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other parts of "
            "the graph, please use telegrad.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    wanted = _wanted(inputs, "grad")
    edges = [isinstance(x, GradientEdge) for x in _each(inputs)] if materialize_grads else []
    if any(edges):
        check_materialize(allow_unused, materialize_grads)
        allow_unused, materialize_grads = True, False
    roots = as_tensors(outputs, "outputs")
    vectors = None if grad_outputs is None else one_or_many(grad_outputs, "grad_outputs")
    found = _session(roots or wanted, "outputs").grad(
        roots,
        wanted,
        vectors,
        retain_graph,
        create_graph,
        allow_unused,
        is_grads_batched,
        materialize_grads,
    )
    if any(edges):
        found = tuple(
            [_made_up(x, edge, create_graph) if g is None else g for g, x, edge in zip(found, wanted, edges, strict=True)]
        )
    return dict(zip(inputs, found, strict=True)) if isinstance(inputs, dict) else found


def _each(inputs: Any) -> Sequence[Any]:
    return (
        (inputs,) if isinstance(inputs, (Tensor, GradientEdge)) else tuple(inputs.values() if isinstance(inputs, dict) else inputs)
    )


def _made_up(tensor: Any, edge: bool, requires_grad: bool) -> Any:
    """Zeros for a gradient that there is not."""
    if edge:
        raise AutogradError(
            "materialize_grads cannot be used when the given input is a GradientEdge that no gradient arrives at: an edge has no "
            "values to be like; use allow_unused=True, or give the tensor"
        )
    with no_grad():
        made = tensor._apply("zeros_like", tensor)
    return made.requires_grad_(requires_grad)


def _wanted(inputs: Tensor | GradientEdge | Sequence[Tensor | GradientEdge] | dict[str, Tensor], function: str) -> list[Tensor]:
    """The tensors of ``inputs``, whatever holds them."""
    if isinstance(inputs, dict):
        return as_tensors(list(inputs.values()), "inputs")
    if isinstance(inputs, Mapping):
        raise ArgumentTypeError(
            f"`inputs` argument to `{function}()` must be a dict, not {type(inputs).__name__}. Other Mapping types are "
            "not supported."
        )
    return as_tensors(inputs, "inputs")


def _session(tensors: Sequence[Any], argument: str) -> BaseSession:
    """The session of the first tensor; the session itself checks the others."""
    if not tensors:
        raise AutogradError("`inputs` argument to `grad()` cannot be empty.")
    first: Any = tensors[0]
    if isinstance(first, TensorBase):
        session: BaseSession = getattr(first, "session")  # noqa: B009 - the plain and the async tensor have one, their base not
        return session
    raise ArgumentTypeError(f"{argument} must be Tensors, not {type(first).__name__}")
