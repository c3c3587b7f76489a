"""Functions made of ops, called by name in a session: the same results as in Python, foreseen, and none left out."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract import compositions
from telegrad.contract.command_fields import decode_command, encode_command
from telegrad.contract.commands import Apply, Create, Grad
from telegrad.contract.compositions import COMPOSITIONS, Composition, look_up
from telegrad.contract.dtypes import from_numpy
from telegrad.contract.errors import UnknownOpError
from telegrad.contract.functions import rows
from telegrad.contract.kinds import KINDS
from telegrad.contract.ops import Spec, UnknownShape
from telegrad_service.session.session import Session
from tests.references.evaluation import Bound, is_in_place
from tests.references.sides import Telegrad, flatten
from tests.references.stored import variables_of
from tests.samples import D, Sample
from tests.samples.table import SAMPLES, for_each_sample

compositions.load()


def composition_of(sample: Sample) -> Composition | None:
    """What a sample calls, where that is a composition."""
    try:
        op, _ = look_up(sample.call.removeprefix("Tensor."))
    except UnknownOpError:
        return None
    return COMPOSITIONS.get(op.name)


def wire_call(sample: Sample) -> tuple[Composition, list[Any], dict[str, Any]] | None:
    """The sample as a call over the wire, with arrays in the place of references; None where its arguments have no such form."""
    found = composition_of(sample)
    if found is None or hasattr(found.function, "older_arguments"):
        return None
    try:
        given = inspect.signature(found.function).bind(*([None] if found.makes else []), *sample.args, **sample.kwargs).arguments
    except TypeError:
        return None
    inputs: list[Any] = []
    for slot in found.op.inputs:
        value = given.pop(slot.name, () if slot.variadic else None)
        if slot.variadic and not isinstance(value, (tuple, list)):
            return None
        inputs += value if slot.variadic else [value]
        if not slot.number and isinstance(value, (int, float, complex)):
            return None
    if found.makes:
        given.pop("self", None)
    if any(not isinstance(x, (np.ndarray, int, float, complex, type(None))) for x in inputs):
        return None
    encoded: dict[str, Any] = {}
    for name, value in given.items():
        parameter = found.op.parameters.get(name.removesuffix("_"), found.op.parameters.get(name))
        if parameter is None:
            return None
        try:
            plain = value.name if isinstance(value, D) else KINDS[parameter.annotation].encode(value)
            KINDS[parameter.annotation].decode(plain)
        except Exception:  # noqa: BLE001 - a spelling that only Python has
            return None
        encoded[parameter.name] = plain
    return found, inputs, encoded


CALLS = [sample for sample in SAMPLES if not sample.random and wire_call(sample) is not None]


def run(sample: Sample) -> tuple[Session, list[str], list[Any], Any]:
    """The sample done by a session: its inputs' names, its outputs."""
    call = wire_call(sample)
    assert call is not None
    found, inputs, encoded = call
    session = Session("test")
    names: list[Any] = []
    arrays = itertools.count()
    for position, value in enumerate(inputs):
        if isinstance(value, np.ndarray):
            wants = may_vary(sample, next(arrays), value)
            session.apply(
                Create(f"x{position}", base64=_base64(value), dtype=str(value.dtype), shape=value.shape, requires_grad=wants)
            )
            names.append(f"x{position}")
        else:
            names.append(value)
    command = decode_command({"command": "apply", "op": found.path, "inputs": names, "parameters": encoded})
    assert isinstance(command, Apply)
    result, _ = session.apply(command)
    assert result is not None
    outputs = [session.names[n] for n in result["outputs"]] or [session.names["x0"]]
    return session, names, outputs, found


def may_vary(sample: Sample, number: int, array: Any) -> bool:
    """Whether gradients by that array of the sample are asked for: some functions refuse them for their targets."""
    variables = variables_of(sample)
    return array.dtype.kind in "fc" and not is_in_place(sample) and (variables is None or number in variables)


def _base64(array: Any) -> str:
    import base64

    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


