"""What each command means to the recording of a run, besides the array operations that the engine does for it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from telegrad.contract.commands import ABSENT, Apply, Attach, Backward, Command, Create, Grad, Read, Seed, Set
from telegrad_service.compiler.effects import Act
from telegrad_service.compiler.plan import State
from telegrad_service.compiler.recorder import Recorder
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.values import encoded


def refuse_before(recorder: Recorder, command: Command) -> None:
    """End the recording before a command that is left to the interpreter."""
    if isinstance(command, Attach):
        recorder.fail("a custom function")
    elif isinstance(command, Seed) and command.seed is None:
        recorder.fail("the state of random numbers")
    elif isinstance(command, Apply) and command.outputs is None and not command.op.endswith("_"):
        recorder.fail("results without names")
    elif isinstance(command, (Backward, Grad)) and (command.callbacks or command.anomaly is not None):
        recorder.fail("hooks, or anomaly mode")
    elif isinstance(command, Grad) and (command.is_grads_batched or command.bounded or command.results is None):
        recorder.fail("gradients of many vectors, bounded ones, or without names")


def note(
    recorder: Recorder,
    command: Command,
    names: MutableMapping[str, Tensor],
    find: Callable[[str], Tensor | None],
    result: dict[str, Any] | None,
    index: int,
) -> None:
    """Record what a command did.

    Args:
        recorder: the recording.
        command: done without an error.
        names: of the run, as they are after it.
        find: the tensor of a reference.
        result: its answer.
        index: its position in the program.
    """
    if not recorder.failed:
        if isinstance(command, Create):
            recorder.created(names[command.id].array)
        elif isinstance(command, Grad):
            _note_gradients(recorder, command, names)
            recorder.effect(Act(_answer({"index": index, **(result or {})})))
        elif isinstance(command, Set):
            tensor = find(command.tensor)
            if tensor is not None and command.grad is not ABSENT:
                recorder.gradient_set(tensor)
        elif isinstance(command, Seed) and command.seed is not None:
            recorder.effect(Act(_seed(command.seed)))
        elif isinstance(command, Read):
            _note_read(recorder, command, find(command.tensor), result or {}, index)
        recorder.command_done()


def _note_gradients(recorder: Recorder, command: Grad, names: MutableMapping[str, Tensor]) -> None:
    for position, name in enumerate(command.results or ()):
        tensor = None if name is None else names.get(name)
        if tensor is None or recorder.knows(tensor.array):
            continue
        if position in recorder.walked:
            recorder.copy(recorder.walked[position], tensor.array)
        else:
            recorder.created(tensor.array)  # zeros for what was not reached


def _answer(answer: dict[str, Any]) -> Callable[[State], None]:
    def do(state: State) -> None:
        state.answers.append(dict(answer))

    return do


def _seed(seed: int) -> Callable[[State], None]:
    def do(state: State) -> None:
        state.home.seed(seed)

    return do


def _note_read(recorder: Recorder, command: Read, tensor: Tensor | None, result: dict[str, Any], index: int) -> None:
    if tensor is None:
        recorder.effect(Act(_answer({"index": index, **result})))
        return
    static: dict[str, Any] = dict(result["tensor"])

    def do(state: State, given: Tensor | None, array: Any) -> None:
        described = static if given is None else {**static, "version": given._version}
        state.answers.append({"index": index, "tensor": dict(described), **encoded(state.session, command, array, state.out)})

    recorder.effect(Act(do, (recorder.value(tensor.array),), recorder.counter_of(tensor), takes_symbol=True))
