"""What a session does about gradients: ``backward``, ``grad`` with callbacks, and nodes that a client computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from telegrad.contract import modes
from telegrad.contract.callbacks import names_bound
from telegrad.contract.commands import Attach, Backward, Grad, Resume, inner_commands, names_made
from telegrad.contract.errors import ArgumentValueError, AutogradError, ConflictError, InternalError, NotFoundError
from telegrad.contract.limits import refuse
from telegrad_service.engine import autograd, custom
from telegrad_service.engine.tensor import Tensor, spec_of
from telegrad_service.session.callbacks import CallbackRun
from telegrad_service.session.context import Context, within
from telegrad_service.session.values import describe

if TYPE_CHECKING:
    from telegrad_service.session.session import Session


_MOST_WAITING: Final = 64
"""Walks that wait at a time; whoever began the one that waits longest is not heard of any more."""


def backward(session: Session, command: Backward, context: Context) -> dict[str, Any] | None:
    """Accumulate gradients into leaves."""
    callbacks = _callbacks(session, command, context)
    return _walk(
        Begun(session, command, callbacks, session.many(command.tensors, context)),
        context,
        lambda: autograd.backward(
            session.many(command.tensors, context),
            session.optional_many(command.grad_tensors, context),
            retain_graph=command.retain_graph,
            create_graph=command.create_graph,
            inputs=None if command.inputs is None else session.many(command.inputs, context),
            hooks=callbacks.hooks,
            anomaly=command.anomaly,
            ask=None if command.waits is None else callbacks.ask,
        ),
    )


def grad(session: Session, command: Grad, context: Context) -> dict[str, Any] | None:
    """Gradients as new tensors; nothing is accumulated."""
    wanted = command.results
    if wanted is None:
        wanted = tuple(session.new_name(context) for _ in command.inputs)
    _require_names(session, command, wanted, context)
    if command.is_grads_batched:
        _admit_vectors(session, command, context)
    callbacks = _callbacks(session, command, context, wanted)
    return _walk(
        Begun(session, command, callbacks, session.many(command.outputs, context), wanted),
        context,
        lambda: autograd.grad(
            session.many(command.outputs, context),
            session.many(command.inputs, context),
            session.optional_many(command.grad_outputs, context),
            retain_graph=command.retain_graph,
            create_graph=command.create_graph,
            allow_unused=command.allow_unused,
            is_grads_batched=command.is_grads_batched,
            materialize_grads=command.materialize_grads,
            bounded=command.bounded,
            hooks=callbacks.hooks,
            anomaly=command.anomaly,
            ask=None if command.waits is None else callbacks.ask,
        ),
    )


def resume(session: Session, command: Resume, context: Context) -> dict[str, Any] | None:
    """Go on with a walk that waits."""
    begun = session.waiting.get(command.walk)
    where = None if begun is None else begun.where
    if begun is None or where is None:
        raise NotFoundError(
            "no backward of that name waits: it has ended, or was given up because too many wait, or because the session had to be "
            "stored as a whole; do the backward again"
        )
    if command.gradients is not None and isinstance(begun.command, Grad):
        _require_names(session, begun.command, command.gradients, context)
        begun.wanted = command.gradients
    callbacks, kind = begun.callbacks, begun.kind
    made = _names_made(session, command, context, begun.wanted)
    callbacks.go_on(command.callbacks, made, lambda inner: session.do(inner, context))
    del session.waiting[command.walk]
    return _walk(begun, context, lambda: where.go_on(callbacks.given(kind, command.results, stops=command.stops)))


class Begun:
    """A ``backward`` or ``grad`` from its beginning on.

    Attributes:
        command: what was asked for.
        callbacks: what it does on its way.
        wanted: names of the gradients that a ``grad`` gives.
        where: it waits.
        kind: of the callback that it waits for.
    """

    def __init__(
        self,
        session: Session,
        command: Backward | Grad,
        callbacks: CallbackRun,
        roots: Sequence[Tensor],
        wanted: Sequence[str | None] = (),
    ) -> None:
        self.session = session
        self.command = command
        self.callbacks = callbacks
        self.wanted = wanted
        self.where: autograd.Suspended | None = None
        self.kind = ""
        self._roots = roots  # the walk knows nodes by their identity: they must stay

    def tensors(self) -> list[Tensor]:
        """What it holds."""
        carried = [] if self.where is None else self.where.walk.carried()
        wrap = self.session.engine.wrap
        return [*self._roots, *[value if isinstance(value, Tensor) else wrap(value) for value in carried]]

    def wait(self, where: autograd.Suspended, context: Context) -> dict[str, Any]:
        """It waits for the callback that paused. Returns what is answered."""
        callbacks, session = self.callbacks, self.session
        number, callback = callbacks.pausing or (None, None)
        name = self.command.waits if callback is None or callback.pauses is None else callback.pauses
        if name is None:
            raise InternalError("a walk waits for nobody")
        self.where, self.kind = where, "custom" if callback is None else callback.kind
        if len(session.waiting) >= _MOST_WAITING:
            del session.waiting[next(iter(session.waiting))]
        session.waiting[name] = self
        session.quota.hold(sum(t.array.nbytes for t in self.tensors()[len(self._roots) :]), True)
        waits: dict[str, Any] = {"waits": name}
        if self.command.waits is not None:
            groups = [[self._named(g, context) for g in group] for group in callbacks.arrived]
            waits |= dict(zip(("grads", "arrived"), groups, strict=False))
            waits |= {"label": callbacks.label} if number is None else {"callback": number}
            waits["reached"] = callbacks.reached(where.walk.comes_by)
        return waits if isinstance(self.command, Backward) else {**_told([None] * len(self.wanted)), **waits}

    def _named(self, gradient: Tensor | None, context: Context) -> dict[str, Any] | None:
        """A description of a gradient, which gets a name."""
        if gradient is None:
            return None
        name = self.session.new_name(context)
        self.session.require_free((name,), context)
        context.names[name] = gradient
        return describe(name, gradient)

    def end(self, found: Any, context: Context) -> dict[str, Any] | None:
        """It has ended with what the engine gives. Returns what is answered."""
        session, command = self.session, self.command
        if isinstance(command, Backward):
            session.quota.hold(0 if found is None else found, command.create_graph)
            return None if command.waits is None else {"waits": None}
        gradients: Sequence[Tensor | None] = (None,) * len(command.inputs) if found is None else found
        names: list[str | None] = []
        for name, tensor in zip(self.wanted, gradients, strict=False):
            if name is not None and tensor is not None:
                context.names[name] = tensor
            names.append(name if tensor is not None else None)
        session.quota.hold(sum(t.array.nbytes for t in gradients if t is not None), command.create_graph)
        return {"present": [t is not None for t in gradients], "results": names}


def _told(names: list[str | None]) -> dict[str, Any]:
    return {"present": [n is not None for n in names], "results": names}


def _walk(begun: Begun, context: Context, go: Callable[[], Any]) -> dict[str, Any] | None:
    """Walk until the end, or until a callback pauses. Returns what is answered."""
    found = None
    try:
        with begun.callbacks:
            found = go()
    except autograd.Suspended as where:
        return begun.wait(where, context)
    return begun.end(found, context)


def _require_names(session: Session, command: Grad, names: Sequence[str | None], context: Context) -> None:
    if len(names) > len(command.inputs):
        raise ArgumentValueError(f"grad has {len(command.inputs)} result(s), {len(names)} names were given")
    session.require_free(names, context)


def _names_made(session: Session, command: Backward | Grad | Resume, context: Context, results: Sequence[str | None]) -> list[str]:
    """The names that callbacks and their commands make. Raises for what can be refused before anything is done."""
    inner = list(inner_commands(command))
    if len(inner) > session.limits.max_commands:
        raise refuse(
            "the callbacks", len(inner), session.limits.max_commands, "max_commands", unit="commands", hint="do less in hooks"
        )
    walks = [c.pauses for c in command.callbacks] + ([] if isinstance(command, Resume) else [command.waits])
    if any(name in session.waiting for name in walks if name is not None):
        raise ConflictError("a backward of that name waits already; resume it first, or choose another name")
    made = [*names_bound(command.callbacks), *[name for c in inner for name in names_made(c)]]
    if not isinstance(command, Resume) and command.waits is not None:
        session.require_free((command.waits,), context)
    if command.callbacks:
        session.require_free([*results, *made], context)
    return made


def _callbacks(session: Session, command: Backward | Grad, context: Context, results: Sequence[str | None] = ()) -> CallbackRun:
    """The callbacks of a command. Raises for what can be refused before anything is done."""
    return CallbackRun(
        command.callbacks,
        context.names,
        _names_made(session, command, context, results),
        lambda reference: session.resolve(reference, context),
        lambda inner: session.do(inner, context),
        lambda nbytes: session.quota.hold(nbytes, False),
        session.packs,
        asks=command.waits is not None,
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
    dirty = [i in command.dirty for i in range(len(outputs))]
    made = [t for t, flow in zip(outputs, flows, strict=True) if t is not None and flow]
    fresh = [t for t, flow, writes in zip(outputs, flows, dirty, strict=True) if t is not None and flow and not writes]
    written = [t for t, flow, writes in zip(outputs, flows, dirty, strict=True) if flow and writes]
    if not made or any(i >= len(outputs) for i in (*command.constants, *command.dirty)):
        raise ArgumentValueError("attach needs an output with a gradient, and 'constants' and 'dirty' name outputs by position")
    if any(all(t is not x for x in inputs) for t in written):
        raise AutogradError("the outputs of attach in 'dirty' must be inputs")
    if not any(t.requires_grad for t in inputs):
        raise AutogradError("attach needs an input that requires grad")
    if len({id(t) for t in made}) < len(made) or any(t.tracks or t.node is not None or t is x for t in fresh for x in inputs):
        raise AutogradError("the outputs of attach must be different tensors that require no grad and are no inputs")
    if any(not t.dtype.is_differentiable for t in made):
        raise AutogradError("the outputs of attach must be floating point or complex, but for those in 'constants'")
    backward = custom.Deferred(command.name, [spec_of(x) for x in inputs], command.materialize, command.saves, command.label)
    token = modes.set_mode(False)
    try:
        with within(command.scope):
            custom.attach(session.engine, backward, inputs, outputs, flows, dirty, ())
    finally:
        modes.reset_mode(token)
    session.quota.hold(0, True)
