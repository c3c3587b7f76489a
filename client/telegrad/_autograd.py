"""What recording a command means for what handles know: creation, gradients, ``requires_grad``, names.

Shared by both kinds of session.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from telegrad._handle import Handle
from telegrad._history import PRESENT, UNKNOWN, Described, End, Leaf, Node, Reach
from telegrad._queue import Reply
from telegrad.contract import checks, dtypes
from telegrad.contract.commands import Apply, Backward, Create, Grad, Seed, Set, decode_fields
from telegrad.contract.errors import ArgumentTypeError, AutogradError, LeafError, SessionError, SessionMismatchError
from telegrad.contract.ops import Spec, returns_tuple
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.transforms.wrapper import NOT_REDIRECTED, redirected_grad, refuse_backward, running
from telegrad.contract.watching import is_anomaly_check_nan_enabled, is_anomaly_enabled, warn_of_cycle, warn_of_no_grad

if TYPE_CHECKING:
    from telegrad._hooks import Foreseen
    from telegrad._recorder import Recorder

Question: TypeAlias = "tuple[Leaf, Reply]"


def name_of(home: Recorder, tensor: Any, argument: str) -> str:
    """The name of a tensor of this session.

    Raises SessionMismatchError or ArgumentTypeError for anything else, DependentError for a tensor that was never made.
    """
    if not home.is_ours(tensor):
        if isinstance(tensor, TensorBase):
            raise SessionMismatchError(checks.OTHER_SESSION)
        raise checks.not_a_tensor(tensor, argument)
    if home.attention:
        home.check((tensor,))
    name: str = tensor._name
    return name


# New tensors -----------------------------------------------------------------------------------------------------------------


def create(home: Recorder, array: Any, requires_grad: bool) -> Any:
    """Record a new tensor around ``array``, which nobody else holds."""
    home.check(())
    dtype = dtypes.from_numpy(array.dtype)
    if requires_grad:
        checks.check_can_require_grad(dtype)
    made = home.tensor_class(home, home.name(), Spec(array.shape, dtype), None)
    made.mark_inference()
    if requires_grad:
        made.start_requiring()
    command = Create(made._name, buffer=made._name, requires_grad=requires_grad, inference=made.is_inference())
    home.record(command, array=array, depth=3)
    return made


def unsent(home: Recorder, array: Any) -> Any:
    """A handle for a tensor of this array that nothing is recorded of."""
    return home.tensor_class(home, home.name(), Spec(array.shape, dtypes.from_numpy(array.dtype)), None)


def upload_data(home: Recorder, name: str, array: Any) -> None:
    """Record a data set, whose name is the hash of what it holds. It keeps it when all handles are gone."""
    home.record(Create(name, buffer=name), array=array, depth=3)


def data_set(home: Recorder, name: str, array: Any) -> Any:
    """A handle of its own for the data set of that name, with the same memory."""
    made = unsent(home, array)
    home.record(Apply("detach", (name,), outputs=(made._name,)), depth=3)
    return made


def seed(home: Recorder, value: int) -> None:
    """Record a restart of the random generator."""
    if type(value) is not int:
        raise ArgumentTypeError(f"seed must be int, not {type(value).__name__}")
    home.check(())
    home.record(Seed(value), depth=3)


# backward and grad -----------------------------------------------------------------------------------------------------------


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
            known = known and history is not UNKNOWN
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
        if known and tensor.history() is None:
            raise checks.root_without_grad(index)
        known = known and tensor.history() is not UNKNOWN
    return names, None if vectors is None else vector_names, known


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
    if not tensors:
        return
    names, vector_names, known = _check_roots(home, tensors, vectors)
    input_names = None if inputs is None else [name_of(home, t, f"inputs[{i}]") for i, t in enumerate(inputs)]
    for position, tensor in enumerate(inputs or ()):
        known = known and tensor.history() is not UNKNOWN
        if known and tensor.history() is None:
            raise checks.input_without_grad(position)
    anomaly = _anomaly()
    roots = () if anomaly is None else tuple([t.history() for t in tensors])
    reach = Reach([t.history() for t in tensors])
    keep = create_graph if retain_graph is None else retain_graph
    foreseen = _foresee_backward(home, tensors, reach, inputs, keep, create_graph)
    if foreseen is not None:
        pass  # it has told what it accumulates
    elif inputs is None:
        _accumulate(home, reach, create_graph)
    else:
        for tensor in inputs:
            _accumulate_into(home, tensor, reach, create_graph)
        for leaf in reach.retained():
            leaf.settle(UNKNOWN, home.grad_epoch)
    home.writes += 1
    if create_graph:
        warn_of_cycle()
    home.record(
        Backward(
            tuple(names),
            None if vector_names is None else tuple(vector_names),
            retain_graph,
            create_graph,
            None if input_names is None else tuple(input_names),
            () if foreseen is None else tuple(foreseen.callbacks),
            anomaly,
        ),
        roots=roots,
        touches=() if foreseen is None else tuple(foreseen.touches),
        arrays=None if foreseen is None else foreseen.arrays,
        depth=3,
    )
    if foreseen is not None and foreseen.error is not None:
        raise foreseen.error


def _foresee_backward(
    home: Recorder, tensors: Sequence[Any], reach: Reach, inputs: Sequence[Any] | None, retain_graph: bool, create_graph: bool
) -> Foreseen | None:
    """Call the hooks of a backward, if there are any; gradients are known in the order in which they come."""
    if not home.hooked:
        return None
    for tensor in inputs or ():
        if not isinstance(tensor.history(), Leaf):
            _accumulate_into(home, tensor, reach, create_graph)

    def accumulated(leaf: Leaf) -> None:
        _reached(leaf, home.grad_epoch, home.grad_epoch, create_graph)

    return _foresee(home, tensors, reach, inputs, retain_graph, create_graph, accumulated)


def _foresee(
    home: Recorder,
    tensors: Sequence[Any],
    reach: Reach,
    inputs: Sequence[Any] | None,
    retain_graph: bool,
    create_graph: bool,
    accumulated: Callable[[Leaf], None] | None,
) -> Foreseen | None:
    from telegrad._hooks import foresee  # only where there are hooks

    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)  # a hook may ask for one in between
    made = foresee(home, tensors, reach, inputs, retain_graph=retain_graph, create_graph=create_graph, accumulated=accumulated)
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)
    return made


def _accumulate(home: Recorder, reach: Reach, create_graph: bool) -> None:
    before = home.grad_epoch
    if not reach.certain:
        home.grad_epoch += 1  # other leaves may be reached through what is not known
    for leaf in reach.leaves.values():
        _reached(leaf, before, home.grad_epoch, create_graph)
    for leaf in reach.retained():
        leaf.settle(UNKNOWN, home.grad_epoch)


def _reached(leaf: Leaf, before: int, epoch: int, create_graph: bool) -> None:
    """A gradient was added to this leaf's.

    None becomes a new tensor, and so does any sum that has history; else the sum goes into the old tensor.
    """
    if isinstance(leaf, End):
        return
    gradient = leaf.at(before)
    # An expanded tensor that was assigned cannot be written to: the sum may be a new one.
    expanded = isinstance(gradient, Handle) and gradient._extra is not None and gradient._extra.base is not None
    if create_graph or gradient is UNKNOWN or expanded:
        leaf.settle(PRESENT, epoch, recorded=True)
    elif gradient is None or gradient is PRESENT:
        leaf.settle(PRESENT, epoch, recorded=gradient is PRESENT and leaf.recorded)
    else:
        leaf.settle(gradient, epoch)


def _accumulate_into(home: Recorder, tensor: Any, reach: Reach, create_graph: bool) -> None:
    history, leaf = tensor.history(), tensor.leaf()
    if isinstance(history, Leaf):
        if id(history) in reach.leaves:
            _reached(history, home.grad_epoch, home.grad_epoch, create_graph)
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
) -> tuple[tuple[Any, ...], Reply | None]:
    """Record a grad: its results, None where there surely is none, and a reply where the answer must tell which there are.

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
    checks.check_grad_inputs(inputs, "grad")
    allow = materialize_grads if allow_unused is None else allow_unused
    known = not is_grads_batched
    if is_grads_batched:
        names = [name_of(home, t, f"outputs[{i}]") for i, t in enumerate(outputs)]
        vector_names = None if vectors is None else [None if v is None else name_of(home, v, "grad_outputs") for v in vectors]
    else:
        names, vector_names, known = _check_roots(home, outputs, vectors)
    input_names = [name_of(home, t, f"inputs[{i}]") for i, t in enumerate(inputs)]
    for tensor in inputs:
        known = known and tensor.history() is not UNKNOWN
        if known and tensor.history() is None:
            raise checks.input_without_grad()
    anomaly = _anomaly()
    roots = () if anomaly is None else tuple([t.history() for t in outputs])
    reach = Reach([t.history() for t in outputs])
    keep = create_graph if retain_graph is None else retain_graph
    foreseen = _foresee(home, outputs, reach, inputs, keep, create_graph, None) if home.hooked else None
    if foreseen is not None and is_grads_batched:
        raise AutogradError(
            "is_grads_batched=True calls no hooks and runs no custom functions remotely: they would see one vector's gradients "
            "each; call grad once each, or use telegrad.local()"
        )
    present = [True if materialize_grads else _is_reached(t, reach) for t in inputs]
    if foreseen is not None and not materialize_grads:
        present = [position in foreseen.captured for position in range(len(inputs))]
    if foreseen is not None and foreseen.error is not None:
        present, allow = [False] * len(inputs), True
    if not allow:
        # Each result exists or the whole command fails; it is sent at once where it surely fails.
        asks = may_wait and any(p is False for p in present)
        present = [True] * len(inputs)
    else:
        asks = any(p is None for p in present)
        if asks and not may_wait:
            raise SessionError(
                "which of these inputs the outputs depend on is known to the server only, and a plain call cannot ask; "
                "use materialize_grads=True, or leave out the inputs that may be unused"
            )
    results: list[Any] = []
    for tensor, found in zip(inputs, present, strict=True):
        spec = _batched_spec(tensor, vectors) if is_grads_batched else tensor._spec
        results.append(None if found is False else _result(home, tensor, spec, create_graph))
    if home.retaining:
        # As in PyTorch, tensors on the way that retain their gradient get it from this walk too.
        home.grad_epoch += not reach.certain
        for leaf in reach.retained():
            leaf.settle(UNKNOWN, home.grad_epoch)
        home.writes += 1
    reply = Reply() if asks else None
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
        ),
        roots=roots,
        touches=() if foreseen is None else tuple(foreseen.touches),
        arrays=None if foreseen is None else foreseen.arrays,
        reply=reply,
        depth=3,
    )
    if foreseen is not None and foreseen.error is not None:
        raise foreseen.error
    return tuple(results), reply


