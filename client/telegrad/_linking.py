"""The history that a recorded op gives its outputs, and what checkpoints need to know of it."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from telegrad._history import Node, Unknown, gradient_place, made_of
from telegrad._packs import settle
from telegrad.contract import watching

if TYPE_CHECKING:
    from telegrad._foresight import Foresight
    from telegrad._handle import Handle
    from telegrad._recorder import Recorder

Given: TypeAlias = "dict[tuple[Any, int], Handle]"
"""What the ops of a checkpoint's block were given, by the place of its gradient."""


class Blocks:
    """The blocks of checkpoints that run, one a thread at a time: what another thread records is in none of this one's.

    Attributes:
        given: by thread.
    """

    def __init__(self) -> None:
        self.given: dict[int, Given] = {}

    def here(self) -> Given | None:
        """That of the block that runs in this thread."""
        return self.given.get(threading.get_ident())

    def enter(self, given: Given | None) -> None:
        """Note here what the ops of this thread are given; None for nowhere."""
        if given is None:
            self.given.pop(threading.get_ident(), None)
        else:
            self.given[threading.get_ident()] = given

    def note(self, tensor: Handle, history: Any, index: int) -> None:
        """An op was given the tensor."""
        given = self.here()
        if given is not None:
            given[gradient_place(tensor, history, index)] = tensor


def link(home: Recorder, plan: Foresight, inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
    """The history that a recorded op gives its outputs."""
    if watching.watchers:
        settle(home, plan, inputs)
    edges: list[tuple[int, Any, int]] = []
    certain = False
    for position in plan.positions:
        x = inputs[position]
        extra = x._extra
        history = x._node if extra is None else x.history()
        if history is not None:
            if not isinstance(history, Unknown):
                certain = True
            index = 0 if extra is None else extra.index
            edges.append((position, history, index))
            if home.blocks.given:
                home.blocks.note(x, history, index)
    if not edges:
        return None
    # An input that may or may not require grad decides only where no other one surely does.
    if not certain:
        return made_of(*[history for _, history, _ in edges])
    node = Node(plan, edges, parameters, len(inputs))
    if watching.watchers and watching.is_anomaly_enabled():
        node.hooks_here().stack = watching.users_stack()
    return node
