"""``Batched``: one tensor that stands for many, as the function inside ``vmap`` sees it.

The tensor that it holds has the batch in front, always. An op on a ``Batched`` is done once on all rows: by its rule in
``batching``, where shapes and dimensions are moved by one, or row after row where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeAlias

from telegrad.contract import checks
from telegrad.contract.dtypes import DType, int64
from telegrad.contract.errors import ArgumentError, AutogradError, ShapeError
from telegrad.contract.modes import is_grad_enabled
from telegrad.contract.ops import OPS, Op, Outcome, Shape, Spec, UnknownShape, checked, find
from telegrad.contract.tensor.base import TensorBase
from telegrad.contract.tensor.tensor import Tensor
from telegrad.contract.transforms.batched_gradients import differentiate
from telegrad.contract.transforms.wrapper import Level, Wrapped, do, outside

Rule: TypeAlias = "Callable[[Call], Any]"
"""Does one call on all rows: gives a tensor with the batch in front, or a tuple of such tensors."""

RULES: Final[dict[str, Rule]] = {}
"""How to do an op on all rows at once, by its name."""

ELEMENTWISE: Final[set[str]] = set()
"""Ops whose tensors broadcast against each other and that know no dimensions: aligned, they do all rows as they are."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for the ops of those names."""

    def register(function: Rule) -> Rule:
        for name in names:
            if name not in OPS:
                raise LookupError(f"{name} is not in the op table")
            RULES[name] = function
        return function

    return register


class VmapLevel(Level):
    """One run of ``vmap``.

    Attributes:
        size: the size of the batch.
        randomness: what a random op does: "error", "different" draws for every row, "same" draws once for all.
        draws: with "same", what was drawn, in order, for the chunks that follow; ``drawn`` counts those of this run.
    """

    __slots__ = ("drawn", "draws", "randomness", "size")

    def __init__(self, size: int, randomness: str = "error", draws: list[Any] | None = None) -> None:
        super().__init__()
        self.size = size
        self.randomness = randomness
        self.draws: list[Any] = [] if draws is None else draws
        self.drawn = 0

    def hold(self, value: Any) -> Batched:
        """One tensor whose rows are those of ``value``."""
        return Batched(self, value)

    def holds(self, x: Any) -> bool:
        """Whether it has a row for each."""
        return isinstance(x, Batched) and x.level is self

    def values_of(self, x: Any) -> Any:
        """All rows of a tensor: what it holds, or itself repeated without memory of its own."""
        return x.value if self.holds(x) else x._apply("expand", x, size=(self.size, *x.shape))

    def lift(self, tensor: Any) -> Any:
        """The tensor repeated for every row, without memory of its own."""
        return self.hold(tensor._apply("expand", tensor, size=(self.size, *tensor.shape)))

    def draw(self, home: Any, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        """A random op none of whose inputs is batched."""
        self.check_randomness()
        if self.randomness == "same":
            return self.same(lambda: do(op, *inputs, **parameters) if inputs else home._apply(op, **parameters))
        with outside(self):
            if inputs:
                return Batched._wrapped(self, Call(self, op, tuple([self._rows_of(x) for x in inputs]), parameters).run())
            row = OPS[op]
            if "size" in row.parameters:
                return Batched(self, home._apply(op, **{**parameters, "size": (self.size, *parameters["size"])}))
            rows = [home._apply(op, **parameters) for _ in range(self.size)]
            return Batched(self, rows[0]._apply("stack", *rows, dim=0))

    def _rows_of(self, x: Any) -> Any:
        return self.lift(x) if isinstance(x, TensorBase) else x

    def same(self, draw: Callable[[], Any]) -> Any:
        """What is drawn once for all rows, of this chunk of them and of those that follow."""
        if self.drawn == len(self.draws):
            with outside(self):
                self.draws.append(draw())
        self.drawn += 1
        return self.draws[self.drawn - 1]

    def check_randomness(self) -> None:
        """Refuse a random op where vmap was not told what it means."""
        if self.randomness == "error":
            raise AutogradError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
                "randomness flags on vmap or perform the randomness operation out of vmap"
            )


