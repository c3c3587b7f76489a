"""The gradient checks can fail: a formula that is off by 0.01 %, or that forgets its own history, turns them red."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from telegrad.contract.ops import OPS
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES
from tests.references.evaluation import evaluate, is_wide
from tests.references.finite import first_order, second_order
from tests.references.sides import Telegrad
from tests.references.stored import variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES

load()

Formula = Callable[..., Any]

CHECKED = [s for s in SAMPLES if s.gradient and s.differences and not s.random and is_wide(s)]


def samples_of(op: str, *, twice: bool = False) -> list[Sample]:
    """The samples that finite differences check the op with."""
    return [s for s in CHECKED if s.op == op and (s.second or not twice)]


def off_by_a_little(formula: Formula) -> Formula:
    """The formula, 0.01 % too large."""

    @functools.wraps(formula)
    def planted(*args: Any) -> Any:
        value = formula(*args)
        if isinstance(value, (tuple, list)):
            return tuple(None if v is None else v * 1.0001 for v in value)
        return None if value is None else value * 1.0001

    return planted


def detached(formula: Formula) -> Formula:
    """The formula, its result cut off from what it was computed from."""

    @functools.wraps(formula)
    def planted(*args: Any) -> Any:
        value = formula(*args)
        pieces = value if isinstance(value, (tuple, list)) else (value,)
        cut = tuple(v.detach() if isinstance(v, telegrad.Tensor) else v for v in pieces)
        return cut if isinstance(value, (tuple, list)) else cut[0]

    return planted


def plant(
    patch: pytest.MonkeyPatch, op: str, names: tuple[str, ...], mutation: Callable[[Formula], Formula]
) -> None:
    """Put a mutation in the place of one formula of an op."""
    row = ENTRIES[op]
    patch.setattr(row, "formulas", {key: mutation(f) if key == names else f for key, f in row.formulas.items()})
    patch.setattr(row, "plans", {})


FORMULAS = [
    pytest.param(op, names, id=f"{op}-{','.join(names)}")
    for op, row in ENTRIES.items()
    if OPS[op].namespace != "internal"
    for names in row.formulas
]


@pytest.mark.parametrize(("op", "names"), FORMULAS)
def test_a_formula_off_by_a_little_is_noticed(
    engine: Telegrad, monkeypatch: pytest.MonkeyPatch, op: str, names: tuple[str, ...]
) -> None:
    samples = samples_of(op)
    if samples and not any(g.any() for s in samples for g in evaluate(engine, s, 1, variables_of(s)).gradients):
        pytest.skip("its gradient is zero everywhere")

    plant(monkeypatch, op, names, off_by_a_little)

    assert any(first_order(engine, s, variables_of(s)) for s in samples)


@pytest.mark.parametrize(("op", "names"), FORMULAS)
def test_a_formula_without_history_is_noticed(
    engine: Telegrad, monkeypatch: pytest.MonkeyPatch, op: str, names: tuple[str, ...]
) -> None:
    samples = samples_of(op, twice=True)
    if not any(g.any() for s in samples for g in evaluate(engine, s, 2, variables_of(s)).seconds):
        pytest.skip("its second derivative is zero everywhere")

    plant(monkeypatch, op, names, detached)

    assert any(second_order(engine, s, variables_of(s)) for s in samples)
