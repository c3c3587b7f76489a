"""What a session does about ops: checks and admits the call, computes it, and names what came of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from telegrad.contract import compositions, modes
from telegrad.contract.commands import Apply, Seed
from telegrad.contract.errors import ArgumentValueError
from telegrad.contract.ops import Op
from telegrad_service.engine.calls import Call, compute
from telegrad_service.engine.random_state import generator_of, state_of
from telegrad_service.engine.table import ENTRIES
from telegrad_service.engine.writes import apply_in_place
from telegrad_service.session import packs, weighing
from telegrad_service.session.context import Context, inference, within

if TYPE_CHECKING:
    from telegrad_service.session.session import Session


_NOT_PACKED: Final = contextlib.nullcontext()


def apply_op(session: Session, command: Apply, context: Context) -> dict[str, Any]:
    """Do an op, or a function made of ops, in place or to new tensors."""
    op, in_place = compositions.look_up(command.op)
    inputs = session.inputs(command.inputs, context)
    if len(inputs) < len(op.inputs) and not op.inputs[-1].variadic and op.required_inputs <= len(inputs):
        inputs += (None,) * (len(op.inputs) - len(inputs))  # absent optional tensors need not be written out
    call = session.quota.foresee(session.engine, op, inputs, command.parameters, in_place=in_place)
    if session.haste is not None:
        session.haste.op(call, op.name in compositions.COMPOSITIONS)
    count = None if call.types is None else 1 if in_place else len(call.types)
    wanted = command.outputs
    if wanted is not None:
        session.require_free(wanted, context)
        if count is not None and len(wanted) > count:
            raise ArgumentValueError(f"{command.op} has {count} output(s), {len(wanted)} names were given")
    elif not in_place:
        session.require_room(1 if count is None else count)
    recorder = context.recorder
    entry: Any = None if recorder is None else recorder.entry(ENTRIES.get(op.name), inputs, call)
    packer = None
    token = modes.set_mode(command.grad_enabled)
    try:
        if command.scope is None and command.pack is None and not command.inference:  # as almost always
            made = _computed(session, command, op, in_place, inputs, call, entry)
        else:
            packed = _NOT_PACKED if command.pack is None else packs.packing(session, command.pack, inputs)
            with within(command.scope), inference(command.inference), packed as packer:
                made = _computed(session, command, op, in_place, inputs, call, entry)
    finally:
        modes.reset_mode(token)
    outputs = made if isinstance(made, tuple) else (made,)
    if entry is not None:
        entry.finish(outputs, in_place)
    if wanted is None:
        wanted = () if in_place or compositions.writes(op.name) else tuple(session.new_name(context) for _ in outputs)
    for name, tensor in zip(wanted, outputs, strict=False):
        if name is not None:
            context.names[name] = tensor
    if packer is None:
        return {"outputs": wanted}
    return {"outputs": wanted, "packed": packs.told(session, packer, inputs, outputs, context)}


def _computed(session: Session, command: Apply, op: Op, in_place: bool, inputs: tuple[Any, ...], call: Call, entry: Any) -> Any:
    if op.name in compositions.COMPOSITIONS:
        if call.outcome is None:
            return weighing.run(op.name, session.engine, session.quota, inputs, command.parameters)
        return compositions.run(op.name, session.engine, inputs, command.parameters)
    if in_place:
        return apply_in_place(session.engine, op.name, inputs, dict(command.parameters), entry=entry)
    return compute(session.engine, entry or ENTRIES[op.name], inputs, {**op.defaults, **command.parameters}, call)


def seed(session: Session, command: Seed, context: Context) -> None:
    """Begin the session's random generator anew, or keep or bring back its state."""
    if sum(given is not None for given in (command.seed, command.save, command.state)) != 1:
        raise ArgumentValueError("seed takes exactly one of 'seed', 'save' and 'state'")
    if command.seed is not None:
        session.engine.seed(command.seed)
    elif command.state is not None:
        session.engine.generator = generator_of(session.resolve(command.state, context).array)
    elif command.save is not None:
        session.require_free((command.save,), context)
        made = context.names[command.save] = session.engine.wrap(state_of(session.engine.generator))
        session.quota.hold(made.array.nbytes, False)
