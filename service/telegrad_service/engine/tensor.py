"""The engine's Tensor: an array, how it was made, and ``_apply``, which computes and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from telegrad.contract import checks, dtypes, watching
from telegrad.contract.dtypes import DType
from telegrad.contract.errors import (
    ArgumentError,
    ArgumentTypeError,
    AutogradError,
    LeafError,
    SessionMismatchError,
    UnknownOpError,
)
from telegrad.contract.hooks import Hook, Hooks, RemovableHandle, check_accumulates, check_hookable
from telegrad.contract.modes import inferring, is_grad_enabled
from telegrad.contract.ops import OPS, Op, Outcome, Spec, UnknownShape, checked, find
from telegrad.contract.session import BaseSession
from telegrad.contract.tensor.tensor import GraphNode
from telegrad.contract.tensor.tensor import Tensor as AbstractTensor
from telegrad.contract.transforms.wrapper import NOT_REDIRECTED, redirected, running
from telegrad_service.engine import quiet, views
from telegrad_service.engine.forms import Form, form_of
from telegrad_service.engine.graph import INFERENCE, AccumulateGrad, Node, Version, mark_inference
from telegrad_service.engine.hooks import hooks_for, register
from telegrad_service.engine.parts import unfit
from telegrad_service.engine.recording import keep, written
from telegrad_service.engine.table import ENTRIES, Array, Entry, Plan

Step: TypeAlias = "tuple[str, dict[str, Any], int | None]"
"""One view op: its name, its parameters, and which output where it has several."""

Chain: TypeAlias = "tuple[Step, ...]"
"""View ops in order."""

Path: TypeAlias = "tuple[Path | None, Step]"
"""View ops, last one first, each with the path before it; views of views share the common part, however many are alive."""

_FLOATING: Final = frozenset("fc")


class Engine:
    """What the tensors of one session share: the random generator and the session they answer to.

    Attributes:
        generator: of random numbers.
        session: that the tensors answer to.
        watched: whether anomaly mode of this process is about them.
        refreshed: how often looking at a view gave it a new history.
        walk: see below.
    """

    __slots__ = ("__weakref__", "generator", "refreshed", "session", "walk", "watched")

    def __init__(self, session: Any = None) -> None:
        self.generator = np.random.Generator(np.random.PCG64())
        self.session = session
        self.walk: Any = None
        """What makes the walk of ``backward`` and ``grad`` where no hooks are about, for a recording that has one of its own."""
        self.refreshed = 0
        # Anomaly mode is a mode of the user's process: a service that runs there too has clients with modes of their own.
        self.watched = isinstance(session, BaseSession)

    def seed(self, seed: int) -> None:
        """Restart the generator; the same seed gives the same draws in every place."""
        self.generator = np.random.Generator(np.random.PCG64(seed % 2**64))

    def wrap(self, array: Array, node: Node | None = None, output_index: int = 0) -> Tensor:
        """A Tensor around ``array`` itself, made by ``node`` (None: a leaf without gradient)."""
        made = Tensor(self, array, node, output_index)
        if inferring:
            mark_inference(made)
        return made

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
        """Ops that make tensors from nothing; see ``TensorBase._apply``."""
        return apply(self, op, inputs, parameters)


class Tensor(AbstractTensor):
    """See ``telegrad.contract.tensor.tensor.Tensor``.

    Attributes:
        home: the engine it belongs to.
        array: the values.
        node: what made it, as of ``generation``; ask ``current_node()``.
        output_index: which output of the node.
        tracks: what ``requires_grad`` says of a leaf; always True beside a node.
        version: the storage's write counter, shared with views; made when first needed.
        base: for a view, the tensor whose storage it shares and whose history writes go through.
        path: for a view, the view ops that lead from the base to it; ``chain()`` gives them in order.
        recorded: for a view, whether it follows its base's history: made while history was recorded, alone, and not by a custom
            function. One that does not is refused once its memory was written to, as in PyTorch.
        generation: how often history was replaced by writes: the base's own count, or the count a view's node was made
            at. For a view that does not follow its base, the write counter that it was made at.
        hooks: of a leaf, what users registered on it and on its accumulation.
    """

    path: Path
    recorded: bool
    hooks: Hooks
    # Only few have these three: a tensor is made at every op, and each slot that is filled costs 20 ns.

    __slots__ = (
        "__weakref__",
        "_grad",
        "array",
        "base",
        "generation",
        "home",
        "hooks",
        "node",
        "output_index",
        "path",
        "recorded",
        "tracks",
        "version",
    )

    def __init__(self, home: Engine, array: Array, node: Node | None = None, output_index: int = 0) -> None:
        self.home = home
        self.array = array
        self.node = node
        self.output_index = output_index
        self.tracks = node is not None
        self._grad: Tensor | None = None
        self.version: Version | None = None
        self.base: Tensor | None = None
        self.generation = 0

    # What the contract asks
    # --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.array.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return dtypes.from_numpy(self.array.dtype)

    @property
    def session(self) -> BaseSession:
        """The session that the tensor lives in."""
        return cast(BaseSession, self.home.session)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor; as in PyTorch, any view of a tensor that requires grad does too."""
        base = self.base
        if base is None:
            return self.tracks
        return self.tracks or (base.tracks and self.array.dtype.kind in _FLOATING)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if type(value) is not bool:
            raise ArgumentTypeError(f"requires_grad must be a bool, not {type(value).__name__}")
        if self.current_node() is not None:
            raise LeafError(checks.GRAD_OF_NON_LEAF)
        if value:
            checks.check_can_require_grad(self.dtype)
            checks.check_inference(self.is_inference(), checks.INFERENCE_REQUIRES_GRAD)
        self.tracks = value

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made this tensor."""
        return self.current_node() is None

    @property
    def grad_fn(self) -> GraphNode | None:
        """The node that made this tensor."""
        return self.current_node()

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated so far, or None. Warns where there will never be one: of a non-leaf that retains none."""
        if self._grad is None and (self.node is not None or self.base is not None) and not self._may_get_gradients():
            watching.warn_of_no_grad()
        return self._grad

    @grad.setter
    def grad(self, value: AbstractTensor | None) -> None:
        if value is None:
            self._grad = None
            return
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(checks.no_gradient(value))
        if value is self:
            raise AutogradError("can't assign Variable as its own grad")
        self._same_home(value)
        checks.check_assigned_grad(spec_of(self), spec_of(value))
        self._grad = value

    def _may_get_gradients(self) -> bool:
        try:
            return self.is_leaf or self.retains_grad
        except AutogradError:  # a view that cannot follow its base: not known, and no reason to refuse a look at ``grad``
            return True

    @property
    def kept_gradient(self) -> Tensor | None:
        """``grad`` for those who only look, without a warning."""
        return self._grad

    @property
    def retains_grad(self) -> bool:
        """Whether ``retain_grad()`` was called on this non-leaf."""
        node = self.current_node()
        return node is not None and node.retains(self.output_index, self)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in ``grad`` when backward passes it."""
        if not self.requires_grad:
            raise AutogradError("can't retain_grad on Tensor that has requires_grad=False")
        node = self.current_node()
        if node is None:
            return
        node.retain(self.output_index, self)

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(gradient)`` when this tensor's gradient is there; see the contract's ``Tensor``."""
        check_hookable(self.requires_grad)
        return register(self.current_node() or self, self.output_index, hook)

    def register_post_accumulate_grad_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(self)`` when ``grad`` is up to date; see the contract's ``Tensor``."""
        check_hookable(self.requires_grad)
        check_accumulates(self.is_leaf)
        return hooks_for(self).accumulated.add(hook)

    def _gradient_edge(self) -> tuple[Any, int, Any]:
        node = self.current_node()
        return (AccumulateGrad(self), 0, None) if node is None else (node, self.output_index, None)

    def _increment_version(self) -> None:
        self.was_written()

    def contiguous(self) -> Tensor:
        """See ``TensorOps.contiguous``."""
        return self if self.array.flags.c_contiguous and not running() else cast(Tensor, self._apply("contiguous", self))

    def _take_data(self, value: Any) -> None:
        self._same_home(value)
        checks.check_data(self.requires_grad, value.dtype)
        if self.base is not None:
            self.current_node()  # what it is now; what is written from now on, the base does not have
            self.base = None
        self.array = value.array

    def _check_turnable(self, name: str) -> None:
        checks.check_turnable(name, self.requires_grad, self.is_leaf, self.base is not None, is_grad_enabled())

    def _was_turned(self) -> None:
        if not running():
            self.was_written()

    def _cut_history(self) -> None:
        if self.base is not None:
            raise AutogradError(checks.CUT_VIEW)
        if self.node is not None:
            self.node.release(self.output_index, self)
        self.node, self.output_index, self.tracks = None, 0, False

    def is_inference(self) -> bool:
        """See the contract's ``Tensor``."""
        return self.version is INFERENCE

    def was_written(self) -> None:
        """Count a change in place. Raises for an inference tensor outside of the mode."""
        version = self.shared_version()
        if version is INFERENCE:
            checks.check_inference(True, checks.INFERENCE_IN_PLACE)
        else:
            version[0] += 1

    @property
    def _version(self) -> int:
        if self.version is INFERENCE:
            raise AutogradError(checks.INFERENCE_VERSION)
        return 0 if self.version is None else self.version[0]

    def numpy(self) -> npt.NDArray[Any]:
        """The values as a numpy array that shares this tensor's memory, as in PyTorch."""
        if self.requires_grad and is_grad_enabled():
            raise AutogradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.array

    def _value(self) -> npt.NDArray[Any]:
        return self.array

    # The hook
    # ----------------------------------------------------------------------------------------------------------------

    def _apply(self, op: str, /, *inputs: Any, **parameters: Any) -> Any:
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

    # For the graph
    # -----------------------------------------------------------------------------------------------------------

    def current_node(self) -> Node | None:
        """The node that made this tensor; for a view whose base was written since, a new one that leads to the base's history."""
        base = self.base
        if base is None:
            return self.node
        if not self.recorded:
            if self.generation != self.version[0] and (self.node is not None or base.tracks):  # type: ignore[index]  # views have one
                raise views.stale(self.node, self.output_index, self.chain(), "its base or another view of its base has been")
            return self.node
        if base.generation == self.generation:
            return self.node
        fresh: Tensor = base
        try:
            for op, parameters, output in self.chain():
                made = apply(self.home, op, (fresh,), parameters, track=True)
                fresh = made if output is None else made[output]
        except (ArgumentError, IndexError):
            fresh = base
        if fresh.array.shape != self.array.shape:
            raise AutogradError(
                f"this view has no place in its base any more, whose data was replaced by data of shape {list(base.array.shape)} "
                "and then changed in place. Make the view again"
            )
        self.home.refreshed += 1
        self.take_history(fresh)
        self.generation = base.generation
        return self.node

    def tie(self, base: Tensor, path: Path, *, recorded: bool) -> None:
        """Become a view of ``base``, whose memory this tensor has."""
        version = self.version = base.shared_version()
        self.base, self.path, self.recorded = base, path, recorded or version is INFERENCE
        self.generation = base.generation if self.recorded else version[0]

    def unfollow(self) -> None:
        """Stay a view in memory only: the history is this tensor's own."""
        if self.version is not INFERENCE:
            self.recorded = False
            self.generation = self.shared_version()[0]

    def chain(self) -> Chain:
        """For a view, the view ops that lead from the base to it, in order."""
        steps: list[Step] = []
        path: Path | None = self.path
        while path is not None:
            path, step = path
            steps.append(step)
        return tuple(reversed(steps))

    def take_history(self, made: Tensor) -> None:
        """Become, for the graph, what ``made`` is; a retained gradient is from now on the new history's."""
        before, node = self.node, made.node
        if before is not None and before.retained is not None and node is not None and before.release(self.output_index, self):
            node.retain(made.output_index, self)
        self.node, self.output_index, self.tracks = node, made.output_index, node is not None or made.tracks

    def shared_version(self) -> Version:
        """The storage's write counter."""
        version = self.version
        if version is None:
            version = self.version = [0]
        return version

    def accumulate_grad(self, gradient: Any, *, may_keep: bool = False, in_place: bool = True) -> int:
        """Add to ``grad``: in place for an array, as a new Tensor for a recorded gradient.

        Returns the bytes of a ``grad`` where there was none.

        Args:
            gradient: an array, or a Tensor with history of its own.
            may_keep: the array is nobody else's and may become ``grad`` itself.
            in_place: add an array to the very Tensor that ``grad`` is, as PyTorch does for leaves; otherwise make a new
                one.
        """
        if not self.tracks:
            return 0  # a leaf that requires none any more, or a view without history: PyTorch accumulates nothing there
        before = self._grad
        if before is not None:
            there, arrives = before.array, gradient.array if isinstance(gradient, Tensor) else gradient
            if there.shape != arrives.shape or (there.dtype.kind != "c" and arrives.dtype.kind == "c"):
                raise unfit(f"{arrives.dtype} {list(arrives.shape)}", f"{there.dtype} {list(there.shape)}")
        if isinstance(gradient, Tensor):
            # A copy, so that grad never is the vector that the walk began with, or another leaf's grad.
            if before is None:
                empty = Tensor(self.home, np.empty_like(gradient.array))
                self._grad = cast(Tensor, empty._apply("copy", empty, gradient))
            else:
                self._grad = before + gradient
        elif before is None:
            # A copy in the order of the elements, whatever the product that made it left: view() needs it so.
            self._grad = Tensor(self.home, gradient if may_keep and gradient.flags.c_contiguous else np.array(gradient, order="C"))
        elif in_place and before.array.flags.writeable:
            np.add(before.array, gradient, out=before.array)
            before.was_written()
        else:
            self._grad = Tensor(self.home, np.asarray(before.array + gradient))
        return self.array.nbytes if before is None else 0

    def _same_home(self, other: Tensor) -> None:
        if other.home is not self.home:
            raise SessionMismatchError(checks.OTHER_SESSION)


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


