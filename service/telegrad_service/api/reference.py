"""``docs/operators.md``: every op's signature, shapes, gradient formula and source, read from the tables and nothing else."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from telegrad.contract.compositions import COMPOSITIONS
from telegrad.contract.ops import Op
from telegrad.contract.tensor.tensor import Tensor
from telegrad_service.api import catalogue
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES

_REPOSITORY: Final = Path(__file__).resolve().parents[3]

_HEAD: Final = """\
# Operators

Written by `make openapi` from the op table and the engine's tables; do not edit. {count} ops, {differentiable} of them
differentiable, and functions made of them, which `POST …/ops` takes by name as well. An op is also called by its full path,
`nn.functional.linear`, and by PyTorch's other names for it; `GET /v1/ops` lists them as `aliases`.

A signature gives the inputs, then the parameters by keyword, as `POST …/ops` takes them; `telegrad.x`, `Tensor.x` and `x_` below
it are the Python forms. *Formula* is the engine's own text: `g` is the gradient of the result, `F.x` is op `x`, and the same text
serves higher derivatives. Where a formula has no short text, the function that computes it is named. *Needs* names an optional
library.
"""


def _path(function: Callable[..., Any]) -> str:
    """Where a function is written, from docs/."""
    return "../" + Path(inspect.getsourcefile(inspect.unwrap(function)) or "").resolve().relative_to(_REPOSITORY).as_posix()


@functools.cache
def _lambdas(path: str) -> dict[tuple[int, tuple[str, ...]], str]:
    """The text of every lambda of a file, by its line and its parameters."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {
        (node.lineno, tuple(a.arg for a in node.args.args)): ast.unparse(node.body)
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
    }


def _formula(function: Callable[..., Any]) -> str:
    """A formula's text: of a lambda its expression, of a function its name and what it is given."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    if function.__name__ == "<lambda>":
        text = _lambdas(code.co_filename).get((code.co_firstlineno, names))
        if text is not None:
            return text
    return f"{function.__name__.lstrip('_')}({', '.join(names)})"


def _resolves(path: str) -> bool:
    module, _, name = f"telegrad.{path}".rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return False


def _forms(op: Op) -> Iterator[str]:
    """How Python calls the op."""
    name = op.function.__name__
    public = op.name.split(".")[0] if "." in op.name and not op.namespace else name.lstrip("_")
    for path in dict.fromkeys((f"{op.namespace}.{public}".lstrip("."), public)):
        if _resolves(path):
            yield f"`telegrad.{path}`"
    if hasattr(Tensor, name) and (not name.startswith("_") or name.endswith("__")):
        yield f"`Tensor.{name}`"
    if op.inplace and hasattr(Tensor, f"{name}_"):
        yield f"`Tensor.{name}_`"


def _public_forms(path: str) -> Iterator[str]:
    if _resolves(path):
        yield f"`telegrad.{path}`"
    if hasattr(Tensor, path):
        yield f"`Tensor.{path}`"


def _section(op: Op) -> Iterator[str]:
    yield f"### {op.name}"
    yield ""
    yield f"    {catalogue.signature(op)}"
    yield ""
    composition = COMPOSITIONS.get(op.name)
    forms = list(_forms(op)) if composition is None else list(_public_forms(composition.path))
    if forms:
        yield ", ".join(forms) + "<br>"
    yield op.doc.replace("\n\n", "<br>\n").replace("*", r"\*")
    yield ""
    if composition is not None:
        yield f"- Made of other ops: [{Path(_path(op.function)).name}]({_path(op.function)})"
        yield ""
        return
    entry = ENTRIES[op.name]
    for names, formula in () if op.refuses else entry.formulas.items():
        yield f"- Formula for {', '.join(names)}: `{_formula(formula)}`"
    if op.refuses or not op.differentiable:
        yield f"- No gradient: {op.nondifferentiable_reason}"
    traits = [word for word, holds in (("a view of its input", op.view), ("draws random numbers", op.random)) if holds]
    if traits:
        yield f"- Result: {', '.join(traits)}"
    if op.needs:
        yield f"- Needs: {op.needs} (`pip install 'telegrad[{op.needs}]'`)"
    declared, computed = _path(op.function), _computed_in(op)
    yield f"- Source: [{Path(declared).name}]({declared}), [rules/{Path(computed).name}]({computed})"
    yield ""


def _computed_in(op: Op) -> str:
    """Where an op's kernel is written or, where that is numpy's own, a formula, or the ops of its family."""
    entry = ENTRIES[op.name]
    for function in (entry.instead or entry.kernel, *entry.formulas.values()):
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is not None and Path(code.co_filename).resolve().is_relative_to(_REPOSITORY / "service"):
            return _path(function)
    rules = Path(_path(load))
    family = rules.with_name(f"{op.family}.py")
    return (family if (_REPOSITORY / "docs" / family).exists() else rules).as_posix()


def page() -> str:
    """The whole page, as Markdown."""
    load()
    ops = sorted(catalogue.public_ops().values(), key=lambda op: (op.family, op.name))
    own = [op for op in ops if op.name not in COMPOSITIONS]
    lines = [_HEAD.format(count=len(own), differentiable=sum(bool(op.differentiable and not op.refuses) for op in own))]
    for family, members in itertools.groupby(ops, key=lambda op: op.family):
        lines += [f"## {family.capitalize().replace('_', ' ')}", ""]
        for op in members:
            lines.extend(_section(op))
    return "\n".join(lines)