@for_each_sample(CALLS)
def test_a_composition_in_a_session_gives_what_the_function_gives(sample):
    _, _, outputs, _ = run(sample)

    with telegrad.local() as local:
        bound = Bound(sample)
        leaves = [local.tensor(a, requires_grad=may_vary(sample, i, a)) for i, a in enumerate(bound.arrays)]
        wanted = flatten(Telegrad(local), bound.call(Telegrad(local), leaves))
        assert len(outputs) == len(wanted)
        for mine, theirs in zip(outputs, wanted, strict=True):
            value = theirs.detach().numpy() if isinstance(theirs, telegrad.Tensor) else theirs
            assert mine.array.dtype == value.dtype or not isinstance(theirs, telegrad.Tensor)
            assert np.array_equal(mine.array, value, equal_nan=value.dtype.kind in "fc")
            if isinstance(theirs, telegrad.Tensor):
                assert mine.requires_grad == theirs.requires_grad
                assert (mine.grad_fn and mine.grad_fn.name()) == (theirs.grad_fn and theirs.grad_fn.name())


@for_each_sample(CALLS)
def test_the_rule_of_a_composition_foresees_shape_and_type(sample):
    call = wire_call(sample)
    assert call is not None
    found, inputs, encoded = call
    given = {n: KINDS[found.op.parameters[n].annotation].decode(v) for n, v in encoded.items()}
    try:
        outcome = found.op.infer([Spec(x.shape, from_numpy(x.dtype)) if isinstance(x, np.ndarray) else x for x in inputs], given)
    except UnknownShape:
        pytest.skip("its shape depends on values")

    *_, outputs, _ = run(sample)

    assert [(o.shape, o.dtype) for o in outcome.outputs] == [(o.shape, o.dtype) for o in outputs]
    assert outcome.nodes >= 1
    assert outcome.flops >= 0


def test_every_public_function_has_a_name_on_the_wire_or_a_reason():
    unnamed = []
    for name, path, _, _ in rows.public_functions():
        try:
            look_up(path)
        except UnknownOpError:
            if path not in rows.LEFT_OUT:
                unnamed.append((name, path))

    assert unnamed == []


def test_no_name_is_both_left_out_and_callable():
    for name in rows.LEFT_OUT:
        with pytest.raises(UnknownOpError):
            look_up(name)


@pytest.mark.parametrize("name", ["true_divide", "nn.functional.linear", "linalg.det", "nn.functional.batch_norm", "batch_norm"])
def test_ops_have_further_names(name):
    op, in_place = look_up(name)

    assert not in_place
    assert name in compositions.spellings(op)


def test_a_composition_travels_as_it_was_sent():
    sent = {"command": "apply", "op": "tensordot", "inputs": ["a", "b"], "parameters": {"dims": [[0], [1]]}}

    assert encode_command(decode_command(sent)) == sent


def test_running_statistics_move_in_the_session():
    session = Session("test")
    session.apply(Create("x", data=[[1.0, 2.0], [3.0, 6.0]], requires_grad=True))
    session.apply(Create("mean", data=[0.0, 0.0]))
    session.apply(Create("variance", data=[1.0, 1.0]))

    session.apply(
        decode_command(
            {
                "command": "apply",
                "op": "nn.functional.batch_norm",
                "inputs": ["x", "mean", "variance"],
                "parameters": {"training": True},
                "outputs": ["y"],
            }
        )
    )

    assert session.names["mean"].array.tolist() == pytest.approx([0.2, 0.4])
    session.apply(Grad(("y",), ("x",), grad_outputs=("y",), results=("g",)))
    assert session.names["g"].array.shape == (2, 2)


def test_a_composition_that_costs_too_much_is_refused_and_changes_nothing():
    from telegrad.contract.errors import LimitError
    from telegrad.contract.limits import Limits

    session = Session("test", Limits(max_session_bytes=100_000, max_tensor_bytes=100_000))
    session.apply(Create("x", data=[1.0] * 200))

    with pytest.raises(LimitError):
        session.apply(Apply("kron", ("x", "x"), outputs=("y",)))

    assert "y" not in session.names
