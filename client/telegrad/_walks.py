"""What recording a ``backward`` or ``grad`` means for what handles know. Shared by both kinds of session."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from telegrad._asked import Asked, wants_each
from telegrad._autograd import name_of
from telegrad._capture import raise_error_of
from telegrad._foreseen import Foreseen
from telegrad._handle import Handle
from telegrad._history import PRESENT, UNKNOWN, End, Leaf, Node, Unknown, made_of
from telegrad._hooks import foresee, meets_some
from telegrad._packs import GRADIENTS_OF_GRADIENTS
from telegrad._queue import Reply
from telegrad._reach import Reach
from telegrad.contract import checks
from telegrad.contract.commands import Backward, Grad
from telegrad.contract.errors import AutogradError, SessionError
from telegrad.contract.modes import set_grad_enabled
from telegrad.contract.ops import Spec, returns_tuple
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.transforms.wrapper import NOT_REDIRECTED, redirected_grad, refuse_backward, running
from telegrad.contract.watching import current_packing, is_anomaly_check_nan_enabled, is_anomaly_enabled, warn_of_cycle

if TYPE_CHECKING:
    from telegrad._recorder import Recorder


def _check_roots(home: Recorder, tensors: Sequence[Any], vectors: Sequence[Any] | None) -> tuple[list[str], list[Any] | None, bool]:
    """Names of roots and vectors, and whether all is known that the server checks. Raises what the server would, in its order,
    as far as shapes, types and history are known.
    """
    given: Sequence[Any] = (None,) * len(tensors) if vectors is None else vectors
    checks.check_vectors(len(tensors), given)
    names: list[str] = []
    vector_names: list[Any] = []
    known = True
    for index, (tensor, vector) in enumerate(zip(tensors, given, strict=True)):
        names.append(name_of(home, tensor, f"tensors[{index}]"))
        history, spec = tensor.history(), tensor._spec
        if vector is None:
            vector_names.append(None)
            known = known and not isinstance(history, Unknown)
            if known and spec is not None:
                checks.check_implicit(spec, history is not None)
            known = known and spec is not None
            continue
        if not isinstance(vector, TensorBase):
            raise checks.not_a_vector(vector)
        other: Any = vector
        vector_names.append(name_of(home, other, "gradients"))
        if known and spec is not None and other._spec is not None:
            checks.check_vector(index, spec, other._spec)
        known = known and spec is not None and other._spec is not None
    for index, tensor in enumerate(tensors):
        if known and (tensor.history() is None or isinstance(tensor.history(), End)):
            raise checks.root_without_grad(index)
        known = known and not isinstance(tensor.history(), Unknown)
    return names, None if vectors is None else vector_names, known


def _check_packing(create_graph: bool) -> None:
    if create_graph and current_packing() is not None:
        raise AutogradError(GRADIENTS_OF_GRADIENTS)


def _anomaly() -> str | None:
    """What the server is to watch for."""
    if not is_anomaly_enabled():
        return None
    return "nan" if is_anomaly_check_nan_enabled() else "errors"


def backward(
    home: Recorder,
    tensors: Sequence[Any],
    vectors: Sequence[Any] | None,
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Sequence[Any] | None,
) -> None:
    """Record a backward, and know which gradients there are then."""
    if running():
        refuse_backward()
    checks.check_grad_inputs(inputs, "backward")
    _check_packing(create_graph)
    if not tensors:
        return
    home.admit()
    names, vector_names, known = _check_roots(home, tensors, vectors)
    input_names = None if inputs is None else [name_of(home, t, f"inputs[{i}]") for i, t in enumerate(inputs)]
    for position, tensor in enumerate(inputs or ()):
        known = known and not isinstance(tensor.history(), Unknown)
        if known and tensor.history() is None:
            raise checks.input_without_grad(position)
    anomaly = _anomaly()
    roots = () if anomaly is None else tuple([t.history() for t in tensors])
    reach = Reach([t.history() for t in tensors])
    keep = create_graph if retain_graph is None else retain_graph

    history = made_of(*_sources(tensors, vectors)) if create_graph else None

    def record(foreseen: Foreseen | Asked | None, reply: Reply | None = None) -> None:
        home.record(
            Backward(
                tuple(names),
                None if vector_names is None else tuple(vector_names),
                retain_graph,
                create_graph,
                None if input_names is None else tuple(input_names),
                () if foreseen is None else tuple(foreseen.callbacks),
                anomaly,
                foreseen.name if isinstance(foreseen, Asked) else None,
            ),
            roots=roots,
            touches=() if foreseen is None else tuple(foreseen.touches),
            arrays=None if foreseen is None else foreseen.arrays,
            reply=reply,
            depth=4,
        )

    if create_graph:
        warn_of_cycle()
    try:
        foreseen = _foresee_backward(home, tensors, reach, inputs, keep, history, record, _sources(tensors, vectors))
        if not isinstance(foreseen, Foreseen):  # which has told what it accumulates
            _accumulate_in(home, reach, history, inputs)
        home.writes += 1
        if foreseen is None:
            record(None)
        elif isinstance(foreseen, Asked):
            reply = Reply()
            record(foreseen, reply)
            foreseen.run(reply)
        else:
            foreseen.end()
    except Exception:
        raise
    except BaseException:
        home.grad_epoch += 1  # interrupted: whether it is recorded, and which gradients there are, has to be asked
        raise
    if isinstance(foreseen, Asked):
        raise_error_of(foreseen)


def _accumulate_in(home: Recorder, reach: Reach, history: Unknown | None, inputs: Sequence[Any] | None) -> None:
    """Know what a backward without hooks accumulates: in all leaves, or in ``inputs``."""
    if inputs is None:
        _accumulate(home, reach, history)
        return
    for tensor in inputs:
        _accumulate_into(home, tensor, reach, history)
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)


def _sources(roots: Sequence[Any], vectors: Sequence[Any] | None) -> list[Any]:
    """Histories of what gradients are made of."""
    return [t.history() for t in (*roots, *(vectors or ())) if t is not None]


def _foresee_backward(
    home: Recorder,
    tensors: Sequence[Any],
    reach: Reach,
    inputs: Sequence[Any] | None,
    retain_graph: bool,
    recorded: Unknown | None,
    begin: Callable[[Foreseen], None],
    sources: list[Any],
) -> Foreseen | Asked | None:
    """Call the hooks of a backward, if there are any; gradients are known in the order in which they come."""
    if not home.hooked:
        return None
    for tensor in inputs or ():
        if not isinstance(tensor.history(), Leaf):
            _accumulate_into(home, tensor, reach, recorded)

    def accumulated(leaf: Leaf) -> None:
        _reached(leaf, home.grad_epoch, home.grad_epoch, recorded)

    return _foresee(home, tensors, reach, inputs, retain_graph, recorded is not None, accumulated, begin, sources)


def _foresee(
    home: Recorder,
    tensors: Sequence[Any],
    reach: Reach,
    inputs: Sequence[Any] | None,
    retain_graph: bool,
    create_graph: bool,
    accumulated: Callable[[Leaf], None] | None,
    begin: Callable[[Foreseen], None],
    sources: list[Any],
    bounded: bool = False,
) -> Foreseen | Asked | None:
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)  # a hook may ask for one in between
    made = foresee(
        home,
        tensors,
        reach,
        inputs,
        retain_graph=retain_graph,
        create_graph=create_graph,
        accumulated=accumulated,
        begin=begin,
        sources=sources,
        bounded=bounded,
    )
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)
    return made


def _accumulate(home: Recorder, reach: Reach, recorded: Unknown | None) -> None:
    before = home.grad_epoch
    if not reach.certain:
        home.grad_epoch += 1  # other leaves may be reached through what is not known
    for leaf in reach.leaves.values():
        _reached(leaf, before, home.grad_epoch, recorded)
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)


def _reached(leaf: Leaf, before: int, epoch: int, recorded: Unknown | None) -> None:
    """A gradient was added to this leaf's, with the history ``recorded``, if any.

    None becomes a new tensor, and so does any sum that has history; else the sum goes into the old tensor.
    """
    if isinstance(leaf, End):
        return
    gradient = leaf.at(before)
    # An expanded tensor that was assigned cannot be written to: the sum may be a new one.
    expanded = isinstance(gradient, Handle) and gradient._extra is not None and gradient._extra.base is not None
    if recorded is not None or gradient is UNKNOWN or expanded:
        known = recorded is not None and not expanded and (gradient is None or (gradient is PRESENT and leaf.recorded is None))
        leaf.settle(PRESENT, epoch, recorded=recorded if known else UNKNOWN)
    elif gradient is None or gradient is PRESENT:
        leaf.settle(PRESENT, epoch, recorded=leaf.recorded if gradient is PRESENT else None)
    else:
        leaf.settle(gradient, epoch)


def _accumulate_into(home: Recorder, tensor: Any, reach: Reach, recorded: Unknown | None) -> None:
    history, leaf = tensor.history(), tensor.leaf()
    if isinstance(history, Leaf):
        if id(history) in reach.leaves:
            _reached(history, home.grad_epoch, home.grad_epoch, recorded)
        elif not reach.certain:
            history.settle(UNKNOWN, home.grad_epoch)
    else:
        home.retaining = True
        tensor.retain()  # as PyTorch does, for good
        leaf.settle(UNKNOWN, home.grad_epoch)


def grad(
    home: Recorder,
    outputs: Sequence[Any],
    inputs: Sequence[Any],
    vectors: Sequence[Any] | None,
    *,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    is_grads_batched: bool,
    materialize_grads: bool,
    may_wait: bool = True,
    bounded: bool = False,
) -> tuple[tuple[Any, ...], Reply | None]:
    """Record a grad, for ``bounded`` see ``Grad``: its results, None where there surely is none, and a reply where the answer must
    tell which there are.

    Raises SessionError where only the server can tell and the caller cannot wait for it.
    """
    if running():
        made = redirected_grad(
            outputs,
            inputs,
            vectors,
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
            is_grads_batched=is_grads_batched,
            materialize_grads=materialize_grads,
        )
        if made is not NOT_REDIRECTED:
            return made, None
    checks.check_materialize(allow_unused, materialize_grads)
    _check_packing(create_graph)
    allow = materialize_grads if allow_unused is None else allow_unused
    home.admit()
    names, input_names, vector_names = _check_grad(home, outputs, inputs, vectors, is_grads_batched)
    anomaly = _anomaly()
    roots = () if anomaly is None else tuple([t.history() for t in outputs])
    reach = Reach([t.history() for t in outputs], {id(t.history()) for t in inputs} if bounded else ())
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched and meets_some(home, reach):
        return _one_by_one(home, outputs, inputs, vectors or (), keep, create_graph, allow_unused, materialize_grads), None

    def record(foreseen: Foreseen | Asked | None, results: Sequence[Any], reply: Reply | None) -> None:
        home.record(
            Grad(
                tuple(names),
                tuple(input_names),
                None if vector_names is None else tuple(vector_names),
                retain_graph,
                create_graph,
                allow_unused,
                is_grads_batched,
                materialize_grads,
                tuple([None if r is None else r._name for r in results]),
                () if foreseen is None else tuple(foreseen.callbacks),
                anomaly,
                foreseen.name if isinstance(foreseen, Asked) else None,
                bounded,
            ),
            roots=roots,
            touches=() if foreseen is None else tuple(foreseen.touches),
            arrays=None if foreseen is None else foreseen.arrays,
            reply=reply,
            depth=4,
        )

    def begin(foreseen: Foreseen) -> None:
        record(foreseen, [None] * len(inputs), None)

    sources = _sources(outputs, vectors)
    foreseen = None
    if home.hooked:
        foreseen = _foresee(home, outputs, reach, inputs, keep, create_graph, None, begin, sources, bounded)
    if home.retaining:
        _retain_on_the_way(home, reach)
    if isinstance(foreseen, Asked):
        return _ask_for(home, foreseen, inputs, create_graph, record), None
    present: list[bool | None] = [True if materialize_grads else _is_reached(t, reach, outputs) for t in inputs]
    if foreseen is not None:
        present, allow = foreseen.present(len(inputs), materialize_grads), allow or foreseen.error is not None
    if not allow:
        # Each result exists or the whole command fails; it is sent at once where it surely fails.
        asks = may_wait and any(p is False for p in present)
        present = [True] * len(inputs)
    else:
        asks = any(p is None for p in present)
        _check_may_ask(asks, may_wait)
    results: list[Any] = []
    for tensor, found in zip(inputs, present, strict=True):
        spec = _batched_spec(tensor, vectors) if is_grads_batched else tensor._spec
        results.append(None if found is False else _result(home, tensor, spec, sources if create_graph else None))
    if asks:
        home.ask_in_hook()  # what a callback's grad finds, nobody is told
    last = Reply() if asks else None
    if foreseen is None:
        record(None, results, last)
    else:
        foreseen.end_grad(results, last, record)
    return tuple(results), last


def _retain_on_the_way(home: Recorder, reach: Reach) -> None:
    """As in PyTorch, tensors on the way that retain their gradient get it from any walk."""
    home.grad_epoch += not reach.certain
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)
    home.writes += 1


def _check_may_ask(asks: bool, may_wait: bool) -> None:
    if asks and not may_wait:
        raise SessionError(
            "which of these inputs the outputs depend on is known to the server only, and a plain call cannot ask; "
            "use materialize_grads=True, or leave out the inputs that may be unused"
        )


def _ask_for(
    home: Recorder,
    asked: Asked,
    inputs: Sequence[Any],
    create_graph: bool,
    record: Callable[[Asked, Sequence[Any], Reply], None],
) -> tuple[Any, ...]:
    """The gradients of a walk whose hooks are called as the server comes by them; None where there is none."""
    wanted = [_result(home, t, t._spec, asked.sources if create_graph else None) for t in inputs]
    reply = Reply()
    record(asked, wanted, reply)
    answer = asked.run(reply)
    if asked.error is not None:
        home.unmade.update([r._name for r in wanted])
        raise_error_of(asked)
    for made in wanted if create_graph else ():
        made._node = made_of(*asked.sources)  # with what hooks gave
    return keep_present(wanted, answer["present"])


def _one_by_one(
    home: Recorder,
    outputs: Sequence[Any],
    inputs: Sequence[Any],
    vectors: Sequence[Any],
    keep: bool,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Any, ...]:
    """Many vectors where hooks or custom functions are about, which see one vector's gradients each."""
    count = wants_each(vectors, outputs)
    if count is None or not home.waits:
        raise AutogradError(
            "is_grads_batched=True calls hooks and runs custom functions for one vector after the other, in a plain session, and "
            "needs vectors that fit the outputs; call grad once each, or use telegrad.local()"
        )
    rows: list[tuple[Any, ...]] = []
    for row in range(count):
        parts = [v._apply("select", v, dim=0, index=row) for v in vectors]
        last = keep or row < count - 1
        rows.append(home.session.grad(outputs, inputs, parts, last, create_graph, allow_unused, False, materialize_grads))
    found: list[Any] = []
    with set_grad_enabled(create_graph):
        for column in zip(*rows, strict=True):
            there = [g for g in column if g is not None]
            found.append(there[0]._apply("stack", *there, dim=0) if there else None)
    return tuple(found)


