"""What a compiled program is, and that nobody can tell it from the interpreted one."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import AutogradError
from telegrad.contract.limits import Limits
from telegrad_service.compiler import chains, plans
from telegrad_service.compiler.plan import Plan
from telegrad_service.engine import threads
from telegrad_service.engine.graph import deferred
from telegrad_service.session import usage
from telegrad_service.session.session import Session
from tests.compiler.twins import Twins

RNG = np.random.default_rng(0)


def apply(op: str, inputs: list[Any], made: str | None = None, *, grad: bool = True, **parameters: Any) -> dict[str, Any]:
    command = {"command": "apply", "op": op, "inputs": inputs, "parameters": parameters, "grad_enabled": grad}
    return command if made is None else {**command, "outputs": [made]}


def backward(*tensors: str, **more: Any) -> dict[str, Any]:
    return {"command": "backward", "tensors": list(tensors), **more}


NETWORK: list[dict[str, Any]] = [
    apply("linear", ["x", "w1", "b1"], "h1"),
    apply("relu", ["h1"], "h2"),
    apply("linear", ["h2", "w2", "b2"], "scores"),
    apply("cross_entropy", ["scores", "t"], "loss"),
    backward("loss"),
    *[apply("sub_", [p, f"{p}.grad"], grad=False, alpha=0.1) for p in ("w1", "b1", "w2", "b2")],
    *[{"command": "set", "tensor": p, "grad": None} for p in ("w1", "b1", "w2", "b2")],
    {"command": "read", "tensor": "loss"},
]
HOLES = {name: name for name in ("x", "t", "w1", "b1", "w2", "b2")}


def network(**more: Any) -> Twins:
    return Twins(
        {
            "x": RNG.normal(size=(8, 5)).astype(np.float32),
            "t": RNG.integers(0, 3, 8),
            "w1": RNG.normal(size=(6, 5)).astype(np.float32),
            "b1": np.zeros(6, np.float32),
            "w2": RNG.normal(size=(3, 6)).astype(np.float32),
            "b2": np.zeros(3, np.float32),
        },
        requires_grad=("w1", "b1", "w2", "b2"),
        **more,
    )


def test_training_a_network_is_compiled_and_gives_the_same_bits():
    twins = network()
    program = twins.store(NETWORK, list(HOLES))

    twins.run(program, HOLES, {"loss": "last"}, times=20)

    assert twins.plan().text
    assert twins.compiled.names["last"].grad_fn is not None


def test_a_run_after_a_failed_one_goes_on_from_the_state_that_it_left():
    twins = network()
    program = twins.store(NETWORK, list(HOLES))
    twins.run(program, HOLES, times=4)
    for session in twins.both:
        session.names["t"].array[0] = 7  # no such class

    twins.run(program, HOLES, times=2)

    for session in twins.both:
        session.names["t"].array[0] = 1
    twins.run(program, HOLES, times=3)
    assert twins.plan().text


def test_what_was_done_before_a_failing_command_stands_in_a_compiled_run_as_well():
    commands = [
        apply("add_", ["count", 1.0]),
        apply("mul", ["w", "x"], "y"),
        apply("sum", ["y"], "s"),
        backward("s"),
        apply("cholesky", ["x"], "c"),
        apply("add_", ["count", 10.0]),
    ]
    twins = Twins({"count": [0.0], "w": np.eye(2), "x": np.eye(2)}, requires_grad=("w",))
    program = twins.store(commands, ["count", "w", "x"])
    holes = {"count": "count", "w": "w", "x": "x"}
    twins.run(program, holes, times=5)
    assert twins.plan().text
    for session in twins.both:
        session.names["x"].array[...] = -np.eye(2)

    twins.run(program, holes, times=2)

    assert twins.compiled.names["count"].array[0] == 56.0


def grad(outputs: list[str], inputs: list[str], results: list[str], **more: Any) -> dict[str, Any]:
    return {"command": "grad", "outputs": outputs, "inputs": inputs, "results": results, **more}


SECOND_ORDER = {
    "a Hessian times a vector": [
        *NETWORK[:4],
        grad(["loss"], ["w1", "w2"], ["g1", "g2"], create_graph=True),
        apply("mul", ["g1", "g1"], "s1"),
        apply("sum", ["s1"], "along"),
        grad(["along"], ["w1", "w2"], ["h1w", "h2w"]),
        apply("sub_", ["w1", "h1w"], grad=False, alpha=0.1),
        {"command": "read", "tensor": "h2w"},
    ],
    "a penalty on a gradient": [
        *NETWORK[:4],
        grad(["loss"], ["w1", "b1"], ["g1", "gb"], create_graph=True),
        apply("mul", ["g1", "g1"], "squares"),
        apply("sum", ["squares"], "penalty"),
        apply("add", ["loss", "penalty"], "total"),
        backward("total"),
        *NETWORK[5:13],
        {"command": "read", "tensor": "total"},
    ],
    "a third derivative": [
        apply("pow", ["w1", 4], "fourth"),
        apply("sum", ["fourth"], "y"),
        grad(["y"], ["w1"], ["first"], create_graph=True),
        apply("sum", ["first"], "y1"),
        grad(["y1"], ["w1"], ["second"], create_graph=True),
        apply("sum", ["second"], "y2"),
        grad(["y2"], ["w1"], ["third"]),
        {"command": "read", "tensor": "third"},
    ],
}


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_a_gradient_that_is_recorded_itself_is_compiled(name: str):
    twins = network()
    program = twins.store(SECOND_ORDER[name], list(HOLES))

    twins.run(program, HOLES, times=8)

    assert twins.plan().text


@pytest.mark.parametrize(
    ("commands", "why"),
    [
        ([apply("nonzero", ["x"], "y"), apply("add", ["y", 1], "z")], "shape"),
        ([apply("sum", ["w"], "s"), backward("s", create_graph=True)], "itself"),
        (
            [
                apply("layer_norm", ["w", None, None], "y", normalized_shape=[3]),
                {"command": "set", "tensor": "y", "retain_grad": True},
            ],
            "retained",
        ),
        (
            [apply("add", ["w", 1.0], "b"), apply("select", ["b"], "y", dim=0, index=0), apply("add_", ["b", 1.0])],
            "view whose base has another history",
        ),
    ],
)
def test_what_the_compiler_leaves_alone_is_interpreted(commands: list[dict[str, Any]], why: str):
    twins = Twins({"x": RNG.normal(size=(3, 3)), "w": RNG.normal(size=3)}, requires_grad=("w",))
    program = twins.store(commands, ["x", "w"])
    made = [c["outputs"][0] for c in commands if c.get("outputs")][-1]

    for run in range(4):
        twins.run(program, {"x": "x", "w": "w"}, {made: f"out{run}"})

    assert not any(isinstance(p, Plan) for p in twins.plans)
    assert any(why in p for p in twins.plans)


def overlapping() -> Twins:
    """Two sessions with ``x``, its first rows and its odd columns."""
    twins = Twins({"x": RNG.normal(size=(4, 4))})
    for session in twins.both:
        session.names["rows"] = session.names["x"].narrow(0, 0, 2)
        session.names["columns"] = session.names["x"][:, 1::2]
    return twins


@pytest.mark.parametrize(("a", "b"), [("x", "rows"), ("rows", "x"), ("rows", "columns"), ("x", "columns")])
def test_writes_to_inputs_that_overlap_are_the_interpreters(a, b):
    twins = overlapping()
    program = twins.store([apply("add_", ["a", 1.0]), apply("sum", ["b"], "s"), {"command": "read", "tensor": "s"}], ["a", "b"])

    for _ in range(4):
        twins.run(program, {"a": a, "b": b})

    assert twins.plans == ["a write to memory that two of the given tensors share"]


@pytest.mark.parametrize(("a", "b"), [("x", "rows"), ("rows", "x"), ("rows", "columns"), ("x", "columns")])
def test_inputs_that_overlap_and_are_only_read_are_compiled(a, b):
    twins = overlapping()
    commands = [
        apply("exp", ["a"], "e"),
        apply("sum", ["e"], "s"),
        apply("select", ["b"], "row", dim=0, index=1),
        apply("mul", ["row", "s"], "out"),
        {"command": "read", "tensor": "out"},
    ]
    program = twins.store(commands, ["a", "b"])

    for run in range(4):
        twins.run(program, {"a": a, "b": b}, {"out": f"out{run}"})

    assert twins.plan().text


def test_a_plan_for_inputs_that_lie_apart_is_none_for_some_that_overlap():
    twins = overlapping()
    for session in twins.both:
        session.names["other"] = session.names["rows"].clone()
    program = twins.store([apply("add_", ["a", 1.0]), apply("sum", ["b"], "s"), {"command": "read", "tensor": "s"}], ["a", "b"])

    for other in ("other", "rows", "other", "rows", "other", "rows"):
        twins.run(program, {"a": "x", "b": other})

    assert [isinstance(p, Plan) for p in twins.plans].count(True) == 1


def with_rows() -> Twins:
    """Two sessions with ``x``, its first two rows as ``a`` and ``b``, copies of these, and a leaf."""
    twins = Twins({"x": RNG.normal(size=(3, 4)), "c": RNG.normal(size=4), "d": RNG.normal(size=4), "w": RNG.normal(size=4)})
    for session in twins.both:
        session.names["w"].requires_grad = True
        session.names["a"], session.names["b"] = session.names["x"][0], session.names["x"][1]
    return twins


def test_a_write_through_one_of_several_views_of_a_tensor_is_counted_once():
    twins = with_rows()
    program = twins.store([apply("add_", ["a", 1.0]), apply("mul_", ["b", 2.0])], ["a", "b"])

    for _ in range(4):
        twins.run(program, {"a": "a", "b": "b"})

    assert twins.plan().text


def test_a_plan_for_tensors_with_counters_of_their_own_is_none_for_views_of_one():
    twins = with_rows()
    step = [
        apply("mul", ["w", "b"], "y"),
        apply("add_", ["a", 1.0]),  # which may be what `b` is a view of
        apply("sum", ["y"], "s"),
        {"command": "backward", "tensors": ["s"]},
    ]
    program = twins.store(step, ["a", "b", "w"])

    for a, b in [("c", "d")] * 4 + [("a", "b")] * 4 + [("c", "d")]:
        twins.run(program, {"a": a, "b": b, "w": "w"})

    assert twins.plan().text


def test_a_view_that_gets_a_history_by_way_of_its_base_is_the_interpreters():
    twins = with_rows()
    program = twins.store([apply("mul_", ["v", "w"])], ["v", "w"])

    for run in range(4):
        fresh = [apply("clone", ["x"], f"x{run}"), apply("select", [f"x{run}"], f"v{run}", dim=0, index=1)]
        twins.batch(*fresh)
        twins.run(program, {"v": f"v{run}", "w": "w"})
        assert twins.compiled.names[f"v{run}"].grad_fn is not None

    assert twins.plans == ["a tensor that the program is given becomes another"]


def test_other_shapes_get_a_plan_of_their_own():
    twins = Twins({"x": RNG.normal(size=3), "y": RNG.normal(size=(2, 3)), "z": RNG.normal(size=(2, 3)).astype(np.float32)})
    program = twins.store([apply("tanh", ["a"], "t"), apply("mul_", ["a", "t"])], ["a"])

    for _ in range(4):
        for name in ("x", "y", "z"):
            twins.run(program, {"a": name})

    assert [type(p) for p in twins.plans] == [Plan] * 3


def test_random_draws_come_from_the_sessions_generator():
    commands = [
        apply("dropout", ["x"], "d", p=0.5),
        {"command": "seed", "seed": 3},
        apply("rand_like", ["x"], "r"),
        apply("add_", ["x", "r"]),
    ]
    twins = Twins({"x": RNG.normal(size=(3, 5))})
    program = twins.store(commands, ["x"])

    twins.run(program, {"x": "x"}, {"d": "dropped"}, times=4)

    assert twins.plan().text


def test_dead_commands_are_dropped_and_equal_ones_shared():
    commands = [
        apply("exp", ["x"], "dead"),
        apply("tanh", ["x"], "a"),
        apply("tanh", ["x"], "b"),
        apply("mul", ["a", "b"], "c"),
        apply("zeros_like", ["x"], "zeros"),
        apply("add", ["c", "zeros"], "d"),
    ]
    twins = Twins({"x": RNG.normal(size=5)})
    program = twins.store(commands, ["x"])

    for run in range(4):
        twins.run(program, {"x": "x"}, {"d": f"d{run}"})

    functions = [str(f) for name, f in twins.plan()._code.names.items() if name.startswith("c")]
    assert sum("exp" in f for f in functions) == 0
    assert twins.plan().text.count("(v1") == 1  # one tanh
    assert not any("zeros" in f for f in functions)


def test_a_view_of_what_is_computed_once_keeps_it():
    commands = [
        apply("exp", ["x"], "a"),
        apply("exp", ["x"], "again"),
        apply("select", ["again"], "part", dim=0, index=0),  # nothing else needs it from here on
        apply("tanh", ["y"], "b"),
        apply("sin", ["b"], "c"),
        apply("mul", ["part", "c"], "d"),
        apply("add", ["d", "b"], "e"),
        apply("mul", ["a", 1], "copied"),
        apply("select", ["copied"], "row", dim=0, index=1),
        apply("cos", ["e"], "f"),
        apply("mul", ["row", "f"], "g"),
        apply("add", ["g", "e"], "h"),
    ]
    twins = Twins({"x": RNG.normal(size=(2, 3)), "y": RNG.normal(size=(2, 3))})
    program = twins.store(commands, ["x", "y"])

    for run in range(4):
        twins.run(program, {"x": "x", "y": "y"}, {"h": f"h{run}"})

    assert twins.plan().text.count("(v1,") == 1


def test_a_diagonal_is_written_to_in_a_compiled_run():
    commands = [
        apply("diagonal", ["x"], "d"),
        apply("add_", ["d", 1]),
        apply("sin", ["x"], "y"),
        apply("diagonal", ["y"], "e", offset=1),
        apply("mul_", ["e", 2]),
    ]
    twins = Twins({"x": RNG.normal(size=(3, 3))})
    program = twins.store(commands, ["x"])

    for run in range(4):
        twins.run(program, {"x": "x"}, {"y": f"y{run}"})

    assert twins.plan().text


def test_reads_tell_how_often_memory_was_written_that_others_share():
    commands = [
        apply("detach", ["x"], "d"),
        {"command": "read", "tensor": "d"},
        apply("add_", ["d", 1]),
        {"command": "read", "tensor": "d"},
    ]
    twins = Twins({"x": RNG.normal(size=5)})
    program = twins.store(commands, ["x"])

    for _ in range(4):
        twins.run(program, {"x": "x"})

    assert twins.plan().text


def test_a_program_that_gives_out_a_stretched_constant_is_left_to_the_interpreter():
    commands = [
        apply("sum", ["x"], "s"),
        {"command": "grad", "outputs": ["s"], "inputs": ["x"], "results": ["g"], "create_graph": True},
        apply("detach", ["g"], "d"),
    ]
    twins = Twins({"x": RNG.normal(size=5)}, requires_grad=("x",))
    program = twins.store(commands, ["x"])

    for run in range(4):
        twins.run(program, {"x": "x"}, {"d": f"d{run}"})

    assert twins.plans == ["a copy of what is stretched, which is no longer"]


def test_the_graph_of_an_output_is_there_when_somebody_looks():
    commands = [apply("mul", ["w", "w"], "y"), apply("sum", ["y"], "s"), backward("s")]
    twins = Twins({"w": RNG.normal(size=3)}, requires_grad=("w",))
    program = twins.store(commands, ["w"])
    for run in range(4):
        twins.run(program, {"w": "w"}, {"s": f"s{run}", "y": f"y{run}"})
    assert twins.plan().text
    twins.batch(backward("s3"))  # freed: an error in both

    for session in twins.both:
        s, y = session.names["s3"], session.names["y3"]
        assert s.grad_fn.next_functions[0][0] is y.grad_fn
        assert y.grad_fn.next_functions[0][0].variable is session.names["w"]
        assert s.grad_fn.number > y.grad_fn.number


def test_a_session_near_its_limits_is_interpreted_and_refuses_alike():
    limits = Limits(max_session_bytes=40_000)
    commands = [apply("exp", ["x"], "a"), apply("exp", ["a"], "b"), apply("exp", ["b"], "c"), apply("add", ["a", "c"], "d")]
    twins = Twins({"x": np.zeros(1000)}, limits=limits)
    program = twins.store(commands, ["x"])

    for run in range(6):
        twins.run(program, {"x": "x"}, {"d": f"d{run}"})
        ours, theirs = [s.summary()["bytes"] for s in twins.both]
        assert ours == theirs


def test_a_session_remembers_a_bounded_number_of_plans(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plans, "MOST_PLANS", 3)
    twins = Twins({f"x{n}": np.ones(n) for n in range(1, 8)})
    program = twins.store([apply("mul_", ["a", 2.0])], ["a"])

    for n in range(1, 8):
        twins.run(program, {"a": f"x{n}"}, times=3)

    assert len(twins.plans) == 3


def test_plans_go_with_their_program_and_their_session():
    twins = Twins({"x": np.ones(3)})
    program = twins.store([apply("mul_", ["a", 2.0])], ["a"])
    twins.run(program, {"a": "x"}, times=3)
    assert twins.plan().text

    twins.compiled.forget_program(program)

    assert twins.plans == []


def test_blocks_beyond_what_may_be_kept_are_given_back(monkeypatch: pytest.MonkeyPatch):
    twins = Twins({"x": np.ones(1000)})
    program = twins.store([apply("exp", ["a"], "b"), apply("matmul", ["b", "b"], "c"), apply("mul_", ["a", "c"])], ["a"])
    twins.run(program, {"a": "x"}, times=4)
    assert twins.plan().kept > 0

    twins.compiled.compiled.plans.trim(0)

    assert twins.plan().kept == 0
    twins.run(program, {"a": "x"}, times=2)


LONG: list[dict[str, Any]] = [
    apply("mul", ["x", "w"], "a"),
    apply("tanh", ["a"], "b"),
    apply("add", ["b", "w"], "c"),
    apply("sigmoid", ["c"], "d"),
    apply("sum", ["d"], "s"),
    backward("s"),
    apply("sub_", ["w", "x.grad"], grad=False, alpha=0.1),
]


@pytest.mark.parametrize("size", [chains.LEAST, 3 * chains.LEAST + 700, 500_001])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [1, 2])
def test_long_elementwise_chains_run_in_blocks_and_keep_every_bit(size: int, dtype: Any, count: int):
    twins = Twins({n: RNG.normal(size=size).astype(dtype) for n in ("x", "w")}, requires_grad=("x",))
    program = twins.store(LONG, ["x", "w"])
    before = threads.limit(count)
    try:
        for run in range(4):
            twins.run(program, {"x": "x", "w": "w"}, {"s": f"s{run}"})
    finally:
        threads.limit(before)

    (chain,) = twins.plans[-1].chains
    assert len(chain._members) >= 12
    assert "einsum" not in twins.plan().text  # the sum is taken block by block as well
    assert "'ij->i'" in chain.text


def test_part_of_a_chain_is_kept_where_others_read_it():
    commands = [
        apply("exp", ["x"], "a"),
        apply("mul", ["a", "x"], "b"),
        apply("narrow", ["a"], "part", dim=0, start=40_000, length=7),
        apply("cumsum", ["part"], "c", dim=0),
        apply("add", ["b", "b"], "d"),
    ]
    twins = Twins({"x": RNG.normal(size=100_000)})
    program = twins.store(commands, ["x"])

    for run in range(4):
        twins.run(program, {"x": "x"}, {"c": f"c{run}", "d": f"d{run}"})

    assert " if lo < 40007 and hi > 40000 else " in twins.plan().chains[0].text


def test_values_that_are_zero_while_the_run_is_recorded_are_no_constants():
    twins = Twins({"x": np.zeros(3), "w": np.ones(())}, requires_grad=("w",))
    commands = [apply("mul", ["w", "x"], "y"), apply("mean", ["y"], "s"), backward("s"), apply("max", ["y"], "top")]
    program = twins.store(commands, ["x", "w"])
    twins.run(program, {"x": "x", "w": "w"}, times=4)
    assert twins.plan().text
    for session in twins.both:
        session.names["x"].array[...] = [1.0, -2.0, 4.0]

    twins.run(program, {"x": "x", "w": "w"}, {"top": "top"}, times=2)

    assert twins.compiled.names["top"].array == 4.0


def test_views_are_given_out_with_the_tensors_that_they_are_views_of():
    commands = [
        apply("mul", ["w", "x"], "y"),
        apply("sum", ["y"], "s"),
        backward("s"),
        {"command": "set", "tensor": "w.grad", "name": "g"},
        apply("transpose", ["g"], "gt", dim0=0, dim1=1),
        apply("exp", ["x"], "e", grad=False),
        apply("select", ["e"], "row", dim=0, index=1),
        {"command": "set", "tensor": "w", "grad": None},
        apply("select", ["x"], "part", dim=0, index=0),
    ]
    twins = Twins({"x": RNG.normal(size=(3, 4)), "w": RNG.normal(size=(3, 4))}, requires_grad=("w",))
    program = twins.store(commands, ["x", "w"])
    for run in range(4):
        twins.run(program, {"x": "x", "w": "w"}, {n: f"{n}{run}" for n in ("gt", "g", "row", "part")})
    assert twins.plan().text

    twins.batch(apply("mul_", ["gt3", 2.0]), apply("add_", ["part3", 1.0]), apply("neg_", ["row3"]))

    for session in twins.both:
        assert session.names["gt3"].base is session.names["g3"]
        assert session.names["part3"].base is session.names["x"]
        assert session.names["g3"]._version == 1


def test_views_with_a_history_are_given_out_when_their_graph_was_walked():
    commands = [
        apply("mul", ["w", "x"], "y"),
        apply("squeeze", ["y"], "p", dim=1),
        apply("select", ["p"], "first", dim=0, index=0),
        apply("unsqueeze", ["w"], "wide", dim=0),  # of a leaf
        apply("sum", ["p"], "s"),
        backward("s"),
    ]
    twins = Twins({"x": RNG.normal(size=(3, 1)), "w": RNG.normal(size=(3, 1))}, requires_grad=("w",))
    program = twins.store(commands, ["x", "w"])

    for run, wanted in enumerate([("p", "first", "wide")] * 4 + [("first", "y")] * 4 + [("y", "p")] * 4):
        twins.run(program, {"x": "x", "w": "w"}, {n: f"{n}{run}" for n in wanted})
    assert len([p for p in twins.plans if isinstance(p, Plan)]) == 3

    twins.batch(apply("mul_", ["first3", 2.0]), apply("sum", ["p3"], "again"), apply("sum", ["wide3"], "t"), backward("t"))
    for session in twins.both:
        assert session.names["first7"].base is session.names["y7"]
        assert session.names["p3"].base is session.names["first3"].base
        assert session.names["p3"].grad_fn.next_functions[0][0].name() == "CopySlices"


def test_threads_that_run_one_program_at_once_do_not_share_its_memory():
    session = Session("threads")
    chain = [apply("tanh", ["x"], "y0"), *[apply("mul", [f"y{i}", "x"], f"y{i + 1}") for i in range(40)]]
    program = session.store_program([decode_command(c) for c in chain], ["x"])
    tensors = [session.engine.wrap(RNG.normal(size=20_000)) for _ in range(4)]
    expected = [np.tanh(t.array) for t in tensors]
    for t, e in zip(tensors, expected, strict=True):
        for _ in range(40):
            e *= t.array
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(30):
            made = session.run_bound(program, {"x": tensors[number]}, ("y40",)).names["y40"]
            if not np.array_equal(made.array, expected[number]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert wrong == []
    assert any(isinstance(p, Plan) for p in session.compiled.plans._known.values())


def test_a_result_with_a_history_is_gone_with_its_last_handle():
    twins = network()
    session = twins.compiled
    program = twins.store(NETWORK, list(HOLES))
    twins.run(program, HOLES, {"loss": "last"}, times=4)
    assert twins.plan().left_nodes
    before = len(deferred)
    for n in range(20):
        session.apply(decode_command({"command": "run", "program": program, "inputs": HOLES, "outputs": {"loss": f"loss{n}"}}))
    assert len(deferred) == before + 20  # each with a graph that nobody asked for
    left = [weakref.ref(session.names[f"loss{n}"].node) for n in range(20)]

    session.apply(decode_command({"command": "release", "tensors": [f"loss{n}" for n in range(20)]}))

    assert [node() for node in left] == [None] * 20
    assert len(deferred) == before


FORWARD: list[dict[str, Any]] = [
    apply("linear", ["x", "w1", "b1"], "h1"),
    apply("tanh", ["h1"], "h2"),
    apply("linear", ["h2", "w2", "b2"], "scores"),
    apply("cross_entropy", ["scores", "t"], "loss"),
]


def test_a_graph_that_is_still_to_be_walked_is_given_out():
    twins = network()
    program = twins.store(FORWARD, list(HOLES))

    for run in range(6):
        twins.run(program, HOLES, {"loss": f"loss{run}", "h2": f"h{run}"})
        twins.batch(backward(f"loss{run}", retain_graph=run % 2 == 0))
        twins.batch(backward(f"loss{run}"))  # an error where the graph is gone
        twins.batch(*[apply("sub_", [p, f"{p}.grad"], grad=False, alpha=0.1) for p in ("w1", "b1", "w2", "b2")])

    assert twins.plan().left_nodes == 4
    for session in twins.both:
        assert session.names["h5"].grad_fn is session.names["loss5"].grad_fn.next_functions[0][0].next_functions[0][0]


@pytest.mark.parametrize("written", ["w2", "h", "x", "b2"])
def test_writes_to_what_a_graph_saved_are_noticed(written: str):
    twins = network()
    program = twins.store(FORWARD, list(HOLES))
    for run in range(4):
        twins.run(program, HOLES, {"loss": f"loss{run}", "h2": "h"})
        twins.batch(apply("mul_", [written, 2.0], grad=False))
        twins.batch(backward(f"loss{run}"))
        twins.batch({"command": "release", "tensors": ["h", f"loss{run}"]})

    assert twins.plan().text


def test_what_a_program_writes_to_after_a_node_saved_it_is_noticed_too():
    commands = [
        apply("mul", ["w", "w"], "y"),
        apply("exp", ["y"], "z"),
        apply("add_", ["z", 1.0], grad=False),
        apply("sum", ["z"], "s"),
    ]
    twins = Twins({"w": RNG.normal(size=3)}, requires_grad=("w",))
    program = twins.store(commands, ["w"])
    for run in range(4):
        twins.run(program, {"w": "w"}, {"s": f"s{run}"})
        twins.batch(backward(f"s{run}"))

    assert twins.plan().text
    assert isinstance(twins.compiled.batch([decode_command(backward("s3"))]).failed, AutogradError)


def test_what_a_graph_saved_is_counted_and_goes_with_it():
    twins = Twins({"w": RNG.normal(size=10_000)}, requires_grad=("w",))
    program = twins.store([apply("exp", ["w"], "y"), apply("tanh", ["y"], "z"), apply("sum", ["z"], "s")], ["w"])
    for run in range(4):
        twins.run(program, {"w": "w"}, {"s": f"s{run}"})

    assert twins.plan().left_bytes >= 2 * 80_000
    held = [usage.count(s.alive()) for s in twins.both]
    assert held[0] == held[1]
    twins.batch({"command": "release", "tensors": [f"s{run}" for run in range(4)]})
    assert usage.count(twins.compiled.alive()).nbytes == 80_000


def test_what_a_program_is_given_may_have_a_history():
    twins = Twins({"w": RNG.normal(size=(4, 3)), "v": RNG.normal(size=3)}, requires_grad=("w", "v"))
    commands = [apply("mul", ["h", "v"], "y"), apply("tanh", ["y"], "z"), apply("sum", ["z"], "s")]
    program = twins.store(commands, ["h", "v"])
    for run in range(6):
        twins.batch(apply("exp", ["w"], "e"), {**apply("sort", ["e"]), "outputs": ["sorted", "places"]})
        twins.run(program, {"h": ("e", "sorted")[run % 2], "v": "v"}, {"s": "s", "z": "z"})
        if run == 4:
            twins.batch(apply("mul_", ["e", 2.0]))  # another history, of which the graph is not
        twins.batch(backward("s"))
        twins.batch({"command": "release", "tensors": ["e", "sorted", "places", "s", "z"]})

    assert twins.plan().left_nodes == 3
    assert len([p for p in twins.plans if isinstance(p, Plan)]) == 1


def test_a_walk_into_a_history_of_before_the_run_is_the_interpreters():
    twins = Twins({"w": RNG.normal(size=3)}, requires_grad=("w",))
    program = twins.store([apply("sum", ["h"], "s"), backward("s", retain_graph=True)], ["h"])
    for _ in range(4):
        twins.batch(apply("add", ["w", 1.0], "h"))
        twins.run(program, {"h": "h"})
        twins.batch({"command": "release", "tensors": ["h"]})

    assert twins.plans == ["a walk that goes on where the program was given a history"]


def test_threads_may_look_at_one_graph_at_once():
    twins = Twins({"w": RNG.normal(size=3)}, requires_grad=("w",))
    chain = [apply("tanh", ["w"], "y0"), *[apply("mul", [f"y{i}", "w"], f"y{i + 1}") for i in range(200)]]
    program = twins.store(chain, ["w"])
    twins.run(program, {"w": "w"}, {"y100": "half", "y200": "all"}, times=4)
    session, wrong = twins.compiled, []

    def look(node: Any, ready: threading.Barrier) -> None:
        ready.wait()
        try:
            assert node.edges
            assert node.next_functions
        except Exception as error:  # noqa: BLE001 - told below
            wrong.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for n in range(20):
            names = {"y100": f"half{n}", "y200": f"all{n}"}
            session.apply(decode_command({"command": "run", "program": program, "inputs": {"w": "w"}, "outputs": names}))
            tops = [session.names[name].node for name in names.values()] * 2
            ready = threading.Barrier(len(tops))
            looking = [threading.Thread(target=look, args=(node, ready)) for node in tops]
            for thread in looking:
                thread.start()
            for thread in looking:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