def reaches_others(roots: Sequence[Any], leaves: Sequence[Any]) -> bool:
    """Whether the graph of ``roots`` leads to any leaf but ``leaves``, as far as known here; where that is not certain, yes."""
    own = {id(t.history()) for t in leaves}
    reach = Reach([t.history() for t in roots])
    return not reach.certain or any(key not in own for key in reach.leaves)


def _is_reached(tensor: Any, reach: Reach) -> bool | None:
    """Whether the walk meets the tensor; None if only the server knows."""
    history = tensor.history()
    if isinstance(history, End):
        return False
    if isinstance(history, Leaf):
        return True if id(history) in reach.leaves else False if reach.certain else None
    if isinstance(history, Node):
        if id(history) in reach.nodes:
            # Of an op with several outputs, another one may be meant.
            return None if returns_tuple(history.op) else True
        return False if reach.certain else None
    return None


def _result(home: Recorder, tensor: Any, spec: Spec | None, create_graph: bool) -> Any:
    made = home.tensor_class(home, home.name(), spec, UNKNOWN if create_graph else None)
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


# requires_grad, grad, retain_grad --------------------------------------------------------------------------------------------


def set_requires_grad(tensor: Any, value: bool, *, may_have_history: bool = False) -> None:
    """Record ``requires_grad`` of a leaf. ``may_have_history`` lets a non-leaf require grad, which it does anyhow."""
    if type(value) is not bool:
        raise ArgumentTypeError(f"requires_grad must be a bool, not {type(value).__name__}")
    home = tensor._home
    name = name_of(home, tensor, "tensor")
    history = tensor.history()
    if isinstance(history, (Node, Described)):
        if value and may_have_history:
            return
        raise LeafError(checks.GRAD_OF_NON_LEAF)
    dtype = tensor.known_dtype()
    if value and dtype is not None:
        checks.check_can_require_grad(dtype)
    checks.check_inference(value and tensor.is_inference(), checks.INFERENCE_REQUIRES_GRAD)
    if history is not UNKNOWN:
        if (history is not None) == value:
            return
        if value:
            tensor.start_requiring()
        else:
            tensor.stop_requiring()
    home.record(Set(name, requires_grad=value), touches=(tensor,), depth=4)


