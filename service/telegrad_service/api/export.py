"""Writes ``openapi/*.json`` and ``docs/operators.md`` from the code: ``python -m telegrad_service.api.export [--check]``."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from telegrad_service.api import catalogue, reference
from telegrad_service.api.app import create_app

_SHOWN_LINES = 40


def texts() -> dict[str, str]:
    """The exported files, by their path in the repository."""

    def pretty(value: Any) -> str:
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

    return {
        "openapi/openapi.json": pretty(create_app().openapi()),
        "openapi/ops.json": pretty(catalogue.document()),
        "docs/operators.md": reference.page(),
    }


def drift(folder: Path) -> list[str]:
    """A difference, as text, for every file that is not what the code says."""
    found: list[str] = []
    for name, text in texts().items():
        path = folder / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != text:
            lines = list(
                difflib.unified_diff(old.splitlines(), text.splitlines(), f"{name} (committed)", f"{name} (code)", lineterm="", n=1)
            )
            rest = f"\n... and {len(lines) - _SHOWN_LINES} more lines" if len(lines) > _SHOWN_LINES else ""
            found.append("\n".join(lines[:_SHOWN_LINES]) + rest)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` exit with 1 where they differ from what the code says."""
    parser = argparse.ArgumentParser(prog="python -m telegrad_service.api.export", description="Export the API's documents.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is not up to date")
    default = Path(__file__).resolve().parents[3]
    parser.add_argument("--folder", type=Path, default=default, help="where openapi/ and docs/ are (default: the repository)")
    given = parser.parse_args(arguments)
    if given.check:
        found = drift(given.folder)
        for difference in found:
            print(difference, file=sys.stderr)
        if found:
            print("openapi/ or docs/operators.md is not what the code says; run `make openapi`, commit the result", file=sys.stderr)
        return 1 if found else 0
    for name, text in texts().items():
        (given.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (given.folder / name).write_text(text, encoding="utf-8")
        print(f"wrote {given.folder / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
