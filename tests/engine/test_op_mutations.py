"""The gradient checks can fail: a formula that is off by 0.01 %, or that forgets its own history, turns them red."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad.contract.ops import OPS
from telegrad_service.engine.fast import rewrite
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES
from tests.references.evaluation import is_wide
from tests.references.finite import first_order, second_order
from tests.references.sides import Telegrad
from tests.references.stored import variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES

load()

Formula = Callable[..., Any]

CHECKED = [s for s in SAMPLES if s.gradient and s.differences and is_wide(s)]


def samples_of(op: str, *, twice: bool = False) -> list[Sample]:
    """The samples that finite differences check the op with."""
    return [s for s in CHECKED if s.op == op and (s.second or not twice)]


class Record:
    """What a planted formula saw: whether it ran, and whether it ever had something to say."""

    def __init__(self) -> None:
        self.ran = False
        self.spoke = False

    def note(self, pieces: Sequence[Any]) -> None:
        """Look at what the formula returned."""
        self.ran = True
        for piece in pieces:
            if piece is not None:
                array = piece.detach().numpy() if isinstance(piece, telegrad.Tensor) else np.asarray(piece)
                self.spoke = self.spoke or bool(array.any())


def off_by_a_little(formula: Formula, record: Record) -> Formula:
    """The formula, 0.01 % too large."""

    @functools.wraps(formula)
    def planted(*args: Any) -> Any:
        value = formula(*args)
        single = not isinstance(value, (tuple, list))
        pieces = (value,) if single else value
        record.note(pieces)
        wrong = tuple(None if v is None else v * 1.0001 for v in pieces)
        return wrong[0] if single else wrong

    return planted


def detached(formula: Formula, record: Record) -> Formula:
    """The formula, its result cut off from what it was computed from."""

    @functools.wraps(formula)
    def planted(*args: Any) -> Any:
        value = formula(*args)
        single = not isinstance(value, (tuple, list))
        pieces = (value,) if single else value
        record.note(pieces)
        cut = tuple(v.detach() if isinstance(v, telegrad.Tensor) else v for v in pieces)
        return cut[0] if single else cut

    return planted


def plant(patch: pytest.MonkeyPatch, op: str, names: tuple[str, ...], mutation: Callable[[Formula, Record], Formula]) -> Record:
    """Put a mutation in the place of one formula of an op."""
    row = ENTRIES[op]
    record = Record()
    patch.setattr(row, "formulas", {key: mutation(f, record) if key == names else f for key, f in row.formulas.items()})
    patch.setattr(row, "plans", {})
    rewrite(op, patch.setattr)
    return record


REFUSED = {("igamma", ("self",)), ("igammac", ("self",)), ("zeta", ("self",))}
"""Formulas that raise, since nobody has that derivative; tests/engine/test_special.py sees that they do."""

FORMULAS = [
    pytest.param(op, names, id=f"{op}-{','.join(names)}")
    for op, row in ENTRIES.items()
    if OPS[op].namespace != "internal"
    for names in row.formulas
    if (op, names) not in REFUSED
]


def check_that_it_is_noticed(record: Record, noticed: bool) -> None:
    """Red is right; green is right only where the formula has nothing to say, and then it must have been asked."""
    if not noticed and record.ran and not record.spoke:
        pytest.skip("what it gives is zero everywhere")
    assert record.ran, "no sample reaches this formula"
    assert noticed


@pytest.mark.parametrize(("op", "names"), FORMULAS)
def test_a_formula_off_by_a_little_is_noticed(
    engine: Telegrad, monkeypatch: pytest.MonkeyPatch, op: str, names: tuple[str, ...]
) -> None:
    samples = samples_of(op)
    if not any(s.gradient for s in SAMPLES if s.op == op):
        pytest.skip("its samples declare no gradient")
    variables = [variables_of(s) for s in samples]

    record = plant(monkeypatch, op, names, off_by_a_little)

    noticed = any(first_order(engine, s, v) for s, v in zip(samples, variables, strict=True))
    check_that_it_is_noticed(record, noticed)


@pytest.mark.parametrize(("op", "names"), FORMULAS)
def test_a_formula_without_history_is_noticed(
    engine: Telegrad, monkeypatch: pytest.MonkeyPatch, op: str, names: tuple[str, ...]
) -> None:
    samples = samples_of(op, twice=True)
    if not samples:
        pytest.skip("its samples declare no second derivative")
    variables = [variables_of(s) for s in samples]

    record = plant(monkeypatch, op, names, detached)

    noticed = any(second_order(engine, s, v) for s, v in zip(samples, variables, strict=True))
    check_that_it_is_noticed(record, noticed)
