"""Runs of one program: interpreted command by command at first, recorded the second time, by the plan from then on."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from telegrad.contract.commands import Grad, Read
from telegrad.contract.errors import TelegradError
from telegrad_service.compiler.plan import Plan, State, build
from telegrad_service.compiler.plans import Key, Plans, key_of
from telegrad_service.compiler.recorder import Recorder
from telegrad_service.compiler.walk import recording_walk
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.programs import Program
from telegrad_service.session.recording import note, refuse_before

if TYPE_CHECKING:
    from telegrad_service.session.context import Context
    from telegrad_service.session.session import Session

Answers = list[dict[str, Any]]


class Ran(NamedTuple):
    """What runs of a program left.

    Attributes:
        names: the tensors that were asked for, by the program's names.
        results: per run, the results of its ``read`` and ``grad`` commands, each with its ``index``.
    """

    names: dict[str, Tensor]
    results: list[Answers]


class Compiled:
    """Runs the programs of one session.

    Attributes:
        plans: what was compiled.
        compiles: whether anything is; the interpreter gives the same results.
    """

    def __init__(self, session: Session) -> None:
        self.plans = Plans()
        self.compiles = True
        self._recording = threading.Lock()
        self._session = session

    def run(
        self,
        program: Program,
        bound: Mapping[str, Tensor],
        outputs: Sequence[str],
        times: int,
        out: dict[str, np.ndarray[Any, Any]],
    ) -> Ran:
        """See ``Session.run_bound``."""
        bound = {hole: bound[hole] for hole in program.inputs}
        results: list[Answers] = []
        names: dict[str, Tensor] = {}
        try:
            for run in range(times):
                try:
                    names, answers = self._once(program, bound, outputs, out)
                except TelegradError as error:
                    error.extra["run"] = run
                    raise
                results.append(answers)
        finally:
            self._session.local = {}
        return Ran(names, results)

    def _once(
        self, program: Program, bound: Mapping[str, Tensor], outputs: Sequence[str], out: dict[str, Any]
    ) -> tuple[dict[str, Tensor], Answers]:
        session = self._session
        key = key_of(program.id, bound, outputs) if self.compiles else None
        found = None if key is None else self.plans.find(key)
        if isinstance(found, Plan) and self._has_room(found, program) and found.turn.acquire(blocking=False):
            try:
                state = State(session.engine, session, out)
                names = found.run(state, _distinct(bound))
                session.quota.left(found.left_bytes, found.left_nodes)
                return names, state.answers
            finally:
                found.turn.release()
        local = session.context(dict(bound), out)
        session.local = local.names
        if key is not None and found == "" and self._recording.acquire(blocking=False):
            try:
                return self._record(key, program, bound, outputs, local)
            finally:
                self._recording.release()
        answers = self._interpret(program, local)
        if key is not None and found is None:
            self.plans.keep(key, "")
        return {name: session.resolve(name, local) for name in outputs}, answers

    def _has_room(self, plan: Plan, program: Program) -> bool:
        """Whether nothing that the interpreter would refuse can come up in a run."""
        session = self._session
        limits = session.limits
        return (
            not session.closed
            and session.quota.has_room(plan.nbytes, plan.nodes)
            and len(session.names) + program.most_names <= limits.max_tensors
            and session.answer_bytes + plan.answer_bytes <= limits.max_answer_bytes
        )

    def _interpret(self, program: Program, local: Context) -> Answers:
        """One run of a program; an error says which command it was. What came before it stands, as in a batch."""
        session, recorder = self._session, local.recorder
        answers: Answers = []
        for index, command in enumerate(program.commands):
            if recorder is not None:
                recorder.command = index
                refuse_before(recorder, command)
            try:
                result = session.do(command, local)
            except TelegradError as error:
                error.extra["command"] = index
                raise
            if recorder is not None:
                note(recorder, command, local.names, functools.partial(session.reference, context=local), result, index)
            if result is not None and isinstance(command, (Read, Grad)):
                answers.append({"index": index, **result})
        return answers

    def _record(
        self, key: Key, program: Program, bound: Mapping[str, Tensor], outputs: Sequence[str], local: Context
    ) -> tuple[dict[str, Tensor], Answers]:
        """A run that is interpreted and recorded; what comes of it is kept."""
        session = self._session
        recorder = local.recorder = Recorder(session.engine, _distinct(bound))
        measure = session.quota.meter()
        before = session.answer_bytes
        session.engine.walk = functools.partial(recording_walk, recorder, threading.get_ident())
        try:
            answers = self._interpret(program, local)
        except BaseException:
            self.plans.keep(key, "")
            raise
        finally:
            session.engine.walk = None
            local.recorder = None
        names = {name: session.resolve(name, local) for name in outputs}
        plan = build(recorder, names)
        if plan is None:
            self.plans.keep(key, recorder.failed)
        else:
            plan.nbytes, plan.nodes = measure()
            plan.answer_bytes = session.answer_bytes - before
            self.plans.keep(key, plan)
            self.plans.trim()
        return names, answers


def _distinct(bound: Mapping[str, Tensor]) -> list[Tensor]:
    """The tensors, each once."""
    return list({id(tensor): tensor for tensor in bound.values()}.values())
