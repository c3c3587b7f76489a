"""Chains: elementwise steps over equally many elements, done a block at a time, so that what lies between them stays in the cache.

Blocks are shared out among threads; each element is computed as it would be alone, so the bits do not depend on either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from telegrad_service.compiler.ir import CALL, CHAIN, ELEMENTWISE, VIEW, Result, Step, Storage, Value
from telegrad_service.compiler.passes import LOOKS
from telegrad_service.engine.table import Array
from telegrad_service.engine.threads import share

LEAST: Final = 1 << 15
"""Elements. Fewer fit into the cache as they are."""

WORTH_ELEMENTS: Final = 1 << 20
"""Elements, counted for each step, of those that compute more nine times: fewer are done before threads are at work."""

_SCRATCH_BYTES: Final = 1 << 22
"""What the values between the steps of a block take at most, about. Smaller blocks, which fit into a core's own cache, are slower:
between numpy calls the threads wait for each other."""

_SLOW: Final = frozenset(
    {
        *(np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sin, np.cos, np.tan, np.tanh, np.sinh, np.cosh),
        *(np.arcsin, np.arccos, np.arctan, np.arctan2, np.arcsinh, np.arccosh, np.arctanh, np.power, np.cbrt, np.logaddexp),
    }
)
"""Ufuncs that compute more than they wait for memory."""

_LEAST_BLOCK: Final = 1 << 12

_WINDOW: Final = 4000
"""How many steps are looked at for one chain."""

Place = tuple[Storage, int, Any, int]
"""A stretch of memory: storage, offset, type and number of elements. Values of one place are the same elements in order."""


def _where(condition: Array, a: Array, b: Array, out: Array) -> None:
    np.copyto(out, b, casting="unsafe")
    np.copyto(out, a, where=condition, casting="unsafe")


def _convert(x: Array, _dtype: Any, out: Array) -> None:
    np.copyto(out, x, casting="unsafe")


def _row_sums(subscripts: str, x: Array, out: Array) -> None:
    np.einsum(subscripts, x, out=out)


_WITH_OUT: Final[dict[Callable[..., Any], Callable[..., Any]]] = {np.where: _where, np.ndarray.astype: _convert}
"""Functions that work element by element but take no ``out``, and what does the same into one."""


def place_of(value: Value) -> Place:
    """Where a contiguous value lies."""
    return value.storage, value.offset, value.dtype, value.size


def form(steps: list[Step], wanted: Iterable[Value]) -> list[Step]:
    """The steps, with chains in the place of those that form one; ``wanted`` is given out."""
    done: list[Step] = []
    left = deque(steps)
    while left:
        step = left.popleft()
        size = _length(step)
        if size < LEAST:
            done.append(step)
            continue
        gathered = _Gathered(step, size)
        passed: list[Step] = []
        near = [left.popleft() for _ in range(min(_WINDOW, len(left)))]
        for other in near:
            if not gathered.join(other):
                gathered.skip(other)
                passed.append(other)
        if not gathered.is_worth_it():
            done.append(step)
            left.extendleft(reversed(near))
            continue
        hoisted = set(map(id, gathered.hoisted))
        done += gathered.hoisted
        done.append(Step(CHAIN, gathered.members, (), {}, [], command=step.command))
        left.extendleft(s for s in reversed(passed) if id(s) not in hoisted)
    return _finish(done, wanted)


def _length(step: Step) -> int:
    """How many elements an elementwise step works on; 0 for any other, or one that cannot be done in blocks."""
    if step.kind == ELEMENTWISE:
        target = step.writes[0] if step.writes else step.results[0].value
    elif step.kind == CALL and step.fn in _WITH_OUT and not step.writes and len(step.results) == 1:
        if step.keywords or (step.fn is np.where and len(step.args) != 3):
            return 0
        target = step.results[0].value
    else:
        return 0
    if not target.contiguous or not target.shape:
        return 0
    for value in step.reads:
        if not (value.uniform or (value.shape == target.shape and value.contiguous)):
            return 0
    return target.size


def _sums_rows(step: Step) -> bool:
    """Whether it sums the rows of a matrix, one after another."""
    return step.kind == CALL and step.fn is np.einsum and step.args[0] == "ij->i" and len(step.args) == 2 and not step.keywords


class _Gathered:
    """A chain that is being gathered: its members, and what was passed over since the first."""

    def __init__(self, first: Step, size: int) -> None:
        self.size = size
        self.members = [first]
        self.hoisted: list[Step] = []
        self._made: set[Place] = set()
        self._stores: set[Storage] = set()
        self._written: dict[Storage, Place] = {}
        self._skipped: list[Step] = []
        self._skipped_makes: dict[Value, Step] = {}
        self._skipped_reads: set[Storage] = set()
        self._skipped_writes: set[Storage] = set()
        self._barrier = False
        self._take(first)

    def _take(self, step: Step) -> None:
        for value in step.writes:
            self._written[value.storage] = place_of(value)
        for result in step.results:
            self._made.add(place_of(result.value))
            self._stores.add(result.value.storage)

    def is_worth_it(self) -> bool:
        """Whether the members take longer than it costs to do them in blocks, and to hand some of those over."""
        slow = sum(1 for m in self.members if m.fn in _SLOW)
        return self.size * (len(self.members) + 8 * slow) >= WORTH_ELEMENTS and (slow > 0 or len(self.members) > 1)

    def skip(self, step: Step) -> None:
        """Pass over a step that is not part of the chain, which will be done before it."""
        self._skipped.append(step)
        for result in step.results:
            self._skipped_makes[result.value] = step
        for value in step.writes:
            self._skipped_writes.add(value.storage)
        if step.kind != VIEW:
            self._skipped_reads.update(v.storage for v in step.reads)
        self._barrier = self._barrier or step.fallible

    def join(self, step: Step) -> bool:
        """Take a step into the chain, if it may be done so early."""
        if _sums_rows(step):
            source: Value = step.args[1]
            inner = source.dtype is not None and source.contiguous and source.offset == 0 and source.storage in self._stores
            if not inner or source.storage in self._written or _LEAST_BLOCK % max(source.shape[1], 1):
                return False
            if not any(p[0] is source.storage and p[3] == self.size and p[2] == source.dtype for p in self._made):
                return False
            self.members.append(step)
            return True
        if _length(step) != self.size or not all(self._may_write(v) for v in step.writes):
            return False
        needed: list[Step] = []
        if not all(self._is_there(v, needed) for v in (*step.reads, *step.writes)):
            return False
        for early in needed:
            if early not in self.hoisted:
                self.hoisted.append(early)
                for result in early.results:
                    del self._skipped_makes[result.value]
        self.members.append(step)
        self._take(step)
        return True

    def _may_write(self, value: Value) -> bool:
        """Whether memory may be written to so early."""
        storage = value.storage
        if self._barrier or storage in self._skipped_reads or storage in self._skipped_writes:
            return False
        if self._written.get(storage, place_of(value)) != place_of(value):
            return False
        return all(v.storage is not storage or self._aligned(v, value) for m in self.members for v in m.reads)

    @staticmethod
    def _aligned(value: Value, target: Value) -> bool:
        return value.contiguous and place_of(value) == place_of(target)

    def _is_there(self, value: Value, needed: list[Step]) -> bool:
        """Whether a value is to be had before the chain, or made in it; ``needed`` takes steps that can be done before."""
        storage = value.storage
        if value.constant is not None and storage not in self._written:
            return True
        if storage in self._skipped_writes:
            return False
        written = self._written.get(storage)
        if written is not None:
            return value.contiguous and place_of(value) == written and value not in self._skipped_makes
        if storage in self._stores:
            return value.contiguous and place_of(value) in self._made
        made_by = self._skipped_makes.get(value)
        if made_by is None:
            return True
        if made_by in needed:
            return True
        if (
            made_by.lasting
            or made_by.writes
            or made_by.kind == CHAIN
            or sum(r.value.nbytes for r in made_by.results if made_by.kind != VIEW) > 4096
        ):
            return False
        if any(v.storage in self._written or v.storage in self._stores for v in made_by.reads):
            return False
        if not all(self._is_there(v, needed) for v in made_by.reads):
            return False
        needed.append(made_by)
        return True


def _finish(steps: list[Step], wanted: Iterable[Value]) -> list[Step]:
    """Make each chain one step that says what it reads, writes and leaves behind."""
    chains = [s for s in steps if s.kind == CHAIN]
    if not chains:
        return steps
    inner = {r.value.storage for chain in chains for m in chain.fn for r in m.results}
    kept = _without_idle_views(steps, wanted)
    outside: dict[Storage, list[Value]] = {}
    for step in kept:
        if step.kind == CHAIN:
            mine = {r.value.storage for m in step.fn for r in m.results}
            values = [v for m in step.fn for v in m.reads if v.storage not in mine]
        elif step.kind != VIEW or step.fn not in LOOKS:
            values = [*step.reads, *step.writes]
        else:
            continue
        for value in values:
            if value.storage in inner:
                outside.setdefault(value.storage, []).append(value)
    return [_closed(s, outside) if s.kind == CHAIN else s for s in kept]


def _without_idle_views(steps: list[Step], wanted: Iterable[Value]) -> list[Step]:
    """Without views that only members of chains looked at, which know the memory behind them."""
    used = set(wanted)
    kept: list[Step] = []
    for step in reversed(steps):
        if step.kind == VIEW and step.fn in LOOKS and not any(r.value in used for r in step.results):
            continue
        kept.append(step)
        used.update(step.reads)
        used.update(step.writes)
        if step.kind == CHAIN:
            used.update(v for member in step.fn if not _sums_rows(member) for v in member.reads)
    kept.reverse()
    return kept


def _closed(step: Step, outside: dict[Storage, list[Value]]) -> Step:
    chain = Chain(step.fn, outside)
    results = [Result((i,), v, False) for i, v in enumerate(chain.leaves)]
    return Step(CHAIN, chain, tuple(chain.takes), {}, results, command=step.command, writes=tuple(chain.writes))


class Chain:
    """What does a chain.

    Attributes:
        takes: the values that it is given: arrays of its length, numbers, and arrays that it writes to.
        leaves: the values that it leaves behind, and is given memory for.
        writes: those among ``takes`` that it writes to.
        text: the function for one block, to look at.
    """

    def __init__(self, members: Sequence[Step], outside: dict[Storage, list[Value]]) -> None:
        """Write the function for a block of ``members``.

        Args:
            members: in order.
            outside: which parts of what they make are needed by other steps, by storage.
        """
        self.takes: list[Value] = []
        self.leaves: list[Value] = []
        self.writes: list[Value] = []
        self._members = members
        self._names: dict[Place | Value, str] = {}
        self._functions: dict[str, Any] = {}
        self._sliced: dict[str, str] = {}
        first = members[0]
        self.size = (first.writes[0] if first.writes else first.results[0].value).size
        last: dict[Any, int] = {}
        for index, member in enumerate(members):
            for value in (*member.reads, *member.writes):
                last[self._read_as(member, value)] = index
        self._lines: list[str] = []
        self._slots: list[Any] = []
        free: dict[Any, list[int]] = {}
        made: dict[Any, int] = {}
        for index, member in enumerate(members):
            if member.kind == ELEMENTWISE:  # a ufunc may write over what it reads
                self._let_go(member, index, free, made, last)
            if _sums_rows(member):
                self._add_row_sums(member)
            else:
                self._add(member, index, outside, free, made, last)
            self._let_go(member, index, free, made, last)
        most = sum(np.dtype(d).itemsize for d in self._slots)
        self.block = max(_LEAST_BLOCK, min(LEAST, 1 << max((_SCRATCH_BYTES // max(most, 1)).bit_length() - 1, 0)))
        self._body = self._compile()
        self._free: list[list[Array]] = []

    def _let_go(self, member: Step, index: int, free: dict[Any, list[int]], made: dict[Any, int], last: dict[Any, int]) -> None:
        """Free the scratch of what nobody reads after this member."""
        for value in member.reads:
            key = self._read_as(member, value)
            if last[key] == index and made.get(key, -1) >= 0:
                free.setdefault(value.dtype, []).append(made[key])
                made[key] = -1

    def _read_as(self, member: Step, value: Value) -> Any:
        """What a member's argument is known as; sums of rows read a part of a value."""
        return (value.storage, 0, value.dtype, self.size) if _sums_rows(member) else self._key(value)

    @staticmethod
    def _key(value: Value) -> Any:
        return place_of(value) if value.contiguous and not value.uniform else value

    def _taken(self, value: Value) -> str:
        key = self._key(value)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"x{len(self.takes)}"
            self.takes.append(value)
            if not value.uniform:
                self._sliced[name] = f"a{name}"
        return self._sliced.get(name, name)

    def _argument(self, x: Any) -> str:
        if isinstance(x, Value):
            return self._taken(x)
        if type(x) in (int, bool, type(None)):
            return repr(x)
        return self._function(x)

    def _function(self, x: Any) -> str:
        for name, known in self._functions.items():
            if known is x:
                return name
        name = f"c{len(self._functions)}"
        self._functions[name] = x
        return name

    def _add(
        self,
        member: Step,
        index: int,
        outside: dict[Storage, list[Value]],
        free: dict[Any, list[int]],
        made: dict[Any, int],
        last: dict[Any, int],
    ) -> None:
        keywords = dict(member.keywords)
        target = keywords.pop("out", None)
        arguments = [self._argument(x) for x in member.args]
        function = self._function(_WITH_OUT.get(member.fn, member.fn) if member.kind == CALL else member.fn)
        if target is not None:
            out = self._taken(target)
            if target not in self.writes and self._names.get(self._key(target), "").startswith("x"):
                self.writes.append(target)
        else:
            value = member.results[0].value
            key = self._key(value)
            slot = self._slot(value.dtype, free)
            out = f"s{slot}"
            needed = _range(value, outside)
            if needed is not None:
                name = f"y{len(self.leaves)}"
                self.leaves.append(value)
                out = f"o{len(self.leaves) - 1}"
                whole = needed == (0, self.size)
                other = "" if whole else f" if lo < {needed[1]} and hi > {needed[0]} else s{slot}"
                self._lines.append(f"{out} = {name}[lo:hi]{other}")
                if whole:
                    free.setdefault(value.dtype, []).append(slot)
                    slot = -1
            self._names[key] = out
            made[key] = slot
            if last.get(key, -1) <= index and slot >= 0:
                free.setdefault(value.dtype, []).append(slot)
        more = "".join(f", {k}={self._argument(v)}" for k, v in keywords.items())
        self._lines.append(f"{function}({', '.join(arguments)}, out={out}{more})")

    def _slot(self, dtype: Any, free: dict[Any, list[int]]) -> int:
        found = free.get(dtype)
        if found:
            return found.pop()
        self._slots.append(dtype)
        return len(self._slots) - 1

    def _add_row_sums(self, member: Step) -> None:
        source: Value = member.args[1]
        result = member.results[0].value
        whole = self._names[self._read_as(member, source)]
        width, rows = source.shape[1], source.shape[0]
        name = f"y{len(self.leaves)}"
        self.leaves.append(result)
        function = self._function(_row_sums)
        self._lines += [
            f"n = min(hi // {width}, {rows}) - lo // {width}",
            f"a, b = lo // {width}, lo // {width} + n",
            f"if n > 0: {function}('ij->i', {whole}[:n * {width}].reshape(n, {width}), out={name}[a:b])",
        ]

    def _compile(self) -> Any:
        takes = "".join(f", x{i}" for i in range(len(self.takes)))
        leaves = "".join(f", y{i}" for i in range(len(self.leaves)))
        slots = "".join(f"s{i}, " for i in range(len(self._slots)))
        lines = [f"def body(lo, hi, s{takes}{leaves}):"]
        if slots:
            lines.append(f" {slots} = s")
        lines += [f" {sliced} = {name}[lo:hi]" for name, sliced in self._sliced.items()]
        lines += [f" {line}" for line in self._lines]
        self.text = "\n".join(lines)
        space: dict[str, Any] = dict(self._functions)
        # The text is made of this module's own templates, numbers and names that it chose itself.
        exec(compile(self.text, "<chain>", "exec"), space)  # noqa: S102
        return space.pop("body")  # it has the space; were it there, too, both would stay until the next collection

    def run(self, takes: Iterable[Array], leaves: Iterable[Array]) -> None:
        """Do it: from ``takes`` into ``leaves``."""
        size, block = self.size, self.block
        given = [x[(0,) * x.ndim] if v.uniform else x.reshape(-1) for x, v in zip(takes, self.takes, strict=True)] + [
            x.reshape(-1) for x in leaves
        ]
        free, body, slots = self._free, self._body, self._slots

        def work(lo: int) -> None:
            hi = min(lo + block, size)
            try:
                scratch = free.pop()
            except IndexError:
                scratch = [np.empty(block, d) for d in slots]
            body(lo, hi, scratch if hi - lo == block else [s[: hi - lo] for s in scratch], *given)
            free.append(scratch)

        share(work, range(0, size, block))

    def release(self) -> None:
        """Give the scratch memory back."""
        self._free.clear()


def _range(value: Value, outside: dict[Storage, list[Value]]) -> tuple[int, int] | None:
    """The elements of a value that others need; None if nobody does."""
    if value.storage.escapes:
        return 0, value.size
    readers = outside.get(value.storage)
    if not readers:
        return None
    itemsize = 1 if value.dtype is None else value.dtype.itemsize
    low, high = value.size, 0
    for reader in readers:
        if not reader.contiguous or reader.dtype is None:
            return 0, value.size
        low = min(low, reader.offset // itemsize)
        high = max(high, -(-(reader.offset + reader.nbytes) // itemsize))
    return low, high
