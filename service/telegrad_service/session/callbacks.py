"""Callbacks of a ``backward`` or ``grad``: commands that the engine's walk does where a hook would be called."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from telegrad.contract.callbacks import Callback
from telegrad.contract.commands import Command
from telegrad.contract.errors import ArgumentValueError, AutogradError, TelegradError
from telegrad.contract.hooks import Alive, Hook, Hooks
from telegrad_service.engine.autograd import Suspended
from telegrad_service.engine.custom import Deferred, deferred_of
from telegrad_service.engine.graph import Node
from telegrad_service.engine.hooks import WAIT, Target
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.packs import Packs

Place: TypeAlias = "tuple[Target, int]"
"""A node or leaf, and an output of it."""

_NOBODY: Final[Alive] = weakref.WeakSet()
"""Who wants to know that there are callbacks: nobody, a walk is given its own."""


class Stopped(Exception):  # noqa: N818 - no error
    """A callback ended the backward."""


class CallbackRun:
    """The callbacks of one command as hooks, while it is done.

    As a context manager it ends the command where a callback stops it, and takes back the names that were given if it fails.

    Attributes:
        hooks: for the engine's walk, by the identity of node or leaf; None where there are no callbacks.
        stopped: whether a callback ended the walk.
        pausing: the last callback that let it wait, and its number; None where a node did.
        label: of that node.
        arrived: with ``asks``, the gradients there, in one group or two.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback],
        names: MutableMapping[str, Tensor],
        made: Sequence[str],
        resolve: Callable[[str], Tensor],
        do: Callable[[Command], object],
        hold: Callable[[int], None],
        packs: Mapping[str, Packs],
        *,
        asks: bool = False,
    ) -> None:
        """Find the places.

        Args:
            callbacks: of the command.
            names: what names mean; those of gradients are added.
            made: the names that the callbacks and their commands give.
            resolve: from a reference to its tensor.
            do: does a command.
            hold: is told the bytes of each gradient that gets a name.
            packs: what clients keep of what ops saved, by name.
            asks: wait at each callback, and keep what arrived there.

        Raises ArgumentValueError for a place that is not there, NotFoundError for an unknown tensor.
        """
        self._names = names
        self._made = made
        self._resolve = resolve
        self._do = do
        self._hold = hold
        self._packs = packs
        self.hooks: dict[int, Hooks] | None = {} if callbacks or asks else None
        self.asks = asks
        self.arrived: tuple[Sequence[Any], ...] = ()
        self.stopped = False
        self.pausing: tuple[int, Callback] | None = None
        self.label: str | None = None
        self._places: list[Place | None] = []
        self._deferred: list[tuple[Deferred | Packs, Hook]] = []
        self._extend(callbacks)

    def go_on(self, callbacks: Sequence[Callback], made: Sequence[str], do: Callable[[Command], object]) -> None:
        """Take further callbacks, of the command that resumes the walk; see ``__init__``."""
        self._made = made
        self._do = do
        self._extend(callbacks)

    def _extend(self, callbacks: Sequence[Callback]) -> None:
        for callback in callbacks:
            index = len(self._places)
            try:
                self._add(index, callback)
            except TelegradError as error:
                error.extra.setdefault("callback", index)
                raise

    def _add(self, index: int, callback: Callback) -> None:
        if callback.kind == "unpack":
            packs = self._packs.get(callback.on) if isinstance(callback.on, str) else None
            if packs is None:
                raise ArgumentValueError("no op that is there saved something under that name, or it was freed")
            self._places.append(None)
            self._deferred.append((packs, self._function(index, callback)))
            return
        target, output = self._place(callback)
        self._places.append((target, output))
        if self.hooks is None:
            return
        hooks = self.hooks.setdefault(id(target), Hooks(_NOBODY))
        leaf = isinstance(target, Tensor)
        if callback.kind == "tensor":
            count = len(target.layouts) if isinstance(target, Node) else 1
            chosen = output if callback.output is None else callback.output
            if chosen >= count:
                raise ArgumentValueError(f"that node has {count} output(s), there is no number {chosen}")
            hooks.of_output(chosen).add(self._function(index, callback))
        elif callback.kind == "custom":
            deferred = deferred_of(target) if isinstance(target, Node) else None
            if deferred is None:
                raise ArgumentValueError("a custom callback needs a node that attach made, and that was not freed")
            self._deferred.append((deferred, self._function(index, callback)))
        elif callback.kind == "accumulated":
            if not leaf:
                raise ArgumentValueError("an accumulated callback needs a leaf; this is a tensor that an op made")
            hooks.accumulated.add(self._function(index, callback))
        else:
            table = hooks.before if callback.kind == "before" else hooks.after
            table.add(self._function(index, callback))

    def _place(self, callback: Callback) -> Place:
        on = callback.on
        first = on if isinstance(on, str) else on[0]
        if isinstance(first, int):
            before = self._places[first] if first < len(self._places) else None
            if before is None:
                raise ArgumentValueError(f"there is no earlier callback number {first} at a place")
            target, output = before
        else:
            tensor = self._resolve(first)
            if not tensor.requires_grad:
                raise AutogradError("cannot register a hook on a tensor that doesn't require gradient")
            target, output = tensor.current_node() or tensor, tensor.output_index
        for position in () if isinstance(on, str) else on[1:]:
            if not isinstance(target, Node) or position not in target.plan.positions:
                raise ArgumentValueError(f"the path of the callback ends before input {position}: no gradient goes there")
            node: Node = target
            edge = node.plan.positions.index(int(position))
            target, output = node.edges[edge], node.indexes[edge]
        return target, output

    def _function(self, index: int, callback: Callback) -> Hook:
        """What the walk calls."""

        def hook(*groups: Any) -> Any:
            if callback.kind != "accumulated":
                self._bind(callback.grads, groups[0])
                if callback.kind == "after":
                    self._bind(callback.arrived, groups[1])
            at = 0
            try:
                for at, command in enumerate(callback.commands):  # noqa: B007 - the error says which one
                    self._do(command)
            except TelegradError as error:
                error.extra.setdefault("callback", index)
                error.extra.setdefault("command", at)
                raise
            if callback.pauses is not None or self.asks:
                self.pausing = index, callback
                shown = () if callback.kind == "accumulated" else groups
                self.arrived = tuple([g if isinstance(g, tuple) else (g,) for g in shown]) if self.asks else ()
                return WAIT
            return self.given(callback.kind, callback.results, stops=callback.stops)

        hook.__name__ = f"callback {index}"
        return hook

    def ask(self, label: str | None, gradients: tuple[Any, ...]) -> None:
        """The walk came by a node whose function the client has, and waits."""
        self.pausing, self.label, self.arrived = None, label, (gradients,)

    def reached(self, comes_by: Callable[[Any], bool]) -> list[int]:
        """The numbers of the callbacks whose places a walk comes by."""
        return [i for i, place in enumerate(self._places) if place is not None and comes_by(place[0])]

    def given(self, kind: str, results: Sequence[str | None] | None, *, stops: bool) -> Any:
        """What a callback gives to the walk. Raises Stopped where it ends that."""
        if stops:
            raise Stopped
        if results is None:
            return None
        found = tuple([None if r is None else self._resolve(r) for r in results])
        if kind != "tensor":
            return found
        if len(found) != 1:
            raise ArgumentValueError(f"a tensor callback has one result, not {len(found)}")
        return found[0]

    def _bind(self, names: Sequence[str | None], gradients: Any) -> None:
        given: tuple[Any, ...] = gradients if isinstance(gradients, tuple) else (gradients,)
        if len(names) > len(given):
            raise ArgumentValueError(f"{len(names)} names were given for {len(given)} gradient(s)")
        for name, gradient in zip(names, given, strict=False):
            if name is None:
                continue
            if gradient is None:
                raise AutogradError("a callback names a gradient that is not there: None arrived at that place")
            self._names[name] = gradient
            self._hold(gradient.array.nbytes)

    def __enter__(self) -> Self:
        for deferred, action in self._deferred:
            deferred.action = action
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> bool:
        for deferred, _ in self._deferred:
            deferred.action = None
        self.stopped = isinstance(value, Stopped)
        if value is not None and not isinstance(value, (Stopped, Suspended)):
            for name in self._made:
                self._names.pop(name, None)
        return self.stopped
