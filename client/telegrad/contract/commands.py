"""Everything that can happen to a session, as plain data: the closed vocabulary of commands.

A REST call is one command, a batch a list of them, a program a list with holes. Each class below is one command; its fields,
their types and defaults are written once here, and decoding, encoding and the JSON schema are read from them.

A *tensor reference* is a tensor's name, or a name followed by ``.grad`` for the gradient accumulated in it. In ``apply`` an
input is a reference (a JSON string), a number, or null for an absent optional tensor.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Final, TypeAlias

from telegrad.contract import callbacks, forms, kinds
from telegrad.contract.callbacks import Callback
from telegrad.contract.compositions import look_up
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.kinds import Kind

importlib.import_module("telegrad.contract.tensor")  # fills the op table


class _Absent:
    """The default of a field whose null means something: not given at all."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Create:
    """A tensor from literal data: exactly one of ``data``, ``base64`` and ``buffer``.

    Attributes:
        id: name of the new tensor.
        data: nested lists of numbers (or one number); NaN and infinities spelled as ``{"float": "NaN"}`` or plainly ``"NaN"``,
            complex numbers as ``{"complex": [real, imaginary]}``.
        base64: the raw little-endian elements in base64, with ``dtype`` and ``shape``.
        buffer: the name of an array of the safetensors body that carries this command.
        dtype: element type; by default that of the data, as ``torch.tensor`` infers it.
        shape: sizes; required with ``base64``, otherwise checked against the data if given.
        requires_grad: whether gradients are computed for it.
        inference: true makes it as inside ``torch.inference_mode()``.
    """

    command: ClassVar[str] = "create"
    id: str
    data: Any = ABSENT
    base64: str | None = None
    buffer: str | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    requires_grad: bool = False
    inference: bool = False


@dataclass(frozen=True, slots=True)
class Apply:
    """One op on tensors: new tensors, or an in-place change where the op's name ends in an underscore.

    Attributes:
        op: a name of ``GET /v1/ops``.
        inputs: references, numbers and nulls in the order of the op's inputs.
        parameters: the op's parameters; those left out have the op's defaults.
        outputs: names of the results, null for one that is not wanted; fewer than results leaves the rest unnamed. An
            in-place op has no new tensor; a name given to it becomes another name of the changed one.
        grad_enabled: false records no history, as inside ``torch.no_grad()``.
        scope: the part of the graph that the op belongs to, a name or several joined by ``/``; pictures group by it.
        inference: true computes as inside ``torch.inference_mode()``: no history, and results that never take part in one.
        pack: a name for what the op saves for backward, of which the session keeps nothing then: the answer's ``packed`` describes
            it, with names under which it is there until they are released, and each backward that comes by must bring it again, by
            an ``unpack`` callback. The answer also says which inputs and outputs are the ``same`` tensor, or have the history of
            one. Not in callbacks and programs.
    """

    command: ClassVar[str] = "apply"
    op: str
    inputs: tuple[Any, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str | None, ...] | None = None
    grad_enabled: bool = True
    scope: str | None = None
    inference: bool = False
    pack: str | None = None


@dataclass(frozen=True, slots=True)
class Backward:
    """Accumulate gradients into the leaves, or into ``inputs`` only; the parameters are those of ``torch.autograd.backward``.

    Attributes:
        callbacks: what hooks do on the way, see ``Callback``.
        anomaly: watch the walk: an error names the node that it came from, by the positions of inputs that lead to it from a root;
            with ``nan``, a gradient that has NaN in it is an error.
        waits: a name for the backward, which waits at all its callbacks and at nodes of ``attach``, see ``contract.callbacks``.
    """

    command: ClassVar[str] = "backward"
    tensors: tuple[str, ...]
    grad_tensors: tuple[str | None, ...] | None = None
    retain_graph: bool | None = None
    create_graph: bool = False
    inputs: tuple[str, ...] | None = None
    callbacks: tuple[Callback, ...] = ()
    anomaly: str | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Grad:
    """Gradients as new tensors, nothing accumulated; the parameters are those of ``torch.autograd.grad``.

    Attributes:
        results: names of the gradients, one per input; null for one that is not wanted. The answer says which exist.
        callbacks: what hooks do on the way, see ``Callback``.
        anomaly: watch the walk: an error names the node that it came from, by the positions of inputs that lead to it from a root;
            with ``nan``, a gradient that has NaN in it is an error.
        waits: see ``Backward``.
        bounded: the walk ends at the inputs, each of which counts as if it did not depend on another; gradients that tensors there
            retain are left to other walks.
    """

    command: ClassVar[str] = "grad"
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    grad_outputs: tuple[str | None, ...] | None = None
    retain_graph: bool | None = None
    create_graph: bool = False
    allow_unused: bool | None = None
    is_grads_batched: bool = False
    materialize_grads: bool = False
    results: tuple[str | None, ...] | None = None
    callbacks: tuple[Callback, ...] = ()
    anomaly: str | None = None
    waits: str | None = None
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Set:
    """Change what a tensor is set to; fields left out stay as they are.

    Attributes:
        tensor: the tensor.
        requires_grad: of a leaf.
        grad: null clears the accumulated gradient; a reference assigns that tensor.
        retain_grad: true keeps the gradient of a non-leaf.
        name: another name for the tensor, for example for ``x.grad``.
        data: the tensor whose memory, shape and dtype this one gets; history and gradient stay.
        detach: true makes it a leaf that does not require grad; not of a view.
    """

    command: ClassVar[str] = "set"
    tensor: str
    requires_grad: bool | None = None
    grad: str | _Absent | None = ABSENT
    retain_grad: bool | None = None
    name: str | None = None
    data: str | None = None
    detach: bool | None = None

    @property
    def changes(self) -> bool:
        """Whether it changes the tensor, and does not only name it."""
        return (self.requires_grad, self.retain_grad, self.data, self.detach) != (None,) * 4 or self.grad is not ABSENT


