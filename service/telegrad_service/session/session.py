"""``Session.apply(command)``: the only way a session changes.

Each command is atomic: it is checked against the limits and the op's rule before anything is computed, and an error leaves
the session as it was. A batch has prefix semantics: the first command that fails stops it, and what came before stands.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from telegrad.contract.commands import Apply, Attach, Backward, Command, Create, Grad, Read, Release, Resume, Run, Seed, Set
from telegrad.contract.datasets import PREFIX, is_content_name
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentValueError, ConflictError, LimitError, NotFoundError, SessionClosedError, TelegradError
from telegrad.contract.limits import Limits, refuse
from telegrad.contract.literal import array_of
from telegrad.contract.programs import PROGRAM_ID
from telegrad_service.engine.rules import load
from telegrad_service.engine.tensor import Engine, Tensor
from telegrad_service.session import gradients, operations, running, runs, usage, values
from telegrad_service.session.compiled import Compiled, Ran
from telegrad_service.session.context import GRAD_SUFFIX, Context, Names
from telegrad_service.session.foresight import Foresight
from telegrad_service.session.haste import Haste, RunTimes, TooLongError
from telegrad_service.session.packs import Packs
from telegrad_service.session.programs import Program
from telegrad_service.session.quota import Quota
from telegrad_service.session.watch import Watch

load()

_WITHOUT_WRITES: Final = (Create, Read, Release, Seed)
"""Commands that never write into a tensor that is there."""


class BatchAnswer(NamedTuple):
    """What a batch did.

    Attributes:
        applied: how many commands stand.
        results: of the commands that have one, each with its ``index``.
        failed: the error of the first command that failed, or None; its index is ``applied``.
        arrays: what reads with ``encoding`` ``buffer`` put out, by the name in their result.
    """

    applied: int
    results: list[dict[str, Any]]
    failed: TelegradError | None
    arrays: dict[str, np.ndarray[Any, Any]]


class Session:
    """A home of named tensors, their graphs, a random generator and stored programs. Not thread-safe: a host serialises access."""

    def __init__(
        self, id: str, limits: Limits | None = None, *, created: float | None = None, engine: Engine | None = None
    ) -> None:
        """Open an empty session; by default of ``Limits()``, ``created`` (seconds since 1970) now, with an engine of its own."""
        self.id = id
        self.limits = limits or Limits()
        self.engine = engine or Engine(self)
        self.names: dict[str, Tensor] = {}
        self.programs: dict[str, Program] = {}
        self.created = time.time() if created is None else created
        self.closed = False
        self.haste: Haste | None = None  # who judges what is short enough for the event loop, where that is asked
        self.run_times: RunTimes | None = None
        """How long runs of programs took, from the first request on that was asked to be short."""
        self.asked_runs: dict[tuple[str, bytes], Run] = {}
        """Commands that run programs, by the program and the text that asked for it: a text says the same each time."""
        self._auto = 0
        self.answer_bytes = 0
        self.done: dict[str, int] = {}
        """How many commands of each kind the last request did."""
        self.watch: Watch | None = None
        """Who follows the request that is done now."""
        self.local: Names = {}
        self.collecting: runs.Collecting | None = None
        self.waiting: dict[str, gradients.Begun] = {}
        """Walks that wait to be resumed, by name, those that wait longest first."""
        self.packs: weakref.WeakValueDictionary[str, Packs] = weakref.WeakValueDictionary()
        """What clients keep of what ops saved, by name."""
        self.quota = Quota(self.limits, self.alive, lambda: len(self.names))
        self.compiled = Compiled(self)
        self.foresight = Foresight(self)

    def tensor(self, data: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
        """Data as a tensor without a name: what functions made of ops ask of the session of their tensors."""
        made = self.engine.wrap(array_of(data, dtype))
        made.requires_grad = requires_grad
        return made

    # Commands ----------------------------------------------------------------------------------------------------------------

    def apply(
        self, command: Command, buffers: Mapping[str, np.ndarray[Any, Any]] | None = None
    ) -> tuple[dict[str, Any] | None, dict[str, np.ndarray[Any, Any]]]:
        """Do one command.

        Returns:
            its result (None for commands without one) and the array that a ``buffer`` read put out: the session's own, which shows
            what it holds until its next command.

        Raises:
            TelegradError: and nothing has changed.
        """
        context = Context(self.names, buffers or {}, {}, settled=True)
        self.answer_bytes = 0
        if isinstance(command, (Backward, Grad, Run)) or self.quota.is_rated:
            self._foresee([command], context)
        result = self.do(command, context)
        self.done = {command.command: 1}
        return result, context.out

    def _foresee(self, commands: Sequence[Command], context: Context) -> None:
        """Refuse what cannot fit, or what the tenant may not have, before any of it is done. Raises LimitError, QuotaError."""
        totals = self.foresight.of(commands, context)
        try:
            self.quota.expect(totals)
        except LimitError as error:
            error.extra.update(applied=0, failed=self.foresight.first_beyond(commands, context, error.extra))
            raise

    def batch(self, commands: Sequence[Command], buffers: Mapping[str, np.ndarray[Any, Any]] | None = None) -> BatchAnswer:
        """Do commands in order until one fails; what came before it stands. What cannot fit as a whole is refused as a whole: then
        ``failed`` of the error's ``extra`` names the command that would not.

        The arrays in the answer may be the session's own: they show what it holds until its next command.
        """
        context = Context(self.names, buffers or {}, {})
        self.answer_bytes = 0
        try:
            self._foresee(commands, context)
        except TelegradError as error:
            return BatchAnswer(0, [], error, {})
        except TooLongError as error:
            error.rest = functools.partial(self.batch, commands, buffers)
            raise
        return self._go_on(commands, context, [], 0)

    def _go_on(self, commands: Sequence[Command], context: Context, results: list[dict[str, Any]], begin: int) -> BatchAnswer:
        """Do a batch from a command on. Raises TooLongError with the rest of it in ``rest``."""
        settled_from = next((i + 1 for i in range(len(commands) - 1, -1, -1) if not isinstance(commands[i], _WITHOUT_WRITES)), 0)
        for index in range(begin, len(commands)):
            context.settled = index >= settled_from
            try:
                result = self.do(commands[index], context)
            except TelegradError as error:
                self.done = _counted(commands[:index])
                return BatchAnswer(index, results, error, context.out)
            except TooLongError as error:
                error.rest = functools.partial(self._go_on, commands, context, results, index)
                raise
            if result is not None:
                results.append({"index": index, **result})
        self.done = _counted(commands)
        return BatchAnswer(len(commands), results, None, context.out)

    def limit(self, limits: Limits) -> None:
        """Have other limits from now on."""
        self.limits = limits
        self.quota.limit(limits)
        self.foresight.forget()
        self.asked_runs.clear()

    def do(self, command: Command, context: Context) -> dict[str, Any] | None:
        """Do one command in a scope of names."""
        if self.closed:
            raise SessionClosedError("the session was closed")
        if self.haste is not None:
            self.haste.before(command, context.names.get, lambda run: self._run_seconds(run, context))
        return _HANDLERS[type(command)](self, command, context)

    def _run_seconds(self, command: Run, context: Context) -> float:
        """How long a run is expected to take; for ever where that is not known."""
        bound = [(hole, context.names.get(reference)) for hole, reference in command.inputs.items()]
        known = [(hole, tensor) for hole, tensor in bound if tensor is not None and tensor.node is None and tensor.base is None]
        if command.times not in (None, 1) or command.each or command.collect or len(known) < len(bound):
            return float("inf")
        times = self.run_times = self.run_times or RunTimes()
        return times.expected(RunTimes.key(command.program, known, command.outputs))

    def count_answer(self, nbytes: int) -> None:
        """Refuse what would make the answer too large; otherwise count it."""
        total = self.answer_bytes + nbytes
        if total > self.limits.max_answer_bytes:
            raise refuse("the answer", total, self.limits.max_answer_bytes, "max_answer_bytes", hint="read less at once, or slices")
        self.answer_bytes = total

    def run_bound(
        self,
        program: Program,
        bound: Mapping[str, Tensor],
        outputs: Sequence[str] = (),
        *,
        times: int = 1,
        out: dict[str, np.ndarray[Any, Any]] | None = None,
    ) -> Ran:
        """Run a program on tensors, stored in the session or not.

        Args:
            program: what to run.
            bound: a tensor of this session's engine for each of the program's inputs.
            outputs: references to tensors of the program, of ``program.names``, to give out after the last run.
            times: how many runs in a row, each with the same tensors bound.
            out: takes what reads with ``encoding`` ``buffer`` put out.

        Raises:
            TelegradError: of the command that failed, with ``run`` and ``command`` in its ``extra``. What came before it stands,
                as in a batch.
        """
        return self.compiled.run(program, bound, outputs, times, {} if out is None else out)

    # Names -------------------------------------------------------------------------------------------------------------------

    def context(self, names: Names, out: dict[str, np.ndarray[Any, Any]]) -> Context:
        """A scope of names of its own, for a run of a program."""
        return Context(names, {}, out)

    def reference(self, reference: str, context: Context) -> Tensor | None:
        """The tensor of a reference; None for ``x.grad`` of a tensor without gradient."""
        tensor = context.names.get(reference)
        if tensor is not None:
            return tensor
        if reference.endswith(GRAD_SUFFIX):
            owner = context.names.get(reference[: -len(GRAD_SUFFIX)])
            if owner is not None:
                return owner.kept_gradient
        raise NotFoundError("the session has no tensor of that name")

    def resolve(self, reference: str, context: Context) -> Tensor:
        """The tensor of a reference. Raises NotFoundError, also for ``x.grad`` where there is none."""
        tensor = self.reference(reference, context)
        if tensor is None:
            raise NotFoundError("that tensor has no gradient; run backward first")
        return tensor

    def many(self, references: Sequence[str], context: Context) -> list[Tensor]:
        """The tensors of references. Raises NotFoundError."""
        try:
            return [self.resolve(r, context) for r in references]
        except NotFoundError as error:
            raise self._at_its_place(error, references, context) from None

    def inputs(self, given: Sequence[Any], context: Context) -> tuple[Any, ...]:
        """The tensors of an op's inputs that are references, and the rest as it is. Raises NotFoundError."""
        try:
            named = context.names.get
            return tuple([
                v if type(v) is not str else found if (found := named(v)) is not None else self.resolve(v, context) for v in given
            ])  # fmt: skip
        except NotFoundError as error:
            raise self._at_its_place(error, given, context) from None

    def _at_its_place(self, error: NotFoundError, references: Sequence[Any], context: Context) -> NotFoundError:
        """The error that one of several references made, saying which: their names are not repeated."""
        for position, reference in enumerate(references):
            try:
                if type(reference) is str:
                    self.resolve(reference, context)
            except NotFoundError:
                return NotFoundError(f"{error.detail} (the one at position {position})") if len(references) > 1 else error
        return error

    def optional_many(self, references: Sequence[str | None] | None, context: Context) -> list[Tensor | None] | None:
        """The same for references that may be left out, each or all."""
        if references is None:
            return None
        return [None if r is None else self.resolve(r, context) for r in references]

    def require_free(self, names: Any, context: Context, *, data_set: bool = False) -> None:
        """Refuse names that are taken, given twice, or of data sets, and too many; None is no name."""
        wanted = [n for n in names if n is not None]
        if not wanted:
            return
        if len(wanted) == 1 and wanted[0] not in context.names and not wanted[0].startswith(PREFIX):  # as almost always
            self.require_room(1)
            return
        if not data_set and any(is_content_name(n) for n in wanted):
            raise ArgumentValueError("names that are hashes are those of data sets, which only `create` gives")
        if len(set(wanted)) != len(wanted):
            raise ConflictError("the same name is given twice")
        if any(n in context.names for n in wanted):
            raise ConflictError("a tensor of that name exists already; release it first, or choose another name")
        self.require_room(len(wanted))

    def require_room(self, names: int) -> None:
        """Raise LimitError where there is no room for so many more names."""
        if len(self.names) + names > self.limits.max_tensors:
            raise refuse(
                "the session",
                len(self.names) + names,
                self.limits.max_tensors,
                "max_tensors",
                unit="tensors",
                hint="release tensors that are no longer needed",
            )
        self.quota.admit_names(names)

    def new_name(self, context: Context | None = None) -> str:
        """A name that no tensor has: ``t1``, ``t2``, ..."""
        taken = self.names if context is None else context.names
        while True:
            self._auto += 1
            name = f"t{self._auto}"
            if name not in taken:
                return name

    def alive(self) -> list[Tensor]:
        """Every tensor that has a name, in the session or in the program that runs, and what walks hold that wait."""
        stacks = () if self.collecting is None else self.collecting.tensors
        waiting = [tensor for walk in self.waiting.values() for tensor in walk.tensors()]
        return [*self.names.values(), *self.local.values(), *stacks, *waiting]

    # Descriptions ------------------------------------------------------------------------------------------------------------

    def find(self, reference: str) -> Tensor | None:
        """The tensor of a reference; None for ``x.grad`` of a tensor without gradient. Raises NotFoundError."""
        return self.reference(reference, Context(self.names, {}, {}))

    def describe(self, reference: str) -> dict[str, Any]:
        """What is known of a tensor without its values. Raises NotFoundError."""
        return values.describe(reference, self.resolve(reference, Context(self.names, {}, {})))

    def list(self, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Descriptions of up to ``limit`` tensors in order of names, from after ``after``, and the cursor of the next page."""
        names = sorted(self.names) if after is None else sorted(n for n in self.names if n > after)
        page = names[:limit]
        return [values.describe(n, self.names[n]) for n in page], page[-1] if len(names) > limit else None

    def summary(self) -> dict[str, Any]:
        """Identity and exact usage of the session."""
        held = usage.count(self.alive())
        return {
            "id": self.id,
            "created": self.created,
            "tensors": len(self.names),
            "bytes": held.nbytes,
            "nodes": held.nodes,
            "programs": len(self.programs),
        }

    def store_program(self, commands: Sequence[Command], inputs: Sequence[str]) -> Program:
        """Keep a program under its content hash; storing the same one again changes nothing."""
        program = Program.make(commands, inputs)
        if program.id not in self.programs and len(self.programs) >= self.limits.max_programs:
            held = len(self.programs) + 1
            raise refuse("the session", held, self.limits.max_programs, "max_programs", unit="programs", hint="delete some")
        return self.programs.setdefault(program.id, program)

    def program(self, program_id: str) -> Program:
        """A stored program. Raises NotFoundError."""
        found = self.programs.get(program_id)
        if found is None:
            named = {"program": program_id} if PROGRAM_ID.fullmatch(program_id) else {}  # an id is shown, any other text is not
            raise NotFoundError("the session has no such program; store it with POST .../programs", extra=named)
        return found

    def forget_program(self, program_id: str) -> None:
        """Delete a stored program and what was compiled of it. Raises NotFoundError."""
        del self.programs[self.program(program_id).id]
        self.asked_runs.clear()
        self.compiled.plans.forget(program_id)

    def close(self) -> None:
        """Free everything."""
        self.closed = True
        self.waiting.clear()
        self.names.clear()
        self.programs.clear()
        self.compiled.plans.clear()


def _counted(commands: Sequence[Command]) -> dict[str, int]:
    """How many there are of each kind."""
    found: dict[str, int] = {}
    for command in commands:
        found[command.command] = found.get(command.command, 0) + 1
    return found


_HANDLERS: Final[Mapping[type, Callable[[Session, Any, Context], dict[str, Any] | None]]] = {
    Create: values.create,
    Apply: operations.apply_op,
    Backward: gradients.backward,
    Grad: gradients.grad,
    Set: values.set_,
    Read: values.read,
    Release: values.release,
    Seed: operations.seed,
    Run: running.run,
    Attach: gradients.attach,
    Resume: gradients.resume,
}
