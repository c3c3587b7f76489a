"""The layer rule as a table, and two ways to find where the tree breaks it.

`loaded_violations` imports a whole layer in a fresh interpreter and looks at what came along: the truth, transitively,
for what runs at import. `written_violations` reads the source: it also sees imports inside functions, which load later,
and those for type checkers only.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("client", "service")
OURS = ("telegrad", "telegrad_service")

FRAMEWORK = frozenset({"fastapi", "starlette"})
SERVER = frozenset({"uvicorn", "uvloop", "httptools"})
WEB = FRAMEWORK | SERVER


@dataclass(frozen=True)
class Layer:
    """What the modules under one dotted name may import of ours, and what they may never import of others'."""

    may_import: tuple[str, ...]
    never: frozenset[str]


CONTRACT = ("telegrad.contract", "telegrad._version")
ENGINE = (*CONTRACT, "telegrad_service.engine")
COMPILER = (*ENGINE, "telegrad_service.compiler")
SESSION = (*COMPILER, "telegrad_service.session", "telegrad_service.settings")
HOSTS = (*SESSION, "telegrad_service.journal", "telegrad_service.hosts", "telegrad_service.process", "telegrad_service.logs")
LOCAL = ("telegrad_service.local", "telegrad_service.local_programs")

# A module belongs to the longest name here that it stands under.
LAYERS = {
    "telegrad": Layer(may_import=("telegrad",), never=WEB),
    # The transports straight over a socket share the server's parser, and nothing else of it.
    "telegrad._direct": Layer(may_import=("telegrad",), never=FRAMEWORK | {"uvicorn", "uvloop", "httpx2"}),
    "telegrad._direct_async": Layer(may_import=("telegrad",), never=FRAMEWORK | {"uvicorn", "uvloop", "httpx2"}),
    "telegrad.contract": Layer(may_import=CONTRACT, never=WEB | {"httpx2"}),
    # Only what stands in no layer of its own: the package itself.
    "telegrad_service": Layer(may_import=CONTRACT, never=WEB | {"httpx2"}),
    "telegrad_service.engine": Layer(may_import=ENGINE, never=WEB | {"httpx2", "pydantic"}),
    "telegrad_service.compiler": Layer(may_import=COMPILER, never=WEB | {"httpx2", "pydantic"}),
    "telegrad_service.session": Layer(may_import=SESSION, never=WEB | {"httpx2"}),
    "telegrad_service.settings": Layer(may_import=(*CONTRACT, "telegrad_service.settings"), never=WEB | {"httpx2"}),
    "telegrad_service.access": Layer(
        may_import=(*CONTRACT, "telegrad_service.access"), never=WEB | {"httpx2", "numpy", "pydantic"}
    ),
    "telegrad_service.process": Layer(may_import=("telegrad_service.process",), never=WEB | {"httpx2", "numpy", "pydantic"}),
    "telegrad_service.logs": Layer(may_import=("telegrad_service.logs",), never=WEB | {"httpx2", "numpy", "pydantic"}),
    # What keeps sessions knows nothing of what they are.
    "telegrad_service.journal": Layer(
        may_import=(*CONTRACT, "telegrad_service.journal"), never=WEB | {"httpx2", "numpy", "pydantic"}
    ),
    "telegrad_service.hosts": Layer(may_import=HOSTS, never=WEB | {"httpx2"}),
    "telegrad_service.local": Layer(may_import=(*HOSTS, *LOCAL), never=WEB | {"httpx2"}),
    "telegrad_service.local_programs": Layer(may_import=(*SESSION, *LOCAL), never=WEB | {"httpx2"}),
    "telegrad_service.api": Layer(
        may_import=(*HOSTS, "telegrad_service.access", "telegrad_service.api"), never=frozenset({"httpx2"})
    ),
    # The command line starts the server, lazily; the framework stays behind the api.
    "telegrad_service.__main__": Layer(may_import=(*CONTRACT, "telegrad_service"), never=FRAMEWORK | {"httpx2"}),
}


def is_under(name: str, package: str) -> bool:
    """Whether a dotted name is that package or something inside it."""
    return name == package or name.startswith(package + ".")


def layer_of(module: str) -> str | None:
    """The name of the layer that a module belongs to; None for a module that is not ours."""
    return max((name for name in LAYERS if is_under(module, name)), key=len, default=None)


def modules_on_disk(repository: Path) -> dict[str, Path]:
    """Every module of ours, found by walking the source roots, importing nothing."""
    found: dict[str, Path] = {}
    for root in (repository / folder for folder in SOURCE_ROOTS):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[0] in OURS:
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def modules_of_layer(layer: str, repository: Path) -> dict[str, Path]:
    """The modules of one layer, by name."""
    return {name: path for name, path in modules_on_disk(repository).items() if layer_of(name) == layer}


def broken_by(layer: str, imported: str) -> bool:
    """Whether a module of this layer may not import that name."""
    rule = LAYERS[layer]
    if imported.partition(".")[0] in OURS:
        return not any(is_under(imported, allowed) for allowed in rule.may_import)
    return imported.partition(".")[0] in rule.never


IMPORT_IN_TURN = """
import importlib, json, sys
roots, *groups = json.loads(sys.argv[1])
sys.path[:0] = roots
held = []
for group in groups:
    for module in group:
        importlib.import_module(module)
    held.append(sorted(sys.modules))
print(json.dumps(held))
"""


def loaded_by(*groups: list[str], repository: Path = REPOSITORY) -> list[set[str]]:
    """The names of all modules that a fresh interpreter holds after each of these groups has been imported in turn."""
    roots = [str(repository / folder) for folder in SOURCE_ROOTS]
    finished = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", IMPORT_IN_TURN, json.dumps([roots, *groups])],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return [set(held) for held in json.loads(finished.stdout)]


def loaded_violations(layer: str, repository: Path = REPOSITORY) -> list[str]:
    """What a fresh interpreter has loaded by importing the whole layer, and should not have."""
    modules = {name for name in modules_of_layer(layer, repository) if not name.endswith("__main__")}
    # Importing a.b.c runs a and a.b first; what those load is the business of their own layer.
    parents = {".".join(name.split(".")[:depth]) for name in modules for depth in range(1, name.count(".") + 1)}
    before, after = loaded_by(sorted(parents - modules), sorted(modules), repository=repository)
    # So does importing a module that is allowed: `telegrad` comes along with `telegrad.contract`.
    along = {name for name in after if any(is_under(allowed, name) for allowed in LAYERS[layer].may_import)}
    return sorted(name for name in after - before - modules - along if broken_by(layer, name))


def imports_written_in(module: str, path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a source file imports, wherever in it."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            # `from telegrad import contract` imports telegrad.contract; `from telegrad.contract import Op` imports no
            # telegrad.contract.Op, but that name stands or falls with telegrad.contract.
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def written_violations(layer: str, repository: Path = REPOSITORY) -> list[str]:
    """Every import statement of the layer that the rule forbids, as `path:line imports name`."""
    return [
        f"{path.relative_to(repository)}:{line} imports {imported}"
        for module, path in modules_of_layer(layer, repository).items()
        for line, imported in imports_written_in(module, path)
        if broken_by(layer, imported)
    ]