@dataclass(frozen=True, slots=True)
class Read:
    """A value or a description, out.

    Attributes:
        tensor: the tensor.
        what: ``value`` (with the description) or ``description`` alone; of ``x.grad``, null if there is no gradient.
        encoding: how values travel: ``json`` nested lists, ``base64``, or ``buffer`` in a safetensors answer.
        index: the part to read: integers, slices, null for a new dimension and ``"..."``, as in the parameter of ``getitem``; the
            answer's ``shape`` is that of the part. Null reads all of it.
    """

    command: ClassVar[str] = "read"
    tensor: str
    what: str = "value"
    encoding: str = "json"
    index: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The client no longer needs these names. Tensors that a graph still uses live on in it."""

    command: ClassVar[str] = "release"
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seed:
    """Restart the session's random generator, or keep or bring back its state: exactly one of the fields.

    Attributes:
        seed: where it starts anew.
        save: a name for a new tensor of its state: bytes that are the same as long as the draws to come are.
        state: a tensor that ``save`` made.
    """

    command: ClassVar[str] = "seed"
    seed: int | None = None
    save: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A stored program with these inputs, once or many times; tensors that it changes in place carry over from run to run.

    Attributes:
        program: the program's id.
        inputs: from the program's hole to a reference of the session, the same in every run.
        each: from a hole to a reference: in run number i the hole is row i of that tensor, ``select(0, i)``, a view. All have the
            same number of rows; every hole of the program is in ``inputs`` or in ``each``.
        outputs: from a reference inside the program to the name its tensor gets in the session after the last run.
        collect: from a reference inside the program to the name of a new tensor, without history: the values of all runs, stacked.
            If a run fails or is stopped it holds those of the runs before.
        times: how often: as often as the tensors of ``each`` have rows, which a number given here must agree with; else once.
        seconds: stop after the run in which so many are over; what was done stands.
    """

    command: ClassVar[str] = "run"
    program: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    each: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    collect: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Attach:
    """Make tensors the results of one node, whose gradients a ``custom`` callback of each backward that comes by computes: what a
    custom function, or a checkpoint, leaves in the graph.

    Attributes:
        name: what the node is called.
        inputs: the tensors that went in; at least one of them requires grad.
        outputs: what came out, tensors without history of their own; null in the place of what is no tensor.
        constants: positions of outputs that have no gradient.
        dirty: positions of outputs that are inputs, and were written to: they get a new history.
        label: what a walk that waits at the node calls it.
        materialize: zeros take the place of gradients that are missing.
        saves: the node can be walked once, unless the graph is retained.
        scope: see ``Apply``.
    """

    command: ClassVar[str] = "attach"
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    constants: tuple[int, ...] = ()
    materialize: bool = True
    saves: bool = False
    scope: str | None = None
    dirty: tuple[int, ...] = ()
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a ``backward`` or ``grad`` that waits, see ``Callback.pauses``.

    Attributes:
        walk: its name, which is free again.
        results: what the callback gives that it waited for, see ``Callback.results``.
        stops: true ends the backward here, see ``Callback.stops``.
        callbacks: further ones, for what comes next; their numbers go on from those before.
        gradients: of a ``grad`` that ends now, names of its gradients, in place of its ``results``.
    """

    command: ClassVar[str] = "resume"
    walk: str
    results: tuple[str | None, ...] | None = None
    stops: bool = False
    callbacks: tuple[Callback, ...] = ()
    gradients: tuple[str | None, ...] | None = None


Command: TypeAlias = Create | Apply | Backward | Grad | Set | Read | Release | Seed | Run | Attach | Resume

COMMANDS: Final[dict[str, type[Command]]] = {
    cls.command: cls for cls in (Create, Apply, Backward, Grad, Set, Read, Release, Seed, Run, Attach, Resume)
}


# What each field may be: one table, as for op parameters. --------------------------------------------------------------------


def _decode_inner(value: Any) -> Command:
    return decode_command(value)


def _encode_inner(command: Command) -> dict[str, Any]:
    return encode_command(command)


_KINDS: Final = (forms.REFERENCE, forms.OPTIONAL_NAMES, forms.OPTIONAL_MAYBE_REFERENCES, forms.OPTIONAL_NAME)
_CALLBACKS: Final = callbacks.Form(_decode_inner, _encode_inner, *_KINDS).kind()

FIELDS: Final[dict[str, dict[str, Kind]]] = {
    "create": {
        "id": forms.NAME,
        "data": forms.DATA,
        "base64": forms.OPTIONAL_BASE64,
        "buffer": forms.OPTIONAL_NAME,
        "dtype": forms.OPTIONAL_DTYPE,
        "shape": forms.OPTIONAL_SHAPE,
        "requires_grad": kinds.BOOL,
        "inference": kinds.BOOL,
    },
    "apply": {
        "op": kinds.STRING,
        "inputs": forms.INPUTS,
        "parameters": forms.PARAMETERS,
        "outputs": forms.OPTIONAL_NAMES,
        "grad_enabled": kinds.BOOL,
        "scope": forms.OPTIONAL_SCOPE,
        "inference": kinds.BOOL,
        "pack": forms.OPTIONAL_NAME,
    },
    "backward": {
        "tensors": forms.REFERENCES,
        "grad_tensors": forms.OPTIONAL_MAYBE_REFERENCES,
        "retain_graph": forms.OPTIONAL_BOOL,
        "create_graph": kinds.BOOL,
        "inputs": forms.OPTIONAL_REFERENCES,
        "callbacks": _CALLBACKS,
        "anomaly": forms.OPTIONAL_ANOMALY,
        "waits": forms.OPTIONAL_NAME,
    },
    "grad": {
        "outputs": forms.REFERENCES,
        "inputs": forms.REFERENCES,
        "grad_outputs": forms.OPTIONAL_MAYBE_REFERENCES,
        "retain_graph": forms.OPTIONAL_BOOL,
        "create_graph": kinds.BOOL,
        "allow_unused": forms.OPTIONAL_BOOL,
        "is_grads_batched": kinds.BOOL,
        "materialize_grads": kinds.BOOL,
        "results": forms.OPTIONAL_NAMES,
        "callbacks": _CALLBACKS,
        "anomaly": forms.OPTIONAL_ANOMALY,
        "waits": forms.OPTIONAL_NAME,
        "bounded": kinds.BOOL,
    },
    "set": {
        "tensor": forms.REFERENCE,
        "requires_grad": forms.OPTIONAL_BOOL,
        "grad": forms.OPTIONAL_REFERENCE,
        "retain_grad": forms.OPTIONAL_BOOL,
        "name": forms.OPTIONAL_NAME,
        "data": forms.OPTIONAL_REFERENCE,
        "detach": forms.OPTIONAL_BOOL,
    },
    "read": {
        "tensor": forms.REFERENCE,
        "what": forms.choice("value", "description"),
        "encoding": forms.choice("json", "base64", "buffer"),
        "index": forms.OPTIONAL_INDEX,
    },
    "release": {"tensors": forms.REFERENCES},
    "seed": {"seed": forms.OPTIONAL_INT, "save": forms.OPTIONAL_NAME, "state": forms.OPTIONAL_REFERENCE},
    "run": {
        "program": kinds.STRING,
        "inputs": forms.BOUND,
        "each": forms.BOUND,
        "outputs": forms.NAMED,
        "collect": forms.NAMED,
        "times": forms.OPTIONAL_COUNT,
        "seconds": forms.OPTIONAL_SECONDS,
    },
    "attach": {
        "name": forms.NODE_NAME,
        "inputs": forms.REFERENCES,
        "outputs": forms.MAYBE_REFERENCES,
        "constants": forms.POSITIONS,
        "materialize": kinds.BOOL,
        "saves": kinds.BOOL,
        "scope": forms.OPTIONAL_SCOPE,
        "dirty": forms.POSITIONS,
        "label": forms.OPTIONAL_NAME,
    },
    "resume": {
        "walk": forms.NAME,
        "results": forms.OPTIONAL_MAYBE_REFERENCES,
        "stops": kinds.BOOL,
        "callbacks": _CALLBACKS,
        "gradients": forms.OPTIONAL_NAMES,
    },
}


def _is_required(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(f.name for f in fields(cls) if _is_required(f)) for name, cls in COMMANDS.items()
}


def names_made(command: Command) -> Iterator[str]:
    """The names that a command gives to tensors, those in its callbacks included."""
    if isinstance(command, Create):
        yield command.id
    elif isinstance(command, (Set, Seed)):
        name = command.name if isinstance(command, Set) else command.save
        if name is not None:
            yield name
    elif isinstance(command, Run):
        yield from command.outputs.values()
        yield from command.collect.values()
    elif isinstance(command, Apply):
        yield from (n for n in command.outputs or () if n is not None)
    elif isinstance(command, (Backward, Grad, Resume)):
        gradients = None if isinstance(command, Backward) else command.results if isinstance(command, Grad) else command.gradients
        walk = None if isinstance(command, Resume) else command.waits
        yield from (n for n in (*(gradients or ()), walk) if n is not None)
        yield from callbacks.names_bound(command.callbacks)
        for inner in inner_commands(command):
            yield from names_made(inner)


def inner_commands(command: Command) -> Iterator[Command]:
    """The commands in the callbacks of a command, not those in the callbacks of these."""
    if isinstance(command, (Backward, Grad, Resume)):
        for callback in command.callbacks:
            yield from callback.commands


def decode_command(value: Any) -> Command:
    """A command from parsed JSON. Unknown and missing fields and wrong types are refused by name.

    The parameters of ``apply`` become canonical Python values by the op's own row.

    Raises:
        ArgumentTypeError, ArgumentValueError, UnknownOpError: naming command and field.
    """
    if type(value) is not dict:
        raise forms.refusal("a command object", value)
    name = value.get("command")
    cls = COMMANDS.get(name) if type(name) is str else None
    if cls is None:
        raise ArgumentValueError(f"'command' must be one of {', '.join(COMMANDS)}")
    return decode_fields(cls, {k: v for k, v in value.items() if k != "command"})


def decode_fields(cls: type[Command], given: Mapping[str, Any]) -> Command:
    """A command of a known class from its fields as parsed JSON; see ``decode_command``."""
    table = FIELDS[cls.command]
    decoded: dict[str, Any] = {}
    for name, value in given.items():
        kind = table.get(name)
        if kind is None:
            raise ArgumentTypeError(f"{cls.command} has no such field; its fields are: {', '.join(table)}")
        try:
            decoded[name] = kind.decode(value)
        except (ArgumentTypeError, ArgumentValueError) as error:
            raise type(error)(f"{cls.command}: field '{name}': {error.detail}") from None
    for name in _REQUIRED[cls.command]:
        if name not in decoded:
            raise ArgumentTypeError(f"{cls.command} misses the field '{name}'")
    if cls is Apply:
        op, _ = look_up(decoded["op"])
        if "parameters" in decoded:
            decoded["parameters"] = kinds.decode_parameters(op, decoded["parameters"])
    return cls(**decoded)


def encode_command(command: Command) -> dict[str, Any]:
    """The command as JSON that ``decode_command`` gives back; fields at their default are left out."""
    table = FIELDS[command.command]
    out: dict[str, Any] = {"command": command.command}
    for f in fields(command):
        value = getattr(command, f.name)
        if value is not f.default and value != {} and value is not ABSENT:
            out[f.name] = table[f.name].encode(value)
    if isinstance(command, Apply):
        out["inputs"] = [v if v is None or type(v) is str else kinds.encode_number(v) for v in command.inputs]
        if command.parameters:
            out["parameters"] = kinds.encode_parameters(look_up(command.op)[0], command.parameters)
    return out


def schema(cls: type[Command]) -> dict[str, Any]:
    """The JSON schema of one command."""
    table = FIELDS[cls.command]
    return {
        "type": "object",
        "title": cls.__name__,
        "description": (inspect.getdoc(cls) or "").split("\n\n")[0],
        "properties": {"command": {"const": cls.command}, **{name: kind.schema for name, kind in table.items()}},
        "required": ["command", *_REQUIRED[cls.command]],
        "additionalProperties": False,
    }
