"""``@telegrad.function``: a step that is traced once and then run as a program."""

# The underscores are for users: function, trace and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np

from telegrad import _defaults
from telegrad._current import current
from telegrad._entry import Entry, Kept, Prepared, Result, Source, functions_of
from telegrad._environment import Environment
from telegrad.contract import modes, tracing, watching
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, SessionClosedError, TraceError
from telegrad.contract.literal import array_of
from telegrad.contract.scope import current_scope
from telegrad.contract.session import BaseSession, current_session
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.transforms.trees import build, flatten, of_call
from telegrad.contract.transforms.wrapper import Wrapped, running

if TYPE_CHECKING:
    from telegrad._progress import Progress
    from telegrad._trace import Tracing
    from telegrad._traced import Traced

P = ParamSpec("P")
R = TypeVar("R")

_CONTAINERS: Final = (tuple, list, dict)

_STATIC: Final = (bool, int, float, complex, str, bytes, type(None), DType, np.generic, np.dtype, slice, range, type(...))


class Arguments(NamedTuple):
    """The arguments of a call, taken apart.

    Attributes:
        session: where it runs.
        key: what a trace of it depends on, apart from what the function refers to by itself.
        structure: of the arguments.
        leaves: of the arguments; arrays have become tensors.
        tensors: those among the leaves, each once.
        objects: what is neither tensor nor static, with a name: the ``self`` of a method, say.
        made: of the tensors, those that were arrays: each call has its own.
    """

    session: Any
    key: tuple[Any, ...]
    structure: Any
    leaves: list[Any]
    tensors: list[Any]
    objects: list[tuple[str, Any]]
    made: tuple[Any, ...]


