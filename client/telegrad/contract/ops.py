"""The op table: one row per op, read from the typed method (or function) that is the op.

``@op(...)`` reads a signature once and registers a row. Parameters annotated as tensors become *inputs* (by position on the wire);
all others become *parameters* (by keyword). Nothing else lists ops: wire schema, catalogue, docs and free functions read ``OPS``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from telegrad.contract.dtypes import DType
from telegrad.contract.errors import ArgumentTypeError, ShapeError, UnknownOpError

Shape: TypeAlias = tuple[int, ...]

MAX_DIMENSIONS: Final = 64
"""As many as numpy's arrays can have, and PyTorch's tensors."""


class Spec(NamedTuple):
    """What is known of a tensor without its values."""

    shape: Shape
    dtype: DType

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize


SizeByName: TypeAlias = "Sequence[int] | None"
"""Annotates the keyword under which sizes may be given that are usually given one by one: ``x.view(size=(2, 3))``."""

TypeByName: TypeAlias = "DType | None"
"""Annotates an element type that makes the call one of another op: ``x.view(dtype=telegrad.int32)``."""

Input: TypeAlias = "Spec | bool | int | float | complex | None"
"""What a rule sees of an input: a tensor's Spec, a Python number, or None for an absent optional tensor."""


class Outcome(NamedTuple):
    """What a rule foresees.

    Attributes:
        outputs: the Spec of each output; a shape of None means it depends on values (a mask, say).
        flops: arithmetic operations, an estimate good to a small factor.
        compute: the type tensor inputs are converted to before the kernel runs; None leaves each as it is.
        scratch_bytes: memory the kernel needs beside its outputs.
        nodes: nodes of the graph that it makes at most.
        kept_bytes: of what the graph may keep beside the outputs: values on the way in a composition.
    """

    outputs: tuple[Spec, ...]
    flops: int
    compute: DType | None = None
    scratch_bytes: int = 0
    nodes: int = 1
    kept_bytes: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all outputs and the scratch memory."""
        return sum(o.nbytes for o in self.outputs) + self.scratch_bytes


Rule: TypeAlias = "Callable[[Sequence[Any], Mapping[str, Any]], Outcome]"
"""``rule(inputs, parameters)``: inputs as Input values in signature order (a variadic op gets all its tensors), parameters complete
with defaults. Raises the error a user should see, before anything is computed."""


class UnknownShape(Exception):  # noqa: N818 - a signal between rule and caller, never shown to users
    """Raised inside a rule when an output's shape depends on values. Carries the output types."""

    def __init__(self, *dtypes: DType) -> None:
        super().__init__()
        self.dtypes = dtypes


@dataclass(frozen=True, slots=True)
class InputSlot:
    """One tensor input of an op.

    Attributes:
        name: as in the signature (``self`` for the method's own tensor).
        number: whether a Python number may stand in its place.
        optional: whether None may.
        variadic: whether it takes a sequence of tensors; such a slot is the op's only one, or its last.
    """

    name: str
    number: bool = False
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One keyword parameter: its name, the annotation (a key of ``kinds.KINDS``), and its default."""

    name: str
    annotation: str
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether the caller must give it."""
        return self.default is inspect.Parameter.empty


_REAL: Final = (bool, int, float)
_PLAIN: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "bool | None": (bool, type(None)),
    "float": _REAL,
    "float | None": (*_REAL, type(None)),
    "str": (str,),
    "str | None": (str, type(None)),
    "Number": (*_REAL, complex),
    "Number | None": (*_REAL, complex, type(None)),
}
"""What stands for a parameter that is one Python value: a tensor, a list or a text is refused before it gets to a kernel."""


