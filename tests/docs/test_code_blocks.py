"""Every code block of the documentation runs, and prints what its comments say."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.places import server_url

ROOT = Path(__file__).resolve().parents[2]
WRITTEN_URL = "http://127.0.0.1:8000"

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """(info string, text) of the page's blocks in ``language``."""
    return [(info.strip(), text) for kind, info, text in _BLOCK.findall(page.read_text()) if kind == language]


def pages(language: str, info: str = "") -> list[Path]:
    """The pages, of all that git or a release has, with such blocks."""
    every = (
        p for folder in ("", "docs", "client", "service", "examples", "benchmarks", "openapi") for p in (ROOT / folder).glob("*.md")
    )
    return sorted(p for p in every if any(info in found for found, _ in blocks(p, language)))


def expected_output(code: str) -> list[str]:
    """What ``print(...)  # this`` comments promise, in order."""
    return re.findall(r"^\s*print\(.*\)  # (.*)$", code, re.MULTILINE)


def answers_in(text: str) -> Iterator[Any]:
    """The JSON objects in what requests printed one after another, in order."""
    position = 0
    while (position := text.find("{", position)) >= 0:
        found, position = json.JSONDecoder().raw_decode(text, position)
        yield found


def is_part(shown: Any, answer: Any) -> bool:
    """Whether a page shows what was answered, or the members that matter, to as many digits as people read."""
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(name in answer and is_part(value, answer[name]) for name, value in shown.items())
    if isinstance(shown, list):
        return isinstance(answer, list) and len(shown) == len(answer) and all(map(is_part, shown, answer))
    return shown == (pytest.approx(answer, rel=1e-4) if isinstance(answer, float) else answer)


@pytest.mark.parametrize("page", pages("python"), ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_of_a_page_run_in_order_and_print_what_they_promise(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__page__"}

    for info, code in blocks(page, "python"):
        if info == "server":
            code = code.replace(WRITTEN_URL, server_url())
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(page), "exec"), namespace)
        printed = out.getvalue().splitlines()
        remaining = iter(printed)
        for promised in expected_output(code):
            words = promised.split(": ")[0] if promised.startswith("None: ") else promised
            assert words in remaining, f"{words!r} was promised, printed was {printed}"
    namespace.clear()
    gc.collect()  # hooks that the page leaves alive would keep other tests' programs from being compiled


@pytest.mark.parametrize("page", pages("console", "server"), ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.skipif(shutil.which("curl") is None, reason="the shell blocks use curl")
def test_console_blocks_against_the_server_succeed_and_answer_what_they_show(page: Path) -> None:
    found = [text for info, text in blocks(page, "console") if info == "server"]

    for text in found:
        lines = [line[2:] for line in text.replace(WRITTEN_URL, server_url()).splitlines() if line.startswith("$ ")]
        script = "set -euo pipefail\n" + "\n".join(line.replace("curl -s", "curl -sf") for line in lines)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        answers = answers_in(done.stdout)
        for shown in (line for line in text.splitlines() if line.startswith("{")):
            assert any(is_part(json.loads(shown), answer) for answer in answers), (
                f"{shown} was promised, answered was {done.stdout}"
            )


def test_the_pages_that_show_code_are_found() -> None:
    assert {"README.md", "docs/tutorial.md", "client/README.md"} <= {str(p.relative_to(ROOT)) for p in pages("python")}
    assert {"README.md", "service/README.md"} <= {str(p.relative_to(ROOT)) for p in pages("console", "server")}
    assert not {info for page in pages("python") for info, _ in blocks(page, "python")} - {"", "server"}, "no block is left out"


def test_the_promise_reader_can_fail() -> None:
    assert expected_output("print(1)  # 2\nx = 1  # not printed\n") == ["2"]
    assert list(answers_in('event: a\n{"a": {"b": 1.00001, "c": 2}}{"d": []}\n')) == [{"a": {"b": 1.00001, "c": 2}}, {"d": []}]
    assert is_part({"a": {"b": 1.0}}, {"a": {"b": 1.00001, "c": 2}})
    assert not is_part({"a": {"b": 1.1}}, {"a": {"b": 1.00001, "c": 2}})
    assert not is_part({"a": [1]}, {"a": [1, 2]})
