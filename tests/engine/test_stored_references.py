"""The stored answers are PyTorch's answers to today's samples."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.references.comparison import differences
from tests.references.evaluation import digest
from tests.references.make import answers_of
from tests.references.sides import HAS_TORCH
from tests.references.stored import Answers, family_name, load
from tests.samples.table import FAMILIES

REMEDY = "run python -m tests.references.make"


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: the stored answers are all there is")
@pytest.mark.parametrize("family", FAMILIES, ids=family_name)
def test_stored_answers_are_those_of_the_installed_reference(family: ModuleType) -> None:
    fresh, kept = answers_of(family), load(family_name(family))
    ids = {digest(sample): sample.id for sample in (*family.SAMPLES, *family.ERRORS)}

    missing = [ids.get(key, key) for key in fresh.results.keys() - kept.results.keys()]
    missing += [ids[key] for key in fresh.errors.keys() - kept.errors.keys()]
    stale = (kept.results.keys() | kept.errors.keys()) - (fresh.results.keys() | fresh.errors.keys())
    different = [ids.get(key, key) for key in fresh.results.keys() & kept.results.keys() if _differ(fresh, kept, key)]

    assert not missing, f"{REMEDY} {family_name(family)}: not stored yet"
    assert not stale, f"{REMEDY} {family_name(family)}: stored for samples that are gone"
    assert not different, f"{REMEDY} {family_name(family)}: stored differently"
    assert fresh.errors == kept.errors


def _differ(fresh: Answers, kept: Answers, key: str) -> bool:
    a, b = fresh.results[key], kept.results[key]
    parts = ((a.outputs, b.outputs), (a.gradients, b.gradients), (a.seconds, b.seconds))
    return a.requires != b.requires or any(differences(x, y, "array", slack=10) for x, y in parts)
