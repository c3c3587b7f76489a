"""Every module of the contract can be the first that a program imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.packaging.layers import REPOSITORY, SOURCE_ROOTS, modules_of_layer

MODULES = sorted(modules_of_layer("telegrad.contract", REPOSITORY)) + sorted(
    modules_of_layer("telegrad_service.engine", REPOSITORY)
)

# Modules are forgotten between two imports instead of starting an interpreter for each, which would take 0.2 s a module.
IMPORT_EACH_FIRST = """
import importlib, sys
sys.path[:0] = sys.argv[1].split(":")
import numpy
kept = set(sys.modules)
for module in sys.argv[2:]:
    for name in set(sys.modules) - kept:
        if name.partition(".")[0] in ("telegrad", "telegrad_service"):
            del sys.modules[name]
    try:
        importlib.import_module(module)
    except ImportError as error:
        print(f"{module}: {error}")
"""


def failures(modules: Sequence[str], roots: Sequence[str]) -> list[str]:
    """The modules that cannot be imported first, with the reason."""
    finished = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_EACH_FIRST, ":".join(roots), *modules],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return finished.stdout.splitlines()


def test_every_module_can_be_imported_first() -> None:
    assert failures(MODULES, [str(REPOSITORY / root) for root in SOURCE_ROOTS]) == []


def test_a_circle_of_imports_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "telegrad"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from telegrad.two import second\nfirst = 1\n")
    (package / "two.py").write_text("from telegrad.one import first\nsecond = 2\n")

    assert [line.partition(":")[0] for line in failures(["telegrad.one"], [str(tmp_path)])] == ["telegrad.one"]
