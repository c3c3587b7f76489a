"""How a call that was computed becomes a node: the code for it, written out for one plan.

A loop over inputs, edges and saved values costs three times what it does. A plan knows all three, so it gets a function in which
they stand one by one; ``fast`` puts the same lines into the operators themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telegrad.contract import watching
from telegrad.contract.scope import active, current_scope
from telegrad_service.engine.graph import Node, sequence
from telegrad_service.engine.table import CODE, Plan

if TYPE_CHECKING:
    from telegrad_service.engine.tensor import Engine, Tensor

Record = Callable[[Sequence[Any], Any, "Sequence[Tensor]", Any], Node]
"""``record(inputs, arrays, outputs, parameters)`` makes the node; the outputs' own fields are the caller's business."""

_MOST_WRITTEN: Final = 16
"""So many inputs stand one by one; a plan for more has a loop."""


def notice(node: Node, home: Engine, inputs: Sequence[Any]) -> None:
    """A node was made while there are scopes, or somebody looks at new nodes; of an op with these inputs."""
    path = current_scope()
    if path is not None:
        node.scope = path
    if watching.watchers:
        from telegrad_service.engine.watch import look_at  # it needs the engine's tensors

        look_at(node, home, inputs)


SCOPE: Final[dict[str, Any]] = {
    "Node": Node,
    "new": object.__new__,
    "sequence": sequence,
    "active": active,
    "notice": notice,
    "array_type": np.ndarray,
    "asarray": np.asarray,
    "shape": np.shape,
}
"""What written-out code refers to."""


def keep(node: Node, kept: Sequence[Any]) -> None:
    """Save what the kernel found on the way, where the node's formulas ask for it."""
    if node.plan.kept:
        saved: list[Any] = list(node.saved or ())
        for position, index in node.plan.kept:
            saved[position] = kept[index]
        node.saved = tuple(saved)


def guard_lines(plan: Plan, tensors: Callable[[int], bool | None]) -> tuple[list[str], str]:
    """Lines that look up the write counters of saved inputs ``x0``, ``x1``, ..., and the text of the node's guards.

    ``tensors`` says of a position whether the input there is a tensor; None leaves it to the call.
    """
    lines: list[str] = []
    guards = ""
    for position in plan.saved_inputs:
        x, v = f"x{position}", f"v{position}"
        sure = tensors(position)
        if sure is False:
            continue
        fetch = [f"{v} = {x}.version", f"if {v} is None: {v} = {x}.version = [0]"]
        if sure:
            lines += fetch
            guards += f"{v}, {v}[0], "
        else:
            lines += [f"w{position} = ()", f"if a[{position}].__class__ is array_type:", *(f" {line}" for line in fetch)]
            lines.append(f" w{position} = ({v}, {v}[0])")
            guards += f"*w{position}, "
    return lines, guards


def saved_text(plan: Plan, code: dict[str, str], tensors: Callable[[int], bool | None]) -> str:
    """The tuple of what the plan saves; ``tensors`` as in ``guard_lines``."""
    parts = [
        f"{code['input'].format(what)}.shape" if kind == "input_shape" and tensors(what) else code[kind].format(what)
        for kind, what in plan.sources
    ]
    return "(" + "".join(f"{part}, " for part in parts) + ")"


def written(plan: Plan) -> Record:
    """The plan's ``record``, kept there."""
    record = _looped(plan) if plan.count > _MOST_WRITTEN else _written(plan)
    plan.record = record
    return record


def _written(plan: Plan) -> Record:
    slots = plan.entry.op.inputs
    last = len(slots) - 1

    def certain(position: int) -> bool | None:
        slot = slots[min(position, last)]
        return None if slot.number or slot.optional else True

    names = [f"x{position}" for position in range(plan.count)]
    lines = [f"{', '.join(names)}, = i"]
    lines += [f"n{at} = x{at}.node if x{at}.base is None else x{at}.current_node()" for at in plan.positions]
    looked_up, guards = guard_lines(plan, certain)
    lines += looked_up
    for output in plan.saved_outputs:
        lines += [f"u{output} = o[{output}].version", f"if u{output} is None: u{output} = o[{output}].version = [0]"]
        guards += f"u{output}, u{output}[0], "
    code = {**CODE, "input": "a[{0}]", "inputs": "tuple(a[{0}:])", "input_shape": "shape(a[{0}])", "input_dtype": "a[{0}].dtype"}
    code |= {"inputs_shapes": "tuple([x.shape for x in a[{0}:]])", "inputs_dtypes": "tuple([x.dtype for x in a[{0}:]])"}
    code |= {"output": "o[{0}].array", "output_shape": "o[{0}].array.shape", "output_dtype": "o[{0}].array.dtype"}
    indexes = [f"x{position}.output_index" for position in plan.positions]
    fields = {
        "plan": "plan",
        "parameters": "p",
        "saved": saved_text(plan, code, certain),
        "edges": "(" + "".join(f"n{position} or x{position}, " for position in plan.positions) + ")",
        "indexes": f"({', '.join(indexes)},) if {' or '.join(indexes)} else zeros",
        "shape": "first.shape",
        "dtype": "first.dtype",
        "others": "None if len(o) == 1 else tuple([(t.array.shape, t.array.dtype) for t in o[1:]])",
        "guards": f"({guards})",
        "number": "sequence()",
        "retained": "None",
    }
    lines += ["first = o[0].array", "node = new(Node)", *(f"node.{name} = {text}" for name, text in fields.items())]
    lines += ["if active: notice(node, o[0].home, i)", "return node"]
    scope: dict[str, Any] = SCOPE | {"plan": plan, "zeros": plan.zeros}
    # The text is made of this package's own templates, slot numbers and declared parameter names only.
    exec("def record(i, a, o, p):\n " + "\n ".join(lines), scope)  # noqa: S102
    made: Record = scope.pop("record")  # which keeps the scope, and not the other way round as well
    return made


def _looped(plan: Plan) -> Record:
    def record(inputs: Sequence[Any], arrays: Any, outputs: Sequence[Tensor], parameters: Any) -> Node:
        edges: list[Any] = []
        indexes: list[int] = []
        for position in plan.positions:
            x = inputs[position]
            node = x.current_node()
            edges.append(x if node is None else node)
            indexes.append(x.output_index)
        guards: list[Any] = []
        for position in plan.saved_inputs:
            if isinstance(arrays[position], np.ndarray):
                version = inputs[position].shared_version()
                guards += (version, version[0])
        for output in plan.saved_outputs:
            version = outputs[output].shared_version()
            guards += (version, version[0])
        values = [o.array for o in outputs]
        made = Node(
            plan,
            parameters,
            plan.collect(arrays, values, parameters),
            tuple(edges),
            tuple(indexes) if any(indexes) else plan.zeros,
            values[0].shape,
            values[0].dtype,
            tuple(guards),
            tuple([(a.shape, a.dtype) for a in values[1:]]) if len(values) > 1 else None,
        )
        if active:
            notice(made, outputs[0].home, inputs)
        return made

    return record