def _check_grad(
    home: Recorder, outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any] | None, is_grads_batched: bool
) -> tuple[list[str], list[str], list[Any] | None]:
    """Names of outputs, inputs and vectors. Raises what the server would, as far as it is known here."""
    checks.check_grad_inputs(inputs, "grad")
    if is_grads_batched:
        known = False
        names = [name_of(home, t, f"outputs[{i}]") for i, t in enumerate(outputs)]
        vector_names = None if vectors is None else [None if v is None else name_of(home, v, "grad_outputs") for v in vectors]
    else:
        names, vector_names, known = _check_roots(home, outputs, vectors)
    input_names = [name_of(home, t, f"inputs[{i}]") for i, t in enumerate(inputs)]
    for tensor in inputs:
        known = known and not isinstance(tensor.history(), Unknown)
        if known and tensor.history() is None:
            raise checks.input_without_grad()
    return names, input_names, vector_names


def reaches_others(roots: Sequence[Any], leaves: Sequence[Any]) -> bool:
    """Whether the graph of ``roots`` leads to any leaf but ``leaves``, as far as known here; where that is not certain, yes."""
    own = {id(t.history()) for t in leaves}
    reach = Reach([t.history() for t in roots])
    behind = [] if reach.certain else reach.behind()
    if behind is None:
        return True
    return any(isinstance(target, Leaf) and id(target) not in own for target in (*reach.leaves.values(), *behind))


