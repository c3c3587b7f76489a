"""What every test may ask for: a place to run in, a session there, and hypothesis kept bounded."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

import telegrad
from telegrad.contract.session import current_session
from tests.places import PLACES, open_session, stop_all
from tests.references.sides import Telegrad, fresh_engine

# A slow machine must not fail a test by its clock; CI must fail twice alike.
settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.register_profile("soak", settings.get_profile("default"), max_examples=5_000)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Each place in turn."""
    name: str = request.param
    return name


@pytest.fixture
def session(place: str) -> Iterator[telegrad.Session]:
    """A session in each place in turn, current during the test."""
    with open_session(place) as opened:
        yield opened


@pytest.fixture
def engine() -> Iterator[Telegrad]:
    """telegrad in a fresh local session, current during the test, as a side to evaluate samples on."""
    with fresh_engine() as fresh:
        yield fresh


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without the collector: what is in no cycle goes by itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a figure that a test has measured; all of them are printed at the end, whichever process ran the test."""
    return lambda figure: request.node.user_properties.append(("figure", figure))


PROOFS = {
    *("test_chaos", "test_crashes", "test_fuzz", "test_hostile", "test_interrupted", "test_kills", "test_long_runs", "test_once"),
    *("test_op_programs", "test_postgres", "test_process_host", "test_random_histories", "test_random_hooks"),
    *("test_random_scripts", "test_restart", "test_slow_clients"),
}
"""Modules of the short forms of long proofs; ``proof`` in pyproject.toml says who runs them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the proofs."""
    for item in items:
        if item.path.stem in PROOFS:
            item.add_marker(pytest.mark.proof)


def pytest_sessionfinish() -> None:
    """Stop the application and the server that tests shared."""
    stop_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    reports = [r for r in terminalreporter.getreports("passed") if any(name == "figure" for name, _ in r.user_properties)]
    if reports:
        terminalreporter.section("figures")
    for report in reports:
        terminalreporter.write_line(report.nodeid)
        for name, figure in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"    {figure}")


@pytest.fixture(autouse=True)
def leaves_no_session_current() -> Iterator[None]:
    """A test that leaves its session current would move the tests after it to another place."""
    before = current_session()
    yield
    assert current_session() is before
