"""``grad`` inside ``vmap``: one walk for the rows of all inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from telegrad.contract import checks
from telegrad.contract.base import TensorBase
from telegrad.contract.dtypes import bool_
from telegrad.contract.modes import no_grad
from telegrad.contract.ops import Spec

if TYPE_CHECKING:
    from telegrad.contract.transforms.batched import VmapLevel


def differentiate(
    level: VmapLevel,
    outputs: Sequence[Any],
    inputs: Sequence[Any],
    grad_outputs: Sequence[Any] | None,
    *,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    is_grads_batched: bool,
    materialize_grads: bool,
) -> tuple[Any, ...]:
    """``session.grad`` of each row. Rows do not meet in a batched input, so one walk does all of them; with respect to a
    tensor that is the same for all rows, it takes one walk a row, together.
    """
    given: Sequence[Any] = (None,) * len(outputs) if grad_outputs is None else grad_outputs
    checks.check_vectors(len(outputs), given)
    roots, vectors = [], []
    for index, (output, vector) in enumerate(zip(outputs, given, strict=True)):
        root = level.values_of(output)
        roots.append(root)
        vectors.append(_row_vectors(level, index, output, root, vector, is_grads_batched))
    allow = materialize_grads if allow_unused is None else allow_unused
    settings: dict[str, Any] = {"create_graph": create_graph, "allow_unused": allow}
    keep = create_graph if retain_graph is None else retain_graph
    own = [i for i, x in enumerate(inputs) if level.holds(x)]
    shared = [i for i in range(len(inputs)) if i not in own]
    found: list[Any] = [None] * len(inputs)
    session: Any = roots[0].session
    if own:
        got = session.grad(
            roots,
            [inputs[i].value for i in own],
            vectors,
            retain_graph=keep or bool(shared),
            is_grads_batched=is_grads_batched,
            materialize_grads=materialize_grads,
            **settings,
        )
        for i, g in zip(own, got, strict=True):
            found[i] = None if g is None else level.hold(_swapped(g) if is_grads_batched else g)
    if shared:
        counts = [vectors[0].shape[0], level.size] if is_grads_batched else [level.size]
        apart = [_rows_apart(level, v, is_grads_batched) for v in vectors]
        wanted = [inputs[i] for i in shared]
        got = session.grad(roots, wanted, apart, retain_graph=keep, is_grads_batched=True, **settings)
        for i, x, g in zip(shared, wanted, got, strict=True):
            if g is None:
                found[i] = level.lift(x._apply("zeros_like", x)) if materialize_grads else None
            else:
                each = g._apply("reshape", g, shape=(*counts, *x.shape))
                found[i] = level.hold(_swapped(each) if is_grads_batched else each)
    return tuple(found)


def _row_vectors(level: VmapLevel, index: int, output: Any, root: Any, vector: Any, is_grads_batched: bool) -> Any:
    """The vectors that the walk of all rows begins with."""
    if vector is None:
        if is_grads_batched:
            return None
        checks.check_implicit(Spec(output.shape, output.dtype), output.requires_grad)
        with no_grad():
            return root._apply("ones_like", root)
    if not isinstance(vector, TensorBase):
        raise checks.not_a_vector(vector)
    given: Any = vector
    if is_grads_batched:
        return _swapped(level.values_of(given))
    checks.check_vector(index, Spec(output.shape, output.dtype), Spec(given.shape, given.dtype))
    return level.values_of(given)


def _rows_apart(level: VmapLevel, vectors: Any, is_grads_batched: bool) -> Any:
    """Vectors for as many walks as there are rows, each of which is the given one in its own row and zero in all others."""
    size = level.size
    v = vectors if is_grads_batched else vectors._apply("unsqueeze", vectors, dim=0)
    several = v.shape[0]
    rest = v.shape[2:]
    v = v._apply("unsqueeze", v, dim=1)  # [several, 1, row, ...]
    own = v._apply("eye", n=size, dtype=bool_)
    own = own._apply("reshape", own, shape=(1, size, size, *(1,) * len(rest)))
    apart = v._apply("where", own, v, 0)
    return apart._apply("reshape", apart, shape=(several * size, size, *rest))


def _swapped(value: Any) -> Any:
    return value._apply("transpose", value, dim0=0, dim1=1)
