"""The op table is complete: every row can be called, computed, differentiated or says why not, sampled, and sent."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import telegrad
from telegrad.contract.dtypes import float32
from telegrad.contract.errors import ArgumentTypeError, DimensionError, ShapeError, UnknownOpError
from telegrad.contract.kinds import KINDS, decode_parameters, encode_parameters
from telegrad.contract.ops import OPS, Op, Spec, find
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES, Entry
from tests.packaging.layers import REPOSITORY
from tests.references.evaluation import digest
from tests.references.sides import HAS_TORCH, torch_side
from tests.samples.table import ERRORS, FAMILIES, SAMPLES

load()

PUBLIC = {name: row for name, row in OPS.items() if row.namespace != "internal"}
NAMESPACES = {
    "": "telegrad",
    "linalg": "telegrad.linalg",
    "nn.functional": "telegrad.nn.functional",
    "fft": "telegrad.fft",
    "special": "telegrad.special",
    "signal.windows": "telegrad.signal.windows",
}


def missing(names: Iterator[str]) -> list[str]:
    """Sorted, so that the message of a failure is a list to work through."""
    return sorted(names)


def test_every_op_has_a_sample() -> None:
    sampled = {sample.op for sample in SAMPLES}

    assert missing(name for name in PUBLIC if name not in sampled) == []


def test_every_sample_names_an_op_or_none() -> None:
    """A call such as ``new_tensor`` makes a tensor from data and is no op."""
    assert missing(f"{sample.id}: {sample.op!r}" for sample in SAMPLES if sample.op and sample.op not in OPS) == []


def test_every_family_has_an_invalid_sample() -> None:
    assert missing(family.__name__ for family in FAMILIES if not family.ERRORS) == []


def test_samples_differ() -> None:
    ids: dict[tuple[str, bool], list[str]] = {}
    for sample in SAMPLES:
        ids.setdefault((digest(sample), sample.torch), []).append(sample.id)

    assert [same for same in ids.values() if len(same) > 1] == []


def can_fail(row: Op) -> bool:
    """Whether some argument is refused by more than the general checks: two shapes to fit, a dimension, a size, an index."""
    tensors = [slot for slot in row.inputs if not slot.optional]
    annotations = {parameter.annotation for parameter in row.parameters.values()}
    return len(tensors) > 1 or any("int" in a or a == "Index" for a in annotations)


def refuses(row: Op, shapes: list[tuple[int, ...]], error: type[Exception], **given: Any) -> bool:
    """Whether the op's rule refuses float32 tensors of these shapes with that error."""
    try:
        row.infer([Spec(shape, float32) for shape in shapes], given)
    except error:
        return True
    except telegrad.TelegradError:
        return False
    return False


def refuses_what_cannot_broadcast(row: Op) -> bool:
    """Whether the op broadcasts its inputs and refuses [2] with [3]."""
    if len(row.inputs) < 2 or row.parameters.keys() - row.defaults.keys():
        return False
    return refuses(row, [(2,), (3,), *[(1,)] * (len(row.inputs) - 2)], ShapeError)


def refuses_a_dimension_that_is_not_there(row: Op) -> bool:
    """Whether the op takes one tensor and a dimension, and refuses the tenth of two."""
    if len(row.inputs) != 1 or row.parameters.keys() - row.defaults.keys() - {"dim"} or "dim" not in row.parameters:
        return False
    several = "Sequence" in row.parameters["dim"].annotation
    return refuses(row, [(2, 3)], DimensionError, dim=(9,) if several else 9)


def test_every_op_that_can_fail_has_an_invalid_sample_or_is_refused_by_a_general_rule() -> None:
    called = {sample.call.rpartition(".")[2].strip("_") for sample in ERRORS}
    called |= {"index"} if "getitem" in called else set()  # x[...] is the call, index one of the ops that it becomes

    uncovered = missing(
        name
        for name, row in PUBLIC.items()
        if can_fail(row)
        and name.partition(".")[0].strip("_") not in called
        and not refuses_what_cannot_broadcast(row)
        and not refuses_a_dimension_that_is_not_there(row)
    )

    assert uncovered == []


