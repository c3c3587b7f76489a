"""What is improved in a recorded run before code is made of it: nothing here changes a bit of any result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from telegrad_service.compiler.effects import NEW, Bump, Gradient, Symbol
from telegrad_service.compiler.ir import BOUND, CONSTANT, EFFECT, TEMPORARY, VIEW, Step, Storage, Value, replaced_values
from telegrad_service.compiler.tracing import LARGEST_CONSTANT
from telegrad_service.engine import quiet
from telegrad_service.engine.table import Array

LOOKS: Final = frozenset(
    {
        *(np.ndarray.reshape, np.reshape, np.transpose, np.ndarray.transpose, np.broadcast_to, np.swapaxes, np.ndarray.swapaxes),
        *(
            np.moveaxis,
            np.expand_dims,
            np.squeeze,
            np.ndarray.squeeze,
            operator.getitem,
            np.ndarray.ravel,
            np.ravel,
            np.ndarray.view,
        ),
        *(np.diagonal, np.ndarray.diagonal, np.flip),
    }
)
"""Functions that only look at memory in another way where their result lies in an argument's."""


def in_order(array: Array) -> Array:
    """A copy with the elements in order."""
    return np.array(array, order="C")


COPIES: Final[frozenset[Callable[..., Any]]] = frozenset({np.copy, np.ndarray.copy, in_order})
"""Functions that do nothing but copy their only argument."""


