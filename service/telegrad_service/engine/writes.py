"""In-place ops: the write itself, what PyTorch refuses, and how history changes for the tensor, its base and its views."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from telegrad.contract import checks, watching
from telegrad.contract.errors import AutogradError, UnknownOpError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.watching import current_packing
from telegrad_service.engine import quiet
from telegrad_service.engine.buffers import overlap, owner_of
from telegrad_service.engine.calls import apply, as_array, check_inputs, compute, foresee, known_call, make_node, mask_of
from telegrad_service.engine.graph import Node
from telegrad_service.engine.hooks import any_hooks, hooks_of
from telegrad_service.engine.table import ENTRIES
from telegrad_service.engine.tensor import FLOATING, Chain, Engine, Tensor, spec_of
from telegrad_service.engine.views import stale


def apply_in_place(home: Engine, name: str, inputs: tuple[Any, ...], parameters: dict[str, Any], *, entry: Any = None) -> Tensor:
    """Op ``name`` with its result written into the first input; PyTorch's leaf, view, shape and type rules.

    ``entry`` computes in place of the op's own one: the kernels of a run that is recorded.
    """
    recorded = entry is not None
    entry = entry or ENTRIES.get(name)
    if entry is None or not entry.op.inplace:
        raise UnknownOpError(f"there is no op {name}_")
    op = entry.op
    inputs = checks.plain_inputs(inputs)
    checks.plain_parameters(parameters)
    call = known_call(home, op, inputs, parameters)
    if call is None:  # PyTorch's order: the kinds of the inputs, then the leaf rules, then shapes and types
        check_inputs(home, op, inputs)
        op.complete(parameters)
    target = inputs[0]
    if not isinstance(target, Tensor):
        raise checks.in_place_target(name, target)
    full = {**op.defaults, **parameters}
    tracking = is_grad_enabled()
    needed = _needs_gradient(target, inputs) if op.flat_in_place else mask_of(op, inputs) != 0
    if tracking and (needed or target.requires_grad or (target.base is not None and target.base.requires_grad)):
        _check_in_place_history(target)
    checks.check_inference(target.is_inference(), checks.INFERENCE_IN_PLACE)
    if not target.array.flags.writeable:
        raise _not_writeable(target.array)
    if call is None:
        call = foresee(home, op, inputs, parameters)
    if call.outcome is not None:
        checks.check_in_place_result(call.outcome.outputs[0], spec_of(target))
    _check_overlap(target, op.name, inputs)
    records = tracking and needed
    if entry.in_place is not None and not records and not (tracking and target.requires_grad):
        token = quiet.enter()
        try:
            entry.in_place(target.array, *[as_array(x, call.compute) for x in inputs[1:]], **full)
        finally:
            quiet.leave(token)
        target.was_written()
        return target
    if records and target.base is not None and any_hooks():
        inputs = (_apart_from_hooks(home, target), *inputs[1:])
    if records and watching.watchers and (current_packing() if home.watched else home.packing) is not None:
        before = _before_write(home, target)  # a hook may keep what it is given, and the write comes after it
        inputs = tuple([before if x is target else x for x in inputs])
    result = cast(Tensor, compute(home, entry, inputs, full, call) if recorded else apply(home, name, inputs, parameters))
    if records and op.flat_in_place:
        node = f"{op.node.removesuffix('0')}{int(isinstance(inputs[1], Tensor))}"
        result = cast(Tensor, apply(home, "_compared_in_place", (target, inputs[1], result), {"node": node}))
    if result.node is not None:
        _own_saved_target(result.node, target)
    if result.array.dtype != target.array.dtype:
        result = cast(Tensor, apply(home, "to", (result,), {"dtype": target.dtype}))
    np.copyto(target.array, result.array, casting="unsafe")
    target.was_written()
    if tracking:
        replace_history(home, target, result)
    return target


def _needs_gradient(target: Tensor, inputs: tuple[Any, ...]) -> bool:
    """Whether an op that has no derivative is recorded in place all the same."""
    return target.array.dtype.kind in FLOATING and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


_WITHOUT_SOURCE_OF_ITS_OWN = frozenset(
    {"index_add", "index_copy", "index_put", "index_reduce", "scatter", "scatter_add", "scatter_reduce"}
)
"""Ops that may not even read the very tensor that they write into."""


def _check_overlap(target: Tensor, name: str, inputs: tuple[Any, ...]) -> None:
    """Refuse to write into a part of what is read, whose outcome would depend on an order; as PyTorch does."""
    version = target.version
    if version is None:
        return  # the memory is this tensor's alone
    for x in inputs[1:]:
        if x.__class__ is Tensor and x.version is version:
            found = overlap(target.array, x.array)
            if found == "part" or (found and name in _WITHOUT_SOURCE_OF_ITS_OWN):
                raise AutogradError(
                    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
                    "location. Please clone() the tensor before performing the operation."
                )


def _not_writeable(array: np.ndarray[Any, Any]) -> AutogradError:
    if not owner_of(array).flags.writeable:
        return AutogradError("a data set is kept as it is and cannot be written to; clone() it before performing the operation")
    return AutogradError(
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation."
    )


def _check_in_place_history(target: Tensor) -> None:
    """Refuse a recorded write into a leaf, or through a view that cannot pass history on; PyTorch's rules and order."""
    base = target.base
    if base is not None:
        if not target.recorded:
            raise stale(target.node, target.output_index, target.chain(), "is being")
        if target.requires_grad and base.is_leaf:
            raise checks.leaf_view_written()
    if target.requires_grad and target.is_leaf:
        raise checks.leaf_in_place()