def test_every_op_with_a_dimension_refuses_one_that_is_not_there() -> None:
    reductions = [row for row in PUBLIC.values() if row.family == "reduce" and "dim" in row.parameters and len(row.inputs) == 1]

    assert missing(row.name for row in reductions if not refuses_a_dimension_that_is_not_there(row)) == []


def test_every_op_has_a_kernel() -> None:
    assert missing(name for name in OPS if name not in ENTRIES or not computes(ENTRIES[name])) == []


def computes(entry: Entry) -> bool:
    return entry.instead is not None or not entry.kernel.__qualname__.startswith("_missing")


def test_every_differentiable_input_has_a_formula() -> None:
    lacking = [
        f"{name}: {tensor}"
        for name, row in OPS.items()
        for tensor in row.differentiable
        if ENTRIES[name].instead is None
        if not any(tensor in names for names in ENTRIES[name].formulas)
    ]

    assert lacking == []


def test_every_op_without_derivative_says_why() -> None:
    assert missing(n for n, row in OPS.items() if not row.differentiable and len(row.nondifferentiable_reason) < 10) == []


def test_every_op_has_a_summary_that_is_a_sentence() -> None:
    assert missing(n for n, row in PUBLIC.items() if not re.match(r"[^\n]+[.`)\]]$", row.doc.split("\n\n")[0])) == []


ONLY_METHODS = {
    "_scaled_dot_product_attention",  # what the function by that name is made of
    "contiguous",
    "copy",
    "data",
    "expand",
    "getitem",
    "index",
    "new_full",
    "repeat",
    "sum_to_size",
    "to",
    "unfold",
    "view",
}
"""What only makes sense on a tensor is no free function in PyTorch either."""


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_op_is_found_in_its_namespace(namespace: str) -> None:
    module = importlib.import_module(NAMESPACES[namespace])
    names = {name.partition(".")[0] for name, row in PUBLIC.items() if row.namespace == namespace}

    assert missing(n for n in names - ONLY_METHODS if not callable(getattr(module, n, None))) == []


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to ask which functions exist")
def test_what_is_only_a_method_is_no_function_in_the_reference() -> None:
    assert missing(n for n in ONLY_METHODS if hasattr(torch_side().torch, n)) == []


def test_every_op_has_a_known_namespace() -> None:
    assert {row.namespace for row in PUBLIC.values()} <= set(NAMESPACES)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to ask which ops are methods")
def test_every_op_that_is_a_method_in_the_reference_is_a_method() -> None:
    tensor = torch_side().torch.Tensor
    names = {name.partition(".")[0] for name, row in PUBLIC.items() if row.inputs and row.namespace == ""}
    names -= {"index"}  # spelled x[...]; PyTorch's own method of that name is undocumented

    assert missing(n for n in names if hasattr(tensor, n) and not hasattr(telegrad.Tensor, n)) == []


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to ask which functions exist")
def test_every_free_function_exists_in_the_reference() -> None:
    torch = torch_side().torch
    ours = importlib.import_module("telegrad._functions")

    assert missing(n for n in vars(ours) if callable(getattr(ours, n)) and not n.startswith("_") and not hasattr(torch, n)) == []


def in_place_methods() -> dict[str, Callable[..., Any]]:
    """The methods of a tensor whose name ends in one underscore, by the name of the op that they are a form of."""
    return {
        name[:-1]: member
        for name, member in inspect.getmembers(telegrad.Tensor, callable)
        if name.endswith("_") and not name.startswith("_")
    }


NO_OP_IN_PLACE = {"detach", "fill_diagonal", "requires_grad", "zero"}
"""Settings, and forms of ``fill_``."""


