"""Random scripts: PyTorch and each place of telegrad leave the same behind after every line, values, flags, warnings and errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import telegrad
from tests.parity.random_scripts import Writer
from tests.parity.script_runs import After, first_difference, play, shortened
from tests.places import open_session
from tests.references.sides import HAS_TORCH, torch_side

LINES = 14
BLOCKS = range(0, 120, 10)
"""Seeds are run ten at a time: each of them in a session of its own would take longer than the scripts."""


def script(seed: int) -> list[str]:
    """The lines of a seed."""
    with telegrad.local():
        return Writer(seed, telegrad).write_script(LINES)


def played(place: str, lines: list[str], **how: Any) -> list[After]:
    """What the script leaves behind in a fresh session of that place; ``how`` is for ``play``."""
    if place == "torch":
        torch = torch_side().torch
        before = torch.is_warn_always_enabled()
        torch.set_warn_always(True)  # it keeps to itself what it said before
        try:
            return play(lines, torch, **how)
        finally:
            torch.set_warn_always(before)
    with open_session(place) as session:
        return play(lines, telegrad, session, **how)


def report(seed: int, places: tuple[str, str], write: Callable[[int], list[str]] = script, **how: Any) -> str:
    """What differs between two places, and the shortest script that shows it; empty where nothing does."""
    found: Any = None

    def differs(lines: list[str]) -> bool:
        nonlocal found
        seen = first_difference(played(places[0], lines, **how), played(places[1], lines, **how))
        if seen is not None:
            found = lines, seen
        return seen is not None

    lines = write(seed)
    if not differs(lines):
        return ""
    shortened(lines[: found[1][0] + 1], differs)
    lines, (at, said) = found
    return "\n".join([f"seed {seed}, {places[0]} and {places[1]} differ after line {at + 1}:", *lines, *said])


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("first", BLOCKS)
def test_random_scripts_do_what_they_do_in_the_reference(first: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        assert [said for seed in range(first, first + 10) if (said := report(seed, ("local", "torch")))] == []


@pytest.mark.parametrize("first", BLOCKS[::3])
def test_random_scripts_do_the_same_remotely(first: int) -> None:
    assert [said for seed in range(first, first + 10) if (said := report(seed, ("asgi", "local")))] == []


def test_a_difference_is_found_and_shortened() -> None:
    lines = ["v1 = T.tensor([1.0, 2.0], requires_grad=True)", "v2 = v1 * 2", "v3 = T.tensor([3.0])", "v2.sum().backward()"]

    def difference(text: list[str]) -> Any:
        return first_difference(played("local", text), played("local", [line.replace("* 2", "* 2.01") for line in text]))

    assert difference(lines)[0] == 1
    assert shortened(lines, lambda text: difference(text) is not None) == lines[:2]
