"""What surrounds the runs of a program: rows for its holes, the values of all runs stacked, how far it is, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from telegrad.contract import checks, codec
from telegrad.contract.commands import Apply, Command, Create, Grad, Set
from telegrad.contract.dtypes import as_dtype, from_numpy
from telegrad.contract.errors import ArgumentValueError, DeadlineError, RunCancelledError, ShapeError, TelegradError
from telegrad.contract.limits import Limits, refuse
from telegrad.contract.ops import Spec, UnknownShape, checked, find
from telegrad_service.engine.tensor import Engine, Tensor, spec_of
from telegrad_service.session.watch import REASONS, News, Watch

NEWS_SECONDS: Final = 0.1
"""Shortest time between two pieces of news: often enough for a bar that moves, rare enough to cost nothing."""

Specs = dict[str, "Spec | None"]


def count_of(times: int | None, each: Mapping[str, Tensor], limits: Limits) -> int:
    """How many runs there will be. Raises ShapeError for rows that do not agree, ArgumentValueError, LimitError."""
    count = _rows_of(each, times) if each else times or 1
    if count > limits.max_run_times:
        raise refuse("the run", count, limits.max_run_times, "max_run_times", unit="runs", hint="run it in several requests")
    return count


def _rows_of(each: Mapping[str, Tensor], times: int | None) -> int:
    rows = {hole: tensor.array.shape[:1] for hole, tensor in each.items()}
    for hole, leading in rows.items():
        if not leading:
            raise ShapeError(f"each: hole '{hole}' is given a 0-d tensor, which has no rows")
    counts = sorted({leading[0] for leading in rows.values()})
    if len(counts) > 1:
        raise ShapeError(f"each: the tensors have different numbers of rows: {', '.join(map(str, counts))}")
    if counts == [0]:
        raise ShapeError("each: the tensors have no rows, so that there is nothing to run")
    if times is not None and times != counts[0]:
        raise ArgumentValueError(f"the tensors of each have {counts[0]:,} rows, times is {times:,}; leave out times")
    return int(counts[0])


class Collecting:
    """New tensors that take the values of all runs, stacked.

    Attributes:
        wanted: references inside the program.
        times: how many runs there are to be.
        done: how many have been.
    """

    def __init__(
        self, wanted: Sequence[str], times: int, specs: Specs, home: Engine, admit: Callable[[Sequence[int]], None]
    ) -> None:
        """Admit and make what can be foreseen; the rest with the first run.

        Args:
            wanted: see there.
            times: see there.
            specs: what is foreseen of the program's tensors.
            home: where the new tensors belong.
            admit: refuses too many bytes.
        """
        self.wanted = wanted
        self.times = times
        self.done = 0
        self._home = home
        self._admit = admit
        self._stacks: dict[str, Tensor] = {}
        foreseen = {reference: spec for reference in wanted if (spec := specs.get(reference.removesuffix(".grad"))) is not None}
        if foreseen:
            admit([times * spec.nbytes for spec in foreseen.values()])
        for reference, spec in foreseen.items():
            self._stacks[reference] = home.wrap(np.empty((times, *spec.shape), spec.dtype.numpy))

    @property
    def tensors(self) -> list[Tensor]:
        """All that there are, for who counts memory."""
        return list(self._stacks.values())

    def add(self, found: Mapping[str, Tensor]) -> None:
        """Take the values of one more run. Raises ShapeError where they differ in shape or type from those before."""
        for reference in self.wanted:
            array = found[reference].array
            stack = self._stacks.get(reference)
            if stack is None:
                self._admit([self.times * array.nbytes])
                stack = self._stacks[reference] = self._home.wrap(np.empty((self.times, *array.shape), array.dtype))
            if stack.array.shape[1:] != array.shape or stack.array.dtype != array.dtype:
                raise ShapeError(
                    f"collect: '{reference}' was {list(stack.array.shape[1:])} of {spec_of(stack).dtype.name} in the runs before, "
                    f"now it is {list(array.shape)} of {spec_of(found[reference]).dtype.name}; they cannot be stacked"
                )
        for reference in self.wanted:
            self._stacks[reference].array[self.done] = found[reference].array
        self.done += 1

    def latest(self) -> dict[str, Any]:
        """Of the last run, the values that are one number, as JSON."""
        if not self.done:
            return {}
        rows = {reference: stack.array[self.done - 1] for reference, stack in self._stacks.items()}
        return {reference: codec.array_to_json(row.reshape(())) for reference, row in rows.items() if row.size == 1}

    def stacked(self) -> dict[str, Tensor]:
        """The tensors by reference, with as many rows as there were runs; none after no run."""
        if not self.done:
            return {}
        if self.done == self.times:
            return dict(self._stacks)
        return {reference: self._home.wrap(stack.array[: self.done].copy()) for reference, stack in self._stacks.items()}


class Pace:
    """Tells how far the runs are, and stops them between two of them."""

    def __init__(self, watch: Watch | None, times: int, seconds: float | None, limits: Limits) -> None:
        """Begin: say how many runs there will be, if there are many.

        Args:
            watch: who wants to know.
            times: how many runs.
            seconds: how long they may take, if less than the limit.
            limits: of the session.
        """
        self._watch = watch
        self._times = times
        self._limit = limits.max_run_seconds
        self._seconds = self._limit if seconds is None else min(seconds, self._limit)
        self._begun = self._told = time.monotonic()
        if times > 1 and watch is not None:
            watch.tell({"run": 0, "times": times})

    def before(self, run: int, latest: Callable[[], dict[str, Any]]) -> None:
        """Before run number ``run``: tell, if it is time to. Raises RunCancelledError and DeadlineError."""
        watch = self._watch
        reason = None if watch is None else watch.wish()
        if reason is not None:
            told = {"reason": reason} if reason in REASONS else {}
            why = REASONS.get(reason, reason)
            raise RunCancelledError(f"{why}: stopped after {run:,} of {self._times:,} runs, which stand", extra=told)
        if not run:
            return
        now = time.monotonic()
        if now - self._begun >= self._seconds and (watch is None or watch.counts_time):
            which = "max_run_seconds" if self._seconds == self._limit else "seconds"
            raise DeadlineError(
                f"{self._seconds:g} s ({which}) are over: stopped after {run:,} of {self._times:,} runs, which stand",
                extra={"limit": which},
            )
        if watch is not None and now - self._told >= NEWS_SECONDS:
            self._told = now
            news: News = {"run": run, "times": self._times}
            values = latest()
            watch.tell({**news, "latest": values} if values else news)


# What a program's tensors will be, from shapes and types alone -----------------------------------------------------------------


def foreseen(commands: Sequence[Command], bound: Mapping[str, Spec], limits: Limits) -> Specs:
    """Shape and type of each tensor that the commands name, as they are at the end; None where that depends on values.

    Whatever a command would be refused for is left to its run, which says which command it was.
    """
    specs: Specs = dict(bound)
    for command in commands:
        if isinstance(command, Apply):
            _foresee_op(command, specs)
        elif isinstance(command, Create):
            specs[command.id] = _spec_of_data(command, limits)
        elif isinstance(command, Grad):
            for reference, name in zip(command.inputs, command.results or (), strict=False):
                if name is not None:
                    specs[name] = None if command.is_grads_batched else _look_up(reference, specs)
        elif isinstance(command, Set):
            found = specs[command.tensor] = _look_up(command.data or command.tensor, specs)
            if command.name is not None:
                specs[command.name] = found
    return specs


def _look_up(reference: str, specs: Specs) -> Spec | None:
    return specs.get(reference) or specs.get(reference.removesuffix(".grad"))


def _foresee_op(command: Apply, specs: Specs) -> None:
    names = [name for name in command.outputs or () if name is not None]
    op = find(command.op.removesuffix("_"))
    if command.op.endswith("_"):
        target = command.inputs[0] if command.inputs else None
        specs.update({name: _look_up(target, specs) if isinstance(target, str) else None for name in names})
        return
    inputs = [_look_up(value, specs) if isinstance(value, str) else value for value in command.inputs]
    outputs: Sequence[Spec | None] = ()
    if all(spec is not None for value, spec in zip(command.inputs, inputs, strict=True) if isinstance(value, str)):
        if len(inputs) < len(op.inputs) and not op.inputs[-1].variadic:
            inputs += [None] * (len(op.inputs) - len(inputs))
        try:
            checks.check_inputs(op, inputs, lambda value: isinstance(value, Spec))
            outputs = checked(op.rule(inputs, op.complete(command.parameters))).outputs
        except (UnknownShape, TelegradError):
            outputs = ()
    outputs = [*outputs, *[None] * (len(command.outputs or ()) - len(outputs))]
    specs.update({name: spec for name, spec in zip(command.outputs or (), outputs, strict=False) if name is not None})


def _spec_of_data(command: Create, limits: Limits) -> Spec | None:
    dtype = None if command.dtype is None else as_dtype(command.dtype)
    if command.base64 is not None:
        return None if dtype is None or command.shape is None else Spec(command.shape, dtype)
    try:
        array = codec.array_from_json(command.data, dtype, max_elements=limits.max_json_elements)
    except TelegradError:
        return None
    return Spec(array.shape, from_numpy(array.dtype))
