"""No call of any op, however odd, is a fault of ours: it has a result or one of the errors of the tree."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest

from telegrad.contract import codec
from telegrad.contract.errors import InternalError, TelegradError
from telegrad.contract.kinds import KINDS
from telegrad.contract.limits import Limits
from telegrad_service.api.catalogue import public_ops
from telegrad_service.hosts import verbs
from telegrad_service.hosts.base import Work
from telegrad_service.session.session import Session

LIMITS = Limits(max_tensor_bytes=2**20, max_session_bytes=2**22, max_command_flops=10**7, max_tensors=200, max_nodes=500)
CALLS_PER_OP = 60
MAX_SECONDS = 120  # on a busy machine; a call that ends takes milliseconds

DATA: dict[str, dict[str, Any]] = {
    "scalar": {"data": 0.5, "requires_grad": True},
    "vector": {"data": [1.0, 2.0, 3.0], "requires_grad": True},
    "matrix": {"data": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]], "requires_grad": True},
    "wide": {"data": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "dtype": "float64"},
    "batched": {"data": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]},
    "empty": {"data": [], "requires_grad": True},
    "hollow": {"base64": "", "dtype": "float32", "shape": [0, 3]},
    "integers": {"data": [2, 0, 1]},
    "negative": {"data": [-1, -9, 4]},
    "bytes": {"data": [0, 255, 7], "dtype": "uint8"},
    "unsigned": {"data": [0, 1, 2], "dtype": "uint64"},
    "flags": {"data": [True, False, True]},
    "half": {"data": [1.0, 2.0, 3.0], "dtype": "float16", "requires_grad": True},
    "complex": {"data": [{"complex": [1, 2]}, {"complex": [0, -1]}, {"complex": ["NaN", 0]}]},
    "special": {"data": ["NaN", "Infinity", "-Infinity"]},
}
NUMBERS: list[Any] = [0, 1, -1, 2, 3, 0.5, -0.0, 1e308, True, 2**63 - 1, -(2**63), {"float": "NaN"}, {"complex": [0, 1]}]
SIZES: list[Any] = [0, 1, -1, 2, 3, -3, 4, 7, 2**31, 2**62, 2**63 - 1, -(2**63)]
VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "str": [
        "mean",
        "sum",
        "none",
        "tanh",
        "fro",
        "nuc",
        "ij,jk->ik",
        "ii->i",
        "",
        "i->",
        "->",
        "...",
        "floor",
        "trunc",
        "é",
        "\ud800",
    ],
    "float": [0.0, 0.5, 1.0, -1.0, 1e-300, 1e308, {"float": "NaN"}, {"float": "Infinity"}, 2, -7],
    "Number": NUMBERS,
    "DTypeLike": ["float32", "float64", "float16", "int64", "uint8", "bool", "complex64", "uint64"],
    "Index": [
        *([], [0], [None], ["..."], ["...", "..."], [True], [{"slice": [None, None, 2]}], [{"slice": [5, 1, 1]}]),
        *([{"tensor": 1}], [{"tensor": 2}, {"tensor": 1}], [2**62], [0] * 4, [{"slice": [0, 2**62, 2**62]}], [None] * 60),
    ],
}


def value_for(annotation: str, dice: random.Random) -> Any:
    """Some JSON that a parameter of this annotation may get, right or wrong."""
    if dice.random() < 0.05:
        return dice.choice([None, "x", [], {}, [[]], 1.5, True, -(2**63)])
    plain = annotation.removesuffix(" | None").removeprefix("*")
    if plain != annotation and annotation.endswith("None") and dice.random() < 0.3:
        return None
    if plain in VALUES:
        return dice.choice(VALUES[plain])
    if "float" in plain:
        return dice.choice(VALUES["float"] + VALUES["str"])
    if "Sequence" in plain or annotation.startswith("*"):
        return dice.choice([dice.choice(SIZES), [dice.choice(SIZES) for _ in range(dice.randrange(4))], [1] * 70])
    return dice.choice(SIZES)


def call_of(op: Any, dice: random.Random) -> dict[str, Any]:
    """A call of the op with inputs and parameters of the right kinds, mostly."""
    inputs: list[Any] = []
    for slot in op.inputs:
        for _ in range(dice.randrange(4) if slot.variadic else 1):
            if slot.number and dice.random() < 0.3:
                inputs.append(dice.choice(NUMBERS))
            elif dice.random() < (0.3 if slot.optional else 0.02):
                inputs.append(None)
            else:
                inputs.append(dice.choice(list(DATA)))
    parameters = {p.name: value_for(p.annotation, dice) for p in op.parameters.values() if p.required or dice.random() < 0.5}
    name = op.name + "_" if op.inplace and dice.random() < 0.3 else op.name
    return {"command": "apply", "op": name, "inputs": inputs, "parameters": parameters, "outputs": ["out"]}


def fresh_session() -> Session:
    session = Session("test", LIMITS)
    commands = [{"command": "create", "id": name, **fields} for name, fields in DATA.items()]
    verbs.do(session, Work("batch", codec.dump_json({"commands": commands})))
    return session


@pytest.fixture
def _bounded():
    """A call that never ends fails the test instead."""

    def ring(_number: int, _frame: Any) -> None:
        raise TimeoutError("the calls of this op did not end in time")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(MAX_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("name", list(public_ops()))
def test_no_call_of_an_op_is_a_fault(name):
    op = public_ops()[name]
    dice = random.Random(name)
    session = fresh_session()

    for _ in range(CALLS_PER_OP):
        commands = [call_of(op, dice)]
        if dice.random() < 0.7:
            commands.append({"command": "apply", "op": "sum", "inputs": ["out"], "outputs": ["total"]})
            commands.append({"command": "backward", "tensors": ["total"]})
        body = codec.dump_json({"commands": commands})
        try:
            verbs.do(session, Work("batch", body))
        except InternalError:
            raise
        except TelegradError:
            continue
        except Exception as error:
            error.add_note(f"for {body.decode('ascii', 'replace')}")
            raise
        for made in ("out", "total"):
            if made in session.names:
                verbs.do(session, Work("release", arguments={"reference": made}))


def test_every_parameter_kind_has_values_to_try():
    kinds = {p.annotation for op in public_ops().values() for p in op.parameters.values()}

    assert kinds <= set(KINDS)
