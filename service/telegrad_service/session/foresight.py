"""Forecasts that are remembered: a training step sends the same commands on tensors of the same shapes again and again.

Commands are told apart by what a forecast sees of them: ops, parameters, shapes, and which input is which earlier result, whatever
the names. One that is known takes a tenth of the time, and is believed where what the session holds at most leaves room for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from telegrad.contract.commands import ABSENT, Apply, Attach, Backward, Command, Create, Grad, Read, Release, Resume, Run, Seed, Set
from telegrad_service.engine.tensor import Tensor
from telegrad_service.session.context import GRAD_SUFFIX, Context
from telegrad_service.session.forecast import Forecast
from telegrad_service.session.standins import literal, tracks

if TYPE_CHECKING:
    from telegrad_service.session.session import Session

_MOST_KNOWN: Final = 256
_LONGEST: Final = 20_000
"""Parts of a description; what is longer is not remembered."""

Part = tuple[Any, ...]


_FIELDS: Final = {
    "tenant_bytes": "peak_bytes",
    "tenant_tensors": "peak_names",
    "tenant_flops_per_second": "flops",
    "tenant_tensors_per_second": "made",
}
"""What each of a tenant's quotas counts of a forecast."""


class Totals(NamedTuple):
    """What commands need, beyond what there is: see ``Forecast``."""

    peak_bytes: int
    peak_nodes: int
    peak_names: int
    flops: int
    made: int
    answer_bytes: int


class _Unlike(Exception):  # noqa: N818 - a signal, never shown to users
    """These commands depend on more than what is written down of them."""