def known_grad(tensor: Any, *, resolved: bool = False) -> Any:
    """The gradient: None, a handle (named on the server when first asked for), or UNKNOWN.

    ``resolved`` takes the state that the server has just told, also of tensors that others may change.
    """
    home = tensor._home
    if home.attention:
        home.check((tensor,))
    history, extra = tensor.history(), tensor._extra
    if extra is not None and extra.asks and not resolved:
        return UNKNOWN
    leaf = None if extra is None else extra.leaf
    if leaf is None:
        if history is UNKNOWN or isinstance(history, Described):
            return UNKNOWN  # the server's node may retain its gradient
        if not isinstance(history, Leaf):
            return None
        leaf = tensor.leaf()
    gradient = leaf.at(home.grad_epoch)
    if gradient is not PRESENT:
        return gradient
    name = home.name()
    handle = home.tensor_class(home, name, tensor._spec, UNKNOWN if leaf.recorded else None)
    if tensor._spec is None:
        handle.extra().dtype = tensor.known_dtype()
    home.gradients.add(name)
    leaf.settle(handle, home.grad_epoch)
    home.record(Set(f"{tensor._name}.grad", name=name), touches=(leaf,), depth=4)
    return handle


def warn_if_never_there(tensor: Any, found: Any) -> None:
    """Warn where a gradient was asked for that no backward will leave, as far as that is known without asking."""
    history, extra = tensor.history(), tensor._extra
    if found is None and isinstance(history, Node) and (extra is None or extra.leaf not in (history.retained or ())):
        warn_of_no_grad()


