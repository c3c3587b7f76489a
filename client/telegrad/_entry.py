"""One trace of a function: for which calls it holds, and a call that it holds for."""

# The underscores are for users: function, trace and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from telegrad._environment import Environment
from telegrad.contract import tracing
from telegrad.contract.errors import TelegradError
from telegrad.contract.transforms.trees import build

if TYPE_CHECKING:
    from telegrad._traced import Traced


class Source(NamedTuple):
    """Where the tensor for a hole of a program comes from at each call.

    Attributes:
        kind: ``argument``, ``environment``, or ``base`` of another hole.
        number: of the tensor among the arguments' or the environment's, or of the other hole.
        signature: what the trace knew of it, see ``Programs.signature``.
        had_gradient: whether there was a gradient; None where the trace does not depend on it.
        hooks: those that the trace called, as ``functions_of`` gives them.
    """

    kind: str
    number: int
    signature: Any
    had_gradient: bool | None
    hooks: Any


class Entry:
    """One trace of a function, and when it holds.

    Attributes:
        traced: the program.
        environment: what the function referred to.
        sources: where the tensors for its holes come from, in order.
        same: pairs of an argument and a tensor of the environment that are one tensor.
        views: pairs of holes, a view and the tensor that it is a view of.
        structure: of what the function returned.
        results: per leaf of that: the number of one of the program's outputs, -1 - the number of a hole, or a constant.
        runs: how often it was run.
    """

    __slots__ = ("environment", "results", "runs", "same", "sources", "structure", "traced", "views")

    def __init__(
        self,
        traced: Traced,
        environment: Environment,
        sources: Sequence[Source],
        same: Sequence[tuple[int, int]],
        views: Sequence[tuple[int, int]],
        structure: Any,
        results: Sequence[Result],
    ) -> None:
        self.traced = traced
        self.environment = environment
        self.sources = sources
        self.same = same
        self.views = views
        self.structure = structure
        self.results = results
        self.runs = 0

    def bind(self, programs: Any, arguments: Sequence[Any]) -> list[Any] | None:
        """A tensor for each hole of the trace; None where the trace does not hold for this call."""
        found = self.environment.look()
        if found is None:
            return None
        bound: list[Any] = []
        for kind, number, signature, had_gradient, hooks in self.sources:
            if kind == "argument":
                x = arguments[number]
            elif kind == "environment":
                x = found[number]
                if programs.signature(x) != signature:
                    return None
            else:
                x = programs.base(bound[number])
                if x is None or programs.signature(x) != signature:
                    return None
            if had_gradient is not None and programs.has_gradient(x) is not had_gradient:
                return None
            if signature[1] & tracing.LEAF:
                registered = programs.hooks(x)
                if (registered is not None or hooks is not None) and functions_of(registered) != hooks:
                    return None
            bound.append(x)
        if len({id(x) for x in bound}) < len(bound) or any(arguments[i] is not found[j] for i, j in self.same):
            return None
        if any(programs.base(bound[view]) is not bound[base] for view, base in self.views):
            return None
        return bound


class Kept(dict[Any, list[Entry]]):
    """The traces of one function in one session, by what they depend on.

    Attributes:
        traced: how many were ever made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.traced = 0


class Result(NamedTuple):
    """A leaf of what a function returned: a constant, an output of the program, or one of its inputs."""

    kind: str
    value: Any


class Prepared(NamedTuple):
    """A call that is traced and bound, and not run yet.

    Attributes:
        session: where it runs.
        entry: the trace.
        bound: the tensors for ``entry.traced.holes``.
        made: those that were made of arrays for this call.
    """

    session: Any
    entry: Entry
    bound: list[Any]
    made: Sequence[Any]

    @property
    def traced(self) -> Traced:
        """The program."""
        return self.entry.traced

    def run(self) -> Any:
        """Run the program once; what the function returns."""
        entry = self.entry
        entry.runs += 1
        try:
            made = self.session._programs.run(entry.traced, self.bound)
        except TelegradError as error:
            entry.traced.explain(error)
            raise
        return self.returned(made)

    def run_many(self, many: tracing.Many) -> tracing.Runs:
        """Run the program many times; see ``Programs.run_many``."""
        self.entry.runs += many.times
        runs: tracing.Runs = self.session._programs.run_many(self.entry.traced, self.bound, many)
        return runs

    def is_steady(self) -> bool:
        """Whether the trace also holds for the same call after this one, for all that the program does."""
        traced, sources = self.entry.traced, self.entry.sources
        if traced.epochs and any(source.had_gradient is not None for source in sources):
            return False  # leaves that are not known may get gradients, and these may be among them
        if self.made and any(change.wrote and any(self.bound[change.hole] is x for x in self.made) for change in traced.changes):
            return False  # the next call has the array's values again
        return all(change.keeps(sources[change.hole].had_gradient) for change in traced.changes)

    def references(self) -> dict[int, str]:
        """From the number of each returned leaf that is a tensor to what it is called in the program."""
        traced = self.entry.traced
        tables = {"output": traced.outputs, "input": traced.holes}
        return {i: tables[kind][value] for i, (kind, value) in enumerate(self.entry.results) if kind in tables}

    def returned(self, made: Sequence[Any]) -> Any:
        """What the function returns, from the tensors that the program gave out."""
        entry, bound = self.entry, self.bound
        leaves: list[Any] = []
        for kind, value in entry.results:
            leaves.append(made[value] if kind == "output" else bound[value] if kind == "input" else value)
        return build(entry.structure, leaves)


def functions_of(hooks: Any) -> Any:
    """The hooks of a leaf, to compare."""
    if hooks is None:
        return None
    tables = [*hooks.tensor.values(), hooks.before, hooks.after, hooks.accumulated]
    return tuple([table.functions() for table in tables])
