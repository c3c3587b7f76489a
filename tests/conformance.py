"""What `make conformance` prints: per family of ops, how many names and samples there are and how many comparisons pass.

A pytest plugin: ``pytest -p tests.conformance tests/engine/test_op_*.py``. A column counts comparisons of its
kind, those passed and all; a sample without a gradient has none in some. Exits as pytest does, so one wrong value fails the run.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import pytest

from tests.samples.table import FAMILIES

COLUMNS: Final = {
    "values": ("test_values_agree_with_the_reference", "test_rule_foresees_shape_and_type"),
    "first and second derivative": ("test_derivatives_agree_with_the_reference", "test_derivatives_agree_with_finite_differences"),
    "forward mode": ("test_op_tangents.py",),
    "vmap": ("test_op_vmap.py",),
    "errors": ("test_op_errors.py",),
    "planted faults found": ("test_op_mutations.py",),
}
"""Column to test functions, or files, whose outcomes it counts."""

_FAMILY_OF: Final[dict[str, str]] = {
    sample.call: module.__name__.rsplit(".", 1)[-1] for module in FAMILIES for sample in (*module.ERRORS, *module.SAMPLES)
}
"""By the callable: some tests make samples of their own, of the same calls with other types."""

_FAMILY_OF_OP: Final[dict[str, str]] = {s.op: module.__name__.rsplit(".", 1)[-1] for module in FAMILIES for s in module.SAMPLES}


def _family(item: pytest.Item) -> str | None:
    """The family of the samples, or of the op, that a test is about."""
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    samples = parameters.get("samples")
    if samples:
        return _FAMILY_OF.get(samples[0].call, "others")
    if "op" in parameters:
        return _FAMILY_OF_OP.get(str(parameters["op"]), "internal")
    return None


def _column(item: pytest.Item) -> str | None:
    name = getattr(item, "originalname", item.name)
    for column, places in COLUMNS.items():
        if name in places or item.path.name in places:
            return column
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note family and column, which travel with the report from another process."""
    family, column = _family(item), _column(item)
    if family is not None and column is not None:
        item.user_properties.append(("conformance", (family, column)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    passed: dict[tuple[str, str], int] = defaultdict(int)
    total: dict[tuple[str, str], int] = defaultdict(int)
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = dict(report.user_properties)
            if "conformance" in found and (outcome != "passed" or report.when == "call"):
                good, tried = found.get("samples", (outcome == "passed", 1))
                passed[tuple(found["conformance"])] += good
                total[tuple(found["conformance"])] += tried
    terminalreporter.section("conformance")
    head = "".join(f"{column:>{max(len(column), 11) + 2}}" for column in COLUMNS)
    terminalreporter.line(f"{'family':16}{'names':>6}{'samples':>9}{head}")
    rows: list[tuple[str, int, int]] = []
    for module in FAMILIES:
        samples = module.SAMPLES
        rows.append((module.__name__.rsplit(".", 1)[-1], len({s.call for s in samples}), len(samples)))
    rows += [(name, 0, 0) for name in sorted({f for f, _ in total} - {r[0] for r in rows})]

    def cell(keys: list[tuple[str, str]]) -> str:
        done, of = sum(passed[k] for k in keys), sum(total[k] for k in keys)
        return f"{done}/{of}" if of else "-"

    for family, names, samples in rows:
        cells = "".join(f"{cell([(family, c)]):>{max(len(c), 11) + 2}}" for c in COLUMNS)
        terminalreporter.line(f"{family:16}{names:>6}{samples:>9}{cells}")
    cells = "".join(f"{cell([(f, c) for f, _, _ in rows]):>{max(len(c), 11) + 2}}" for c in COLUMNS)
    terminalreporter.line(f"{'all':16}{sum(r[1] for r in rows):>6}{sum(r[2] for r in rows):>9}{cells}")
