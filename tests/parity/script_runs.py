"""Running the lines of a random script, and what each left behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from tests.references.comparison import difference
from tests.samples import Array

PREAMBLE: Final = """
class Cube(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x
"""

SameNode = Callable[["str | None", "str | None"], bool]
"""Whether names of nodes count as the same."""


def namespace(library: Any) -> dict[str, Any]:
    """What a script's lines run in."""
    names: dict[str, Any] = {"T": library, "F": library.nn.functional, "log": [], "versions": {}}
    exec(PREAMBLE, names)
    return names


def run_line(line: str, names: dict[str, Any]) -> tuple[BaseException | None, list[str]]:
    """What the line raised, and the categories of its warnings."""
    raised: BaseException | None = None
    before, logged = set(names), len(names["log"])
    with warnings.catch_warnings(record=True) as said, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            try:
                exec(line, names)
            finally:
                session = names.get("session")
                if session is not None:
                    session.flush()  # where a hook raised, the server may have failed before that
        except Exception as error:  # noqa: BLE001 - what is raised is the result
            raised = error
            for name in set(names) - before:
                del names[name]  # on a server, a name may be given to what turns out not to be
            if not isinstance(error, KeyError):  # which hooks raise: a client calls hooks before it knows that a walk fails
                del names["log"][logged:]
    for name in [
        name for name, value in names.items() if name[0] == "v" and name[1:].isdigit() and not hasattr(value, "requires_grad")
    ]:
        value = names.pop(name)
        while isinstance(value, (tuple, list)) and value:
            value = value[0]
        if hasattr(value, "requires_grad"):
            names[name] = value
    return raised, [w.category.__name__ for w in said]


@dataclass(frozen=True)
class Look:
    """A tensor as it stands after a line."""

    values: Array
    requires_grad: bool
    is_leaf: bool
    node: str | None
    version: Any
    retains: bool

    def flags(self) -> tuple[Any, ...]:
        """All but the values."""
        return self.requires_grad, self.is_leaf, self.node, self.version, self.retains


def look(tensor: Any) -> Look:
    """Read a tensor."""
    values = tensor.detach()
    values = np.array((values.resolve_conj().resolve_neg() if hasattr(values, "resolve_neg") else values).numpy())
    try:
        version = tensor._version
    except RuntimeError:
        version = "none"
    try:
        node = tensor.grad_fn
        name = None if node is None else node.name().rpartition("::")[2]
        leaf, retains = bool(tensor.is_leaf), bool(tensor.retains_grad)
    except RuntimeError:  # a view that cannot follow its base
        name, leaf, retains = "refused", False, False
    return Look(values, bool(tensor.requires_grad), leaf, name, version, retains)


def state(names: dict[str, Any]) -> dict[str, Any]:
    """All tensors, their gradients, and what hooks saw."""
    seen: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in names.items():
            if name[0] == "v" and name[1:].isdigit():
                seen[name] = looked = look(value)
                # What an op wrote on its way to a new tensor is nobody's business: versions count from the first look.
                first = names["versions"].setdefault(id(value), (value, looked.version))[1]
                if looked.version != "none" and first != "none":
                    seen[name] = replace(looked, version=looked.version - first)
                seen[name + ".grad"] = None if value.grad is None else replace(look(value.grad), version=None)
        for at, entry in enumerate(names["log"]):
            seen[f"log[{at}]"] = replace(look(entry), version=None) if hasattr(entry, "requires_grad") else str(tuple(entry))
    return seen


def same_history(mine: str | None, theirs: str | None) -> bool:
    """Whether two names of nodes are of nodes both, or of none; what they are called is a test of its own."""
    return (mine is None) == (theirs is None)


def differences(found: dict[str, Any], wanted: dict[str, Any], *, same_node: SameNode = same_history) -> list[str]:
    """What differs between two states."""
    said: list[str] = []
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        a, b = found.get(name), wanted.get(name)
        if not isinstance(a, Look) or not isinstance(b, Look):
            if a != b:
                said.append(f"{name}: {a} where the other has {b}")
            continue
        if text := difference(a.values, b.values, slack=10):
            said.append(f"{name}: {text}")
        for field, mine, theirs in zip(
            ("requires_grad", "is_leaf", "grad_fn", "_version", "retains_grad"), a.flags(), b.flags(), strict=True
        ):
            if mine != theirs and not (field == "grad_fn" and same_node(mine, theirs)):
                said.append(f"{name}: {field} is {mine} where the other has {theirs}")
    return said


@dataclass(frozen=True)
class After:
    """What a line left behind."""

    raised: BaseException | None
    warned: frozenset[str]
    state: dict[str, Any]


def play(lines: list[str], library: Any, session: Any = None, *, preamble: str = "", looks: bool = True) -> list[After]:
    """Run a script, and look at everything after each line; without ``looks``, after the last one."""
    names = namespace(library)
    exec(preamble, names)
    if session is not None:
        names["session"] = session
    seen: list[After] = []
    for at, line in enumerate(lines, 1):
        raised, warned = run_line(line, names)
        seen.append(After(raised, frozenset(warned), state(names) if looks or at == len(lines) else {}))
    return seen


def first_difference(
    found: list[After], wanted: list[After], *, same_node: SameNode = same_history
) -> tuple[int, list[str]] | None:
    """The first line after which two runs differ, and how."""
    for at, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if (a.raised is None) != (b.raised is None) or (b.raised is not None and _kinds(b.raised)[0] not in _kinds(a.raised)):
            return at, [f"raised {a.raised!r} where the other raised {b.raised!r}"]
        if a.warned != b.warned:
            return at, [f"warned {sorted(a.warned)} where the other warned {sorted(b.warned)}"]
        if said := differences(a.state, b.state, same_node=same_node):
            return at, said
    return None


def _kinds(error: BaseException | None) -> list[str]:
    return [c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"]


def shortened(lines: list[str], differs: Callable[[list[str]], bool]) -> list[str]:
    """The script without the lines that the difference does not need."""
    for at in _backwards(lines):
        shorter = lines[:at] + lines[at + 1 :]
        if differs(shorter):
            lines = shorter
    return lines


def _backwards(lines: list[str]) -> Iterator[int]:
    return reversed(range(len(lines)))