class Writes:
    """Which memory is written to, and where."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._at: dict[Storage, list[int]] = {}
        for index, step in enumerate(steps):
            for value in step.writes:
                self._at.setdefault(value.storage, []).append(index)

    def any(self, storage: Storage) -> bool:
        """Whether it is ever written to after it was made."""
        return storage in self._at

    def after(self, storage: Storage, index: int) -> bool:
        """Whether it is written to later than the step at ``index``."""
        return storage in self._at and self._at[storage][-1] > index

    def count(self, storage: Storage, index: int) -> int:
        """How often it was written to before the step at ``index``."""
        return sum(1 for at in self._at.get(storage, ()) if at < index)


def settle_gradients(steps: list[Step]) -> list[Step]:
    """Drop changes of ``.grad`` that nobody can see: those that are undone before anything can fail."""
    last_failing = max((i for i, step in enumerate(steps) if step.fallible), default=-1)
    last: dict[int, int] = {}
    for index, step in enumerate(steps):
        if step.kind == EFFECT and isinstance(step.fn, Gradient):
            last[step.fn.index] = index
    kept: list[Step] = []
    for index, step in enumerate(steps):
        effect = step.fn
        if step.kind == EFFECT and isinstance(effect, Gradient):
            if index > last_failing and last[effect.index] != index:
                continue
            if effect.symbol is not None and effect.symbol.kind == NEW:
                effect.symbol.value.storage.escapes = True
        kept.append(step)
    return kept


def share(steps: list[Step]) -> tuple[list[Step], dict[Value, Value]]:
    """Give equal steps one result, take copies for what they copy where nobody writes to either, and compute constants now.

    Returns the steps that are left, and which value stands for which that is gone.
    """
    writes = Writes(steps)
    instead: dict[Value, Value] = {}
    moved: dict[Storage, tuple[Storage, int]] = {}
    found: dict[Any, Step] = {}
    kept: list[Step] = []

    def replace(mine: Value, theirs: Value) -> None:
        instead[mine] = theirs
        if mine.storage is not theirs.storage:
            moved[mine.storage] = (theirs.storage, theirs.offset - mine.offset)

    for index, step in enumerate(steps):
        step.exchange(instead)
        for result in step.results:  # a look at what is gone lies where that which stands for it does
            result.value.move(moved)
        if step.writes or step.kind == EFFECT or step.random:
            kept.append(step)
            continue
        source = _copied(step)
        if source is not None and _is_alias(source, step.results[0].value, index, writes):
            replace(step.results[0].value, source)
            continue
        private = all(not r.value.storage.escapes and not writes.any(r.value.storage) for r in step.results)
        if private and step.results:
            if _fold(step):
                continue
            key = _key(step, index, writes)
            equal = None if key is None else found.setdefault(key, step)
            if equal is not None and equal is not step:
                for mine, theirs in zip(step.results, equal.results, strict=True):
                    replace(mine.value, theirs.value)
                continue
        kept.append(step)
    return kept, instead


def _copied(step: Step) -> Value | None:
    """What a step only copies: also the product with one, which has the same bits."""
    if step.fn in COPIES:
        return step.args[0]  # type: ignore[no-any-return]
    if step.fn is not np.multiply or step.keywords or len(step.results) != 1:
        return None
    result = step.results[0].value
    for one, other in (step.args, step.args[::-1]):
        if isinstance(other, Value) and other.dtype == result.dtype and other.shape == result.shape and _is_one(one, result):
            return other
    return None


def _is_one(x: Any, result: Value) -> bool:
    if isinstance(x, Value):
        return x.constant is not None and x.uniform and x.constant.size > 0 and bool(x.constant.reshape(-1)[0] == 1)
    return type(x) in (int, float) and x == 1 and result.dtype is not None


def _is_alias(source: Value, result: Value, index: int, writes: Writes) -> bool:
    """Whether a copy may be what it copies."""
    if source.strides != result.strides or writes.any(result.storage) or writes.after(source.storage, index):
        return False
    if not result.storage.escapes:
        return True
    if source.storage.kind != TEMPORARY or source.storage.escapes or source.nbytes != source.storage.nbytes:
        return False
    source.storage.escapes = True
    return True


def _fold(step: Step) -> bool:
    """Compute a step whose arguments are constants; whether that was done."""
    reads = step.reads
    if any(v.constant is None for v in reads):
        return False
    if step.kind != VIEW and sum(r.value.nbytes for r in step.results) > LARGEST_CONSTANT:
        return False
    swap: Any = {v: v.constant for v in reads}
    token = quiet.enter()
    try:
        made: Any = step.fn(*replaced_values(step.args, swap), **replaced_values(dict(step.keywords), swap))
    except Exception:  # noqa: BLE001 - it fails in the run, as it should
        return False
    finally:
        quiet.leave(token)
    for result in step.results:
        part = made
        for at in result.path:
            part = part[at]
        if not isinstance(part, (np.ndarray, np.generic)):
            return False
        result.value.constant = np.asarray(part)
    for result in step.results:
        result.value.storage.kind = CONSTANT
    return True


def _key(step: Step, index: int, writes: Writes) -> Any:
    """What equal steps have in common; None where that cannot be said."""

    def part(x: Any) -> Any:
        if isinstance(x, Value):
            return ("value", x.number, writes.count(x.storage, index))
        if isinstance(x, (tuple, list)):
            return (type(x), *[part(item) for item in x])  # pyright: ignore[reportUnknownVariableType]
        if isinstance(x, slice):
            return ("slice", part(x.start), part(x.stop), part(x.step))
        if isinstance(x, float):
            return (float, x.hex())  # -0.0 is not 0.0
        return (type(x), x)

    made = (step.fn, part(step.args), tuple([(name, part(x)) for name, x in sorted(step.keywords.items())]))
    try:
        hash(made)
    except TypeError:
        return None
    return made


def drop_dead(steps: list[Step], wanted: Iterable[Value]) -> list[Step]:
    """Without the steps whose results nobody needs."""
    live = {value.storage for value in wanted}
    needed: set[Value] = set(wanted)
    kept: list[Step] = []
    for step in reversed(steps):
        writes_on = any(v.storage.kind == BOUND or v.storage.escapes or v.storage in live for v in step.writes)
        if not (step.lasting or writes_on or any(r.value in needed for r in step.results)):
            continue
        kept.append(step)
        for value in step.reads:
            needed.add(value)
            live.add(value.storage)
        for value in step.writes:
            live.add(value.storage)
    kept.reverse()
    return kept


def symbols_of(steps: Iterable[Step]) -> list[Symbol]:
    """Every symbol that the steps' effects name."""
    found: list[Symbol] = []
    for step in steps:
        effect = step.fn
        if step.kind == EFFECT and isinstance(effect, (Bump, Gradient)) and effect.symbol is not None:
            found.append(effect.symbol)
    return found
