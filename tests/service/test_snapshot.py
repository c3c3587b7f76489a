"""A session that was stored by value and loaded goes on as if nothing had happened."""

from __future__ import annotations

import gc
import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telegrad.contract import safetensors
from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import AutogradError, InternalError, RequestError, VersionError
from telegrad.contract.limits import Limits
from telegrad_service.engine.custom import Deferred
from telegrad_service.engine.graph import CustomNode, DeferredNode, Node
from telegrad_service.engine.packing import Packed
from telegrad_service.engine.tensor import Engine, Tensor
from telegrad_service.session.packs import Packs
from telegrad_service.session.session import Session
from telegrad_service.session.snapshot import KNOWN_SLOTS, dump, load
from tests.histories import History, as_data, do, everything
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad, flatten
from tests.samples import Sample
from tests.samples.table import SAMPLES, parameters

HISTORIES = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def written(session: Session) -> bytes:
    return b"".join(bytes(piece) for piece in dump(session))


def reloaded(session: Session) -> Session:
    return load([written(session)], session.limits)[0]


def steps(history: History, session: Session, count: int) -> int:
    """Let things happen; how many of the commands were possible."""
    return sum(do(session, [history.command(session)]).failed is None for _ in range(count))


@HISTORIES
@given(seed=st.integers(0, 2**40), before=st.integers(1, 60), after=st.integers(1, 40))
def test_whatever_happened_and_whatever_follows_has_the_same_bits_and_errors(seed, before, after):
    history, session = History(seed), Session("s")
    steps(history, session, before)
    twin = reloaded(session)
    assert everything(twin) == everything(session)
    for _ in range(after):
        commands = [history.command(session)]
        twin.programs.update(session.programs)
        assert as_data(do(twin, commands)) == as_data(do(session, commands))
    assert everything(twin) == everything(session)


@HISTORIES
@given(seed=st.integers(0, 2**40), before=st.integers(1, 80))
def test_what_was_loaded_is_written_the_same_again(seed, before):
    history, session = History(seed), Session("s")
    steps(history, session, before)
    assert written(reloaded(session)) == written(session)


def test_most_commands_of_the_histories_are_possible():
    done = sum(steps(History(seed), Session("s"), 50) for seed in range(20))
    assert done > 600


def test_every_attribute_of_what_is_stored_is_known():
    for kind, known in KNOWN_SLOTS.items():
        found = set(vars(Deferred("f", [], True, True))) if kind is Deferred else set(kind.__slots__)
        assert found == set(known.split()), f"{kind.__name__} changed: teach session/snapshot.py what to store, then KNOWN_SLOTS"
    assert set(KNOWN_SLOTS) == {Node, CustomNode, Tensor, Engine, Deferred, Packed, Packs}


def test_every_attribute_of_a_session_is_known():
    stored = {"id", "created", "names", "programs", "engine", "_auto", "quota"}
    made_anew = {
        "limits",
        "closed",
        "watch",
        "answer_bytes",
        "asked_runs",
        "local",
        "compiled",
        "done",
        "foresight",
        "haste",
        "collecting",
        "packs",
        "run_times",
    }
    given_up = {"waiting"}  # see DurableSession
    assert set(vars(Session("s"))) == stored | made_anew | given_up
    assert set(vars(Session("s").quota)) == {
        "_held",
        "_limits",
        "_alive",
        "_metered_bytes",
        "_metered_nodes",
        "_scratch",
        "_tensors",
        "account",
        "allowance",
    }


@pytest.mark.parametrize("sample", parameters(random.Random(7).sample(SAMPLES, 400)))
def test_the_graph_of_any_op_survives(engine: Telegrad, sample: Sample):
    bound = Bound(sample)
    variables = bound.continuous if sample.gradient else []
    tensors = [engine.tensor(a, requires_grad=i in variables) for i, a in enumerate(bound.arrays)]
    made = [o for o in flatten(engine, bound.call(engine, tensors)) if isinstance(o, Tensor)]
    session = Session("s")
    session.engine = engine.session._engine
    session.names.update((f"x{i}", t) for i, t in enumerate(tensors))
    session.names.update((f"y{i}", t) for i, t in enumerate(made))
    roots = [f"y{i}" for i, t in enumerate(made) if t.requires_grad]
    session.names.update((f"{r}v", session.engine.wrap(np.ones_like(session.names[r].array))) for r in roots)
    twin = reloaded(session)
    walk = {"command": "backward", "tensors": roots, "grad_tensors": [f"{r}v" for r in roots], "create_graph": True}
    assert as_data(do(twin, [walk])) == as_data(do(session, [walk]))
    assert everything(twin) == everything(session)
    assert everything(reloaded(twin)) == everything(session)


