"""The layers cannot leak: the real tree obeys the rule, and a tree with one bad import planted does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.packaging.layers import (
    LAYERS,
    OURS,
    REPOSITORY,
    SOURCE_ROOTS,
    broken_by,
    layer_of,
    loaded_by,
    loaded_violations,
    modules_of_layer,
    modules_on_disk,
    written_violations,
)

if TYPE_CHECKING:
    from pathlib import Path

IMPORTABLE = [name for name in LAYERS if not name.endswith("__main__")]


def forbidden_examples(layer: str) -> list[str]:
    """One name of each kind that this layer may not import; `planted` stands for a module of ours."""
    ours = {f"{package}.planted" for package in OURS}
    others = {"fastapi", "httpx2", "pydantic"}
    return sorted(name for name in ours | others if broken_by(layer, name) and layer_of(name) != layer)


def imported_names(violations: list[str]) -> list[str]:
    """The last word of each violation, in the order of the names."""
    return sorted(violation.rpartition(" ")[2] for violation in violations)


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for root in SOURCE_ROOTS:
        shutil.copytree(REPOSITORY / root, copy / root, ignore=shutil.ignore_patterns("__pycache__"))
    for root, package in zip(SOURCE_ROOTS, OURS, strict=True):
        (copy / root / package / "planted.py").write_text("")
    return copy


@pytest.fixture
def plant(copied_tree: Path):
    """Append a line to the last module of a layer of the copy; taken back when the test ends."""
    changed: list[tuple[Path, str]] = []

    def append(layer: str, line: str) -> None:
        *_, path = modules_of_layer(layer, copied_tree).values()
        text = path.read_text(encoding="utf-8")
        changed.append((path, text))
        path.write_text(f"{text}\n{line}\n", encoding="utf-8")

    yield append
    for path, text in reversed(changed):
        path.write_text(text, encoding="utf-8")


def test_every_layer_has_modules():
    empty = [name for name in LAYERS if not modules_of_layer(name, REPOSITORY)]

    assert not empty


def test_every_part_of_the_service_has_a_rule_of_its_own():
    parts = {".".join(name.split(".")[:2]) for name in modules_on_disk(REPOSITORY) if name.startswith("telegrad_service.")}

    assert parts - set(LAYERS) == set(), "say in layers.py what these may import"


@pytest.mark.parametrize("layer", IMPORTABLE)
def test_layer_loads_only_what_it_may(layer):
    assert loaded_violations(layer) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_writes_no_import_it_may_not(layer):
    assert written_violations(layer) == []


@pytest.mark.parametrize("layer", IMPORTABLE)
def test_planted_imports_are_seen_when_loaded(layer, copied_tree, plant):
    examples = forbidden_examples(layer)

    plant(layer, "\n".join(f"import {name}" for name in examples))

    assert examples
    assert set(examples) <= set(loaded_violations(layer, copied_tree))


@pytest.mark.parametrize("layer", LAYERS)
def test_planted_lazy_imports_are_seen_when_written(layer, copied_tree, plant):
    examples = forbidden_examples(layer)

    plant(layer, "def planted() -> None:\n" + "\n".join(f"    import {name}" for name in examples))

    assert examples
    assert imported_names(written_violations(layer, copied_tree)) == examples


def test_planted_relative_import_is_seen_when_written(copied_tree, plant):
    *_, (module, path) = modules_of_layer("telegrad_service.engine", copied_tree).items()
    dots = "." * (module.count(".") + (path.name == "__init__.py"))

    plant("telegrad_service.engine", f"from {dots} import planted")

    assert imported_names(written_violations("telegrad_service.engine", copied_tree)) == ["telegrad_service.planted"]


def test_module_belongs_to_its_nearest_layer():
    assert layer_of("telegrad.contract.errors") == "telegrad.contract"
    assert layer_of("telegrad.tensor") == "telegrad"
    assert layer_of("telegrad_service.engine") == "telegrad_service.engine"
    assert layer_of("numpy") is None


def test_importing_telegrad_is_light():
    heavy = {"httpx2", "numpy", "pydantic", "asyncio", "importlib.metadata", "telegrad_service"}

    (held,) = loaded_by(["telegrad"])

    assert held & heavy == set()


def test_a_misspelt_function_is_answered_with_what_may_have_been_meant():
    found = subprocess.run([sys.executable, "-c", "import telegrad; telegrad.matmull"], capture_output=True, text=True, check=False)

    assert "module 'telegrad' has no attribute 'matmull'. Did you mean: 'matmul'?" in found.stderr


def test_heavy_imports_are_seen_where_they_happen():
    heavy = {"httpx2", "numpy", "pydantic"}

    (held,) = loaded_by(sorted(heavy))

    assert heavy <= held
