"""Writes PyTorch's answers to every sample: ``python -m tests.references.make [family ...]``. Needs PyTorch."""

from __future__ import annotations

import sys
from types import ModuleType

from tests.references.evaluation import digest
from tests.references.sides import HAS_TORCH
from tests.references.stored import Answers, ask, ask_error, family_name, samples_of, save
from tests.samples.table import FAMILIES


def answers_of(family: ModuleType) -> Answers:
    """What PyTorch says to a family's samples, valid and invalid."""
    return Answers(
        {digest(sample): ask(sample) for sample in samples_of(family)},
        {digest(sample): ask_error(sample) for sample in family.ERRORS if sample.torch},
    )


def main(names: list[str]) -> None:
    """Write the named families, or all."""
    if not HAS_TORCH:
        sys.exit("PyTorch is not installed: pip install 'telegrad[reference]', or the index of its CPU builds")
    for family in FAMILIES:
        name = family_name(family)
        if not names or name in names:
            answers = answers_of(family)
            save(name, answers)
            sys.stdout.write(f"{name}: {len(answers.results)} results, {len(answers.errors)} errors\n")


if __name__ == "__main__":
    main(sys.argv[1:])
