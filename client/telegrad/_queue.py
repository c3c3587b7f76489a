"""What stands in the queue, how it becomes a request, and which entries a failure takes along."""

from __future__ import annotations

import contextlib
import copy
import linecache
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from telegrad.contract import codec, kinds
from telegrad.contract.command_fields import encode_command
from telegrad.contract.commands import (
    Apply,
    Attach,
    Backward,
    Command,
    Create,
    Grad,
    Read,
    Resume,
    Run,
    Seed,
    Set,
    inner_commands,
    names_made,
)
from telegrad.contract.errors import TelegradError
from telegrad.contract.ops import find

if TYPE_CHECKING:
    from telegrad._recorder import Recorder
    from telegrad._traced import Traced
    from telegrad.contract.tracing import Many

Applied: TypeAlias = "tuple[str, Sequence[Any], dict[str, Any], tuple[str, ...], bool, str | None, CodeType, int]"
"""An op that makes new tensors: op, inputs as on the wire, parameters, output names, grad mode, scope, and the place of the call. A
bare tuple, because making one takes 30 ns and there is one per op."""

GRAD_SUFFIX: Final = ".grad"


def to_raise(kept: TelegradError) -> TelegradError:
    """An error that is kept, as it is raised: what is raised gets the frames that it comes through, and they hold the very handles
    for which it is kept. So what is kept is never raised.
    """
    error = copy.copy(kept)
    error.__cause__ = kept.__cause__
    error.extra = dict(kept.extra)
    if hasattr(kept, "__notes__"):
        error.__notes__ = list(kept.__notes__)
    return error


class Reply:
    """What a read or a grad is answered.

    Attributes:
        result: the server's result; None until it is there.
        array: of a read of values.
        error: raised instead.
    """

    __slots__ = ("array", "error", "result")

    def __init__(self) -> None:
        self.result: dict[str, Any] | None = None
        self.array: codec.Array | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether an answer or an error is there."""
        return self.result is not None or self.error is not None

    def take(self) -> dict[str, Any]:
        """The result. Raises the error that came instead."""
        if self.error is not None:
            raise to_raise(self.error) if isinstance(self.error, TelegradError) else self.error
        if self.result is None:
            raise LookupError("the batch was answered without this read")
        return self.result


class Recorded:
    """Any other entry.

    Attributes:
        command: the command; None for an in-place op, which is ``applied``.
        code, instruction: the place of the call.
        touches: handles and leaves of which nothing is known if the command is not done.
        array: what a create carries.
        reply: where the result goes.
        applied: op, inputs, parameters, no outputs, grad mode (None: inference mode), scope.
        arrays: what creates in callbacks carry, by buffer.
        roots: of a backward in anomaly mode, the histories that it starts at.
        program: what a run runs.
        many: of a run that is followed: how, and by which id it is stopped.
        nbytes: of a read, how long a value is to be expected.
        unasked: nobody has asked for it, and nobody minds where it cannot be done.
    """

    __slots__ = (
        "applied",
        "array",
        "arrays",
        "code",
        "command",
        "instruction",
        "many",
        "nbytes",
        "program",
        "reply",
        "roots",
        "touches",
        "unasked",
    )

    def __init__(
        self,
        command: Command | None,
        code: CodeType,
        instruction: int,
        *,
        touches: tuple[Any, ...] = (),
        array: codec.Array | None = None,
        reply: Reply | None = None,
        applied: tuple[str, Sequence[Any], dict[str, Any], tuple[str, ...], bool | None, str | None] | None = None,
        arrays: Mapping[str, codec.Array] | None = None,
        roots: Sequence[Any] = (),
        program: Traced | None = None,
        many: Many | None = None,
        nbytes: int = 0,
        unasked: bool = False,
    ) -> None:
        self.nbytes = nbytes
        self.unasked = unasked
        self.command = command
        self.code = code
        self.instruction = instruction
        self.touches = touches
        self.array = array
        self.reply = reply
        self.applied = applied
        self.arrays = arrays
        self.roots = roots
        self.program = program
        self.many = many


Entry: TypeAlias = "Applied | Recorded"


def place(entry: Entry) -> str:
    """Where the user recorded it: file, line, function and the line's text."""
    code, instruction = (entry.code, entry.instruction) if isinstance(entry, Recorded) else (entry[6], entry[7])
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    text = linecache.getline(code.co_filename, line).strip()
    where = f"recorded at {code.co_filename}:{line}, in {code.co_name}"
    return f"{where}: {text}" if text else where


