"""Nodes are called what PyTorch calls them, but for the calls that docs/graphs.md lists: no more, and no fewer."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Final

import pytest

import telegrad
from tests.references.evaluation import Bound
from tests.references.sides import HAS_TORCH, Side, Telegrad, flatten, torch_side
from tests.references.stored import variables_of
from tests.samples import Sample
from tests.samples.table import SAMPLES

PAGE: Final = Path(__file__).parents[2] / "docs" / "graphs.md"

_ROW: Final = re.compile(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$")

SAMPLED: Final = [s for s in SAMPLES if s.gradient and s.torch and not s.random]


def listed() -> dict[str, tuple[str, str]]:
    """By call, what the page says of its node: our name, and PyTorch's."""
    found: dict[str, tuple[str, str]] = {}
    for line in PAGE.read_text().splitlines():
        row = _ROW.match(line)
        if row is not None:
            found[row.group(1)] = row.group(2).strip(), row.group(3).strip()
    return found


def names(side: Side, sample: Sample) -> list[str]:
    """The names of the nodes of a call's results."""
    bound = Bound(sample)
    variables = variables_of(sample) or ()
    leaves = [side.tensor(a, requires_grad=i in variables) for i, a in enumerate(bound.arrays)]
    outputs = [o for o in flatten(side, bound.call(side, leaves)) if side.is_tensor(o) and o.grad_fn is not None]
    return [o.grad_fn.name().rpartition("::")[2] for o in outputs]


def differing() -> dict[str, set[tuple[str, str]]]:
    """By call, the pairs of names that differ."""
    found: dict[str, set[tuple[str, str]]] = {}
    with telegrad.local() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in SAMPLED:
            ours, theirs = names(Telegrad(session), sample), names(torch_side(), sample)
            for pair in zip(ours, theirs, strict=False):
                if pair[0] != pair[1]:
                    found.setdefault(sample.call, set()).add(pair)
    return found


def row(call: str, pairs: Any) -> str:
    """The line of the page for a call."""
    ours, theirs = (", ".join(sorted({pair[side] for pair in pairs})) for side in (0, 1))
    return f"| `{call}` | {ours} | {theirs} |"


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the names with")
def test_names_differ_where_the_page_says_so_and_nowhere_else() -> None:
    found = [row(call, pairs) for call, pairs in sorted(differing().items())]

    assert [f"| `{call}` | {ours} | {theirs} |" for call, (ours, theirs) in listed().items()] == found


def test_the_page_lists_calls_that_there_are() -> None:
    assert len(listed()) > 1
    assert set(listed()) <= {sample.call for sample in SAMPLED}
