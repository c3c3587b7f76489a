"""Parity scripts and samples of all ops as traced functions: refused by name, or the same to the bit. Never a wrong trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import telegrad
from telegrad.contract.transforms.trees import leaves_of
from telegrad.errors import TelegradError, TraceError
from tests.parity.scripts import SCRIPTS
from tests.parity.transcripts import exactly, transcript
from tests.places import open_session
from tests.references.evaluation import Bound
from tests.references.sides import Telegrad
from tests.samples.table import SAMPLES, for_each_sample


def seen(place: str, name: str, *, compiled: bool) -> Any:
    """What a script saw, at the second of two calls if it is compiled."""
    script = SCRIPTS[name]

    def run() -> Any:
        return script(telegrad)

    with open_session(place) as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step = telegrad.function(run) if compiled else run
        if compiled:
            step()
        session.manual_seed(0)
        return exactly(transcript(step()))


@pytest.mark.parametrize("place", ["local", "asgi"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_refused_or_sees_the_same_compiled(place, name):
    try:
        compiled = seen(place, name, compiled=True)
    except TraceError:
        return
    except TelegradError as error:
        # A script that catches what fails on the engine alone: its program fails there, and names the line.
        if "tests/parity/scripts" in "".join(getattr(error, "__notes__", ())) or "hook" in str(error):
            return
        raise
    if "nobody can wait for a value" in repr(compiled):
        return  # refused by name, and the script caught it

    assert named_alike(compiled) == named_alike(seen(place, name, compiled=False))


def named_alike(found: Any) -> str:
    """What a script saw, with one name for the classes of tensors, which Python's own messages tell."""
    return re.sub(r"\b(Traced|Remote)Tensor\b", "Tensor", repr(found))


def seen_of_one(x: Any) -> Any:
    """All that can be seen of a tensor; anything else as it is."""
    return (x.shape, x.dtype, x.requires_grad, x.detach().numpy().tobytes()) if isinstance(x, telegrad.Tensor) else x


@pytest.fixture(scope="module")
def side() -> Iterator[Telegrad]:
    """One local session for all samples."""
    with telegrad.local() as session:
        yield Telegrad(session)


# Of each op the first and the last sample: tracing treats all of an op alike, but for shapes and parameters.
CHOSEN = {s.call: s for s in reversed(SAMPLES)} | {f"{s.call} ": s for s in SAMPLES}


@for_each_sample(list({id(s): s for s in CHOSEN.values()}.values()))
def test_a_sample_is_refused_or_gives_the_same_compiled(side, sample):
    bound = Bound(sample)

    def call(inputs: list[Any]) -> Any:
        return bound.call(side, inputs)

    def seen_of(function: Any) -> Any:
        side.session.manual_seed(0)
        given = [side.tensor(a) for a in bound.arrays]
        for x in given[:1]:
            x.requires_grad = x.dtype.is_differentiable
        return [seen_of_one(x) for x in leaves_of(function(given))]

    eager = seen_of(call)
    traced = telegrad.function(call)
    try:
        seen_of(traced)
    except TraceError:
        return
    assert seen_of(traced) == eager