# On the wire -----------------------------------------------------------------------------------------------------------------


def encode(entries: Sequence[Entry]) -> tuple[list[dict[str, Any]], dict[str, codec.Array]]:
    """The commands as JSON, and the arrays that travel beside them."""
    commands: list[dict[str, Any]] = []
    arrays: dict[str, codec.Array] = {}
    for entry in entries:
        if not isinstance(entry, Recorded):
            commands.append(_encode_apply(entry[0], entry[1], entry[2], entry[3], entry[4], entry[5]))
        elif entry.command is None:
            commands.append(_encode_apply(*entry.applied))  # type: ignore[misc]  # pyright: ignore[reportOptionalIterable]
        else:
            if entry.array is not None and isinstance(entry.command, Create) and entry.command.buffer is not None:
                arrays[entry.command.buffer] = entry.array
            if entry.arrays:
                arrays.update(entry.arrays)
            commands.append(encode_command(entry.command))
    return commands, arrays


def commands_of(entries: Sequence[Entry]) -> tuple[tuple[Command, ...], dict[str, codec.Array]]:
    """Entries as commands of a callback, and the arrays that these carry."""
    commands: list[Command] = []
    arrays: dict[str, codec.Array] = {}
    for entry in entries:
        command = entry.command if isinstance(entry, Recorded) else None
        if command is None:
            applied = entry.applied if isinstance(entry, Recorded) else entry[:6]
            op, inputs, parameters, outputs, grad, scope = applied  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
            commands.append(Apply(op, tuple(inputs), parameters, outputs or None, bool(grad), scope, grad is None))
            continue
        if isinstance(entry, Recorded):
            if entry.array is not None and isinstance(command, Create) and command.buffer is not None:
                arrays[command.buffer] = entry.array
            arrays.update(entry.arrays or {})
        commands.append(command)
    return tuple(commands), arrays


def _encode_apply(
    op: str, inputs: Sequence[Any], parameters: dict[str, Any], outputs: Sequence[str], grad: bool | None, scope: str | None
) -> dict[str, Any]:
    """What ``encode_command(Apply(...))`` gives, without making the Apply."""
    command: dict[str, Any] = {"command": "apply", "op": op}
    command["inputs"] = [v if v.__class__ is str or v is None else kinds.encode_number(v) for v in inputs]
    if parameters:
        command["parameters"] = kinds.encode_parameters(find_row(op), parameters)
    if outputs:
        command["outputs"] = list(outputs)
    if not grad:
        command["grad_enabled"] = False
        if grad is None:
            command["inference"] = True
    if scope is not None:
        command["scope"] = scope
    return command


def find_row(op: str) -> Any:
    """The row of an op or of its in-place form."""
    return find(op.removesuffix("_"))


def collected(home: Recorder) -> Sequence[str]:
    """The names of collected handles that the server is to release; nothing is known of them here any more."""
    names: list[str] = []
    take = home.released.popleft
    with contextlib.suppress(IndexError):  # another thread may release at the same time
        while True:
            names.append(take())
    for table in (home.roots, home.leaves, home.written):
        if table:
            for name in names:
                table.pop(name, None)
    if home.gradients:
        home.gradients.difference_update(names)
    return forget_unmade(home, names)


def forget_unmade(home: Recorder, names: Sequence[str]) -> Sequence[str]:
    """Of names whose handles are gone, those that tensors have; nothing is known of the others any more."""
    if home.failed or home.unmade:
        unmade = home.unmade.union(home.failed).intersection(names)
        for name in unmade:
            home.failed.pop(name, None)
        home.unmade -= unmade
        names = [name for name in names if name not in unmade]
    return names


# What a failure takes along --------------------------------------------------------------------------------------------------


def outputs_of(entry: Entry) -> Iterable[str]:
    """Names that the entry would have made."""
    if not isinstance(entry, Recorded):
        return entry[3]
    return () if entry.command is None else names_made(entry.command)


def references_of(entry: Entry) -> Iterable[str]:
    """References that the entry needs."""
    if not isinstance(entry, Recorded):
        return [v for v in entry[1] if v.__class__ is str]
    command = entry.command
    if command is None:
        return [v for v in entry.applied[1] if v.__class__ is str] if entry.applied else ()
    return references_of_command(command)


