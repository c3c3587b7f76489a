"""Every sample in every place: the same bits, gradients too; every invalid sample: the same class and the same message."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import telegrad
from tests.places import REMOTE, open_session
from tests.references.evaluation import Bound, Result, evaluate, order_of
from tests.references.sides import Telegrad
from tests.references.stored import variables_of
from tests.samples import Array, ErrorSample, Sample
from tests.samples.table import ERRORS, SAMPLES, for_each_sample


@pytest.fixture(scope="module", params=REMOTE)
def remote(request: pytest.FixtureRequest) -> Iterator[Telegrad]:
    """One session for all samples in a place: a session each would cost more than the sample."""
    session = open_session(request.param)
    try:
        yield Telegrad(session)
    finally:
        session.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Telegrad]:
    """One local session to compare with."""
    session = open_session("local")
    try:
        yield Telegrad(session)
    finally:
        session.close()


class Current:
    """Makes a session current without closing it at the end."""

    def __init__(self, session: telegrad.Session) -> None:
        self.session = session

    def __enter__(self) -> None:
        from telegrad.contract.session import make_current

        make_current(self.session)

    def __exit__(self, *_: object) -> None:
        from telegrad.contract.session import reset_current

        reset_current(self.session)


def bits(arrays: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Everything about the arrays, exactly."""
    return [(a.dtype.str, a.shape, a.tobytes()) for a in arrays]


def run(side: Telegrad, sample: Sample) -> Result:
    """The sample's values and gradients in that place."""
    with Current(side.session):
        return evaluate(side, sample, order_of(sample), variables_of(sample))


@for_each_sample(SAMPLES)
def test_sample_gives_the_same_bits_as_locally(remote: Telegrad, local: Telegrad, sample: Sample) -> None:
    wanted = run(local, sample)

    found = run(remote, sample)

    assert bits(found.outputs) == bits(wanted.outputs)
    assert found.requires == wanted.requires
    assert bits(found.gradients) == bits(wanted.gradients)
    assert bits(found.seconds) == bits(wanted.seconds)


def complaint(side: Telegrad, sample: ErrorSample) -> tuple[type[BaseException], str]:
    """Class and message of what the invalid sample raises in that place."""
    bound = Bound(sample)

    def call_and_wait() -> None:
        bound.call(side, [side.tensor(a) for a in bound.arrays])
        side.session.flush()

    with Current(side.session), pytest.raises(telegrad.TelegradError) as raised:
        call_and_wait()
    return raised.type, str(raised.value)


@for_each_sample(ERRORS)
def test_invalid_sample_raises_the_same_as_locally(remote: Telegrad, local: Telegrad, sample: ErrorSample) -> None:
    assert complaint(remote, sample) == complaint(local, sample)
