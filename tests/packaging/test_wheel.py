"""The wheel carries the two packages and nothing else, and asks for three dependencies and nothing else."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.packaging.layers import REPOSITORY, SOURCE_ROOTS, modules_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_top_level_is_exactly_the_two_packages(wheel):
    top_level = {name.partition("/")[0] for name in wheel.namelist()}

    assert {name for name in top_level if not name.endswith(".dist-info")} == {"telegrad", "telegrad_service"}
    assert len(top_level) == 3


def test_every_module_is_in_the_wheel(wheel):
    packed = {name for name in wheel.namelist() if name.endswith(".py")}
    on_disk = {
        path.relative_to(REPOSITORY / root).as_posix()
        for path in modules_on_disk(REPOSITORY).values()
        for root in SOURCE_ROOTS
        if path.is_relative_to(REPOSITORY / root)
    }

    assert packed == on_disk


@pytest.mark.parametrize("package", ["telegrad", "telegrad_service"])
def test_both_packages_are_typed(wheel, package):
    assert f"{package}/py.typed" in wheel.namelist()


def test_base_install_asks_for_three_dependencies(metadata):
    base = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]

    assert sorted(re.split(r"[^\w-]", line)[0] for line in base) == ["httpx2", "numpy", "pydantic"]


def test_the_service_extra_brings_the_web_and_the_base_does_not(metadata):
    web = [line for line in metadata.get_all("Requires-Dist") if re.match("fastapi|uvicorn|uvloop|httptools", line)]

    assert len([line for line in web if "extra == 'service'" in line]) == 4
    assert all("extra ==" in line for line in web)


def test_version_is_the_one_in_the_package(metadata):
    text = (REPOSITORY / "client/telegrad/_version.py").read_text(encoding="utf-8")

    assert f'__version__ = "{metadata["Version"]}"' in text
    assert PROJECT["dynamic"] == ["version"]


def test_entry_points_name_things_that_exist(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    targets = re.findall(r"= ([\w.]+):(\w+)", wheel.read(name).decode())

    assert ("telegrad_service.local", "open_session") in targets
    assert ("telegrad_service.__main__", "main") in targets
    for module, function in targets:
        source = modules_on_disk(REPOSITORY)[module].read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {function}\b", source, re.MULTILINE), f"{module} defines no {function}"
