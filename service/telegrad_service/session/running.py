"""What a session does about programs: one run or many, on tensors with names or without."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telegrad.contract import modes
from telegrad.contract.commands import Run
from telegrad.contract.errors import ArgumentValueError, TelegradError
from telegrad.contract.ops import Spec
from telegrad_service.engine.calls import apply
from telegrad_service.engine.tensor import Tensor, spec_of
from telegrad_service.session import runs
from telegrad_service.session.compiled import Ran
from telegrad_service.session.context import GRAD_SUFFIX, Context
from telegrad_service.session.haste import RunTimes
from telegrad_service.session.programs import Program

if TYPE_CHECKING:
    from telegrad_service.session.session import Session

_RUN_BYTES: Final = 64
"""Memory that the list of a run takes while an answer is made."""


def run(session: Session, command: Run, context: Context) -> dict[str, Any]:
    """Run a program; what is wrong with the command is refused before the first run."""
    program = session.program(command.program)
    given = {*command.inputs, *command.each}
    if given != set(program.inputs) or len(given) < len(command.inputs) + len(command.each):
        raise ArgumentValueError(
            f"the program's inputs are: {', '.join(program.inputs) or 'none'}; each is to be in one of inputs and each"
        )
    wanted = list(dict.fromkeys([*command.outputs, *command.collect]))
    if wanted and any(reference.removesuffix(GRAD_SUFFIX) not in program.names for reference in wanted):
        raise ArgumentValueError("outputs and collect: a reference is no name that the program has at its end")
    session.require_free([*command.outputs.values(), *command.collect.values()], context)
    bound = {hole: session.resolve(reference, context) for hole, reference in command.inputs.items()}
    each = {hole: session.resolve(reference, context) for hole, reference in command.each.items()}
    times = runs.count_of(command.times, each, session.limits)
    pace = runs.Pace(session.watch, times, command.seconds, session.limits)
    haste, session.haste = session.haste, None  # it was judged as a whole
    took = session.run_times
    # As it is before: a run may change what it is given.
    kind = None if took is None else RunTimes.key(program.id, bound.items(), command.outputs)
    begun = time.perf_counter()
    try:
        if times == 1 and not (each or command.collect):  # as almost always
            ran = _run_once(session, program, bound, pace, list(command.outputs), context.out)
        else:
            ran = _run_collecting(session, program, command, (bound, each), times, pace, context)
        if took is not None and kind is not None:
            took.took(kind, (time.perf_counter() - begun) / max(times, 1))
    finally:
        session.haste = haste
    for reference, name in command.outputs.items():
        context.names[name] = ran.names[reference]
    return {"runs": times, "results": ran.results}


def _run_once(
    session: Session, program: Program, bound: Mapping[str, Tensor], pace: runs.Pace, outputs: list[str], out: dict[str, Any]
) -> Ran:
    """What ``run_many`` does where it is once, on whole tensors, and nothing is collected."""
    try:
        pace.before(0, dict)
        session.count_answer(_RUN_BYTES)
        return session.run_bound(program, bound, outputs, out=out)
    except TelegradError as error:
        error.extra.update(run=0, times=1)
        raise


def _run_collecting(
    session: Session,
    program: Program,
    command: Run,
    given: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    times: int,
    pace: runs.Pace,
    context: Context,
) -> Ran:
    """Many runs, or one whose values are collected; what was collected gets its names, however many runs there were."""
    bound, each = given
    collecting = collect(session, program, list(command.collect), times, bound, each)
    try:
        wanted, recorded = list(command.outputs), command.grad_enabled
        return run_many(session, program, bound, each, collecting, pace, wanted, grad_enabled=recorded, out=context.out)
    finally:
        stacked = collecting.stacked()
        context.names.update({name: stacked[reference] for reference, name in command.collect.items() if reference in stacked})


def collect(
    session: Session, program: Program, wanted: Sequence[str], times: int, bound: Mapping[str, Tensor], each: Mapping[str, Tensor]
) -> runs.Collecting:
    """New tensors for the values of references inside a program in so many runs. Raises LimitError where they would be too
    large, if their shapes can be foreseen.
    """
    specs: runs.Specs = {}
    if wanted:
        given = {hole: spec_of(tensor) for hole, tensor in bound.items()}
        given |= {hole: Spec(tensor.array.shape[1:], spec_of(tensor).dtype) for hole, tensor in each.items()}
        specs = runs.foreseen(program.commands, given, session.limits)
    return runs.Collecting(wanted, times, specs, session.engine, lambda sizes: session.quota.admit("collect", sizes))


def run_many(
    session: Session,
    program: Program,
    bound: Mapping[str, Tensor],
    each: Mapping[str, Tensor],
    collecting: runs.Collecting,
    pace: runs.Pace,
    outputs: Sequence[str],
    *,
    grad_enabled: bool,
    out: dict[str, np.ndarray[Any, Any]] | None = None,
) -> Ran:
    """Run a program many times on tensors, stored in the session or not.

    Args:
        session: where.
        program: what to run.
        bound: a tensor of this session's engine for each of the program's inputs that is the same in every run.
        each: for each other input, the tensor whose rows it is.
        collecting: takes values of all runs, as many as ``collect`` foresaw.
        pace: is asked before each run, and told how far it is.
        outputs: see ``run_bound``; of the last run.
        grad_enabled: whether rows have a history where their tensors have one.
        out: see ``run_bound``.

    Raises:
        TelegradError: with ``run`` and ``times`` in its ``extra``: so many runs stand, and have their values in ``collecting``.
    """
    wanted = list(dict.fromkeys([*outputs, *collecting.wanted]))
    results: list[list[dict[str, Any]]] = []
    last: dict[str, Tensor] = {}
    session.collecting = collecting
    try:
        for run in range(collecting.times):
            pace.before(run, collecting.latest)
            given = bound
            if each:
                given = {**bound, **_rows(session, each, run, grad_enabled)}
            last = {}  # the graphs of one run are gone before those of the next are made
            session.count_answer(_RUN_BYTES)
            ran = session.run_bound(program, given, wanted, out=out)
            results += ran.results
            collecting.add(ran.names)
            last = {name: ran.names[name] for name in outputs}
            del ran
    except TelegradError as error:
        error.extra.update(run=collecting.done, times=collecting.times)
        raise
    finally:
        session.collecting = None
    return Ran(last, results)


def _rows(session: Session, each: Mapping[str, Tensor], run: int, grad_enabled: bool) -> dict[str, Tensor]:
    token = modes.set_mode(grad_enabled)
    try:
        return {hole: apply(session.engine, "select", (tensor,), {"dim": 0, "index": run}) for hole, tensor in each.items()}
    finally:
        modes.reset_mode(token)
