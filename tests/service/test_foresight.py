"""What cannot fit is refused whole, before anything is done; what would have fitted never is."""

from __future__ import annotations

import dataclasses
import random
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import LimitError
from telegrad.contract.limits import Limits
from telegrad_service.session import usage
from telegrad_service.session.context import Context
from telegrad_service.session.forecast import Forecast
from telegrad_service.session.foresight import Foresight
from telegrad_service.session.session import BatchAnswer, Session

MEBI = 2**20
LIMITS = Limits(max_session_bytes=64 * MEBI, max_tensor_bytes=32 * MEBI, max_nodes=200, max_tensors=60)

Command = dict[str, Any]


def op(name: str, *inputs: Any, to: str | None = None, **parameters: Any) -> Command:
    outputs = {} if to is None else {"outputs": [to]}
    return {"command": "apply", "op": name, "inputs": list(inputs), "parameters": parameters, **outputs}


def zeros(name: str, mebibytes: float) -> Command:
    return op("zeros", to=name, size=[int(mebibytes * MEBI / 4)])


def release(*names: str) -> Command:
    return {"command": "release", "tensors": list(names)}


def leaf(name: str, mebibytes: float) -> list[Command]:
    return [zeros(name, mebibytes), {"command": "set", "tensor": name, "requires_grad": True}]


def batch(session: Session, *commands: Command) -> BatchAnswer:
    return session.batch([decode_command(c) for c in commands])


@pytest.fixture
def session() -> Session:
    return Session("s", LIMITS)


def assert_refused_whole(session: Session, *commands: Command, limit: str, failed: int) -> LimitError:
    before = session.summary()
    tracemalloc.start()
    answer = batch(session, *commands)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    error = answer.failed
    assert isinstance(error, LimitError)
    assert (answer.applied, answer.results) == (0, [])
    assert (error.extra["limit"], error.extra["applied"], error.extra["failed"]) == (limit, 0, failed), error
    assert error.extra["predicted"] > error.extra["permitted"]
    assert f"{error.extra['predicted']:,}" in str(error)
    assert session.summary() == before
    assert peak < MEBI, f"{peak:,} bytes were allocated"
    return error


SQUARE = [op("ones", to="m", size=[2048, 1024])]  # 8 MiB

