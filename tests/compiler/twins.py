"""The same runs in two sessions, one of which never compiles; afterwards everything that anybody can see must be equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import LeafError, TelegradError
from telegrad_service.compiler.plan import Plan
from telegrad_service.session.session import Session


class Twins:
    """Two sessions with equal tensors: ``compiled`` and ``plain``."""

    def __init__(self, tensors: dict[str, Any], limits: Any = None, requires_grad: tuple[str, ...] = ()) -> None:
        self.compiled, self.plain = Session("compiled", limits), Session("plain", limits)
        for session in self.both:
            session.engine.seed(7)
            for name, array in tensors.items():
                tensor = session.engine.wrap(np.array(array, copy=True, order="K"))
                tensor.requires_grad = name in requires_grad
                session.names[name] = tensor
        self.plain.compiled.compiles = False

    @property
    def both(self) -> tuple[Session, Session]:
        return self.compiled, self.plain

    def store(self, commands: list[dict[str, Any]], inputs: list[str]) -> str:
        decoded = [decode_command(c) for c in commands]
        return next(iter({s.store_program(decoded, inputs).id for s in self.both}))

    def run(self, program: str, inputs: dict[str, str], outputs: dict[str, str] | None = None, times: int = 1) -> None:
        """Run in both, and compare answers, errors and all that is left."""
        command = decode_command({"command": "run", "program": program, "inputs": inputs, "outputs": outputs or {}, "times": times})
        got, want = [outcome(s, command) for s in self.both]
        assert got == want
        self.compare()

    def compare(self) -> None:
        ours, theirs = self.both
        assert ours.names.keys() == theirs.names.keys()
        for name, tensor in ours.names.items():
            same(name, tensor, theirs.names[name])
        assert ours.engine.generator.bit_generator.state == theirs.engine.generator.bit_generator.state

    def batch(self, *commands: dict[str, Any]) -> None:
        """Do the same commands in both."""
        answers = [s.batch([decode_command(c) for c in commands]) for s in self.both]
        assert answers[0].results == answers[1].results
        ours, theirs = [(a.applied, type(a.failed), str(a.failed)) for a in answers]
        assert ours == theirs
        self.compare()

    @property
    def plans(self) -> list[Any]:
        """What the compiling session knows: plans, or reasons why there is none."""
        return list(self.compiled.compiled.plans._known.values())

    def plan(self) -> Plan:
        """The only plan; fails, with the reason, where there is none."""
        plans = [p for p in self.plans if isinstance(p, Plan)]
        assert plans, self.plans
        return plans[-1]


def outcome(session: Session, command: Any) -> Any:
    """Results and arrays of a command, or its error."""
    try:
        result, arrays = session.apply(command)
    except TelegradError as error:
        return type(error), str(error), error.extra
    return result, {name: (a.dtype, a.tobytes()) for name, a in arrays.items()}


def same(name: str, ours: Any, theirs: Any) -> None:
    """Equal values to the bit, and equal in all that can be asked of a tensor."""
    a, b = ours.array, theirs.array
    assert (a.shape, a.dtype, a.strides) == (b.shape, b.dtype, b.strides), name
    assert np.array_equal(np.ascontiguousarray(a).view(np.uint8), np.ascontiguousarray(b).view(np.uint8)) or (
        np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    ), (name, a, b)
    assert ours._version == theirs._version, name
    stale = stale_history(ours)
    assert stale == stale_history(theirs), name
    if stale:
        return
    assert ours.requires_grad == theirs.requires_grad, name
    assert ours.retains_grad == theirs.retains_grad, name
    assert (ours.kept_gradient is None) == (theirs.kept_gradient is None), name
    if ours.kept_gradient is not None:
        same(name + ".grad", ours.kept_gradient, theirs.kept_gradient)
    assert graph(ours) == graph(theirs), name


def stale_history(tensor: Any) -> str:
    """Why nobody may ask for the history of a view; empty where one may."""
    try:
        tensor.current_node()
    except LeafError as error:
        return str(error)
    return ""


def graph(tensor: Any) -> Any:
    """The names of nodes on the way to the leaves, and how many ways there are on from each."""
    names: list[Any] = []
    todo, seen = [tensor.grad_fn], {}
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen[id(node)] = node  # alive, so that no other gets its id
        names.append((node.name(), len(node.next_functions)))
        todo.extend(n for n, _ in node.next_functions if n is not None and n.name() != "AccumulateGrad")
    return names
