"""Many steps of a traced function in one request: ``step.repeat(n)`` and ``step.map(batches)``.

A generator does the work and yields where it has to wait, so that sessions that block and sessions that await run the same.
"""

# The underscores are for users: function, trace and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from telegrad import _defaults
from telegrad._progress import Progress, Report, reporter
from telegrad.contract import codec
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, RunCancelledError, ShapeError
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.operations import TensorOps
from telegrad.contract.tracing import Many
from telegrad.contract.transforms.trees import build, flatten

if TYPE_CHECKING:
    from telegrad._entry import Prepared
    from telegrad._function import Function

Waiting: TypeAlias = "Generator[Any, None, Any]"
"""Work that yields the session whenever what is recorded has to be done before it goes on."""

_NOBODYS_WISH: Final = frozenset({"stopping", "hung-up"})
"""Why a server ends runs that somebody wants: they go on where they were."""

_HOST: Final = (np.ndarray, np.generic)


def repeat(function: Function[..., Any], times: int, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Any:
    """See ``Function.repeat``."""
    if type(times) is not int:
        raise ArgumentTypeError(f"repeat() takes the number of calls, an int, not {type(times).__name__}")
    if times < 1:
        raise ArgumentValueError(f"repeat() takes the number of calls, at least 1, not {times}")
    if function.is_inlined():
        return _inlined(function, [args] * times, kwargs)
    session = function.session_of(flatten((args, kwargs))[0])
    work = _Steps(function, session, times, settings, lambda _rows: (args, kwargs)).run(_repeats(times, session))
    return _drive(session, work)


def _most(session: Any) -> int:
    """Calls in one request, at most."""
    most: int = session._programs.most_runs
    return min(_defaults.RUN_TIMES, most)


def _repeats(times: int, session: Any) -> Iterator[_Piece]:
    """So many calls without rows, as many at once as a request may ask for."""
    while times:
        count = min(times, _most(session))
        times -= count
        yield _Piece(count, [], None)


def map_over(
    function: Function[..., Any], fixed: tuple[Any, ...], batches: tuple[Any, ...], kwargs: Any, settings: Settings
) -> Any:
    """See ``Function.map``; ``fixed`` arguments come before those of the batches."""
    if not batches:
        raise ArgumentTypeError("map() needs at least one argument to go through; repeat(n) calls without any")
    if function.is_inlined():
        return _inlined(function, [(*fixed, *row) for row in zip(*batches, strict=True)], kwargs)
    session = function.session_of([x for x in (*batches, *fixed, *kwargs.values()) if isinstance(x, TensorBase)])
    sources = [_source(x, number) for number, x in enumerate(batches)]
    counts = sorted({s.count for s in sources if s.count is not None})
    if len(counts) > 1:
        raise ShapeError(
            f"map() goes through its arguments side by side, and they have {' and '.join(f'{n:,}' for n in counts)} rows"
        )
    if counts == [0]:
        raise ShapeError("map() was given no rows, so that there is nothing to run")

    def arguments(rows: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (*fixed, *rows), kwargs

    work = _Steps(function, session, counts[0] if counts else None, settings, arguments).run(_pieces(sources, session))
    return _drive(session, work)


def _inlined(function: Function[..., Any], calls: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]) -> Any:
    """Within another trace, a transform, a hook: call after call, all of it part of what goes on there."""
    results: list[list[Any]] = []
    structure: Any = None
    for args in calls:
        leaves, structure = flatten(function(*args, **kwargs))
        results.append([x.detach().clone() if isinstance(x, TensorOps) else x for x in leaves])
    if not results:
        raise ShapeError("map() was given no rows, so that there is nothing to run")
    columns = zip(*results, strict=True)
    return build(structure, [c[0]._apply("stack", *c, dim=0) if isinstance(c[0], TensorBase) else c[0] for c in columns])


class Settings:
    """What of ``repeat`` and ``map`` is not the function's.

    Attributes:
        progress: see ``Function.repeat``.
        timeout_seconds: see there.
    """

    __slots__ = ("progress", "timeout_seconds")

    def __init__(self, progress: bool | Callable[[Progress], object], timeout_seconds: float | None) -> None:
        if timeout_seconds is not None:
            if type(timeout_seconds) not in (int, float):
                raise ArgumentTypeError(f"timeout_seconds must be a number, not {type(timeout_seconds).__name__}")
            if not 0 < timeout_seconds < float("inf"):
                raise ArgumentValueError(f"timeout_seconds must be positive and finite, not {timeout_seconds}")
        if not isinstance(progress, bool) and not callable(progress):
            raise ArgumentTypeError(f"progress must be a bool or a function, not {type(progress).__name__}")
        self.progress = progress
        self.timeout_seconds = None if timeout_seconds is None else float(timeout_seconds)


def _drive(session: Any, work: Waiting) -> Any:
    """Run the work: at once in a session that blocks, else as something to await."""
    if isinstance(session, BaseSession):
        try:
            while True:
                next(work).flush()
        except StopIteration as end:
            return end.value
        finally:
            work.close()
    return _driven(work)


async def _driven(work: Waiting) -> Any:
    try:
        while True:
            await next(work).flush()
    except StopIteration as end:
        return end.value
    finally:
        work.close()


# Rows ------------------------------------------------------------------------------------------------------------------------


class _Piece:
    """Rows that are there at once.

    Attributes:
        count: how many.
        leaves: tensors of the session whose rows they are.
        structure: of the arguments that the leaves are in; None where there are none.
    """

    __slots__ = ("count", "leaves", "structure")

    def __init__(self, count: int, leaves: Sequence[Any], structure: Any) -> None:
        self.count = count
        self.leaves = leaves
        self.structure = structure

    def row(self, index: int) -> tuple[list[Any], Any]:
        """The tensors of one row, and the arguments made of them."""
        rows = [leaf.select(0, index) for leaf in self.leaves]
        return rows, None if self.structure is None else build(self.structure, rows)

    def after(self, count: int) -> _Piece:
        """The rows from number ``count`` on."""
        return self if not count else _Piece(self.count - count, [leaf[count:] for leaf in self.leaves], self.structure)


class _Stacked:
    """An argument that is one array or tensor: its rows are the batches."""

    def __init__(self, value: Any, number: int) -> None:
        self._value = value
        self._at = 0
        if not value.ndim:
            raise ShapeError(f"map(): argument {number} is a 0-d {type(value).__name__}, which has no rows")
        self.count: int | None = value.shape[0]
        self.host_bytes = value[:1].nbytes if isinstance(value, np.ndarray) else 0

    def take(self, count: int, _session: Any) -> tuple[int, Any]:
        """Up to so many more rows."""
        begin, self._at = self._at, min(self._at + count, self._value.shape[0])
        whole = begin == 0 and self._at == self._value.shape[0]
        return self._at - begin, self._value if whole else self._value[begin : self._at]


class _Items:
    """An argument that is an iterable of batches: arrays or tensors, or tuples, lists and dicts of them, all of the same shapes."""

    def __init__(self, value: Any, number: int) -> None:
        if not hasattr(value, "__iter__"):
            raise ArgumentTypeError(
                f"map(): argument {number} must be an array, a tensor or an iterable of them, not {type(value).__name__}; what is "
                "the same for each call is given by keyword"
            )
        self.count: int | None = len(value) if hasattr(value, "__len__") else None
        self._items: Iterator[Any] = iter(value)
        self._number = number
        self._structure: Any = None
        self._first = list(itertools.islice(self._items, 1))
        if not self._first:
            self.count = 0
        self.host_bytes = sum(x.nbytes for x in flatten(self._first)[0] if isinstance(x, _HOST))

    def take(self, count: int, session: Any) -> tuple[int, Any]:
        """Up to so many more rows."""
        rows: list[list[Any]] = []
        for item in self._some(count):
            leaves, structure = flatten(item)
            for leaf in leaves:
                if not isinstance(leaf, (TensorBase, *_HOST)):
                    raise ArgumentTypeError(
                        f"map(): a batch of argument {self._number} has a {type(leaf).__name__} in it, which would be part of the "
                        "program; numbers that change from call to call are given as one array"
                    )
            if self._structure is not None and structure != self._structure:
                raise ArgumentValueError(f"map(): the batches of argument {self._number} are not built alike")
            self._structure = structure
            rows.append(leaves)
        if not rows:
            return 0, None
        return len(rows), build(self._structure, [_stack(session, column) for column in zip(*rows, strict=True)])

    def _some(self, count: int) -> Iterator[Any]:
        while self._first and count:
            count -= 1
            yield self._first.pop()
        for _ in range(count):
            try:
                yield next(self._items)
            except StopIteration:
                return


def _source(value: Any, number: int) -> _Stacked | _Items:
    return _Stacked(value, number) if isinstance(value, (TensorBase, np.ndarray)) else _Items(value, number)


def _stack(session: Any, column: Sequence[Any]) -> Any:
    if any(isinstance(x, TensorBase) for x in column):
        tensors = [session._create(np.array(x, order="C"), False) if isinstance(x, _HOST) else x for x in column]
        return tensors[0]._apply("stack", *tensors, dim=0)
    try:
        return np.stack(column)
    except ValueError:
        shapes = sorted({str(list(np.shape(x))) for x in column})
        raise ShapeError(f"map(): the batches have different shapes: {' and '.join(shapes[:4])}") from None


class _Taker:
    """Takes rows of all sources side by side, in pieces whose arrays are not too large to be sent at once."""

    def __init__(self, sources: Sequence[_Stacked | _Items], session: Any) -> None:
        self._sources = sources
        self._session = session
        row_bytes = sum(s.host_bytes for s in sources)
        self._count = _most(session) if not row_bytes else min(_most(session), max(1, _defaults.UPLOAD_BYTES // row_bytes))
        self._done = 0
        self.more = True

    def next(self) -> _Piece | None:
        """The next rows, with arrays that are in no session yet; None where there are no more."""
        taken = [source.take(self._count, self._session) for source in self._sources]
        counts = {n for n, _ in taken}
        if len(counts) > 1:
            raise ShapeError(
                "map() goes through its arguments side by side, and one ends before the others, after "
                f"{self._done + min(counts):,} batches; {self._done:,} were run"
            )
        rows = counts.pop()
        self._done += rows
        self.more = rows == self._count
        leaves, structure = flatten(tuple([value for _, value in taken]))
        return _Piece(rows, leaves, structure) if rows else None


def _pieces(sources: Sequence[_Stacked | _Items], session: Any) -> Iterator[_Piece]:
    """Rows in pieces. While one is run on a server, the next is loaded and sent."""
    taker = _Taker(sources, session)
    upload: Callable[[Sequence[Any]], Sequence[Any]] | None = getattr(session, "_upload", None)

    def record(arrays: Sequence[Any]) -> list[Any]:
        return [session._create(array, False) for array in arrays]

    def following(put: Callable[[Sequence[Any]], Sequence[Any]]) -> _Piece | None:
        piece = taker.next() if taker.more else None
        if piece is not None:
            made = iter(put([np.array(x, order="C") for x in piece.leaves if isinstance(x, _HOST)]))
            piece.leaves = [next(made) if isinstance(x, _HOST) else x for x in piece.leaves]
        return piece

    pool: ThreadPoolExecutor | None = None
    try:
        piece = following(record)
        while piece is not None:
            ahead = None
            if taker.more and upload is not None:
                pool = pool or ThreadPoolExecutor(1, thread_name_prefix="telegrad-upload")
                ahead = pool.submit(copy_context().run, following, upload)
            yield piece
            piece = following(record) if ahead is None else ahead.result()
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


# Steps -----------------------------------------------------------------------------------------------------------------------


class _Steps:
    """Calls of a function with one row of arguments after the other."""

    def __init__(
        self,
        function: Function[..., Any],
        session: Any,
        total: int | None,
        settings: Settings,
        arguments: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]],
    ) -> None:
        self._function = function
        self._session = session
        self._arguments = arguments
        self._seconds = settings.timeout_seconds
        self._report: Report = reporter(settings.progress, getattr(function, "__name__", "step"))
        self._progress = Progress(total)
        self._done = 0
        self._results: list[tuple[Any, list[Any]]] = []

    def run(self, pieces: Iterator[_Piece]) -> Waiting:
        """All calls; their results stacked."""
        begun = time.monotonic()
        with self._report:
            for piece in pieces:
                left = piece
                while left.count and not self._progress.cancelled:
                    rows, arguments = left.row(0)
                    args, kwargs = self._arguments(arguments)
                    prepared = self._function.prepare(args, kwargs)
                    steady = prepared.is_steady()
                    seconds = self._seconds
                    if seconds is not None and self._done:
                        seconds = max(1e-3, seconds - (time.monotonic() - begun))
                    count = left.count if steady else 1
                    done = yield from self._run(prepared, rows, left if steady else _first_row(left), count, seconds)
                    left = left.after(done) if done < left.count else _Piece(0, [], None)
                if self._progress.cancelled:
                    break
        return self._joined()

    def _run(self, prepared: Prepared, rows: Sequence[Any], piece: _Piece, count: int, seconds: float | None) -> Waiting:
        """``count`` runs of one program in one request; how many were done. Fewer where the server stopped, or lost sight of us."""
        traced, numbers = prepared.traced, {id(x): number for number, x in enumerate(prepared.bound)}
        each = {numbers[id(row)]: leaf for row, leaf in zip(rows, piece.leaves, strict=True) if id(row) in numbers}
        references = prepared.references()
        begin = self._done

        def hear(news: dict[str, Any]) -> None:
            self._tell(prepared, references, begin + news["run"], news.get("latest", {}))

        many = Many(count, each, list(dict.fromkeys(references.values())), seconds, secrets.token_hex(8), hear)
        self._progress.stop = lambda: self._session._programs.stop(many.run_id)
        runs = prepared.run_many(many)
        try:
            yield self._session
        except GeneratorExit:
            # Interrupted: a server would go on for a while, for a client whose connection was cut.
            self._progress.stop()
            raise
        error = runs.finish()
        self._progress.stop = None
        done = count if error is None else int(error.extra.get("run", 0))
        if done:
            stacked = dict(zip(many.collect, runs.stacked, strict=True))
            self._results.append((prepared, [stacked.get(references.get(i, "")) for i in range(len(prepared.entry.results))]))
        self._done = begin + done
        ended = isinstance(error, RunCancelledError) and (self._progress.cancelled or error.extra.get("reason") in _NOBODYS_WISH)
        if error is not None and not ended:
            error.extra["run"] = self._done
            error.add_note(f"{self._done:,} calls of {self._function!r} were done before that, and stand")
            if not set(traced.places).intersection(getattr(error, "__notes__", ())):
                traced.explain(error)
            try:
                raise error
            finally:
                del error  # this frame is in its traceback
        if error is None:
            self._tell(prepared, references, self._done, None)
        return done

    def _tell(self, prepared: Prepared, references: dict[int, str], run: int, latest: dict[str, Any] | None) -> None:
        progress = self._progress
        progress.run = run
        if latest is not None:
            results = enumerate(prepared.entry.results)
            leaves = [v if kind == "constant" else _number(latest.get(references[i])) for i, (kind, v) in results]
            progress.latest = build(prepared.entry.structure, leaves) if latest else None
        self._report(progress)

    def _joined(self) -> Any:
        """What the function returns, each tensor stacked over all calls."""
        if not self._results:
            raise RunCancelledError("the calls were cancelled before the first was done", extra={"run": 0})
        last = self._results[-1][0].entry
        leaves: list[Any] = []
        for prepared, stacked in self._results:
            alike = [part is None for part in stacked] == [kind == "constant" for kind, _ in last.results]
            if prepared.entry.structure != last.structure or not alike:
                raise ShapeError(
                    f"{self._function!r} returned tensors from some calls and something else from others, which cannot be stacked; "
                    f"all {self._done:,} calls were done"
                )
        for position, (kind, value) in enumerate(last.results):
            parts = [stacked[position] for _, stacked in self._results]
            if kind == "constant":
                leaves.append(value)
            else:
                leaves.append(parts[0] if len(parts) == 1 else parts[0]._apply("cat", *parts, dim=0))
        return build(last.structure, leaves)


def _number(value: Any) -> Any:
    """A number as Python has it."""
    return None if value is None else codec.array_from_json(value, None, max_elements=1).item()


def _first_row(piece: _Piece) -> _Piece:
    return _Piece(1, [leaf[:1] for leaf in piece.leaves], piece.structure)