def _index(tensor: Any) -> int:
    return 0 if tensor._extra is None else int(tensor._extra.index)


def _is_reached(tensor: Any, reach: Reach, outputs: Sequence[Any]) -> bool | None:
    """Whether the walk from ``outputs`` meets the tensor; None if only the server knows."""
    history = tensor.history()
    if isinstance(history, End):
        return False
    if isinstance(history, Leaf):
        return True if id(history) in reach.leaves else False if reach.certain else None
    if isinstance(history, Node):
        found = id(history) in reach.nodes
        if found and returns_tuple(history.op):  # another output may be meant
            index = _index(tensor)
            ends = [(output.history(), _index(output)) for output in outputs]
            ways = [(target, i) for n in reach.nodes.values() if isinstance(n, Node) for _, target, i in n.edges]
            found = any(target is history and i == index for target, i in (*ends, *ways))
        return True if found else False if reach.certain else None
    return None


def _result(home: Recorder, tensor: Any, spec: Spec | None, sources: Sequence[Any] | None) -> Any:
    made = home.tensor_class(home, home.name(), spec, None if sources is None else made_of(*sources))
    if spec is None:
        made.extra().dtype = tensor.known_dtype()
    return made


def _batched_spec(tensor: Any, vectors: Sequence[Any] | None) -> Spec | None:
    first = next((v for v in vectors or () if v is not None), None)
    if tensor._spec is None or first is None or first._spec is None or not first._spec.shape:
        return None
    return Spec((first._spec.shape[0], *tensor._spec.shape), tensor._spec.dtype)


def keep_present(results: Sequence[Any], present: Sequence[bool]) -> tuple[Any, ...]:
    """The results that exist, None for the others."""
    kept: list[Any] = []
    for result, there in zip(results, present, strict=True):
        if result is not None and not there:
            # The server gave this name to nothing, so nothing must be released.
            result._home.unmade.add(result._name)
            result = None
        kept.append(result)
    return tuple(kept)
