"""The way through an op that was called like this before: the code for it, written out for calls of one form.

The rule has answered, the parameters are complete, and which inputs are tensors is known; what is left is to take the arrays, run
the kernel, and make tensors and a node of what it gives. A loop that finds all that out again takes longer than a small kernel.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from telegrad.contract.modes import inferring, is_grad_enabled
from telegrad_service.engine import quiet
from telegrad_service.engine.graph import mark_inference
from telegrad_service.engine.recording import SCOPE, keep, written
from telegrad_service.engine.table import Entry

Form: TypeAlias = Callable[..., Any]
"""``form(call, home, inputs)`` gives what the op gives."""

_MOST_INPUTS: Final = 8
_MOST_OUTPUTS: Final = 16
_MOST_FORMS: Final = 2048

_forms: Final[dict[tuple[Any, ...], Form]] = {}


def form_of(entry: Entry, call: Any, tensors: tuple[bool, ...], names: dict[str, Any]) -> Form | None:
    """The code for calls like ``call``; None where there are too many inputs to write out, or the outcome is not foreseen.

    Args:
        entry: the op.
        call: a ``Call`` that was computed once.
        tensors: per input, whether it is a tensor.
        names: what the code refers to beside ``SCOPE``: the engine's Tensor and what belongs to it.
    """
    op = entry.op
    if call.types is None or op.random or not 0 < len(tensors) <= _MOST_INPUTS or not any(tensors):
        return None
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in call.full):
        return None
    floating = tuple([i for i, dtype in enumerate(call.types) if dtype.kind in "fc"])
    key = (op.name, tensors, call.flows, call.converts, call.single, floating, len(call.types), tuple(call.full))
    found = _forms.get(key)
    if found is None:
        if len(_forms) >= _MOST_FORMS:
            _forms.clear()
        found = _forms[key] = _written(entry, call, tensors, floating, names)
    return found


def _tensor(name: str, array: str) -> list[str]:
    """Lines that make a tensor: what ``Tensor.__init__`` does."""
    return [
        f"{name} = new(Tensor)",
        f"{name}.home = home",
        f"{name}.array = {array}",
        f"{name}._grad = {name}.version = {name}.base = {name}.node = None",
        f"{name}.output_index = {name}.generation = 0",
        f"{name}.tracks = False",
        f"if inferring: mark_inference({name})",
    ]


def _of_several(types: int, floating: tuple[int, ...]) -> tuple[list[str], str, list[str]]:
    """Lines that make tensors of the arrays ``v``, the text of their tuple, and lines that give those of floats their node."""
    if not 0 < types <= _MOST_OUTPUTS:
        made = ["outputs = []", "for w, t in zip(v, call.types, strict=True):"]
        made += [" if w.__class__ is not array_type: w = asarray(w)", " if w.dtype is not t: w = of_type(w, t)"]
        made += [" " + line for line in (*_tensor("r", "w"), "outputs.append(r)")]
        chosen = "enumerate(outputs)" if len(floating) == types else f"[(n, outputs[n]) for n in {floating}]"
        return made, "tuple(outputs)", [f"for n, r in {chosen}:", " r.node = node", " r.output_index = n", " r.tracks = True"]
    made = ["".join(f"v{n}, " for n in range(types)) + "= v", "types = call.types"]
    for n in range(types):
        made += [f"if v{n}.__class__ is not array_type: v{n} = asarray(v{n})"]
        made += [f"if v{n}.dtype is not types[{n}]: v{n} = of_type(v{n}, types[{n}])", *_tensor(f"r{n}", f"v{n}")]
    made += ["outputs = (" + "".join(f"r{n}, " for n in range(types)) + ")"]
    ends = [(f"r{n}.node = node", f"r{n}.output_index = {n}", f"r{n}.tracks = True") for n in floating]
    return made, "outputs", [line for lines in ends for line in lines]


def _written(entry: Entry, call: Any, tensors: tuple[bool, ...], floating: tuple[int, ...], names: dict[str, Any]) -> Form:
    op = entry.op
    count = len(tensors)
    inputs = "".join(f"x{i}, " for i in range(count))
    arrays = "".join(f"a{i}, " for i in range(count))
    lines = [f"{inputs}= i", *(f"a{i} = x{i}.array" if tensors[i] else f"a{i} = x{i}" for i in range(count))]
    given = arrays
    if call.converts:
        lines += [f"c{i} = as_array(x{i}, call.compute)" for i in range(count)]
        given = "".join(f"c{i}, " for i in range(count))
    if call.full:
        lines.append("".join(f"p{n}, " for n in range(len(call.full))) + "= call.values")
    parameters = ", ".join(f"{name}=p{n}" for n, name in enumerate(call.full))
    flowing = [i for i in range(count) if call.flows[i]]
    recorded = bool(op.differentiable and floating and flowing)
    if recorded:
        lines += ["mask = 0", "if is_grad_enabled():"]
        for i in flowing:
            lines.append(f" if x{i}.tracks or (x{i}.base is not None and x{i}.requires_grad): mask |= {1 << i}")
    compute = [f"v = entry.kernel({given}{parameters})"]
    if recorded and entry.keeping is not None:
        compute = [f"if mask: v, kept = entry.keeping({given}{parameters})", f"else: {compute[0]}"]
    if op.view:
        lines += compute  # nothing is computed, so that there are no faults to silence
    else:
        lines += ["token = enter()", "try:", *(f" {line}" for line in compute), "finally: leave(token)"]
    if call.single:
        lines += [
            "if v.__class__ is not array_type: v = asarray(v)",
            "if v.dtype is not call.types[0]: v = of_type(v, call.types[0])",
        ]
        lines += _tensor("r", "v")
        outputs, answer, ends = "(r,)", "r", ["r.node = node", "r.tracks = True"]
    else:
        made, answer, ends = _of_several(len(call.types), floating)
        lines += made
        outputs = "outputs"
    if op.view:
        lines.append(f"link_views(entry, x0, a0, {outputs}, call.full, {call.single})")
    if recorded:
        lines += ["if mask:", f" plan = entry.plans.get(mask << 32 | {count}) or entry.plan(mask, {count})"]
        lines.append(f" node = (plan.record or written(plan))(i, ({arrays}), {outputs}, call.full)")
        if entry.keeping is not None:
            lines.append(" keep(node, kept)")
        lines += [" " + line for line in ends]
    lines.append(f"return {answer}")
    scope: dict[str, Any] = SCOPE | names | {"entry": entry, "enter": quiet.enter, "leave": quiet.leave}
    scope |= {"is_grad_enabled": is_grad_enabled, "written": written, "keep": keep}
    scope |= {"inferring": inferring, "mark_inference": mark_inference}
    # The text is made of this package's own templates, slot numbers and declared parameter names only.
    exec("def form(call, home, i):\n " + "\n ".join(lines), scope)  # noqa: S102
    written_out: Form = scope.pop("form")
    return written_out
