"""One script, three places: values, gradients, types, history and errors are the same to the bit. And PyTorch agrees."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import telegrad
from tests.parity.scripts import SCRIPTS
from tests.parity.transcripts import disagreements, exactly, transcript
from tests.places import REMOTE, open_session
from tests.references.sides import HAS_TORCH, torch_side


def run_in(place: str, name: str) -> Any:
    """What the script saw in a fresh session of that place."""
    with open_session(place) as session:
        session.manual_seed(0)
        return transcript(SCRIPTS[name](telegrad))


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("place", REMOTE)
def test_script_sees_the_same_as_locally(place: str, name: str) -> None:
    assert exactly(run_in(place, name)) == exactly(run_in("local", name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_sees_the_same_again(name: str) -> None:
    assert exactly(run_in("local", name)) == exactly(run_in("local", name))


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed: nobody to compare the scripts with")
@pytest.mark.parametrize("name", [name for name in SCRIPTS if not name.endswith("_ours")])
def test_script_sees_what_it_sees_in_the_reference(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = transcript(SCRIPTS[name](torch_side().torch))

    assert disagreements(run_in("local", name), wanted) == []
