"""From a call to its result: checked and foreseen once for calls alike, computed, and recorded as a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np

from telegrad.contract import checks
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import UnknownOpError
from telegrad.contract.modes import inferring, is_grad_enabled
from telegrad.contract.ops import OPS, Op, Outcome, UnknownShape, checked, find
from telegrad.contract.transforms.wrapper import NOT_REDIRECTED, redirected, running
from telegrad_service.engine import quiet
from telegrad_service.engine.forms import Form, form_of
from telegrad_service.engine.graph import INFERENCE, Node, mark_inference
from telegrad_service.engine.recording import keep, written
from telegrad_service.engine.table import ENTRIES, Array, Entry, Plan
from telegrad_service.engine.tensor import FLOATING, Engine, Tensor, spec_of


def apply_ufunc(home: Engine, entry: Entry, inputs: tuple[Any, ...]) -> Tensor | None:
    """The fast way: tensors of one floating type and Python numbers that do not lift it. None when the general way is due."""
    if len(inputs) != len(entry.numbers):
        return None
    arrays: list[Any] = []
    dtype = None
    for x in inputs:
        if x.__class__ is Tensor:
            array = x.array
            if dtype is None:
                dtype = array.dtype
                if dtype.kind not in entry.ufunc_kinds:
                    return None
            elif array.dtype is not dtype or x.home is not home:
                return None
            arrays.append(array)
        elif (x.__class__ is float or x.__class__ is int) and entry.numbers[len(arrays)]:
            arrays.append(x)
        else:
            return None
    token = quiet.enter()
    try:
        array = entry.ufunc(*arrays)  # type: ignore[misc]
    except (ValueError, OverflowError):
        return None  # the general way says what is wrong
    finally:
        quiet.leave(token)
    if array.__class__ is not np.ndarray:
        array = np.asarray(array)
    result = Tensor(home, array)
    if inferring:
        mark_inference(result)
    if entry.op.differentiable and is_grad_enabled():
        mask = 0
        bit = 1
        for x in inputs:
            if x.__class__ is Tensor and (x.tracks or (x.base is not None and x.requires_grad)):
                mask |= bit
            bit += bit
        if mask:
            result.node = make_node(entry.plan(mask, len(inputs)), inputs, arrays, (result,), entry.op.defaults)
            result.tracks = True
    return result


def make_node(plan: Plan, inputs: Sequence[Any], arrays: Any, outputs: Sequence[Tensor], parameters: Any) -> Node:
    """The node of a call that was computed: edges to where its inputs came from, and what its formulas need."""
    return (plan.record or written(plan))(inputs, arrays, outputs, parameters)


class Call:
    """What is known of a call of one op before it is computed: the same for all inputs of these shapes and types.

    Attributes:
        outcome: what the op's rule foresees; None where the result's shape depends on values.
        compute: the numpy type that inputs are converted to; None leaves each as it is.
        converts: whether any input has to be converted.
        types: numpy types of the outputs; None where they are not foreseen.
        nbytes: of all outputs together; 0 where they are not foreseen.
        flows: per input, whether it is a tensor that a gradient can flow to.
        computed: whether a call like it was computed.
        form: the code for what is left to do, see ``forms``; None until a second call like it, and where none is written.
        full, values, single: what the form needs: all parameters, their values alone, and whether the kernel gives one array.
    """

    __slots__ = ("compute", "computed", "converts", "flows", "form", "full", "nbytes", "outcome", "single", "types", "values")

    def __init__(self, op: Op, inputs: Sequence[Any], outcome: Outcome | None) -> None:
        self.outcome = outcome
        self.compute = compute = None if outcome is None or outcome.compute is None else outcome.compute.numpy
        self.converts = compute is not None and any(
            x.array.dtype is not compute if isinstance(x, Tensor) else x is not None and compute.kind in "iu" for x in inputs
        )
        self.types = None if outcome is None else tuple([o.dtype.numpy for o in outcome.outputs])
        self.nbytes = 0 if outcome is None else sum([o.nbytes for o in outcome.outputs])
        last = len(op.inputs) - 1
        self.flows = tuple(
            [isinstance(x, Tensor) and op.inputs[min(i, last)].name in op.differentiable for i, x in enumerate(inputs)]
        )
        self.full: dict[str, Any] = {}
        self.values: tuple[Any, ...] = ()
        self.single = True
        self.form: Form | None = None
        self.computed = False

    def learn(self, entry: Entry, inputs: Sequence[Any], full: dict[str, Any], single: bool) -> None:
        """Calls like it come again: from now on, they go the short way."""
        self.full, self.values, self.single = full, tuple(full.values()), single
        self.form = form_of(entry, self, tuple([isinstance(x, Tensor) for x in inputs]), _NAMES)


_CALLS: Final[dict[tuple[Any, ...], Call]] = {}
"""Calls that were foreseen, by ``_call_key``; a rule takes as long as a small kernel, and programs repeat themselves."""

_MOST_CALLS: Final = 8192

_LONGEST_CALL: Final = 1024
"""In characters and numbers: what is longer is foreseen each time, so that what is kept is little."""

_ATOMS: Final = frozenset({bool, int, float, complex, str, type(None), DType})
"""Types whose values are equal only if they mean the same, once the type itself is compared too."""

_INDEX: Final = _ATOMS | {slice, type(...)}
"""Likewise in an index, where slices are of ints and None."""


def _call_key(home: Engine, name: str, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """All that a rule sees of a call; None where that is too much to compare, or an input is none of this home's."""
    key: list[Any] = [name]
    for x in inputs:
        kind = x.__class__
        if kind is Tensor:
            if x.home is not home:
                return None
            array = x.array
            key += (array.shape, array.dtype)
        elif kind in _ATOMS:
            key += (kind, x)
        else:
            return None
    for parameter, value in parameters.items():
        kind = value.__class__
        if kind is tuple:
            kinds = tuple([v.__class__ for v in value])
            if float in kinds or complex in kinds:
                return None
            if not _ATOMS.issuperset(kinds):
                if not _INDEX.issuperset(kinds):
                    return None
                value = tuple([(v.start, v.stop, v.step) if v.__class__ is slice else v for v in value])
            key += (parameter, kinds, value)
        elif kind in _ATOMS:
            key += (parameter, kind, value if value or (kind is not float and kind is not complex) else str(value))
        else:
            return None
    return tuple(key)


