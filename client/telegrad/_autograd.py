"""What recording a command means for what handles know: creation, ``requires_grad``, accumulated gradients, names.

Shared by both kinds of session.
"""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from telegrad._history import PRESENT, UNKNOWN, Described, Leaf, Node, Unknown
from telegrad._hooks import pin
from telegrad._queue import Reply
from telegrad.contract import checks, dtypes
from telegrad.contract.command_fields import decode_fields
from telegrad.contract.commands import Apply, Create, Seed, Set
from telegrad.contract.errors import ArgumentTypeError, AutogradError, LeafError, SessionMismatchError
from telegrad.contract.generator import seed_of
from telegrad.contract.ops import Spec
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.watching import warn_of_no_grad

if TYPE_CHECKING:
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
    home.admit()
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
    given = seed_of(value)
    home.check(())
    home.record(Seed(given), depth=3)


def rng_state(home: Recorder) -> Any:
    """Record that the state of the random generator becomes a tensor."""
    home.check(())
    made = home.tensor_class(home, home.name(), Spec(checks.STATE_SHAPE, dtypes.uint8), None)
    home.record(Seed(save=made._name), depth=3)
    return made


def set_rng_state(home: Recorder, state: Any) -> None:
    """Record that such a state comes back."""
    name = name_of(home, state, "new_state")
    if state._spec is not None:
        checks.check_state(state._spec.shape, state._spec.dtype)
    home.record(Seed(state=name), depth=3)


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
    if not isinstance(history, Unknown):
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
        if isinstance(history, (Unknown, Described)):
            return UNKNOWN  # the server's node may retain its gradient
        if not isinstance(history, Leaf):
            return None
        leaf = tensor.leaf()
    gradient = leaf.at(home.grad_epoch)
    if gradient is not PRESENT:
        return gradient
    name = home.name()
    handle = home.tensor_class(home, name, tensor._spec, leaf.recorded)
    if tensor._spec is None:
        handle.extra().dtype = tensor.known_dtype()
    home.gradients.add(name)
    home.record(Set(f"{tensor._name}.grad", name=name), touches=(leaf,), depth=4)
    leaf.settle(handle, home.grad_epoch)  # once it is recorded: who is interrupted before asks for another name
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
        leaf.settle(UNKNOWN, home.grad_epoch)  # until it is recorded: an interruption may come before
        home.record(Set(name, grad=None), touches=(leaf,), depth=4)
        leaf.settle(None, home.grad_epoch)
        return
    if not isinstance(value, TensorBase):
        raise ArgumentTypeError(checks.no_gradient(value))
    if value is tensor:
        raise AutogradError("can't assign Variable as its own grad")
    value_name = name_of(home, value, "grad")
    assigned: Any = value
    if tensor._spec is not None and assigned._spec is not None:
        checks.check_assigned_grad(tensor._spec, assigned._spec)
    leaf.settle(UNKNOWN, home.grad_epoch)
    home.record(Set(name, grad=value_name), touches=(leaf,), depth=4)
    leaf.settle(assigned, home.grad_epoch)


def set_data(tensor: Any, value: Any) -> None:
    """Record an assignment to ``data``."""
    home = tensor._home
    name, value_name = name_of(home, tensor, "tensor"), name_of(home, value, "data")
    history, dtype = tensor.history(), value.known_dtype()
    if dtype is not None:
        checks.check_data(history is not None and not isinstance(history, Unknown), dtype)
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
    if home.hooked and home.waits:
        pin(tensor)
    if isinstance(tensor._node, Leaf) and extra.base is None:
        tensor.stop_requiring()
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
    if description["grad_fn"] is None:
        return None
    made = Described(description["grad_fn"], None, tensor)
    if isinstance(history, Node):
        made.hooks = history.hooks_here()
    elif tensor._home.waits:  # another client may give it another history
        made.hooks = tensor.leaf().hooks_here()
        made.hooks.owner = made.tensor
    return made


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
            leaf.settle(PRESENT, home.grad_epoch, recorded=UNKNOWN if description["requires_grad"] else None)


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