def test_memory_is_shared_as_before_and_only_as_before():
    session = Session("s")
    do(session, [
        {"command": "create", "id": "x", "data": [[1.0, 2.0], [3.0, 4.0]]},
        {"command": "apply", "op": "transpose", "inputs": ["x"], "parameters": {"dim0": 0, "dim1": 1}, "outputs": ["t"]},
        {"command": "apply", "op": "clone", "inputs": ["x"], "outputs": ["c"]},
        {"command": "set", "tensor": "x", "name": "alias"},
    ])  # fmt: skip
    twin = reloaded(session)
    do(twin, [{"command": "apply", "op": "fill_", "inputs": ["t", 0]}])
    assert not twin.names["x"].array.any()
    assert twin.names["c"].array.all()
    assert twin.names["x"] is twin.names["alias"]
    assert twin.names["t"].array.strides == session.names["t"].array.strides


def test_a_saved_value_that_was_changed_before_is_noticed():
    session = Session("s")
    do(session, [
        {"command": "create", "id": "x", "data": [1.0], "requires_grad": True},
        {"command": "apply", "op": "exp", "inputs": ["x"], "outputs": ["y"]},
        {"command": "apply", "op": "mul", "inputs": ["y", "y"], "outputs": ["z"]},
        {"command": "apply", "op": "add_", "inputs": ["y", 1]},
    ])  # fmt: skip
    twin = reloaded(session)
    failed = do(twin, [{"command": "backward", "tensors": ["z"]}]).failed
    assert isinstance(failed, VersionError)


def test_a_saved_value_that_is_changed_afterwards_is_noticed():
    session = Session("s")
    do(session, [
        {"command": "create", "id": "x", "data": [1.0], "requires_grad": True},
        {"command": "apply", "op": "exp", "inputs": ["x"], "outputs": ["y"]},
        {"command": "apply", "op": "mul", "inputs": ["y", "y"], "outputs": ["z"]},
    ])  # fmt: skip
    twin = reloaded(session)
    write = {"command": "apply", "op": "add_", "inputs": ["y", 1]}
    failed = do(twin, [write, {"command": "backward", "tensors": ["z"]}]).failed
    assert isinstance(failed, VersionError)


@pytest.mark.parametrize("write", [False, True])
def test_a_graph_that_a_plan_gave_out_comes_back(write):
    session = Session("s")
    forward = [
        {"command": "apply", "op": "exp", "inputs": ["h"], "outputs": ["y"]},
        {"command": "apply", "op": "mul", "inputs": ["y", "w"], "outputs": ["z"]},
    ]
    program = session.store_program([decode_command(c) for c in forward], ["h", "w"])
    do(session, [{"command": "create", "id": n, "data": [1.0, 2.0], "requires_grad": True} for n in ("x", "w")])
    do(session, [{"command": "apply", "op": "tanh", "inputs": ["x"], "outputs": ["h"]}])
    run = {"command": "run", "program": program.id, "inputs": {"h": "h", "w": "w"}}
    for n in range(4):
        do(session, [{**run, "outputs": {"y": f"y{n}", "z": f"z{n}"}}])
    assert type(session.names["z3"].node) is DeferredNode

    twin = reloaded(session)

    more = [{"command": "apply", "op": "mul_", "inputs": ["y3", 2.0]}] if write else []
    more += [{"command": "apply", "op": "sum", "inputs": ["z3"], "outputs": ["s"]}, {"command": "backward", "tensors": ["s"]}]
    answers = [do(s, more) for s in (session, twin)]
    assert as_data(answers[0]) == as_data(answers[1])
    assert isinstance(answers[0].failed, VersionError) is write
    assert everything(twin) == everything(session)


