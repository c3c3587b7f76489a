"""What a session would hold: its own tensors and, on top of them, stand-ins of those that commands will make; what does not fit is
refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from telegrad.contract.dtypes import DType
from telegrad.contract.limits import refuse
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session import usage
from telegrad_service.session.context import GRAD_SUFFIX
from telegrad_service.session.haste import TooLongError
from telegrad_service.session.standins import Memory, StandIn, shown, tracks

if TYPE_CHECKING:
    from telegrad_service.session.session import Session


_LIGHT: Final = 16
"""What a session holds is light where so many times as much would fit."""


class Unforeseen(Exception):  # noqa: N818 - a signal, never shown to users
    """From here on nothing is known: the next command fails, or it is one that nobody foresees."""


class Holdings:
    """What a session would hold, as commands are gone through: by name, and in all.

    Attributes:
        nbytes: that the stand-ins have now, beyond what the session holds.
        nodes: likewise.
        peak_bytes: the most that ``nbytes`` and working memory were together.
        peak_nodes: the most nodes.
        peak_names: the most names that the session would have beyond those that it has.
        made: tensors with new memory.
    """

    def __init__(self, session: Session, names: Mapping[str, Tensor]) -> None:
        """Begin where the session is, with the tensors that its names mean."""
        self.nbytes = self.nodes = self.peak_bytes = self.peak_nodes = self.made = 0
        self._session = session
        self._limits = session.limits
        self._home = session.engine
        self._real = names
        self._names: dict[str, StandIn | None] = {}  # None: released
        self._known: dict[int, StandIn] = {}
        self._count = self.peak_names = 0
        self._index = 0
        self._what = ""
        self._held = session.quota.held
        self._is_counted = False
        self._gave_up = False  # something that the session holds will be free: how much, only a count can tell
        self._walked = False
        self._in_program = False
        # To walk a graph takes a good part of what a backward takes; gradients are no more than what there is.
        light = self._held.nbytes * _LIGHT <= session.limits.max_session_bytes
        self._is_light = light and not session.quota.is_rated

    # Names -------------------------------------------------------------------------------------------------------------------

    def _find(self, reference: str) -> StandIn:
        found = self._look(reference)
        if found is None and reference.endswith(GRAD_SUFFIX):
            owner = self._look(reference[: -len(GRAD_SUFFIX)])
            found = None if owner is None else owner.gradient
        if found is None:
            raise Unforeseen
        return found

    def _look(self, name: str) -> StandIn | None:
        if name in self._names:
            return self._names[name]
        tensor = self._real.get(name)
        return None if tensor is None else self._of(tensor)

    def _of(self, tensor: Tensor) -> StandIn:
        """The stand-in of a tensor of the session."""
        found = self._known.get(id(tensor))
        if found is None:
            found = self._known[id(tensor)] = StandIn(tensor, tracks=tracks(tensor))
            if tensor.kept_gradient is not None:
                found.gradient = self._of(tensor.kept_gradient)
        return found

    def _give(self, name: str | None, value: StandIn) -> None:
        if name is None:
            return
        if not self._in_program and self._names.get(name) is None and (name in self._names or name not in self._real):
            self._more_names(1)
        self._names[name] = value

    def _more_names(self, count: int) -> None:
        self._count += count
        self.peak_names = max(self.peak_names, self._count)
        total = len(self._session.names) + self._count
        if total > self._limits.max_tensors:
            raise refuse(
                self._subject(),
                total,
                self._limits.max_tensors,
                "max_tensors",
                unit="tensors",
                hint="release tensors that are no longer needed",
            )

    # What it takes -----------------------------------------------------------------------------------------------------------

    def _subject(self) -> str:
        return f"command {self._index} ({self._what})"

    def _new(self, shape: tuple[int, ...], dtype: DType) -> StandIn:
        """A value with memory of its own. Raises LimitError."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > self._limits.max_tensor_bytes:
            raise refuse(self._subject(), nbytes, self._limits.max_tensor_bytes, "max_tensor_bytes")
        self.made += 1
        made = StandIn(shown(self._home, shape, dtype), Memory(self, nbytes))
        self._check(0)
        return made

    def _check(self, scratch: int) -> None:
        """Refuse what does not fit now, with so much working memory."""
        now = self.nbytes + scratch
        self.peak_bytes = max(self.peak_bytes, now)
        self.peak_nodes = max(self.peak_nodes, self.nodes)
        limits = self._limits
        if self._held.nbytes + now <= limits.max_session_bytes and self._held.nodes + self.nodes <= limits.max_nodes:
            return
        self._count_exactly()
        if self._held.nbytes + now > limits.max_session_bytes and self._least_bytes() + now > limits.max_session_bytes:
            raise refuse(
                f"{self._subject()}, with the {self._held.nbytes:,} bytes that the session holds,",
                self._held.nbytes + now,
                limits.max_session_bytes,
                "max_session_bytes",
                hint="release tensors that are no longer needed, or send less at once",
            )
        if self._held.nodes + self.nodes > limits.max_nodes and not (self._gave_up or self._walked):
            raise refuse(
                f"{self._subject()}: the graph",
                self._held.nodes + self.nodes,
                limits.max_nodes,
                "max_nodes",
                unit="nodes",
                hint="release results that are no longer needed, or use no_grad",
            )

    def _count_exactly(self) -> None:
        if self._is_counted:
            return
        if self._session.haste is not None:
            raise TooLongError
        self._held = usage.count(self._session.alive())
        self._is_counted = True

    def _least_bytes(self) -> int:
        """Of what the session holds, what is certain to be there still."""
        if not self._gave_up and not self._walked:
            return self._held.nbytes
        left = [t for name, t in self._session.names.items() if self._names.get(name, t) is not None]
        for tensor in list(left):
            known, gradient = self._known.get(id(tensor)), tensor.kept_gradient
            if gradient is not None and (known is None or (known.gradient is not None and known.gradient.shown is gradient)):
                left.append(gradient)
        return usage.count(left, with_graphs=not self._walked, with_gradients=False).nbytes