class Batched(Wrapped):
    """A tensor inside ``vmap``: ``shape`` is that of one row, ``value`` holds them all.

    Attributes:
        value: the rows, batch dimension in front.
    """

    __slots__ = ("value",)

    def __init__(self, level: VmapLevel, value: Any) -> None:
        self.level = level
        self.value = value

    @property
    def _spec_if_known(self) -> None:
        """As an index, each row's integer is another: it makes no view."""

    @property
    def shape(self) -> Shape:
        """Sizes of the dimensions of one row."""
        return self.value.shape[1:]  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.value.dtype  # type: ignore[no-any-return]

    def _held(self) -> Any:
        return self.value

    def _with_held(self, change: Callable[[Any], Any]) -> Batched:
        return Batched(self.level, change(self.value))

    # Ops ---------------------------------------------------------------------------------------------------------------------

    def _transform(self, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
        level: VmapLevel = self.level
        if op in ELEMENTWISE:
            return elementwise(level, op, inputs, parameters)
        if op not in OPS:
            return write(level, op, inputs, parameters)
        call = Call(level, op, inputs, parameters)
        return self._wrapped(level, call.run())

    @staticmethod
    def _wrapped(level: VmapLevel, made: Any) -> Any:
        """Results of a rule as tensors of ``level``."""
        if isinstance(made, (tuple, list)):
            results: Sequence[Any] = made
            return tuple([Batched(level, m) for m in results])
        return Batched(level, made)

    # Gradients ---------------------------------------------------------------------------------------------------------------

    def _differentiate(
        self,
        outputs: Sequence[Any],
        inputs: Sequence[Any],
        grad_outputs: Sequence[Any] | None,
        *,
        retain_graph: bool | None,
        create_graph: bool,
        allow_unused: bool | None,
        is_grads_batched: bool,
        materialize_grads: bool,
    ) -> tuple[Any, ...]:
        return differentiate(
            self.level,
            outputs,
            inputs,
            grad_outputs,
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
            is_grads_batched=is_grads_batched,
            materialize_grads=materialize_grads,
        )

    # Reads that cannot be answered -------------------------------------------------------------------------------------------

    def _refuse_reading(self, what: str) -> NoReturn:
        raise AutogradError(
            f"vmap: It looks like you're calling .{what}() on a Tensor. We don't support vmap over calling .{what}() on a Tensor: "
            "each row has a value of its own. Please try to rewrite what you're doing with other operations."
        )

    def tolist(self) -> Any:
        """Refused: each row has values of its own."""
        self._refuse_reading("tolist")

    def __bool__(self) -> bool:
        raise AutogradError(
            "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that: "
            "each row could go another way. Use telegrad.where."
        )

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for the rows."""
        return bool(self.value.requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.value.requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Any:  # noqa: ARG002 - refused whatever it is
        """Refused inside ``vmap``, as in PyTorch: use ``telegrad.func.grad`` there, or call it outside."""
        raise AutogradError(
            "You are attempting to call Tensor.requires_grad_() inside of a function being transformed by telegrad.vmap. This is "
            "unsupported: use the transforms of telegrad.func (grad, vjp, jacrev, ...), or call it outside of the function."
        )

    def __repr__(self) -> str:
        held = repr(self.value).replace("\n", "\n    ")
        return f"BatchedTensor(lvl={self.level.depth}, bdim=0, value=\n    {held}\n)"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def _repr_html_(self) -> str:
        return f"<pre>{self!r}</pre>"


# One call --------------------------------------------------------------------------------------------------------------------


class Call:
    """One op on tensors of which some are batched, as a rule sees it.

    Attributes:
        level: the running ``vmap``.
        name: the op.
        row: its row in the table.
        inputs: as given.
        batched: per input, whether it has a row for each.
        values: per input, all rows of a batched one, anything else as it is.
        parameters: complete.
        specs: what the op's own rule would see of one row's inputs.
    """

    __slots__ = ("_outcome", "batched", "inputs", "level", "name", "parameters", "row", "specs", "values")

    def __init__(self, level: VmapLevel, name: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> None:
        self.level = level
        self.name = name
        self.row: Op = find(name)
        inputs = checks.plain_inputs(inputs)
        checks.plain_parameters(parameters)
        checks.check_inputs(self.row, inputs, lambda _: True)
        self.inputs = inputs
        self.parameters = self.row.complete(parameters)
        self.batched = [isinstance(x, Batched) and x.level is level for x in inputs]
        self.values: list[Any] = [x.value if b else x for x, b in zip(inputs, self.batched, strict=True)]
        self.specs = [Spec(x.shape, x.dtype) if isinstance(x, TensorBase) else x for x in inputs]  # type: ignore[attr-defined]
        self._outcome: Outcome | None = None

    def run(self) -> Any:
        """All rows: by the op's rule, or one after another. Raises what one row would raise, for what is wrong with a row."""
        found = RULES.get(self.name)
        if found is None and self.row.random:
            return self._draw_rows()
        if found is None:
            return by_rows(self)
        try:
            return found(self)
        except UnknownShape:
            return by_rows(self)

    def _draw_rows(self) -> Any:
        """A random op without a rule: each row draws."""
        self.level.check_randomness()
        if self.level.randomness == "same":
            raise AutogradError("Vmap does not currently support same randomness with a batched tensor input")
        with outside(self.level):
            return by_rows(self)

    @property
    def outcome(self) -> Outcome:
        """What the op's rule foresees for one row. Raises its errors."""
        found = self._outcome
        if found is None:
            found = self._outcome = checked(self.row.rule(self.specs, self.parameters))
        return found

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.level.size

    def rank(self, position: int = 0) -> int:
        """Number of dimensions of one row of an input."""
        return len(self.specs[position].shape)

    def rows(self, position: int) -> Any:
        """All rows of an input, repeated without memory where it has none."""
        return self.values[position] if self.batched[position] else self.level.values_of(self.values[position])

    def shaped(self, made: Any, output: int = 0) -> Any:
        """A result with its rows in the shape that the op's rule foresees."""
        shape = (self.size, *self.outcome.outputs[output].shape)
        return made if made.shape == shape else made._apply("reshape", made, shape=shape)


def counted(like: Any, count: int) -> Any:
    """0, 1, 2, ... where ``like`` lives, which need not be a session that users see."""
    return like._apply("arange", start=0, end=count, dtype=int64)


def aligned(value: Any, rank: int) -> Any:
    """Rows with ones put in front of their dimensions until they have ``rank`` of them."""
    shape = value.shape
    missing = rank + 1 - len(shape)
    return value if missing <= 0 else value._apply("reshape", value, shape=(shape[0], *(1,) * missing, *shape[1:]))


def elementwise(level: VmapLevel, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """An op that broadcasts: rows are aligned at their last dimensions, as single tensors would be."""
    values, ragged, scalars = rows_of(level, inputs)
    try:
        if scalars and ragged:
            made = _with_types_of_rows(Call(level, op, inputs, parameters), values)
        else:
            made = do(op, *values, **parameters)
    except ArgumentError:
        _ = Call(level, op, inputs, dict(parameters)).outcome  # what is wrong with one row is said of one row
        raise
    return Batched._wrapped(level, made)


def rows_of(level: VmapLevel, inputs: tuple[Any, ...]) -> tuple[list[Any], bool, bool]:
    """Inputs of an op that broadcasts, batched ones as all rows, aligned; whether ranks differ, and whether a row is 0-d."""
    rank = 0
    values: list[Any] = []
    scalars = False
    ragged = False
    for x in inputs:
        if isinstance(x, TensorBase):
            own: int
            if isinstance(x, Batched) and x.level is level:
                value = x.value
                own = len(value.shape) - 1
                scalars = scalars or not own
                values.append(value)
            else:
                own = len(x.shape)  # type: ignore[attr-defined]
                values.append(x)
            if own != rank:
                ragged = ragged or len(values) > 1
                rank = max(rank, own)
        else:
            values.append(x)
    if ragged:
        for i, x in enumerate(inputs):
            if isinstance(x, Batched) and x.level is level:
                values[i] = aligned(values[i], rank)
    return values, ragged, scalars


def _with_types_of_rows(call: Call, values: list[Any]) -> Any:
    """The op in the type that one row promotes to: a 0-d tensor counts less there than the dimension of its rows says."""
    outcome = call.outcome
    kinds = {x.dtype for x in values if isinstance(x, TensorBase)}  # type: ignore[attr-defined]
    wanted = outcome.outputs[0].dtype
    if len(kinds) > 1 and outcome.compute is not None:
        values = [
            x._apply("to", x, dtype=outcome.compute) if isinstance(x, TensorBase) and x.dtype is not outcome.compute else x  # type: ignore[attr-defined]
            for x in values
        ]
    made = do(call.name, *values, **call.parameters)
    return made if made.dtype is wanted else made._apply("to", made, dtype=wanted)


def by_rows(call: Call) -> Any:
    """The op on one row after another, the results stacked: always right, and as slow as a loop."""
    size = call.size
    if not size:
        first = next(v for v, b in zip(call.values, call.batched, strict=True) if b)
        empty = [first._apply("new_full", first, size=(0, *o.shape), fill_value=0, dtype=o.dtype) for o in call.outcome.outputs]
        return empty[0] if len(empty) == 1 else tuple(empty)
    made: list[Any] = []
    for index in range(size):
        inputs = [v._apply("select", v, dim=0, index=index) if b else v for v, b in zip(call.values, call.batched, strict=True)]
        made.append(do(call.name, *inputs, **call.parameters))
    if not isinstance(made[0], (tuple, list)):
        return _stacked(call, made)
    return tuple([_stacked(call, list(column)) for column in zip(*made, strict=True)])


def _stacked(call: Call, rows: list[Any]) -> Any:
    shapes = {x.shape for x in rows}
    if len(shapes) > 1:
        raise ShapeError(
            f"vmap: {call.name} gives results of different shapes for different rows, {sorted(map(list, shapes))}; this is not "
            "supported"
        )
    return do("stack", *rows, dim=0)


def write(level: VmapLevel, op: str, inputs: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    """An in-place form: the result is computed apart and written into all rows of the target."""
    name = op.removesuffix("_")
    target = inputs[0] if inputs else None
    if not op.endswith("_") or name not in OPS or not OPS[name].inplace:
        find(op)
    if not isinstance(target, TensorBase):
        raise checks.in_place_target(name, target)
    into: Any = target
    if not (isinstance(target, Batched) and target.level is level):
        raise ShapeError(
            f"vmap: {op}(self, ...) is not possible: another argument is being vmapped over and has a value for every row, while "
            f"`self`, of shape {list(into.shape)}, is one tensor for all rows. Use the op without underscore, which makes a new "
            "tensor, or make `self` from a vmapped one, for example with zeros_like."
        )
    into = target.value
    if name in ("fill", "zero") and not isinstance(inputs[1], TensorBase):
        into._apply(op, into, *inputs[1:], **parameters)
        return target
    if name in ELEMENTWISE:
        values, ragged, scalars = rows_of(level, inputs)
        if values[0] is into and not (ragged and scalars):
            try:
                do(op, *values, **parameters)
            except ArgumentError:
                outcome = Call(level, name, inputs, dict(parameters)).outcome  # what is wrong with one row is said of one row
                checks.check_in_place_result(outcome.outputs[0], Spec(target.shape, target.dtype))
                raise
            return target
    before: Any = target
    if is_grad_enabled() and any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        before = Batched(level, do("clone", into))  # what the graph saves of it is not overwritten then
    made: Any = target._transform(name, (before, *inputs[1:]), parameters)
    if isinstance(made, tuple):
        made = made[0]
    checks.check_in_place_result(Spec(made.shape, made.dtype), Spec(target.shape, target.dtype))
    into._apply("copy_", into, made.value)
    return target


__all__ = ["ELEMENTWISE", "RULES", "Batched", "Call", "VmapLevel", "aligned", "by_rows", "counted", "rule"]
