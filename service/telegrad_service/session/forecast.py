"""What commands will need, before any of them is done: a batch, or a program, that cannot fit is refused whole.

The commands are gone through on stand-ins that have shapes and types, and no memory. The rules of ops say what each makes and needs
meanwhile, the plans of their derivatives what a graph keeps of it; references between the stand-ins are those that the tensors will
have, so that what is released, or freed by a walk, is free here too. What depends on values is unknown and counts as nothing: a
forecast never refuses what would have fitted, and what it lets through is admitted command by command as ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from telegrad.contract import compositions
from telegrad.contract.commands import Apply, Attach, Backward, Command, Create, Grad, Read, Release, Resume, Run, Set
from telegrad.contract.dtypes import as_dtype
from telegrad.contract.errors import LimitError, TelegradError
from telegrad.contract.limits import refuse
from telegrad.contract.ops import Op, Outcome
from telegrad_service.engine.calls import foresee
from telegrad_service.engine.graph import Node
from telegrad_service.engine.table import ENTRIES
from telegrad_service.session.arithmetic import flops_of
from telegrad_service.session.context import GRAD_SUFFIX, Context
from telegrad_service.session.holdings import Holdings, Unforeseen
from telegrad_service.session.runs import count_of
from telegrad_service.session.standins import Memory, StandIn, Step, literal, shown

if TYPE_CHECKING:
    from telegrad_service.session.session import Session


class Forecast(Holdings):
    """One batch, or one run of a program.

    Attributes:
        flops: arithmetic of all commands.
        answer_bytes: that the answer takes while it is made.
        is_whole: whether all commands were foreseen.
    """

    def __init__(self, session: Session, context: Context) -> None:
        """Begin where the session is."""
        super().__init__(session, context.names)
        self.flops = self.answer_bytes = 0
        self.is_whole = False
        self._buffers = context.buffers

    # Going through -----------------------------------------------------------------------------------------------------------

    def through(self, commands: Sequence[Command], enough: Callable[[], bool] | None = None) -> int:
        """Foresee commands in order, up to the first that cannot be foreseen, or after which ``enough`` says so; which it is.

        Raises LimitError for what cannot fit.
        """
        try:
            for self._index, command in enumerate(commands):
                self._what = command.command
                found = _FORESEERS.get(type(command))
                if found is not None:
                    found(self, command)
                if enough is not None and enough():
                    return self._index
            self.is_whole = True
        except (Unforeseen, OverflowError):
            return self._index
        except LimitError as error:
            error.extra.update(applied=0, failed=self._index)
            raise
        except TelegradError:
            return self._index  # the command will say so
        finally:
            self._names.clear()  # what stands for memory refers to this object: no cycle is left
            self._known.clear()
        return self._index

    # Commands ----------------------------------------------------------------------------------------------------------------

    def create(self, command: Create) -> None:
        """See ``values.create``."""
        if command.buffer is not None:
            array = self._buffers.get(command.buffer)
            if array is None:
                raise Unforeseen
            dtype = None if command.dtype is None else as_dtype(command.dtype)
            made = self._new(array.shape, dtype or as_dtype(array.dtype.name))
        elif command.base64 is not None:
            if command.dtype is None or command.shape is None:
                raise Unforeseen
            made = self._new(command.shape, as_dtype(command.dtype))
        else:
            shape, kind = literal(command.data)
            if math.prod(shape) > self._limits.max_json_elements:
                raise Unforeseen  # it says so itself
            made = self._new(shape, as_dtype(command.dtype or kind))
        made.tracks = command.requires_grad
        self._give(command.id, made)

    def apply(self, command: Apply) -> None:
        """See ``operations.apply_op``."""
        self._what = command.op
        op, in_place = compositions.look_up(command.op)
        inputs: list[Any] = [self._find(v) if type(v) is str else v for v in command.inputs]
        if op.required_inputs <= len(inputs) < len(op.inputs) and not op.inputs[-1].variadic:
            inputs += [None] * (len(op.inputs) - len(inputs))
        seen = tuple([x.shown if type(x) is StandIn else x for x in inputs])
        if any(type(x) is StandIn and x.shown is None for x in inputs):
            self._unknown(command, in_place)
            return
        call = foresee(self._home, op, seen, command.parameters)
        outcome = call.outcome
        if outcome is None:
            self._unknown(command, in_place)
            return
        if outcome.flops > self._limits.max_command_flops:
            raise refuse(self._subject(), outcome.flops, self._limits.max_command_flops, "max_command_flops", unit="operations")
        self.flops += outcome.flops
        self._check(outcome.scratch_bytes)
        first = inputs[0] if inputs and type(inputs[0]) is StandIn else None
        if in_place or (op.name in compositions.COMPOSITIONS and compositions.writes(op.name)):
            outputs = [] if first is None else [first]
        elif op.view and first is not None:
            outputs = [StandIn(shown(self._home, o.shape, o.dtype), first.memory) for o in outcome.outputs]
        else:
            outputs = [self._new(o.shape, o.dtype) for o in outcome.outputs]
        if command.grad_enabled and not command.inference:
            self._record(op, inputs, outputs, call.flows, outcome, kept=command.pack is None)
        self._check(0)
        self._name(command, outputs, in_place)

    def _record(
        self, op: Op, inputs: Sequence[Any], outputs: Sequence[StandIn], flows: Sequence[bool], outcome: Outcome, *, kept: bool
    ) -> None:
        """The node, and what it keeps, if that is kept here."""
        mask = sum(1 << i for i, (x, flow) in enumerate(zip(inputs, flows, strict=True)) if flow and x.tracks)
        made = [o for o in outputs if o.shown is not None and o.shown.array.dtype.kind in "fc"]
        if not mask or not made:
            return
        edges = tuple([x.step or x for i, x in enumerate(inputs) if mask >> i & 1])
        step = Step(self, edges, sum(o.nbytes for o in made), outcome.flops, max(outcome.nodes, 1))
        if kept and op.name in compositions.COMPOSITIONS:
            step.saved = (Memory(self, outcome.kept_bytes),)
        elif kept:
            try:
                plan = ENTRIES[op.name].plan(mask, len(inputs))
            except LookupError:
                raise Unforeseen from None
            saved = [inputs[i].memory for i in plan.saved_inputs if type(inputs[i]) is StandIn]
            saved += [outputs[i].memory for i in plan.saved_outputs if i < len(outputs)]
            step.saved = tuple([m for m in saved if m is not None])
        for output in made:
            output.step, output.tracks = step, True

    def _name(self, command: Apply, outputs: Sequence[StandIn], in_place: bool) -> None:
        wanted = command.outputs
        if wanted is None:
            if not in_place and not compositions.writes(command.op):
                for number, output in enumerate(outputs):
                    self._give(f"\0{self._index}.{number}", output)  # a name that the server picks
            return
        for name, output in zip(wanted, outputs, strict=False):
            self._give(name, output)

    def _unknown(self, command: Apply, in_place: bool) -> None:
        """Something depends on values: its results have no shape here."""
        names = command.outputs or ()
        if in_place and command.inputs and isinstance(command.inputs[0], str):
            found = self._find(command.inputs[0])
            for name in names:
                self._give(name, found)
            return
        for name in names:
            self._give(name, StandIn(None))

    def backward(self, command: Backward) -> None:
        """See ``gradients.backward``."""
        leaves, largest = self._walk([self._find(r) for r in command.tensors], retain=_retains(command))
        if command.inputs is not None:
            leaves = [self._find(r) for r in command.inputs]
        self._check(largest)
        for leaf in leaves:
            if leaf.gradient is None and leaf.shown is not None:
                leaf.gradient = self._new(leaf.shown.array.shape, leaf.shown.dtype)
        if command.callbacks:
            raise Unforeseen  # they may do anything

    def grad(self, command: Grad) -> None:
        """See ``gradients.grad``."""
        inputs = [self._find(r) for r in command.inputs]
        roots = [self._find(r) for r in command.outputs]
        _, largest = self._walk(roots, retain=_retains(command))
        vectors: tuple[int, ...] = ()
        if command.is_grads_batched:
            given = [self._find(r) for r in command.grad_outputs or () if r is not None]
            shapes = [v.shown.shape for v in given if v.shown is not None and v.shown.shape]
            if not shapes:
                raise Unforeseen
            vectors = shapes[0][:1]
        before = self.nbytes
        wanted: Sequence[str | None] = command.results or [f"\0{self._index}.{i}" for i in range(len(inputs))]
        for name, value in zip(wanted, inputs, strict=False):
            if value.shown is None:
                self._give(name, StandIn(None))
            else:
                self._give(name, self._new((*vectors, *value.shown.shape), value.shown.dtype))
        self._check(max(0, largest * math.prod(vectors) - (self.nbytes - before)))
        if command.callbacks or command.create_graph:
            raise Unforeseen

    def resume(self, _command: Resume) -> None:
        """See ``gradients.resume``: what is left of a walk is not known here."""
        raise Unforeseen

    def _walk(self, roots: Sequence[StandIn], *, retain: bool) -> tuple[list[StandIn], int]:
        """Leaves that a walk reaches, and the bytes of the largest gradient on its way. What it frees is free from now on."""
        leaves: dict[int, StandIn] = {}
        seen: set[int] = set()
        largest = 0
        todo: list[Any] = [root.step or root for root in roots]
        while todo:
            at = todo.pop()
            if id(at) in seen:
                continue
            seen.add(id(at))
            if type(at) is StandIn:
                node = None if at.shown is None else at.shown.node
                largest = max(largest, at.nbytes)
                if node is not None:
                    todo.append(node)
                elif at.tracks and at.shown is not None and at.shown.base is not None:
                    raise Unforeseen  # a view whose history is made when it is asked for
                elif at.tracks:
                    leaves[id(at)] = at
            elif type(at) is Step:
                largest = max(largest, at.result_bytes)
                self.flops += 2 * at.flops
                todo += at.edges
                if not retain:
                    at.saved = None
            elif isinstance(at, Node):
                self._walked = self._walked or not retain
                if self._is_light:
                    continue
                size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in at.layouts)
                largest = max(largest, size)
                self.flops += 2 * flops_of(at, self._home)
                todo += at.edges
            else:  # a leaf of a graph that is there
                todo.append(self._of(at))
        return list(leaves.values()), largest

    def set_(self, command: Set) -> None:
        """See ``values.set_``."""
        value = self._find(command.tensor)
        if command.requires_grad is not None and value.step is None:
            value.tracks = command.requires_grad
        if command.grad is None:
            self._gave_up = self._gave_up or (value.gradient is not None and value.gradient.memory is None)
            value.gradient = None
        elif isinstance(command.grad, str):
            value.gradient = self._find(command.grad)
        if command.data is not None:
            other = self._find(command.data)
            value.shown, value.memory, self._gave_up = other.shown, other.memory, True
        if command.detach:
            value.step, value.tracks, self._gave_up = None, False, True
        self._give(command.name, value)

    def read(self, command: Read) -> None:
        """See ``values.read``: what the answers take together."""
        if command.what != "value" or command.index is not None:
            return
        if command.tensor.endswith(GRAD_SUFFIX) and self._look(command.tensor) is None:
            owner = self._look(command.tensor[: -len(GRAD_SUFFIX)])
            if owner is None or owner.gradient is None:
                return
        value = self._find(command.tensor)
        if value.shown is not None and command.encoding != "json":
            self.answer_bytes += value.nbytes
            if self.answer_bytes > self._limits.max_answer_bytes:
                raise refuse(
                    "the answer", self.answer_bytes, self._limits.max_answer_bytes, "max_answer_bytes", hint="read less at once"
                )

    def release(self, command: Release) -> None:
        """See ``values.release``."""
        for name in command.tensors:
            value = self._look(name)
            if value is None:
                raise Unforeseen
            self._gave_up = self._gave_up or value.memory is None
            self._names[name] = None
            self._count -= not self._in_program

    def run(self, command: Run) -> None:
        """See ``running.run``: what one run takes, and what is there after the last."""
        program = self._session.programs.get(command.program)
        if program is None:
            raise Unforeseen
        each = {hole: self._find(r) for hole, r in command.each.items()}
        rows = {hole: value.shown for hole, value in each.items() if value.shown is not None}
        if len(rows) < len(each):
            raise Unforeseen
        times = count_of(command.times, rows, self._limits)
        inside: dict[str, StandIn | None] = {hole: self._find(r) for hole, r in command.inputs.items()}
        for hole, tensor in rows.items():
            # A view of what requires gradients requires them in either mode.
            whole = each[hole]
            inside[hole] = StandIn(shown(self._home, tensor.shape[1:], tensor.dtype), whole.memory, tracks=whole.tracks)
        outer = self._names, self._real, self._index, self._in_program
        before = self.flops, self.made
        self._names, self._real, self._in_program = inside, {}, True
        stacks: dict[str, StandIn] = {}
        given: dict[str, StandIn] = {}
        try:
            for self._index, inner in enumerate(program.commands):
                self._what = inner.command
                found = _FORESEERS.get(type(inner))
                if found is not None:
                    found(self, inner)
            for reference in command.collect:
                value = self._find(reference)
                if value.shown is not None:
                    stacks[reference] = self._new((times, *value.shown.shape), value.shown.dtype)
            given = {reference: self._find(reference) for reference in command.outputs}
        except LimitError as error:
            error.extra.update(command=self._index, run=0, times=times)
            raise
        finally:
            self._names, self._real, self._index, self._in_program = outer
        self.flops += (times - 1) * (self.flops - before[0])
        self.made += (times - 1) * (self.made - before[1])
        for reference, name in command.collect.items():
            self._give(name, stacks.get(reference, StandIn(None)))
        for reference, name in command.outputs.items():
            self._give(name, given[reference])

    def attach(self, command: Attach) -> None:
        """See ``gradients.attach``."""
        inputs = [self._find(r) for r in command.inputs]
        outputs = [None if r is None else self._find(r) for r in command.outputs]
        made = [o for i, o in enumerate(outputs) if o is not None and i not in command.constants]
        step = Step(self, tuple([x.step or x for x in inputs if x.tracks]), sum(o.nbytes for o in made), 0)
        for output in made:
            output.step, output.tracks = step, True
        self._check(0)


def _retains(command: Backward | Grad) -> bool:
    return command.create_graph if command.retain_graph is None else command.retain_graph


_FORESEERS: Final[Mapping[type, Any]] = {
    Create: Forecast.create,
    Apply: Forecast.apply,
    Backward: Forecast.backward,
    Grad: Forecast.grad,
    Set: Forecast.set_,
    Read: Forecast.read,
    Release: Forecast.release,
    Run: Forecast.run,
    Attach: Forecast.attach,
    Resume: Forecast.resume,
}
