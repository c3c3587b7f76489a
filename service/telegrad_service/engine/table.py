"""The engine's two tables beside the op table, keyed by the same names: how to compute an op, and how to differentiate it.

A *kernel* takes raw arrays in the order of the op's inputs and the complete parameters by keyword.
A *derivative formula* takes ``g``, the gradient of the output (a tuple of them where the op has several outputs), and names
what else it needs; those names are the list of what is saved for backward:

    self, other, ...            that input's value (or the Python number, or None)
    self_shape, self_dtype      that input's shape or numpy dtype, without its value
    tensors_shapes              the shapes of all tensors of a variadic input
    result, values, ...         that output's value;  result_shape and result_dtype, without its value
    dim, keepdim, ...           that parameter
    mean, passing, ...          what ``keeping`` says that the kernel finds anyway (see there); None on Tensors, and wherever the
                                result came about in another way: the formula then finds it again
    needs                       which differentiable inputs need a gradient, as bools (joint formulas)

Formulas are written with operators and with ``F`` (see ``formulas``), so the same text runs on arrays and, for
``create_graph``, on Tensors.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from telegrad.contract.errors import DerivativeMissingError
from telegrad.contract.ops import OPS, Op

importlib.import_module("telegrad.contract.tensor")  # fills the op table

Array: TypeAlias = "npt.NDArray[Any]"
Kernel: TypeAlias = Callable[..., Any]
Formula: TypeAlias = Callable[..., Any]

K = TypeVar("K", bound=Callable[..., Any])


class Entry:
    """What the engine knows of one op.

    Attributes:
        op: the row of the op table.
        kernel: computes it on arrays.
        ufunc: what the op is when no parameter is given: equal floating types in, the same type out; None if it is none.
        ufunc_kinds: the numpy kinds (f floating, c complex) that ``ufunc`` serves.
        numbers: per input, whether a Python number may stand in its place.
        keeping: the kernel where a node is made: ``keeping(*inputs, **parameters)`` gives the result, and what is kept for backward
            beside it, in the order of ``kept``; None where nothing is.
        kept: the names of that.
        in_place: writes the result into its first argument; None where the engine copies the kernel's result instead.
        instead: what is done in place of a kernel, see ``instead``.
        extent: how many elements the result has, see ``extent``; None where the rule knows, or the inputs bound it.
        formulas: from an input's name, or from several joined by commas, to the formula that gives their gradients.
        plans: what to save and whom to call, by ``plan_key`` of the inputs that need gradients and the number of inputs.
        planned: how much those are, in inputs.
    """

    __slots__ = (
        *("extent", "formulas", "in_place", "instead", "keeping", "kept"),
        *("kernel", "numbers", "op", "planned", "plans", "ufunc", "ufunc_kinds"),
    )

    def __init__(self, op: Op) -> None:
        self.op = op
        self.numbers = tuple([s.number for s in op.inputs])
        self.kernel: Kernel = _missing(op.name)
        self.ufunc: Kernel | None = None
        self.ufunc_kinds = "fc"
        self.keeping: Kernel | None = None
        self.kept: tuple[str, ...] = ()
        self.in_place: Kernel | None = None
        self.instead: Kernel | None = None
        self.extent: Callable[..., tuple[int, np.dtype[Any]]] | None = None
        self.formulas: dict[tuple[str, ...], Formula] = {(name,): _refusal(op) for name in op.differentiable} if op.refuses else {}
        self.plans: dict[int, Plan] = {}
        self.planned = 0

    def plan(self, mask: int, count: int) -> Plan:
        """The plan for inputs whose bits are set in ``mask``, of ``count`` inputs."""
        key = plan_key(mask, count)
        found = self.plans.get(key)
        if found is None:
            self.planned += count + _PLAN_WEIGHT
            if self.planned > _MOST_PLANNED:
                self.plans.clear()
                self.planned = count + _PLAN_WEIGHT
            found = self.plans[key] = Plan(self, mask, count)
        return found


def plan_key(mask: int, count: int) -> int:
    """The key of the plan for inputs whose bits are set in ``mask``, of ``count`` inputs."""
    return mask << 32 | count


_MOST_PLANNED: Final = 2**17
"""Inputs of all plans of an op, beyond which they are made anew: an op of any number of tensors has one for each subset of them
that needs gradients. Nodes keep those that they need."""

_PLAN_WEIGHT: Final = 64
"""What a plan is beside its inputs, in inputs."""

ENTRIES: Final[dict[str, Entry]] = {}


def _refusal(op: Op) -> Formula:
    """The formula of an op that has no derivative and does not let that pass for a zero."""

    def refuse(g: Any) -> Any:  # noqa: ARG001 - whatever arrives
        raise DerivativeMissingError(f"derivative for {op.name} is not implemented: {op.nondifferentiable_reason}")

    return refuse


def _missing(name: str) -> Kernel:
    def absent(*_inputs: object, **_parameters: object) -> Any:
        raise LookupError(f"op {name} has no kernel")

    return absent


def entry(name: str) -> Entry:
    """The entry of op ``name``, made on first use; refuses a name that the op table lacks."""
    found = ENTRIES.get(name)
    if found is None:
        if name not in OPS:
            raise LookupError(f"{name} is not in the op table")
        found = ENTRIES[name] = Entry(OPS[name])
    return found


@overload
def kernel(
    name: str, function: K, *, ufunc: Kernel | None = None, ufunc_kinds: str = "fc", in_place: Kernel | None = None
) -> K: ...


@overload
def kernel(
    name: str, *, ufunc: Kernel | None = None, ufunc_kinds: str = "fc", in_place: Kernel | None = None
) -> Callable[[K], K]: ...


def kernel(
    name: str,
    function: Kernel | None = None,
    *,
    ufunc: Kernel | None = None,
    ufunc_kinds: str = "fc",
    in_place: Kernel | None = None,
) -> Any:
    """Register how to compute op ``name``: ``kernel("exp", np.exp)``, or as a decorator.

    Args:
        name: the op.
        function: the kernel.
        function: the kernel; left out when used as a decorator.
        ufunc: what the op is for tensors of one floating type when no parameter is given; such calls take the fast way. A
            numpy ufunc, or any function that takes arrays and Python numbers as one does.
        ufunc_kinds: the numpy kinds that the fast way is open to; ``"f"`` where the op refuses complex numbers.
        in_place: ``in_place(target, *other_inputs, **parameters)`` writes the result into ``target``; without one, the
            engine computes the result apart and copies it.
    """

    def register(function: Kernel) -> Kernel:
        row = entry(name)
        row.kernel = function
        row.in_place = in_place
        row.ufunc, row.ufunc_kinds = ufunc, ufunc_kinds
        return function

    return register if function is None else register(function)


def keeping(name: str, *kept: str) -> Callable[[K], K]:
    """Register the kernel of op ``name`` for calls that are recorded: it gives the result, and a tuple of what it found on the way.

    Formulas ask for that by the names ``kept``. It is no output: nobody sees or differentiates it, so a formula gets it only on
    arrays and must do without where it is None. Worth it for a number a row, or where finding it again takes longer than the rest.
    """

    def register(function: K) -> K:
        row = entry(name)
        row.keeping, row.kept = function, kept
        return function

    return register


def instead(name: str) -> Callable[[K], K]:
    """Register what op ``name`` becomes once the tensors are at hand, for an op that asks how their memory is laid out: it has no
    kernel and no formula of its own, and leaves the nodes of the ops that it becomes.

    ``instead(home, inputs, track, **parameters)`` applies those, and gives what the op gives.
    """

    def register(function: K) -> K:
        entry(name).instead = function
        return function

    return register


def extent(name: str) -> Callable[[K], K]:
    """Register what tells from the values how many elements the result of op ``name`` has, and of which numpy type, for an op whose
    rule cannot: called as the kernel is, before it, by whoever admits only so much. What the kernel refuses may give any number.
    """

    def register(function: K) -> K:
        entry(name).extent = function
        return function

    return register


def derivative(op_name: str, /, **formulas: Formula) -> None:
    """Register one formula per input: ``derivative("mul", self=lambda g, other: ..., other=lambda g, self: ...)``."""
    row = entry(op_name)
    for name, formula in formulas.items():
        _add_formula(row, (name,), formula)


def joint_derivative(op_name: str, *names: str) -> Callable[[K], K]:
    """Register one formula for several inputs; it returns a tuple in the order of ``names``, None where ``needs`` is False."""

    def register(formula: K) -> K:
        _add_formula(entry(op_name), names, formula)
        return formula

    return register


def _add_formula(row: Entry, names: tuple[str, ...], formula: Formula) -> None:
    for name in names:
        if name not in row.op.differentiable:
            raise LookupError(f"{row.op.name}: the op table calls {name} no differentiable input")
        if any(name in key for key in row.formulas):
            raise LookupError(f"{row.op.name}: {name} has two formulas")
    row.formulas[names] = formula


class Plan:
    """What a node of one op saves and calls, for one set of inputs that need gradients.

    Attributes:
        entry: the op's entry.
        positions: the input positions that the edges stand for, in edge order.
        count: how many inputs the call had.
        sources: what each saved value is, as (kind, index or name), formula after formula.
        targets: the edge that each gradient goes to, in the order in which ``differentiate`` gives them; -1: to none.
        differentiate: ``differentiate(g, saved)`` gives the gradients, those of all formulas in one tuple.
        only: the formula, where there is one and it gives the gradient of one input: ``only(g, *saved)``.
        collect: ``collect(inputs, outputs, parameters)`` gives the saved values.
        saved_inputs: positions of inputs whose values are saved, for the version check.
        saved_outputs: indexes of outputs whose values are saved.
        saves: whether any value is saved, so that a second backward needs ``retain_graph``.
        zeros: a zero for each edge: the edges' indexes where all lead to first outputs.
        kept: which saved values the kernel found on the way, as (position, index in the entry's ``kept``).
        restored: which saved values become Tensors for a gradient of the gradient: (position, kind, index, edge or None).
        record: what makes the node of a call, written out for this plan (see ``recording``); None until first needed.
        fills: whether missing gradients of outputs are zeros to ``differentiate``; only users' functions may want None.
    """

    fills: bool = True

    __slots__ = (
        *("collect", "count", "differentiate", "entry", "kept", "only", "positions", "saved_inputs", "saved_outputs", "saves"),
        *("record", "restored", "sources", "targets", "zeros"),
    )

    def __init__(self, row: Entry, mask: int, count: int) -> None:
        self.entry = row
        self.count = count
        op = row.op
        slots = op.inputs
        position_of = {s.name: i for i, s in enumerate(slots)}
        self.positions = tuple(i for i in range(count) if mask >> i & 1)
        edge_of = {position: edge for edge, position in enumerate(self.positions)}
        calls: list[tuple[Formula, int, bool]] = []
        sources: list[tuple[str, Any]] = []
        targets: list[int] = []
        for names, formula in row.formulas.items():
            covered: list[int] = []
            for name in names:
                slot = position_of[name]
                covered.extend(range(slot, count) if slots[slot].variadic else (slot,))
            needs = tuple(bool(mask >> position & 1) for position in covered)
            if not any(needs):
                continue
            single = len(names) == 1 and not slots[position_of[names[0]]].variadic
            arguments = list(inspect.signature(formula).parameters)[1:]
            sources.extend(_source(row, argument, needs, position_of) for argument in arguments)
            targets.extend(edge_of.get(position, -1) for position in covered)
            calls.append((formula, len(arguments), single))
        missing = set(range(len(self.positions))) - set(targets)
        if missing:
            raise LookupError(f"op {op.name} lacks a derivative formula for input(s) {sorted(self.positions[e] for e in missing)}")
        saved_inputs: set[int] = set()
        for kind, what in sources:
            if kind == "input":
                saved_inputs.add(what)
            elif kind == "inputs":
                saved_inputs.update(range(what, count))
        self.zeros = (0,) * len(self.positions)
        self.sources = tuple(sources)
        self.targets = tuple(targets)
        self.saved_inputs = tuple(sorted(saved_inputs))
        self.saved_outputs = tuple(sorted({what for kind, what in sources if kind == "output"}))
        self.saves = bool(self.saved_inputs or self.saved_outputs)
        self.kept = tuple([(i, what) for i, (kind, what) in enumerate(sources) if kind == "kept"])
        self.only = calls[0][0] if len(calls) == 1 and calls[0][2] else None
        self.collect = _compile_collect(self.sources)
        self.differentiate = _compile_differentiate(calls)
        self.restored = tuple([(i, kind, what, edge_of.get(what)) for i, (kind, what) in enumerate(sources) if kind in RESTORED])
        self.record: Callable[..., Any] | None = None


def _source(row: Entry, argument: str, needs: tuple[bool, ...], position_of: dict[str, int]) -> tuple[str, Any]:
    """Where a formula's argument comes from."""
    op = row.op
    if argument in row.kept:
        return "kept", row.kept.index(argument)
    if argument == "needs":
        return "constant", needs
    if argument in op.parameters or argument.removesuffix("_") in op.parameters:
        return "parameter", argument if argument in op.parameters else argument.removesuffix("_")
    if argument in position_of:
        slot = position_of[argument]
        return ("inputs", slot) if op.inputs[slot].variadic else ("input", slot)
    if argument in op.outputs:
        return "output", op.outputs.index(argument)
    base, _, suffix = argument.rpartition("_")
    if suffix in ("shape", "dtype"):
        if base in position_of:
            return f"input_{suffix}", position_of[base]
        if base in op.outputs:
            return f"output_{suffix}", op.outputs.index(base)
    if suffix in ("shapes", "dtypes") and base in position_of and op.inputs[position_of[base]].variadic:
        return f"inputs_{suffix}", position_of[base]
    raise LookupError(f"op {op.name}: a formula asks for '{argument}', which is no input, output or parameter of it")


RESTORED: Final = frozenset({"input", "inputs", "output", "kept"})
"""The kinds of saved values that are something else on Tensors."""

CODE: Final[dict[str, str]] = {
    "input": "i[{0}]",
    "inputs": "i[{0}:]",
    "output": "o[{0}]",
    "input_shape": "shape(i[{0}])",
    "input_dtype": "i[{0}].dtype",
    "output_shape": "o[{0}].shape",
    "output_dtype": "o[{0}].dtype",
    "inputs_shapes": "tuple([a.shape for a in i[{0}:]])",
    "inputs_dtypes": "tuple([a.dtype for a in i[{0}:]])",
    "parameter": "p[{0!r}]",
    "constant": "{0!r}",
    "kept": "None",  # the engine puts it there once the node is made
}
"""How a saved value is taken, in Python, from the inputs ``i``, the outputs ``o`` and the parameters ``p``."""


def _compile_collect(sources: tuple[tuple[str, Any], ...]) -> Callable[..., tuple[Any, ...]]:
    """One lambda that builds the tuple of saved values: 0.1 µs instead of a loop's 1 µs on the path of every recorded op."""
    text = "".join(CODE[kind].format(what) + "," for kind, what in sources)
    # The text is made of this module's own templates, slot numbers and declared parameter names only.
    made: Any = eval(f"lambda i, o, p: ({text})", {"shape": np.shape})  # noqa: S307
    return made  # type: ignore[no-any-return]


def _compile_differentiate(calls: list[tuple[Formula, int, bool]]) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
    """One lambda that calls all formulas, each with its part of the saved values."""
    pieces: list[str] = []
    at = 0
    for number, (_, count, single) in enumerate(calls):
        arguments = "".join(f", s[{i}]" for i in range(at, at + count))
        pieces.append(f"{'' if single else '*'}f{number}(g{arguments}),")
        at += count
    # The text is made of numbers only; the formulas come in by name.
    made: Any = eval(f"lambda g, s: ({''.join(pieces)})", {f"f{n}": f for n, (f, _, _) in enumerate(calls)})  # noqa: S307
    return made  # type: ignore[no-any-return]
