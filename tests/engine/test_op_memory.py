"""What ops do with memory: inputs stay as they are, results alias them exactly where PyTorch's do, layout does not matter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.dtypes import can_cast
from telegrad.contract.ops import OPS
from telegrad_service.engine.tensor import Tensor
from tests.references.comparison import differences
from tests.references.evaluation import Bound, Result, evaluate_at, is_in_place
from tests.references.sides import HAS_TORCH, Telegrad, flatten, torch_side
from tests.references.stored import variables_of
from tests.samples import Array, Sample
from tests.samples.table import SAMPLES, for_each_sample

STEADY = [s for s in SAMPLES if not s.random and Bound(s).arrays]

OF_ANY_LAYOUT = [s for s in STEADY if s.op not in ("as_strided", "as_strided_scatter") and any(a.ndim for a in Bound(s).arrays)]
"""All but those ops that ask how the memory is laid out."""


def aliases(outputs: list[Any], inputs: list[Any], address: Callable[[Any], int]) -> list[list[bool]]:
    """For each output, which inputs' storage it shares."""
    return [[address(o) == address(i) for i in inputs] for o in outputs]


def storage_address(tensor: Tensor) -> int:
    """Where the memory starts that the tensor's array is part of."""
    array: Any = tensor.array
    while isinstance(array.base, np.ndarray):
        array = array.base
    return int(array.__array_interface__["data"][0])


@for_each_sample([s for s in STEADY if not is_in_place(s)])
def test_inputs_stay_and_results_share_their_version_exactly_with_their_memory(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    tensors = [engine.tensor(a) for a in bound.arrays]

    outputs = [o for o in flatten(engine, bound.call(engine, tensors)) if isinstance(o, Tensor)]

    for tensor, array in zip(tensors, bound.arrays, strict=True):
        assert tensor.array.tobytes() == array.tobytes()
        assert tensor._version == 0
        for output in outputs:
            if output is not tensor and output.array.size:
                shared = output.version is not None and output.version is tensor.version
                shared = shared or sample.op == "data"  # the alias whose changes nobody counts
                assert shared == np.may_share_memory(output.array, tensor.array)


COPIES = {"conj", "einsum"}
"""Ours are new tensors. PyTorch's conj is a view that conjugates when it is read, and its einsum one where nothing is summed."""


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nothing to compare aliases with")
@for_each_sample([s for s in STEADY if not is_in_place(s) and s.torch and s.op not in COPIES])
def test_results_share_memory_where_the_reference_does(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    torch = torch_side()

    def shared(side: Any, address: Callable[[Any], int]) -> list[list[bool]]:
        tensors = [side.tensor(a) for a in bound.arrays]
        returned = flatten(side, bound.call(side, tensors))
        outputs = [o for o in returned if side.is_tensor(o) and 0 not in o.shape]
        return aliases(outputs, tensors, address)

    assert shared(engine, storage_address) == shared(torch, lambda t: t.untyped_storage().data_ptr())


def in_place_twin(sample: Sample) -> Sample | None:
    """The same call in its in-place form; None where the op has none or the sample calls something else."""
    row = OPS.get(sample.op)
    name = sample.call.rpartition(".")[2]
    if row is None or not row.inplace or name != row.name or is_in_place(sample) or not isinstance(sample.args[0], np.ndarray):
        return None
    return dataclasses.replace(sample, call=f"Tensor.{name}_")


@for_each_sample([s for s in STEADY if in_place_twin(s) is not None])
def test_in_place_form_writes_what_the_op_returns(engine: Telegrad, sample: Sample) -> None:
    bound, twin = Bound(sample), in_place_twin(sample)
    assert twin is not None
    tensors = [engine.tensor(a) for a in bound.arrays]
    target = tensors[0]
    wanted = bound.call(engine, tensors)

    if wanted.shape != target.shape or not can_cast(wanted.dtype, target.dtype) or _refused(sample, target):
        with pytest.raises(RuntimeError):
            Bound(twin).call(engine, tensors)
    else:
        written = Bound(twin).call(engine, tensors)
        assert written._version == 1
        assert not differences([engine.array(written)], [engine.array(wanted).astype(target.dtype.numpy)], "output")


def _refused(sample: Sample, target: Any) -> bool:
    """Whether PyTorch refuses the in-place form though type and shape fit: a complex tensor cannot become its modulus, and a
    running sum or product in place is of the tensor's own type.
    """
    dtype = sample.kwargs.get("dtype")
    return (sample.op == "abs" and bool(target.is_complex())) or (dtype is not None and dtype.name != target.dtype.name)


def transposed(array: Array) -> Array:
    """The same values in column order."""
    return np.array(array, order="F")


def strided(array: Array) -> Array:
    """The same values, every second place of a larger buffer."""
    buffer = np.zeros((*array.shape, 2), array.dtype)
    buffer[..., 1] = array
    return buffer[..., 1]


def reversed_in_memory(array: Array) -> Array:
    """The same values with negative strides."""
    return np.flip(np.flip(array).copy())


class LaidOut(Telegrad):
    """telegrad with tensors in an unusual memory layout."""

    def __init__(self, session: telegrad.Session, layout: Callable[[Array], Array]) -> None:
        super().__init__(session)
        self.layout = layout

    def tensor(self, array: Array, *, requires_grad: bool = False) -> Any:
        made: Any = self.session
        tensor = made._engine.wrap(self.layout(array))
        tensor.requires_grad = requires_grad
        return tensor


@for_each_sample(OF_ANY_LAYOUT)
def test_memory_layout_does_not_matter(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    variables = variables_of(sample)
    wanted = result_or_refusal(engine, bound, bound.arrays, variables)

    for layout in (transposed, strided, reversed_in_memory):
        found = result_or_refusal(LaidOut(engine.session, layout), bound, bound.arrays, variables)
        assert disagreements(found, wanted, sample) == [], layout.__name__


def result_or_refusal(
    side: Telegrad, bound: Bound, arrays: list[Array], variables: tuple[int, ...] | None
) -> Result | tuple[type[Exception], str]:
    """The call's values and gradients, or what it raised."""
    try:
        return evaluate_at(side, bound, arrays, None, 1, variables)
    except telegrad.TelegradError as error:
        return type(error), str(error)


NEEDS_STRIDES = {"view", "view.dtype", "view_as_complex"}
"""Ops that PyTorch too refuses for some layouts: what they give depends on memory by definition."""


def disagreements(found: Any, wanted: Any, sample: Sample) -> list[str]:
    """Where two results differ; a refusal equals a refusal of the same words."""
    if not isinstance(found, Result):
        return [] if found == wanted or sample.op in NEEDS_STRIDES else [str(found)]
    if not isinstance(wanted, Result):
        return [str(wanted)]
    return [
        *differences(found.outputs, wanted.outputs, "output"),
        *differences(found.gradients, wanted.gradients, "gradient"),
        *([] if found.requires == wanted.requires else ["other outputs require grad"]),
    ]


@for_each_sample(OF_ANY_LAYOUT)
def test_expanded_inputs_count_as_their_copies(engine: Telegrad, sample: Sample) -> None:
    bound = Bound(sample)
    expanded = [np.broadcast_to(a[:1], a.shape) if a.ndim and a.shape[0] else a for a in bound.arrays]  # one row, repeated

    wanted = result_or_refusal(engine, bound, [a.copy() for a in expanded], variables_of(sample))
    found = result_or_refusal(LaidOut(engine.session, lambda a: a), bound, expanded, variables_of(sample))

    assert disagreements(found, wanted, sample) == []
