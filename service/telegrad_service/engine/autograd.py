"""``backward`` and ``grad``: PyTorch's arguments, checks and messages around one walk of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    AutogradError,
    DTypeError,
    SessionMismatchError,
    ShapeError,
    UnusedInputError,
)
from telegrad_service.engine.graph import Walk
from telegrad_service.engine.tensor import Tensor


def backward(
    tensors: Sequence[Tensor],
    grad_tensors: Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> int:
    """Accumulate gradients into the leaves, or into ``inputs`` only; see ``telegrad.autograd.backward``.

    Returns the bytes of the gradients that it made, those that it added to existing ones not counted.
    """
    if inputs is not None and len(inputs) == 0:
        raise AutogradError("`inputs` argument to `backward()` cannot be empty.")
    if not tensors:
        return 0
    roots, cotangents = _cotangents(tensors, grad_tensors, create_graph)
    for position, tensor in enumerate(inputs or ()):
        _same_session(roots[0], tensor)
        if not tensor.requires_grad:
            raise AutogradError(f"One of the differentiated Tensors does not require grad (inputs[{position}])")
    walk = Walk(
        roots[0].home,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        wanted=inputs,
    )
    _walk(walk, roots, cotangents)
    made = walk.finish(accumulate=inputs is None)
    seen: set[int] = set()
    for position, tensor in enumerate(inputs or ()):
        if position in walk.captured and id(tensor) not in seen:
            seen.add(id(tensor))
            made += tensor.array.nbytes if tensor.grad is None else 0
            tensor.accumulate_grad(walk.captured[position], may_keep=False)
    return made


def grad(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, nothing accumulated; see ``telegrad.autograd.grad``."""
    if materialize_grads and allow_unused is False:
        raise ArgumentValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    allow_unused = materialize_grads if allow_unused is None else allow_unused
    if not inputs:
        raise ArgumentValueError("grad requires non-empty inputs.")
    if not outputs:
        raise ArgumentValueError("grad requires non-empty outputs.")
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, keep, create_graph, allow_unused, materialize_grads)
    roots, cotangents = _cotangents(outputs, grad_outputs, create_graph)
    for tensor in inputs:
        _same_session(roots[0], tensor)
        if not tensor.requires_grad:
            raise AutogradError("One of the differentiated Tensors does not require grad")
    walk = Walk(roots[0].home, retain_graph=keep, create_graph=create_graph, wanted=inputs)
    _walk(walk, roots, cotangents)
    walk.finish(accumulate=False)
    results: list[Tensor | None] = []
    for position, tensor in enumerate(inputs):
        found = walk.captured.get(position)
        if found is None:
            if not allow_unused:
                raise UnusedInputError(
                    "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this is the "
                    "desired behavior."
                )
            results.append(tensor.home.wrap(np.zeros_like(tensor.array)) if materialize_grads else None)
        elif isinstance(found, Tensor):
            results.append(found)
        else:
            results.append(tensor.home.wrap(np.array(found)))
    return tuple(results)


def _walk(walk: Walk, roots: Sequence[Tensor], cotangents: Sequence[Any]) -> None:
    walk.restrict(roots)
    for root, cotangent in zip(roots, cotangents, strict=True):
        walk.seed(root, cotangent)
    walk.run()


def _cotangents(
    tensors: Sequence[Tensor], given: Sequence[Tensor | None] | None, create_graph: bool
) -> tuple[Sequence[Tensor], list[Any]]:
    """The roots, and what each starts with: the given vectors, or one for a real scalar."""
    if given is None:
        given = (None,) * len(tensors)
    if len(given) != len(tensors):
        raise AutogradError(
            f"got {len(tensors)} tensors and {len(given)} gradients: give one gradient (or None) per tensor"
        )
    found: list[Any] = []
    for index, (tensor, vector) in enumerate(zip(tensors, given, strict=True)):
        _same_session(tensors[0], tensor)
        if vector is None:
            if tensor.requires_grad:
                if tensor.array.size != 1:
                    raise AutogradError("grad can be implicitly created only for scalar outputs")
                if tensor.array.dtype.kind == "c":
                    raise AutogradError(
                        f"grad can be implicitly created only for real scalar outputs but got {tensor.dtype.name}"
                    )
            array = np.ones_like(tensor.array)
        else:
            if not isinstance(vector, Tensor):
                raise ArgumentTypeError(f"gradients can be either Tensors or None, but got {type(vector).__name__}")
            _same_session(tensor, vector)
            array = _checked_vector(index, tensor, vector)
        if not tensor.requires_grad:
            raise AutogradError(f"element {index} of tensors does not require grad and does not have a grad_fn")
        if create_graph:
            found.append(vector if vector is not None else tensor.home.wrap(array))
        else:
            found.append(array)
    return tensors, found


def _checked_vector(index: int, tensor: Tensor, vector: Tensor) -> Any:
    if vector.array.shape != tensor.array.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[{index}] has a shape of {list(vector.array.shape)} and output[{index}] has a shape of "
            f"{list(tensor.array.shape)}."
        )
    if (vector.array.dtype.kind == "c") != (tensor.array.dtype.kind == "c"):
        raise DTypeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{index}] has a dtype of {vector.dtype.name} and output[{index}] has a dtype of {tensor.dtype.name}."
        )
    return vector.array


def _same_session(a: Tensor, b: Tensor) -> None:
    if a.home is not b.home:
        raise SessionMismatchError("these tensors live in different sessions; move one with session.tensor(other.numpy())")


def _batched(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | None,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
    materialize_grads: bool,
) -> tuple[Tensor | None, ...]:
    """One row of cotangents after another, the results stacked along a new first dimension."""
    vectors = [v for v in grad_outputs or () if v is not None]
    if not vectors:
        raise ArgumentValueError("is_grads_batched=True needs grad_outputs with a leading batch dimension")
    counts = {v.array.shape[0] if v.array.ndim else -1 for v in vectors}
    if len(counts) != 1 or -1 in counts:
        raise ShapeError("with is_grads_batched=True every grad_output needs the same leading batch dimension")
    count = counts.pop()
    if count == 0:
        raise ShapeError("with is_grads_batched=True the leading batch dimension must not be empty")
    for index, (output, vector) in enumerate(zip(outputs, grad_outputs or (), strict=True)):
        if vector is not None and vector.array.shape[1:] != output.array.shape:
            raise ShapeError(
                f"If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. The sizes of "
                f"the remaining dimensions are expected to match the shape of corresponding output, but a mismatch was detected: "
                f"grad_output[{index}] has a shape of {list(vector.array.shape)} and output[{index}] has a shape of "
                f"{list(output.array.shape)}."
            )
    rows: list[tuple[Tensor | None, ...]] = []
    for row in range(count):
        rows.append(
            grad(
                outputs,
                inputs,
                [None if v is None else v._apply("select", v, dim=0, index=row) for v in grad_outputs or ()],
                retain_graph=retain_graph or row < count - 1,
                create_graph=create_graph,
                allow_unused=allow_unused,
                materialize_grads=materialize_grads,
            )
        )
    results: list[Tensor | None] = []
    for column in zip(*rows, strict=True):
        present = [t for t in column if t is not None]
        results.append(present[0]._apply("stack", *present, dim=0) if present else None)
    return tuple(results)
