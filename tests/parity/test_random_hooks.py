"""Random scripts about hooks: called in the same order, with the same gradients, in PyTorch and in each place of telegrad."""

from __future__ import annotations

import warnings

import pytest

import telegrad
from tests.parity.random_hooks import PREAMBLE, HookWriter
from tests.parity.test_random_scripts import report
from tests.references.sides import HAS_TORCH

LINES = 22
BLOCKS = range(0, 40, 10)


def script(seed: int) -> list[str]:
    """The lines of a seed, for places of telegrad."""
    with telegrad.local():
        return HookWriter(seed, telegrad, packs=True).write_script(LINES)


def plain_script(seed: int) -> list[str]:
    """The lines of a seed, for PyTorch too."""
    with telegrad.local():
        return HookWriter(seed, telegrad, packs=False).write_script(LINES)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("first", BLOCKS)
def test_hooks_do_what_they_do_in_the_reference(first: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seeds = range(first + 240, first + 250)

        assert [s for seed in seeds if (s := report(seed, ("local", "torch"), plain_script, preamble=PREAMBLE))] == []


@pytest.mark.parametrize("looks", [True, False], ids=["looked at", "left alone"])
@pytest.mark.parametrize("first", BLOCKS)
def test_hooks_do_the_same_remotely(first: int, looks: bool) -> None:
    seeds = range(first + 100, first + 110)

    assert [s for seed in seeds if (s := report(seed, ("asgi", "local"), script, preamble=PREAMBLE, looks=looks))] == []


def test_scripts_call_hooks() -> None:
    with telegrad.local():
        writers = [HookWriter(seed, telegrad, packs=False) for seed in range(20)]
        for writer in writers:
            writer.write_script(LINES)

    assert sum(len(writer.names["log"]) for writer in writers) > 40