NAMES_IN_PLACE = {
    *("absolute", "addr", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "as_strided", "clip"),
    "conj_physical",
    *("divide", "fix", "float_power", "greater", "greater_equal", "less", "less_equal", "multiply", "negative", "not_equal"),
    *("squeeze", "subtract", "swapaxes", "swapdims", "t", "transpose", "true_divide", "unsqueeze"),
}
"""Other names of ops in place, and compositions in place."""

DRAWS_IN_PLACE = {"bernoulli", "cauchy", "exponential", "geometric", "log_normal", "normal", "random", "uniform"}
"""Draws into a tensor, which have other arguments than the functions of these names."""

CALLS_IN_PLACE = {"apply", "map"}
"""Calls of a function of Python for every element."""


def test_every_in_place_op_has_its_method_and_the_other_way_round() -> None:
    marked = {name.partition(".")[0] for name, row in OPS.items() if row.inplace}

    assert marked == set(in_place_methods()) - NO_OP_IN_PLACE - NAMES_IN_PLACE - DRAWS_IN_PLACE - CALLS_IN_PLACE


@pytest.mark.parametrize("name", sorted(in_place_methods().keys() - NO_OP_IN_PLACE - DRAWS_IN_PLACE - CALLS_IN_PLACE))
def test_in_place_method_has_the_signature_of_its_op(name: str) -> None:
    in_place = inspect.signature(in_place_methods()[name])
    plain = inspect.signature(getattr(telegrad.Tensor, name))

    assert list(in_place.parameters.values()) == list(plain.parameters.values())


def python_files(folder: str) -> set[str]:
    """The names of the modules in a folder of the repository."""
    return {path.stem for path in Path(REPOSITORY, folder).glob("*.py") if path.stem != "__init__"}


def test_every_family_has_the_same_file_name_everywhere() -> None:
    families = {row.family for row in OPS.values()}

    assert families - {"view_scatter"} <= python_files("client/telegrad/contract/tensor")
    assert families <= python_files("service/telegrad_service/engine/rules") | {"views"}


def test_every_parameter_has_a_known_kind() -> None:
    unknown = [
        f"{name}: {parameter.name}: {parameter.annotation}"
        for name, row in PUBLIC.items()
        for parameter in row.parameters.values()
        if parameter.annotation not in KINDS
    ]

    assert unknown == []


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_defaults_survive_the_wire(name: str) -> None:
    row = PUBLIC[name]

    text = json.dumps(encode_parameters(row, dict(row.defaults)), allow_nan=False)

    decoded = decode_parameters(row, json.loads(text))
    assert decoded == row.defaults
    assert {k: type(v) for k, v in decoded.items()} == {k: type(v) for k, v in row.defaults.items()}


def test_unknown_parameter_is_refused_by_name() -> None:
    for row in PUBLIC.values():
        if row.parameters:
            with pytest.raises(ArgumentTypeError, match=f"{row.name}.*no_such_parameter"):
                row.complete({"no_such_parameter": 1})


def test_unknown_op_suggests_the_nearest() -> None:
    with pytest.raises(UnknownOpError, match=r"did you mean .*exp"):
        find("expp")


def test_unknown_op_suggests_no_private_one() -> None:
    with pytest.raises(UnknownOpError) as caught:
        find("chunk_backward_")
    assert " _" not in str(caught.value)


@pytest.mark.parametrize("kind", [telegrad.Tensor, telegrad.AsyncTensor, telegrad.Session, telegrad.AsyncSession])
def test_calls_that_do_not_fit_are_named_as_users_write_them(kind: type) -> None:
    methods = [member for name, member in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")]

    assert methods
    assert [method.__qualname__ for method in methods if "." in method.__qualname__] == []


def test_a_call_that_does_not_fit_names_no_class_of_ours() -> None:
    with telegrad.local() as session, pytest.raises(TypeError, match=r"^sum\(\) got an unexpected keyword argument 'foo'"):
        session.ones(2).sum(foo=1)
