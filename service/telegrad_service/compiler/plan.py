"""A compiled program: what the recorded run becomes, and how it runs again."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from telegrad.contract.errors import TelegradError
from telegrad_service.compiler.chains import Chain, form
from telegrad_service.compiler.code import Code
from telegrad_service.compiler.effects import NEW, Symbol
from telegrad_service.compiler.history import History
from telegrad_service.compiler.ir import CONSTANT, TEMPORARY, Value, replaced_values, values_in
from telegrad_service.compiler.layout import Layout
from telegrad_service.compiler.passes import drop_dead, settle_gradients, share, symbols_of
from telegrad_service.compiler.recorder import Recorder
from telegrad_service.engine import quiet
from telegrad_service.engine.graph import renewed
from telegrad_service.engine.tensor import Engine, Tensor

MOST_STEPS: Final = 50_000
"""Longer programs are interpreted: Python takes seconds to compile such a function."""

KEPT_BYTES: Final = 32 * 2**20
"""Blocks of a plan that stay between runs, half of what a session may keep; larger ones are taken for each request and given back
after it, which costs a page fault for every 4 KiB: a third of the time of a step on 1,024 rows of 1,024 numbers."""


class State:
    """What one run works with.

    Attributes:
        home: the engine of the session.
        command: the command that runs, where it may fail.
        answers: results of reads and grads.
        out: arrays that reads put out.
        session: whom reads and seeds belong to.
    """

    __slots__ = ("answers", "command", "home", "out", "session")

    def __init__(self, home: Engine, session: Any, out: dict[str, Any]) -> None:
        self.home = home
        self.session = session
        self.command = 0
        self.answers: list[dict[str, Any]] = []
        self.out = out

    def tensor(self, array: Any, version: int) -> Tensor:
        """A new tensor without history, written to ``version`` times."""
        made = Tensor(self.home, array)
        if version:
            made.version = [version]
        return made

    def view(self, base: Tensor, array: Any, view: Any) -> Tensor:
        """A new tensor that is a view of ``base``; ``view`` is its path, and whether history was recorded then."""
        made = Tensor(self.home, array)
        path, recorded = view
        made.tie(base, path, recorded=recorded)
        return made


class Output:
    """A tensor to give out: one that was there, or how to make it."""

    __slots__ = ("index", "output_index", "place", "symbol", "tracks")

    def __init__(self, symbol: Symbol, tensor: Tensor, place: int | None = None) -> None:
        self.symbol = symbol
        self.tracks = tensor.tracks
        self.place = place
        self.output_index = tensor.output_index
        self.index = 0


class Plan:
    """A compiled program for tensors of certain shapes.

    Attributes:
        nbytes: what a run allocates at most, as the interpreter counts it.
        nodes: likewise, graph nodes.
        chains: what is done a block at a time.
        turn: held while it runs, since its blocks serve one run at a time; who finds it held has the interpreter.
        answer_bytes: what its reads take in an answer.
        left_bytes, left_nodes: what a run leaves behind in tensors that it gives out, and in the graph that leads to them.
        kept: bytes that it holds between runs.
        text: the function that it runs, to look at.
    """

    def __init__(self, code: Code, layout: Layout, given: Given, made: int) -> None:
        self.nbytes = 0
        self.nodes = 0
        self.answer_bytes = 0
        self.chains: list[Chain] = []
        self.turn = threading.Lock()
        self.text = code.text
        self._code = code
        self._layout = layout
        self._outputs = given.outputs
        self._made = [*given.outputs.values(), *given.bases]
        self._history = given.history
        self._counted_from = made
        self._saved_from = made + (0 if given.history is None else len(given.history.counted))
        self._keeps = layout.nbytes <= KEPT_BYTES
        self._function: Callable[..., Any] | None = None
        self.left_bytes = 0
        self.left_nodes = 0 if given.history is None else given.history.size

    @property
    def kept(self) -> int:
        """Bytes that it holds between runs."""
        return self._layout.nbytes if self._function is not None else 0

    def release(self) -> None:
        """Give the blocks back."""
        self._function = None
        for chain in self.chains:
            chain.release()

    def run(self, state: State, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """One run; the tensors to give out. An error says which command it was."""
        function = self._function
        if function is None:
            function = self._function = self._code.compile(self._layout.place())
        token = quiet.enter()
        try:
            made = function(state, tensors)
        except TelegradError as error:
            error.extra["command"] = state.command
            raise
        finally:
            quiet.leave(token)
            if not self._keeps:
                self._function = None
        return self._give(tensors, made)

    def _give(self, tensors: Sequence[Tensor], made: Sequence[Any]) -> dict[str, Tensor]:
        if not self._outputs:
            return {}
        tops = None
        if self._history is not None:
            counted, saved = made[self._counted_from : self._saved_from], made[self._saved_from :]
            tops = self._history.build(tensors, counted, saved)
        for output in self._made:
            if output.symbol.kind != NEW:
                continue
            tensor = made[output.index]
            tensor.tracks = output.tracks
            if output.place is not None and tops is not None:
                tensor.node = tops[output.place]
                tensor.output_index = output.output_index
        return {name: made[output.index] for name, output in self._outputs.items()}


def build(recorder: Recorder, outputs: Mapping[str, Tensor]) -> Plan | None:
    """Make a plan of a recorded run that gave ``outputs``; None, and ``recorder.failed`` says why, where that cannot be."""
    if recorder.failed or len(recorder.steps) > MOST_STEPS:
        recorder.fail("a program of too many steps")
        return None
    given = Given(recorder, outputs)
    if not recorder.finish():
        return None
    steps = settle_gradients(recorder.steps)
    steps, instead = share(steps)
    history = given.history
    saved = [] if history is None else [replaced_values(template, instead) for template in history.saved.values()]
    everything = [*given.outputs.values(), *given.bases]
    made = list(dict.fromkeys(o.symbol for o in everything))
    symbols = list(dict.fromkeys([*made, *[m.base for m in made if m.base is not None], *symbols_of(steps)]))
    for symbol in symbols:
        symbol.value = instead.get(symbol.value, symbol.value)
    wanted = [s.value for s in (*made, *[m.base for m in made if m.base is not None])] + list(values_in(saved))
    steps = form(drop_dead(steps, wanted), [*wanted, *[s.value for s in symbols]])
    kept = {s.storage for s in wanted} | {s.value.storage for s in symbols}
    inputs = [instead.get(v, v) for v in recorder.inputs]
    layout = Layout(steps, kept)
    code = Code(steps, layout, inputs, recorder.gradients)
    names: list[str] = []
    for symbol in made:
        for line in code.made(symbol):
            code.line(line)
        names.append(code.symbol(symbol))
    if history is not None:
        names += [code.symbol(symbol) for symbol in history.counted]
        names += [code.argument(template) for template in saved]
        history.forget()
    code.end(names)
    for output in everything:
        output.index = made.index(output.symbol)
    plan = Plan(code, layout, given, len(made))
    owned = {s.storage for s in wanted if s.storage.kind == TEMPORARY}
    plan.left_bytes = sum(storage.nbytes for storage in owned)
    plan.chains = [step.fn for step in steps if isinstance(step.fn, Chain)]
    return plan


def _alone(recorder: Recorder, tensor: Tensor) -> Symbol:
    """What stands for a tensor that the run makes, in memory of its own."""
    value: Value = recorder.value(tensor.array)
    if value.storage.kind == CONSTANT:
        value = recorder.copy(value, tensor.array)
    if tensor.base is not None or tensor.kept_gradient is not None or value.storage.kind != TEMPORARY:
        recorder.fail("an output that is part of a given tensor, or has a gradient")
    value.storage.escapes = True
    return recorder.new_symbol(tensor, value)


class Given:
    """What a recorded run gives out.

    Attributes:
        outputs: by name.
        bases: tensors that only views among these refer to, and that have a history.
        history: the graph that leads to all of them; None where there is none.
    """

    def __init__(self, recorder: Recorder, outputs: Mapping[str, Tensor]) -> None:
        self._recorder = recorder
        self._bases: list[tuple[Symbol, Tensor]] = []
        symbols: dict[str, Symbol] = {}
        for name, tensor in outputs.items():
            known = recorder.symbol_of(tensor)
            if known is not None:
                known.value.storage.escapes = True
            symbols[name] = known or (self._view(tensor) if tensor.base is not None else _alone(recorder, tensor))
        tensors = [*outputs.values(), *[t.base for t in outputs.values() if t.base is not None]]
        tops = [t for t in tensors if t.node is not None and recorder.index(t) is None]
        self.history = History(tops, recorder) if tops else None
        if self.history is not None and self.history.failed:
            recorder.fail(self.history.failed)
        self.outputs = {name: self._output(symbols[name], tensor) for name, tensor in outputs.items()}
        self.bases = [self._output(symbol, tensor) for symbol, tensor in self._bases]

    def _output(self, symbol: Symbol, tensor: Tensor) -> Output:
        return Output(symbol, tensor, None if self.history is None else self.history.place.get(id(tensor)))

    def _view(self, tensor: Tensor) -> Symbol:
        """What stands for a view: one without history, or one that was recorded when its base had the history that it has."""
        recorder = self._recorder
        base: Any = tensor.base
        known_at = base.generation if tensor.recorded else base.shared_version()[0]
        recorded = tensor.node is not None and tensor.recorded and tensor.node not in renewed
        if tensor.generation != known_at or (not recorded and (tensor.node is not None or tensor.tracks or base.tracks)):
            recorder.fail("an output that is a view whose base has another history")
        under = recorder.symbol_of(base)
        if under is None:
            under = _alone(recorder, base)
            if base.node is not None:
                self._bases.append((under, base))
        under.value.storage.escapes = True
        symbol = recorder.new_symbol(tensor, recorder.value(tensor.array))
        if tensor.kept_gradient is not None or symbol.value.storage is not under.value.storage:
            recorder.fail("an output that is part of a given tensor, or has a gradient")
        symbol.base, symbol.view = under, (tensor.path, tensor.recorded)
        return symbol


__all__ = ["Plan", "State", "build"]
