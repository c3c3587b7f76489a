"""The parts of one large op, shared out among a few threads: the caller's and its helpers.

numpy lets go of the interpreter while it computes, so that threads help where there is enough to do: a hand-over costs some 50 µs.
Only work whose parts do not meet may be shared out; what is computed then has the same bits as on one thread.

Helpers start when first needed and are forgotten in a forked child, so that a process that only forks others has none. An op that
finds them busy with another thread's runs alone. How many there are is for whoever starts the process to say, in the variable that
tells BLAS and PyTorch the same: with ``OMP_NUM_THREADS=1``, as in the processes of a server's sessions, there is none.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from telegrad_service.engine import quiet
from telegrad_service.engine.table import Kernel

T = TypeVar("T")

MOST: Final = 8
"""More threads than this do not get more out of the memory that they share."""

WORTH_BYTES: Final = 4 * 2**20
"""From results of this size on, what takes the time of an exponential is shared out. Alone a quarter of that would pay; between
products of matrices it does not, since BLAS keeps the other processor spinning for a while: a transformer block whose gelu has
1 MiB took 8 % longer with it than without.
"""


PARTS: Final = 3
"""Parts for each thread."""


class _Helper:
    """A thread that waits for something to call."""

    __slots__ = ("_begin", "_calls", "_end", "_error", "thread_id")

    def __init__(self) -> None:
        # Bare locks are handed over in half the time that a queue or a condition takes.
        self._begin, self._end = threading.Lock(), threading.Lock()
        self._begin.acquire()
        self._end.acquire()
        self._calls: list[Callable[[], None]] = []  # at most one; who pops it has it
        self._error: BaseException | None = None
        self.thread_id = 0
        threading.Thread(target=self._serve, name="telegrad-helper", daemon=True).start()
        self._end.acquire()

    def _serve(self) -> None:
        self.thread_id = threading.get_native_id()
        self._end.release()
        quiet.enter()
        while True:
            self._begin.acquire()
            try:
                call = self._calls.pop()
            except IndexError:  # it was taken back
                continue
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                self._error = error
            del call  # what it holds is large
            self._end.release()

    def begin(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if self._begin.locked():  # else it has yet to wake for a call that was taken back
            self._begin.release()

    def end(self) -> BaseException | None:
        """Take the call back if it has not begun, or wait; what was raised there.

        A busy processor lets a thread wait for longer than the work takes.
        """
        try:
            self._calls.pop()
        except IndexError:
            self._end.acquire()
        else:
            return None
        error, self._error = self._error, None
        return error


def _given() -> int:
    """How many threads the environment allows: those of OpenMP, or one for each processor, up to ``MOST``."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if text.isdecimal() and int(text):
        return min(int(text), MOST)
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST)


def _current_processor() -> Callable[[], int] | None:
    """What tells the processor that runs the caller, where threads can be kept off it; None elsewhere."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


class _Pool:
    """The helpers of this process."""

    __slots__ = ("_away_from", "_helpers", "_processor", "busy", "count")

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.count = _given()
        self._helpers: list[_Helper] = []
        self._processor = _current_processor()
        self._away_from = -1

    def helpers(self, most: int) -> Sequence[_Helper]:
        """Up to ``most`` helpers, started where there are too few."""
        count = min(self.count - 1, most)
        try:
            while len(self._helpers) < count:
                self._helpers.append(_Helper())
                self._away_from = -1
        except RuntimeError:  # no more threads are to be had
            self.count = len(self._helpers) + 1
        self._keep_away()
        return self._helpers[:count]

    def _keep_away(self) -> None:
        """Have the helpers run on other processors than the caller's.

        Linux wakes a thread where it was woken from, and leaves it there for longer than an op takes.
        """
        if self._processor is None or not self._helpers:
            return
        here = self._processor()
        if here == self._away_from:
            return
        self._away_from = here
        others = os.sched_getaffinity(0) - {here}
        with contextlib.suppress(OSError):  # the system may say otherwise; then they run where it has them run
            for helper in self._helpers if others else ():
                os.sched_setaffinity(helper.thread_id, others)

    def forget(self) -> None:
        """A forked child has its parent's objects but none of its threads."""
        self.busy = threading.Lock()
        self._helpers = []


_pool: Final = _Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def limit(count: int) -> int:
    """Let one op use ``count`` threads, 1 or more, the caller's among them; how many it could use so far."""
    before, _pool.count = _pool.count, count
    return before


def share(function: Callable[[T], Any], parts: Sequence[T]) -> None:
    """Call ``function`` with each of the parts, on several threads where they are to be had; raises what a call raised.

    Whoever is free takes the next part, so a part should take long enough to be worth a hand-over.
    """
    if len(parts) < 2 or _pool.count == 1 or not _pool.busy.acquire(blocking=False):
        for part in parts:
            function(part)
        return
    left: Iterator[T] = iter(parts)  # gives each part to one thread only

    def work() -> None:
        for part in left:
            function(part)

    errors: list[BaseException | None] = []
    busy = _pool.busy
    try:
        helpers = _pool.helpers(len(parts) - 1)
        for helper in helpers:
            helper.begin(work)
        try:
            work()
        finally:
            errors = [helper.end() for helper in helpers]
    finally:
        busy.release()
    for error in errors:
        if error is not None:
            raise error


def pieces(size: int) -> list[slice]:
    """``size`` things in some parts for each thread that an op may use, so that one that gets no processor holds up little."""
    count = PARTS * _pool.count if _pool.count > 1 else 1
    step = -(-size // count)
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def by_elements(function: Kernel, worth_bytes: int = WORTH_BYTES) -> Kernel:
    """``function``, a kernel or formula that works element by element, in parts where its arrays are large.

    Args:
        function: takes arrays of one shape, and whatever else it needs.
        worth_bytes: from which size of the first array on.
    """

    @functools.wraps(function)
    def compute(*inputs: Any, **parameters: Any) -> Any:
        x = inputs[0]
        if x.__class__ is not np.ndarray or x.nbytes < worth_bytes or _pool.count < 2:
            return function(*inputs, **parameters)
        flat: list[Any] = []
        for value in inputs:
            if isinstance(value, np.ndarray) and value.ndim:
                if value.shape != x.shape or not value.flags.c_contiguous:
                    return function(*inputs, **parameters)
                value = value.reshape(-1)
            flat.append(value)

        def part_of(part: slice) -> Any:
            return function(*[v[part] if isinstance(v, np.ndarray) and v.ndim else v for v in flat], **parameters)

        one = np.asarray(part_of(slice(1)))  # the type of the result is the function's own matter
        result = np.empty(x.shape, one.dtype)
        out = result.reshape(-1)

        def place(part: slice) -> None:
            out[part] = part_of(part)

        share(place, pieces(x.size))
        return result

    return compute


def large_ufunc(ufunc: np.ufunc, worth_bytes: int = WORTH_BYTES) -> Callable[[Any], Any]:
    """A ufunc of one array, of real or complex numbers into the same type, in parts where the array is large."""

    def compute(x: Any) -> Any:
        if x.__class__ is not np.ndarray or x.nbytes < worth_bytes or not x.flags.c_contiguous or x.dtype.kind not in "fc":
            return ufunc(x)
        result = np.empty_like(x)
        flat, out = x.reshape(-1), result.reshape(-1)
        share(lambda part: ufunc(flat[part], out=out[part]), pieces(x.size))
        return result

    return functools.update_wrapper(compute, ufunc)
