"""Recording a run: the engine computes as always, and every array operation that it does on the way becomes a step.

Arrays are recognised by identity. One that turns up without having been recorded ends the recording, not the run: such a program is
left to the interpreter.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from telegrad_service.compiler.effects import GRADIENT, NEW, TENSOR, Bump, Effect, Gradient, Symbol
from telegrad_service.compiler.entries import RecordedEntry
from telegrad_service.compiler.ir import (
    BOUND,
    CALL,
    CONSTANT,
    EFFECT,
    ELEMENTWISE,
    TEMPORARY,
    VIEW,
    Result,
    Step,
    Storage,
    Value,
    replaced,
)
from telegrad_service.compiler.tracing import StandIn, take_apart
from telegrad_service.engine.buffers import Neighbourhood, owner_of
from telegrad_service.engine.calls import Call
from telegrad_service.engine.graph import Node, sequence
from telegrad_service.engine.parts import Part
from telegrad_service.engine.table import Array, Entry
from telegrad_service.engine.tensor import Engine, Tensor


class Recorder:
    """The recording of one run.

    Attributes:
        steps: what was done so far.
        failed: why the run cannot be compiled; empty while it can.
        command: the position of the command that runs.
        tensors: what the program was given, in the order of its inputs.
        begun: nodes that were there before have smaller numbers.
    """

    def __init__(self, home: Engine, tensors: Sequence[Tensor]) -> None:
        self.home = home
        self.steps: list[Step] = []
        self.failed = ""
        self.command = 0
        self.tensors = list(tensors)
        self.begun = sequence()
        self.captured: dict[int, Any] = {}
        self.walked: dict[int, Value] = {}
        self._count = 0
        self._known: dict[int, tuple[Any, Value]] = {}
        self._symbols: dict[int, tuple[Tensor, Symbol]] = {}
        self._versions: list[tuple[Symbol, Tensor, int]] = []
        self._around = Neighbourhood()
        for index, tensor in enumerate(self.tensors):
            self._begin_with(tensor, Symbol(TENSOR, index))
        for index, tensor in enumerate(self.tensors):
            gradient = tensor.kept_gradient
            if gradient is not None and id(gradient) not in self._symbols:
                self._begin_with(gradient, Symbol(GRADIENT, index))
        self._given_out: list[Symbol] = []
        self._before = [_history(t) for t in self.tensors]

    def _begin_with(self, tensor: Tensor, symbol: Symbol) -> None:
        if id(tensor) in self._symbols:
            return
        self._symbols[id(tensor)] = (tensor, symbol)
        writes = self._writes(tensor)
        if self.counter_of(tensor) is None:  # views of one tensor have one counter, which is raised once
            self._versions.append((symbol, tensor, writes))
        found = self._find(tensor.array)
        value = found or self._learn(tensor.array, Storage(BOUND, tensor.array.nbytes))
        symbol.value = value
        if found is not None:
            self.fail("one array under two tensors")
        for other in self._around.add(tensor.array):
            value.storage.overlaps = self.value(other).storage.overlaps = True

    def fail(self, why: str) -> None:
        """The run goes on, the recording does not."""
        self.failed = self.failed or why

    # Values ------------------------------------------------------------------------------------------------------------------

    def _learn(self, array: Array, storage: Storage, constant: Array | None = None) -> Value:
        self._count += 1
        value = Value(self._count, array, storage, constant)
        self._known[id(array)] = (weakref.ref(array), value)
        return value

    def _find(self, x: Any) -> Value | None:
        found = self._known.get(id(x))
        if found is None or found[0]() is not x:
            return None
        return found[1]

    def value(self, array: Any) -> Any:
        """The value that an array of the run is; fails for one that was not recorded."""
        found = self._find(array)
        if found is None:
            self.fail("an array that was not recorded")
            return self._learn(array, Storage(TEMPORARY, 0))
        return found

    def knows(self, array: Any) -> bool:
        """Whether an array was recorded."""
        return self._find(array) is not None

    def constant(self, array: Array) -> Value:
        """An array that is the same in every run."""
        return self._find(array) or self._learn(array, Storage(CONSTANT, array.nbytes), np.array(array))

    def same(self, array: Array, value: Value) -> None:
        """Another object for the same array."""
        self._known[id(array)] = (weakref.ref(array), value)

    def result(self, array: Array, inputs: Sequence[tuple[Any, Value]]) -> tuple[Value, bool]:
        """A value for what was computed, and whether it lies in the memory of an input."""
        owner = owner_of(array)
        for given, value in inputs:
            if isinstance(given, np.ndarray) and owner_of(given) is owner:  # pyright: ignore[reportUnknownArgumentType]
                return self._learn(array, value.storage), True
        return self._learn(array, Storage(TEMPORARY, owner.nbytes)), False

    def fresh(self, array: Array) -> Value:
        """A value in memory of its own."""
        return self._learn(array, Storage(TEMPORARY, array.nbytes))

    def _given(self, template: Any) -> Any:
        """Arrays of the run replaced by their values."""
        return replaced(template, lambda x: self.value(x) if isinstance(x, (np.ndarray, Part)) else x)

    # Steps -------------------------------------------------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: Mapping[str, Any],
        results: list[Result],
        *,
        writes: tuple[Value, ...] = (),
        fallible: bool = False,
        random: bool = False,
    ) -> None:
        """One more step."""
        if any(value.storage.overlaps for value in writes):
            self.fail("a write to memory that two of the given tensors share")
        step = Step(kind, fn, args, keywords, results, command=self.command, writes=writes, fallible=fallible, random=random)
        self.steps.append(step)

    def effect(self, effect: Effect) -> None:
        """A change of the session that is no array operation."""
        self.steps.append(Step(EFFECT, effect, tuple(effect.values()), {}, [], command=self.command))

    def unit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: Mapping[str, Any],
        given: Any,
        *,
        random: bool = False,
        fallible: bool = True,
    ) -> Any:
        """Record a call that gave ``given``: taken apart, or whole; as a whole it may be ``fallible``.

        Returns what it gave, scalars as arrays: arrays, ``Part``s and None in nested tuples.
        """
        if self.failed:
            return _as_arrays(given)
        taken = None if random else take_apart(fn, args, keywords, given)
        if taken is None:
            return self._whole(fn, args, keywords, given, random, fallible)
        return self.apart(given, taken)

    def apart(self, given: Any, taken: Any) -> Any:
        """Record a call that was taken apart; returns what it gave, ``given``, scalars as arrays."""
        noted, stand_ins, result = taken
        found: dict[int, Value] = {id(s): self.value(s._real) for s in stand_ins}

        def now(leaf: Any) -> Any:
            if type(leaf) is StandIn:
                return found[id(leaf)]
            if isinstance(leaf, (np.ndarray, np.generic)):
                return self.constant(np.asarray(leaf))
            return leaf

        for call in noted:
            arguments, named = replaced(call.args, now), replaced(call.keywords, now)
            results: list[Result] = []
            for path, out, scalar in call.outs:
                if call.kind == VIEW:
                    inputs = [(s._real, found[id(s)]) for s in _stand_ins((call.args, call.keywords))]
                    value, _ = self.result(out._real, inputs)
                else:
                    value = self.fresh(out._real)
                found[id(out)] = value
                results.append(Result(path, value, scalar))
            writes = () if call.target is None else (found[id(call.target)],)
            self.add(call.kind, call.fn, arguments, named, results, writes=writes)

        return self._linked(result, given, found)

    def _linked(self, made: Any, real: Any, found: Mapping[int, Value]) -> Any:
        """Tie what a call really gave to what was noted. No closure: it would be a cycle, and hold arrays."""
        if isinstance(real, (tuple, list)):
            several = cast("Sequence[Any]", real)
            return tuple([self._linked(m, r, found) for m, r in zip(made, several, strict=True)])
        if not isinstance(real, (np.ndarray, np.generic)):
            return real
        array = np.asarray(real)
        if type(made) is StandIn:
            if self._find(array) is None:
                self.same(array, found[id(made)])
        else:
            self.same(array, self.constant(np.asarray(made)))
        return array

    def _whole(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: Mapping[str, Any],
        given: Any,
        random: bool,
        fallible: bool,
    ) -> Any:
        arguments, named = self._given(args), self._given(dict(keywords))
        inputs: list[tuple[Any, Value]] = []
        replaced((args, dict(keywords)), lambda x: inputs.append((x, self.value(x))) if isinstance(x, np.ndarray) else None)
        results: list[Result] = []
        made = self._linked_whole(given, (), inputs, results)
        shares = any(r.value.storage is value.storage for r in results for _, value in inputs)
        self.add(VIEW if shares else CALL, fn, arguments, named, results, fallible=fallible, random=random)
        return made

    def _linked_whole(self, real: Any, path: tuple[int, ...], inputs: list[tuple[Any, Value]], results: list[Result]) -> Any:
        """Values for what a call gave; those that are new are added to ``results``."""
        if isinstance(real, (tuple, list)):
            several = cast("Sequence[Any]", real)
            return tuple([self._linked_whole(r, (*path, i), inputs, results) for i, r in enumerate(several)])
        if real is None:
            return None
        if isinstance(real, Part):
            self._count += 1
            value = Value(self._count, None, Storage(TEMPORARY, 0))
            self._known[id(real)] = (lambda: real, value)
            results.append(Result(path, value, False))
            return real
        array = np.asarray(real)
        if self._find(array) is not None and array is real:
            if not any(array is x for x, _ in inputs) and all(r.value is not self._find(array) for r in results):
                self.fail("a function gave an array of another's")
            return array
        value, _ = self.result(array, inputs)
        results.append(Result(path, value, not isinstance(real, np.ndarray)))
        return array

    # Ops ---------------------------------------------------------------------------------------------------------------------

    def entry(self, entry: Entry | None, inputs: Sequence[Any], call: Call) -> RecordedEntry | None:
        """What computes an op and is recorded; ``RecordedEntry.finish`` takes what became of it. None for an op made of others."""
        if entry is None:
            self.fail("an op made of others")
            return None
        if entry.instead is not None:
            self.fail("an op that asks how memory is laid out")
            return None
        if call.outcome is None:
            self.fail("a result whose shape depends on values")
        return RecordedEntry(self, entry, inputs, call)

    # Between commands --------------------------------------------------------------------------------------------------------

    def symbol(self, tensor: Tensor) -> Symbol:
        """What stands for a tensor when another run has other ones."""
        found = self._symbols.get(id(tensor))
        if found is None:
            made = Symbol(NEW, len(self._symbols))
            made.value = self.value(tensor.array)
            found = self._symbols[id(tensor)] = (tensor, made)
        return found[1]

    def _writes(self, tensor: Tensor) -> int:
        """How often the tensor was written to. Inference tensors do not count that: their programs are left to the interpreter."""
        if tensor.is_inference():
            self.fail("an inference tensor")
            return 0
        return tensor._version

    def counter_of(self, tensor: Tensor) -> Symbol | None:
        """What stands for a tensor of before the run that counts the same writes."""
        same = (s for s, t, _ in self._versions if t is tensor or (t.version is not None and t.version is tensor.version))
        return next(same, None)

    def counters(self) -> tuple[dict[int, Symbol], set[int]]:
        """Write counters, by identity: what stands for the tensor that has it, and those of tensors that are left without that."""
        owners: dict[int, Symbol] = {}
        left: set[int] = set()
        for tensor, symbol in self._symbols.values():
            if symbol.kind == TENSOR or symbol in self._given_out:
                owners[id(tensor.version)] = symbol
            else:
                left.add(id(tensor.version))
        return owners, left - owners.keys()

    def symbol_of(self, tensor: Tensor) -> Symbol | None:
        """What stands for a tensor that the recording has met."""
        found = self._symbols.get(id(tensor))
        return None if found is None else found[1]

    def new_symbol(self, tensor: Tensor, value: Value) -> Symbol:
        """What stands for a tensor that is given out."""
        made = Symbol(NEW, len(self._symbols), value, self._writes(tensor))
        self._given_out.append(made)
        self._symbols[id(tensor)] = (tensor, made)
        return made

    def copy(self, source: Value, array: Array) -> Value:
        """``array`` is a copy of ``source``."""
        made = self.fresh(array)
        if made.strides != np.copy(array).strides:
            self.fail("a copy of what is stretched, which is no longer")
        self.add(CALL, np.copy, (source,), {}, [Result((), made, False)])
        return made

    def created(self, array: Array) -> None:
        """An array that begins the same in every run, and may be written to."""
        self._count += 1
        constant = np.array(array, order="C")
        self.copy(Value(self._count, constant, Storage(CONSTANT, constant.nbytes), constant), array)

    @property
    def inputs(self) -> list[Value]:
        """The arrays of the tensors that the program was given."""
        return [self._symbols[id(t)][1].value for t in self.tensors]

    @property
    def gradients(self) -> list[tuple[int, Value]]:
        """The arrays of their gradients, each with the position of its tensor."""
        return [(s.index, s.value) for _, s in self._symbols.values() if s.kind == GRADIENT]

    def index(self, tensor: Tensor) -> int | None:
        """The position of a tensor among those that the program was given."""
        found = self._symbols.get(id(tensor))
        return found[1].index if found is not None and found[1].kind == TENSOR else None

    def index_of_made(self, node: Node, output: int) -> int | None:
        """The position of what came out of a node of before the run; None where that is not one tensor among the given ones."""
        found = [i for i, t in enumerate(self.tensors) if t.node is node and t.output_index == output]
        return found[0] if len(found) == 1 else None

    def gradient_set(self, owner: Tensor) -> None:
        """``owner.grad`` is another tensor, or None, from now on."""
        index = self.index(owner)
        if index is not None:
            gradient = owner.kept_gradient
            self.effect(Gradient(index, None if gradient is None else self.symbol(gradient)))

    def command_done(self) -> None:
        """Note which tensors of before the run were written to."""
        for position, (symbol, tensor, before) in enumerate(self._versions):
            now = self._writes(tensor)
            if now != before:
                self.effect(Bump(symbol, now - before))
                self._versions[position] = (symbol, tensor, now)

    def finish(self) -> bool:
        """Look at what the run left of the tensors that it was given; whether it can be compiled."""
        for tensor, before in zip(self.tensors, self._before, strict=True):
            if any(now is not then for now, then in zip(_history(tensor), before, strict=True)):
                self.fail("a tensor that the program is given becomes another")
        places: set[Storage] = set()
        for tensor, symbol in list(self._symbols.values()):
            if symbol.kind == NEW and symbol.base is None:
                if symbol.value.storage.kind != TEMPORARY or symbol.value.storage in places:
                    self.fail("two tensors in one piece of memory")
                places.add(symbol.value.storage)
            if symbol.kind == NEW and symbol not in self._given_out:
                if tensor.node is not None or tensor.tracks or tensor.base is not None or tensor.kept_gradient is not None:
                    self.fail("a gradient with a history of its own")
                symbol.version = self._writes(tensor)
        return not self.failed


def _history(tensor: Tensor) -> tuple[Any, ...]:
    """What a run may not change of a tensor that it is given. A view takes the history of a write from its base, but late."""
    base = tensor.base
    above = (None, None, None) if base is None else (base.array, base.node, base.tracks)
    return (tensor.array, tensor.node, tensor.tracks, base, *above)


def _stand_ins(template: Any) -> list[StandIn]:
    found: list[StandIn] = []
    replaced(template, lambda leaf: found.append(leaf) if type(leaf) is StandIn else None)
    return found


def _as_arrays(given: Any) -> Any:
    if isinstance(given, (tuple, list)):
        return tuple([_as_arrays(v) for v in cast("Sequence[Any]", given)])
    return given if given is None or isinstance(given, (np.ndarray, Part)) else np.asarray(given)


def add_into(recorder: Recorder, target: Array, other: Array) -> None:
    """Record ``target += other``."""
    value = recorder.value(target)
    recorder.add(ELEMENTWISE, np.add, (value, recorder.value(other)), {"out": value}, [], writes=(value,))