class Function(Generic[P, R]):
    """A function whose calls are runs of a program. Made by ``telegrad.function``."""

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._awaits = inspect.iscoroutinefunction(function)
        self._name = getattr(function, "__qualname__", None) or type(function).__name__
        self._traces: weakref.WeakKeyDictionary[Any, Kept] = weakref.WeakKeyDictionary()
        self._implied: weakref.ref[Any] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the program of this call, traced first if need be."""
        if self.is_inlined():
            return self._function(*args, **kwargs)
        if self._awaits:
            return cast(R, self._called(args, kwargs))
        return cast(R, self.prepare(args, kwargs).run())

    async def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.prepare(args, kwargs).run()

    def repeat(
        self,
        times: int,
        /,
        *args: Any,
        progress: bool | Callable[[Progress], object] = False,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call it ``times`` times with the same arguments, in one request where the session is remote.

        What it changes carries over from call to call, as in a loop.

        Args:
            times: how many calls.
            *args: of each call.
            progress: True shows a bar (tqdm's where that is installed, else a line on a terminal); a function is called with a
                ``Progress`` about ten times a second, and may ``cancel()``.
            timeout_seconds: end after the call in which so many are over.
            **kwargs: of each call.

        Returns:
            what a call returns, each tensor stacked over all calls: shape [times, ...], without history. To be awaited in an async
            session.

        Raises:
            DeadlineError: time is over. What was done stands; ``error.extra["run"]`` says how many calls that was.
            TelegradError: of the call that failed; what was done before stands.
        """
        return self._repeat(times, args, kwargs, progress, timeout_seconds)

    def map(
        self,
        /,
        *batches: Any,
        progress: bool | Callable[[Progress], object] = False,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call it with the first batch of each argument, then the second, ..., in few requests where the session is remote.

        Args:
            *batches: for each positional argument an array or tensor, whose rows are the batches; or an iterable of batches of one
                shape (arrays, tensors, or tuples, lists and dicts of them), which is sent in pieces of bounded size.
            progress: see ``repeat``.
            timeout_seconds: see ``repeat``.
            **kwargs: the same in each call.

        Returns, raises: see ``repeat``; ShapeError too for batches that differ in shape or number.
        """
        return self._map((), batches, kwargs, progress, timeout_seconds)

    def _repeat(self, times: int, args: tuple[Any, ...], kwargs: dict[str, Any], progress: Any, timeout_seconds: Any) -> Any:
        from telegrad import _runs  # only where it is needed

        return _runs.repeat(self, times, args, kwargs, _runs.Settings(progress, timeout_seconds))

    def _map(
        self, fixed: tuple[Any, ...], batches: tuple[Any, ...], kwargs: dict[str, Any], progress: Any, timeout_seconds: Any
    ) -> Any:
        from telegrad import _runs  # only where it is needed

        return _runs.map_over(self, fixed, batches, kwargs, _runs.Settings(progress, timeout_seconds))

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """As a method: the function with its first argument."""
        return self if instance is None else Bound(self, instance)

    @property
    def programs(self) -> tuple[Traced, ...]:
        """The programs traced so far and kept, of all sessions, oldest first."""
        return tuple([e.traced for table in self._traces.values() for entries in table.values() for e in entries])

    def clear(self) -> None:
        """Forget all traces, so that the next call traces anew."""
        for session, table in list(self._traces.items()):
            for entry in [e for entries in table.values() for e in entries]:
                session._programs.forget(entry.traced)
        self._traces.clear()

    def __repr__(self) -> str:
        counts = [len(t.commands) for t in self.programs]
        what = "not traced yet" if not counts else f"{len(counts)} program(s) of {', '.join(map(str, counts))} commands"
        return f"<telegrad.function {self._name}, {what}>"

    # Preparing a call --------------------------------------------------------------------------------------------------------

    def is_inlined(self) -> bool:
        """Whether the function is to be called as it is: within another trace, a transform, a hook or a block of a checkpoint."""
        if tracing.current_trace() is not None or running() or watching.current_packing() is not None:
            return True
        session: Any = current_session()
        recorder = getattr(session, "_recorder", None)
        return recorder is not None and (recorder.capturing is not None or recorder.blocks.here() is not None)

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Prepared:
        """Trace the call unless a trace of it holds, and bind its tensors."""
        arguments = self._take_apart(args, kwargs)
        session = arguments.session
        programs = session._programs
        table = self._traces.get(session)
        if table is None:
            table = self._traces[session] = Kept()
        entries = table.get(arguments.key, ())
        for entry in entries:
            bound = entry.bind(programs, arguments.tensors)
            if bound is not None:
                return Prepared(session, entry, bound, arguments.made)
        entry, bound = self._trace(arguments)
        self._keep(table, arguments, entry)
        return Prepared(session, entry, bound, arguments.made)

    def session_of(self, leaves: Sequence[Any]) -> Any:
        """Where a call with these arguments runs."""
        session: Any = next((x.session for x in leaves if tracing.has_twins(x)), None)
        if session is None:
            session = current_session() or self._find_session()
        if session.closed:
            raise SessionClosedError("the session was closed; open another with telegrad.local() or telegrad.connect(url)")
        return session

    def _take_apart(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        plain = not kwargs
        for x in args:
            if isinstance(x, _CONTAINERS):
                plain = False
        leaves, structure = (list(args), of_call(len(args))) if plain else flatten((args, kwargs))
        tensors: list[Any] = []
        numbers: dict[int, int] = {}
        session = self.session_of(leaves)
        programs = session._programs
        key: list[Any] = [structure]
        objects: list[tuple[str, Any]] = []
        made: tuple[Any, ...] = ()
        for position, x in enumerate(leaves):
            if isinstance(x, _STATIC):
                key += (x.__class__, _static_key(x))
                continue
            if isinstance(x, np.ndarray):
                leaves[position] = x = session._create(array_of(x, None, session._allocate), False)
                made += (x,)
            if tracing.has_twins(x):
                number = numbers.get(id(x))
                if number is None:
                    number = numbers[id(x)] = len(tensors)
                    tensors.append(x)
                    key += (number, programs.signature(x))
                else:
                    key.append(number)
                continue
            if isinstance(x, TensorBase):
                raise TraceError(f"{self._name} was given a tensor of a trace or transform that has ended")
            key.append(id(x))
            objects.append((_name_of(x), x))
        key += (modes.is_grad_enabled(), modes.is_inference_mode_enabled(), current_scope())
        key += (watching.is_anomaly_enabled(), watching.is_anomaly_check_nan_enabled())
        return Arguments(session, tuple(key), structure, leaves, tensors, objects, made)

    def _find_session(self) -> Any:
        """Where a call without tensors runs: where the tensors live that the function refers to."""
        session: Any = None if self._implied is None else self._implied()
        if session is not None and not session.closed:
            return session
        found = Environment([(self._name, self._function)]).tensors
        session = found[0].session if found else current()
        self._implied = weakref.ref(session)
        return session

    # Tracing -----------------------------------------------------------------------------------------------------------------

    def _trace(self, arguments: Arguments) -> tuple[Entry, list[Any]]:
        from telegrad._trace import Tracing  # only where functions are traced

        trace = Tracing(self._name, arguments.session, awaited=not isinstance(arguments.session, BaseSession))
        try:
            return self._recorded(trace, arguments), list(trace.reals)
        finally:
            trace.forget()

    def _recorded(self, trace: Tracing, arguments: Arguments) -> Entry:
        """Call the function with twins of its tensors, and make a program of what it does."""
        roots = [(self._name, self._function), *arguments.objects]
        environment = Environment(roots, arguments.tensors, functools.partial(_hooks_of, arguments.session))
        given = [trace.twin_of(x) for x in arguments.tensors]
        places = iter(arguments.leaves)
        twins = dict(zip(map(id, arguments.tensors), given, strict=True))
        args, kwargs = build(arguments.structure, [twins.get(id(x), x) for x in places])
        mode = modes.is_grad_enabled()
        with tracing.diverted(trace):
            try:
                function: Any = self._function
                result = function(*args, **kwargs)
                if self._awaits:
                    result = _driven(result, trace)
            finally:
                if modes.is_grad_enabled() is not mode:
                    modes.set_mode(mode)
                    trace.refuse("it leaves the grad mode switched; use `with telegrad.no_grad():` inside, or switch outside")
            leaves, structure = flatten(result)
            leaves = [trace.lift(x) for x in leaves]
        if trace.refusal is not None:
            raise trace.refusal
        self._check_unchanged(environment)
        from telegrad._traced import Traced  # only where functions are traced

        returned = [x for x in leaves if isinstance(x, trace.recorder.tensor_class)]
        sources = self._sources(trace, arguments, environment)
        holes = {name: number for number, name in enumerate(h.name for h in trace.holes.values())}
        traced = Traced(trace, returned)
        outputs = {name: number for number, name in enumerate(traced.outputs)}
        results = [self._result(x, trace, holes, outputs) for x in leaves]
        same = [(i, j) for i, x in enumerate(arguments.tensors) for j, other in enumerate(environment.tensors) if x is other]
        environment.forget()
        return Entry(traced, environment, sources, same, _views_of(trace), structure, results)

    def _check_unchanged(self, environment: Environment) -> None:
        changed = environment.difference()
        if changed:
            raise TraceError(
                f"{self._name} cannot be traced: it changes {changed}, which a run of its program would not do; return the new "
                "value, or change it outside of the function"
            )

    def _sources(self, trace: Any, arguments: Arguments, environment: Environment) -> list[Source]:
        given = {id(x): number for number, x in enumerate(arguments.tensors)}
        around = {id(x): number for number, x in enumerate(environment.tensors)}
        programs = arguments.session._programs
        bases: dict[int, int] = {}  # of a tensor, the first of its views, which came into the trace before it
        for number, x in enumerate(trace.reals):
            bases.setdefault(id(programs.base(x)), number)
        sources: list[Source] = []
        for real, hole in zip(trace.reals, trace.holes.values(), strict=True):
            ways = (("argument", given), ("environment", around), ("base", bases))
            kind, number = next(((kind, table[id(real)]) for kind, table in ways if id(real) in table), ("", -1))
            if not kind:
                raise TraceError(
                    f"{self._name} cannot be traced: it uses a tensor that it was not given and that is found under no name or "
                    "attribute that its code mentions, so that nobody could tell whether it is the same the next time; give it as "
                    "an argument"
                )
            asked = hole.twin.extra().leaf.asked
            sources.append(Source(kind, number, hole.signature, hole.had_gradient if asked else None, functions_of(hole.hooks)))
        return sources

    def _result(self, x: Any, trace: Any, holes: dict[str, int], outputs: dict[str, int]) -> Result:
        if isinstance(x, trace.recorder.tensor_class):
            number = holes.get(x._name)
            return Result("output", outputs[x._name]) if number is None else Result("input", number)
        if isinstance(x, Wrapped) or not isinstance(x, _STATIC):
            raise TraceError(
                f"{self._name} cannot be traced: it returns a {type(x).__name__}; return tensors, numbers, strings and None, in "
                "tuples, lists and dicts"
            )
        return Result("constant", x)

    def _keep(self, table: Kept, arguments: Arguments, entry: Entry) -> None:
        kept = sum(len(entries) for entries in table.values())
        if kept >= _defaults.TRACED_PROGRAMS:
            oldest = next(iter(table))
            arguments.session._programs.forget(table[oldest].pop(0).traced)
            if not table[oldest]:
                del table[oldest]
        table.traced += 1
        if not table.traced % _defaults.WARN_TRACES:
            watching.warn_user(f"{self._name} was traced {table.traced} times{_why(table, arguments)}; see docs/programs.md")
        table.setdefault(arguments.key, []).append(entry)


def _why(table: Kept, arguments: Arguments) -> str:
    """Why a call is traced again, for people."""
    for entry in reversed(table.get(arguments.key, ())):
        changed = entry.environment.difference()
        return f", because {changed} is another one" if changed else ""
    return ", because its arguments are of other shapes, types or values each time; give numbers that change as arrays"


def _views_of(trace: Tracing) -> list[tuple[int, int]]:
    """Which inputs of a trace are views of which others."""
    numbers = {id(x): number for number, x in enumerate(trace.reals)}
    bases = [trace.real._programs.base(x) for x in trace.reals]
    return [(number, numbers[id(base)]) for number, base in enumerate(bases) if base is not None]


def _hooks_of(session: Any, x: Any) -> list[Any]:
    """What a backward of a trace calls where it reaches a tensor, or one whose view it is."""
    programs = session._programs
    found: list[Any] = []
    while x is not None and x.session is session:
        if programs.signature(x)[1] & tracing.LEAF:
            found += [hook for table in functions_of(programs.hooks(x)) or () for hook in table]
        x = programs.base(x)
    return found


class Bound(Generic[P, R]):
    """A method that is a ``Function``, with its object."""

    def __init__(self, function: Function[P, R], instance: Any) -> None:
        self.__func__ = function
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See ``Function.__call__``."""
        return cast(Any, self.__func__)(self.__self__, *args, **kwargs)

    def repeat(self, times: int, /, *args: Any, progress: Any = False, timeout_seconds: Any = None, **kwargs: Any) -> Any:
        """See ``Function.repeat``."""
        return self.__func__._repeat(times, (self.__self__, *args), kwargs, progress, timeout_seconds)

    def map(self, /, *batches: Any, progress: Any = False, timeout_seconds: Any = None, **kwargs: Any) -> Any:
        """See ``Function.map``."""
        return self.__func__._map((self.__self__,), batches, kwargs, progress, timeout_seconds)

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Prepared:
        """See ``Function.prepare``."""
        return self.__func__.prepare((self.__self__, *args), kwargs)

    @property
    def programs(self) -> tuple[Traced, ...]:
        """See ``Function.programs``."""
        return self.__func__.programs

    def clear(self) -> None:
        """See ``Function.clear``."""
        self.__func__.clear()

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} of {self.__self__!r}>"