def references_of_command(command: Command) -> Iterable[str]:
    """References that a command needs."""
    if isinstance(command, (Backward, Grad, Resume)) and command.callbacks:
        # What is made on the way is no reference.
        made = set(names_made(command))
        inner = [r for c in inner_commands(command) for r in references_of_command(c)]
        return [*_outer_references(command), *[r for r in inner if r.removesuffix(GRAD_SUFFIX) not in made]]
    return _outer_references(command)


def _outer_references(command: Command) -> Iterable[str]:
    """References that a command needs, apart from its callbacks."""
    if isinstance(command, Apply):
        return [v for v in command.inputs if type(v) is str]
    if isinstance(command, Backward):
        return [*command.tensors, *[v for v in command.grad_tensors or () if v is not None], *(command.inputs or ())]
    if isinstance(command, Grad):
        return [*command.outputs, *command.inputs, *[v for v in command.grad_outputs or () if v is not None]]
    if isinstance(command, Set):
        return [n for n in (command.tensor, command.grad, command.data) if isinstance(n, str)]
    if isinstance(command, Attach):
        return [*command.inputs, *[v for v in command.outputs if v is not None]]
    if isinstance(command, Read):
        return [command.tensor]
    if isinstance(command, Seed):
        return [] if command.state is None else [command.state]
    if isinstance(command, Resume):
        return [command.walk, *[v for v in command.results or () if v is not None]]
    if isinstance(command, Run):
        return [*command.inputs.values(), *command.each.values()]
    return ()


class Taint:
    """What is not as the script meant it, after some command was not done, for what was recorded before anybody could know.

    Outputs of such a command do not exist, for good. What it would have changed in place still exists with its old value, and
    may be used by commands recorded after the error was raised; commands recorded before were meant for the new value and are
    not done either.
    """

    def __init__(self, failed: dict[str, TelegradError], roots: dict[str, str], gradients: set[str]) -> None:
        """Begin.

        Args:
            failed: names that no tensor has, with the first cause; added to.
            roots: from a view's name to the name of the tensor whose memory it shares.
            gradients: names given to accumulated gradients.
        """
        self._failed = failed
        self._roots = roots
        self._gradients = gradients
        self._changed: dict[str, TelegradError] = {}
        self._backward: TelegradError | None = None

    def cause(self, entry: Entry) -> TelegradError | None:
        """The first failure that the entry depends on; None if it can be done."""
        clears = isinstance(entry, Recorded) and isinstance(entry.command, Set) and entry.command.grad is None
        for reference in references_of(entry):
            owner = reference.removesuffix(GRAD_SUFFIX)
            found = self._failed.get(owner) or self._changed.get(self._roots.get(owner, owner))
            if found is None and self._backward is not None and not clears:
                root = self._roots.get(owner, owner)
                if (owner is not reference and owner != reference) or root in self._gradients:
                    found = self._backward
            if found is not None:
                return found
        return None

    def add(self, entry: Entry, error: TelegradError) -> None:
        """The entry was not done because of ``error``."""
        for name in outputs_of(entry):
            self._failed.setdefault(name, error)
        if not isinstance(entry, Recorded):
            return
        if entry.applied is not None:
            target = str(entry.applied[1][0])
            self._changed.setdefault(self._roots.get(target, target), error)
        elif entry.command is not None:
            self._add(entry.command, error)
            if entry.program is not None:
                self._add_run(entry, entry.program, error)

    def _add_run(self, entry: Recorded, program: Traced, error: TelegradError) -> None:
        if program.walks:
            self._backward = self._backward or error
        names = {**entry.command.inputs, **entry.command.each} if isinstance(entry.command, Run) else {}
        for change in program.changes:
            target = names.get(program.holes[change.hole])
            if target is not None:  # else it changes with a view of it, which is an input
                self._changed.setdefault(self._roots.get(target, target), error)

    def _add(self, command: Command, error: TelegradError) -> None:
        for inner in inner_commands(command):
            self._add(inner, error)
        if isinstance(command, Apply) and not command.outputs:  # in place, in a callback
            target = str(command.inputs[0])
            self._changed.setdefault(self._roots.get(target, target), error)
        elif isinstance(command, (Backward, Resume)):
            self._backward = self._backward or error
        elif isinstance(command, Attach):
            for name in command.outputs:
                if name is not None:
                    self._changed.setdefault(self._roots.get(name, name), error)
        elif isinstance(command, Set) and command.changes:
            self._changed.setdefault(self._roots.get(command.tensor, command.tensor), error)
