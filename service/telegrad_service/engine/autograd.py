"""``backward`` and ``grad``: PyTorch's arguments, checks and messages around one walk of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from telegrad.contract import checks
from telegrad.contract.errors import (
    ArgumentValueError,
    IndexBoundsError,
    SessionMismatchError,
    ShapeError,
    UnusedInputError,
)
from telegrad.contract.hooks import Hooks
from telegrad.contract.modes import enable_grad, set_grad_enabled
from telegrad.contract.tensor.shape import stack
from telegrad.contract.watching import warn_of_cycle
from telegrad_service.engine.batched_walk import BatchedWalk
from telegrad_service.engine.graph import Node
from telegrad_service.engine.hooks import Ask, HookedWalk, Waiting, any_hooks, hooks_of
from telegrad_service.engine.ownership import may_steal
from telegrad_service.engine.packing import is_packed
from telegrad_service.engine.tensor import Engine, Tensor, spec_of
from telegrad_service.engine.walk import Walk

T = TypeVar("T")


def backward(
    tensors: Sequence[Tensor],
    grad_tensors: Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
    hooks: Mapping[int, Hooks] | None = None,
    anomaly: str | None = None,
    ask: Ask | None = None,
    warn: bool = False,
) -> int:
    """Accumulate gradients into the leaves, or into ``inputs`` only; see ``telegrad.autograd.backward``.

    ``hooks`` are called in place of those that are registered; they are found by the identity of a node or leaf. For ``anomaly``
    and ``ask`` see ``HookedWalk``. With ``warn``, the caller is the user's process, where warnings go.

    Returns the bytes of the gradients that it made, those that it added to existing ones not counted. Raises ``Suspended`` where
    one of ``hooks`` is to be waited for.
    """
    checks.check_grad_inputs(inputs, "backward")
    if not tensors:
        return 0
    roots, cotangents = _cotangents(tensors, grad_tensors, create_graph)
    if inputs is not None:
        for position, tensor in enumerate(inputs):
            _check_tensor(tensor, f"inputs[{position}]", roots[0])
            if not tensor.requires_grad:
                raise checks.input_without_grad(position)
        for tensor in inputs:
            tensor.retain_grad()  # what PyTorch does with those that are no leaves
    keep = create_graph if retain_graph is None else retain_graph
    if create_graph and warn:
        warn_of_cycle()
    walk = _new_walk(roots[0].home, keep, create_graph, inputs, hooks, anomaly, ask)
    return _finished(lambda: _walk(walk, roots, cotangents, accumulate=True), lambda: walk.made_bytes)


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
    bounded: bool = False,
    hooks: Mapping[int, Hooks] | None = None,
    anomaly: str | None = None,
    ask: Ask | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, nothing accumulated; see ``telegrad.autograd.grad``.

    ``hooks``, ``anomaly`` and ``ask`` as in ``backward``. A ``bounded`` walk ends at the inputs, as if none of them depended on
    another; hooks and retained gradients there are other walks' business, and nothing behind is freed. Of inputs that are one
    tensor the first then has all of the gradient and the others zeros: together they have what there is.
    """
    checks.check_materialize(allow_unused, materialize_grads)
    allow_unused = materialize_grads if allow_unused is None else allow_unused
    checks.check_grad_inputs(inputs, "grad")
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        if bounded:
            raise ArgumentValueError("bounded and is_grads_batched do not go together; call grad once for each vector")
        if hooks is not None:
            raise ArgumentValueError(
                "is_grads_batched=True takes no callbacks: they would be called for every vector; call grad once each"
            )
        found = _batched(outputs, inputs, grad_outputs, keep, create_graph, allow_unused, anomaly)
    else:
        begin, result = _gradients_in_parts(
            outputs, inputs, grad_outputs, keep, create_graph, allow_unused, hooks, anomaly, ask, bounded
        )
        return _finished(begin, lambda: _filled(inputs, result(), materialize_grads, create_graph))
    return _filled(inputs, found, materialize_grads, create_graph)


