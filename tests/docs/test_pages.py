"""Nothing that a user can meet is undocumented."""

from __future__ import annotations

import re
from pathlib import Path

from telegrad.contract.errors import all_errors

ROOT = Path(__file__).resolve().parents[2]


def headings(page: Path) -> set[str]:
    """The texts of the page's headings."""
    return set(re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE))


def test_every_error_code_has_its_heading_and_names_class_and_status() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    sections = dict(re.findall(r"^### ([\w-]+)\n\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL))

    for error in all_errors():
        assert error.code in sections, f"docs/errors.md lacks {error.code}"
        assert f"`{error.__name__}`" in sections[error.code]
        if error.code not in ("error", "gradcheck", "transport", "transport-timeout", "backend-missing"):
            assert str(error.status) in sections[error.code], error.code


def test_no_heading_of_the_error_page_is_stale() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()

    assert set(re.findall(r"^### (.+)$", page, re.MULTILINE)) == {e.code for e in all_errors()}


def test_every_relative_link_of_every_page_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("client/*.md"), *ROOT.glob("service/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_architecture_page_names_only_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    roots = [ROOT, ROOT / "client" / "telegrad", ROOT / "service" / "telegrad_service"]

    named = {m for m in re.findall(r"`([\w./<>-]+/[\w.<>-]+\.py|[\w/]+/)`", page) if "<" not in m and not m.startswith("/")}

    assert named
    for name in sorted(named):
        assert any((root / name).exists() for root in roots), f"docs/architecture.md names {name}"
    there = {path.name for folder in ("client", "service", "tests") for path in (ROOT / folder).rglob("*.py")}
    bare = set(re.findall(r"`(\w+\.py)`", page))
    assert bare
    assert not bare - there, "docs/architecture.md names modules that are nowhere"
