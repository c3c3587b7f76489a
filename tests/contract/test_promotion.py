"""Type promotion: every pair of types, in every rank, against PyTorch's table (stored, and asked anew where it is installed)."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telegrad.contract import dtypes
from telegrad.contract.dtypes import DTYPES, DType, promote_pair
from telegrad.contract.errors import DTypeError
from telegrad.contract.ops import Spec
from telegrad.contract.shapes import result_type
from tests.references.sides import HAS_TORCH, torch_side

STORED = Path(__file__).parent / "promotion.json"
NUMBERS: dict[str, Any] = {"bool": True, "int": 2, "float": 2.5, "complex": 2j}
SHAPES: dict[str, tuple[int, ...]] = {"tensor": (2,), "zero-dim": ()}


def table_of_the_reference() -> dict[str, str | None]:
    """What ``torch.result_type`` says of every pair; None where it raises."""
    torch = torch_side().torch

    def ask(a: Any, b: Any) -> str | None:
        try:
            return str(torch.result_type(a, b)).removeprefix("torch.")
        except RuntimeError:
            return None

    made = {(rank, name): torch.from_numpy(np.ones(shape, d.numpy)) for rank, shape in SHAPES.items() for name, d in DTYPES.items()}
    table = {
        f"{rank_a} {a} with {rank_b} {b}": ask(made[rank_a, a], made[rank_b, b])
        for (rank_a, a), (rank_b, b) in itertools.product(made, made)
    }
    for (rank, name), (kind, number) in itertools.product(made, NUMBERS.items()):
        table[f"{rank} {name} with number {kind}"] = ask(made[rank, name], number)
    return table


def stored_table() -> dict[str, str | None]:
    """The committed table: written here by `python -m tests.contract.test_promotion`."""
    table: dict[str, str | None] = json.loads(STORED.read_text(encoding="utf-8"))
    return table


def operand(rank: str, name: str) -> Any:
    """What a rule sees of it."""
    return NUMBERS[name] if rank == "number" else Spec(SHAPES[rank], DTYPES[name])


def ours(case: str) -> str | None:
    """Our answer to one line of the table. PyTorch's complex32 has no counterpart here: complex64 stands in for it."""
    left, right = (part.split(" ") for part in case.split(" with "))
    try:
        return result_type([operand(*left), operand(*right)]).name
    except DTypeError:
        return None


def test_every_pair_promotes_as_in_the_reference() -> None:
    table = stored_table()

    wanted = {case: "complex64" if name == "complex32" else name for case, name in table.items()}
    wrong = {case: (ours(case), name) for case, name in wanted.items() if ours(case) != name}

    assert wrong == {}
    assert len(table) == (2 * len(DTYPES)) ** 2 + 2 * len(DTYPES) * len(NUMBERS)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: the stored table is all there is")
def test_stored_table_is_that_of_the_installed_reference() -> None:
    assert stored_table() == table_of_the_reference()


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES.values(), DTYPES.values())))
def test_promotion_is_symmetric(a: DType, b: DType) -> None:
    def promoted(x: DType, y: DType) -> DType | None:
        try:
            return promote_pair(x, y)
        except DTypeError:
            return None

    assert promoted(a, b) is promoted(b, a)


def test_a_python_number_never_widens() -> None:
    for name in ("float16", "float32", "float64"):
        assert result_type([Spec((2,), DTYPES[name]), 1e300]) is DTYPES[name]
    assert result_type([Spec((2,), dtypes.int8), 10**6]) is dtypes.int8
    assert result_type([Spec((2,), dtypes.int64), 0.5]) is dtypes.float32


if __name__ == "__main__":
    STORED.write_text(json.dumps(table_of_the_reference(), indent=0) + "\n", encoding="utf-8")
