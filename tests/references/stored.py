"""PyTorch's answers to every sample, stored for machines that have no PyTorch. Written by ``python -m tests.references.make``.

One file a family: a JSON index from the sample's digest to its record, and one buffer that holds the arrays one after another.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from tests.references.evaluation import Bound, Result, digest, evaluate, in_float32, order_of
from tests.references.sides import HAS_TORCH, torch_side
from tests.samples import Array, ErrorSample, Sample
from tests.samples.table import FAMILIES

FOLDER: Final = Path(__file__).parent / "stored"


@dataclass
class Answers:
    """What PyTorch says to the samples of a family: results of valid calls, class names of the errors of invalid ones."""

    results: dict[str, Result] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)


def samples_of(family: ModuleType) -> Iterator[Sample]:
    """The family's samples that PyTorch has, each also in float32."""
    for sample in family.SAMPLES:
        if sample.torch:
            yield sample
            narrow = in_float32(sample)
            if narrow is not None:
                yield narrow


_ANSWERS: dict[str, Result] = {}


def ask(sample: Sample) -> Result:
    """PyTorch's own answer, asked once a run."""
    key = digest(sample)
    if key not in _ANSWERS:
        _ANSWERS[key] = _ask(sample)
    return _ANSWERS[key]


def _ask(sample: Sample) -> Result:
    order = order_of(sample)
    variables = [i for i in Bound(sample).continuous if order and _may_vary(sample, i)]
    try:
        return evaluate(torch_side(), sample, order, variables)
    except RuntimeError:
        if sample.gradient:
            raise
        return evaluate(torch_side(), sample)  # PyTorch itself has no gradient here, as the sample says


def _may_vary(sample: Sample, position: int) -> bool:
    """Whether PyTorch differentiates to this array: it refuses the weights of a loss, for example."""
    try:
        evaluate(torch_side(), sample, 1, [position])
    except RuntimeError as error:
        if sample.gradient and not any(words in str(error) for words in _NO_DERIVATIVE):
            raise
        return False
    return True


_NO_DERIVATIVE = ("not differentiable with respect to", "is not implemented")
"""What PyTorch says where it has no derivative for an input."""


def variables_of(sample: Sample) -> tuple[int, ...] | None:
    """Which of the sample's arrays may require grad; None where there is no reference to say."""
    found = reference(sample) if sample.torch and not sample.random else None
    return None if found is None else found.variables


def ask_error(sample: ErrorSample) -> list[str]:
    """The builtin classes of what PyTorch raises for an invalid call; empty if it raises nothing."""
    side = torch_side()
    bound = Bound(sample)
    try:
        bound.call(side, [side.tensor(a) for a in bound.arrays])
    except Exception as error:  # noqa: BLE001 - what is raised is the result
        return [cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins"]
    return []


def reference(sample: Sample) -> Result | None:
    """PyTorch's answer, fresh where PyTorch is installed, else the stored one; None where nothing is stored."""
    return ask(sample) if HAS_TORCH else _all_stored().results.get(digest(sample))


def error_reference(sample: ErrorSample) -> list[str] | None:
    """The builtin classes that PyTorch raises, fresh or stored."""
    return ask_error(sample) if HAS_TORCH else _all_stored().errors.get(digest(sample))


@functools.cache
def _all_stored() -> Answers:
    everything = Answers()
    for family in FAMILIES:
        answers = load(family_name(family))
        everything.results.update(answers.results)
        everything.errors.update(answers.errors)
    return everything


def family_name(family: ModuleType) -> str:
    """``reduce`` for ``tests.samples.reduce``."""
    return family.__name__.rpartition(".")[2]


def save(name: str, answers: Answers) -> None:
    """Write a family's answers."""
    pieces: list[bytes] = []

    def put(arrays: tuple[Array, ...]) -> list[Any]:
        pieces.extend(a.tobytes() for a in arrays)
        return [[a.dtype.str, list(a.shape)] for a in arrays]

    index = {
        key: [put(r.outputs), [int(n) for n in r.requires], put(r.gradients), put(r.seconds), r.variables]
        for key, r in sorted(answers.results.items())
    }
    text = json.dumps({"results": index, "errors": dict(sorted(answers.errors.items()))}, separators=(",", ":"))
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        index=np.frombuffer(text.encode(), np.uint8),
        data=np.frombuffer(b"".join(pieces), np.uint8),
    )


def load(name: str) -> Answers:
    """A family's stored answers; none where none were stored yet."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        return Answers()
    with np.load(path) as file:
        index = json.loads(file["index"].tobytes())
        buffer = file["data"].tobytes()
    offset = 0

    def take(described: list[Any]) -> tuple[Array, ...]:
        nonlocal offset
        arrays: list[Array] = []
        for type_name, shape in described:
            dtype = np.dtype(type_name)
            count = int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(buffer, dtype, count, offset).reshape(shape) if count else np.empty(shape, dtype))
            offset += count * dtype.itemsize
        return tuple(arrays)

    return Answers(
        {
            key: Result(take(outputs), tuple(bool(n) for n in requires), take(gradients), take(seconds), tuple(variables))
            for key, (outputs, requires, gradients, seconds, variables) in index["results"].items()
        },
        index["errors"],
    )
