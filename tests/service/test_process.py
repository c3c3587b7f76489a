"""What telegrad changes of its process, and that it asks first. Each case needs an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from telegrad_service import process

SHOW = "import gc, telegrad; telegrad.local(); print(gc.get_threshold()[0])"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TELEGRAD_")}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_first_local_session_raises_the_collectors_threshold():
    assert int(run(SHOW).stdout) == 50_000


@pytest.mark.parametrize("no", ["false", "0", "no"])
def test_who_says_no_keeps_pythons_threshold(no):
    default = int(run("import gc; print(gc.get_threshold()[0])").stdout)
    assert int(run(SHOW, TELEGRAD_TUNE_PROCESS=no).stdout) == default


@pytest.mark.parametrize("chosen", [0, 12_345])
def test_a_threshold_that_somebody_chose_stays(chosen):
    assert int(run(f"import gc; gc.set_threshold({chosen}); {SHOW}").stdout) == chosen


def test_a_word_that_is_neither_is_refused():
    done = run(SHOW, TELEGRAD_TUNE_PROCESS="perhaps")
    assert done.returncode != 0
    assert "TELEGRAD_TUNE_PROCESS must be true or false" in done.stderr


@pytest.mark.skipif(process._c_library() is None, reason="only glibc can be told")
def test_freed_memory_is_kept_and_given_back_at_the_end():
    code = """
import telegrad
from telegrad_service import process

def resident_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

session = telegrad.local()
before = resident_mib()
x = session.ones(16 * 2**20, dtype=telegrad.float64)
full = resident_mib()
del x
kept = resident_mib()
process.give_back()
print(full - before > 120, kept - before > 120, resident_mib() - before < 60)
"""
    assert run(code).stdout.split() == ["True", "True", "True"]
