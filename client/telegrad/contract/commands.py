"""Everything that can happen to a session, as plain data: the closed vocabulary of commands.

A REST call is one command, a batch a list of them, a program a list with holes. Each class below is one command; its fields and
their defaults are written once here. What each may be in JSON is the table in ``command_fields``.

A *tensor reference* is a tensor's name, or a name followed by ``.grad`` for the gradient accumulated in it. In ``apply`` an
input is a reference (a JSON string), a number, or null for an absent optional tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeAlias

from telegrad.contract import callbacks
from telegrad.contract.callbacks import Callback


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
        grad_enabled: false takes the rows of ``each`` without history, as inside ``torch.no_grad()``.
    """

    command: ClassVar[str] = "run"
    program: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    each: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    collect: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None
    seconds: float | None = None
    grad_enabled: bool = True


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
