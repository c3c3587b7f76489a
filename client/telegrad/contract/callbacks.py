"""Callbacks: what a ``backward`` or ``grad`` does on its way, as commands instead of code.

A hook is a Python function and stays where it was written. The client calls it while it records the backward, with handles for
the gradients; what it does with them becomes the commands of a ``Callback``, which the server does when its walk is there.

Where the client cannot know what a walk comes by, it asks: a ``backward`` or ``grad`` with ``waits``, a name, waits at each of
its callbacks, after their commands, and at each node of ``attach``, or of an ``apply`` with ``pack``, that none is for. The answer
says at which ``callback``, or at the node of which ``label`` (or name of ``pack``); it names and describes the gradients
(``grads``, and those that ``arrived``), null where there is none, and tells which callbacks are ``reached`` at all. ``resume`` goes
on until the answer's ``waits`` is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from telegrad.contract import kinds
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.kinds import Kind

if TYPE_CHECKING:
    from telegrad.contract.commands import Command

Place: TypeAlias = "str | tuple[str | int, ...]"
"""Where a callback is called. A reference: at that tensor's node, or at the leaf that it is. Or a list whose first item is a
reference, or the number of an earlier callback of the same command, and whose further items lead from that node towards the leaves:
each is the position of an input of the op."""

KINDS: Final = ("tensor", "accumulated", "before", "after", "custom", "unpack")


@dataclass(frozen=True, slots=True)
class Callback:
    """What one hook does in one backward.

    Attributes:
        on: where, see ``Place``; of ``unpack``, the name that ``pack`` gave.
        kind: ``tensor`` sees the gradient of one output of the node, or of the leaf, before anything else does; ``before`` sees
            all gradients that arrived at the node, and ``after`` those that it gives to its inputs; ``accumulated`` comes when the
            gradient was added to that of the leaf; ``custom`` computes the gradients of a node that ``attach`` made, and its
            results are those, one for each input; ``unpack`` brings what an op with ``pack`` saved, and its results are that, one
            for each tensor that was packed. Those of one kind and place are called in the order in which they are listed.
        output: which output's gradient a ``tensor`` callback sees; left out, the one that ``on`` leads to.
        grads: names for the gradients that it sees: one for ``tensor``, one for each output that can have one for ``before``,
            one for each output for ``custom``, one for each of the node's ``next_functions`` for ``after``; null where it does not
            need one. Left out, none is needed.
        arrived: for ``after``, names for the gradients that arrived at the node, likewise.
        commands: what it does, in order; anything but ``read``, ``release`` and ``run``.
        results: references to the gradients to go on with in place of those that it sees, null for zeros where there are several
            outputs; null: they stay as they are.
        stops: true ends the backward here, as the function did that raised an error: what is accumulated so far stays, ``grad``
            has no results.
        pauses: a name for the backward, which waits here for a ``resume`` of that name, after the commands: whoever needs values
            to go on reads them meanwhile. Not in the callbacks of a callback's commands, and not in programs.
    """

    on: Place
    kind: str
    output: int | None = None
    grads: tuple[str | None, ...] = ()
    arrived: tuple[str | None, ...] = ()
    commands: tuple[Command, ...] = ()
    results: tuple[str | None, ...] | None = None
    stops: bool = False
    pauses: str | None = None


def names_bound(callbacks: tuple[Callback, ...]) -> Iterator[str]:
    """The names that callbacks give to gradients and to what waits, not those that their commands make."""
    for callback in callbacks:
        for name in (*callback.grads, *callback.arrived, callback.pauses):
            if name is not None:
                yield name


class Form:
    """How callbacks look in JSON: a table of field kinds, as commands have one."""

    def __init__(
        self,
        decode_command: Callable[[Any], Command],
        encode_command: Callable[[Command], dict[str, Any]],
        reference: Kind,
        names: Kind,
        references: Kind,
        name: Kind,
    ) -> None:
        """Make the table from what commands are made of: a reference, lists of names or nulls and of references or nulls, a
        name or null.
        """
        self._decode_command = decode_command
        self._reference = reference
        place: dict[str, Any] = {
            "anyOf": [
                reference.schema,
                {
                    "type": "array",
                    "prefixItems": [{"anyOf": [reference.schema, {"type": "integer", "minimum": 0}]}],
                    "items": {"type": "integer", "minimum": 0},
                    "minItems": 1,
                },
            ],
        }
        size: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}
        commands: dict[str, Any] = {"type": "array", "items": {"$ref": "#/components/schemas/Command"}}
        self.table: Final[Mapping[str, Kind]] = {
            "on": Kind(place, self._place, lambda v: v if isinstance(v, str) else list(v)),
            "kind": Kind({"enum": list(KINDS)}, _kind, str),
            "output": Kind(size, lambda v: None if v is None else _count(v), _same),
            "grads": names,
            "arrived": names,
            "commands": Kind(commands, self._commands, lambda v: [encode_command(c) for c in v]),
            "results": references,
            "stops": kinds.BOOL,
            "pauses": name,
        }

    def kind(self) -> Kind:
        """The field kind of a list of callbacks."""
        schema = {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: kind.schema for name, kind in self.table.items()},
                "required": ["on", "kind"],
                "additionalProperties": False,
            },
        }
        return Kind(schema, self._decode, lambda v: [self._encode_one(c) for c in v])

    def _decode(self, value: Any) -> tuple[Callback, ...]:
        if type(value) is not list:
            raise ArgumentTypeError(f"expected a list of callbacks, got {kinds.json_type(value)}")
        return tuple([self._decode_one(v) for v in value])

    def _decode_one(self, value: Any) -> Callback:
        if type(value) is not dict:
            raise ArgumentTypeError(f"expected a callback object, got {kinds.json_type(value)}")
        decoded: dict[str, Any] = {}
        for name, item in value.items():
            if name not in self.table:
                raise ArgumentTypeError(f"a callback has no such field; its fields are: {', '.join(self.table)}")
            found = self.table[name].decode(item)
            decoded[name] = () if found is None and name in ("grads", "arrived") else found
        for f in fields(Callback):
            if f.default is MISSING and f.name not in decoded:
                raise ArgumentTypeError(f"a callback misses the field '{f.name}'")
        made = Callback(**decoded)
        if made.pauses is not None and (made.stops or made.results is not None):
            raise ArgumentValueError("a callback that pauses has no results and does not stop; the resume says so later")
        return made

    def _encode_one(self, callback: Callback) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for f in fields(Callback):
            value = getattr(callback, f.name)
            if f.default is MISSING or value != f.default:
                out[f.name] = self.table[f.name].encode(value)
        return out

    def _place(self, value: Any) -> Place:
        if type(value) is str:
            reference: str = self._reference.decode(value)
            return reference
        if type(value) is not list or not value:
            raise ArgumentTypeError("expected a reference, or a list of one and of input positions")
        first: str | int = self._reference.decode(value[0]) if type(value[0]) is str else _count(value[0])
        return (first, *[_count(v) for v in value[1:]])

    def _commands(self, value: Any) -> tuple[Command, ...]:
        if type(value) is not list:
            raise ArgumentTypeError(f"expected a list of commands, got {kinds.json_type(value)}")
        found = tuple([self._decode_command(v) for v in value])
        for command in found:
            if command.command in ("read", "release", "run", "resume"):
                raise ArgumentValueError(f"a callback cannot {command.command}; do it after the backward")
            if getattr(command, "pack", None) is not None:
                raise ArgumentValueError("nobody can be told what an op of a callback saved: leave out its 'pack'")
            if getattr(command, "waits", None) is not None or any(c.pauses is not None for c in getattr(command, "callbacks", ())):
                raise ArgumentValueError("only the outermost backward can pause, not one in a callback")
        return found


def _same(value: Any) -> Any:
    return value


def _kind(value: Any) -> str:
    if type(value) is not str or value not in KINDS:
        raise ArgumentValueError(f"expected one of {', '.join(KINDS)}")
    return value


_count: Final = kinds.at_least(0, "a position or number must not be negative")
