"""What ``import telegrad`` costs, against an interpreter that imports nothing and one that imports numpy."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import compare, show


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    """Print the table."""
    show(
        "Starting",
        [
            compare(
                "import telegrad", lambda: _run("import telegrad"), lambda: _run("pass"), against="bare interpreter", seconds=3
            ),
            compare(
                "first tensor",
                lambda: _run("import telegrad; telegrad.zeros(3)"),
                lambda: _run("import numpy; numpy.zeros(3)"),
                against="numpy's first array",
                seconds=4,
            ),
        ],
    )