class Foresight:
    """The forecasts of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[Part, Totals] = {}

    def of(self, commands: Sequence[Command], context: Context) -> Totals:
        """What the commands need. Raises LimitError for what cannot fit, and TooLongError where a hasty session has to count."""
        key = _describe(commands, context)
        known = None if key is None else self._known.get(key)
        if known is not None and self._has_room(known):
            return known
        forecast = Forecast(self._session, context)
        forecast.through(commands)
        totals = Totals(*[getattr(forecast, name) for name in Totals._fields])
        if key is not None and forecast.is_whole:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = totals
        return totals

    def first_beyond(self, commands: Sequence[Command], context: Context, refusal: Mapping[str, Any]) -> int:
        """Which command is the first that needs more than a tenant may have, as the members of the refusal say."""
        field = _FIELDS[refusal["limit"]]
        available = refusal["permitted"] - refusal.get("used", 0)
        forecast = Forecast(self._session, context)
        return forecast.through(commands, lambda: getattr(forecast, field) > available)

    def forget(self) -> None:
        """Other limits hold from now on."""
        self._known.clear()

    def _has_room(self, totals: Totals) -> bool:
        session = self._session
        limits, held = session.limits, session.quota.held
        return (
            held.nbytes + totals.peak_bytes <= limits.max_session_bytes
            and held.nodes + totals.peak_nodes <= limits.max_nodes
            and len(session.names) + totals.peak_names <= limits.max_tensors
        )


class _Names:
    """Which name is which tensor, as numbers in order of appearance."""

    def __init__(self, context: Context, key: list[Any]) -> None:
        self.numbers: dict[str, Any] = {}
        self._real: Mapping[str, Tensor] = context.names
        self._tensors: dict[int, int] = {}
        self._key = key
        self._next = 0

    def look(self, name: str) -> Any:
        """The number of a reference; what it is comes into the key when it is first met. Raises _Unlike."""
        number = self.numbers.get(name)
        return self._meet(name) if number is None else number

    def _meet(self, name: str) -> Any:
        tensor = self._real.get(name)
        if tensor is None:
            if not name.endswith(GRAD_SUFFIX):
                raise _Unlike
            return ("grad", self.look(name[: -len(GRAD_SUFFIX)]))
        number = self._tensors.get(id(tensor))
        if number is None:
            gradient = tensor.kept_gradient
            if tensor.node is not None or tensor.base is not None or (gradient is not None and gradient.node is not None):
                raise _Unlike  # its graph is not written down
            number = self._tensors[id(tensor)] = self._next
            self._next += 1
            array = tensor.array
            self._key += (number, array.shape, array.dtype, tracks(tensor), gradient is not None)
        self.numbers[name] = number
        return number

    def make(self, name: str | None) -> None:
        """A new tensor gets a name."""
        if name is not None:
            if name in self._real and name not in self.numbers:
                raise _Unlike  # the name is taken
            self.numbers[name] = self._next
        self._next += 1

    def drop(self, name: str) -> Any:
        """A name goes; its number. Of a tensor that is only released nothing more is seen than that it was there."""
        number = self.numbers.get(name)
        if number is None:
            number = "held" if name in self._real else self._meet(name)
        self.numbers[name] = "gone"
        return number


def _describe(commands: Sequence[Command], context: Context) -> Part | None:
    """All that a forecast sees; None where that is more than can be written down."""
    key: list[Any] = []
    names = _Names(context, key)
    try:
        for command in commands:
            _WRITERS[type(command)](command, names, key, context)
            if len(key) > _LONGEST:
                return None
    except _Unlike:
        return None
    return tuple(key)


def _apply(command: Apply, names: _Names, key: list[Any], _context: Context) -> None:
    numbers = names.numbers
    key += (command.op, command.grad_enabled, command.inference, command.pack is None)
    for value in command.inputs:
        if value.__class__ is str:
            number = numbers.get(value)
            key.append(names.look(value) if number is None else number)
        else:
            key += (value.__class__, value)
    if command.parameters:
        key.append(repr(command.parameters))  # types too: 1, 1.0 and True are equal
    outputs = command.outputs
    if outputs is None:
        key.append(None)
        return
    in_place = command.op.endswith("_")
    for name in outputs:
        if in_place:
            raise _Unlike
        key.append(name is None)
        names.make(name)


def _create(command: Create, names: _Names, key: list[Any], context: Context) -> None:
    if command.buffer is not None:
        array = context.buffers.get(command.buffer)
        if array is None:
            raise _Unlike
        what: Part = (array.shape, array.dtype)
    elif command.base64 is not None:
        what = ("base64", command.shape)
    else:
        what = literal(command.data)
    key += ("create", *what, command.dtype, command.requires_grad)
    names.make(command.id)


def _backward(command: Backward, names: _Names, key: list[Any], _context: Context) -> None:
    if command.callbacks:
        raise _Unlike
    key += ("backward", *map(names.look, command.tensors), command.retain_graph, command.create_graph)
    key += (None,) if command.inputs is None else map(names.look, command.inputs)


def _grad(command: Grad, names: _Names, key: list[Any], _context: Context) -> None:
    if command.callbacks or command.is_grads_batched or command.bounded or command.results is None:
        raise _Unlike
    key += ("grad", *map(names.look, command.outputs), command.retain_graph, command.create_graph, *map(names.look, command.inputs))
    for name in command.results:
        key.append(name is None)
        names.make(name)


def _set(command: Set, names: _Names, key: list[Any], _context: Context) -> None:
    if command.data is not None or command.detach or command.name is not None or isinstance(command.grad, str):
        raise _Unlike
    key += ("set", names.look(command.tensor), command.requires_grad, command.grad is ABSENT)


def _read(command: Read, names: _Names, key: list[Any], _context: Context) -> None:
    key += ("read", names.look(command.tensor), command.what, command.encoding, command.index is None)


def _release(command: Release, names: _Names, key: list[Any], _context: Context) -> None:
    key += ("release", *map(names.drop, command.tensors))


def _run(command: Run, names: _Names, key: list[Any], _context: Context) -> None:
    key += ("run", command.program, command.times)
    for hole, reference in (*command.inputs.items(), ("", ""), *command.each.items()):
        key += (hole, names.look(reference) if hole else None)
    for inside, name in (*command.outputs.items(), ("", None), *command.collect.items()):
        key.append(inside)
        names.make(name)


def _seed(command: Seed, _names: _Names, _key: list[Any], _context: Context) -> None:
    """A generator takes nothing."""
    if command.seed is None:
        raise _Unlike


def _attach(_command: Attach | Resume, _names: _Names, _key: list[Any], _context: Context) -> None:
    raise _Unlike


_WRITERS: Final[Mapping[type, Any]] = {
    Create: _create,
    Apply: _apply,
    Backward: _backward,
    Grad: _grad,
    Set: _set,
    Read: _read,
    Release: _release,
    Run: _run,
    Seed: _seed,
    Attach: _attach,
    Resume: _attach,
}
