"""In-place ops of remote tensors: recording one, and what it does to the histories of the target, its base and its other views."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from telegrad._history import Leaf, Node, made_of
from telegrad._hooks import apart_from_hooks, pin_before_write
from telegrad._linking import link
from telegrad._packs import packing_of
from telegrad._places import users_place
from telegrad._queue import Recorded
from telegrad.contract import checks, watching
from telegrad.contract.modes import inferring, is_grad_enabled, is_inference_mode_enabled
from telegrad.contract.scope import current_scope

if TYPE_CHECKING:
    from telegrad._foresight import Foresight
    from telegrad._recorder import Recorder


def apply_in_place(
    home: Recorder, plan: Foresight, op: str, inputs: tuple[Any, ...], names: Sequence[Any], parameters: dict[str, Any]
) -> Any:
    """Record an op whose result goes into its first input, which it gives back."""
    target = inputs[0]
    if not isinstance(target, home.tensor_class):
        raise checks.in_place_target(plan.row.name, target)
    grad = None if inferring and is_inference_mode_enabled() else is_grad_enabled()
    checks.check_inference(target.is_inference(), checks.INFERENCE_IN_PLACE)
    history = target.history()
    base = None if target._extra is None else target._extra.base
    view = base is not None
    if grad and not view and isinstance(history, Leaf):
        raise checks.leaf_in_place()
    spec = plan.outputs[0]
    if spec is not None and target._spec is not None:
        checks.check_in_place_result(spec, target._spec)
    if grad and view and home.hooked and home.waits:
        apart = apart_from_hooks(target)
        if apart is not target:
            apply_in_place(home, plan, op, (apart, *inputs[1:]), (apart._name, *names[1:]), parameters)
            return target
    place = users_place(3)
    packing = None
    if grad:
        known = target.known_dtype()
        node = None if known is not None and not known.is_differentiable else link(home, plan, inputs, parameters)
        packing = packing_of(home, node, inputs) if watching.watchers else None
        if node is not None or history is not None or (base is not None and base.history() is not None):
            if home.hooked and home.waits:
                pin_before_write(target)
            # Not of a view, nor where the result needs a conversion, which would be a node of its own.
            sure = not view and isinstance(node, Node) and known is not None and plan.types[0] is known
            rewrite_history(target, node, sure=sure)
    home.writes += 1
    root = home.roots.get(target._name, target._name)
    home.written[root] = home.written.get(root, 0) + 1
    if packing is None:
        home.put(Recorded(None, *place, touches=(target,), applied=(op, names, parameters, (), grad, current_scope())))
    else:
        packing.record(op, names, parameters, (), (target,))
        packing.end((target,))
    home.writes += 1  # again: a read that another thread has recorded in between shows what was before
    return target


def rewrite_history(target: Any, node: Any, *, sure: bool = False) -> None:
    """A recorded op, whose node that is, wrote to ``target``: what that does to its history, its base's and its other views'.

    ``sure`` says that the node is all of its new history.
    """
    target._node = node if sure else made_of(node, target.history())
    extra = target.extra()
    extra.generation += 1
    extra.index = 0
    base = extra.base
    if base is not None:
        base._node = made_of(node, base.history())
        base.extra().generation += 1
        extra.base_generation = base.extra().generation