def spec_of(tensor: Tensor) -> Spec:
    """Shape and element type."""
    return Spec(tensor.array.shape, dtypes.from_numpy(tensor.array.dtype))


class Call:
    """What is known of a call of one op before it is computed: the same for all inputs of these shapes and types.

    Attributes:
        outcome: what the op's rule foresees; None where the result's shape depends on values.
        compute: the numpy type that inputs are converted to; None leaves each as it is.
        converts: whether any input has to be converted.
        types: numpy types of the outputs; None where they are not foreseen.
        flows: per input, whether it is a tensor that a gradient can flow to.
        computed: whether a call like it was computed.
        form: the code for what is left to do, see ``forms``; None until a second call like it, and where none is written.
        full, values, single: what the form needs: all parameters, their values alone, and whether the kernel gives one array.
    """

    __slots__ = ("compute", "computed", "converts", "flows", "form", "full", "outcome", "single", "types", "values")

    def __init__(self, op: Op, inputs: Sequence[Any], outcome: Outcome | None) -> None:
        self.outcome = outcome
        self.compute = compute = None if outcome is None or outcome.compute is None else outcome.compute.numpy
        self.converts = compute is not None and any(
            x.array.dtype is not compute if isinstance(x, Tensor) else x is not None and compute.kind in "iu" for x in inputs
        )
        self.types = None if outcome is None else tuple([o.dtype.numpy for o in outcome.outputs])
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
        if key is not None:
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


def compute(  # noqa: PLR0912 - what may be asked of a result, in the order in which it is due
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
        differentiable = [(i, t) for i, t in enumerate(tensors) if t.array.dtype.kind in _FLOATING]
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
    for index, t in enumerate(tensors):
        mine = t.array.base
        if mine is not owner and mine is not array:
            apart = (t.array is not array and mine is None) or not np.may_share_memory(t.array, array)
            if apart and t.array.size:
                continue  # reshape had to copy; without elements there is nothing to copy, and history matters alone
        if name == "data":
            t.version = INFERENCE if source.version is INFERENCE else None
            continue  # nobody notices what is written there
        if name in ("detach", "view.dtype"):  # history does not go this way
            t.version = source.shared_version()
            continue
        t.tie(base, (before, (name, parameters, None if single else index)), recorded=recorded)


_NAMES: Final[dict[str, Any]] = {"Tensor": Tensor, "as_array": as_array, "of_type": _of_type, "link_views": _link_views}
"""What the code of a ``Form`` calls by name."""