@dataclass(frozen=True, slots=True)
class Op:
    """A row of the table. See ``op`` for what each field means."""

    name: str
    family: str
    namespace: str
    doc: str
    inputs: tuple[InputSlot, ...]
    parameters: Mapping[str, Parameter]
    defaults: Mapping[str, Any]
    outputs: tuple[str, ...]
    rule: Rule
    differentiable: tuple[str, ...]
    nondifferentiable_reason: str
    refuses: bool
    view: bool
    inplace: bool
    flat_in_place: bool
    random: bool
    reflected: bool
    needs: str
    node: str
    function: Callable[..., Any] = field(repr=False)

    @property
    def required_inputs(self) -> int:
        """How many inputs a call must give: trailing optional tensors, and the tensors of a variadic input, may be left out."""
        count = len(self.inputs)
        while count and (self.inputs[count - 1].optional or self.inputs[count - 1].variadic):
            count -= 1
        return count

    def complete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters with defaults filled in; raises ArgumentTypeError for unknown or missing ones."""
        full = {**self.defaults, **parameters}
        if full.keys() != self.parameters.keys():
            for name in parameters:
                if name not in self.parameters:
                    known = ", ".join(self.parameters) or "none"
                    raise ArgumentTypeError(f"{self.name}() has no parameter '{name}'; its parameters are: {known}")
            missing = [n for n in self.parameters if n not in full]
            raise ArgumentTypeError(f"{self.name}() misses the required parameter(s): {', '.join(missing)}")
        for name, value in parameters.items():
            annotation = self.parameters[name].annotation
            plain = _PLAIN.get(annotation)
            if plain is not None and not isinstance(value, plain):
                raise ArgumentTypeError(f"{self.name}(): argument '{name}' must be {annotation}, not {type(value).__name__}")
        return full

    def infer(self, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Outcome:
        """Shapes, types and cost of the outputs, from shapes and types alone.

        Raises the error that the computation would raise for these shapes, types and parameters, or UnknownShape where the
        result's shape depends on values.
        """
        return checked(self.rule(inputs, self.complete(parameters) if self.parameters else parameters))


OPS: Final[dict[str, Op]] = {}
"""Every op by its name on the wire. Filled by importing ``telegrad.contract.tensor``."""

F = TypeVar("F", bound=Callable[..., Any])


def op(
    rule: Rule,
    *,
    name: str | None = None,
    namespace: str = "",
    outputs: tuple[str, ...] = ("result",),
    differentiable: tuple[str, ...] | None = None,
    reason: str = "",
    refuses: bool = False,
    view: bool = False,
    inplace: bool = False,
    flat_in_place: bool = False,
    random: bool = False,
    reflected: bool = False,
    needs: str = "",
    node: str | None = None,
) -> Callable[[F], F]:
    """Register the decorated method or function as an op.

    Args:
        rule: shape, dtype and cost rule (see ``Rule``).
        name: name on the wire; the function's own by default. Overloads are spelled as in PyTorch: ``max.dim``.
        namespace: where free functions find it: ``""``, ``"linalg"``, ``"nn.functional"``; ``"internal"`` for ops that only
            the engine makes, which the catalogue and the wire leave out.
        outputs: names of the results; more than one makes the op return a tuple.
        differentiable: the inputs that gradients flow to; None means every tensor input.
        reason: required when ``differentiable`` is empty: why it has no derivative.
        refuses: it has no derivative, but is recorded as if it had one, and a gradient that arrives is refused: PyTorch's way with
            some ops, which keeps a missing derivative from passing for a zero. Needs a ``reason`` too.
        view: the result shares the first input's memory.
        inplace: there is an in-place form: the same op with the result written into the first input.
        flat_in_place: has no derivative but is recorded where it is done in place, as in PyTorch: zeros come back to its inputs.
        random: draws from the session's generator.
        reflected: a Python number may also stand in place of ``self``: ``1 - x`` is ``sub(1, x)``.
        needs: the optional library that computes it, which is also the extra that installs it: ``"scipy"``; empty for none.
        node: PyTorch's node name without ``Backward`` and number, or with it; derived from the name by default.
    """

    def register(function: F) -> F:
        op_name = name or function.__name__
        if op_name in OPS:
            raise ValueError(f"op {op_name} is defined twice")
        inputs, parameters = read_signature(function, reflected=reflected, method="." in function.__qualname__)
        flows = tuple(s.name for s in inputs) if differentiable is None else differentiable
        unknown = set(flows) - {s.name for s in inputs}
        if unknown:
            raise ValueError(f"op {op_name}: {unknown} are not inputs")
        if (not flows or refuses) and not reason:
            raise ValueError(f"op {op_name} has no derivative and gives no reason")
        doc = inspect.getdoc(function)
        if not doc:
            raise ValueError(f"op {op_name} has no docstring")
        OPS[op_name] = Op(
            name=op_name,
            family=function.__module__.rsplit(".", 1)[-1],
            namespace=namespace,
            doc=doc,
            inputs=inputs,
            parameters=parameters,
            defaults={p.name: p.default for p in parameters.values() if not p.required},
            outputs=outputs,
            rule=rule,
            differentiable=flows,
            nondifferentiable_reason=reason,
            refuses=refuses,
            view=view,
            inplace=inplace,
            flat_in_place=flat_in_place,
            random=random,
            reflected=reflected,
            needs=needs,
            node=_node_name(node or op_name.split(".")[0]),
            function=function,
        )
        return function

    return register


def find(name: str) -> Op:
    """The row of that name, or UnknownOpError naming the nearest ones."""
    found = OPS.get(name)
    if found is None:
        import difflib

        near = difflib.get_close_matches(
            name[:80].removeprefix("torch."), [public for public in OPS if not public.startswith("_")], n=3
        )
        hint = f"; did you mean {', '.join(near)}?" if near else "; GET /v1/ops lists them"
        raise UnknownOpError(f"there is no such op{hint}")
    return found


def _node_name(name: str) -> str:
    if "Backward" in name or name in ("CopySlices", "NotImplemented"):  # PyTorch names these without the suffix
        return name
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Backward0"


# How an annotation makes a signature's parameter an input. `T` is the creation functions' and sequence functions' type variable.
_TENSOR_ANNOTATIONS: Final[dict[str, dict[str, bool]]] = {
    "Self": {},
    "Self | Number": {"number": True},
    "Self | None": {"optional": True},
    "Self | Number | None": {"number": True, "optional": True},
    "Sequence[Self]": {"variadic": True},
    "T": {},
    "T | Number": {"number": True},
    "T | None": {"optional": True},
    "T | Number | None": {"number": True, "optional": True},
    "Sequence[T]": {"variadic": True},
}


def read_signature(
    function: Callable[..., Any], *, reflected: bool = False, method: bool = False
) -> tuple[tuple[InputSlot, ...], dict[str, Parameter]]:
    """Inputs and parameters of an op from its signature; a method's own tensor has no annotation."""
    inputs: list[InputSlot] = []
    parameters: dict[str, Parameter] = {}
    for position, p in enumerate(inspect.signature(function).parameters.values()):
        annotation = str(p.annotation)
        if position == 0 and method and p.name == "self":
            if p.annotation is inspect.Parameter.empty:
                inputs.append(InputSlot("self", number=reflected))
            continue  # a creation method annotates its receiver: a session is no input
        if p.name == "requires_grad":
            continue  # a setting of the new tensor, made by a `set` command of its own
        if annotation in ("SizeByName", "TypeByName"):
            continue  # another spelling of the sizes given one by one, whose name then ends in an underscore; or another op
        kind = _TENSOR_ANNOTATIONS.get(annotation.replace('"', ""))
        if kind is not None:
            variadic = kind.get("variadic", False) or p.kind is p.VAR_POSITIONAL
            inputs.append(InputSlot(p.name, kind.get("number", False), kind.get("optional", False), variadic))
        elif p.kind is p.VAR_POSITIONAL:
            name = p.name.removesuffix("_")
            parameters[name] = Parameter(name, f"*{annotation}")
        else:
            parameters[p.name] = Parameter(p.name, annotation, p.default)
    return tuple(inputs), parameters


