"""Nodes, edges and hooks with ``torch.autograd.graph``'s names."""

from __future__ import annotations

import abc
import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, AutogradError
from telegrad.contract.hooks import RemovableHandle, check_hookable
from telegrad.contract.schedule import Walking, current_walk
from telegrad.contract.session import one_or_many
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import disable_saved_tensors_hooks, saved_tensors_hooks

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]

_NODE: Final = ("name", "next_functions", "metadata", "register_hook", "register_prehook")


class Node(abc.ABC):
    """What ``grad_fn`` is: one recorded op, or the accumulation into a leaf. Made by ops; for ``isinstance`` and annotations."""

    @abc.abstractmethod
    def name(self) -> str:
        """PyTorch's name of the node, for example ``AddBackward0``."""

    @property
    @abc.abstractmethod
    def next_functions(self) -> Sequence[tuple[Any, int]]:
        """Where gradients go from here: (node, output index) per input; (None, 0) for an input that needs none."""

    @property
    @abc.abstractmethod
    def metadata(self) -> dict[Any, Any]:
        """A dict for whatever users want to keep with the node."""

    @abc.abstractmethod
    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node has run, in every backward or grad that runs it.

        Args:
            fn: gets the gradients that the node gives, one for each of ``next_functions`` (None where there is none), and
                those that it was given, one for each output. It may return a tuple of as many gradients in place of the first
                ones, or None.

        Returns a handle whose ``remove()`` takes the hook out again.
        """

    @abc.abstractmethod
    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the node runs, after the hooks of its output tensors.

        Args:
            fn: gets the gradients of all outputs, None where there is none. It may return a tuple of as many in their place.

        Returns a handle whose ``remove()`` takes the hook out again.
        """

    @classmethod
    def __subclasshook__(cls, subclass: type) -> bool:
        return all(hasattr(subclass, name) for name in _NODE) if cls is Node else NotImplemented


class GradientEdge(NamedTuple):
    """A place in the graph: an output of a node. Stands for its tensor in ``backward`` and ``grad``.

    Attributes:
        node: the node; of a leaf its accumulation.
        output_nr: which output.
        ownership_token: what else must live as long as the edge; for remote tensors the tensor itself.
    """

    node: Any
    output_nr: int
    ownership_token: Any = None


class save_on_cpu(saved_tensors_hooks):  # noqa: N801 - PyTorch's name
    """Within, what ops save for backward is kept in the memory of this process, and comes back when backward needs it.

    For remote tensors: the server's memory is spared, and values travel twice. Local tensors are here anyway.

    Args:
        pin_memory: there is no such memory; raises ArgumentValueError if true.
    """

    def __init__(self, pin_memory: bool = False) -> None:
        if pin_memory:
            raise ArgumentValueError("telegrad has no pinned memory; leave pin_memory out")

        def pack(tensor: Any) -> Any:
            return tensor.session, tensor.detach().numpy()

        def unpack(kept: Any) -> Any:
            session, array = kept
            return session.from_numpy(array)

        super().__init__(pack, unpack)