def set_grad(tensor: Any, value: Any) -> None:
    """Record an assignment to ``grad``."""
    home = tensor._home
    name = name_of(home, tensor, "tensor")
    leaf = tensor.leaf()
    if value is None:
        if leaf.at(home.grad_epoch) is None and not tensor.extra().asks:
            return
        leaf.settle(None, home.grad_epoch)
        home.record(Set(name, grad=None), touches=(leaf,), depth=4)
        return
    if not isinstance(value, TensorBase):
        raise ArgumentTypeError(checks.no_gradient(value))
    if value is tensor:
        raise AutogradError("can't assign Variable as its own grad")
    value_name = name_of(home, value, "grad")
    assigned: Any = value
    if tensor._spec is not None and assigned._spec is not None:
        checks.check_assigned_grad(tensor._spec, assigned._spec)
    leaf.settle(assigned, home.grad_epoch)
    home.record(Set(name, grad=value_name), touches=(leaf,), depth=4)


def set_data(tensor: Any, value: Any) -> None:
    """Record an assignment to ``data``."""
    home = tensor._home
    name, value_name = name_of(home, tensor, "tensor"), name_of(home, value, "data")
    history, dtype = tensor.history(), value.known_dtype()
    if dtype is not None:
        checks.check_data(history is not None and history is not UNKNOWN, dtype)
    extra = tensor.extra()
    extra.base, extra.dtype = None, dtype
    tensor._spec = value._spec
    if extra.leaf is not None:
        extra.leaf.spec = value._spec
    home.roots[tensor._name] = home.roots.get(value_name, value_name)
    home.writes += 1
    home.record(Set(name, data=value_name), touches=(tensor,), depth=5)