def _filled(
    inputs: Sequence[Tensor], found: Sequence[Tensor | None], materialize_grads: bool, create_graph: bool
) -> tuple[Tensor | None, ...]:
    """Gradients as they are given out, with ``materialize_grads`` zeros for those that there are not."""
    if materialize_grads:
        return tuple(_zeros_like(x, create_graph) if g is None else g for x, g in zip(inputs, found, strict=True))
    return tuple(found)


def _once(inputs: Sequence[Tensor], found: list[Tensor | None], create_graph: bool) -> list[Tensor | None]:
    """Gradients of which each place has one, whatever number of inputs it is."""
    places: set[tuple[int, int]] = set()
    for i, x in enumerate(inputs):
        place = (id(x.current_node() or x), x.output_index)
        if place in places and found[i] is not None:
            found[i] = _zeros_like(x, create_graph)
        places.add(place)
    return found


class Suspended(Exception):  # noqa: N818 - no error
    """A ``backward`` or ``grad`` waits for what a hook gives.

    Attributes:
        walk: where it waits.
    """

    def __init__(self, walk: HookedWalk, result: Callable[[], Any]) -> None:
        super().__init__()
        self.walk = walk
        self._result = result

    def go_on(self, given: Any) -> Any:
        """What ``backward`` or ``grad`` returns in the end. Raises ``Suspended`` where it is to be waited for again."""
        return _finished(lambda: self.walk.advance(given), self._result)


def _finished(walk: Callable[[], None], result: Callable[[], T]) -> T:
    """The result after a walk. Raises ``Suspended`` where that waits for a hook."""
    try:
        walk()
    except Waiting as waiting:
        raise Suspended(waiting.walk, result) from None
    return result()


def _zeros_like(tensor: Tensor, requires_grad: bool) -> Tensor:
    made = tensor.home.wrap(np.zeros(tensor.array.shape, tensor.array.dtype))
    made.tracks = requires_grad
    return made


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | None,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
    anomaly: str | None = None,
) -> list[Tensor | None]:
    """One walk; None for inputs that it did not reach."""
    begin, result = _gradients_in_parts(
        outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, None, anomaly, None
    )
    begin()
    return result()


def _gradients_in_parts(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | None,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
    hooks: Mapping[int, Hooks] | None,
    anomaly: str | None,
    ask: Ask | None,
    bounded: bool = False,
) -> tuple[Callable[[], None], Callable[[], list[Tensor | None]]]:
    """The same as what does the walk, and what then gives its results."""
    roots, cotangents = _cotangents(outputs, grad_outputs, create_graph)
    for position, tensor in enumerate(inputs):
        _check_tensor(tensor, f"inputs[{position}]", (*roots, tensor)[0])
        if not tensor.requires_grad:
            raise checks.input_without_grad()
    walk = _new_walk(inputs[0].home, retain_graph, create_graph, inputs, hooks, anomaly, ask)
    walk.bounded = bounded

    def result() -> list[Tensor | None]:
        found = _results(inputs, lambda position: walk.captured.pop(position, None), cotangents, allow_unused)
        return _once(inputs, found, create_graph) if bounded else found

    return lambda: _walk(walk, roots, cotangents, accumulate=False), result