def function(function: Callable[P, R]) -> Function[P, R]:
    """Trace ``function`` at its first call and run it as a program from then on, in one request where the session is remote.

    Use as a decorator. What a call does is what it does untraced, to the bit: ops, ``backward`` and ``grad``, changes in place,
    hooks, random numbers. It is traced again for other shapes and types of its arguments, for other values of arguments that are no
    tensors, and when something else has changed that it refers to (a number, a list's length; not which tensor a name stands for).

    Args:
        function: takes and returns tensors, numbers, strings and None, in tuples, lists and dicts. Numpy arrays among its arguments
            reach it as tensors.

    Raises:
        ArgumentTypeError: for what cannot be called.
        TraceError: when called, where a trace would not be the function: it looks at values, changes what it refers to, draws
            with Python's or numpy's generators. Names the line.
    """
    if not callable(function):
        raise ArgumentTypeError(f"telegrad.function decorates a function, not {type(function).__name__}")
    return Function(function)


def _driven(coroutine: Any, trace: Any) -> Any:
    """The result of a coroutine function that awaits nothing but tensors of the trace, which never wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise trace.refuse("it awaits something other than a tensor; do that outside of the function")


def _static_key(x: Any) -> Any:
    """What must be equal for two static arguments to be the same."""
    if isinstance(x, (float, complex)):
        return x if x == x and x else repr(x)  # noqa: PLR0124 - NaN, which equals nothing, and the two zeros, which are equal
    if isinstance(x, slice):
        return (_static_key(x.start), _static_key(x.stop), _static_key(x.step))
    return (x.dtype, x.tobytes()) if isinstance(x, np.generic) else x


def _name_of(x: Any) -> str:
    return getattr(x, "__qualname__", None) or f"the argument of type {type(x).__name__}"