def _weight(part: Any) -> int:
    """How much of a key that is, in characters and numbers."""
    if part.__class__ is tuple:
        return 1 + sum(map(_weight, part))
    return len(part) if part.__class__ is str else 1


def known_call(home: Engine, op: Op, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Call | None:
    """The call, if one like it was foreseen before: then there is nothing wrong with it."""
    key = _call_key(home, op.name, inputs, parameters)
    return None if key is None else _CALLS.get(key)


def foresee(home: Engine, op: Op, inputs: Sequence[Any], parameters: Mapping[str, Any]) -> Call:
    """Check a call and run its rule. Raises the user's error. ``parameters`` may leave out those that equal their defaults."""
    key = _call_key(home, op.name, inputs, parameters)
    call = _CALLS.get(key) if key is not None else None
    if call is None:
        check_inputs(home, op, inputs)
        full = op.complete(parameters)
        try:
            outcome = checked(op.rule([spec_of(x) if isinstance(x, Tensor) else x for x in inputs], full))
        except UnknownShape:
            outcome = None
        call = Call(op, inputs, outcome)
        if key is not None and _weight(key) <= _LONGEST_CALL:
            if len(_CALLS) >= _MOST_CALLS:
                _CALLS.clear()
            _CALLS[key] = call
    return call


def apply(home: Engine, name: str, inputs: tuple[Any, ...], parameters: dict[str, Any], *, track: bool | None = None) -> Any:
    """Compute op ``name`` on tensors of ``home`` the general way: rule, promotion, kernel, record.

    Args:
        home: where the tensors belong.
        name: the op, or with a trailing underscore its in-place form.
        inputs: tensors, numbers or None, in the order of the op's inputs.
        parameters: canonical values; those equal to their default may be left out.
        track: record history or not; None asks the grad mode.
    """
    if running():
        made = redirected(home, name, inputs, parameters)
        if made is not NOT_REDIRECTED:
            return made
    entry = ENTRIES.get(name)
    if entry is None:
        if name.endswith("_") and name[:-1] in OPS:
            from telegrad_service.engine.writes import apply_in_place  # it needs this module

            return apply_in_place(home, name[:-1], inputs, parameters)
        find(name)
        raise UnknownOpError(f"op {name} has no kernel in this engine")
    op = entry.op
    call = known_call(home, op, inputs, parameters)
    if call is None:
        inputs = checks.plain_inputs(inputs)
        checks.plain_parameters(parameters)
        call = foresee(home, op, inputs, parameters)
    full: Any = {**op.defaults, **parameters} if parameters else op.defaults
    return compute(home, entry, inputs, full, call, track=track)


def compute(  # noqa: C901, PLR0912 - what may be asked of a result, in the order in which it is due
    home: Engine,
    entry: Entry,
    inputs: tuple[Any, ...],
    full: dict[str, Any],
    call: Call,
    *,
    track: bool | None = None,
) -> Any:
    """The second half of ``apply``, for whoever has done the first: the call foreseen, parameters complete."""
    op = entry.op
    own = entry.__class__ is Entry  # not the kernels of a run that is recorded
    if call.form is not None and track is None and own:
        return call.form(call, home, inputs)
    if own and entry.instead is not None:
        return entry.instead(home, inputs, track, **full)
    if call.converts:
        arrays = [as_array(x, call.compute) for x in inputs]
    else:
        arrays = [x.array if x.__class__ is Tensor else x for x in inputs]
    mask = _mask_of_call(inputs, call) if op.differentiable and (is_grad_enabled() if track is None else track) else 0
    kept: tuple[Any, ...] | None = None
    token = quiet.enter()
    try:
        if op.random:
            values = entry.kernel(*arrays, **full, generator=home.generator)
        elif mask and entry.keeping is not None:
            values, kept = entry.keeping(*arrays, **full)
        else:
            values = entry.kernel(*arrays, **full)
    finally:
        quiet.leave(token)
    types = call.types
    single = not isinstance(values, (tuple, list))
    if single:
        tensors = [Tensor(home, _of_type(values, None if types is None else types[0]))]
    else:
        made = cast("Sequence[Any]", values)
        tensors = [Tensor(home, _of_type(v, None if types is None else types[i])) for i, v in enumerate(made)]
    if inferring:
        for made_now in tensors:
            mark_inference(made_now)
    if op.view:
        _link_views(entry, inputs[0], arrays[0], tensors, full, single)
    if mask:
        differentiable = [(i, t) for i, t in enumerate(tensors) if t.array.dtype.kind in FLOATING]
        if differentiable:
            # The saved originals, not the converted copies: conversion is repeated by the formula's own promotion,
            # memory is not.
            originals = [x.array if x.__class__ is Tensor else x for x in inputs] if call.converts else arrays
            node = make_node(entry.plan(mask, len(inputs)), inputs, originals, tensors, full)
            if kept is not None:
                keep(node, kept)
            for index, t in differentiable:
                t.node, t.output_index, t.tracks = node, index, True
    if own:
        if call.computed:
            call.learn(entry, inputs, full, single)
        call.computed = True
    return tensors[0] if single else tuple(tensors)


def _mask_of_call(inputs: Sequence[Any], call: Call) -> int:
    """Bits of the inputs that need a gradient."""
    mask = 0
    bit = 1
    for x, flows in zip(inputs, call.flows, strict=True):
        if flows and (x.tracks or (x.base is not None and x.requires_grad)):
            mask |= bit
        bit += bit
    return mask


def _of_type(value: Any, dtype: np.dtype[Any] | None) -> Array:
    """What a kernel gave, as an array of the type that the rule foresaw."""
    if value.__class__ is not np.ndarray:
        value = np.asarray(value)
    if dtype is not None and value.dtype is not dtype and value.dtype != dtype:
        value = value.astype(dtype)
    return cast(Array, value)


def check_inputs(home: Engine, op: Op, inputs: Sequence[Any]) -> None:
    """Refuse inputs of the wrong kind, in the wrong number, or of another session."""
    checks.check_inputs(op, inputs, lambda x: isinstance(x, Tensor) and x.home is home)


def mask_of(op: Op, inputs: Sequence[Any]) -> int:
    """Bits of the inputs that need a gradient and can have one."""
    mask = 0
    last = len(op.inputs) - 1
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor) and x.requires_grad and op.inputs[min(i, last)].name in op.differentiable:
            mask |= 1 << i
    return mask


