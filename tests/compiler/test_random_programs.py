"""Programs made up at random: what is compiled leaves what the interpreter leaves, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telegrad.contract.command_fields import decode_command
from telegrad.contract.commands import names_made
from telegrad_service.compiler import chains
from tests.compiler.twins import Twins

SHAPES = ((3, 4), (4,), (1, 4), (3, 1), (), (4, 3))
TENSORS: dict[str, Any] = {f"x{i}": np.random.default_rng(i).normal(size=shape) + 0.1 for i, shape in enumerate(SHAPES)}
TENSORS["single"] = np.random.default_rng(9).normal(size=(3, 4)).astype(np.float32)
TENSORS["whole"] = np.arange(12).reshape(3, 4)
TENSORS["turned"] = np.random.default_rng(10).normal(size=(4, 3)).T
TENSORS["classes"] = np.array([0, 1, 3])
UNARY = ("neg", "tanh", "exp", "sigmoid", "relu", "abs", "sin", "clone", "detach", "softplus", "sign", "square")
BINARY = ("add", "sub", "mul", "div", "maximum", "pow")
SHAPING: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("transpose", {"dim0": 0, "dim1": -1}), ("reshape", {"shape": [-1]}), ("select", {"dim": 0, "index": 0})),
    *(("unsqueeze", {"dim": 0}), ("narrow", {"dim": 0, "start": 0, "length": 2}), ("sum", {}), ("sum", {"dim": [0]})),
    *(("mean", {"dim": [-1], "keepdim": True}), ("amax", {"dim": [0]}), ("cumsum", {"dim": 0}), ("softmax", {"dim": -1})),
    *(
        ("diagonal", {}),
        ("expand", {"size": [2, 3, 4]}),
        ("var", {}),
        ("log_softmax", {"dim": 0}),
        ("sort", {}),
        ("dropout", {"p": 0.5}),
    ),
    *(("logsumexp", {"dim": [0]}), ("contiguous", {}), ("to", {"dtype": "float32"}), ("chunk", {"chunks": 2}), ("nonzero", {})),
)
IN_PLACE = ("add_", "mul_", "sub_", "div_", "fill_", "tanh_", "relu_", "copy_", "exp_", "sigmoid_")


def apply(op: str, inputs: list[Any], made: str | None = None, **parameters: Any) -> dict[str, Any]:
    """An op."""
    command = {"command": "apply", "op": op, "inputs": inputs, "parameters": parameters}
    return command if made is None else {**command, "outputs": [made]}


def one_op(draw: Any, kind: int, reference: Any, made: str) -> dict[str, Any]:
    """An op of one of several kinds."""
    if kind < 4:
        return apply(draw(st.sampled_from(UNARY)), [reference()], made)
    if kind < 9:
        other = draw(st.one_of(st.builds(reference), st.sampled_from([2, 0.5, 1, -1.5])))
        return apply(draw(st.sampled_from(BINARY)), [reference(), other], made)
    if kind < 12:
        op, parameters = draw(st.sampled_from(SHAPING))
        return apply(op, [reference()], made, **parameters)
    if kind == 12:
        return apply("matmul", [reference(), reference()], made)
    op = draw(st.sampled_from(IN_PLACE))
    count = 2 if op in ("add_", "mul_", "sub_", "div_", "copy_", "fill_") else 1
    return apply(op, [reference() for _ in range(count)], made if draw(st.booleans()) else None)


def other_commands(draw: Any, kind: int, reference: Any, names: list[str], made: str) -> list[dict[str, Any]]:
    """Anything but an op."""
    if kind < 17:
        walk = {"command": "backward", "tensors": [made], "retain_graph": draw(st.sampled_from([None, True]))}
        return [apply("sum", [reference()], made), walk]
    if kind == 17:
        grad: dict[str, Any] = {
            "command": "grad",
            "outputs": [made + "s"],
            "inputs": [reference(), reference()],
            "results": [made, made + "t"],
        }
        grad |= {"allow_unused": True, "create_graph": draw(st.integers(0, 5)) == 0}
        return [apply("sum", [reference()], made + "s"), grad]
    choices: list[dict[str, Any]] = [
        {"command": "set", "tensor": draw(st.sampled_from(names)), "grad": None},
        {"command": "set", "tensor": reference(), "name": made},
        {"command": "seed", "seed": 3},
        {"command": "read", "tensor": reference(), "encoding": "base64"},
        {"command": "create", "id": made, "data": [[1.0, 2.0, 3.0, 4.0]] * 3},
    ]
    return [draw(st.sampled_from(choices))]


@st.composite
def programs(draw: Any) -> tuple[list[dict[str, Any]], list[str], tuple[str, ...]]:
    """Commands, holes, and what is given out."""
    inputs = draw(st.lists(st.sampled_from(sorted(TENSORS)), min_size=2, max_size=5, unique=True))
    names = list(inputs)
    commands: list[dict[str, Any]] = []

    def reference() -> str:
        name = draw(st.sampled_from(names))
        return name + ".grad" if draw(st.integers(0, 9)) == 0 else str(name)

    for number in range(draw(st.integers(1, 18))):
        made = f"y{number}"
        kind = draw(st.integers(0, 23))
        earlier = [c for c in commands if "outputs" in c]
        if kind > 19:  # the same again, which may be computed once
            new = [{**draw(st.sampled_from(earlier)), "outputs": [made]}] if earlier else []
        elif kind < 15:
            command = one_op(draw, kind, reference, made)
            if draw(st.integers(0, 3)) == 0:
                command["grad_enabled"] = False
            new = [command]
        else:
            new = other_commands(draw, kind, reference, names, made)
        commands += new
        if any(made in names_made(decode_command(c)) for c in new):
            names.append(made)
    wanted = tuple(draw(st.lists(st.sampled_from(names), max_size=3, unique=True)))
    return commands, inputs, wanted


def possible(
    commands: list[dict[str, Any]], inputs: list[str], floating: tuple[str, ...], *, to_the_end: bool
) -> list[dict[str, Any]]:
    """The commands that can be done, in order; or all up to and with the first that fails."""
    session = Twins({name: TENSORS[name] for name in inputs}, requires_grad=floating).plain
    kept: list[dict[str, Any]] = []
    for command in commands:
        failed = session.batch([decode_command(command)]).failed
        if failed is None or not to_the_end:
            kept.append(command)
        if failed is not None and not to_the_end:
            break
    return kept


@st.composite
def walks(draw: Any) -> list[tuple[Any, ...]]:
    """What is done with results when the program has ended: writes, to inputs too, and walks through the graph that they have."""
    kinds = st.sampled_from(["write", "write", "backward", "backward", "backward", "retained", "second", "read", "more"])
    return [(draw(kinds), draw(st.integers(0, 9)), draw(st.integers(0, 9))) for _ in range(draw(st.integers(0, 6)))]


def after(walk: list[tuple[Any, ...]], given_out: list[str], inputs: list[str]) -> list[list[dict[str, Any]]]:
    """The batches of a walk."""
    batches: list[list[dict[str, Any]]] = []
    for number, (kind, first, second) in enumerate(walk):
        result = given_out[first % len(given_out)]
        anything = [*given_out, *inputs][second % (len(given_out) + len(inputs))]
        total, slope = f"s{number}", f"g{number}"
        walked: dict[str, Any]
        if kind == "write":
            batches.append([{**apply("mul_", [anything, 0.5]), "grad_enabled": second % 3 == 0}])
        elif kind == "read":
            batches.append([{"command": "read", "tensor": result + ".grad"}])
        elif kind == "more":
            batches.append([apply("tanh", [result], total), apply("select", [total], slope, dim=0, index=0)])
        elif kind == "second":
            first_order: dict[str, Any] = {
                "command": "grad",
                "outputs": [total],
                "inputs": [anything],
                "results": [slope],
                "create_graph": True,
            }
            square = [apply("square", [slope], slope + "q"), apply("sum", [slope + "q"], slope + "s")]
            walked = {"command": "backward", "tensors": [slope + "s"]}
            batches.append([apply("sum", [result], total), {**first_order, "allow_unused": True}, *square, walked])
        else:
            walked = {"command": "backward", "tensors": [total], "retain_graph": kind == "retained" or None}
            batches.append([apply("sum", [result], total), walked])
    return batches


MADE_BEFORE: dict[str, Any] = {
    "product": lambda name: ([apply("mul", [name, 1.5], "of_" + name)], "of_" + name),
    "first of two": lambda name: ([{**apply("sort", [name]), "outputs": ["of_" + name, "at_" + name]}], "of_" + name),
    "twice": lambda name: ([apply("exp", [name], "e_" + name), apply("tanh", ["e_" + name], "of_" + name)], "of_" + name),
    "detached": lambda name: ([apply("mul", [name, 1.5], "m_" + name), apply("detach", ["m_" + name], "of_" + name)], "of_" + name),
    "part": lambda name: (
        [apply("unsqueeze", [name], "u_" + name, dim=0), apply("squeeze", ["u_" + name], "of_" + name)],
        "of_" + name,
    ),
}
"""How what a program is given came to be, by one that has a history."""


def check(
    program: Any, grads: set[str], times: int, to_the_end: bool, walk: list[tuple[Any, ...]], before: dict[str, str]
) -> Twins:
    """Run a program five times in both sessions, and go on from what it gave out."""
    commands, inputs, wanted = program
    floating = tuple(g for g in sorted(grads) if TENSORS[g].dtype.kind == "f" and g in inputs)
    commands = possible(commands, inputs, floating, to_the_end=to_the_end)
    known = {*inputs, *[n for c in commands for n in names_made(decode_command(c))]}
    wanted = tuple(n for n in wanted if n in known)
    twins = Twins({name: TENSORS[name] for name in inputs}, requires_grad=floating)
    stored = twins.store(commands, inputs)
    for run in range(5):
        given = {n: n for n in inputs}
        for name, way in before.items():
            if name in inputs:
                made, given[name] = MADE_BEFORE[way](name)
                twins.batch(*made)
        twins.run(stored, given, {n: f"{n}_{run}" for n in wanted}, times=times)
        given_out = [n for n in (f"{n}_{run}" for n in wanted) if n in twins.plain.names]
        for batch in after(walk, given_out, sorted({*inputs, *given.values()})) if given_out else []:
            twins.batch(*batch)
        twins.batch({"command": "release", "tensors": [n for n in twins.plain.names if n not in inputs]})
    return twins


BEFORE = st.dictionaries(st.sampled_from(sorted(TENSORS)), st.sampled_from(sorted(MADE_BEFORE)), max_size=3)


@given(
    program=programs(),
    grads=st.sets(st.sampled_from(sorted(TENSORS))),
    times=st.integers(1, 3),
    to_the_end=st.booleans(),
    walk=walks(),
    before=BEFORE,
)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_compiled_program_leaves_what_the_interpreter_leaves(
    program: Any, grads: set[str], times: int, to_the_end: bool, walk: list[tuple[Any, ...]], before: dict[str, str]
) -> None:
    check(program, grads, times, to_the_end, walk, before)


@given(program=programs(), grads=st.sets(st.sampled_from(sorted(TENSORS))), walk=walks(), before=BEFORE)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_chains_in_blocks_leave_what_the_interpreter_leaves(
    program: Any, grads: set[str], walk: list[tuple[Any, ...]], before: dict[str, str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "LEAST", 4)
        patch.setattr(chains, "WORTH_ELEMENTS", 1)
        patch.setattr(chains, "_LEAST_BLOCK", 4)
        patch.setattr(chains, "_SCRATCH_BYTES", 64)
        check(program, grads, 1, True, walk, before)