def returns_tuple(row: Op) -> bool:
    """Whether the op returns several tensors, or a number of them that depends on shapes."""
    return len(row.outputs) > 1 or str(row.function.__annotations__.get("return", "")).startswith("tuple")


def check_sizes(shape: Sequence[int], itemsize: int) -> None:
    """Refuse what no array can be, though it may hold nothing: over 64 dimensions, or sizes beyond memory. Raises ShapeError."""
    if len(shape) > MAX_DIMENSIONS:
        raise ShapeError(f"a tensor has at most {MAX_DIMENSIONS} dimensions, this one would have {len(shape)}")
    # An empty tensor holds nothing, and still numpy multiplies its other sizes.
    if 0 in shape and math.prod(n for n in shape if n) * itemsize >= 2**63:
        raise ShapeError(f"the sizes {list(shape)} multiply to more than memory can address, the zeros left out")


def checked(outcome: Outcome) -> Outcome:
    """The outcome, once ``check_sizes`` has let its results pass."""
    for output in outcome.outputs:
        if len(output.shape) > MAX_DIMENSIONS or 0 in output.shape:
            check_sizes(output.shape, output.dtype.itemsize)
    return outcome


def check_bytes(shape: Sequence[int], dtype: DType) -> None:
    """Refuse a shape whose byte count no machine can index (2**63), as PyTorch does."""
    if math.prod(shape) * dtype.itemsize >= 2**63:
        raise ShapeError(f"a tensor of shape {list(shape)} and type {dtype.name} has more bytes than memory can address")