def _apart_from_hooks(home: Engine, target: Tensor) -> Tensor:
    """A view about to be written, with a history of its own if there are hooks on the one it has: the gradient of the write goes
    past those, as in PyTorch, where it goes to the base at once.
    """
    node = target.current_node()
    if node is None or hooks_of(node) is None or target.base is None:
        return target
    fresh: Tensor = target.base
    for op, parameters, _ in target.chain():
        fresh = cast(Tensor, apply(home, op, (fresh,), parameters, track=True))
    made = Tensor(home, target.array, fresh.node, fresh.output_index)
    made.version = target.shared_version()
    return made


def _before_write(home: Engine, target: Tensor) -> Tensor:
    """A tensor about to be written, with memory of its own."""
    made = Tensor(home, target.array.copy(), target.current_node(), target.output_index)
    made.tracks = target.tracks
    return made


def _own_saved_target(node: Node, target: Tensor) -> None:
    """The node saved the array that is about to be overwritten: give it a copy of its own, outside the version check."""
    saved = node.saved or ()
    if not any(a is target.array for a in saved):
        return
    kept = target.array.copy()
    node.saved = tuple([kept if a is target.array else a for a in saved])
    version = target.shared_version()
    others: list[Any] = [a for a in node.saved if isinstance(a, np.ndarray) and a is not kept]
    if not any(np.may_share_memory(a, target.array) for a in others):
        guards = node.guards
        node.guards = tuple([g for at in range(0, len(guards), 2) if guards[at] is not version for g in guards[at : at + 2]])


def replace_history(home: Engine, target: Tensor, result: Tensor) -> None:
    """After a write: the target's history is the result's, and through a view also the base's."""
    version = target.shared_version()
    node = result.node
    if node is not None:
        # A saved result now lives in the target: a later write must be noticed, as in PyTorch.
        outputs = len(node.plan.saved_outputs)
        if outputs:
            node.guards = node.guards[: -2 * outputs] + (version, version[0]) * outputs
    base = target.base
    if base is None:
        if node is not None or target.node is not None:
            target.take_history(result)
            target.generation += 1
        return
    if node is None and not base.tracks:
        return
    before = Tensor(home, base.array, base.node, base.output_index)
    made = Tensor(home, base.array, record_view_write(home, before, result, target.chain()))
    retained = target.node if target.retains_grad else None
    base.take_history(made)
    base.generation += 1
    if retained is not None:
        target.current_node()  # at once, so that the gradient that it retains is the one after the write


def record_view_write(home: Engine, base: Tensor, written: Tensor, chain: Chain) -> Node:
    """The node of a base that was written through a view: PyTorch's ``CopySlices``."""
    entry = ENTRIES["view_scatter"]
    inputs = (base, written)
    outputs = (Tensor(home, base.array),)
    return make_node(entry.plan(mask_of(entry.op, inputs), 2), inputs, [base.array, written.array], outputs, {"chain": chain})
