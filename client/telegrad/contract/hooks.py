"""Functions that run during a backward: the tables that hold them, the handles that remove them, and the checks of what they
return. Shared by the engine and the client, word for word.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, AutogradError, DTypeError, ShapeError
from telegrad.contract.ops import Shape

Hook: TypeAlias = Callable[..., Any]

_number: Final = itertools.count().__next__

Alive: TypeAlias = "weakref.WeakSet[HookTable]"
"""Tables with something in them, of whoever wants to know whether there are any."""


class HookTable:
    """The hooks of one kind at one place, in order of registration."""

    __slots__ = ("__weakref__", "_alive", "_functions", "target")

    def __init__(self, alive: Alive, target: weakref.ref[Any] | None = None) -> None:
        """Empty; in ``alive`` while it is not. ``target`` is where the hooks are, for those who look for all that there are."""
        self._functions: dict[int, Hook] = {}
        self._alive = alive
        self.target = target

    def add(self, function: Hook) -> RemovableHandle:
        """Register ``function``, after those that are there."""
        number = _number()
        self._functions[number] = function
        self._alive.add(self)
        return RemovableHandle(self, number)

    def remove(self, number: int) -> None:
        """Take out what ``add`` numbered so; nothing if that is done."""
        self._functions.pop(number, None)
        if not self._functions:
            self._alive.discard(self)

    def functions(self) -> tuple[Hook, ...]:
        """Those to call now; what a hook adds or removes counts from the next backward on."""
        return tuple(self._functions.values())

    def __len__(self) -> int:
        return len(self._functions)


class Hooks:
    """What is registered on one node, or on one leaf and its accumulation; in the engine and on the client.

    Attributes:
        tensor: by output index, in order of first registration: what sees the gradient before anything else does.
        before: of the node: called with all gradients that arrived.
        after: of the node: called with the gradients that it gives, and those that arrived.
        accumulated: of a leaf: called with it when its ``grad`` is up to date.
        metadata: the node's own dict for users.
        owner: on the client, the handle of a leaf, where a hook wants to be given it.
        pin: on the client, a handle by which the server finds the place when the owner was changed in place.
        stack: in anomaly mode, the lines that led to the node.
        parent: in anomaly mode, the node whose gradient was computed when this one was recorded.
    """

    __slots__ = ("_alive", "accumulated", "after", "before", "metadata", "owner", "parent", "pin", "stack", "target", "tensor")

    def __init__(self, alive: Alive, target: weakref.ref[Any] | None = None) -> None:
        self._alive = alive
        self.target = target
        self.tensor: dict[int, HookTable] = {}
        self.before = HookTable(alive, target)
        self.after = HookTable(alive, target)
        self.accumulated = HookTable(alive, target)
        self.metadata: dict[Any, Any] = {}
        self.owner: Any = None
        self.pin: Any = None
        self.stack: str | None = None
        self.parent: Any = None

    def of_output(self, index: int) -> HookTable:
        """The hooks on output ``index``, of a leaf those on the leaf, which is 0."""
        return self.tensor.setdefault(index, HookTable(self._alive, self.target))

    def __bool__(self) -> bool:
        """Whether anything is registered now."""
        return bool(len(self.before) or len(self.after) or len(self.accumulated) or any(len(t) for t in self.tensor.values()))


class HookedNode:
    """A node of the graph as users see it, in the engine and on the client: their hooks, and a dict of their own."""

    __slots__ = ()

    def name(self) -> str:
        """PyTorch's name of the node."""
        raise NotImplementedError

    def hooks_here(self) -> Hooks:
        """The hooks, made if need be."""
        raise NotImplementedError

    def _hooks_of_users(self) -> Hooks:
        """The hooks, of which users get to add one."""
        return self.hooks_here()

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dict for whatever users want to keep with the node."""
        return self.hooks_here().metadata

    def register_prehook(self, fn: Hook) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the node runs; see ``telegrad.autograd.graph.Node``."""
        return self._hooks_of_users().before.add(fn)

    def register_hook(self, fn: Hook) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node ran; see ``telegrad.autograd.graph.Node``."""
        return self._hooks_of_users().after.add(fn)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class Accumulation(HookedNode):
    """The end of a path: adds what arrives to the ``grad`` of a leaf, which keeps the hooks. Two of the same leaf are equal."""

    __slots__ = ()

    def _end(self) -> Any:
        """The leaf."""
        raise NotImplementedError

    def name(self) -> str:
        """``AccumulateGrad``, as in PyTorch."""
        return "AccumulateGrad"

    @property
    def next_functions(self) -> tuple[()]:
        """Nothing follows a leaf."""
        return ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Accumulation) and other._end() is self._end()

    def __hash__(self) -> int:
        return id(self._end())

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {hash(self):#x}>"


class RemovableHandle:
    """What registering a hook gives: ``remove()`` takes the hook out again. As a context manager it does so at the end.

    Attributes:
        id: a number that no other handle has.
    """

    __slots__ = ("_table", "id")

    def __init__(self, table: HookTable, number: int) -> None:
        self._table = weakref.ref(table)
        self.id = number

    def remove(self) -> None:
        """Take the hook out. Nothing if that is done, or if what it was registered on is gone."""
        table = self._table()
        if table is not None:
            table.remove(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


# Registering -----------------------------------------------------------------------------------------------------------------


def check_hookable(requires_grad: bool) -> None:
    """Refuse a hook on what has no gradient."""
    if not requires_grad:
        raise AutogradError("cannot register a hook on a tensor that doesn't require gradient")


def check_accumulates(is_leaf: bool) -> None:
    """Refuse a hook on an accumulation that does not take place."""
    if not is_leaf:
        raise AutogradError("post accumulate grad hooks cannot be registered on non-leaf tensors")


# What hooks return -----------------------------------------------------------------------------------------------------------

_TYPE_NAMES: Final = {
    "bool": "CPUBoolType",
    "uint8": "torch.ByteTensor",
    "int8": "torch.CharTensor",
    "int16": "torch.ShortTensor",
    "int32": "torch.IntTensor",
    "int64": "torch.LongTensor",
    "float16": "torch.HalfTensor",
    "float32": "torch.FloatTensor",
    "float64": "torch.DoubleTensor",
    "complex64": "CPUComplexFloatType",
    "complex128": "CPUComplexDoubleType",
}


def no_variable(value: Any) -> ArgumentTypeError:
    """The error of a hook that returned neither None nor a tensor."""
    return ArgumentTypeError(f"expected Variable, but hook returned '{type(value).__name__}'")


def _type_name(dtype: DType) -> str:
    return _TYPE_NAMES.get(dtype.name, dtype.name)


def check_replacement(hook: Hook, before: Any, after: Any, tensor_class: type[Any]) -> None:
    """Refuse a gradient of another kind, shape or type in place of ``before``; None in its place is a gradient of zeros.

    Raises ArgumentTypeError, AutogradError, DTypeError or ShapeError, in PyTorch's words. What is not known of a tensor (a
    shape or type of None) is not compared.
    """
    if after is None:
        return
    if not isinstance(after, tensor_class):
        raise no_variable(after)
    if before is None:
        raise AutogradError("can't replace a None gradient with a non-None value")
    name = getattr(hook, "__name__", None) or type(hook).__name__
    was, now = known_dtype(before), known_dtype(after)
    if was is not None and now is not None and was != now:
        raise DTypeError(f"hook '{name}' has changed the type of value (was {_type_name(was)} got {_type_name(now)})")
    size, found = known_shape(before), known_shape(after)
    if size is not None and found is not None and size != found:
        raise ShapeError(f"hook '{name}' has changed the size of value (was {list(size)}, got {list(found)})")


def check_nothing(result: Any) -> None:
    """Refuse a result of a hook on an accumulation: there is nothing to replace."""
    if result is not None:
        raise AutogradError("Tensor post accumulate grad hooks should return None.")


def check_replacements(hook: Hook, before: tuple[Any, ...], after: Any, tensor_class: type[Any]) -> None:
    """The same for hooks that return one gradient for each of several."""
    if not isinstance(after, tuple):
        raise ArgumentTypeError(f"expected tuple, but hook returned '{type(after).__name__}'")
    if len(after) != len(before):
        name = getattr(hook, "__name__", None) or type(hook).__name__
        raise AutogradError(
            f"hook '{name}' has returned an incorrect number of values (got {len(after)}, but expected {len(before)})"
        )
    for old, new in zip(before, after, strict=True):
        check_replacement(hook, old, new, tensor_class)


def known_dtype(tensor: Any) -> DType | None:
    """The element type, without asking a server; None where it is not known."""
    ask = getattr(tensor, "known_dtype", None)
    found: DType | None = tensor.dtype if ask is None else ask()
    return found


def known_shape(tensor: Any) -> Shape | None:
    """The shape, without asking a server; None where it is not known."""
    ask = getattr(tensor, "known_shape", None)
    found: Shape | None = tensor.shape if ask is None else ask()
    return found