class allow_mutation_on_saved_tensors(saved_tensors_hooks):  # noqa: N801 - PyTorch's name
    """Within, tensors that were saved for backward may be changed in place: backward uses the values that they had.

    Ops save copies for that. Backward must run within, too.

    Raises AutogradError where it is entered within itself; AssertionError, as in PyTorch, for a backward outside.
    """

    _active: ContextVar[object | None] = ContextVar("telegrad_allow_mutation", default=None)

    def __init__(self) -> None:
        self._resets: list[Token[object | None]] = []
        self._mark = mark = object()  # what is saved need not keep the context
        active = self._active

        def pack(tensor: Any) -> Any:
            return mark, tensor.detach().clone()

        def unpack(kept: Any) -> Any:
            owner, tensor = kept
            if active.get() is not owner:
                # PyTorch's class for it, which has no place among the errors of calls.
                raise AssertionError(
                    "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was originally "
                    "recorded."
                )
            return tensor

        super().__init__(pack, unpack)

    def __enter__(self) -> Self:
        if self._active.get() is not None:
            raise AutogradError("allow_mutation_on_saved_tensors contexts cannot be nested")
        super().__enter__()
        self._resets.append(self._active.set(self._mark))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._active.reset(self._resets.pop())
        super().__exit__(kind, value, trace)


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The place where the gradient of ``tensor`` is computed. Raises AutogradError for a tensor that does not require grad."""
    if not tensor.requires_grad:
        raise AutogradError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*tensor._gradient_edge())


def as_tensors(value: Any, name: str) -> list[Any]:
    """A list from one tensor or edge, or a sequence of them; edges become tensors that stand for them.

    Raises ArgumentTypeError naming the argument, AutogradError for an edge that no tensor leads to any more.
    """
    if isinstance(value, GradientEdge):
        return [_stand_in(value)]
    return [_stand_in(v) if isinstance(v, GradientEdge) else v for v in one_or_many(value, name)]


def _stand_in(edge: GradientEdge) -> Any:
    token = edge.ownership_token
    if isinstance(token, Tensor):
        if token._gradient_edge()[:2] != (edge.node, edge.output_nr):
            raise AutogradError("the remote tensor of this edge was changed in place since; get the edge that you mean again")
        return token
    stand_in = getattr(edge.node, "stand_in", None)
    if stand_in is None:
        raise AutogradError("the server knows this node by a tensor only; get the edge by get_gradient_edge(tensor)")
    return stand_in(edge.output_nr)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a change in place that was made behind telegrad's back, so that a backward that needs the old values refuses.

    Raises AutogradError for remote tensors, whose memory nobody else can change.
    """
    for one in (tensor,) if isinstance(tensor, Tensor) else tensor:
        one._increment_version()


class MultiHandle:
    """What ``register_multi_grad_hook`` gives; ``remove()`` takes the hooks out of all tensors. Also a context manager."""

    __slots__ = ("handles",)

    def __init__(self, handles: tuple[RemovableHandle, ...]) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Take the hooks out."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: Literal["all", "any"] = "all"
) -> MultiHandle:
    """Call ``fn`` once a backward that comes by some of ``tensors``.

    Args:
        tensors: each requires grad; for ``any``, those that do not are passed over.
        fn: for ``all`` it gets a list of the gradients when the last one is there, None for tensors that the backward does not
            come by; for ``any`` the first gradient that is there. What it returns does not matter.
        mode: ``all`` or ``any``.

    Returns a handle whose ``remove()`` takes the hook out again.

    Raises:
        ArgumentValueError: another mode.
        AutogradError: ``all``, and a tensor that does not require grad.
    """
    if mode not in ("all", "any"):
        raise ArgumentValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = list(tensors)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance] - users may give anything
            raise ArgumentTypeError(f"tensors must be Tensors, not {type(tensor).__name__}")
        if mode == "all":
            check_hookable(tensor.requires_grad)
    hooks = _all_hooks(tensors, fn) if mode == "all" else [_any_hook(fn)] * len(tensors)
    return MultiHandle(tuple([t.register_hook(h) for t, h in zip(tensors, hooks, strict=True) if t.requires_grad]))


def _all_hooks(tensors: Sequence[Tensor], fn: Callable[..., Any]) -> list[Callable[[Any], None]]:
    """One hook for each tensor; the last one that a backward calls has all gradients."""
    seen: weakref.WeakKeyDictionary[Walking, dict[int, Any]] = weakref.WeakKeyDictionary()
    edges = [tensor._gradient_edge()[:2] for tensor in tensors]

    @functools.wraps(fn)
    def arrived(index: int, gradient: Any) -> None:
        walk = _walk()
        gradients = seen.setdefault(walk, {})
        gradients[index] = gradient
        if len(gradients) == sum(walk.comes_by(node) for node, _ in edges):
            del seen[walk]
            fn([gradients.get(i) for i in range(len(edges))])

    return [functools.partial(arrived, index) for index in range(len(edges))]


def _any_hook(fn: Callable[..., Any]) -> Callable[[Any], None]:
    seen: weakref.WeakSet[Walking] = weakref.WeakSet()

    def arrived(gradient: Any) -> None:
        walk = _walk()
        if walk not in seen:
            seen.add(walk)
            fn(gradient)

    return functools.wraps(fn)(arrived)


def _walk() -> Walking:
    walk = current_walk()
    if walk is None:
        raise AutogradError("expected this hook to be called inside a backward call")
    return walk