def as_array(x: Any, compute: np.dtype[Any] | None) -> Any:
    """The raw array of an input in the type to compute in; numbers that the type cannot hold wrap around, as in PyTorch."""
    if isinstance(x, Tensor):
        if compute is None or x.array.dtype == compute:
            return x.array
        # The real part on purpose, where the op says so: not a loss to warn of.
        return (np.real(x.array) if compute.kind != "c" and x.array.dtype.kind == "c" else x.array).astype(compute)
    if compute is not None and compute.kind in "iu" and type(x) is int:
        bits = 8 * compute.itemsize
        low = -(2 ** (bits - 1)) if compute.kind == "i" else 0
        if not low <= x < 2 ** (bits - (compute.kind == "i")):
            return np.array(x % 2**bits, np.uint64).astype(compute)[()]
    return x


def _link_views(
    entry: Entry, source: Tensor, array: Array, tensors: Sequence[Tensor], parameters: dict[str, Any], single: bool
) -> None:
    """Tie outputs that share the first input's memory to its base."""
    owner = array if array.base is None else array.base
    name = entry.op.name
    base = source if source.base is None else source.base
    before = None if base is source else source.path
    recorded = single and is_grad_enabled() and (base is source or source.recorded)
    version: Any = None
    follows, generation = recorded, 0  # known once somebody shares the memory
    for index, t in enumerate(tensors):
        mine = t.array.base
        if mine is not owner and mine is not array:
            apart = (t.array is not array and mine is None) or not np.may_share_memory(t.array, array)
            if apart and t.array.size and name != "_strided":
                continue  # reshape had to copy; without elements there is nothing to copy, and history matters alone
        if name == "data":
            t.version = INFERENCE if source.version is INFERENCE else None
            continue  # nobody notices what is written there
        if version is None:
            version = source.shared_version()
            follows = recorded or version is INFERENCE
            generation = base.generation if follows else version[0]
        t.version = version
        if name in _MEMORY_ONLY:
            continue
        # `tie`, written out: views are made by the thousand
        t.base, t.path = base, (before, (name, parameters, None if single else index))
        if before is not None and name == "_strided" and base.array.dtype == array.dtype:
            # It may show what the view that it was made from does not: it leads to the base at once.
            t.path = None, (name, _from_base(base.array, array, parameters), None)
        t.recorded, t.generation = follows, generation


