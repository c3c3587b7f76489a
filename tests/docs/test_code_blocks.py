"""Every code block of the documentation runs, and prints what its comments say."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.places import server_url

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "tutorial.md",
    ROOT / "docs" / "programs.md",
    ROOT / "docs" / "transforms.md",
    ROOT / "docs" / "graphs.md",
    ROOT / "docs" / "hooks.md",
    ROOT / "docs" / "custom.md",
    ROOT / "docs" / "differences.md",
    ROOT / "docs" / "runs.md",
    ROOT / "client" / "README.md",
    ROOT / "service" / "README.md",
]
WRITTEN_URL = "http://127.0.0.1:8000"

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """(info string, text) of the page's blocks in ``language``."""
    return [(info.strip(), text) for kind, info, text in _BLOCK.findall(page.read_text()) if kind == language]


def expected_output(code: str) -> list[str]:
    """What ``print(...)  # this`` comments promise, in order."""
    return re.findall(r"^\s*print\(.*\)  # (.*)$", code, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_of_a_page_run_in_order_and_print_what_they_promise(page: Path) -> None:
    found = blocks(page, "python")
    assert found, "the page shows no Python at all"
    namespace: dict[str, Any] = {"__name__": "__page__"}

    for info, code in found:
        if info == "norun":
            continue
        if info == "server":
            code = code.replace(WRITTEN_URL, server_url())
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(page), "exec"), namespace)
        printed = out.getvalue().splitlines()
        for promised in expected_output(code):
            words = promised.split(": ")[0] if promised.startswith("None: ") else promised
            assert any(line == words for line in printed), f"{words!r} was promised, printed was {printed}"
    namespace.clear()
    gc.collect()  # hooks that the page leaves alive would keep other tests' programs from being compiled


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "service" / "README.md"], ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.skipif(shutil.which("curl") is None, reason="the shell blocks use curl")
def test_console_blocks_against_the_server_succeed(page: Path) -> None:
    found = [text for info, text in blocks(page, "console") if info == "server"]
    assert found, "the page shows no requests at all"

    for text in found:
        lines = [line[2:] for line in text.replace(WRITTEN_URL, server_url()).splitlines() if line.startswith("$ ")]
        script = "set -euo pipefail\n" + "\n".join(line.replace("curl -s", "curl -sf") for line in lines)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def test_the_promise_reader_can_fail() -> None:
    assert expected_output("print(1)  # 2\nx = 1  # not printed\n") == ["2"]