def _results(
    inputs: Sequence[Tensor], take: Callable[[int], Any], cotangents: Sequence[Any], allow_unused: bool
) -> list[Tensor | None]:
    """What a walk found, as tensors that are nobody else's: no vector that it began with, no other result, nothing that it saved.

    ``take`` gives what was found for an input, and forgets it.
    """
    taken = {id(c) for c in cotangents}
    results: list[Tensor | None] = []
    for position, tensor in enumerate(inputs):
        found = take(position)
        if found is None:
            if not allow_unused:
                raise UnusedInputError(
                    f"The differentiated Tensor at index {position} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
            results.append(None)
        elif isinstance(found, Tensor):
            if id(found) in taken:
                with enable_grad():
                    found = found.clone()
            taken.add(id(found))
            results.append(found)
        else:
            results.append(tensor.home.wrap(found if may_steal(found) else np.array(found)))
    return results


def _new_walk(
    home: Engine,
    retain_graph: bool,
    create_graph: bool,
    wanted: Sequence[Tensor] | None,
    hooks: Mapping[int, Hooks] | None,
    anomaly: str | None,
    ask: Ask | None,
) -> Walk:
    """The walk that calls hooks, where there may be some; otherwise the plain one."""
    if hooks is None and anomaly is None and not any_hooks():
        return (home.walk or Walk)(home, retain_graph=retain_graph, create_graph=create_graph, wanted=wanted)
    return HookedWalk(
        home, retain_graph=retain_graph, create_graph=create_graph, wanted=wanted, hooks=hooks, anomaly=anomaly, ask=ask
    )


def _walk(walk: Walk, roots: Sequence[Tensor], cotangents: Sequence[Any], *, accumulate: bool) -> None:
    if walk.restricted:
        walk.restrict(roots)
    for root, cotangent in zip(roots, cotangents, strict=True):
        # As in PyTorch, a single root sees its gradient even if it leads to nothing that is wanted, and goes no further.
        if walk.leads_from(root) or (len(roots) == 1 and walk.is_seen(root)):
            walk.seed(root, cotangent)
    walk.run(accumulate=accumulate)


_ONES: Final = {np.dtype(kind): np.ones((), kind) for kind in ("float32", "float64")}


def _cotangents(tensors: Sequence[Tensor], given: Sequence[Any] | None, create_graph: bool) -> tuple[Sequence[Tensor], list[Any]]:
    """The roots, and what each starts with: the given vectors, or one for a real scalar. First all vectors are checked,
    then all roots, as in PyTorch.
    """
    if given is None:
        if len(tensors) == 1 and not create_graph and tensors[0].__class__ is Tensor:
            root = tensors[0]
            one = _ONES.get(root.array.dtype)
            if one is not None and not root.array.shape and root.tracks:  # a loss
                return tensors, [one.copy()]
        given = (None,) * len(tensors)
    checks.check_vectors(len(tensors), given)
    found: list[Any] = []
    for index, (tensor, vector) in enumerate(zip(tensors, given, strict=True)):
        _check_tensor(tensor, f"tensors[{index}]", tensors[0])
        if vector is None:
            checks.check_implicit(spec_of(tensor), tensor.requires_grad)
            array = np.ones(tensor.array.shape, tensor.array.dtype)
            found.append(tensor.home.wrap(array) if create_graph else array)
        else:
            if not isinstance(vector, Tensor):
                raise checks.not_a_vector(vector)
            _same_session(tensor, vector)
            checks.check_vector(index, spec_of(tensor), spec_of(vector))
            found.append(vector if create_graph else vector.array)
    for index, tensor in enumerate(tensors):
        if tensor.current_node() is None and not tensor.tracks:
            raise checks.root_without_grad(index)
    return tensors, found


def _check_tensor(tensor: Any, what: str, first: Any) -> None:
    """Refuse what is no Tensor, or lives elsewhere than the first one."""
    if not isinstance(tensor, Tensor):
        raise checks.not_a_tensor(tensor, what)
    _same_session(first, tensor)


def _same_session(a: Tensor, b: Tensor) -> None:
    if a.home is not b.home:
        raise SessionMismatchError(checks.OTHER_SESSION)


def _batched(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: Sequence[Tensor | None] | None,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
    anomaly: str | None,
) -> list[Tensor | None]:
    """The gradients for each row of the vectors, stacked along a new first dimension."""
    given = list(grad_outputs or ())
    checks.check_vectors(len(outputs), given)
    vectors = [v for v in given if v is not None]
    if len(vectors) != len(outputs):
        raise ArgumentValueError("is_grads_batched=True needs a vector with a batch dimension for every output")
    for index, (output, vector) in enumerate(zip(outputs, vectors, strict=True)):
        _check_tensor(output, f"outputs[{index}]", outputs[0])
        _check_tensor(vector, f"grad_outputs[{index}]", output)
        _check_rows(index, output, vector)
    counts = sorted({v.array.shape[0] for v in vectors})
    if len(counts) != 1:
        raise ArgumentValueError(
            f"Expected all tensors to have the same size in the mapped dimension, got sizes {counts} for the mapped dimension"
        )
    if anomaly is not None or (any_hooks() and _have_hooks(outputs)):  # others' hooks must not change the order of sums
        return _one_by_one(outputs, inputs, vectors, retain_graph, create_graph, allow_unused, anomaly)
    for index, output in enumerate(outputs):
        if not output.requires_grad:
            raise checks.root_without_grad(index)
    for position, tensor in enumerate(inputs):
        _check_tensor(tensor, f"inputs[{position}]", (*outputs, tensor)[0])
        if not tensor.requires_grad:
            raise checks.input_without_grad()
    walk = BatchedWalk(inputs[0].home, counts[0], retain_graph=retain_graph, create_graph=create_graph, wanted=inputs)
    walk.begin(outputs, vectors)
    return _results(inputs, walk.result, vectors if create_graph else [v.array for v in vectors], allow_unused)


def _one_by_one(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
    anomaly: str | None,
) -> list[Tensor | None]:
    """A walk for each vector, because hooks take the gradients of one."""
    count = vectors[0].array.shape[0]
    rows: list[list[Tensor | None]] = []
    for row in range(count):
        keep = retain_graph or row < count - 1
        parts: list[Tensor | None] = [v.select(0, row) for v in vectors]
        rows.append(_gradients(outputs, inputs, parts, keep, create_graph, allow_unused, anomaly))
    results: list[Tensor | None] = []
    with set_grad_enabled(create_graph):
        for column in zip(*rows, strict=True):
            present = [t for t in column if t is not None]
            results.append(stack(present) if present else None)
    return results


def _graph(roots: Sequence[Tensor]) -> Iterator[Node | Tensor]:
    """The nodes that lead to ``roots``, each once, and their leaves, each as often as a node uses it."""
    seen: set[int] = set()
    todo: list[Any] = [t.current_node() or t for t in roots]
    while todo:
        target = todo.pop()
        if isinstance(target, Node):
            if target.number in seen:
                continue
            seen.add(target.number)
            todo.extend(target.edges)
        yield target


def _have_hooks(roots: Sequence[Tensor]) -> bool:
    """Whether hooks, on saved tensors too, are met on the way from ``roots``."""
    return any(hooks_of(target) or (isinstance(target, Node) and is_packed(target.saved)) for target in _graph(roots))


def largest_on_the_way(roots: Sequence[Tensor]) -> int:
    """Bytes of the largest value in the graph of ``roots``: what one gradient takes at most on its way."""
    largest = max((t.array.size * t.array.itemsize for t in roots), default=0)
    for target in _graph(roots):
        layouts = target.layouts if isinstance(target, Node) else [(target.array.shape, target.array.dtype)]
        largest = max(largest, *(math.prod(shape) * dtype.itemsize for shape, dtype in layouts))
    return largest


def reaches_others(roots: Sequence[Tensor], leaves: Sequence[Tensor]) -> bool:
    """Whether the graph of ``roots`` leads to any leaf but ``leaves``."""
    own = {id(t) for t in leaves}
    seen: set[int] = set()
    todo: list[Any] = []
    for root in roots:
        node = root.current_node()
        if node is not None:
            todo.append(node)
        elif root.requires_grad and id(root) not in own:
            return True
    while todo:
        node = todo.pop()
        if node.number in seen:
            continue
        seen.add(node.number)
        for target in node.edges:
            if not isinstance(target, Tensor):
                todo.append(target)
            elif id(target) not in own:
                return True
    return False


def _check_rows(index: int, output: Tensor, vector: Tensor) -> None:
    """Whether each row of ``vector`` has the output's shape, and there is one."""
    shape = vector.array.shape
    if not shape:
        raise IndexBoundsError(f"is_grads_batched=True needs a batch dimension, but grad_output[{index}] is 0-dimensional")
    if not shape[0]:
        raise IndexBoundsError(
            f"index 0 is out of bounds for dimension 0 with size 0: grad_output[{index}] has no vector in its batch dimension"
        )
    if shape[1:] != output.array.shape:
        raise ShapeError(
            "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. "
            "The "
            "sizes of the remaining dimensions are expected to match the shape of corresponding output, but a mismatch "
            "was "
            f"detected: grad_output[{index}] has a shape of {list(shape)} and output[{index}] has a shape of "
            f"{list(output.array.shape)}."
        )
