"""Programs of traced functions in this process: run by the code that runs them on a server, on tensors without names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from telegrad.contract.commands import Command
from telegrad.contract.errors import TelegradError
from telegrad.contract.hooks import Hooks
from telegrad.contract.limits import Limits
from telegrad.contract.modes import enable_grad, is_grad_enabled
from telegrad.contract.ops import Spec
from telegrad.contract.tensor.extent import steps_of
from telegrad.contract.tracing import INFERENCE, LEAF, RECORDED, VIEW, Many, Programs, Rehearsal, Runs
from telegrad_service.engine.hooks import hooks_of
from telegrad_service.engine.tensor import Engine, Tensor, spec_of
from telegrad_service.session import runs
from telegrad_service.session.programs import Program
from telegrad_service.session.running import collect, run_many
from telegrad_service.session.session import Session
from telegrad_service.session.values import describe
from telegrad_service.session.watch import Watch

_WITHOUT: Final = 2**62
_MOST_SIGNATURES: Final = 1024

UNLIMITED: Final = Limits(
    max_commands=_WITHOUT,
    max_run_times=_WITHOUT,
    max_run_seconds=float(_WITHOUT),
    max_answer_bytes=_WITHOUT,
    max_tensor_bytes=_WITHOUT,
    max_tensors=_WITHOUT,
    max_session_bytes=_WITHOUT,
    max_nodes=_WITHOUT,
    max_command_flops=_WITHOUT,
)
"""A script in its own process may do what it likes."""


class LocalPrograms(Programs):
    """What a session of this process does for traced functions."""

    def __init__(self, engine: Engine) -> None:
        """Run programs on tensors of ``engine``."""
        self._session = Session("local", UNLIMITED, engine=engine)
        self._made: dict[str, Program] = {}
        # Asked for every tensor before every run; the same object again is compared at once.
        self._signatures: dict[tuple[tuple[int, ...], np.dtype[Any], int], tuple[Spec, int]] = {}
        self._watches: dict[str, Watch] = {}

    def signature(self, tensor: Any) -> tuple[Spec, int]:
        """See ``Programs.signature``."""
        if tensor.base is None and not tensor.is_inference():
            array, kind = tensor.array, RECORDED if tensor.node is not None else LEAF if tensor.tracks else 0
            key = array.shape, array.dtype, kind
            found = self._signatures.get(key)
            if found is None:
                if len(self._signatures) >= _MOST_SIGNATURES:
                    self._signatures.clear()
                found = self._signatures[key] = spec_of(tensor), kind
            return found
        kind = 0 if not tensor.requires_grad else LEAF if tensor.is_leaf else RECORDED
        return spec_of(tensor), kind | (0 if tensor.base is None else VIEW) | (INFERENCE if tensor.is_inference() else 0)

    def node_name(self, tensor: Any) -> str:
        """See ``Programs.node_name``."""
        return str(tensor.current_node().name())

    def base(self, tensor: Any) -> Tensor | None:
        """See ``Programs.base``."""
        found: Tensor | None = tensor.base
        return found

    def has_gradient(self, tensor: Any) -> bool:
        """See ``Programs.has_gradient``."""
        return tensor.kept_gradient is not None

    def hooks(self, tensor: Any) -> Hooks | None:
        """See ``Programs.hooks``."""
        return hooks_of(tensor) or None

    def forget(self, traced: Any) -> None:
        """See ``Programs.forget``."""
        self._made.pop(traced.id, None)

    def close(self) -> None:
        """Give the memory of all programs back: session and engine refer to each other, and may stay a while."""
        self._made.clear()
        self._session.compiled.plans.clear()

    def rehearse(self) -> LocalRehearsal:
        """See ``Programs.rehearse``."""
        return LocalRehearsal()

    def run(self, traced: Any, bound: Sequence[Any]) -> Sequence[Tensor]:
        """See ``Programs.run``."""
        given: Mapping[str, Tensor] = {hole: bound[number] for hole, number in traced.inputs.items()}
        names = self._session.run_bound(self._program(traced), given, traced.outputs).names
        return [names[name] for name in traced.outputs]

    def _program(self, traced: Any) -> Program:
        program = self._made.get(traced.id)
        if program is None:
            program = self._made[traced.id] = Program.make(traced.commands, tuple(traced.inputs))
        return program

    def run_many(self, traced: Any, bound: Sequence[Any], many: Many) -> LocalRuns:
        """See ``Programs.run_many``: done at once."""
        session, program = self._session, self._program(traced)
        each: dict[str, Tensor] = {hole: many.each[number] for hole, number in traced.inputs.items() if number in many.each}
        given: dict[str, Tensor] = {hole: bound[number] for hole, number in traced.inputs.items() if number not in many.each}
        watch = self._watches[many.run_id] = Watch(many.run_id, many.hear)
        try:
            collecting = collect(session, program, many.collect, many.times, given, each)
            pace = runs.Pace(watch, many.times, many.seconds, session.limits)
            try:
                names = run_many(
                    session, program, given, each, collecting, pace, traced.outputs, grad_enabled=is_grad_enabled()
                ).names
            except TelegradError as error:
                stacked = collecting.stacked()
                found = error.with_traceback(None)  # it is kept by a frame that it would keep
                return LocalRuns(None, [stacked[r] for r in many.collect if r in stacked], found)
            stacked = collecting.stacked()
            return LocalRuns([names[name] for name in traced.outputs], [stacked[r] for r in many.collect], None)
        finally:
            del self._watches[many.run_id]

    def stop(self, run_id: str) -> None:
        """See ``Programs.stop``."""
        watch = self._watches.get(run_id)
        if watch is not None:
            watch.stop("asked")


class LocalRuns(Runs):
    """Runs that are done."""

    def __init__(self, made: Sequence[Tensor] | None, stacked: Sequence[Tensor], error: TelegradError | None) -> None:
        self.made = made
        self.stacked = stacked
        self._error = error

    def finish(self) -> TelegradError | None:
        """See ``Runs.finish``."""
        return self._error


class LocalRehearsal(Rehearsal):
    """See ``Rehearsal``. Numbers are below 1, where most functions are defined, probabilities too; integers are 0, an index of most
    things.
    """

    def __init__(self) -> None:
        self._session = Session("rehearsal", UNLIMITED)
        self._random = np.random.default_rng(0)

    def enter(self, name: str, spec: Spec, kind: int, had_gradient: bool, base: str | None = None) -> None:
        """See ``Rehearsal.enter``. Any part of the base will do for a view."""
        if base is not None and self._look(name, spec, kind, self._session.names[base]):
            return
        tensor = self._session.engine.wrap(self._values(spec))
        if kind & (LEAF | RECORDED):
            tensor.requires_grad = True
        if had_gradient:
            tensor.grad = self._session.engine.wrap(self._values(spec))
        self._session.names[name] = tensor.clone() if kind & RECORDED else tensor

    def _look(self, name: str, spec: Spec, kind: int, base: Tensor) -> bool:
        """Make a view of ``base``, where it is large enough and of that type; whether that was done."""
        shape, dtype = spec
        if dtype is not base.dtype or math.prod(shape) > base.numel() or bool(kind & RECORDED) is not base.requires_grad:
            return False
        with enable_grad():
            self._session.names[name] = base.as_strided(shape, steps_of(shape), 0)
        return True

    def _values(self, spec: Spec) -> Any:
        shape, dtype = spec
        if not dtype.is_differentiable:
            return np.zeros(shape, dtype.numpy)
        return np.asarray(self._random.uniform(0.5, 1.0, shape)).astype(dtype.numpy)

    def do(self, command: Command) -> dict[str, Any] | None:
        """See ``Rehearsal.do``."""
        return self._session.apply(command)[0]

    def describe(self, reference: str) -> dict[str, Any] | None:
        """See ``Rehearsal.describe``."""
        found = self._session.find(reference)
        return None if found is None else describe(reference, found)

    def value(self, reference: str) -> Any:
        """See ``Rehearsal.value``."""
        found = self._session.find(reference)
        return None if found is None else found.array.copy()