def detach_in_place(tensor: Any) -> None:
    """Record that a tensor leaves its history. Whether it is a view, the server knows for certain."""
    home = tensor._home
    name = name_of(home, tensor, "tensor")
    extra = tensor.extra()
    leaf = tensor.leaf()
    if isinstance(tensor._node, Node) and tensor._node.retained and leaf in tensor._node.retained:
        tensor._node.retained.remove(leaf)
    tensor._node = UNKNOWN if extra.base is not None else None
    extra.index = 0
    home.leaves.pop(tensor._name, None)
    home.record(Set(name, detach=True), touches=(tensor,), depth=5)


def retain_grad(tensor: Any) -> None:
    """Record that backward keeps the gradient of a non-leaf."""
    home = tensor._home
    name = name_of(home, tensor, "tensor")
    history = tensor.history()
    if history is None:
        raise AutogradError("can't retain_grad on Tensor that has requires_grad=False")
    if isinstance(history, Leaf):
        return
    home.retaining = True
    tensor.retain()
    home.record(Set(name, retain_grad=True), touches=(tensor,), depth=4)


def with_history(description: dict[str, Any]) -> dict[str, Any]:
    """A description that says how the tensor was made. Raises LeafError for a view that cannot."""
    stale = description.get("stale")
    if isinstance(stale, str):
        raise LeafError(stale)
    return description


def described_node(tensor: Any, description: dict[str, Any]) -> Node | Described | None:
    """The ``grad_fn`` of a tensor whose description has just been read."""
    description = with_history(description)
    history = tensor.history()
    if isinstance(history, Described) or (isinstance(history, Node) and history.exact):
        return history
    return None if description["grad_fn"] is None else Described(description["grad_fn"])


# Asking about gradients ------------------------------------------------------------------------------------------------------


def ask_grads(home: Recorder, tensor: Any) -> list[Question]:
    """Record the question for every gradient that is not known, of this tensor and of all leaves: one request answers them."""
    questions = [(tensor.leaf(), home.read(f"{tensor._name}.grad", "description"))]
    for reference in list(home.leaves.values()):
        other: Any = reference()
        if other is None or other is tensor or other._extra is None or other._name in home.failed:
            continue
        leaf = other._extra.leaf
        if leaf is not None and leaf.at(home.grad_epoch) is UNKNOWN:
            questions.append((leaf, home.read(f"{other._name}.grad", "description")))
    return questions


def learn_grads(home: Recorder, questions: Sequence[Question]) -> None:
    """Take over the answers."""
    for leaf, reply in questions:
        description = reply.take()["tensor"]
        if description is None:
            leaf.settle(None, home.grad_epoch)
        else:
            leaf.settle(PRESENT, home.grad_epoch, recorded=bool(description["requires_grad"]))


# Names -----------------------------------------------------------------------------------------------------------------------


def give_name(home: Recorder, tensor: Any, name: str) -> None:
    """Record a lasting name."""
    command = decode_fields(Set, {"tensor": name_of(home, tensor, "tensor"), "name": name})
    home.shared = True
    home.record(command, depth=3)


def find_name(home: Recorder, name: str) -> tuple[Any, Reply]:
    """A handle to the tensor of that name, by a name of its own, and the reply that describes it."""
    own = home.name()
    command = decode_fields(Set, {"tensor": name, "name": own})
    home.check(())
    home.shared = True
    handle = home.tensor_class(home, own, None, UNKNOWN)
    handle.extra().asks = True
    home.record(command, depth=3)
    return handle, home.read(own, "description")
