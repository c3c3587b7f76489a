"""What a session does about gradients: ``backward``, ``grad`` with callbacks, and nodes that a client computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from telegrad.contract import modes
from telegrad.contract.callbacks import names_bound
from telegrad.contract.commands import Attach, Backward, Grad, inner_commands, names_made
from telegrad.contract.errors import ArgumentValueError, AutogradError
from telegrad.contract.limits import refuse
from telegrad_service.engine import autograd, custom
from telegrad_service.engine.tensor import Tensor, spec_of
from telegrad_service.session.callbacks import CallbackRun
from telegrad_service.session.context import Context, within

if TYPE_CHECKING:
    from telegrad_service.session.session import Session


def backward(session: Session, command: Backward, context: Context) -> None:
    """Accumulate gradients into leaves."""
    with _callbacks(session, command, context) as callbacks:
        added = autograd.backward(
            session.many(command.tensors, context),
            session.optional_many(command.grad_tensors, context),
            retain_graph=command.retain_graph,
            create_graph=command.create_graph,
            inputs=None if command.inputs is None else session.many(command.inputs, context),
            hooks=callbacks.hooks,
            anomaly=command.anomaly,
        )
        session.quota.hold(added, command.create_graph)


def grad(session: Session, command: Grad, context: Context) -> dict[str, Any]:
    """Gradients as new tensors; nothing is accumulated."""
    wanted = command.results
    if wanted is None:
        wanted = tuple(session.new_name(context) for _ in command.inputs)
    if len(wanted) > len(command.inputs):
        raise ArgumentValueError(f"grad has {len(command.inputs)} result(s), {len(wanted)} names were given")
    session.require_free(wanted, context)
    found: Sequence[Tensor | None] = (None,) * len(command.inputs)
    if command.is_grads_batched:
        _admit_vectors(session, command, context)
    with _callbacks(session, command, context, wanted) as callbacks:
        found = autograd.grad(
            session.many(command.outputs, context),
            session.many(command.inputs, context),
            session.optional_many(command.grad_outputs, context),
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
    session.quota.hold(sum(t.array.nbytes for t in found if t is not None), command.create_graph)
    return {"present": [t is not None for t in found], "results": names}


def _callbacks(session: Session, command: Backward | Grad, context: Context, results: Sequence[str | None] = ()) -> CallbackRun:
    """The callbacks of a command. Raises for what can be refused before anything is done."""
    inner = list(inner_commands(command))
    if len(inner) > session.limits.max_commands:
        raise refuse(
            "the callbacks", len(inner), session.limits.max_commands, "max_commands", unit="commands", hint="do less in hooks"
        )
    made = [*names_bound(command.callbacks), *[name for c in inner for name in names_made(c)]]
    if command.callbacks:
        session.require_free([*results, *made], context)
    return CallbackRun(
        command.callbacks,
        context.names,
        made,
        lambda reference: session.resolve(reference, context),
        lambda inner: session.do(inner, context),
        lambda nbytes: session.quota.hold(nbytes, False),
    )


def _admit_vectors(session: Session, command: Grad, context: Context) -> None:
    """Foresee what many vectors at once need: a gradient of every value on the way, as often as there are vectors."""
    vectors = [v for v in session.optional_many(command.grad_outputs, context) or () if v is not None]
    count = max((v.array.shape[0] for v in vectors if v.array.ndim), default=0)
    sizes = [count * x.array.size * x.array.itemsize for x in session.many(command.inputs, context)]
    scratch = count * autograd.largest_on_the_way(session.many(command.outputs, context))
    session.quota.admit("grad with is_grads_batched", sizes, scratch=scratch)


def attach(session: Session, command: Attach, context: Context) -> None:
    """Make computed tensors the results of one node that the client computes backward."""
    inputs = session.many(command.inputs, context)
    outputs = [None if r is None else session.resolve(r, context) for r in command.outputs]
    flows = [t is not None and i not in command.constants for i, t in enumerate(outputs)]
    made = [t for t, flow in zip(outputs, flows, strict=True) if t is not None and flow]
    if not made or any(i >= len(outputs) for i in command.constants):
        raise ArgumentValueError("attach needs an output with a gradient, and 'constants' names outputs by position")
    if not any(t.requires_grad for t in inputs):
        raise AutogradError("attach needs an input that requires grad")
    if len({id(t) for t in made}) < len(made) or any(t.tracks or t.node is not None or t is x for t in made for x in inputs):
        raise AutogradError("the outputs of attach must be different tensors that require no grad and are no inputs")
    if any(not t.dtype.is_differentiable for t in made):
        raise AutogradError("the outputs of attach must be floating point or complex, but for those in 'constants'")
    backward = custom.Deferred(command.name, [spec_of(x) for x in inputs], command.materialize, command.saves)
    token = modes.set_mode(False)
    try:
        with within(command.scope):
            custom.attach(session.engine, backward, inputs, outputs, flows, [False] * len(outputs), ())
    finally:
        modes.reset_mode(token)
    session.quota.hold(0, True)
