"""``Session.apply(command)``: the only way a session changes.

Each command is atomic: it is checked against the limits and the op's rule before anything is computed, and an error leaves
the session as it was. A batch has prefix semantics: the first command that fails stops it, and what came before stands.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from telegrad.contract import codec, compositions, indexing, modes
from telegrad.contract.callbacks import names_bound
from telegrad.contract.commands import (
    ABSENT,
    Apply,
    Attach,
    Backward,
    Command,
    Create,
    Grad,
    Read,
    Release,
    Run,
    Seed,
    Set,
    inner_commands,
    names_made,
)
from telegrad.contract.datasets import content_name, is_content_name
from telegrad.contract.dtypes import DType, as_dtype, from_numpy
from telegrad.contract.errors import (
    ArgumentValueError,
    AutogradError,
    ConflictError,
    NotFoundError,
    SessionClosedError,
    ShapeError,
    TelegradError,
)
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.limits import Limits, refuse
from telegrad.contract.literal import array_of
from telegrad.contract.ops import Spec
from telegrad.contract.programs import PROGRAM_ID
from telegrad.contract.scope import at_scope
from telegrad_service.compiler.recorder import Recorder
from telegrad_service.engine import autograd, custom
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES
from telegrad_service.engine.tensor import Engine, Tensor, apply, compute, spec_of
from telegrad_service.engine.writes import apply_in_place
from telegrad_service.session import runs, usage
from telegrad_service.session.callbacks import CallbackRun
from telegrad_service.session.compiled import Compiled, Ran
from telegrad_service.session.haste import Haste, RunTimes, TooLongError
from telegrad_service.session.programs import Program
from telegrad_service.session.quota import Quota
from telegrad_service.session.watch import Watch

load()

Names = MutableMapping[str, Tensor]

GRAD_SUFFIX: Final = ".grad"

_WITHOUT_WRITES: Final = (Create, Read, Release, Seed)
"""Commands that never write into a tensor that is there."""

_NO_SCOPE: Final = contextlib.nullcontext()

# Memory that an answer takes while it is made: a number as a Python object and as text, a description, the list of a run.
_JSON_NUMBER_BYTES: Final = 64
_DESCRIPTION_BYTES: Final = 1024
_RUN_BYTES: Final = 64


def _within(scope: str | None) -> AbstractContextManager[None]:
    """The scope of a command."""
    return _NO_SCOPE if scope is None else at_scope(scope)


def _inference(wanted: bool) -> AbstractContextManager[Any]:
    """Inference mode for a command that asks for it."""
    return modes.inference_mode() if wanted else _NO_SCOPE


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


@dataclass(slots=True)
class Context:
    """What one command works with: the names in scope, the arrays that came with the request, those that go out again, whether the
    request will write into none of them any more, so that these need be no copies, and the recording of a run.
    """

    names: Names
    buffers: Mapping[str, np.ndarray[Any, Any]]
    out: dict[str, np.ndarray[Any, Any]]
    settled: bool = False
    recorder: Recorder | None = None


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
        self._run_times = RunTimes()
        self._auto = 0
        self.answer_bytes = 0
        self.watch: Watch | None = None
        """Who follows the request that is done now."""
        self.local: Names = {}
        self._collecting: runs.Collecting | None = None
        self.quota = Quota(self.limits, self._alive)
        self.compiled = Compiled(self)
        self._handlers: dict[type, Callable[[Any, Context], dict[str, Any] | None]] = {
            Create: self._create,
            Apply: self._apply,
            Backward: self._backward,
            Grad: self._grad,
            Set: self._set,
            Read: self._read,
            Release: self._release,
            Seed: self._seed,
            Run: self._run,
            Attach: self._attach,
        }

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
        return self.do(command, context), context.out

    def batch(self, commands: Sequence[Command], buffers: Mapping[str, np.ndarray[Any, Any]] | None = None) -> BatchAnswer:
        """Do commands in order until one fails; what came before it stands.

        The arrays in the answer may be the session's own: they show what it holds until its next command.
        """
        context = Context(self.names, buffers or {}, {})
        self.answer_bytes = 0
        return self._go_on(commands, context, [], 0)

    def _go_on(self, commands: Sequence[Command], context: Context, results: list[dict[str, Any]], begin: int) -> BatchAnswer:
        """Do a batch from a command on. Raises TooLongError with the rest of it in ``rest``."""
        settled_from = next((i + 1 for i in range(len(commands) - 1, -1, -1) if not isinstance(commands[i], _WITHOUT_WRITES)), 0)
        for index in range(begin, len(commands)):
            context.settled = index >= settled_from
            try:
                result = self.do(commands[index], context)
            except TelegradError as error:
                return BatchAnswer(index, results, error, context.out)
            except TooLongError as error:
                error.rest = functools.partial(self._go_on, commands, context, results, index)
                raise
            if result is not None:
                results.append({"index": index, **result})
        return BatchAnswer(len(commands), results, None, context.out)

    def limit(self, limits: Limits) -> None:
        """Have other limits from now on."""
        self.limits = limits
        self.quota.limit(limits)

    def do(self, command: Command, context: Context) -> dict[str, Any] | None:
        """Do one command in a scope of names."""
        if self.closed:
            raise SessionClosedError("the session was closed")
        if self.haste is not None:
            self.haste.before(command, context.names.get, lambda run: self._run_seconds(run, context))
        return self._handlers[type(command)](command, context)

    def _run_seconds(self, command: Run, context: Context) -> float:
        """How long a run is expected to take; for ever where that is not known."""
        bound = [(hole, context.names.get(reference)) for hole, reference in command.inputs.items()]
        known = [(hole, tensor) for hole, tensor in bound if tensor is not None and tensor.node is None and tensor.base is None]
        if command.times not in (None, 1) or command.each or command.collect or len(known) < len(bound):
            return float("inf")
        return self._run_times.expected(RunTimes.key(command.program, known, command.outputs))

    def _create(self, command: Create, context: Context) -> None:
        given = [f for f in ("data", "base64", "buffer") if getattr(command, f) not in (ABSENT, None)]
        if command.data is None:
            given.append("data")
        if len(given) != 1:
            raise ArgumentValueError("create needs exactly one of data, base64 and buffer")
        is_data_set = is_content_name(command.id)
        if is_data_set and command.requires_grad:
            raise ArgumentValueError("a data set stays as it is; requires_grad can be set of what `detach` gives of it")
        self._require_free([command.id], context, data_set=is_data_set)
        dtype = None if command.dtype is None else as_dtype(command.dtype)
        if command.base64 is not None:
            if dtype is None or command.shape is None:
                raise ArgumentValueError("create with base64 needs dtype and shape")
            self.quota.admit("the tensor", [len(command.base64) * 3 // 4])
            array = codec.from_base64(command.base64, dtype, command.shape)
        elif command.buffer is not None:
            found = context.buffers.get(command.buffer)
            if found is None:
                raise ArgumentValueError("the request carries no buffer of that name")
            array = found if dtype is None else found.astype(dtype.numpy, copy=False)
            self.quota.admit("the tensor", [array.nbytes])
        else:
            array = codec.array_from_json(command.data, dtype, max_elements=self.limits.max_json_elements)
            self.quota.admit("the tensor", [array.nbytes])
        if command.shape is not None and array.shape != command.shape:
            raise ShapeError(f"the data has shape {list(array.shape)}, 'shape' says {list(command.shape)}")
        if is_data_set:
            if content_name(array) != command.id:
                raise ArgumentValueError("the name says that the data set holds something else; see telegrad.contract.datasets")
            array.setflags(write=False)
        with _inference(command.inference):
            tensor = self.engine.wrap(array)
            if command.requires_grad:
                tensor.requires_grad = True
        context.names[command.id] = tensor

    def _apply(self, command: Apply, context: Context) -> dict[str, Any]:
        op, in_place = compositions.look_up(command.op)
        inputs = tuple([self.resolve(v, context) if type(v) is str else v for v in command.inputs])
        if op.required_inputs <= len(inputs) < len(op.inputs) and not op.inputs[-1].variadic:
            inputs += (None,) * (len(op.inputs) - len(inputs))  # absent optional tensors need not be written out
        call = self.quota.foresee(self.engine, op, inputs, command.parameters, in_place=in_place)
        if self.haste is not None:
            self.haste.op(call, op.name in compositions.COMPOSITIONS)
        count = None if call.types is None else 1 if in_place else len(call.types)
        wanted = command.outputs
        if wanted is not None:
            self._require_free(wanted, context)
            if count is not None and len(wanted) > count:
                raise ArgumentValueError(f"{command.op} has {count} output(s), {len(wanted)} names were given")
        elif not in_place:
            self._require_room(1 if count is None else count)
        recorder = context.recorder
        entry: Any = None if recorder is None else recorder.entry(ENTRIES.get(op.name), inputs, call)
        token = modes.set_mode(command.grad_enabled)
        try:
            with _within(command.scope), _inference(command.inference):
                if op.name in compositions.COMPOSITIONS:
                    made: Any = compositions.run(op.name, self.engine, inputs, command.parameters)
                elif in_place:
                    made = apply_in_place(self.engine, op.name, inputs, dict(command.parameters), entry=entry)
                else:
                    full = {**op.defaults, **command.parameters}
                    made = compute(self.engine, entry or ENTRIES[op.name], inputs, full, call)
        finally:
            modes.reset_mode(token)
        outputs = made if isinstance(made, tuple) else (made,)
        if entry is not None:
            entry.finish(outputs, in_place)
        if wanted is None:
            wanted = () if in_place or compositions.writes(op.name) else tuple(self.new_name(context) for _ in outputs)
        for name, tensor in zip(wanted, outputs, strict=False):
            if name is not None:
                context.names[name] = tensor
        return {"outputs": wanted}

    def _backward(self, command: Backward, context: Context) -> None:
        with self._callbacks(command, context) as callbacks:
            added = autograd.backward(
                self._many(command.tensors, context),
                self._optional_many(command.grad_tensors, context),
                retain_graph=command.retain_graph,
                create_graph=command.create_graph,
                inputs=None if command.inputs is None else self._many(command.inputs, context),
                hooks=callbacks.hooks,
                anomaly=command.anomaly,
            )
            self.quota.hold(added, command.create_graph)

    def _callbacks(self, command: Backward | Grad, context: Context, results: Sequence[str | None] = ()) -> CallbackRun:
        """The callbacks of a command. Raises for what can be refused before anything is done."""
        inner = list(inner_commands(command))
        if len(inner) > self.limits.max_commands:
            raise refuse(
                "the callbacks", len(inner), self.limits.max_commands, "max_commands", unit="commands", hint="do less in hooks"
            )
        made = [*names_bound(command.callbacks), *[name for c in inner for name in names_made(c)]]
        if command.callbacks:
            self._require_free([*results, *made], context)
        return CallbackRun(
            command.callbacks,
            context.names,
            made,
            lambda reference: self.resolve(reference, context),
            lambda inner: self.do(inner, context),
            lambda nbytes: self.quota.hold(nbytes, False),
        )

    def _grad(self, command: Grad, context: Context) -> dict[str, Any]:
        wanted = command.results
        if wanted is None:
            wanted = tuple(self.new_name(context) for _ in command.inputs)
        if len(wanted) > len(command.inputs):
            raise ArgumentValueError(f"grad has {len(command.inputs)} result(s), {len(wanted)} names were given")
        self._require_free(wanted, context)
        found: Sequence[Tensor | None] = (None,) * len(command.inputs)
        if command.is_grads_batched:
            self._admit_vectors(command, context)
        with self._callbacks(command, context, wanted) as callbacks:
            found = autograd.grad(
                self._many(command.outputs, context),
                self._many(command.inputs, context),
                self._optional_many(command.grad_outputs, context),
                retain_graph=command.retain_graph,
                create_graph=command.create_graph,
                allow_unused=command.allow_unused,
                is_grads_batched=command.is_grads_batched,
                materialize_grads=command.materialize_grads,
                hooks=callbacks.hooks,
                anomaly=command.anomaly,
            )
        names: list[str | None] = []
        for name, tensor in zip(wanted, found, strict=False):
            if name is not None and tensor is not None:
                context.names[name] = tensor
            names.append(name if tensor is not None else None)
        self.quota.hold(sum(t.array.nbytes for t in found if t is not None), command.create_graph)
        return {"present": [t is not None for t in found], "results": names}

    def _admit_vectors(self, command: Grad, context: Context) -> None:
        """Foresee what many vectors at once need: a gradient of every value on the way, as often as there are vectors."""
        vectors = [v for v in self._optional_many(command.grad_outputs, context) or () if v is not None]
        count = max((v.array.shape[0] for v in vectors if v.array.ndim), default=0)
        sizes = [count * x.array.size * x.array.itemsize for x in self._many(command.inputs, context)]
        scratch = count * autograd.largest_on_the_way(self._many(command.outputs, context))
        self.quota.admit("grad with is_grads_batched", sizes, scratch=scratch)

    def _attach(self, command: Attach, context: Context) -> None:
        inputs = self._many(command.inputs, context)
        outputs = [None if r is None else self.resolve(r, context) for r in command.outputs]
        flows = [t is not None and i not in command.constants for i, t in enumerate(outputs)]
        made = [t for t, flow in zip(outputs, flows, strict=True) if t is not None and flow]
        if not made or any(i >= len(outputs) for i in command.constants):
            raise ArgumentValueError("attach needs an output with a gradient, and 'constants' names outputs by position")
        if not any(t.requires_grad for t in inputs):
            raise AutogradError("attach needs an input that requires grad")
        if len({id(t) for t in made}) < len(made) or any(t.requires_grad or t is x for t in made for x in inputs):
            raise AutogradError("the outputs of attach must be different tensors that require no grad and are no inputs")
        if any(not t.dtype.is_differentiable for t in made):
            raise AutogradError("the outputs of attach must be floating point or complex, but for those in 'constants'")
        backward = custom.Deferred(command.name, [spec_of(x) for x in inputs], command.materialize, command.saves)
        token = modes.set_mode(False)
        try:
            with _within(command.scope):
                custom.attach(self.engine, backward, inputs, outputs, flows, [False] * len(outputs), ())
        finally:
            modes.reset_mode(token)
        self.quota.hold(0, True)

    def _set(self, command: Set, context: Context) -> None:
        tensor = self.resolve(command.tensor, context)
        if command.name is not None:
            self._require_free([command.name], context)
        if command.changes and not tensor.array.flags.writeable and self._is_data_set(tensor):
            raise AutogradError("a data set stays as it is; `detach` gives a tensor of its own with the same memory")
        gradient: Any = ABSENT
        if command.grad is None:
            gradient = None
        elif isinstance(command.grad, str):
            gradient = self.resolve(command.grad, context)
        if command.retain_grad is False:
            raise ArgumentValueError("retain_grad can only be switched on")
        if command.detach is False:
            raise ArgumentValueError("detach can only be asked for: a tensor does not get its history back")
        if command.data is not None or command.detach:
            self._set_memory_or_history(command, tensor, context)
            return
        # The steps that can be refused come first; each refuses before it changes anything.
        before = tensor.tracks
        if command.requires_grad is not None:
            tensor.requires_grad = command.requires_grad
        try:
            if gradient is not ABSENT:
                tensor.grad = gradient
            if command.retain_grad:
                tensor.retain_grad()
        except TelegradError:
            tensor.tracks = before
            raise
        if command.name is not None:
            context.names[command.name] = tensor

    def _set_memory_or_history(self, command: Set, tensor: Any, context: Context) -> None:
        """``data`` and ``detach`` change so much that each is a command of its own, as each is a statement in a script."""
        if command != Set(command.tensor, data=command.data, detach=command.detach) or (command.data and command.detach):
            raise ArgumentValueError("data and detach are set alone; send what else is to be set as commands of their own")
        if command.data is not None:
            tensor.data = self.resolve(command.data, context)
        else:
            tensor.detach_()

    def _read(self, command: Read, context: Context) -> dict[str, Any]:
        tensor = self.reference(command.tensor, context)
        if tensor is None:
            return {"tensor": None}
        self._answer(_DESCRIPTION_BYTES)
        found = self.encoded(command, tensor.array, context.out, context.settled)
        return {"tensor": describe(command.tensor, tensor), **found}

    def encoded(
        self, command: Read, array: np.ndarray[Any, Any], out: dict[str, np.ndarray[Any, Any]], settled: bool = False
    ) -> dict[str, Any]:
        """The values of an array as a read asks for them; ``settled``: nobody will write into it. Raises LimitError and others."""
        if command.what == "description":
            if command.index is not None:
                raise ArgumentValueError("a description is of the whole tensor: leave out the index")
            return {}
        result: dict[str, Any] = {}
        if command.index is not None:
            array = _part(array, command.index)
            result["shape"] = list(array.shape)
        if command.encoding == "json":
            if array.size > self.limits.max_json_elements:
                raise refuse(
                    "the answer",
                    array.size,
                    self.limits.max_json_elements,
                    "max_json_elements",
                    unit="numbers",
                    hint="read it as base64, raw bytes, .npy or safetensors",
                )
            self._answer(_JSON_NUMBER_BYTES * array.size)
            result["data"] = codec.array_to_json(array)
        elif command.encoding == "base64":
            self._answer(2 * array.nbytes)
            result["base64"] = codec.to_base64(array)
        else:
            self._answer(array.nbytes)
            name = str(len(out))
            # A later command of the batch may write into the tensor: the answer must show it as it is now.
            out[name] = array if settled else array.copy()
            result["buffer"] = name
        return result

    def _answer(self, nbytes: int) -> None:
        """Refuse what would make the answer too large; otherwise count it."""
        total = self.answer_bytes + nbytes
        if total > self.limits.max_answer_bytes:
            raise refuse("the answer", total, self.limits.max_answer_bytes, "max_answer_bytes", hint="read less at once, or slices")
        self.answer_bytes = total

    def _release(self, command: Release, context: Context) -> None:
        missing = [name for name in command.tensors if name not in context.names]
        if missing:
            raise NotFoundError(f"{len(missing)} of the {len(command.tensors)} names are no tensors of this session")
        for name in command.tensors:
            context.names.pop(name, None)

    def _seed(self, command: Seed, _context: Context) -> None:
        self.engine.seed(command.seed)

    def _run(self, command: Run, context: Context) -> dict[str, Any]:
        """Run a program; what is wrong with the command is refused before the first run."""
        program = self.program(command.program)
        given = {*command.inputs, *command.each}
        if given != set(program.inputs) or len(given) < len(command.inputs) + len(command.each):
            raise ArgumentValueError(
                f"the program's inputs are: {', '.join(program.inputs) or 'none'}; each is to be in one of inputs and each"
            )
        wanted = list(dict.fromkeys([*command.outputs, *command.collect]))
        if any(reference.removesuffix(GRAD_SUFFIX) not in program.names for reference in wanted):
            raise ArgumentValueError("outputs and collect: a reference is no name that the program has at its end")
        self._require_free([*command.outputs.values(), *command.collect.values()], context)
        bound = {hole: self.resolve(reference, context) for hole, reference in command.inputs.items()}
        each = {hole: self.resolve(reference, context) for hole, reference in command.each.items()}
        times = runs.count_of(command.times, each, self.limits)
        collecting = self.collect(program, list(command.collect), times, bound, each)
        pace = runs.Pace(self.watch, times, command.seconds, self.limits)
        haste, self.haste = self.haste, None  # it was judged as a whole
        begun = time.perf_counter()
        try:
            ran = self.run_many(program, bound, each, collecting, pace, list(command.outputs), out=context.out)
            self._run_times.took(
                RunTimes.key(program.id, bound.items(), command.outputs), (time.perf_counter() - begun) / max(times, 1)
            )
        finally:
            self.haste = haste
            stacked = collecting.stacked()
            context.names.update({name: stacked[reference] for reference, name in command.collect.items() if reference in stacked})
        context.names.update({name: ran.names[reference] for reference, name in command.outputs.items()})
        return {"runs": times, "results": ran.results}

    def collect(
        self, program: Program, wanted: Sequence[str], times: int, bound: Mapping[str, Tensor], each: Mapping[str, Tensor]
    ) -> runs.Collecting:
        """New tensors for the values of references inside a program in so many runs. Raises LimitError where they would be too
        large, if their shapes can be foreseen.
        """
        specs: runs.Specs = {}
        if wanted:
            given = {hole: spec_of(tensor) for hole, tensor in bound.items()}
            given |= {hole: Spec(tensor.array.shape[1:], spec_of(tensor).dtype) for hole, tensor in each.items()}
            specs = runs.foreseen(program.commands, given, self.limits)
        return runs.Collecting(wanted, times, specs, self.engine, lambda sizes: self.quota.admit("collect", sizes))

    def run_many(
        self,
        program: Program,
        bound: Mapping[str, Tensor],
        each: Mapping[str, Tensor],
        collecting: runs.Collecting,
        pace: runs.Pace,
        outputs: Sequence[str],
        out: dict[str, np.ndarray[Any, Any]] | None = None,
    ) -> Ran:
        """Run a program many times on tensors, stored in the session or not.

        Args:
            program: what to run.
            bound: a tensor of this session's engine for each of the program's inputs that is the same in every run.
            each: for each other input, the tensor whose rows it is.
            collecting: takes values of all runs, as many as ``collect`` foresaw.
            pace: is asked before each run, and told how far it is.
            outputs: see ``run_bound``; of the last run.
            out: see ``run_bound``.

        Raises:
            TelegradError: with ``run`` and ``times`` in its ``extra``: so many runs stand, and have their values in ``collecting``.
        """
        wanted = list(dict.fromkeys([*outputs, *collecting.wanted]))
        results: list[list[dict[str, Any]]] = []
        last: dict[str, Tensor] = {}
        self._collecting = collecting
        try:
            for run in range(collecting.times):
                pace.before(run, collecting.latest)
                rows = {hole: apply(self.engine, "select", (tensor,), {"dim": 0, "index": run}) for hole, tensor in each.items()}
                last = {}  # the graphs of one run are gone before those of the next are made
                self._answer(_RUN_BYTES)
                ran = self.run_bound(program, {**bound, **rows}, wanted, out=out)
                results += ran.results
                collecting.add(ran.names)
                last = {name: ran.names[name] for name in outputs}
                del ran
        except TelegradError as error:
            error.extra.update(run=collecting.done, times=collecting.times)
            raise
        finally:
            self._collecting = None
        return Ran(last, results)

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

    def _many(self, references: Sequence[str], context: Context) -> list[Tensor]:
        return [self.resolve(r, context) for r in references]

    def _optional_many(self, references: Sequence[str | None] | None, context: Context) -> list[Tensor | None] | None:
        if references is None:
            return None
        return [None if r is None else self.resolve(r, context) for r in references]

    def _is_data_set(self, tensor: Tensor) -> bool:
        return any(found is tensor for name, found in self.names.items() if is_content_name(name))

    def _require_free(self, names: Any, context: Context, *, data_set: bool = False) -> None:
        wanted = [n for n in names if n is not None]
        if not data_set and any(is_content_name(n) for n in wanted):
            raise ArgumentValueError("names that are hashes are those of data sets, which only `create` gives")
        if len(set(wanted)) != len(wanted):
            raise ConflictError("the same name is given twice")
        if any(n in context.names for n in wanted):
            raise ConflictError("a tensor of that name exists already; release it first, or choose another name")
        self._require_room(len(wanted))

    def _require_room(self, names: int) -> None:
        if len(self.names) + names > self.limits.max_tensors:
            raise refuse(
                "the session",
                len(self.names) + names,
                self.limits.max_tensors,
                "max_tensors",
                unit="tensors",
                hint="release tensors that are no longer needed",
            )

    def new_name(self, context: Context | None = None) -> str:
        """A name that no tensor has: ``t1``, ``t2``, ..."""
        taken = self.names if context is None else context.names
        while True:
            self._auto += 1
            name = f"t{self._auto}"
            if name not in taken:
                return name

    def _alive(self) -> list[Tensor]:
        """Every tensor that has a name, in the session or in the program that runs."""
        stacks = () if self._collecting is None else self._collecting.tensors
        return [*self.names.values(), *self.local.values(), *stacks]

    # Descriptions ------------------------------------------------------------------------------------------------------------

    def find(self, reference: str) -> Tensor | None:
        """The tensor of a reference; None for ``x.grad`` of a tensor without gradient. Raises NotFoundError."""
        return self.reference(reference, Context(self.names, {}, {}))

    def describe(self, reference: str) -> dict[str, Any]:
        """What is known of a tensor without its values. Raises NotFoundError."""
        return describe(reference, self.resolve(reference, Context(self.names, {}, {})))

    def list(self, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Descriptions of up to ``limit`` tensors in order of names, from after ``after``, and the cursor of the next page."""
        names = sorted(self.names) if after is None else sorted(n for n in self.names if n > after)
        page = names[:limit]
        return [describe(n, self.names[n]) for n in page], page[-1] if len(names) > limit else None

    def summary(self) -> dict[str, Any]:
        """Identity and exact usage of the session."""
        held = usage.count(self._alive())
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
        self.compiled.plans.forget(program_id)

    def close(self) -> None:
        """Free everything."""
        self.closed = True
        self.names.clear()
        self.programs.clear()
        self.compiled.plans.clear()


def _part(array: np.ndarray[Any, Any], index: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """The part that an index selects, in the same memory. Raises what indexing a tensor raises."""
    if any(isinstance(item, (bool, TensorSlot)) for item in index):
        raise ArgumentValueError(
            "a read selects by integers, slices, null and '...'; for masks and tensors apply getitem and read its result"
        )
    part: np.ndarray[Any, Any] = array[(*indexing.resolve(array.shape, index, ()).basic, ...)]
    return part


def describe(name: str, tensor: Tensor) -> dict[str, Any]:
    """What is known of a tensor without its values."""
    node = tensor.current_node()
    return {
        "id": name,
        "shape": list(tensor.array.shape),
        "dtype": from_numpy(tensor.array.dtype).name,
        "requires_grad": tensor.requires_grad,
        "is_leaf": node is None,
        "grad_fn": None if node is None else node.name(),
        "has_grad": tensor.kept_gradient is not None,
        "retains_grad": tensor.retains_grad,
        "version": None if tensor.is_inference() else tensor._version,
        "is_inference": tensor.is_inference(),
        "nbytes": tensor.array.nbytes,
    }


__all__ = ["BatchAnswer", "Context", "Ran", "Session", "describe"]
