"""``Wrapped``: a tensor that holds other tensors and rewrites every op into ops on them; and the levels of running transforms.

Because every op leaves through ``_apply``, a wrapper works over whatever tensors it holds: of this process, of a server, or other
wrappers. A plain tensor's ``_apply`` that meets a wrapper among its inputs hands the call over (``redirected``); the wrapper of the
innermost transform goes first, handles its own level and calls ``_apply`` of what remains.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

import numpy.typing as npt

from telegrad.contract.errors import AutogradError
from telegrad.contract.ops import OPS
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import GraphNode, Tensor

if TYPE_CHECKING:
    from telegrad.contract.session import BaseSession


class Level:
    """One transform while it runs.

    Attributes:
        depth: how many transforms run around it, itself included; 1 is the outermost.
        over: it has ended; its wrappers mean nothing any more.
        functional: it runs a function, inside of which ``backward()`` makes no sense.
    """

    __slots__ = ("depth", "functional", "over")

    def __init__(self, *, functional: bool = True) -> None:
        self.depth = len(running()) + 1
        self.functional = functional
        self.over = False

    def adopts(self) -> bool:
        """Whether tensors made from nothing while this transform runs are its own, see ``adopted``."""
        return False

    def adopted(self, made: Any) -> Any:
        """A tensor made from nothing, as this transform's own."""
        return made

    def draw(self, home: Any, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:  # noqa: ARG002 - see vmap's
        """A random op none of whose inputs this transform has wrapped; ``NOT_REDIRECTED`` where drawing once is right."""
        return NOT_REDIRECTED

    def lift(self, tensor: Any) -> Any:
        """A tensor of a lower level, or of none, as one of this transform's own: what a gradient with respect to it needs."""
        return tensor


def lifted(tensor: Any, levels: tuple[Level, ...]) -> Any:
    """``tensor`` as one that each of ``levels`` (outermost first) has wrapped where it can."""
    if not levels:
        return tensor
    *outer, last = levels
    if isinstance(tensor, Wrapped) and tensor.level is last:
        return tensor._with_held(lambda held: lifted(held, tuple(outer)))
    return last.lift(lifted(tensor, tuple(outer)))


_running: ContextVar[tuple[Level, ...]] = ContextVar("telegrad_transforms", default=())

running: Callable[[], tuple[Level, ...]] = _running.get
"""The transforms that run in this thread and task, outermost first; empty almost always, and then nothing below is looked at."""


@contextlib.contextmanager
def entered(level: Level) -> Generator[None]:
    """Run ``level`` inside of what runs already."""
    token = _running.set((*running(), level))
    try:
        yield
    finally:
        level.over = True
        _running.reset(token)


@contextlib.contextmanager
def outside(level: Level) -> Generator[None]:
    """Step out of ``level`` and of all inside it, for work on what its wrappers hold."""
    token = _running.set(running()[: level.depth - 1])
    try:
        yield
    finally:
        _running.reset(token)


@contextlib.contextmanager
def untransformed() -> Generator[None]:
    """Step out of all transforms, for work on tensors that are none of theirs."""
    token = _running.set(())
    try:
        yield
    finally:
        _running.reset(token)


class Wrapped(Tensor):
    """A tensor of a running transform. Ops of it are rewritten by ``_transform``; reads raise unless a subclass can answer.

    Attributes:
        level: the transform it belongs to.
    """

    __slots__ = ("__weakref__", "level")
    level: Any
    """Some kind of ``Level``, the same for all wrappers of a class."""

    @final
    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        """Hand one op to the innermost transform among the inputs, see ``TensorBase._apply``."""
        found = innermost(inputs)
        if found is None:  # it is asked on behalf of others
            for x in inputs:
                if isinstance(x, TensorBase):
                    return x._apply(op, *inputs, **parameters)
            return self._held()._apply(op, *inputs, **parameters)
        if found.level.over:
            return found._outlived(op, inputs, parameters)
        return found._transform(op, inputs, parameters)

    # What a subclass provides ------------------------------------------------------------------------------------------------

    def _transform(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """Do one op, at least one of whose inputs is of this level and none of a higher one.

        Inputs of lower levels, or of none, are constants of this transform. ``op`` may be an in-place form.
        """
        raise NotImplementedError

    def _differentiate(
        self,
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
        """``session.grad`` where a wrapper of this level, and none of a higher one, is among outputs, inputs or vectors."""
        raise NotImplementedError

    def _held(self) -> Any:
        """The tensor, or the main one of the tensors, that this one wraps."""
        raise NotImplementedError

    def _with_held(self, change: Callable[[Any], Any]) -> Any:  # noqa: ARG002 - see Batched's
        """A wrapper like this one around what ``change`` makes of the tensors it holds."""
        return self

    def _with_main(self, change: Callable[[Any], Any]) -> Any:
        """A wrapper like this one around what ``change`` makes of the main tensor that it holds, see ``_held``."""
        return self._with_held(change)

    def _all_held(self) -> tuple[Any, ...]:
        """The tensors that this one wraps."""
        return (self._held(),)

    # What holds for all ------------------------------------------------------------------------------------------------------

    @property
    def session(self) -> BaseSession:
        """The session that the wrapped tensors live in."""
        session: BaseSession = self._held().session
        return session

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for the wrapped tensors."""
        return bool(self._held().requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._held().requires_grad = value

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made the wrapped tensors."""
        return bool(self._held().is_leaf)

    @property
    def grad_fn(self) -> GraphNode | None:
        """The node that made the main wrapped tensor."""
        node: GraphNode | None = self._held().grad_fn
        return node

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on the main wrapped tensor."""
        return bool(self._held().retains_grad)

    def register_hook(self, hook: Callable[[Any], Any]) -> NoReturn:  # noqa: ARG002 - refused whatever it is
        """Refused: hooks see the gradients of one tensor, and here are many, or none yet."""
        raise AutogradError("hooks cannot be registered on a tensor of a running transform; register them outside of the function")

    def register_post_accumulate_grad_hook(self, hook: Callable[[Any], None]) -> NoReturn:
        """Refused, as ``register_hook``."""
        self.register_hook(hook)

    def _gradient_edge(self) -> tuple[Any, int, Any]:
        edge: tuple[Any, int, Any] = self._held()._gradient_edge()
        return edge

    def is_inference(self) -> bool:
        """Whether what it wraps is an inference tensor."""
        return bool(self._held().is_inference())

    def _increment_version(self) -> None:
        self._held()._increment_version()

    @property
    def grad(self) -> Any:
        """None: inside a transformed function no gradient is accumulated."""
        return None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            raise AutogradError("grad cannot be assigned inside a transformed function; use telegrad.autograd.grad there")

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def retain_grad(self) -> None:
        """Refused: a transformed function asks with ``telegrad.autograd.grad``."""
        raise AutogradError("retain_grad() is not possible inside a transformed function; use telegrad.autograd.grad there")

    @property
    def _version(self) -> int:
        return int(self._held()._version)

    def backward(
        self,
        gradient: Tensor | None = None,  # noqa: ARG002 - refused whatever they are
        retain_graph: bool | None = None,  # noqa: ARG002
        create_graph: bool = False,  # noqa: ARG002
        inputs: Tensor | Sequence[Tensor] | None = None,  # noqa: ARG002
    ) -> None:
        """Refused: there is no ``.grad`` to accumulate in; a transformed function asks with ``telegrad.autograd.grad``."""
        refuse_backward()

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:  # noqa: ARG002 - a tensor's signature
        """Refused: inside a transformed function there are no values to read."""
        self._refuse_reading("numpy")

    def _value(self) -> npt.NDArray[Any]:
        self._refuse_reading("item")

    def _refuse_reading(self, what: str) -> NoReturn:
        """Raise the error of asking for values."""
        raise AutogradError(f"{what}() is not possible on a tensor of a running transform: its values are not those of one tensor")

    def _outlived(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:  # noqa: ARG002 - see Dual's
        """Do one op on a wrapper whose transform has ended."""
        self._escaped()

    def _escaped(self) -> NoReturn:
        """Raise the error of a wrapper that outlived its transform."""
        raise AutogradError(
            "this tensor escaped from a transformed function that has ended; return it from the function instead of keeping it"
        )


class _NotRedirected:
    __slots__ = ()


NOT_REDIRECTED: Final = _NotRedirected()
"""What ``redirected`` gives where the call is a plain one."""


def innermost(tensors: Sequence[Any]) -> Wrapped | None:
    """The wrapper of the highest level among ``tensors``, or None."""
    found: Wrapped | None = None
    for x in tensors:
        if isinstance(x, Wrapped) and (found is None or x.level.depth > found.level.depth):
            found = x
    return found


def redirected(home: Any, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """Do one op of plain tensors' ``_apply`` as the running transforms want it, or say ``NOT_REDIRECTED``.

    To be asked only while ``running()`` is not empty. ``home`` is what to ``_apply`` an op without tensors to.
    """
    wrapper = innermost(inputs)
    if wrapper is not None:
        return wrapper._apply(op, *inputs, **parameters)
    row = OPS.get(op)
    if row is not None and row.random:
        for level in reversed(running()):
            made = level.draw(home, op, inputs, parameters)
            if made is not NOT_REDIRECTED:
                return made
    if row is not None and not row.inputs:
        for level in reversed(running()):
            if level.adopts():
                with outside(level):
                    made = home._apply(op, **parameters)
                return level.adopted(made)
    return NOT_REDIRECTED


def redirected_grad(outputs: Sequence[Any], inputs: Sequence[Any], grad_outputs: Sequence[Any] | None, **settings: Any) -> Any:
    """``session.grad`` as the running transforms want it, or ``NOT_REDIRECTED`` where no tensor is wrapped.

    To be asked only while ``running()`` is not empty. ``settings`` are the keywords of ``Wrapped._differentiate``.
    """
    wrapper = innermost((*outputs, *inputs, *(grad_outputs or ())))
    if wrapper is None:
        return NOT_REDIRECTED
    if wrapper.level.over:
        wrapper._escaped()
    return wrapper._differentiate(outputs, inputs, grad_outputs, **settings)


def adopted(made: Any) -> Any:
    """A tensor that a session has made from data, as the innermost running transform that adopts such tensors wants it."""
    for level in reversed(running()):
        if level.adopts():
            return level.adopted(made)
    return made


def settled(tensors: Sequence[Any], *, all_of_them: bool = False) -> Sequence[Any]:
    """Tensors with those that outlived their ``dual_level()`` as what they are now, without tangents.

    With ``all_of_them`` those of a running one too: what ``backward`` sees, which knows no tangents.
    """
    return [_settled(x, all_of_them) for x in tensors] if any(isinstance(x, Wrapped) for x in tensors) else tensors


def _settled(x: Any, all_of_them: bool) -> Any:
    while isinstance(x, Wrapped) and not x.level.functional and (all_of_them or x.level.over):
        x = x._held()
    return x


def plain(x: Any) -> Any:
    """The tensor that all wrappers are around."""
    while isinstance(x, Wrapped):
        x = x._held()
    return x


def refuse_backward() -> None:
    """Raise the error of ``backward`` inside a function's transform, on whatever tensors; nothing inside a ``dual_level()``."""
    if not any(level.functional for level in running()):
        return
    raise AutogradError(
        "backward() called inside a functional transform (telegrad.vmap, say). This is not supported: use telegrad.func.grad, "
        "telegrad.func.vjp or telegrad.autograd.grad there, or call backward() outside of the transforms."
    )


def do(name: str, *inputs: Any, **parameters: Any) -> Any:
    """An op on whatever tensors: the hook of the first of them."""
    for x in inputs:
        if isinstance(x, TensorBase):
            return x._apply(name, *inputs, **parameters)
    raise LookupError(f"{name} needs a tensor")