TOO_MUCH: dict[str, tuple[list[Command], list[Command], str, int]] = {
    # name: what is there, the batch, the limit, the command that would not fit
    "outputs, each of which fits": ([], [zeros(f"z{i}", 20) for i in range(4)], "max_session_bytes", 3),
    "beside what the session holds": ([zeros("a", 30)], [zeros("b", 20), zeros("c", 20)], "max_session_bytes", 1),
    "one that is too large by itself, at the end": (
        [],
        [zeros("a", 1), op("ones", to="b", size=[9 * MEBI])],
        "max_tensor_bytes",
        1,
    ),
    "an outer product of what is made here": (
        [],
        [op("ones", to="v", size=[8192]), op("outer", "v", "v", to="w")],
        "max_tensor_bytes",
        1,
    ),
    "an intermediate of an einsum": (
        [op("ones", to=name, size=[60, 10_000]) for name in ("p", "q", "r")],
        [zeros("a", 1), op("einsum", "p", "q", "r", to="e", equation="ai,bi,ci->abc")],
        "max_session_bytes",
        1,
    ),
    "the columns of a convolution": (
        [op("ones", to="x", size=[1, 16, 512, 512]), op("ones", to="k", size=[1, 16, 5, 5])],
        [zeros("a", 1), op("conv2d", "x", "k", to="y", stride=[2, 2])],
        "max_session_bytes",
        1,
    ),
    "values that the graph keeps though their names are released": (
        leaf("x", 10),
        [
            command
            for i in range(6)
            for command in (op("exp", "x" if i == 0 else f"e{i - 1}", to=f"e{i}"), *([release(f"e{i - 1}")] if i else []))
        ],
        "max_session_bytes",
        9,
    ),
    "the gradients of a backward": (
        [*leaf("a", 20), *leaf("b", 20)],
        [op("sum", "a", to="s"), op("sum", "b", to="t"), op("add", "s", "t", to="u"), {"command": "backward", "tensors": ["u"]}],
        "max_session_bytes",
        3,
    ),
    "the results of a grad": (
        leaf("a", 25),
        [
            op("sum", "a", to="s"),
            {"command": "grad", "outputs": ["s"], "inputs": ["a"], "results": ["g"], "retain_graph": True},
            {"command": "grad", "outputs": ["s"], "inputs": ["a"], "results": ["h"]},
        ],
        "max_session_bytes",
        2,
    ),
    "nodes": (leaf("x", 0.001), [op("add_", "y", 1) if i else op("add", "x", 1, to="y") for i in range(300)], "max_nodes", 200),
    "names": ([], [zeros(f"n{i}", 0.001) for i in range(70)], "max_tensors", 60),
    "names that the server would pick": ([zeros("x", 0.001)], [op("add", "x", 1)] * 70, "max_tensors", 59),
    "arithmetic": (
        [op("ones", to="x", size=[1, 10]), op("ones", to="k", size=[10, 1])],
        [zeros("a", 1), op("expand", "x", to="y", size=[10**12, 10]), op("matmul", "y", "k", to="z")],
        "max_command_flops",
        2,
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_cannot_fit_is_refused_whole_before_anything_is_done(session, name):
    there, commands, limit, failed = TOO_MUCH[name]
    assert batch(session, *there).failed is None
    assert_refused_whole(session, *commands, limit=limit, failed=failed)


def test_a_single_backward_is_refused_before_it_begins(session):
    batch(session, *leaf("a", 20), *leaf("b", 20), op("sum", "a", to="s"), op("sum", "b", to="t"), op("add", "s", "t", to="u"))

    with pytest.raises(LimitError, match="max_session_bytes"):
        session.apply(decode_command({"command": "backward", "tensors": ["u"]}))

    assert session.names["a"].grad is None
    batch(session, release("b", "t"))
    session.apply(decode_command({"command": "grad", "outputs": ["s"], "inputs": ["a"], "results": ["g"]}))


def test_runs_of_a_program_are_foreseen_with_what_they_collect(session):
    batch(session, op("ones", to="x", size=[MEBI // 4]))
    program = session.store_program([decode_command(op("mul", "x", 2, to="y"))], ["x"])
    run = {"command": "run", "program": program.id, "inputs": {"x": "x"}, "collect": {"y": "ys"}}

    with pytest.raises(LimitError) as refused:
        session.apply(decode_command({**run, "times": 70}))
    assert (refused.value.extra["limit"], refused.value.extra["run"]) == ("max_tensor_bytes", 0)
    assert list(session.names) == ["x"]
    session.apply(decode_command({**run, "times": 30}))
    assert session.names["ys"].array.nbytes == 30 * MEBI


@pytest.mark.parametrize("mode", [True, False])  # of the views; a view of a leaf requires gradients in either
def test_rows_of_a_leaf_are_foreseen_with_the_graph_that_they_get(session, mode):
    chain: list[Command] = [op("exp", "row", to="v0")]
    for number in range(LIMITS.max_nodes):
        chain += [op("exp", f"v{number}", to=f"v{number + 1}"), release(f"v{number}")]
    program = session.store_program([decode_command(c) for c in chain], ["row"]).id
    batch(session, op("zeros", to="x", size=[2, 4]), {"command": "set", "tensor": "x", "requires_grad": True})
    run = {"command": "run", "program": program, "inputs": {}, "each": {"row": "x"}, "grad_enabled": mode}

    assert_refused_whole(session, run, limit="max_nodes", failed=0)


def test_a_program_that_does_not_fit_is_refused_before_its_first_command(session):
    batch(session, *leaf("x", 1))
    commands = [decode_command(c) for c in (op("add_", "x", 1) | {"grad_enabled": False}, *[zeros(f"z{i}", 20) for i in range(4)])]
    program = session.store_program(commands, ["x"])

    with pytest.raises(LimitError, match="max_session_bytes"):
        session.apply(decode_command({"command": "run", "program": program.id, "inputs": {"x": "x"}}))

    assert not session.names["x"].array.any()


FITS: dict[str, tuple[list[Command], list[Command]]] = {
    "temporaries that are released in time": (
        [],
        [command for i in range(12) for command in (zeros(f"z{i}", 20), release(f"z{i}"))],
    ),
    "what takes the place of something released": ([zeros("a", 30), zeros("b", 30)], [release("a"), zeros("c", 30)]),
    "a graph that a backward frees": (
        leaf("x", 10),
        [
            command
            for i in range(4)
            for command in (
                op("exp", "x", to=f"e{i}"),
                op("sum", f"e{i}", to=f"s{i}"),
                {"command": "backward", "tensors": [f"s{i}"]},
                release(f"e{i}", f"s{i}"),
            )
        ],
    ),
    "a graph of before that a backward frees": (
        [*leaf("x", 10), op("exp", "x", to="e"), op("exp", "e", to="f"), op("sum", "f", to="s"), release("e", "f")],
        [{"command": "backward", "tensors": ["s"]}, release("s"), zeros("z", 32)],
    ),
    "gradients that are taken away": (
        [*leaf("x", 20), op("sum", "x", to="s"), {"command": "backward", "tensors": ["s"]}],
        [{"command": "set", "tensor": "x", "grad": None}, zeros("z", 30)],
    ),
    "a chain that keeps nothing": (
        leaf("x", 10),
        [
            command
            for i in range(10)
            for command in (op("add", "x" if i == 0 else f"e{i - 1}", 1, to=f"e{i}"), *([release(f"e{i - 1}")] if i else []))
        ],
    ),
    "views": ([zeros("x", 30)], [op("reshape", "x" if i == 0 else f"v{i - 1}", to=f"v{i}", shape=[-1]) for i in range(20)]),
    "changes in place": ([zeros("x", 30)], [op("add_", "x", 1) for _ in range(20)]),
    "without history": (
        leaf("x", 10),
        [command for i in range(8) for command in (op("exp", "x", to=f"e{i}") | {"grad_enabled": False}, release(f"e{i}"))],
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_what_fits_is_never_refused(session, name):
    there, commands = FITS[name]
    assert batch(session, *there).failed is None

    answer = batch(session, *commands)

    assert answer.failed is None, answer.failed
    assert answer.applied == len(commands)


def test_a_mistake_before_is_what_is_reported(session):
    answer = batch(session, zeros("a", 1), op("add", "a", "nobody", to="b"), zeros("c", 40))

    assert (answer.applied, list(session.names)) == (1, ["a"])
    assert not isinstance(answer.failed, LimitError)


def test_what_depends_on_values_is_left_to_its_time(session):
    commands = [op("ones", to="x", size=[1000]), op("nonzero", "x", to="n"), op("expand", "n", to="w", size=[1000, 1])]
    assert batch(session, *commands).failed is None
    answer = batch(session, op("nonzero", "x", to="k"), op("outer", "k", "k", to="o"))
    assert answer.applied == 1  # a mistake of shapes that only values show


def test_a_chain_of_many_ops_is_foreseen_without_recursion(session):
    large = Session("s", dataclasses.replace(LIMITS, max_nodes=10**6, max_tensors=10**6))
    chain = [op("exp", f"e{i}", to=f"e{i + 1}") for i in range(20_000)]

    assert (
        batch(large, op("ones", to="e0", size=[1]), {"command": "set", "tensor": "e0", "requires_grad": True}, *chain).failed
        is None
    )


def random_commands(draw: random.Random, names: list[str], count: int) -> list[Command]:
    """Commands that are mostly possible, on tensors whose sizes differ."""
    made: list[Command] = []
    for _ in range(count):
        kind = draw.randrange(12)
        fresh = f"r{draw.randrange(10**9)}"
        if kind < 2 or not names:
            size = draw.choice([1, 1000, 250_000])
            made.append(op("ones", to=fresh, size=[size]))
            made.append({"command": "set", "tensor": fresh, "requires_grad": draw.random() < 0.6})
            names.append(fresh)
        elif kind < 7:
            made.append(op(draw.choice(["exp", "neg", "sin", "sqrt", "reshape"]), draw.choice(names), to=fresh))
            if made[-1]["op"] == "reshape":
                made[-1]["parameters"] = {"shape": [-1]}
            names.append(fresh)
        elif kind < 8:
            made.append(op("sum", draw.choice(names), to=fresh))
            names.append(fresh)
        elif kind < 9:
            made.append(op("mul", draw.choice(names), 2, to=fresh) | {"grad_enabled": False})
            names.append(fresh)
        elif kind < 11:
            made.append(release(names.pop(draw.randrange(len(names)))))
        else:
            made.append(op("sum", draw.choice(names), to=fresh))
            made.append({"command": "backward", "tensors": [fresh], "retain_graph": draw.random() < 0.3})
            names.append(fresh)
    return made


@pytest.mark.parametrize("seed", range(10))
def test_forecasts_of_random_batches_never_refuse_what_fits(seed):
    """The least limit that a session without foresight needs is enough for one with it."""
    draw = random.Random(seed)
    names: list[str] = []
    batches = [random_commands(draw, names, 25) for _ in range(4)]
    roomy = Session("roomy")
    applied = [[c for c in commands if batch(roomy, c).failed is None] for commands in batches]

    def peak_of() -> int:
        watched = Session("watched")
        most = 0
        for commands in applied:
            for command in commands:
                assert batch(watched, command).failed is None
                most = max(most, usage.count(watched.alive()).nbytes)
        return most

    # A command is admitted with its result beside everything that is held before it: the smallest limit that lets all pass.
    low, high = peak_of(), 4 * peak_of() + MEBI
    for _ in range(12):
        middle = (low + high) // 2
        plain = Session("plain", Limits(max_session_bytes=middle))
        fits = all(batch(plain, command).failed is None for commands in applied for command in commands)
        low, high = (low, middle) if fits else (middle, high)
    foreseeing = Session("foreseeing", Limits(max_session_bytes=high))
    for commands in applied:
        answer = batch(foreseeing, *commands)
        assert answer.failed is None, answer.failed
    assert list(foreseeing.names) == list(roomy.names)


def test_the_same_step_again_is_foreseen_in_a_fraction_of_the_time(session):
    batch(session, op("ones", to="x", size=[64, 64]), op("ones", to="w", size=[64, 64]))
    batch(session, {"command": "set", "tensor": "w", "requires_grad": True})

    def step(number: int) -> list[Any]:
        a, b, c = (f"{name}{number}" for name in "abc")
        commands = [op("matmul", "x", "w", to=a), op("relu", a, to=b), op("sum", b, to=c), {"command": "backward", "tensors": [c]}]
        return [decode_command(c) for c in (*commands, {"command": "set", "tensor": "w", "grad": None}, release(a, b, c))]

    context = Context(session.names, {}, {})
    first, later = [], []
    for number in range(300):
        commands = step(number)
        fresh = Foresight(session)
        begun = time.perf_counter()
        fresh.of(commands, context)
        first.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        session.foresight.of(commands, context)
        later.append(time.perf_counter() - begun)

    assert np.median(later) < 0.5 * np.median(first)


def test_a_step_that_releases_the_result_of_the_one_before_is_remembered(session, monkeypatch):
    batch(session, op("ones", to="w", size=[3]), {"command": "set", "tensor": "w", "requires_grad": True})
    counted: list[int] = []
    through = Forecast.through

    def counting(self: Forecast, commands: Any) -> int:
        counted.append(len(commands))
        return through(self, commands)

    monkeypatch.setattr(Forecast, "through", counting)
    batch(session, op("sum", "w", to="y0"))
    for i in range(4):
        answer = batch(session, op("mul", "w", 2, to="s"), op("sum", "s", to=f"y{i + 1}"), release("s", f"y{i}"))
        assert answer.failed is None
        assert session.names[f"y{i + 1}"].node is not None
    assert counted == [1, 3]


def test_what_is_released_may_not_be_used_after_it_by_a_remembered_forecast_either(session):
    batch(session, op("ones", to="w", size=[3]), {"command": "set", "tensor": "w", "requires_grad": True})
    for _ in range(3):
        batch(session, op("sum", "w", to="y"))
        answer = batch(session, release("y"), op("mul", "y", 2, to="z"))
        assert answer.applied == 1
        assert answer.failed is not None
        assert answer.failed.code == "not-found"


def test_a_remembered_forecast_still_knows_the_limits(session):
    commands = [zeros("a", 20), zeros("b", 20)]
    assert batch(session, *commands).failed is None
    assert batch(session, release("a", "b")).failed is None
    assert batch(session, *commands).failed is None  # as foreseen before
    assert batch(session, release("b"), zeros("c", 20)).failed is None
    assert_refused_whole(session, zeros("d", 20), zeros("e", 20), limit="max_session_bytes", failed=1)
