"""Programs are compiled only while no hook is alive anywhere in the process."""

from __future__ import annotations

import gc

import pytest

from telegrad_service.engine import hooks


@pytest.fixture(autouse=True)
def _no_hooks_of_others() -> None:
    """Those of tests before may still wait for the collector."""
    if hooks.alive:
        gc.collect()
    assert not hooks.alive, "a test before has left hooks alive, and no program will be compiled"