def test_nodes_of_functions_that_the_client_has_come_back():
    session = Session("s")
    do(session, [
        {"command": "create", "id": "x", "data": [1.0], "requires_grad": True},
        {"command": "create", "id": "y", "data": [2.0]},
        {"command": "attach", "name": "Own", "inputs": ["x"], "outputs": ["y"]},
    ])  # fmt: skip
    twin = reloaded(session)
    failed = do(twin, [{"command": "backward", "tensors": ["y"]}]).failed
    assert isinstance(failed, AutogradError)
    assert "Own" in failed.detail
    callback = {
        "on": "y",
        "kind": "custom",
        "grads": ["g"],
        "commands": [{"command": "apply", "op": "mul", "inputs": ["g", 7], "outputs": ["r"]}],
        "results": ["r"],
    }
    assert do(twin, [{"command": "backward", "tensors": ["y"], "callbacks": [callback]}]).failed is None
    assert twin.names["x"].grad.array.tolist() == [7.0]


def test_what_clients_have_packed_is_theirs_afterwards():
    session = Session("s")
    do(session, [
        {"command": "create", "id": "x", "data": [1.0], "requires_grad": True},
        {"command": "apply", "op": "exp", "inputs": ["x"], "outputs": ["y"], "pack": "p"},
        {"command": "release", "tensors": ["t1"]},
    ])  # fmt: skip
    twin = reloaded(session)
    assert isinstance(do(twin, [{"command": "backward", "tensors": ["y"]}]).failed, AutogradError)
    callback = {"on": "p", "kind": "unpack", "results": ["x"]}
    assert do(twin, [{"command": "backward", "tensors": ["y"], "callbacks": [callback]}]).failed is None
    assert twin.names["x"].grad.array.tolist() == [1.0]


def test_a_long_chain_of_nodes_and_of_views_needs_no_recursion():
    session = Session("s")
    do(session, [{"command": "create", "id": "x", "data": [1.0, 2.0], "requires_grad": True}])
    tensor = session.names["x"]
    for _ in range(5000):
        tensor = (tensor + 1).view(2)
    session.names["y"] = tensor
    twin = reloaded(session)
    walk = [{"command": "backward", "tensors": ["y"], "grad_tensors": ["y"]}]
    assert as_data(do(twin, walk)) == as_data(do(session, walk))
    assert everything(twin) == everything(session)
    del session, twin, tensor
    gc.collect()


def test_any_safetensors_library_can_read_the_values():
    safetensors = pytest.importorskip("safetensors.numpy")
    session = Session("s")
    session.names["x"] = session.engine.wrap(np.arange(5000, dtype=np.float32))
    found = safetensors.load(written(session))
    assert np.array_equal(found["0"], np.arange(5000, dtype=np.float32))
    assert json.loads(found["graph"].tobytes())["names"] == [["x", 0]]


def test_hooks_of_a_process_are_refused():
    session = Session("s")
    do(session, [{"command": "create", "id": "x", "data": [1.0], "requires_grad": True}])
    handle = session.names["x"].register_hook(lambda g: None)
    with pytest.raises(InternalError, match="hooks"):
        dump(session)
    handle.remove()


def test_other_bodies_and_other_versions_are_refused():
    with pytest.raises(RequestError, match="no snapshot"):
        load(safetensors.pack({"x": np.zeros(3)}))
    text = json.dumps({}).encode()
    later = safetensors.pack({"graph": np.frombuffer(text, np.uint8)}, {"format": "telegrad-session", "version": 2})
    with pytest.raises(RequestError, match="version 2"):
        load(later)


def test_a_limit_counts_the_same_bytes_afterwards():
    limits = Limits(max_session_bytes=4000)
    session = Session("s", limits)
    do(session, [{"command": "apply", "op": "ones", "inputs": [], "parameters": {"size": [200]}, "outputs": ["x"]}])
    do(session, [{"command": "apply", "op": "getitem", "inputs": ["x"], "parameters": {"index": [{"slice": [0, 2, None]}]}}])
    twin = reloaded(session)
    assert twin.summary()["bytes"] == session.summary()["bytes"]
    grow = [{"command": "apply", "op": "ones", "inputs": [], "parameters": {"size": [500]}}] * 3
    assert as_data(do(twin, grow)) == as_data(do(session, grow))