def _from_base(base: Array, view: Array, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of ``_strided`` of a view, for its base."""
    apart = (view.ctypes.data - base.ctypes.data) // base.itemsize
    return {
        **parameters,
        "offset": parameters["offset"] + apart,
        "layout": tuple([step // base.itemsize for step in base.strides]),
    }


_MEMORY_ONLY: Final = frozenset({"detach", "view.dtype"})
"""Views that history does not go through."""


_NAMES: Final[dict[str, Any]] = {"Tensor": Tensor, "as_array": as_array, "of_type": _of_type, "link_views": _link_views}
"""What the code of a ``Form`` calls by name."""


def _apply(self: Tensor, op: str, /, *inputs: Any, **parameters: Any) -> Any:
    """Compute one op and record how, see ``TensorBase._apply``."""
    if not parameters:
        entry = ENTRIES.get(op)
        if entry is not None and entry.ufunc is not None:
            made = apply_ufunc(self.home, entry, inputs)
            if made is not None:
                return made
    home = self.home
    key = _call_key(home, op, inputs, parameters)
    call = _CALLS.get(key) if key is not None else None
    if call is not None and call.form is not None:
        return call.form(call, home, inputs)
    return apply(home, op, inputs, parameters)


def _make(self: Engine, op: str, /, *inputs: Any, **parameters: Any) -> Any:
    """See ``Engine._apply``."""
    return apply(self, op, inputs, parameters)


def install() -> None:
    """Give the engine's classes their way through an op, once."""
    for kind, way in ((Tensor, _apply), (Engine, _make)):
        way.__qualname__ = f"{kind.__name__}._apply"
        setattr(kind, "_apply", way)  # noqa: B010 - a method of a class that this module must know first
