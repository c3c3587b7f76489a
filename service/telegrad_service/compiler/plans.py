"""The plans of one session: found by program and by what its inputs look like, made when the same is asked for a second time."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from telegrad.contract import watching
from telegrad.contract.transforms.wrapper import running
from telegrad_service.compiler.plan import Plan
from telegrad_service.engine.buffers import Neighbourhood
from telegrad_service.engine.graph import INFERENCE
from telegrad_service.engine.hooks import any_hooks
from telegrad_service.engine.tensor import Tensor

MOST_PLANS: Final = 64
"""How many programs, counted once for each kind of inputs, a session remembers; the one that was not used longest goes."""

MOST_KEPT_BYTES: Final = 64 * 2**20
"""What all plans of a session hold between runs."""

Key = tuple[Hashable, ...]


def key_of(program: str, bound: Mapping[str, Tensor], outputs: Sequence[str]) -> Key | None:
    """All that the course of a run depends on beside values; None where the interpreter has to do it.

    That is where hooks or transforms are about, where an input is a view with a history or was made in inference mode, or where a
    gradient overlaps with another array. Which inputs share a write counter is part of it, as views of one tensor do: a write to
    one of them may be an error in a backward that needs another one, though their memory does not overlap.
    """
    if any_hooks() or running() or watching.watchers:
        return None
    parts: list[Hashable] = [program, tuple(outputs)]
    seen: dict[int, int] = {}
    counters: dict[int, int] = {}
    around = Neighbourhood()
    overlaps: list[Hashable] = []
    for position, tensor in enumerate(bound.values()):
        again = seen.setdefault(id(tensor), position)
        if again != position:
            parts.append(again)
            continue
        if tensor.base is not None and (tensor.requires_grad or tensor.base.requires_grad):
            return None
        array, version = tensor.array, tensor.version
        if version is INFERENCE:
            return None
        overlapping = around.add(array)
        if overlapping:
            others = [number for number, other in enumerate(bound.values()) if any(other.array is x for x in overlapping)]
            if len(others) < len(overlapping):
                return None  # a gradient
            overlaps.append((position, *others))
        counter = position if version is None else counters.setdefault(id(version), position)
        gradient = tensor._grad
        described: Hashable = None
        if gradient is not None:
            inner = gradient.array
            if gradient.node is not None or gradient.tracks or gradient.base is not None or gradient._grad is not None:
                return None
            if around.add(inner):
                return None
            described = (inner.dtype, inner.strides, inner.flags.writeable)
        layout = (array.shape, array.dtype, array.strides, array.flags.writeable)
        parts.append((*layout, tensor.tracks, tensor.node is None, tensor.base is None, counter, described))
    return (*parts, *overlaps)


class Plans:
    """The plans of one session, the ones used last at the end.

    A key is met three times before it pays: the first run only notes it, the second is recorded, the third uses the plan.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Key, Plan | str] = OrderedDict()

    def find(self, key: Key) -> Plan | str | None:
        """The plan; why there is none; or None where nothing is known. An empty reason: it was met once."""
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def keep(self, key: Key, plan: Plan | str) -> None:
        """Remember a plan, or why there is none."""
        self._known[key] = plan
        self._known.move_to_end(key)
        while len(self._known) > MOST_PLANS:
            self._known.popitem(last=False)

    def forget(self, program: str) -> None:
        """Drop all plans of a program."""
        for key in [key for key in self._known if key[0] == program]:
            del self._known[key]

    def clear(self) -> None:
        """Drop all."""
        self._known.clear()

    @property
    def kept(self) -> int:
        """Bytes that the plans hold between runs."""
        return sum(plan.kept for plan in self._known.values() if isinstance(plan, Plan))

    def trim(self, most: int = MOST_KEPT_BYTES) -> None:
        """Have plans give their memory back, those used longest ago first, until they hold at most ``most`` bytes."""
        total = self.kept
        for plan in self._known.values():
            if total <= most:
                return
            if isinstance(plan, Plan):
                total -= plan.kept
                plan.release()

    def __len__(self) -> int:
        return len(self._known)
