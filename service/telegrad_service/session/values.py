"""What a session does about single tensors: makes, reads, sets and releases them, and describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telegrad.contract import codec, indexing
from telegrad.contract.commands import ABSENT, Create, Read, Release, Set
from telegrad.contract.datasets import content_name, is_content_name
from telegrad.contract.dtypes import as_dtype, from_numpy
from telegrad.contract.errors import ArgumentValueError, AutogradError, NotFoundError, ShapeError, TelegradError
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.limits import refuse
from telegrad.contract.nodes import STALE_NODE
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.context import Context, inference

if TYPE_CHECKING:
    from telegrad_service.session.session import Session

# Memory that an answer takes while it is made: a number as a Python object and as text, a description.
_JSON_NUMBER_BYTES: Final = 64
_DESCRIPTION_BYTES: Final = 1024


def create(session: Session, command: Create, context: Context) -> None:
    """A tensor from numbers in JSON, base64, or an array that came with the request."""
    given = [f for f in ("data", "base64", "buffer") if getattr(command, f) not in (ABSENT, None)]
    if command.data is None:
        given.append("data")
    if len(given) != 1:
        raise ArgumentValueError("create needs exactly one of data, base64 and buffer")
    is_data_set = is_content_name(command.id)
    if is_data_set and command.requires_grad:
        raise ArgumentValueError("a data set stays as it is; requires_grad can be set of what `detach` gives of it")
    session.require_free([command.id], context, data_set=is_data_set)
    dtype = None if command.dtype is None else as_dtype(command.dtype)
    if command.base64 is not None:
        if dtype is None or command.shape is None:
            raise ArgumentValueError("create with base64 needs dtype and shape")
        session.quota.admit("the tensor", [len(command.base64) * 3 // 4])
        array = codec.from_base64(command.base64, dtype, command.shape)
    elif command.buffer is not None:
        found = context.buffers.get(command.buffer)
        if found is None:
            raise ArgumentValueError("the request carries no buffer of that name")
        array = found if dtype is None else found.astype(dtype.numpy, copy=False)
        session.quota.admit("the tensor", [array.nbytes])
    else:
        array = codec.array_from_json(command.data, dtype, max_elements=session.limits.max_json_elements)
        session.quota.admit("the tensor", [array.nbytes])
    if command.shape is not None and array.shape != command.shape:
        raise ShapeError(f"the data has shape {list(array.shape)}, 'shape' says {list(command.shape)}")
    if is_data_set:
        if content_name(array) != command.id:
            raise ArgumentValueError("the name says that the data set holds something else; see telegrad.contract.datasets")
        array.setflags(write=False)
    with inference(command.inference):
        tensor = session.engine.wrap(array)
        if command.requires_grad:
            tensor.requires_grad = True
    context.names[command.id] = tensor


def read(session: Session, command: Read, context: Context) -> dict[str, Any]:
    """What is known of a tensor, and its values as the command asks for them."""
    tensor = session.reference(command.tensor, context)
    if tensor is None:
        return {"tensor": None}
    session.count_answer(_DESCRIPTION_BYTES)
    found = encoded(session, command, tensor.array, context.out, context.settled)
    return {"tensor": describe(command.tensor, tensor), **found}


def encoded(
    session: Session, command: Read, array: np.ndarray[Any, Any], out: dict[str, np.ndarray[Any, Any]], settled: bool = False
) -> dict[str, Any]:
    """The values of an array as a read asks for them; ``settled``: nobody will write into it. Raises LimitError and others."""
    if command.what == "description":
        if command.index is not None:
            raise ArgumentValueError("a description is of the whole tensor: leave out the index")
        return {}
    result: dict[str, Any] = {}
    if command.index is not None:
        array = _part(array, command.index)
        result["shape"] = list(array.shape)
    if command.encoding == "json":
        if array.size > session.limits.max_json_elements:
            raise refuse(
                "the answer",
                array.size,
                session.limits.max_json_elements,
                "max_json_elements",
                unit="numbers",
                hint="read it as base64, raw bytes, .npy or safetensors",
            )
        session.count_answer(_JSON_NUMBER_BYTES * array.size)
        result["data"] = codec.array_to_json(array)
    elif command.encoding == "base64":
        session.count_answer(2 * array.nbytes)
        result["base64"] = codec.to_base64(array)
    else:
        session.count_answer(array.nbytes)
        name = str(len(out))
        # A later command of the batch may write into the tensor: the answer must show it as it is now.
        out[name] = array if settled else array.copy()
        result["buffer"] = name
    return result


def set_(session: Session, command: Set, context: Context) -> None:
    """Change what is not a value: ``requires_grad``, a gradient, memory, history, a further name."""
    tensor = session.resolve(command.tensor, context)
    if command.name is not None:
        session.require_free([command.name], context)
    if command.changes and not tensor.array.flags.writeable and _is_data_set(session, tensor):
        raise AutogradError("a data set stays as it is; `detach` gives a tensor of its own with the same memory")
    gradient: Any = ABSENT
    if command.grad is None:
        gradient = None
    elif isinstance(command.grad, str):
        gradient = session.resolve(command.grad, context)
    if command.retain_grad is False:
        raise ArgumentValueError("retain_grad can only be switched on")
    if command.detach is False:
        raise ArgumentValueError("detach can only be asked for: a tensor does not get its history back")
    if command.data is not None or command.detach:
        _set_memory_or_history(session, command, tensor, context)
        return
    # The steps that can be refused come first; each refuses before it changes anything.
    before = tensor.tracks
    if command.requires_grad is not None:
        tensor.requires_grad_(command.requires_grad)
    try:
        if gradient is not ABSENT:
            tensor.grad = gradient
        if command.retain_grad:
            tensor.retain_grad()
    except TelegradError:
        tensor.tracks = before
        raise
    if command.name is not None:
        context.names[command.name] = tensor


def _set_memory_or_history(session: Session, command: Set, tensor: Any, context: Context) -> None:
    """``data`` and ``detach`` change so much that each is a command of its own, as each is a statement in a script."""
    if command != Set(command.tensor, data=command.data, detach=command.detach) or (command.data and command.detach):
        raise ArgumentValueError("data and detach are set alone; send what else is to be set as commands of their own")
    if command.data is not None:
        tensor.data = session.resolve(command.data, context)
    else:
        tensor.detach_()


def release(_session: Session, command: Release, context: Context) -> None:
    """Take names away; what nothing else needs is freed."""
    missing = [name for name in command.tensors if name not in context.names]
    if missing and len(command.tensors) == 1:
        hint = "; a gradient is dropped by setting the tensor's grad to null" if missing[0].endswith(".grad") else ""
        raise NotFoundError(f"the session has no tensor of that name{hint}")
    if missing:
        raise NotFoundError(f"{len(missing)} of the {len(command.tensors)} names are no tensors of this session")
    for name in command.tensors:
        context.names.pop(name, None)


def _is_data_set(session: Session, tensor: Tensor) -> bool:
    return any(found is tensor for name, found in session.names.items() if is_content_name(name))


def _part(array: np.ndarray[Any, Any], index: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """The part that an index selects, in the same memory. Raises what indexing a tensor raises."""
    if any(isinstance(item, (bool, TensorSlot)) for item in index):
        raise ArgumentValueError(
            "a read selects by integers, slices, null and '...'; for masks and tensors apply getitem and read its result"
        )
    part: np.ndarray[Any, Any] = array[(*indexing.resolve(array.shape, index, ()).basic, ...)]
    return part


def describe(name: str, tensor: Tensor) -> dict[str, Any]:
    """What is known of a tensor without its values."""
    stale: str | None = None
    try:
        node = tensor.current_node()
    except AutogradError as error:  # a view whose base was changed in a way that the view cannot follow
        stale = str(error)
        made_by: str | None = STALE_NODE
        retains = False
    else:
        made_by = None if node is None else node.name()
        retains = tensor.retains_grad
    return {
        "id": name,
        "shape": list(tensor.array.shape),
        "dtype": from_numpy(tensor.array.dtype).name,
        "requires_grad": tensor.requires_grad,
        "is_leaf": made_by is None,
        "grad_fn": made_by,
        "stale": stale,
        "has_grad": tensor.kept_gradient is not None,
        "retains_grad": retains,
        "version": None if tensor.is_inference() else tensor._version,
        "is_inference": tensor.is_inference(),
        "nbytes": tensor.array.nbytes,
    }
