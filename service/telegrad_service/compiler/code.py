"""Python made of steps: one function without look-ups, loops or tests, which the plan calls for every run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from telegrad_service.compiler.effects import GRADIENT, NEW, TENSOR, Act, Bump, Gradient, Symbol
from telegrad_service.compiler.ir import CHAIN, EFFECT, ELEMENTWISE, INTO, VIEW, Step, Storage, Value, replaced, values_in
from telegrad_service.compiler.layout import Layout, laid, planned
from telegrad_service.compiler.passes import LOOKS
from telegrad_service.engine.graph import note_write
from telegrad_service.engine.table import Array

_NAMED_OUT: Final = frozenset({np.maximum, np.minimum})
"""Ufuncs that want ``out`` by name; the others are called faster with it in its place."""

_LITERALS: Final = (int, bool, type(None), str)


class Code:
    """The function, and the names that it uses beside its own.

    Attributes:
        text: its source.
        names: its globals, without the arrays in blocks.
    """

    def __init__(
        self, steps: Sequence[Step], layout: Layout, inputs: Sequence[Value], gradients: Sequence[tuple[int, Value]]
    ) -> None:
        """Write the function for ``steps``.

        Args:
            steps: in order.
            layout: where temporaries lie.
            inputs: the arrays of the tensors that the program is given.
            gradients: those of the gradients that are there, with the position of their tensors.
        """
        self.names: dict[str, Any] = {"asarray": np.asarray, "empty": np.empty}
        self._layout = layout
        self._static: dict[Value, str] = {}
        self._placed: list[tuple[str, int, Value]] = []
        self._looks: list[tuple[Step, list[tuple[str, Value]]]] = []
        self._constants: dict[Any, str] = {}
        self._symbols: set[Symbol] = set()
        lines = ["def run(state, tensors):"]
        if inputs:
            lines.append(" " + ", ".join(f"t{i}" for i in range(len(inputs))) + ", = tensors")
        lines += [f" v{value.number} = t{i}.array" for i, value in enumerate(inputs)]
        for i, value in gradients:
            lines += [f" q{i} = t{i}._grad", f" v{value.number} = q{i}.array"]
        command = -1
        for index, step in enumerate(steps):
            if step.fallible and step.command != command:
                command = step.command
                lines.append(f" state.command = {command}")
            lines += [" " + line for line in self._lines(step)]
            dead = [
                v
                for v in dict.fromkeys([*step.reads, *[r.value for r in step.results]])
                if self._is_large(v.storage)
                and layout.last_use[v.storage] == index
                and v not in self._static
                and v.constant is None
            ]
            if dead:
                lines.append(" " + " = ".join(f"v{v.number}" for v in dead) + " = None")
        self._body = lines

    @staticmethod
    def _is_large(storage: Storage) -> bool:
        return storage.nbytes > 4096 and storage.kind == "temporary"

    def end(self, names: Sequence[str]) -> None:
        """Let the function return these."""
        self._body.append(" return (" + "".join(f"{n}, " for n in names) + ")")
        self.text = "\n".join(self._body)

    def compile(self, blocks: Sequence[Array]) -> Any:
        """The function with its temporaries in these blocks."""
        space = dict(self.names)
        for name, block, value in self._placed:
            space[name] = laid(blocks[block], value)
        for step, results in self._looks:

            def now(x: Any) -> Any:
                return space[self._static[x]] if x in self._static else self._constant_of(x)

            made: Any = step.fn(*_filled(step.args, now), **_filled(dict(step.keywords), now))
            for name, value in results:
                part = made
                for r in step.results:
                    if r.value is value:
                        for at in r.path:
                            part = part[at]
                space[name] = part
        # The text is made of this package's own templates, numbers and names that it chose itself.
        exec(compile(self.text, "<compiled program>", "exec"), space)  # noqa: S102
        return space.pop("run")  # see chains.py

    @staticmethod
    def _constant_of(value: Value) -> Array:
        if value.constant is None:
            raise LookupError("a value that is not the same in every run")
        return value.constant

    # Names -------------------------------------------------------------------------------------------------------------------

    def value(self, value: Value) -> str:
        """What a value is called."""
        found = self._static.get(value)
        if found is not None:
            return found
        if value.constant is not None:
            return self._named(f"k{value.number}", value.constant)
        return f"v{value.number}"

    def _named(self, name: str, x: Any) -> str:
        self.names[name] = x
        return name

    def _constant(self, x: Any) -> str:
        name = self._constants.get(id(x))
        if name is None:
            name = self._constants[id(x)] = f"c{len(self._constants)}"
            self.names[name] = x
        return name

    def argument(self, x: Any) -> str:
        """An argument, written out."""
        if isinstance(x, Value):
            return self.value(x)
        if type(x) is tuple and any(True for _ in values_in(x)):
            return "(" + "".join(f"{self.argument(item)}, " for item in x) + ")"  # pyright: ignore[reportUnknownVariableType]
        if type(x) is list and any(True for _ in values_in(x)):
            return "[" + "".join(f"{self.argument(item)}, " for item in x) + "]"  # pyright: ignore[reportUnknownVariableType]
        if type(x) in _LITERALS or (type(x) is float and math.isfinite(x)):
            return repr(x)
        return self._constant(x)

    def symbol(self, symbol: Symbol) -> str:
        """A tensor."""
        if symbol.kind == TENSOR:
            return f"t{symbol.index}"
        return f"q{symbol.index}" if symbol.kind == GRADIENT else f"n{symbol.index}"

    # Steps -------------------------------------------------------------------------------------------------------------------

    def _lines(self, step: Step) -> list[str]:
        if step.kind == EFFECT:
            return self._effect(step)
        if step.kind == CHAIN:
            return self._chain(step)
        function = self._constant(step.fn)
        keywords = dict(step.keywords)
        if step.kind in (ELEMENTWISE, INTO):
            return self._into(step, function, keywords)
        if step.kind == VIEW and self._is_static(step):
            results = [(f"b{r.value.number}", r.value) for r in step.results]
            for name, value in results:
                self._static[value] = name
            self._looks.append((step, results))
            return []
        call = f"{function}({self._arguments(step.args, keywords)})"
        if not step.results:
            return [call]
        if len(step.results) == 1 and step.results[0].path == ():
            result = step.results[0]
            return [f"v{result.value.number} = asarray({call})" if result.scalar else f"v{result.value.number} = {call}"]
        lines = [f"r = {call}"]
        for result in step.results:
            part = "r" + "".join(f"[{at}]" for at in result.path)
            lines.append(f"v{result.value.number} = asarray({part})" if result.scalar else f"v{result.value.number} = {part}")
        return lines

    def _chain(self, step: Step) -> list[str]:
        lines: list[str] = []
        for result in step.results:
            value = result.value
            if planned(step, value):
                self._static[value] = f"b{value.number}"
                self._placed.append((f"b{value.number}", self._layout.block_of[value.storage], value))
            else:
                lines.append(f"v{value.number} = empty({value.shape!r}, {self._constant(value.dtype)})")
        takes = "".join(f"{self.argument(v)}, " for v in step.args)
        leaves = "".join(f"{self.argument(r.value)}, " for r in step.results)
        return [*lines, f"{self._constant(step.fn.run)}(({takes}), ({leaves}))"]

    def _arguments(self, args: Sequence[Any], keywords: dict[str, Any]) -> str:
        return ", ".join([*map(self.argument, args), *[f"{k}={self.argument(v)}" for k, v in keywords.items()]])

    def _is_static(self, step: Step) -> bool:
        """Whether a view can be taken once, before the first run."""
        return step.fn in LOOKS and all(v in self._static or v.constant is not None for v in step.reads)

    def _into(self, step: Step, function: str, keywords: dict[str, Any]) -> list[str]:
        if step.writes:
            target = keywords.pop("out")
            if keywords.get("casting") is not None and all(v.dtype == target.dtype for v in step.reads):
                del keywords["casting"]
            return [self._with_out(step, function, keywords, self.value(target))]
        result = step.results[0]
        value = result.value
        if planned(step, value):
            name = f"b{value.number}"
            self._static[value] = name
            self._placed.append((name, self._layout.block_of[value.storage], value))
            return [self._with_out(step, function, keywords, name)]
        call = f"{function}({self._arguments(step.args, keywords)})"
        return [f"v{value.number} = asarray({call})" if value.shape == () else f"v{value.number} = {call}"]

    def _with_out(self, step: Step, function: str, keywords: dict[str, Any], out: str) -> str:
        if isinstance(step.fn, np.ufunc) and step.fn not in _NAMED_OUT:
            return f"{function}({self._arguments([*step.args], {})}, {out}{self._more(keywords)})"
        return f"{function}({self._arguments([*step.args], keywords)}, out={out})"

    def _more(self, keywords: dict[str, Any]) -> str:
        return "".join(f", {k}={self.argument(v)}" for k, v in keywords.items())

    def _effect(self, step: Step) -> list[str]:
        effect = step.fn
        if isinstance(effect, Bump):
            return [f"{self.symbol(effect.symbol)}.shared_version()[0] += {effect.count}", f"{self._constant(note_write)}()"]
        if isinstance(effect, Gradient):
            if effect.symbol is None:
                return [f"t{effect.index}._grad = None"]
            return [*self.made(effect.symbol), f"t{effect.index}._grad = {self.symbol(effect.symbol)}"]
        if isinstance(effect, Act):
            given = ["state"]
            if effect.takes_symbol:
                given.append("None" if effect.symbol is None else self.symbol(effect.symbol))
            return [f"{self._constant(effect.do)}({', '.join([*given, *map(self.argument, step.args)])})"]
        raise TypeError(f"no effect: {type(effect).__name__}")

    def made(self, symbol: Symbol) -> list[str]:
        """The line that makes a new tensor, unless there was one before."""
        if symbol.kind != NEW or symbol in self._symbols:
            return []
        self._symbols.add(symbol)
        if symbol.base is not None:
            arguments = f"{self.symbol(symbol.base)}, {self.value(symbol.value)}, {self._constant(symbol.view)}"
            return [*self.made(symbol.base), f"n{symbol.index} = state.view({arguments})"]
        return [f"n{symbol.index} = state.tensor({self.value(symbol.value)}, {symbol.version})"]

    def line(self, text: str) -> None:
        """One more line."""
        self._body.append(" " + text)


def _filled(template: Any, now: Any) -> Any:
    return replaced(template, lambda leaf: now(leaf) if isinstance(leaf, Value) else leaf)
