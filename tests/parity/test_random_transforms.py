"""Random compositions of transforms: PyTorch and each place of telegrad give the same values, types and shapes."""

from __future__ import annotations

import types
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest

import telegrad
from tests.parity.random_transforms import PREAMBLE, Writer
from tests.places import open_session
from tests.references.sides import HAS_TORCH, torch_side
from tests.samples import Array

BLOCKS: Final = range(0, 80, 20)
"""Seeds are run twenty at a time."""

Outcome = tuple[Any, ...]
"""What a script gave: type, shape and values; or the class and words of what it raised."""


def scripts(begin: int, *, writes: bool) -> list[tuple[list[str], Array, Array]]:
    """The lines of twenty seeds, and what ``x`` and ``y`` are."""
    found: list[tuple[list[str], Array, Array]] = []
    for seed in range(begin, begin + 20):
        lines, x, y = Writer(seed, writes=writes).script()
        generator = np.random.default_rng(seed)
        found.append((lines, generator.normal(size=x) * 0.8, generator.normal(size=y) * 0.8))
    return found


def played(library: Any, func: Any, lines: Sequence[str], *arrays: Array) -> Outcome:
    """What a script gives with a library and its transforms."""
    names: dict[str, Any] = {"T": library, "F": library.nn.functional, "G": func}
    exec(PREAMBLE, names)
    for name, array in zip("xy", arrays, strict=True):
        names[name] = library.tensor(array.tolist(), dtype=library.float64).reshape(array.shape)
    try:
        exec("\n".join(lines), names)
    except Exception as error:  # noqa: BLE001 - what is raised is the result
        return type(error).__name__, str(error)
    result = names["result"].detach()
    return str(result.dtype).rpartition(".")[2], tuple(result.shape), np.array(result.tolist())


def in_place(place: str, begin: int, *, writes: bool) -> list[Outcome]:
    """What scripts give in a session there."""
    with open_session(place), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [played(telegrad, telegrad.func, *each) for each in scripts(begin, writes=writes)]


def told(lines: Sequence[str], *outcomes: Outcome) -> str:
    """A script and what it gave."""
    return "\n".join([*lines, *map(str, outcomes)])


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("begin", BLOCKS)
def test_a_composition_gives_what_it_gives_in_the_reference(begin: int) -> None:
    torch = torch_side().torch
    func = types.SimpleNamespace(**{name: getattr(torch.func, name) for name in telegrad.func.__all__ if hasattr(torch.func, name)})
    # Its linearize repeats what was written in place, and knows no other transform around it.
    func.linearize = lambda f, *primals: (f(*primals), lambda *tangents: torch.func.jvp(f, primals, tangents)[1])
    for each, mine in zip(scripts(begin, writes=False), in_place("local", begin, writes=False), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = played(torch, func, *each)
        assert mine[:2] == wanted[:2], told(each[0], mine, wanted)
        np.testing.assert_allclose(mine[2], wanted[2], rtol=1e-8, atol=1e-9, err_msg=told(each[0], mine, wanted))


@pytest.mark.parametrize("begin", BLOCKS)
@pytest.mark.parametrize("writes", [False, True])
def test_a_composition_gives_the_same_on_a_server(begin: int, writes: bool) -> None:
    here, there = in_place("local", begin, writes=writes), in_place("asgi", begin, writes=writes)
    for (lines, _, _), mine, other in zip(scripts(begin, writes=writes), here, there, strict=True):
        assert mine[:2] == other[:2], told(lines, mine, other)
        if len(mine) > 2:  # a gradient that only a server cannot know to need no history is computed by other roundings
            np.testing.assert_allclose(mine[2], other[2], rtol=1e-13, atol=1e-15, err_msg=told(lines, mine, other))
