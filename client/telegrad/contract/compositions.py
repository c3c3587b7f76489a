"""Compositions: public functions made of ops. They have no kernel and no formula; over HTTP they have names like any op.

In Python a composition is called like every function, and what it does is applied op by op, here or over the wire. Who has HTTP
alone names it in ``POST .../ops``, and the session calls the same function on its tensors, so the graph shows the parts. The row is
read from the signature, as an op's is; the shape, type and cost rule is a run of the function on tensors without values.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import UnknownOpError
from telegrad.contract.ops import OPS, Op, Outcome, Shape, Spec, UnknownShape, find, read_signature, returns_tuple
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.watching import without_warnings


class Composition(NamedTuple):
    """A row and the function behind it.

    Attributes:
        op: the row: name, inputs, parameters, rule.
        function: what to call.
        path: its public name under ``telegrad``, ``nn.functional.glu``.
        makes: whether it makes tensors from nothing, and takes a session, or an engine, first.
    """

    op: Op
    function: Callable[..., Any]
    path: str
    makes: bool

    def call(self, home: Any, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
        """Call the function as the wire says: inputs in the order of the slots, parameters by name."""
        kinds = inspect.signature(self.function).parameters
        named = dict(parameters)
        first: list[Any] = [home] if self.makes else []
        rest: list[Any] = []
        for place, slot in enumerate(self.op.inputs):
            value: Any = tuple(inputs[place:]) if slot.variadic else inputs[place] if place < len(inputs) else None
            if kinds[slot.name].kind is inspect.Parameter.VAR_POSITIONAL:
                rest += value
            elif not first:
                first.append(value)
            else:
                named[slot.name] = value
        for name, parameter in kinds.items():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                rest += named.pop(name.removesuffix("_"), ())
        return self.function(*first, *rest, **named)


COMPOSITIONS: Final[dict[str, Composition]] = {}
"""By the name on the wire, which no op has; filled by ``load``."""

ALIASES: Final[dict[str, str]] = {}
"""Further names of ops, among them the public paths: ``true_divide`` is ``div``, ``nn.functional.linear`` is ``linear``."""


def load() -> None:
    """Fill both tables, once."""
    if not COMPOSITIONS:
        importlib.import_module("telegrad.contract.functions.rows")


def look_up(name: str) -> tuple[Op, bool]:
    """The row of that name, an op's or a composition's, and whether the name asks for the in-place form of an op.

    Raises UnknownOpError naming the nearest ones.
    """
    op = OPS.get(name)
    in_place = op is None and name.endswith("_") and name[:-1] in OPS and OPS[name[:-1]].inplace
    if in_place:
        op = OPS[name[:-1]]
    elif op is None:
        load()
        known = ALIASES.get(name, name)
        composed = COMPOSITIONS.get(known)
        op = composed.op if composed is not None else OPS.get(known)
    if op is None:
        op = find(name)
    if op.namespace == "internal":
        raise UnknownOpError("there is no such op; GET /v1/ops lists them")
    return op, in_place


def spellings(op: Op) -> list[str]:
    """All names under which the op is called: its own, its in-place form, and its aliases, likewise."""
    names = [op.name, *sorted(alias for alias, name in ALIASES.items() if name == op.name)]
    return [*names, *(f"{name}_" for name in names if op.inplace and not name.startswith("__"))]


def writes(name: str) -> bool:
    """Whether a composition of that name changes its first tensor: ``multiply_``, and not ``__rsub__``."""
    return name.endswith("_") and not name.endswith("__")


def add(name: str, path: str, function: Callable[..., Any], *, makes: bool = False, outputs: tuple[str, ...] = ("result",)) -> None:
    """Register a composition under the name on the wire."""
    if name in OPS or name in COMPOSITIONS:
        raise ValueError(f"{name} has a row")
    inputs, parameters = read_signature(function, method=True)
    namespace = path.rpartition(".")[0]
    op = Op(
        name=name,
        family="compositions",
        namespace=namespace,
        doc=inspect.getdoc(function) or "",
        inputs=inputs,
        parameters=parameters,
        defaults={p.name: p.default for p in parameters.values() if not p.required},
        outputs=outputs,
        rule=lambda given, complete: foreseen(COMPOSITIONS[name], given, complete),
        differentiable=tuple(s.name for s in inputs),
        nondifferentiable_reason="" if inputs else "it has no tensor input",
        refuses=False,
        view=False,
        inplace=False,
        flat_in_place=False,
        random=False,
        reflected=False,
        needs="",
        node="",
        function=function,
    )
    COMPOSITIONS[name] = Composition(op, function, path, makes)


# Calls without values ----------------------------------------------------------------------------------------------------------


class Ledger:
    """What the ops of a run on tensors without values would cost."""

    def __init__(self) -> None:
        self.flops = 0
        self.kept_bytes = 0
        self.scratch_bytes = 0
        self.nodes = 0

    def tensor(self, data: Any, dtype: DType | None = None, requires_grad: bool = False) -> Foreseen:  # noqa: ARG002 - a session's signature
        """Data as a tensor, as a session makes it: a list of positions, say."""
        array = np.asarray(data)
        return Foreseen(self, Spec(array.shape, dtypes.from_numpy(array.dtype) if dtype is None else dtype))

    def _apply(self, name: str, /, *inputs: Any, **parameters: Any) -> Any:
        op, in_place = OPS.get(name), False
        if op is None:
            op, in_place = find(name.removesuffix("_")), True
        outcome = op.infer([x.spec if isinstance(x, Foreseen) else x for x in inputs], parameters)
        self.flops += outcome.flops
        self.scratch_bytes = max(self.scratch_bytes, outcome.scratch_bytes)
        self.nodes += 1
        if in_place:
            return inputs[0]
        if not op.view:
            self.kept_bytes += sum(o.nbytes for o in outcome.outputs)
        made = tuple([Foreseen(self, o) for o in outcome.outputs])
        return made if returns_tuple(op) else made[0]


class Foreseen(Tensor):
    """A tensor of which shape and type are known, and no value."""

    __slots__ = ("ledger", "spec")

    def __init__(self, ledger: Ledger, spec: Spec) -> None:
        self.ledger = ledger
        self.spec = spec

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions."""
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.spec.dtype

    @property
    def session(self) -> Any:
        """Who makes tensors."""
        return self.ledger

    @property
    def requires_grad(self) -> bool:
        """No function here asks in order to compute something else."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        """It changes neither shape nor type."""

    @property
    def is_leaf(self) -> bool:
        """Likewise."""
        return True

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        return self.ledger._apply(op, *inputs, **parameters)  # pyright: ignore[reportPrivateUsage]

    def _value(self) -> npt.NDArray[Any]:
        raise UnknownShape(self.dtype)

    def numpy(self, *, force: bool = False) -> npt.NDArray[Any]:  # noqa: ARG002 - a tensor's signature
        """What follows from values cannot be foreseen."""
        raise UnknownShape(self.dtype)

    def _check_turnable(self, name: str) -> None:
        """The tensor itself says when the time comes."""

    def _take_data(self, value: Any) -> None:
        self.spec = value.spec

    def _cut_history(self) -> None:
        """There is none."""


def foreseen(composition: Composition, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
    """The rule of a composition: its call on tensors of these shapes and types. Raises what the function or an op of it raises."""
    ledger = Ledger()
    tensors = [Foreseen(ledger, x) if isinstance(x, Spec) else x for x in inputs]
    given = {n: v for n, v in parameters.items() if n not in composition.op.defaults or v is not composition.op.defaults[n]}
    with without_warnings():
        returned = list(results(composition.call(ledger, tensors, given)))
    outputs = tuple(
        [x.spec if isinstance(x, Foreseen) else Spec(np.shape(x), dtypes.from_numpy(np.asarray(x).dtype)) for x in returned]
    )
    own = sum(o.nbytes for o in outputs)
    return Outcome(outputs, ledger.flops, None, ledger.scratch_bytes, max(ledger.nodes, 1), max(ledger.kept_bytes - own, 0))


def run(name: str, home: Any, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Call the composition on tensors of ``home``: its results, where a Python value became a tensor without dimensions."""
    with without_warnings():  # for a user at the keyboard, who here is somewhere else
        returned = COMPOSITIONS[name].call(home, inputs, parameters)
    return tuple([x if isinstance(x, TensorBase) else home.wrap(np.array(x)) for x in results(returned)])


def results(returned: Any) -> Iterator[Any]:
    """The tensors and Python values that a function returned, in order; a shape is one value."""
    if isinstance(returned, (tuple, list)) and not (returned and all(type(x) is int for x in returned)):
        for item in cast("Sequence[Any]", returned):
            yield from results(item)
    elif returned is not None:
        yield returned
